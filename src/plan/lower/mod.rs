//! Lowering a network to a plan: forward, backward and update, over numbered buffers.

mod explain;
mod update;

pub use explain::{ExplainPlan, Question, explain_plan};
pub(crate) use update::CLIP_SCALE;

use super::site::{Followed, Guard, Lowered, Mode, Pass, Site};
use super::{BufferId, BufferSpec, Plan, Role, Step};
use crate::Result;
use crate::network::{Features, LayerInput, Network, Variable};
use crate::ops::add::Add;
use crate::ops::batch::{AugmentBatch, GatherBatch, Move, Padding};
use crate::ops::concatenate::Concatenate;
use crate::ops::loss::{LOSS_SCALE, LOSS_SCALE_SIZE, ScaleGradient, SoftmaxCrossEntropy};
use crate::ops::optimizer::UpdateOptions;
use crate::ops::{Element, Op};
use crate::tensor::{ImageShape, Shape};

/// A dataset as a plan sees it: its rows may be split over several buffers, since the size of a buffer that a kernel
/// can bind is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataParts {
    /// Prefix of the buffers' names: `train` or `test`.
    pub name: &'static str,
    /// Size of every image.
    pub image: ImageShape,
    /// Number of classes.
    pub classes: usize,
    /// Rows of each part.
    pub rows: Vec<usize>,
}

/// Options of a training plan.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Steps that the schedule, the order and the losses have room for: those of an epoch.
    pub steps: usize,
    /// The training set.
    pub data: DataParts,
    /// How the loss is computed.
    pub loss: LossOptions,
    /// How parameters are updated.
    pub update: UpdateOptions,
    /// How images are varied, if they are.
    pub augment: Option<AugmentOptions>,
}

/// How a plan varies images: it then has a table of [moves](crate::ops::batch::Move), the buffer `D/moves` `[steps*N,20]`,
/// which the caller writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AugmentOptions {
    /// What lies around an image.
    pub padding: Padding,
    /// Whether images are mixed with one another, and their labels with them.
    pub mixes: bool,
}

/// How a training loss differs from the plain cross-entropy that evaluations use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// Share of every label that is spread over all classes.
    pub smoothing: f32,
    /// Whether classes have weights: the plan then has a buffer `D/class_weights` `[classes]`, which the caller
    /// writes once.
    pub class_weights: bool,
    /// Whether gradients are multiplied by a scale that adapts, for halves: the plan then has a buffer `loss_scale` `[3]`,
    /// which the caller writes at first with [`FIRST_LOSS_SCALE`](crate::ops::loss::FIRST_LOSS_SCALE).
    pub scaled: bool,
}

/// Options of an evaluation plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Batches that the order and the losses have room for.
    pub steps: usize,
    /// The test set.
    pub data: DataParts,
    /// How images are varied, if they are; mixing has no effect on the loss.
    pub augment: Option<AugmentOptions>,
}

/// The plan of a training step: gather a batch, forward, loss, backward, update.
///
/// Buffers to write before an epoch, with `D` for [`DataParts::name`]: `D/images.0` and `D/labels.0` (and
/// the further parts), `normalisation` `[2,C]`, `D/order` `[steps * batch_size]`, `D/schedule` `[steps,8]`
/// of [`Now::row`](crate::ops::optimizer::Now::row), `D/step` `[1]`, set to 0; with
/// [`AugmentOptions`], `D/moves` too; and, if a layer needs it, `chance` `[3]`, the low and the high word of a seed and the
/// number of the epoch. Results: `D/loss` and `D/correct`, `[steps]`.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit, and for optimizer
/// settings out of range.
pub fn train_plan(network: &Network, options: &TrainOptions) -> Result<Plan> {
    let TrainOptions { batch_size, steps, data, .. } = options;
    let mut lowering = Lowering::new(network, *batch_size, Mode::Train);
    let batch = lowering.gather(data, *steps, options.augment)?;
    let logits = lowering.forward(batch.input, Some(batch.guard))?;
    let grad_logits = lowering.loss(logits, &batch, data, options.loss)?;
    lowering.backward(grad_logits, batch.guard)?;
    lowering.update(options, batch.guard)?;
    Ok(lowering.plan)
}

/// The plan of an evaluation step: gather a batch, forward, loss. Its buffers are those of [`train_plan`], without a
/// schedule.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit.
pub fn evaluate_plan(network: &Network, options: &EvaluateOptions) -> Result<Plan> {
    forward_plan(network, options, Mode::Evaluate)
}

