//! Fusion, which computes the same answer in fewer steps: a function of each value of a tensor moves into the step that
//! writes the tensor, or into the steps that read it. The operations themselves decide what they can fuse; no code here
//! names an operation.

use std::ops::Range;

use super::{BufferId, BufferSpec, Plan, Step};
use crate::device::USUAL_ELEMENTS_PER_LAUNCH;
use crate::ops::{Access, Beside, Op, Recomputing, Valuewise};

/// Selects the gradients of activations that become prologues of the steps that read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prologues {
    /// None: each is a separate step.
    Nowhere,
    /// Those that save more than they cost on a device about which nothing is known.
    WhereTheyPay,
    /// The same on a device that moves this many elements in the time of a launch, as
    /// [`Executor::elements_per_launch`](super::Executor::elements_per_launch) says.
    WhereTheyPayAt(usize),
    /// All whose readers support them.
    Everywhere,
}

impl Prologues {
    /// How many elements of traffic more a prologue may cause than a step of its own, whose launch it saves.
    fn most_traffic(self) -> usize {
        match self {
            Prologues::Nowhere => 0,
            Prologues::WhereTheyPay => USUAL_ELEMENTS_PER_LAUNCH,
            Prologues::WhereTheyPayAt(elements_per_launch) => elements_per_launch,
            Prologues::Everywhere => usize::MAX,
        }
    }
}

impl Plan {
    /// The same plan in fewer steps. Every buffer that is [kept](Plan::keep) is still written; others may become
    /// unused, and then take no memory.
    ///
    /// A bias, a normalisation with given statistics and an activation after a convolution or a dense layer are applied
    /// before its output is stored; so are a residual block's sum and an activation after a normalisation. An activation
    /// that saves its input for the backward pass remains a step, as does one whose input has other readers: but where the
    /// gradient of a normalisation can compute that input again, it is not saved.
    ///
    /// A max-pool's gradient is fused with that of the activation whose output the pool has read, unless `prologues` is
    /// [`Prologues::Nowhere`]; `prologues` also selects which gradients of activations are fused with the steps that read
    /// them. Nor is the gradient of a bias a step, unless it is that: the step that computes the weight's gradient computes it too,
    /// and the step of a convolution normalises what it computes, if that is to be done with the statistics of the batch.
    ///
    /// The last step that changes the loss also counts the training step.
    pub fn fused(self, prologues: Prologues) -> Plan {
        self.fused_as(prologues, true)
    }

    /// The same plan in fewer steps, to be put [in halves](Plan::in_halves). Convolutions do not normalise what they compute: the
    /// statistics would be those of the values before they are rounded.
    pub fn fused_for_halves(self, prologues: Prologues) -> Plan {
        self.fused_as(prologues, false)
    }

    fn fused_as(mut self, prologues: Prologues, normalises: bool) -> Plan {
        let [forward, backward, update] =
            [&mut self.forward, &mut self.backward, &mut self.update].map(std::mem::take);
        let backward_from = forward.len();
        let update_from = backward_from + backward.len();
        let steps = forward.into_iter().chain(backward).chain(update);
        let mut fusion = Fusion::new(&self.buffers, steps.collect());
        let (forward, backward) = (0..backward_from, backward_from..update_from);
        fusion.take_over_epilogues(&forward);
        if prologues != Prologues::Nowhere {
            for number in backward.clone() {
                while fusion.take_over_next_prologue(number, &backward) {}
            }
            for number in backward.clone() {
                if !fusion.share_prologue(number, &backward) {
                    fusion.hand_out_prologue(number, &backward, prologues.most_traffic());
                }
            }
            for number in backward.clone() {
                while fusion.recompute(number) {}
            }
            for number in backward.clone() {
                while fusion.take_in(number, &backward) {}
            }
            // What is computed again need not be stored.
            fusion.take_over_epilogues(&forward);
            // A step takes in what is complete.
            for number in forward.clone().filter(|_| normalises) {
                while fusion.take_in(number, &forward) {}
            }
        }
        let update = update_from..fusion.steps.len();
        for number in 0..update.end {
            while fusion.take_in(number, &update) {}
        }
        let mut steps = fusion.steps.into_iter();
        let mut pass = |length: usize| steps.by_ref().take(length).flatten().collect();
        self.forward = pass(forward.len());
        self.backward = pass(backward.len());
        self.update = steps.flatten().collect();
        self
    }
}

