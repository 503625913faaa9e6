//! Estimates of the cost of work on a GPU, in multiply-adds of one multiprocessor.

use crate::device::{DeviceKind, DeviceProfile};

/// Multiply-adds that a GPU does in the time of moving one f32 to or from memory: today's GPUs do about 30 f32
/// operations per byte of memory bandwidth.
pub const MULTIPLY_ADDS_PER_ELEMENT: f64 = 40.0;

/// Cost of a launch and of the wait for the one before it, in multiply-adds of one multiprocessor: about 2 us.
pub const LAUNCH: f64 = 500e3;

/// Number of multiprocessors of a device, or the usual number for its kind.
pub fn multiprocessors(device: &DeviceProfile) -> usize {
    match (device.multiprocessors, device.kind) {
        (Some(known), _) => known as usize,
        (None, DeviceKind::DiscreteGpu | DeviceKind::VirtualGpu) => 64,
        (None, DeviceKind::IntegratedGpu | DeviceKind::Other) => 16,
        (None, DeviceKind::Software) => 2,
    }
}

/// Cost of moving elements to or from memory, in multiply-adds of one multiprocessor.
pub fn travel(elements: usize, device: &DeviceProfile) -> f64 {
    elements as f64 * MULTIPLY_ADDS_PER_ELEMENT / multiprocessors(device) as f64
}