/// The plan of a training or evaluation step up to its loss, which keeps every buffer and changes no state: for
/// inspecting what each layer computed.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit.
pub fn inspect_plan(network: &Network, options: &EvaluateOptions, mode: Mode) -> Result<Plan> {
    Ok(forward_plan(network, options, mode)?.for_inspection())
}

fn forward_plan(network: &Network, options: &EvaluateOptions, mode: Mode) -> Result<Plan> {
    let mut lowering = Lowering::new(network, options.batch_size, mode);
    let augment = options.augment.map(|augment| AugmentOptions { mixes: false, ..augment });
    let batch = lowering.gather(&options.data, options.steps, augment)?;
    let logits = lowering.forward(batch.input, Some(batch.guard))?;
    lowering.loss(logits, &batch, &options.data, LossOptions::default())?;
    lowering.advance(batch.guard);
    lowering.plan.keep(logits);
    Ok(lowering.plan)
}

/// The plan of the network alone: from the buffer `input` `[N,H,W,C]`, which the caller writes, to the last layer's
/// output.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit.
pub fn predict_plan(network: &Network, batch_size: usize) -> Result<Plan> {
    let mut lowering = Lowering::new(network, batch_size, Mode::Evaluate);
    let shape = lowering.image_shape(network.input())?;
    let input = lowering.plan.add_buffer("input", Role::Data, shape, Element::Real);
    let output = lowering.forward(input, None)?;
    lowering.plan.keep(output);
    Ok(lowering.plan)
}

struct Batch {
    input: BufferId,
    targets: BufferId,
    // The targets of the images that are mixed in, and their shares.
    mixed: Option<[BufferId; 2]>,
    guard: Guard,
}

struct Lowering<'a> {
    network: &'a Network,
    batch_size: usize,
    mode: Mode,
    plan: Plan,
    // The layers lowered so far.
    layers: Vec<Lowered>,
    // The statistics that the update moves.
    followed: Vec<Followed>,
    // Whether the plan shows everything: it then has a gradient of every layer's output and of the image, and copies of
    // what layers would overwrite.
    explains: bool,
}

/// The gradients that backward has computed, if they are needed.
struct Gradients {
    /// Of each layer's output.
    outputs: Vec<Option<BufferId>>,
    image: Option<BufferId>,
}

impl<'a> Lowering<'a> {
    fn new(network: &'a Network, batch_size: usize, mode: Mode) -> Self {
        let mut plan = Plan::default();
        let layers = network
            .layers()
            .iter()
            .map(|layer| {
                let add = |variable: &Variable| {
                    plan.add_buffer(&variable.name, Role::Parameter, variable.shape.clone(), Element::Real)
                };
                let variables: Vec<BufferId> = layer.variables.iter().map(add).collect();
                Lowered { gradients: vec![None; variables.len()], variables, ..Lowered::default() }
            })
            .collect();
        let followed = Vec::new();
        let mut lowering = Lowering { network, batch_size, mode, plan, layers, followed, explains: false };
        // Every plan has these arenas, so that the first one that an executor prepares lays variables out as the update
        // needs them.
        let parameters = lowering.trained().iter().map(|trained| trained.parameter).collect();
        lowering.plan.lay_side_by_side("parameters", parameters);
        let statistics = lowering.statistics();
        lowering.plan.lay_side_by_side("statistics", statistics);
        lowering
    }

    fn image_shape(&self, image: ImageShape) -> Result<Shape> {
        Shape::checked("batch", [self.batch_size, image.height, image.width, image.channels])
    }

    fn push_forward(&mut self, op: impl Op + 'static, operands: &[BufferId]) {
        self.plan.forward.push(Step { op: Box::new(op), operands: operands.to_vec() });
    }

    fn state(&mut self, name: String, size: usize, element: Element) -> BufferId {
        self.plan.add_buffer(name, Role::State, [size], element)
    }

