//! Adding two tensors.

use crate::cpu::zip_map;
use crate::device::DeviceProfile;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Valuewise};

/// Adds two tensors: the branches of a residual layer, or the gradients of a tensor with two readers.
///
/// `sum[i] = a[i] + b[i]`
///
/// # Shapes
/// a, b -> sum, all `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// Number of elements of each tensor.
    pub elements: usize,
}

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("a", [self.elements]),
            Operand::read("b", [self.elements]),
            Operand::write("sum", [self.elements]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [a, b, sum] = operands.all();
        let (a, b, sum) = (a.reals(), b.reals(), sum.reals_mut());
        for i in 0..self.elements {
            sum[i] = a[i] + b[i];
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [a, b, sum] = operands.all();
            zip_map(sum.reals_mut(), a.reals(), b.reals(), |a, b| a + b);
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("ELEMENTS", self.elements.into())];
        let direct = shader!("add.wgsl", "grid.wgsl");
        vec![Implementation::of(
            "direct",
            KernelCall::elementwise_together(direct, constants, 3, self.elements),
        )]
    }

    /// Whichever of the two comes last takes the other as its summand.
    fn as_epilogue(&self, operand: usize) -> Option<Valuewise<Epilogue>> {
        let function = Epilogue { summand: true, ..Epilogue::NONE };
        (operand < 2).then_some(Valuewise { function, takes: operand, gives: 2 })
    }

    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        Precision::sum_of_products(2)
    }
}
