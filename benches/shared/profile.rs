//! The profile of a GPU, for benches that ask what it would run without having one.

use wgconv::device::{DeviceKind, DeviceProfile};

/// A discrete GPU of so many multiprocessors; an NVIDIA H100 or H200 has 132.
pub fn discrete_gpu(multiprocessors: u32) -> DeviceProfile {
    DeviceProfile {
        name: "discrete GPU".into(),
        kind: DeviceKind::DiscreteGpu,
        min_subgroup_size: 32,
        max_workgroup_bytes: 48 << 10,
        max_workgroup_invocations: 1024,
        max_buffer_bytes: 4 << 30,
        max_binding_bytes: (4 << 30) - 4,
        multiprocessors: Some(multiprocessors),
        max_loop_trips: None,
        matrix_units: None,
    }
}
