//! Estimates of the cost of work on a GPU, in multiply-adds of one multiprocessor.

use crate::device::{DeviceKind, DeviceProfile};

/// Multiply-adds that a GPU does in the time of moving one f32 to or from memory: today's GPUs do about 20 f32
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

/// What an implementation is expected to cost: implementations are offered by rising costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// What is known of it before any time is worked out.
    pub class: CostClass,
    /// The expected time, in multiply-adds of one multiprocessor; 0 where no rule says.
    pub time: f64,
}

/// What is known of an implementation's cost before any time is worked out, the fastest first.
///
/// Expected times are rough, so a trial of the first few should see every kind of implementation: the best guess of each
/// kind comes before what it may be mistaken about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostClass {
    /// Made for sizes at which the others leave most of a device idle.
    Tailored,
    /// The best guess among those of its kind, which suit most sizes.
    BestOfKind,
    /// Others of a kind, which may well turn out better than its best guess.
    RunnerUp,
    /// Others of a kind that hardly ever do.
    Reserve,
    /// Written from the definition, for whatever the others do not take.
    Plain,
}

impl Cost {
    /// No rule says more than the class.
    pub fn of_class(class: CostClass) -> Self {
        Cost { class, time: 0.0 }
    }
}