    fn gather(&mut self, data: &DataParts, steps: usize, augment: Option<AugmentOptions>) -> Result<Batch> {
        let (name, image, batch_size) = (data.name, data.image, self.batch_size);
        let order = Shape::checked("order of the dataset", [steps, batch_size])?.elements();
        let order = self.state(format!("{name}/order"), order, Element::Index);
        let counter = self.state(format!("{name}/step"), 1, Element::Index);
        let loss = self.state(format!("{name}/loss"), steps, Element::Real);
        let normalisation =
            self.plan.add_buffer("normalisation", Role::State, [2, image.channels], Element::Real);
        let shape = self.image_shape(image)?;
        let name_of_batch = if augment.is_some() { "batch" } else { "input" };
        let batch = self.plan.add_buffer(name_of_batch, Role::Activation, shape.clone(), Element::Real);
        let targets = self.plan.add_buffer("targets", Role::Activation, [batch_size], Element::Index);
        let step = self.plan.add_buffer("current_step", Role::Activation, [1], Element::Index);
        let mut first_row = 0;
        for (part, &rows) in data.rows.iter().enumerate() {
            let shape =
                Shape::checked("part of the dataset", [rows, image.height, image.width, image.channels])?;
            let images =
                self.plan.add_buffer(format!("{name}/images.{part}"), Role::Data, shape, Element::Byte);
            let labels =
                self.plan.add_buffer(format!("{name}/labels.{part}"), Role::Data, [rows], Element::Index);
            let op = GatherBatch { batch_size, image, classes: data.classes, steps, rows, first_row };
            self.push_forward(op, &[images, labels, order, counter, normalisation, batch, targets, step]);
            first_row += rows;
        }
        let guard = Guard { loss, step, counter, steps };
        let Some(AugmentOptions { padding, mixes }) = augment else {
            return Ok(Batch { input: batch, targets, mixed: None, guard });
        };
        let rows = steps * batch_size;
        let table = Shape::checked("table of augmentations", [rows, Move::SIZE])?;
        let moves = self.plan.add_buffer(format!("{name}/moves"), Role::State, table, Element::Real);
        let input = self.plan.add_buffer("input", Role::Activation, shape, Element::Real);
        let mut operands = vec![batch, normalisation, moves, step, input];
        let mixed = mixes.then(|| {
            [("mixed_targets", Element::Index), ("mixed_shares", Element::Real)]
                .map(|(name, element)| self.plan.add_buffer(name, Role::Activation, [batch_size], element))
        });
        operands.extend(mixed.iter().flat_map(|mixed| [targets, mixed[0], mixed[1]]));
        let classes = data.classes;
        self.push_forward(AugmentBatch { batch_size, image, steps, classes, padding, mixes }, &operands);
        Ok(Batch { input, targets, mixed, guard })
    }

    fn forward(&mut self, image: BufferId, guard: Option<Guard>) -> Result<BufferId> {
        let mut output = image;
        for number in 0..self.layers.len() {
            let layer = &self.network.layers()[number];
            self.layers[number].inputs = layer
                .inputs
                .iter()
                .map(|source| match *source {
                    LayerInput::Image => image,
                    LayerInput::Layer(layer) => {
                        self.layers[layer].output.expect("it runs before its readers")
                    }
                })
                .collect();
            self.separate_inputs(number);
            output = self.at(number, Pass::Forward, &[], guard, |site| layer.kind.forward(site))?;
            self.layers[number].output = Some(output);
        }
        Ok(output)
    }

    /// Copies inputs of the layer of this number that lie in the buffer of another of them, as a layer that only renames its
    /// input leaves them: no step binds a buffer twice.
    fn separate_inputs(&mut self, number: usize) {
        let inputs = self.layers[number].inputs.clone();
        for (position, &input) in inputs.iter().enumerate() {
            if inputs[..position].contains(&input) {
                let BufferSpec { name, shape, .. } = self.plan.buffer(input).clone();
                let elements = shape.elements();
                let copy =
                    self.plan.add_buffer(format!("{name}.copy"), Role::Activation, shape, Element::Real);
                self.push_forward(Concatenate::copy(elements), &[input, copy]);
                self.layers[number].inputs[position] = copy;
            }
        }
    }

