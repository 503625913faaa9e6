//! The number of multiprocessors of a GPU. No graphics API reports it, so that this file lists the vendors' figures.

use crate::device::DeviceKind;

/// Data-centre GPUs, by the first word of their name.
const DATA_CENTRE: [(&str, u32); 11] = [
    ("B200", 148),
    ("GH200", 132),
    ("H200", 132),
    ("A100", 108),
    ("A40", 84),
    ("A10", 72),
    ("A2", 10),
    ("L40S", 142),
    ("L4", 58),
    ("T4", 40),
    ("V100", 80),
];

/// Other GPUs, by their whole name: an `RTX 4090 Laptop GPU` is not the same chip as an `RTX 4090`.
const WHOLE_NAMES: [(&str, u32); 37] = [
    ("H100 80GB HBM3", 132),
    ("H100 NVL", 132),
    ("H100 PCIe", 114),
    ("P100-PCIE-16GB", 56),
    ("P100-SXM2-16GB", 56),
    ("RTX 6000 Ada Generation", 142),
    ("RTX A6000", 84),
    ("TITAN RTX", 72),
    ("TITAN V", 80),
    ("RTX 5090", 170),
    ("RTX 5080", 84),
    ("RTX 5070 Ti", 70),
    ("RTX 5070", 48),
    ("RTX 4090", 128),
    ("RTX 4080 SUPER", 80),
    ("RTX 4080", 76),
    ("RTX 4070 Ti SUPER", 66),
    ("RTX 4070 Ti", 60),
    ("RTX 4070 SUPER", 56),
    ("RTX 4070", 46),
    ("RTX 4060 Ti", 34),
    ("RTX 4060", 24),
    ("RTX 3090 Ti", 84),
    ("RTX 3090", 82),
    ("RTX 3080 Ti", 80),
    ("RTX 3070 Ti", 48),
    ("RTX 3070", 46),
    ("RTX 3060 Ti", 38),
    ("RTX 2080 Ti", 68),
    ("RTX 2080 SUPER", 48),
    ("RTX 2080", 46),
    ("RTX 2070 SUPER", 40),
    ("RTX 2070", 36),
    ("GTX 1660 Ti", 24),
    ("GTX 1660", 22),
    ("GTX 1080 Ti", 28),
    ("GTX 1080", 20),
];

/// Multiprocessors of the GPU of this name, or threads of the CPU that emulates a GPU; `None` if unknown.
pub fn multiprocessors(name: &str, kind: DeviceKind) -> Option<u32> {
    if kind == DeviceKind::Software {
        let threads = std::thread::available_parallelism().ok()?;
        return u32::try_from(threads.get()).ok();
    }
    let name = ["NVIDIA ", "Tesla ", "GeForce "]
        .iter()
        .fold(name.trim(), |name, maker| name.strip_prefix(maker).unwrap_or(name));
    // A partition of a GPU has the name of the whole GPU.
    if name.contains("MIG") {
        return None;
    }
    let first_word = name.split([' ', '-']).next()?;
    let find = |table: &[(&str, u32)], wanted: &str| {
        table.iter().find(|(known, _)| *known == wanted).map(|&(_, count)| count)
    };
    find(&WHOLE_NAMES, name).or_else(|| find(&DATA_CENTRE, first_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_and_kinds_of_memory_do_not_matter_and_other_chips_of_a_similar_name_are_unknown() {
        for (name, expected) in [
            ("NVIDIA H200", Some(132)),
            ("NVIDIA H200 NVL", Some(132)),
            ("NVIDIA H100 80GB HBM3", Some(132)),
            ("NVIDIA H100 PCIe", Some(114)),
            ("NVIDIA A100-SXM4-80GB", Some(108)),
            ("NVIDIA A100 80GB PCIe", Some(108)),
            ("Tesla V100-SXM2-16GB", Some(80)),
            ("Tesla T4", Some(40)),
            ("NVIDIA GeForce RTX 4090", Some(128)),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
            ("NVIDIA GeForce RTX 4090 D", None),
            ("NVIDIA GeForce RTX 3090", Some(82)),
            ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
            ("NVIDIA T400 4GB", None),
            ("Intel(R) UHD Graphics 770", None),
            ("", None),
        ] {
            assert_eq!(multiprocessors(name, DeviceKind::DiscreteGpu), expected, "{name}");
        }
        assert!(multiprocessors("llvmpipe", DeviceKind::Software) >= Some(1));
    }
}