/// The steps during fusion.
struct Fusion<'a> {
    buffers: &'a [BufferSpec],
    /// The steps of all passes; `None` for steps that have been fused into others.
    steps: Vec<Option<Step>>,
    /// Numbers of the steps that bind each buffer, in order.
    users: Vec<Vec<usize>>,
}

impl<'a> Fusion<'a> {
    fn new(buffers: &'a [BufferSpec], steps: Vec<Step>) -> Self {
        let mut users = vec![Vec::new(); buffers.len()];
        for (number, step) in steps.iter().enumerate() {
            for id in &step.operands {
                users[id.index()].push(number);
            }
        }
        Fusion { buffers, steps: steps.into_iter().map(Some).collect(), users }
    }

    /// Replaces the step of this number by `step`, or removes it.
    fn replace(&mut self, number: usize, step: Option<Step>) {
        for id in self.steps[number].iter().flat_map(|before| &before.operands) {
            self.users[id.index()].retain(|&user| user != number);
        }
        for id in step.iter().flat_map(|now| &now.operands) {
            let users = &mut self.users[id.index()];
            users.insert(users.partition_point(|&user| user < number), number);
        }
        self.steps[number] = step;
    }

    /// The first step of a pass after step `number` that binds a buffer.
    fn next_user(&self, buffer: BufferId, number: usize, pass: &Range<usize>) -> Option<usize> {
        let users = &self.users[buffer.index()];
        let next = users.get(users.partition_point(|&user| user <= number));
        next.copied().filter(|next| pass.contains(next))
    }

    /// Whether only `steps` steps use a buffer, so that they may do without it.
    fn belongs_to(&self, buffer: BufferId, steps: usize) -> bool {
        let spec = &self.buffers[buffer.index()];
        !spec.kept && !spec.role.is_persistent() && self.users[buffer.index()].len() == steps
    }

    /// Whether the steps `between` leave these buffers unchanged.
    fn leaves(&self, buffers: &[BufferId], between: Range<usize>) -> bool {
        let is_changed = |id: &BufferId| {
            let mut users = self.users[id.index()].iter().filter(|user| between.contains(user));
            users.any(|&user| self.steps[user].as_ref().is_some_and(|step| writes(step, *id)))
        };
        !buffers.iter().any(is_changed)
    }

    /// Fuses every step of the forward pass with those that follow it, as far as possible. The last come first, so that a
    /// step takes over what follows it even if it is itself taken over then, and keeps it if it is not.
    fn take_over_epilogues(&mut self, pass: &Range<usize>) {
        for number in pass.clone().rev() {
            while self.take_over_epilogue(number, pass) {}
        }
    }

    /// Fuses a step of the forward pass with the next step, if that is a function of each value that the first one
    /// writes; returns false if that is not possible.
    fn take_over_epilogue(&mut self, number: usize, pass: &Range<usize>) -> bool {
        let fused = self.with_next_epilogue(number, pass);
        let Some((step, absorbed)) = fused else { return false };
        self.replace(number, Some(step));
        self.replace(absorbed, None);
        true
    }

    /// The step with the next step on one of its outputs as an epilogue, and the number of that next step.
    fn with_next_epilogue(&self, number: usize, pass: &Range<usize>) -> Option<(Step, usize)> {
        let outputs = written(self.steps[number].as_ref()?.op.as_ref());
        outputs.into_iter().find_map(|output| self.with_next_epilogue_on(number, output, pass))
    }

    fn with_next_epilogue_on(
        &self,
        number: usize,
        written: usize,
        pass: &Range<usize>,
    ) -> Option<(Step, usize)> {
        let Step { op, operands } = self.steps[number].as_ref()?;
        let output = operands[written];
        let absorbed = self.next_user(output, number, pass)?;
        let next = self.steps[absorbed].as_ref()?;
        let operand = next.operands.iter().position(|&id| id == output)?;
        let Valuewise { function, takes, gives } = next.op.as_epilogue(operand)?;
        let further = further(&next.operands, [takes, gives]);
        let fits = (takes == gives || self.belongs_to(output, 2))
            && are_new(&further, operands)
            && self.leaves(&further, number..absorbed);
        let op = fits.then(|| op.fuse_epilogue(written, function))??;
        let mut operands = operands.clone();
        operands[written] = next.operands[gives];
        operands.extend(further);
        Some((Step { op, operands }, absorbed))
    }

