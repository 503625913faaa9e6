//! What a workgroup of the kernels for few channels takes of a device.

use crate::device::DeviceProfile;

/// Invocations of a workgroup, at most.
pub fn invocations(device: &DeviceProfile) -> usize {
    256.min(device.max_workgroup_invocations as usize)
}

/// Bytes of workgroup memory, at most: what every device has. With more of it, fewer workgroups would share a
/// multiprocessor.
pub fn workgroup_bytes(device: &DeviceProfile) -> usize {
    (16 << 10).min(device.max_workgroup_bytes as usize)
}
