//! A copy, which measures the peak bandwidth of a device's memory.

use crate::cpu::map;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};

/// Copies a tensor, which keeps the device's memory busy and nothing else.
///
/// `result[i] = input[i]`
///
/// # Shapes
/// input -> result, both `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRate {
    /// Number of elements of each tensor.
    pub elements: usize,
}

impl CopyRate {
    /// Number of elements that an invocation copies: enough that the cost of starting it does not matter.
    const ELEMENTS_EACH: usize = 16;
}

impl Op for CopyRate {
    fn name(&self) -> &'static str {
        "bench.copy"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", [self.elements]), Operand::write("result", [self.elements])]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, result] = operands.all();
        for (result, input) in result.reals_mut().iter_mut().zip(input.reals()) {
            *result = *input;
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, result] = operands.all();
            map(result.reals_mut(), input.reals(), |value| value);
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("ELEMENTS", self.elements.into())];
        let source = shader!("ceilings/copy.wgsl", "grid.wgsl");
        let source = source.with_sizes(&[("ELEMENTS_EACH", Self::ELEMENTS_EACH as u32)]);
        let invocations = self.elements.div_ceil(Self::ELEMENTS_EACH);
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 2, invocations))]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}