    /// Fuses a step of the backward pass with the next step, if that is a function of each value of the gradient that
    /// the first one writes, and the first one reads its operands anyway; returns false if that is not possible.
    fn take_over_next_prologue(&mut self, number: usize, pass: &Range<usize>) -> bool {
        let fused = self.through_next_prologue(number, pass);
        let Some((step, absorbed)) = fused else { return false };
        self.replace(number, Some(step));
        self.replace(absorbed, None);
        true
    }

    /// The step that also computes the next step on its gradient, and the number of that next step.
    fn through_next_prologue(&self, number: usize, pass: &Range<usize>) -> Option<(Step, usize)> {
        let Step { op, operands } = self.steps[number].as_ref()?;
        let [written] = written(op.as_ref())[..] else { return None };
        let gradient = operands[written];
        let absorbed = self.next_user(gradient, number, pass)?;
        let next = self.steps[absorbed].as_ref()?;
        let Valuewise { function, takes, gives } = next.op.as_prologue()?;
        let further = further(&next.operands, [takes, gives]);
        let position = |id: &BufferId| operands.iter().position(|operand| operand == id);
        let positions: Vec<usize> = further.iter().map(position).collect::<Option<_>>()?;
        let fits = next.operands[takes] == gradient
            && self.belongs_to(gradient, 2)
            && self.leaves(&further, number..absorbed);
        let op = fits.then(|| op.fuse_next_prologue(function, &positions))??;
        let mut operands = operands.clone();
        operands[written] = next.operands[gives];
        Some((Step { op, operands }, absorbed))
    }

    /// Fuses a step that is a function of each value of a gradient, whose result has several readers, into the first of
    /// them, which then writes the result for the others; returns false if that is not possible.
    fn share_prologue(&mut self, number: usize, pass: &Range<usize>) -> bool {
        let Some((reader, step)) = self.first_reader_that_shares(number, pass) else { return false };
        self.replace(reader, Some(step));
        self.replace(number, None);
        true
    }

    /// The first reader of a step's result with the step as its prologue, and its number.
    fn first_reader_that_shares(&self, number: usize, pass: &Range<usize>) -> Option<(usize, Step)> {
        let Step { op, operands } = self.steps[number].as_ref()?;
        let Valuewise { function, takes, gives } = op.as_prologue()?;
        let (grad_output, grad_input) = (operands[takes], operands[gives]);
        let reader = self.next_user(grad_input, number, pass)?;
        let step = self.steps[reader].as_ref()?;
        let position = step.operands.iter().position(|&id| id == grad_input)?;
        let further = further(operands, [takes, gives]);
        let read = [&further[..], &[grad_output]].concat();
        let fits = !self.belongs_to(grad_input, 2)
            && are_new(&read, &step.operands)
            && self.leaves(&read, number..reader);
        let op = fits.then(|| step.op.fuse_shared_prologue(position, function))??;
        let mut operands = step.operands.clone();
        operands[position] = grad_output;
        operands.extend(further);
        operands.push(grad_input);
        Some((reader, Step { op, operands }))
    }

    /// Lets a step compute an operand again instead of reading it; returns false if there is none for which it can.
    fn recompute(&mut self, number: usize) -> bool {
        let Some(step) = self.recomputing(number) else { return false };
        self.replace(number, Some(step));
        true
    }

    /// The step without one of the operands that it can compute again.
    fn recomputing(&self, number: usize) -> Option<Step> {
        let Step { op, operands } = self.steps[number].as_ref()?;
        operands.iter().enumerate().find_map(|(operand, id)| {
            // The step that has written it, which binds it first.
            let &writer = self.users[id.index()].first().filter(|&&writer| writer < number)?;
            let written = self.steps[writer].as_ref()?;
            let Recomputing { op, written: position, same, further } =
                op.recompute(operand, written.op.as_ref())?;
            let further: Vec<BufferId> = further.iter().map(|&further| written.operands[further]).collect();
            let needed: Vec<BufferId> =
                same.iter().map(|&[_, of_writer]| written.operands[of_writer]).collect();
            let fits = written.operands[position] == *id
                && same.iter().all(|&[own, of_writer]| operands[own] == written.operands[of_writer])
                && are_new(&further, operands)
                && self.leaves(&[&needed[..], &further].concat(), writer + 1..number);
            let mut operands = operands.clone();
            operands.remove(operand);
            operands.extend(further);
            fits.then_some(Step { op, operands })
        })
    }

