//! The place at which a layer is lowered: the buffers that it reads, writes and saves, and the plan that it adds to.

use super::{BufferId, Plan, Role, Step};
use crate::network::{Features, Layer};
use crate::ops::concatenate::Concatenate;
use crate::ops::{Element, Op};
use crate::tensor::Shape;

/// The purpose of a plan, for layers whose computation depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Training: with batch statistics and dropout.
    Train,
    /// Evaluation and prediction: each image is independent of the others.
    Evaluate,
}

/// The buffer of what chance is a function of beside the step; see [`Site::chance`].
pub(crate) const CHANCE: &str = "chance";

/// Which part of the plan a layer's steps are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    Backward,
}

/// The buffers by which a step can tell that the loss of its step is bad and that it must change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// The loss of each step, `[steps]`.
    pub loss: BufferId,
    /// The number of the current step, `[1]`.
    pub step: BufferId,
    /// The number of steps that have been counted, `[1]`: the current one until it is.
    pub counter: BufferId,
    /// Steps of an epoch.
    pub steps: usize,
}

/// A statistic that outlives a step, and that moves towards that of each batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Followed {
    pub running: BufferId,
    pub batch: BufferId,
    pub momentum: f32,
}

/// A layer's buffers in the plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Lowered {
    pub inputs: Vec<BufferId>,
    pub output: Option<BufferId>,
    pub variables: Vec<BufferId>,
    // The gradient of each variable; `None` if it is not trained, and before backward.
    pub gradients: Vec<Option<BufferId>>,
    pub saved: Vec<(&'static str, BufferId)>,
}

/// The place at which a layer is lowered.
///
/// Lookups use the terms of [`LayerType`](crate::layers::LayerType): inputs by number, variables by their short
/// names. Asking for a name that the layer itself did not declare is a bug of the layer, and panics.
pub struct Site<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) pass: Pass,
    pub(super) mode: Mode,
    pub(super) batch_size: usize,
    pub(super) layer: &'a Layer,
    /// The layer's number in its network.
    pub(super) number: usize,
    pub(super) features: &'a [Features],
    pub(super) lowered: &'a mut Lowered,
    /// For each input, whether backward needs its gradient.
    pub(super) wanted: &'a [bool],
    pub(super) guard: Option<Guard>,
    pub(super) followed: &'a mut Vec<Followed>,
    /// Whether the plan shows everything that is computed.
    pub(super) explains: bool,
}

impl Site<'_> {
    /// The purpose of the plan.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Images in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The layer's number in its network, unlike that of every other layer.
    pub fn number(&self) -> u32 {
        u32::try_from(self.number).expect("fewer layers than 2^32")
    }

    /// When training, what chance is a function of: the number of the current step of the epoch, `[1]`, and the plan's buffer
    /// `chance`, the low and the high word of the seed and the number of the epoch, `[3]`.
    pub fn chance(&mut self) -> [BufferId; 2] {
        let step = self.guard.expect("a training has steps").step;
        let chance = self.plan.find(CHANCE);
        let chance = chance.unwrap_or_else(|| self.plan.add_buffer(CHANCE, Role::State, [3], Element::Index));
        [step, chance]
    }

    /// Buffers of the layer's inputs.
    pub fn inputs(&self) -> &[BufferId] {
        &self.lowered.inputs
    }

    /// Buffer of the layer's first input.
    pub fn input(&self) -> BufferId {
        self.lowered.inputs[0]
    }

    /// The features of an input for one image.
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

    /// A new buffer of reals, named `LAYER.word`, for something that forward computes beside the output. Backward,
    /// and steps of the update, get it by [`Site::saved`].
    pub fn save(&mut self, word: &'static str, shape: Shape) -> BufferId {
        let name = format!("{}.{word}", self.layer.name);
        let buffer = self.plan.add_buffer(name, Role::Activation, shape, Element::Real);
        self.lowered.saved.push((word, buffer));
        buffer
    }

    /// Shows what a buffer holds before the layer's next step overwrites it: if the plan [explains](super::explain_plan) the
    /// network, it gets a copy, named `LAYER.word`.
    pub fn show(&mut self, word: &'static str, buffer: BufferId) {
        if self.explains {
            let shape = self.shape(buffer);
            let elements = shape.elements();
            let copy = self.save(word, shape);
            self.push(Concatenate::copy(elements), &[buffer, copy]);
        }
    }

    /// `N` buffers `[size]` of zeros, that steps only read.
    pub fn zeros<const N: usize>(&mut self, size: usize) -> [BufferId; N] {
        std::array::from_fn(|number| {
            let name = format!("zeros.{size}.{number}");
            // Persistent, since such buffers start as zeros.
            let found = self.plan.find(&name);
            found.unwrap_or_else(|| self.plan.add_buffer(name, Role::State, [size], Element::Real))
        })
    }

    /// The buffer that forward saved under this word.
    pub fn saved(&self, word: &str) -> BufferId {
        let saved = self.lowered.saved.iter().find(|(saved, _)| *saved == word);
        saved.unwrap_or_else(|| panic!("{}: nothing was saved as {word}", self.layer.name)).1
    }

    /// The variable of this short name.
    pub fn variable(&self, name: &str) -> BufferId {
        self.find_variable(name).unwrap_or_else(|| panic!("{} has no variable {name}", self.layer.name))
    }

    /// The variable of this short name, if the layer has it.
    pub fn find_variable(&self, name: &str) -> Option<BufferId> {
        self.position(name).map(|position| self.lowered.variables[position])
    }

    /// A buffer for the gradient of a variable, which backward must then write; `None` if the layer has no such
    /// variable or it is not trained.
    pub fn grad_variable(&mut self, name: &str) -> Option<BufferId> {
        let position = self.position(name)?;
        if !self.layer.variables[position].is_trained() {
            return None;
        }
        let gradient = self.plan.add_gradient(self.lowered.variables[position]);
        self.lowered.gradients[position] = Some(gradient);
        Some(gradient)
    }

    /// A buffer for the gradient of an input, which backward must then write; `None` if it is not needed.
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

    /// When training, lets a variable that is a statistic move towards that of each `batch` in the update, unless the loss of
    /// the step is not finite: `statistic = (1 - momentum) * statistic + momentum * batch`.
    pub fn follow(&mut self, statistic: &str, batch: BufferId, momentum: f32) {
        let running = self.variable(statistic);
        if self.mode == Mode::Train {
            self.followed.push(Followed { running, batch, momentum });
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        let short = |full: &str| full.rsplit('.').next().is_some_and(|short| short == name);
        self.layer.variables.iter().position(|variable| short(&variable.name))
    }
}
