//! The executor that runs the definitions, in f64. No code here names an operation.

use super::{Arithmetic, HostExecutor};
use crate::ops::{CpuForm, Op};

/// Runs plans by their operations' definitions, in f64: slow, and the standard against which every other executor is
/// tested.
pub type ReferenceExecutor = HostExecutor<f64>;

impl Arithmetic for f64 {
    fn device_name() -> String {
        "reference, f64".into()
    }

    fn forms(op: &dyn Op) -> Vec<CpuForm<'_, f64>> {
        vec![CpuForm::exact("definition", |operands| op.define(operands))]
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    const NAN: f64 = f64::NAN;

    fn to_f64(self) -> f64 {
        self
    }

    fn from_f64(value: f64) -> f64 {
        value
    }

    fn from_f32(value: f32) -> f64 {
        value.into()
    }
}
