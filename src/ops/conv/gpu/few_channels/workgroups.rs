//! The resources of a device that a workgroup of the kernels for few channels uses.

use crate::device::DeviceProfile;

/// The largest number of invocations in a workgroup.
pub fn invocations(device: &DeviceProfile) -> usize {
    256.min(device.max_workgroup_invocations as usize)
}

/// The largest number of bytes of workgroup memory: those that every device has. With more, fewer workgroups would
/// share a multiprocessor.
pub fn workgroup_bytes(device: &DeviceProfile) -> usize {
    (16 << 10).min(device.max_workgroup_bytes as usize)
}
