//! Fuses steps without changing the result: biases and activations move into the step that computes their input, and
//! activations' derivatives into the steps that read their gradient, or into the pool that computes it.

use std::any::Any;

use super::{BufferId, Plan, Step};
use crate::ops::activation::{ActivationForward, ActivationGrad};
use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::conv::{ConvForward, ConvGradFilters, ConvGradInput};
use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight};
use crate::ops::pool::PoolGrad;
use crate::ops::{Epilogue, Op, Prologue};

/// Which activations' gradients become prologues of the steps that read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prologues {
    /// None: each gradient is a step of its own.
    Nowhere,
    /// Those whose fusion saves more memory traffic than it causes.
    WhereTheyPay,
    /// All whose readers accept a prologue.
    Everywhere,
}

/// Index of the output among the operands of convolutions and dense layers.
const OUTPUT: usize = 2;

/// Columns of a tile of `gemm/tiled.wgsl`: a pass reads its gradient once for each tile along the columns.
const TILE_COLUMNS: usize = 128;

/// Elements that a GPU moves in the time that one more step costs (its launch and the wait for the step before it): 2
/// us at 500 GB/s.
const ELEMENTS_PER_STEP: usize = 256 << 10;

impl Plan {
    /// The same plan in fewer steps. Every buffer that is [kept](Plan::keep) is still written; others may no longer
    /// be used, and then take no memory.
    ///
    /// A bias and an activation after a convolution or a dense layer are applied before its output is stored. An
    /// activation that saves its input for the backward pass stays a step, and so does one whose input has other
    /// readers. A max-pool's gradient step also applies the derivative of the activation whose output the pool has
    /// read, unless `prologues` is [`Prologues::Nowhere`]; `prologues` also decides about the gradients of
    /// activations that save their output.
    pub fn fused(mut self, prologues: Prologues) -> Plan {
        let mut number = 0;
        while number < self.forward.len() {
            match self.finished(number) {
                Some((step, absorbed)) => {
                    self.forward[number] = step;
                    self.forward.remove(absorbed);
                }
                None => number += 1,
            }
        }
        let mut number = 0;
        while number < self.backward.len() {
            match self.through_activation(number).filter(|_| prologues != Prologues::Nowhere) {
                Some((step, absorbed)) => {
                    self.backward[number] = step;
                    self.backward.remove(absorbed);
                }
                None => number += 1,
            }
        }
        let mut number = 0;
        while number < self.backward.len() {
            match self.readers_with_prologue(number, prologues) {
                Some(readers) => {
                    for (reader, step) in readers {
                        self.backward[reader] = step;
                    }
                    self.backward.remove(number);
                }
                None => number += 1,
            }
        }
        self
    }

    /// A step of the forward pass that also computes the next step on its output, and that next step's number.
    fn finished(&self, number: usize) -> Option<(Step, usize)> {
        let Step { op, operands } = &self.forward[number];
        let &output = operands.get(OUTPUT)?;
        let later = self.forward[number + 1..].iter().position(|step| step.operands.contains(&output));
        let absorbed = number + 1 + later?;
        let next = &self.forward[absorbed];
        let mut operands = operands.clone();
        let op = if let Some(BiasForward { .. }) = cast(next.op.as_ref()) {
            operands.push(next.operands[0]);
            let bias = Epilogue { bias: true, activation: None };
            with_epilogue(op.as_ref(), |epilogue| (epilogue == Epilogue::NONE).then_some(bias))?
        } else if let Some(&ActivationForward { activation, .. }) = cast(next.op.as_ref())
            && self.belongs_to(output, 2)
        {
            operands[OUTPUT] = next.operands[1];
            let more = |epilogue: Epilogue| Epilogue { activation: Some(activation), ..epilogue };
            with_epilogue(op.as_ref(), |epilogue| epilogue.activation.is_none().then(|| more(epilogue)))?
        } else {
            return None;
        };
        Some((Step { op, operands }, absorbed))
    }

    /// A max-pool's gradient step that also applies the derivative of the activation before the pool, and the number
    /// of the activation's step.
    fn through_activation(&self, number: usize) -> Option<(Step, usize)> {
        let Step { op, operands } = &self.backward[number];
        let pool: &PoolGrad = cast(op.as_ref())?;
        let &[input, grad_output, pool_grad] = operands.as_slice() else { return None };
        let reads_it = |step: &Step| step.operands.contains(&pool_grad);
        let absorbed = number + 1 + self.backward[number + 1..].iter().position(reads_it)?;
        let next = &self.backward[absorbed];
        let &ActivationGrad { activation, .. } = cast(next.op.as_ref())?;
        let &[activated, _, grad_input] = next.operands.as_slice() else { return None };
        let op = Box::new(pool.through(activation)?);
        let fits = activated == input && self.belongs_to(pool_grad, 2);
        fits.then_some((Step { op, operands: vec![input, grad_output, grad_input] }, absorbed))
    }