    /// Lets a step also do what another step, which is one of the pass, does; returns false if there is none for which it can.
    fn take_in(&mut self, number: usize, pass: &Range<usize>) -> bool {
        let Some((other, step)) = self.with_another(number, pass) else { return false };
        self.replace(number, Some(step));
        self.replace(other, None);
        true
    }

    /// The number of a step that this one can do too, and the step that does both.
    fn with_another(&self, number: usize, pass: &Range<usize>) -> Option<(usize, Step)> {
        let Step { op, operands } = self.steps[number].as_ref()?;
        let sharing = operands.iter().flat_map(|id| &self.users[id.index()]);
        sharing.filter(|&&other| other != number && pass.contains(&other)).find_map(|&other| {
            let step = self.steps[other].as_ref()?;
            let Beside { op, same, further } = op.fuse_beside(step.op.as_ref())?;
            let further: Vec<BufferId> = further.iter().map(|&further| step.operands[further]).collect();
            let between = number.min(other) + 1..number.max(other);
            let (written, mut read): (Vec<BufferId>, Vec<BufferId>) =
                further.iter().partition(|&&id| writes(step, id));
            read.extend(same.iter().map(|&[own, _]| operands[own]));
            let mut users = written.iter().flat_map(|id| &self.users[id.index()]);
            let fits = same.iter().all(|&[own, of_other]| operands[own] == step.operands[of_other])
                && are_new(&further, operands)
                && self.leaves(&read, between.clone())
                && !users.any(|user| between.contains(user));
            fits.then(|| (other, Step { op, operands: [&operands[..], &further].concat() }))
        })
    }

    /// Fuses a step that is a function of each value of a gradient into all readers of its result, and removes it, if
    /// all of them support that, and if they then move at most so many elements more than it does.
    fn hand_out_prologue(&mut self, number: usize, pass: &Range<usize>, most_traffic: usize) {
        let Some(readers) = self.readers_with_prologue(number, pass, most_traffic) else { return };
        for (reader, step) in readers {
            self.replace(reader, Some(step));
        }
        self.replace(number, None);
    }

    /// The readers of a step's result, each with the step as its prologue, and their numbers.
    fn readers_with_prologue(
        &self,
        number: usize,
        pass: &Range<usize>,
        most_traffic: usize,
    ) -> Option<Vec<(usize, Step)>> {
        let Step { op, operands } = self.steps[number].as_ref()?;
        let Valuewise { function, takes, gives } = op.as_prologue()?;
        let (grad_output, grad_input) = (operands[takes], operands[gives]);
        let further = further(operands, [takes, gives]);
        let mut readers = Vec::new();
        let mut reads = 0;
        let users = self.users[grad_input.index()].iter().filter(|&&user| user != number);
        for &reader in users.filter(|user| pass.contains(user)) {
            let step = self.steps[reader].as_ref()?;
            let position = step.operands.iter().position(|&id| id == grad_input)?;
            let is_free = are_new(&further, &step.operands) && are_new(&[grad_output], &step.operands);
            let fused = is_free.then(|| step.op.fuse_prologue(position, function))??;
            let mut operands = step.operands.clone();
            operands[position] = grad_output;
            operands.extend(&further);
            readers.push((reader, Step { op: fused.op, operands }));
            reads += fused.reads;
        }
        let elements = self.buffers[grad_input.index()].shape.elements();
        // A separate step moves each of its tensors once.
        let pays = reads.saturating_sub(operands.len()) * elements <= most_traffic;
        let last = readers.iter().map(|&(reader, _)| reader).max().unwrap_or(number);
        let mut read: Vec<BufferId> = further;
        read.push(grad_output);
        let fits = self.belongs_to(grad_input, 1 + readers.len()) && self.leaves(&read, number..last);
        (pays && fits).then_some(readers)
    }
}

