//! What work costs on a GPU, as estimates count it: in multiply-adds of one multiprocessor.

use crate::device::{DeviceKind, DeviceProfile};

/// Multiply-adds that a GPU does while one f32 travels to memory or back: about 30 operations a byte lie between
/// the rates of today's GPUs, in f32, and their memories' bandwidth.
pub const MULTIPLY_ADDS_PER_ELEMENT: f64 = 40.0;

/// What a launch and the wait for the one before it cost, in multiply-adds of one multiprocessor: some 2 us.
pub const LAUNCH: f64 = 500e3;

/// Multiprocessors of a device, or as many as devices of its kind have.
pub fn multiprocessors(device: &DeviceProfile) -> usize {
    match (device.multiprocessors, device.kind) {
        (Some(known), _) => known as usize,
        (None, DeviceKind::DiscreteGpu | DeviceKind::VirtualGpu) => 64,
        (None, DeviceKind::IntegratedGpu | DeviceKind::Other) => 16,
        (None, DeviceKind::Software) => 2,
    }
}

/// What elements on their way to memory or back cost, in multiply-adds of one multiprocessor.
pub fn travel(elements: usize, device: &DeviceProfile) -> f64 {
    elements as f64 * MULTIPLY_ADDS_PER_ELEMENT / multiprocessors(device) as f64
}
