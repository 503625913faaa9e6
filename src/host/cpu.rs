//! The executor that runs operations on all cores of the CPU, in f32.

use super::{Arithmetic, HostExecutor};
use crate::ops::{CpuForm, Op};

/// Runs plans on all cores of the CPU, in f32, without any driver.
pub type CpuExecutor = HostExecutor<f32>;

impl CpuExecutor {
    /// The same executor, which trains in [mixed precision](crate::train::Precision::Mixed) where that is asked for: it rounds
    /// as a device does that stores halves, without saving memory or time. This shows on any machine how a network learns so.
    pub fn with_halves(mut self) -> Self {
        self.halves = true;
        self
    }
}

impl Arithmetic for f32 {
    fn device_name() -> String {
        match rayon::current_num_threads() {
            1 => "CPU executor, 1 thread".into(),
            threads => format!("CPU executor, {threads} threads"),
        }
    }

    fn forms(op: &dyn Op) -> Vec<CpuForm<'_>> {
        op.cpu_forms()
    }

    fn to_f32(self) -> f32 {
        self
    }

    const NAN: f32 = f32::NAN;

    fn to_f64(self) -> f64 {
        self.into()
    }

    fn from_f64(value: f64) -> f32 {
        value as f32
    }

    fn from_f32(value: f32) -> f32 {
        value
    }
}