/// Numbers of the operands that an operation writes; none if it also reads what it writes.
fn written(op: &dyn Op) -> Vec<usize> {
    let operands = op.operands();
    let written = (0..).zip(&operands).filter(|(_, operand)| operand.access.writes());
    if operands.iter().any(|operand| operand.access == Access::ReadWrite) {
        return Vec::new();
    }
    written.map(|(number, _)| number).collect()
}

/// Whether a step changes this buffer.
pub(super) fn writes(step: &Step, buffer: BufferId) -> bool {
    let mut bound = step.op.operands().into_iter().zip(&step.operands);
    bound.any(|(operand, &id)| id == buffer && operand.access.writes())
}

/// Whether a step binds none of these buffers yet: no step binds a buffer twice.
fn are_new(buffers: &[BufferId], operands: &[BufferId]) -> bool {
    buffers.iter().all(|id| !operands.contains(id))
}

/// The buffers that a step binds besides those whose values it reads and writes.
fn further(operands: &[BufferId], of_values: [usize; 2]) -> Vec<BufferId> {
    let bound = operands.iter().enumerate().filter(|(number, _)| !of_values.contains(number));
    bound.map(|(_, &id)| id).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::DeviceProfile;
    use crate::host::ReferenceExecutor;
    use crate::layers::Conv2d;
    use crate::network::{Network, presets};
    use crate::ops::activation::Activation;
    use crate::ops::ceilings::CopyRate;
    use crate::ops::dense::{DenseForward, DenseSize};
    use crate::ops::kernel::Implementation;
    use crate::ops::optimizer::UpdateOptions;
    use crate::ops::{CpuForm, Element, Epilogue, Operand, Operands, Precision};
    use crate::plan::{DataParts, Executor, LossOptions, Role, TrainOptions, predict_plan, train_plan};
    use crate::tensor::{ImageShape, Shape};

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
                augment: None,
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

    /// A convolution with a bias, and the steps after it.
    fn with(
        behind: impl FnOnce(crate::network::NetworkBuilder) -> crate::network::NetworkBuilder,
    ) -> Network {
        let builder = Network::builder("test", IMAGE).conv2d(Conv2d::new(6, [3, 3]).same());
        behind(builder).flatten().dense(10).build().unwrap()
    }

    #[test]
    fn biases_and_activations_of_lenet_are_no_steps() {
        let network = presets::lenet(IMAGE, 10).unwrap();
        let pay = [Prologues::WhereTheyPay, Prologues::WhereTheyPayAt(1 << 20)];
        for prologues in [Prologues::Nowhere, pay[0], pay[1], Prologues::Everywhere] {
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
                Prologues::WhereTheyPay | Prologues::WhereTheyPayAt(_) => assert!(gradients < 3),
                Prologues::Everywhere => assert_eq!(gradients, 0),
            }
            // Those of two convolutions and two dense layers.
            let of_biases = if prologues == Prologues::Nowhere { 4 } else { 0 };
            assert_eq!(count(&plan.backward, "bias.grad"), of_biases);
        }
    }

    /// By the last step that writes the loss; by none, if something else changes the loss after it.
    #[test]
    fn the_training_step_is_counted_where_the_loss_is_final() {
        use crate::ops::batch::Advance;
        use crate::ops::loss::RestoreLoss;

        let network = presets::lenet(IMAGE, 10).unwrap();
        let data = DataParts { name: "train", image: IMAGE, classes: 10, rows: vec![16] };
        for (clip_norm, scaled, counting) in [
            (None, false, "softmax_cross_entropy"),
            (Some(1.0), false, "gradient_norm"),
            (None, true, "restore_loss"),
            (Some(1.0), true, "restore_loss"),
        ] {
            let options = TrainOptions {
                batch_size: 4,
                steps: 4,
                data: data.clone(),
                loss: LossOptions { scaled, ..LossOptions::default() },
                update: UpdateOptions { clip_norm, ..UpdateOptions::default() },
                augment: None,
            };
            for prologues in [Prologues::Nowhere, Prologues::WhereTheyPay] {
                let plan = train_plan(&network, &options).unwrap();
                assert_eq!(count(&plan.update, "advance"), 1);
                let plan = plan.fused(prologues);
                plan.assert_valid();
                let counter = plan.expect("train/step");
                let counts = |step: &&Step| writes(step, counter);
                let found: Vec<&str> = plan.steps().filter(counts).map(|step| step.op.name()).collect();
                assert_eq!(found, [counting]);
            }
        }

        let steps = |between: Option<[&str; 2]>| {
            let mut plan = Plan::default();
            let mut add = |name: &str, size, element| plan.add_buffer(name, Role::State, [size], element);
            let [step, counter] = ["step", "counter"].map(|name| add(name, 1, Element::Index));
            let [loss, other] = ["loss", "other"].map(|name| add(name, 4, Element::Real));
            let loss_scale = add("loss_scale", 3, Element::Real);
            let restore = Box::new(RestoreLoss::new(4));
            plan.update.push(Step { op: restore, operands: vec![step, loss, loss_scale] });
            if let Some(names) = between {
                let operands = names.map(|name| if name == "loss" { loss } else { other });
                plan.update.push(Step { op: Box::new(CopyRate { elements: 4 }), operands: operands.into() });
            }
            plan.update.push(Step { op: Box::new(Advance { steps: 4 }), operands: vec![loss, counter] });
            plan.assert_valid();
            let plan = plan.fused(Prologues::WhereTheyPay);
            plan.assert_valid();
            plan.update.len()
        };
        assert_eq!(steps(None), 1);
        assert_eq!(steps(Some(["loss", "other"])), 2);
        assert_eq!(steps(Some(["other", "loss"])), 3);
    }

    #[test]
    fn a_large_gradient_that_is_read_many_times_over_stays_a_step() {
        let network = |filters| {
            let conv = |filters| Conv2d::new(filters, [5, 5]).same();
            let builder = Network::builder("test", IMAGE).conv2d(conv(8)).relu().conv2d(conv(filters)).relu();
            builder.flatten().dense(10).build().unwrap()
        };
        let gradients = |filters, prologues| {
            let plan = training(&network(filters)).fused(prologues);
            count(&plan.backward, "activation.grad")
        };
        // The first convolution's input has no gradient; the second's reads each value 25 times.
        assert_eq!([1, 64].map(|filters| gradients(filters, Prologues::WhereTheyPay)), [0, 1]);
        // On a device that moves more in the time of a launch, fewer are large.
        let elements = 4 * 12 * 12 * 64;
        assert_eq!([20, 30].map(|reads| gradients(64, Prologues::WhereTheyPayAt(reads * elements))), [1, 0]);
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
            assert!(plan.forward.iter().any(|step| step.operands[2..].contains(&buffer)), "{kept}");
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

    /// An operation that only this test knows: adds a shift to every row of a tensor, and writes the result to another.
    #[derive(Clone, Copy, Debug)]
    struct Shift {
        rows: usize,
        channels: usize,
    }

    impl Op for Shift {
        fn name(&self) -> &'static str {
            "shift"
        }

        fn operands(&self) -> Vec<Operand> {
            let shape = [self.rows, self.channels];
            let shift = Operand::read("shift", [self.channels]);
            vec![Operand::read("input", shape), shift, Operand::write("output", shape)]
        }

        fn define(&self, operands: &mut Operands<f64>) {
            let [input, shift, output] = operands.all();
            let shift = shift.reals().iter().cycle();
            let shifted = input.reals().iter().zip(shift).map(|(x, shift)| x + shift);
            output.reals_mut().iter_mut().zip(shifted).for_each(|(output, shifted)| *output = shifted);
        }

        fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
            unreachable!("the definition is what runs")
        }

        fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
            unreachable!("the definition is what runs")
        }

        fn as_epilogue(&self, operand: usize) -> Option<Valuewise<Epilogue>> {
            let function = Epilogue { bias: true, ..Epilogue::NONE };
            (operand == 0).then_some(Valuewise { function, takes: 0, gives: 2 })
        }

        fn flops(&self) -> u64 {
            0
        }

        fn precision(&self) -> Precision {
            Precision::sum_of_products(2)
        }
    }

    /// A dense layer of 2 samples with 3 features each and 4 outputs, and a [`Shift`] of them; with `is_late`, the step
    /// that computes the shift is between the two.
    fn shifted(is_late: bool) -> Plan {
        let mut plan = Plan::default();
        let mut add =
            |name: &str, role, shape: &[usize]| plan.add_buffer(name, role, Shape::new(shape), Element::Real);
        let input = add("input", Role::Data, &[2, 3]);
        let weight = add("weight", Role::Parameter, &[4, 3]);
        let given = add("given", Role::Parameter, &[4]);
        let shift = add("shift", Role::Activation, &[4]);
        let output = add("output", Role::Activation, &[2, 4]);
        let result = add("result", Role::Activation, &[2, 4]);
        plan.keep(result);
        let size = DenseSize { batch_size: 2, in_features: 3, out_features: 4 };
        let dense = Box::new(DenseForward::new(size));
        plan.forward.push(Step { op: dense, operands: vec![input, weight, output] });
        let copy = Step { op: Box::new(CopyRate { elements: 4 }), operands: vec![given, shift] };
        plan.forward.insert(usize::from(is_late), copy);
        let op = Box::new(Shift { rows: 2, channels: 4 });
        plan.forward.push(Step { op, operands: vec![output, shift, result] });
        plan.assert_valid();
        plan
    }

    fn result(plan: Plan) -> Vec<f64> {
        let plan = Arc::new(plan);
        let mut executor = ReferenceExecutor::new();
        let prepared = executor.prepare(plan.clone()).unwrap();
        for (name, count) in [("input", 6), ("weight", 12), ("given", 4)] {
            let values: Vec<f64> = (1..=count).map(f64::from).collect();
            executor.write_exact(prepared, plan.expect(name), &values).unwrap();
        }
        executor.run(prepared, 1).unwrap();
        executor.read_exact(prepared, plan.expect("result")).unwrap()
    }

    #[test]
    fn an_operation_that_nobody_names_joins_in() {
        let fused = shifted(false).fused(Prologues::Nowhere);
        fused.assert_valid();
        assert_eq!(names(&fused.forward), ["bench.copy", "dense.forward"]);
        assert_eq!(result(fused), result(shifted(false)));
    }

    #[test]
    fn what_is_made_after_a_step_is_not_moved_into_it() {
        let fused = shifted(true).fused(Prologues::Nowhere);
        fused.assert_valid();
        assert_eq!(names(&fused.forward), ["dense.forward", "bench.copy", "shift"]);
        assert_eq!(result(fused), result(shifted(true)));
    }

    /// Whichever comes first; but not if the gradient that both read changes between them, or if the bias's is read there.
    #[test]
    fn a_biass_gradient_is_computed_with_the_weights_where_nothing_stands_between() {
        use crate::ops::bias::BiasGrad;
        use crate::ops::dense::DenseGradWeight;

        let steps = |order: [&str; 3]| {
            let mut plan = Plan::default();
            let mut add =
                |name: &str, role, sizes: [usize; 2]| plan.add_buffer(name, role, sizes, Element::Real);
            let input = add("input", Role::Data, [4, 3]);
            let grad_output = add("grad_output", Role::Data, [4, 2]);
            let grad_weight = add("grad_weight", Role::State, [2, 3]);
            let grad_bias = add("grad_bias", Role::State, [1, 2]);
            let other = add("other", Role::State, [4, 2]);
            let copy = add("copy", Role::State, [1, 2]);
            let step = |name: &str| match name {
                "weight" => Step {
                    op: Box::new(DenseGradWeight::new(DenseSize::new(4, 3, 2).unwrap())),
                    operands: vec![input, grad_output, grad_weight],
                },
                "bias" => Step { op: Box::new(BiasGrad::new(4, 2)), operands: vec![grad_output, grad_bias] },
                "change" => {
                    Step { op: Box::new(CopyRate { elements: 8 }), operands: vec![other, grad_output] }
                }
                "copy" => Step { op: Box::new(CopyRate { elements: 2 }), operands: vec![grad_bias, copy] },
                _ => Step { op: Box::new(CopyRate { elements: 8 }), operands: vec![grad_output, other] },
            };
            plan.backward = order.map(step).into();
            plan.assert_valid();
            let fused = plan.fused(Prologues::WhereTheyPay);
            fused.assert_valid();
            fused.backward.len()
        };
        assert_eq!(steps(["weight", "read", "bias"]), 2);
        assert_eq!(steps(["bias", "read", "weight"]), 2);
        assert_eq!(steps(["bias", "weight", "copy"]), 2);
        assert_eq!(steps(["weight", "change", "bias"]), 3);
        assert_eq!(steps(["bias", "change", "weight"]), 3);
        assert_eq!(steps(["bias", "copy", "weight"]), 3);
    }

    /// But not if what the normalisation reads changes between the two, or if what it writes is read there.
    #[test]
    fn a_convolution_normalises_its_output_where_nothing_stands_between() {
        use crate::ops::conv::{ConvForward, ConvGeometry};
        use crate::ops::norm::{BatchNormSize, BatchNormTrain};
        use crate::ops::window::WindowOptions;

        let fused = |between: Option<[&str; 2]>| {
            let mut plan = Plan::default();
            let mut add = |name: &str, role, sizes: &[usize]| {
                plan.add_buffer(name, role, Shape::new(sizes), Element::Real)
            };
            let input = add("input", Role::Data, &[2, 3, 3, 1]);
            let [filters, weight, bias] =
                [("filters", [2, 1, 1, 1]), ("weight", [2, 1, 1, 1]), ("bias", [2, 1, 1, 1])]
                    .map(|(name, sizes)| add(name, Role::Parameter, &sizes));
            let convolved = add("convolved", Role::Activation, &[2, 3, 3, 2]);
            let output = add("output", Role::State, &[18, 2]);
            let [mean, variance] = ["mean", "variance"].map(|name| add(name, Role::State, &[2]));
            let [two, many] = [("two", 2), ("many", 36)].map(|(name, size)| add(name, Role::State, &[size]));
            let image = ImageShape { height: 3, width: 3, channels: 1 };
            let geometry = ConvGeometry::new(2, image, 2, 1, &WindowOptions::new([1, 1])).unwrap();
            let conv = Box::new(ConvForward::new(geometry));
            plan.forward.push(Step { op: conv, operands: vec![input, filters, convolved] });
            if let Some(names) = between {
                let operands = names.map(|name| match name {
                    "convolved" => convolved,
                    "weight" => weight,
                    "mean" => mean,
                    "two" => two,
                    _ => many,
                });
                let elements = plan.buffer(operands[0]).shape.elements();
                plan.forward.push(Step { op: Box::new(CopyRate { elements }), operands: operands.into() });
            }
            let size = BatchNormSize { rows: 18, channels: 2, epsilon: 1e-5, affine: true };
            let operands = vec![convolved, output, mean, variance, weight, bias];
            plan.forward.push(Step { op: Box::new(BatchNormTrain::new(size)), operands });
            let fused = plan.fused(Prologues::WhereTheyPay);
            names(&fused.forward).contains(&"conv2d.batch_norm")
        };
        assert!(fused(None));
        assert!(fused(Some(["convolved", "many"])) && fused(Some(["weight", "two"])));
        assert!(!fused(Some(["many", "convolved"])) && !fused(Some(["two", "weight"])));
        assert!(!fused(Some(["mean", "two"])) && !fused(Some(["two", "mean"])));
    }

    /// The derivative's operand is the buffer that its reader already binds as its input.
    #[test]
    fn a_step_that_would_bind_a_buffer_twice_is_left_alone() {
        use crate::ops::activation::ActivationGrad;
        use crate::ops::dense::DenseGradWeight;

        let mut plan = Plan::default();
        let mut add = |name: &str, role, sizes: [usize; 2]| plan.add_buffer(name, role, sizes, Element::Real);
        let activated = add("activated", Role::Data, [4, 3]);
        let grad_output = add("grad_output", Role::Data, [4, 3]);
        let grad_input = add("grad_input", Role::Gradient, [4, 3]);
        let grad_weight = add("grad_weight", Role::State, [3, 3]);
        let derivative = ActivationGrad { activation: Activation::Relu, elements: 12 };
        let size = DenseSize::new(4, 3, 3).unwrap();
        plan.backward = vec![
            Step { op: Box::new(derivative), operands: vec![activated, grad_output, grad_input] },
            Step {
                op: Box::new(DenseGradWeight::new(size)),
                operands: vec![activated, grad_input, grad_weight],
            },
        ];
        plan.assert_valid();
        let fused = plan.fused(Prologues::Everywhere);
        fused.assert_valid();
        assert_eq!(names(&fused.backward), ["activation.grad", "dense.grad_weight"]);
    }
}