    /// Whether `steps` steps are the only users of a buffer, so that fusing them may drop or change it.
    fn belongs_to(&self, buffer: BufferId, steps: usize) -> bool {
        let spec = self.buffer(buffer);
        let users = self.steps().filter(|step| step.operands.contains(&buffer));
        !spec.kept && !spec.role.is_persistent() && users.count() == steps
    }

    /// The readers of an activation's gradient, each with the derivative as its prologue, and their numbers; `None`
    /// if one of them accepts no prologue, or if the fusion does not pay.
    fn readers_with_prologue(&self, number: usize, prologues: Prologues) -> Option<Vec<(usize, Step)>> {
        let Step { op, operands } = &self.backward[number];
        let &ActivationGrad { activation, elements } = cast(op.as_ref())?;
        let prologue = Prologue::of(activation)?;
        let &[activated, grad_output, grad_input] = operands.as_slice() else { return None };
        let mut readers = Vec::new();
        let mut reads = 0;
        for (reader, step) in self.backward.iter().enumerate().filter(|&(reader, _)| reader != number) {
            let Some(position) = step.operands.iter().position(|&id| id == grad_input) else { continue };
            let names: Vec<&str> = step.op.operands().iter().map(|operand| operand.name).collect();
            if names[position] != "grad_output" || names.contains(&"activated") {
                return None;
            }
            let (op, reads_of_one) = with_prologue(step.op.as_ref(), prologue)?;
            let mut operands = step.operands.clone();
            operands[position] = grad_output;
            operands.push(activated);
            readers.push((reader, Step { op, operands }));
            reads += reads_of_one;
        }
        // A separate step reads two tensors and writes one.
        let pays = reads.saturating_sub(3) * elements <= ELEMENTS_PER_STEP;
        let wanted = match prologues {
            Prologues::Nowhere => false,
            Prologues::WhereTheyPay => pays,
            Prologues::Everywhere => true,
        };
        (wanted && self.belongs_to(grad_input, 1 + readers.len())).then_some(readers)
    }
}

fn cast<T: Op>(op: &dyn Op) -> Option<&T> {
    (op as &dyn Any).downcast_ref()
}

/// An operation whose epilogue is what `more` makes of its present one, if it can have that epilogue.
fn with_epilogue(op: &dyn Op, more: impl Fn(Epilogue) -> Option<Epilogue>) -> Option<Box<dyn Op>> {
    if let Some(op) = cast::<ConvForward>(op) {
        Some(Box::new(op.with_epilogue(more(op.epilogue)?)))
    } else if let Some(op) = cast::<DenseForward>(op) {
        Some(Box::new(op.with_epilogue(more(op.epilogue)?)))
    } else {
        None
    }
}

