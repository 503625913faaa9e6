//! Devices as plain data: the properties by which operations choose their kernels, and the device that a user asks
//! for.

use std::fmt;
use std::str::FromStr;

use crate::ops::cost::{LAUNCH, MULTIPLY_ADDS_PER_ELEMENT};

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A GPU with memory of its own.
    DiscreteGpu,
    /// A GPU that shares the CPU's memory.
    IntegratedGpu,
    /// A GPU assigned to a virtual machine.
    VirtualGpu,
    /// A software rasteriser: GPU kernels on the CPU.
    Software,
    /// Unknown.
    Other,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceKind::DiscreteGpu => "discrete GPU",
            DeviceKind::IntegratedGpu => "integrated GPU",
            DeviceKind::VirtualGpu => "virtual GPU",
            DeviceKind::Software => "software rasteriser",
            DeviceKind::Other => "unknown kind",
        })
    }
}

/// Elements (f32) that a device about which nothing is known is expected to move to or from memory in the time of a launch,
/// with the wait for the one before: 2 us at 500 GB/s.
pub const USUAL_ELEMENTS_PER_LAUNCH: usize = 256 << 10;

/// The properties of a GPU by which an operation chooses its kernels.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DeviceProfile {
    /// The adapter's name.
    pub name: String,
    /// Its kind.
    pub kind: DeviceKind,
    /// Number of consecutive invocations of a workgroup that are guaranteed to share a subgroup; 0 if kernels cannot
    /// use subgroups.
    pub min_subgroup_size: u32,
    /// Maximum shared memory of a workgroup, in bytes.
    pub max_workgroup_bytes: u32,
    /// Maximum number of invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Maximum size of a buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Maximum size of a binding, in bytes.
    pub max_binding_bytes: u64,
    /// Total number of loop iterations of an invocation after which the driver silently leaves the loops; `None` if
    /// there is no such limit. Mesa's software rasteriser has one.
    pub max_loop_trips: Option<u32>,
    /// Number of units that run workgroups in parallel: a GPU's multiprocessors, a software rasteriser's threads.
    /// `None` if unknown.
    pub multiprocessors: Option<u32>,
    /// What multiplies matrices as a whole, if kernels can use it.
    pub matrix_units: Option<MatrixUnits>,
}

/// Units of a GPU that multiply two square matrices of halves (f16) and add the product to one of f32; a subgroup uses them
/// together. NVIDIA calls them tensor cores; in Vulkan and WGSL, they work on cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct MatrixUnits {
    /// Rows and columns of the matrices: 8 or 16.
    pub lines: u32,
    /// Number of invocations of every subgroup.
    pub lanes: u32,
    /// Whether kernels do in scalar code what units for matrices of 8 lines would do: for tests on devices without them.
    pub emulated: bool,
}

impl DeviceProfile {
    /// The limits that every WebGPU device has.
    pub fn portable() -> Self {
        DeviceProfile {
            name: "portable".into(),
            kind: DeviceKind::Other,
            max_workgroup_bytes: 16 << 10,
            max_workgroup_invocations: 256,
            max_buffer_bytes: 256 << 20,
            max_binding_bytes: 128 << 20,
            multiprocessors: None,
            max_loop_trips: None,
            min_subgroup_size: 0,
            matrix_units: None,
        }
    }

    /// Size in bytes of the largest buffer that a kernel can bind as a whole.
    pub fn largest_buffer(&self) -> u64 {
        self.max_binding_bytes.min(self.max_buffer_bytes)
    }

    /// Elements (f32) that the device moves to or from memory in the time of a launch, with the wait for the one before.
    ///
    /// For a GPU whose multiprocessors are known, that is their number times 12,500: 2 us at 25 GB/s each, by the estimates by
    /// which operations choose their kernels. An NVIDIA H200, which has 132, copies 3.3 to 4.3 TB/s, 25 to 33 GB/s each, and takes
    /// 1.83 us for a launch that waits for another. GPUs with slower memory have 5 to 20 GB/s each, but tensors that are read again
    /// within this bound are small enough for their caches, which give at least as much. For all other devices it is
    /// [`USUAL_ELEMENTS_PER_LAUNCH`].
    pub fn elements_per_launch(&self) -> usize {
        match self.multiprocessors {
            Some(count) if self.kind != DeviceKind::Software => {
                (f64::from(count) * LAUNCH / MULTIPLY_ADDS_PER_ELEMENT) as usize
            }
            _ => USUAL_ELEMENTS_PER_LAUNCH,
        }
    }

    /// Total number of loop iterations of an invocation that a kernel may rely on: somewhat fewer than the limit,
    /// since a compiler may add a few.
    pub fn loop_trips(&self) -> usize {
        self.max_loop_trips.map_or(usize::MAX, |limit| limit as usize / 16 * 15)
    }
}

/// The device that a user asks for: `auto`, `cpu`, `gpu`, an adapter's number or part of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU if there is one, otherwise the CPU executor.
    #[default]
    Auto,
    /// The CPU executor.
    Cpu,
    /// The definitions in f64: slow, and the reference for all others.
    Reference,
    /// The best GPU.
    Gpu,
    /// The adapter of this number in the list of `wgconv devices`.
    Index(usize),
    /// The first adapter whose name contains this, ignoring case.
    Name(String),
}

impl FromStr for DeviceChoice {
    type Err = String;

    /// # Errors
    /// Says what is expected, for text without a visible character, which every name would contain.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("expected auto, cpu, gpu, reference, an adapter's number, or part of its name".into());
        }
        Ok(match text.to_ascii_lowercase().as_str() {
            "auto" => DeviceChoice::Auto,
            "cpu" => DeviceChoice::Cpu,
            "reference" => DeviceChoice::Reference,
            "gpu" => DeviceChoice::Gpu,
            lower => match lower.parse() {
                Ok(index) => DeviceChoice::Index(index),
                Err(_) => DeviceChoice::Name(text.into()),
            },
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Reference => f.write_str("reference"),
            DeviceChoice::Gpu => f.write_str("gpu"),
            DeviceChoice::Index(index) => write!(f, "{index}"),
            DeviceChoice::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_gpu_moves_more_in_the_time_of_a_launch() {
        let elements = |kind, multiprocessors| {
            let device = DeviceProfile { kind, multiprocessors, ..DeviceProfile::portable() };
            device.elements_per_launch()
        };
        assert_eq!(elements(DeviceKind::DiscreteGpu, Some(132)), 1_650_000);
        assert_eq!(elements(DeviceKind::DiscreteGpu, Some(10)), 125_000);
        for (kind, multiprocessors) in [
            (DeviceKind::DiscreteGpu, None),
            (DeviceKind::IntegratedGpu, None),
            (DeviceKind::Software, Some(64)),
        ] {
            assert_eq!(elements(kind, multiprocessors), USUAL_ELEMENTS_PER_LAUNCH);
        }
    }

    #[test]
    fn a_device_is_told_by_kind_number_or_name() {
        for (text, expected) in [
            ("auto", DeviceChoice::Auto),
            ("CPU", DeviceChoice::Cpu),
            ("reference", DeviceChoice::Reference),
            ("gpu", DeviceChoice::Gpu),
            ("7", DeviceChoice::Index(7)),
            ("RTX 4090", DeviceChoice::Name("RTX 4090".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for nothing in ["", " ", "\t"] {
            assert!(nothing.parse::<DeviceChoice>().unwrap_err().starts_with("expected auto, cpu, gpu, "));
        }
    }
}
