//! A bias's gradient beside that of a weight: by an operation that reads the output's gradient anyway.

use std::any::Any;

use super::BiasGrad;
use crate::device::DeviceProfile;
use crate::ops::cost::{LAUNCH, travel};
use crate::ops::kernel::{Implementation, best_first};
use crate::ops::op::{Beside, HostBuffer, Op, Operand};
use crate::ops::prologue::Prologue;

/// The gradient of a bias, computed by an operation with the operands input, grad_output and that of the weight, then activated
/// if there is a prologue, then grad_bias.
#[derive(Clone, Copy, Debug)]
pub struct BesideWeight {
    /// The gradient as an operation of its own.
    pub grad: BiasGrad,
}

/// The number of the operand grad_output.
const GRAD_OUTPUT: usize = 1;

/// The number of the operand activated.
const ACTIVATED: usize = 3;

impl BesideWeight {
    /// This gradient beside that of a weight with the same prologue.
    pub fn new(grad: BiasGrad) -> Self {
        BesideWeight { grad }
    }

    /// The number of the operand grad_bias.
    pub fn grad_bias(&self) -> usize {
        ACTIVATED + usize::from(self.grad.prologue != Prologue::NONE)
    }

    /// The operand grad_bias.
    pub fn operand(&self) -> Operand {
        Operand::write("grad_bias", [self.grad.channels])
    }

    /// If `other` computes this gradient, what becomes of a weight's gradient that does too, as `both`.
    pub fn fused(&self, other: &dyn Op, both: impl Op) -> Option<Beside> {
        let is_this = (other as &dyn Any).downcast_ref::<BiasGrad>() == Some(&self.grad);
        // The other's operands are grad_output, grad_bias and, if there is a prologue, activated.
        let mut same = vec![[GRAD_OUTPUT, 0]];
        same.extend((self.grad.prologue != Prologue::NONE).then_some([ACTIVATED, 2]));
        is_this.then(|| Beside { op: Box::new(both), same, further: vec![1] })
    }

    /// The definition, on the operands grad_output and those after the weight's gradient.
    pub fn define(&self, grad_output: &HostBuffer<f64>, more: &mut [HostBuffer<f64>]) {
        if let Some((grad_bias, more)) = more.split_last_mut() {
            self.grad.define_from(grad_output, grad_bias, more);
        }
    }

    /// As [`Self::define`], on the CPU.
    pub fn run_on_cpu(&self, grad_output: &HostBuffer<f32>, more: &mut [HostBuffer<f32>]) {
        if let Some((grad_bias, more)) = more.split_last_mut() {
            self.grad.run_on_cpu(grad_output, grad_bias, more);
        }
    }

    /// The same ways to compute the weight's gradient: those that do not compute the bias's are followed by kernels that do.
    pub fn complete(&self, ways: Vec<Implementation>, device: &DeviceProfile) -> Vec<Implementation> {
        let operands = [GRAD_OUTPUT, self.grad_bias(), ACTIVATED];
        let last = ways.len().saturating_sub(1);
        let complete = |(number, way): (usize, Implementation)| {
            if way.binds(self.grad_bias()) {
                return way;
            }
            // The last one is the simplest.
            let grad = match number == last {
                true => self.grad.reference_implementation(device),
                false => self.grad.implementations(device).swap_remove(0),
            };
            let mut way = way.followed_by(grad, &operands);
            way.cost.time += LAUNCH + travel(self.grad.rows * self.grad.channels, device);
            way
        };
        best_first(ways.into_iter().enumerate().map(complete).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Operands;
    use crate::ops::activation::Activation;
    use crate::ops::conv::{ConvGeometry, ConvGradFilters};
    use crate::ops::dense::{DenseGradWeight, DenseSize};
    use crate::ops::window::WindowOptions;
    use crate::tensor::ImageShape;
    use crate::verify::{Data, Trial};

    /// `alone` and `bias` fuse to `both`, whose definition answers what theirs do.
    fn check(alone: impl Op, bias: BiasGrad, both: impl Op) {
        let fused = alone.fuse_beside(&bias).unwrap().op;
        assert_eq!(format!("{fused:?}"), format!("{both:?}"));
        assert!(both.fuse_beside(&bias).is_none(), "twice");
        assert!(alone.fuse_beside(&BiasGrad { channels: 1, ..bias }).is_none(), "of other channels");
        assert!(alone.fuse_beside(&alone).is_none(), "no bias");
        let trial = Trial::new(Box::new(both), Data::Reals, 5).unwrap();
        let (given, answer) = (trial.given(), trial.answer());
        let last = given.len() - 1;
        let defined = |op: &dyn Op, operands: &[usize]| {
            let mut operands =
                Operands::new(operands.iter().map(|&operand| given[operand].clone()).collect());
            op.define(&mut operands);
            operands.into_buffers()
        };
        let own: Vec<usize> = (0..last).collect();
        assert_eq!(defined(&alone, &own)[2], answer[2]);
        let of_bias: Vec<usize> = [GRAD_OUTPUT, last].into_iter().chain(ACTIVATED..last).collect();
        assert_eq!(defined(&bias, &of_bias)[1], answer[last]);
    }

    #[test]
    fn both_gradients_are_what_they_are_alone() {
        let image = ImageShape { height: 5, width: 4, channels: 3 };
        let geometry = ConvGeometry::new(2, image, 6, 1, &WindowOptions::new([3, 3])).unwrap();
        let size = DenseSize::new(7, 3, 5).unwrap();
        for prologue in [Prologue::NONE, Prologue::of(Activation::Relu).unwrap()] {
            let alone = ConvGradFilters::new(geometry).with_prologue(prologue);
            check(alone, BiasGrad::new(12, 6).with_prologue(prologue), alone.with_bias());
            let alone = DenseGradWeight::new(size).with_prologue(prologue);
            check(alone, BiasGrad::new(7, 5).with_prologue(prologue), alone.with_bias());
        }
    }
}