/// An operation with a prologue, if it can have one, and how often it then reads each value of the gradient from
/// memory on a GPU.
fn with_prologue(op: &dyn Op, prologue: Prologue) -> Option<(Box<dyn Op>, usize)> {
    let tiles = |columns: usize| columns.div_ceil(TILE_COLUMNS);
    Some(if let Some(op) = cast::<ConvGradFilters>(op) {
        (Box::new(op.with_prologue(prologue)), tiles(op.geometry.taps()))
    } else if let Some(op) = cast::<ConvGradInput>(op) {
        // Each value contributes to as many input positions as the window has taps.
        let window = op.geometry.height.kernel * op.geometry.width.kernel;
        (Box::new(op.with_prologue(prologue)), window * tiles(op.geometry.group_in_channels()))
    } else if let Some(op) = cast::<DenseGradWeight>(op) {
        (Box::new(op.with_prologue(prologue)), tiles(op.size.in_features))
    } else if let Some(op) = cast::<DenseGradInput>(op) {
        (Box::new(op.with_prologue(prologue)), tiles(op.size.in_features))
    } else if let Some(op) = cast::<BiasGrad>(op) {
        (Box::new(op.with_prologue(prologue)), 1)
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Conv2d;
    use crate::network::{Network, presets};
    use crate::ops::activation::Activation;
    use crate::ops::optimizer::UpdateOptions;
    use crate::plan::{DataParts, LossOptions, TrainOptions, predict_plan, train_plan};
    use crate::tensor::ImageShape;

    const IMAGE: ImageShape = ImageShape { height: 12, width: 12, channels: 1 };

    fn training(network: &Network) -> Plan {
        let data = DataParts { name: "train", image: IMAGE, classes: 10, rows: vec![16] };
        train_plan(
            network,
            &TrainOptions {
                batch_size: 4,
                steps: 4,
                data,
                loss: LossOptions::default(),
                update: UpdateOptions::default(),
            },
        )
        .unwrap()
    }

    fn names(steps: &[Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.op.name()).collect()
    }

    fn count(steps: &[Step], name: &str) -> usize {
        names(steps).iter().filter(|&&found| found == name).count()
    }

    /// A convolution with a bias, the layers that `behind` adds, and a dense layer.
    fn with(
        behind: impl FnOnce(crate::network::NetworkBuilder) -> crate::network::NetworkBuilder,
    ) -> Network {
        let builder = Network::builder("test", IMAGE).conv2d(Conv2d::new(6, [3, 3]).same());
        behind(builder).flatten().dense(10).build().unwrap()
    }

    #[test]
    fn biases_and_activations_of_lenet_are_no_steps() {
        let network = presets::lenet(IMAGE, 10).unwrap();
        for prologues in [Prologues::Nowhere, Prologues::WhereTheyPay, Prologues::Everywhere] {
            let plan = training(&network).fused(prologues);
            plan.assert_valid();
            let forward = [
                "gather_batch",
                "conv2d.forward",
                "max_pool2d.forward",
                "conv2d.forward",
                "max_pool2d.forward",
                "dense.forward",
                "dense.forward",
                "softmax_cross_entropy",
            ];
            assert_eq!(names(&plan.forward), forward);
            let gradients = count(&plan.backward, "activation.grad");
            match prologues {
                Prologues::Nowhere => assert_eq!(gradients, 3),
                Prologues::WhereTheyPay => assert!(gradients < 3),
                Prologues::Everywhere => assert_eq!(gradients, 0),
            }
        }
    }

    #[test]
    fn a_large_gradient_that_is_read_many_times_over_stays_a_step() {
        let network = |filters| {
            let conv = |filters| Conv2d::new(filters, [5, 5]).same();
            let builder = Network::builder("test", IMAGE).conv2d(conv(8)).relu().conv2d(conv(filters)).relu();
            builder.flatten().dense(10).build().unwrap()
        };
        let gradients = |filters| {
            let plan = training(&network(filters)).fused(Prologues::WhereTheyPay);
            count(&plan.backward, "activation.grad")
        };
        // The first convolution's input has no gradient; the second's reads each value 25 times.
        assert_eq!((gradients(1), gradients(64)), (0, 1));
    }

    #[test]
    fn what_is_kept_is_still_written() {
        let network = with(|builder| builder.relu());
        for (kept, steps) in [("conv1.output", 1), ("relu1.output", 0)] {
            let mut plan = training(&network);
            plan.keep(plan.expect(kept));
            let plan = plan.fused(Prologues::Everywhere);
            plan.assert_valid();
            assert_eq!(count(&plan.forward, "activation.forward"), steps, "{kept}");
            assert_eq!(count(&plan.forward, "bias.forward"), 0);
            let buffer = plan.expect(kept);
            assert!(plan.forward.iter().any(|step| step.operands[OUTPUT..].contains(&buffer)), "{kept}");
        }
        let mut plan = training(&network);
        plan.keep(plan.expect("conv1.output.grad"));
        assert_eq!(count(&plan.fused(Prologues::Everywhere).backward, "activation.grad"), 1);
    }

    #[test]
    fn what_others_read_is_still_written() {
        let plan = training(&with(|builder| builder.relu().add("conv1"))).fused(Prologues::Everywhere);
        plan.assert_valid();
        assert_eq!(count(&plan.forward, "activation.forward"), 1);
        // conv1's gradient is a sum, which takes no prologue.
        assert_eq!(count(&plan.backward, "activation.grad"), 1);
    }

    #[test]
    fn only_the_first_activation_behind_a_layer_is_fused() {
        let two = |builder: crate::network::NetworkBuilder| builder.relu().activation(Activation::Tanh);
        let plan = training(&with(two)).fused(Prologues::Everywhere);
        plan.assert_valid();
        assert_eq!(count(&plan.forward, "activation.forward"), 1);
        assert_eq!(count(&plan.backward, "activation.grad"), 1);
        let behind_a_pool = with(|builder| builder.max_pool(2).relu());
        let plan = training(&behind_a_pool).fused(Prologues::Everywhere);
        plan.assert_valid();
        assert_eq!(count(&plan.forward, "activation.forward"), 1);
        assert_eq!(count(&plan.backward, "activation.grad"), 1);
    }

    #[test]
    fn an_activation_that_saves_its_input_is_fused_where_there_is_no_backward_pass() {
        let network = with(|builder| builder.activation(Activation::Gelu));
        let plan = training(&network).fused(Prologues::Everywhere);
        plan.assert_valid();
        assert_eq!(count(&plan.forward, "activation.forward"), 1);
        assert_eq!(count(&plan.backward, "activation.grad"), 1);
        let plan = predict_plan(&network, 3).unwrap().fused(Prologues::Nowhere);
        plan.assert_valid();
        assert_eq!(names(&plan.forward), ["conv2d.forward", "dense.forward"]);
    }

    #[test]
    fn fusing_twice_changes_nothing_more() {
        let network = presets::vgg_mini(IMAGE, 10).unwrap();
        let once = training(&network).fused(Prologues::Everywhere);
        let before = format!("{once:?}");
        assert_eq!(format!("{:?}", once.fused(Prologues::Everywhere)), before);
    }
}