    /// Calls `lower` with the [`Site`] of the layer of this number.
    fn at<T>(
        &mut self,
        number: usize,
        pass: Pass,
        wanted: &[bool],
        guard: Option<Guard>,
        lower: impl FnOnce(&mut Site<'_>) -> T,
    ) -> T {
        let layer = &self.network.layers()[number];
        let features: Vec<Features> =
            layer.inputs.iter().map(|source| self.network.features(*source)).collect();
        lower(&mut Site {
            plan: &mut self.plan,
            pass,
            mode: self.mode,
            batch_size: self.batch_size,
            layer,
            number,
            features: &features,
            lowered: &mut self.layers[number],
            wanted,
            guard,
            followed: &mut self.followed,
            explains: self.explains,
        })
    }

    /// The gradient of the logits.
    fn loss(
        &mut self,
        logits: BufferId,
        batch: &Batch,
        data: &DataParts,
        options: LossOptions,
    ) -> Result<BufferId> {
        let Guard { loss, step, steps, .. } = batch.guard;
        let correct = self.state(format!("{}/correct", data.name), steps, Element::Index);
        let grad_logits = self.plan.add_gradient(logits);
        let mut op = SoftmaxCrossEntropy::new(self.batch_size, data.classes, steps)?;
        let mut operands = vec![logits, batch.targets, step, loss, correct, grad_logits];
        if options.smoothing != 0.0 {
            op = op.with_smoothing(options.smoothing)?;
        }
        if options.class_weights {
            op = op.with_class_weights()?;
            operands.push(self.state(format!("{}/class_weights", data.name), data.classes, Element::Real));
        }
        if let Some(mixed) = batch.mixed {
            op = op.with_mixed_targets()?;
            operands.extend(mixed);
        }
        self.push_forward(op, &operands);
        if options.scaled {
            let loss_scale = self.state(LOSS_SCALE.into(), LOSS_SCALE_SIZE, Element::Real);
            let op = ScaleGradient { elements: self.batch_size * data.classes };
            self.push_forward(op, &[grad_logits, loss_scale]);
        }
        Ok(grad_logits)
    }

    /// Goes through the layers from the last to the first. A layer's output gets a gradient from each of its readers,
    /// all of which come before it here; several gradients are added up.
    fn backward(&mut self, grad_logits: BufferId, guard: Guard) -> Result<Gradients> {
        let layers = self.network.layers();
        let mut collected: Vec<Vec<BufferId>> = vec![Vec::new(); layers.len()];
        let mut of_image = Vec::new();
        let mut outputs = vec![None; layers.len()];
        collected[layers.len() - 1].push(grad_logits);
        let learning = self.learning_layers();
        for (number, layer) in layers.iter().enumerate().rev() {
            if !learning[number] {
                continue;
            }
            let output = self.layers[number].output.expect("backward comes after forward");
            let Some(grad_output) = self.added_up(&collected[number], output) else { continue };
            outputs[number] = Some(grad_output);
            let wanted = |source: &LayerInput| match *source {
                LayerInput::Image => self.explains,
                LayerInput::Layer(number) => learning[number],
            };
            let wanted: Vec<bool> = layer.inputs.iter().map(wanted).collect();
            let grad_inputs = self.at(number, Pass::Backward, &wanted, Some(guard), |site| {
                layer.kind.backward(site, grad_output)
            })?;
            for ((source, wanted), grad_input) in layer.inputs.iter().zip(wanted).zip(grad_inputs) {
                if let (true, Some(grad_input)) = (wanted, grad_input) {
                    match *source {
                        LayerInput::Image => of_image.push((number, grad_input)),
                        LayerInput::Layer(number) => collected[number].push(grad_input),
                    }
                }
            }
        }
        let image = of_image.first().map(|&(number, _)| self.layers[number].inputs[0]);
        let of_image: Vec<BufferId> = of_image.into_iter().map(|(_, gradient)| gradient).collect();
        let image = image.and_then(|image| self.added_up(&of_image, image));
        Ok(Gradients { outputs, image })
    }

    /// For each layer, whether it or a layer that it depends on has a trained variable: only then the gradient of its
    /// output is needed.
    fn learning_layers(&self) -> Vec<bool> {
        if self.explains {
            return vec![true; self.network.layers().len()];
        }
        let mut learning: Vec<bool> = Vec::new();
        for layer in self.network.layers() {
            let reads_learning = layer.inputs.iter().any(|source| match *source {
                LayerInput::Image => false,
                LayerInput::Layer(number) => learning[number],
            });
            learning.push(reads_learning || layer.variables.iter().any(Variable::is_trained));
        }
        learning
    }

    /// The gradient of a layer's output, or of the image: the sum of the gradients from its readers.
    fn added_up(&mut self, gradients: &[BufferId], output: BufferId) -> Option<BufferId> {
        let (&first, others) = gradients.split_first()?;
        let elements = self.plan.buffer(output).shape.elements();
        Some(others.iter().fold(first, |sum, &gradient| {
            // Two layers that only rename their input give one gradient.
            let gradient = if gradient == sum { self.copied(gradient, elements) } else { gradient };
            let total = self.plan.add_gradient(output);
            self.plan
                .backward
                .push(Step { op: Box::new(Add { elements }), operands: vec![sum, gradient, total] });
            total
        }))
    }

    /// A copy of a gradient of this many elements.
    fn copied(&mut self, gradient: BufferId, elements: usize) -> BufferId {
        let name = format!("{}.copy", self.plan.buffer(gradient).name);
        let copy = self.plan.add_buffer(name, Role::Gradient, [elements], Element::Real);
        let op = Box::new(Concatenate::copy(elements));
        self.plan.backward.push(Step { op, operands: vec![gradient, copy] });
        copy
    }
}
