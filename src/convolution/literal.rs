//! A convolution of values that are not all finite: the definition's answer there too.

use rayon::prelude::*;

use crate::device::DeviceProfile;
use crate::ops::kernel::Implementation;
use crate::ops::op::Read;
use crate::ops::{CpuForm, Op, Operand, Operands, Precision};

/// An operation that has only those of its implementations that add up the definition's terms and no others, or none that
/// can be told from it: fast ones multiply the padding's zeros as well, which gives NaN where the other factor is infinite,
/// and Winograd's mix the values of neighbouring windows.
#[derive(Debug)]
pub struct Literal<O> {
    /// The operation.
    pub op: O,
    /// Whether the factor that zeros of the padding are multiplied by is finite.
    pub is_finite_at_padding: bool,
}

impl<O: Op> Literal<O> {
    fn define_what_is_nan(&self, operands: &mut Operands<f32>) {
        let written = self.op.operands().iter().position(|operand| operand.access.writes());
        let written = written.expect("an operation writes something");
        let buffers = operands.as_mut_slice();
        let mut answer = std::mem::take(&mut buffers[written]);
        let buffers = &*buffers;
        let read = |operand: usize, position: usize| f64::from(buffers[operand].reals()[position]);
        let undefined = answer.reals_mut().par_iter_mut().enumerate().filter(|(_, value)| value.is_nan());
        undefined.for_each(|(index, value)| {
            if let Some(defined) = self.op.define_at(&read, index) {
                *value = defined as f32;
            }
        });
        operands.as_mut_slice()[written] = answer;
    }
}

impl<O: Op> Op for Literal<O> {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn operands(&self) -> Vec<Operand> {
        self.op.operands()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        self.op.define(operands);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        self.op.define_at(read, index)
    }

    /// A form that adds up the definition's products, with more terms that are zero times something: an answer that they
    /// have changed is NaN. What is NaN is computed again, from the definition.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let forms = self.op.cpu_forms();
            forms.iter().find(|form| form.exact_on_integers).unwrap_or(&forms[0]).run(operands);
            if !self.is_finite_at_padding {
                self.define_what_is_nan(operands);
            }
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        vec![self.op.reference_implementation(device)]
    }

    fn flops(&self) -> u64 {
        self.op.flops()
    }

    fn precision(&self) -> Precision {
        self.op.precision()
    }

    fn precision_of(&self, operand: usize) -> Precision {
        self.op.precision_of(operand)
    }
}
