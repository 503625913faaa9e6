//! Where a layer is lowered: what it reads, writes and saves, and the plan that grows.

use super::{BufferId, Plan, Role, Step};
use crate::network::{Features, Layer};
use crate::ops::{Element, Op};
use crate::tensor::Shape;

/// What a plan is for, for the layers whose computation differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Training: with the statistics of the batch, with dropout.
    Train,
    /// Evaluation and prediction: every image by itself.
    Evaluate,
}

/// Which part of the plan a layer's steps are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    Backward,
}

/// What a training or an evaluation counts by, as steps that must not follow a bad loss need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The loss of each step, `[steps]`.
    pub loss: BufferId,
    /// The number of the present step, `[1]`.
    pub step: BufferId,
    /// Steps of an epoch.
    pub steps: usize,
}

/// A layer's buffers in the plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Lowered {
    pub inputs: Vec<BufferId>,
    pub output: Option<BufferId>,
    pub variables: Vec<BufferId>,
    // The gradient of each variable; none where nobody trains it, or before backward.
    pub gradients: Vec<Option<BufferId>>,
    pub saved: Vec<(&'static str, BufferId)>,
}

/// Where a layer is lowered.
///
/// Everything is looked up by the words of [`LayerType`](crate::layers::LayerType): inputs by number, variables by their
/// short names. A name that the layer itself did not declare is a bug of the layer, and panics.
pub struct Site<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) pass: Pass,
    pub(super) mode: Mode,
    pub(super) batch_size: usize,
    pub(super) layer: &'a Layer,
    pub(super) features: &'a [Features],
    pub(super) lowered: &'a mut Lowered,
    /// Of each input, whether backward wants its gradient.
    pub(super) wanted: &'a [bool],
    pub(super) guard: Option<Guard>,
}

impl Site<'_> {
    /// What the plan is for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Images in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Buffers of the layer's inputs.
    pub fn inputs(&self) -> &[BufferId] {
        &self.lowered.inputs
    }

    /// Buffer of the layer's first input.
    pub fn input(&self) -> BufferId {
        self.lowered.inputs[0]
    }

    /// What an input gives for one image.
    pub fn input_features(&self, input: usize) -> Features {
        self.features[input]
    }

    /// The output that forward returned, for backward.
    pub fn forward_output(&self) -> BufferId {
        self.lowered.output.expect("backward comes after forward")
    }

    /// Sizes of a buffer.
    pub fn shape(&self, buffer: BufferId) -> Shape {
        self.plan.buffer(buffer).shape.clone()
    }

    /// A new buffer for the layer's output.
    pub fn output(&mut self, shape: Shape) -> BufferId {
        self.plan.add_buffer(format!("{}.output", self.layer.name), Role::Activation, shape, Element::Real)
    }

    /// A new buffer of reals for what forward computes beside the output: `LAYER.word`. Backward, and steps of the
    /// update, find it again by [`Site::saved`].
    pub fn save(&mut self, word: &'static str, shape: Shape) -> BufferId {
        let name = format!("{}.{word}", self.layer.name);
        let buffer = self.plan.add_buffer(name, Role::Activation, shape, Element::Real);
        self.lowered.saved.push((word, buffer));
        buffer
    }

    /// What forward saved under this word.
    pub fn saved(&self, word: &str) -> BufferId {
        let saved = self.lowered.saved.iter().find(|(saved, _)| *saved == word);
        saved.unwrap_or_else(|| panic!("{}: nothing was saved as {word}", self.layer.name)).1
    }

    /// The variable of this short name.
    pub fn variable(&self, name: &str) -> BufferId {
        self.find_variable(name).unwrap_or_else(|| panic!("{} has no variable {name}", self.layer.name))
    }

    /// The variable of this short name, where the layer has it.
    pub fn find_variable(&self, name: &str) -> Option<BufferId> {
        self.position(name).map(|position| self.lowered.variables[position])
    }

    /// A buffer for the gradient of a variable, which backward then has to write; none where the variable is not there or
    /// nobody trains it.
    pub fn grad_variable(&mut self, name: &str) -> Option<BufferId> {
        let position = self.position(name)?;
        if !self.layer.variables[position].is_trained() {
            return None;
        }
        let gradient = self.plan.add_gradient(self.lowered.variables[position]);
        self.lowered.gradients[position] = Some(gradient);
        Some(gradient)
    }

    /// A buffer for the gradient of an input, which backward then has to write; none where nobody wants it.
    pub fn grad_input(&mut self, input: usize) -> Option<BufferId> {
        self.wanted[input].then(|| self.plan.add_gradient(self.lowered.inputs[input]))
    }

    /// Adds a step to the pass that is being lowered.
    pub fn push(&mut self, op: impl Op + 'static, operands: &[BufferId]) {
        let steps = match self.pass {
            Pass::Forward => &mut self.plan.forward,
            Pass::Backward => &mut self.plan.backward,
        };
        steps.push(Step { op: Box::new(op), operands: operands.to_vec() });
    }

    /// Adds a step to the update, in training: where statistics change. The operation has to leave them as they are when
    /// the step's loss is not finite, which it sees in the [`Guard`].
    pub fn push_update<O: Op + 'static>(&mut self, step: impl FnOnce(Guard) -> (O, Vec<BufferId>)) {
        if let (Mode::Train, Some(guard)) = (self.mode, self.guard) {
            let (op, operands) = step(guard);
            self.plan.update.push(Step { op: Box::new(op), operands });
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        let short = |full: &str| full.rsplit('.').next().is_some_and(|short| short == name);
        self.layer.variables.iter().position(|variable| short(&variable.name))
    }
}
