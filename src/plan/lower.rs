//! From a network to a plan: forward, backward and update, over numbered buffers.

use std::collections::HashMap;

use super::{BufferId, BufferSpec, Plan, Role, Step};
use crate::Result;
use crate::network::{Features, Layer, LayerInput, LayerKind, Network, Parameter};
use crate::ops::activation::{ActivationForward, ActivationGrad, Saved};
use crate::ops::add::Add;
use crate::ops::batch::{Advance, GatherBatch};
use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};
use crate::ops::loss::SoftmaxCrossEntropy;
use crate::ops::optimizer::{GradientNorm, Group, Update, UpdateOptions};
use crate::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use crate::ops::{Element, Op};
use crate::tensor::{ImageShape, Shape};

/// A dataset as a plan sees it: its rows may be split over several buffers, since a kernel can see only so
/// much of one.
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

/// What a training plan needs to know beside the network.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Steps that the schedule, the order and the losses hold: an epoch's.
    pub steps: usize,
    /// The training set.
    pub data: DataParts,
    /// How parameters are updated.
    pub update: UpdateOptions,
}

/// What an evaluation plan needs to know beside the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Images in a batch.
    pub batch_size: usize,
    /// Batches that the order and the losses hold.
    pub steps: usize,
    /// The test set.
    pub data: DataParts,
}

/// The plan of a training step: gather a batch, forward, loss, backward, update.
///
/// Buffers to write before an epoch, with `D` for [`DataParts::name`]: `D/images.0` and `D/labels.0` (and
/// the further parts), `normalisation` `[2,C]`, `D/order` `[steps * batch_size]`, `D/schedule` `[steps,4]`
/// of [`Optimizer::schedule_row`](crate::ops::optimizer::Optimizer::schedule_row), and `D/step` `[1]`, set to 0. Results: `D/loss` and `D/correct`, `[steps]`.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit, and for optimizer
/// settings out of range.
pub fn train_plan(network: &Network, options: &TrainOptions) -> Result<Plan> {
    let mut lowering = Lowering::new(network, options.batch_size);
    let batch = lowering.gather(&options.data, options.steps)?;
    let logits = lowering.forward(batch.input)?;
    let (loss, grad_logits) = lowering.loss(logits, &batch, &options.data, options.steps)?;
    lowering.backward(batch.input, grad_logits)?;
    lowering.update(options, &batch, loss)?;
    Ok(lowering.plan)
}

/// The plan of an evaluation step: gather a batch, forward, loss. Buffers as in [`train_plan`], without a
/// schedule.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit.
pub fn evaluate_plan(network: &Network, options: &EvaluateOptions) -> Result<Plan> {
    let mut lowering = Lowering::new(network, options.batch_size);
    let batch = lowering.gather(&options.data, options.steps)?;
    let logits = lowering.forward(batch.input)?;
    let (loss, _) = lowering.loss(logits, &batch, &options.data, options.steps)?;
    lowering.advance(loss, batch.step, options.steps);
    Ok(lowering.plan)
}

/// The plan of the network alone: from the buffer `input` `[N,H,W,C]`, which the caller writes, to the last
/// layer's output.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit.
pub fn predict_plan(network: &Network, batch_size: usize) -> Result<Plan> {
    let mut lowering = Lowering::new(network, batch_size);
    let shape = lowering.image_shape(network.input())?;
    let input = lowering.plan.add_buffer("input", Role::Data, shape, Element::Real);
    let output = lowering.forward(input)?;
    lowering.plan.keep(output);
    Ok(lowering.plan)
}

struct Batch {
    input: BufferId,
    targets: BufferId,
    step: BufferId,
}

struct Lowering<'a> {
    network: &'a Network,
    batch_size: usize,
    plan: Plan,
    // The output buffer of each layer.
    outputs: Vec<BufferId>,
    // The parameter buffers of each layer, and their gradients.
    parameters: Vec<Vec<BufferId>>,
    grad_parameters: Vec<Vec<BufferId>>,
}

impl<'a> Lowering<'a> {
    fn new(network: &'a Network, batch_size: usize) -> Self {
        let mut plan = Plan::default();
        let parameters = network
            .layers()
            .iter()
            .map(|layer| {
                let add = |parameter: &Parameter| {
                    plan.add_buffer(&parameter.name, Role::Parameter, parameter.shape.clone(), Element::Real)
                };
                layer.parameters.iter().map(add).collect()
            })
            .collect();
        let mut lowering = Lowering {
            network,
            batch_size,
            plan,
            outputs: Vec::new(),
            parameters,
            grad_parameters: Vec::new(),
        };
        // In every plan, so that whichever an executor prepares first places them as the update needs them.
        let parameters = lowering.parameters_by_group();
        lowering.plan.lay_side_by_side("parameters", parameters);
        lowering
    }

    fn image_shape(&self, image: ImageShape) -> Result<Shape> {
        Shape::checked("batch", [self.batch_size, image.height, image.width, image.channels])
    }

    fn push_forward(&mut self, op: impl Op + 'static, operands: &[BufferId]) {
        self.plan.forward.push(Step { op: Box::new(op), operands: operands.to_vec() });
    }

    fn push_backward(&mut self, op: impl Op + 'static, operands: &[BufferId]) {
        self.plan.backward.push(Step { op: Box::new(op), operands: operands.to_vec() });
    }

    fn state(&mut self, name: String, size: usize, element: Element) -> BufferId {
        self.plan.add_buffer(name, Role::State, [size], element)
    }

    fn gather(&mut self, data: &DataParts, steps: usize) -> Result<Batch> {
        let (name, image, batch_size) = (data.name, data.image, self.batch_size);
        let order = Shape::checked("order of the dataset", [steps, batch_size])?.elements();
        let order = self.state(format!("{name}/order"), order, Element::Index);
        let step = self.state(format!("{name}/step"), 1, Element::Index);
        let normalisation =
            self.plan.add_buffer("normalisation", Role::State, [2, image.channels], Element::Real);
        let shape = self.image_shape(image)?;
        let input = self.plan.add_buffer("input", Role::Activation, shape, Element::Real);
        let targets = self.plan.add_buffer("targets", Role::Activation, [batch_size], Element::Index);
        let mut first_row = 0;
        for (part, &rows) in data.rows.iter().enumerate() {
            let shape =
                Shape::checked("part of the dataset", [rows, image.height, image.width, image.channels])?;
            let images =
                self.plan.add_buffer(format!("{name}/images.{part}"), Role::Data, shape, Element::Byte);
            let labels =
                self.plan.add_buffer(format!("{name}/labels.{part}"), Role::Data, [rows], Element::Index);
            let op = GatherBatch { batch_size, image, classes: data.classes, steps, rows, first_row };
            self.push_forward(op, &[images, labels, order, step, normalisation, input, targets]);
            first_row += rows;
        }
        Ok(Batch { input, targets, step })
    }

    fn forward(&mut self, input: BufferId) -> Result<BufferId> {
        for (number, layer) in self.network.layers().iter().enumerate() {
            let inputs: Vec<BufferId> =
                layer.inputs.iter().map(|source| self.buffer_of(source, input)).collect();
            let output = self.forward_layer(number, layer, &inputs)?;
            self.outputs.push(output);
        }
        Ok(*self.outputs.last().expect("a network has layers"))
    }

    fn buffer_of(&self, source: &LayerInput, image: BufferId) -> BufferId {
        match *source {
            LayerInput::Image => image,
            LayerInput::Layer(layer) => self.outputs[layer],
        }
    }

    fn activation(&mut self, layer: &Layer, shape: Shape) -> BufferId {
        self.plan.add_buffer(format!("{}.output", layer.name), Role::Activation, shape, Element::Real)
    }

    fn forward_layer(&mut self, number: usize, layer: &Layer, inputs: &[BufferId]) -> Result<BufferId> {
        let input = inputs[0];
        let parameters = self.parameters[number].clone();
        let elements = self.plan.buffer(input).shape.elements();
        Ok(match &layer.kind {
            LayerKind::Conv2d(_) => {
                let geometry = self.conv_geometry(layer)?;
                let output = self.activation(layer, geometry.output_shape());
                self.push_forward(ConvForward::new(geometry), &[input, parameters[0], output]);
                if let Some(&bias) = parameters.get(1) {
                    let (rows, channels) = bias_size(geometry.output_shape());
                    self.push_forward(BiasForward { rows, channels }, &[bias, output]);
                }
                output
            }
            LayerKind::Dense(_) => {
                let size = self.dense_size(layer)?;
                let output = self.activation(layer, [size.batch_size, size.out_features].into());
                self.push_forward(DenseForward::new(size), &[input, parameters[0], output]);
                if let Some(&bias) = parameters.get(1) {
                    let (rows, channels) = (size.batch_size, size.out_features);
                    self.push_forward(BiasForward { rows, channels }, &[bias, output]);
                }
                output
            }
            LayerKind::Activation(activation) => {
                let output = self.activation(layer, self.plan.buffer(input).shape.clone());
                self.push_forward(ActivationForward { activation: *activation, elements }, &[input, output]);
                output
            }
            LayerKind::Pool(pool) => {
                let geometry = self.pool_geometry(layer)?;
                let output = self.activation(layer, geometry.output_shape());
                self.push_forward(PoolForward { kind: pool.kind, geometry }, &[input, output]);
                output
            }
            // The map lies flat in memory already.
            LayerKind::Flatten => input,
            LayerKind::Add => {
                let output = self.activation(layer, self.plan.buffer(input).shape.clone());
                self.push_forward(Add { elements }, &[input, inputs[1], output]);
                output
            }
        })
    }

    fn image_of(&self, layer: &Layer) -> ImageShape {
        match self.network.features(layer.inputs[0]) {
            Features::Image(image) => image,
            Features::Flat { .. } => unreachable!("the network has checked that {} reads a map", layer.name),
        }
    }

    fn conv_geometry(&self, layer: &Layer) -> Result<ConvGeometry> {
        let LayerKind::Conv2d(conv) = &layer.kind else { unreachable!("called for convolutions") };
        conv.geometry(self.batch_size, self.image_of(layer))
    }

    fn pool_geometry(&self, layer: &Layer) -> Result<PoolGeometry> {
        let LayerKind::Pool(pool) = &layer.kind else { unreachable!("called for pools") };
        pool.geometry(self.batch_size, self.image_of(layer))
    }

    fn dense_size(&self, layer: &Layer) -> Result<DenseSize> {
        let LayerKind::Dense(dense) = &layer.kind else { unreachable!("called for dense layers") };
        DenseSize::new(self.batch_size, self.network.features(layer.inputs[0]).elements(), dense.units)
    }

    fn loss(
        &mut self,
        logits: BufferId,
        batch: &Batch,
        data: &DataParts,
        steps: usize,
    ) -> Result<(BufferId, BufferId)> {
        let loss = self.state(format!("{}/loss", data.name), steps, Element::Real);
        let correct = self.state(format!("{}/correct", data.name), steps, Element::Index);
        let grad_logits = self.gradient(logits);
        let op = SoftmaxCrossEntropy::new(self.batch_size, data.classes, steps)?;
        self.push_forward(op, &[logits, batch.targets, batch.step, loss, correct, grad_logits]);
        Ok((loss, grad_logits))
    }

    fn gradient(&mut self, of: BufferId) -> BufferId {
        let spec = self.plan.buffer(of);
        let (name, shape) = (format!("{}.grad", spec.name), spec.shape.clone());
        self.plan.add_buffer(name, Role::Gradient, shape, Element::Real)
    }

    /// Walks the layers from the last to the first. A layer's output collects a gradient from each of its
    /// readers; all of them come before it here, and more than one are added up.
    fn backward(&mut self, image: BufferId, grad_logits: BufferId) -> Result<()> {
        let layers = self.network.layers();
        let mut collected: Vec<Vec<BufferId>> = vec![Vec::new(); layers.len()];
        collected[layers.len() - 1].push(grad_logits);
        self.grad_parameters = vec![Vec::new(); layers.len()];
        let learning = self.learning_layers();
        for (number, layer) in layers.iter().enumerate().rev() {
            let Some(grad_output) = self.added_up(&collected[number], self.outputs[number]) else { continue };
            let inputs: Vec<BufferId> =
                layer.inputs.iter().map(|source| self.buffer_of(source, image)).collect();
            let wanted =
                |source: &LayerInput| matches!(*source, LayerInput::Layer(number) if learning[number]);
            let any_wanted = layer.inputs.iter().any(wanted);
            let grad_inputs = self.backward_layer(number, layer, &inputs, grad_output, any_wanted)?;
            for (source, grad_input) in layer.inputs.iter().zip(grad_inputs) {
                if let &LayerInput::Layer(number) = source
                    && learning[number]
                {
                    collected[number].push(grad_input);
                }
            }
        }
        Ok(())
    }

    /// Whether there is a parameter at or in front of each layer: only then its output's gradient is wanted.
    fn learning_layers(&self) -> Vec<bool> {
        let mut learning: Vec<bool> = Vec::new();
        for layer in self.network.layers() {
            let reads_learning = layer.inputs.iter().any(|source| match *source {
                LayerInput::Image => false,
                LayerInput::Layer(number) => learning[number],
            });
            learning.push(reads_learning || !layer.parameters.is_empty());
        }
        learning
    }

    fn added_up(&mut self, gradients: &[BufferId], output: BufferId) -> Option<BufferId> {
        let (&first, others) = gradients.split_first()?;
        let elements = self.plan.buffer(output).shape.elements();
        Some(others.iter().fold(first, |sum, &gradient| {
            let total = self.gradient(output);
            self.push_backward(Add { elements }, &[sum, gradient, total]);
            total
        }))
    }

    /// Gradients of a layer's parameters, and, if any is `wanted`, of each of its inputs.
    fn backward_layer(
        &mut self,
        number: usize,
        layer: &Layer,
        inputs: &[BufferId],
        grad_output: BufferId,
        wanted: bool,
    ) -> Result<Vec<BufferId>> {
        let (input, output) = (inputs[0], self.outputs[number]);
        let parameters = self.parameters[number].clone();
        let gradients: Vec<BufferId> = parameters.iter().map(|&parameter| self.gradient(parameter)).collect();
        self.grad_parameters[number] = gradients.clone();
        match &layer.kind {
            LayerKind::Conv2d(_) => {
                let geometry = self.conv_geometry(layer)?;
                self.push_backward(ConvGradFilters::new(geometry), &[input, grad_output, gradients[0]]);
                if let Some(&grad_bias) = gradients.get(1) {
                    let (rows, channels) = bias_size(geometry.output_shape());
                    self.push_backward(BiasGrad::new(rows, channels), &[grad_output, grad_bias]);
                }
                Ok(self.grad_input(wanted, input, |this, grad_input| {
                    this.push_backward(
                        ConvGradInput::new(geometry),
                        &[parameters[0], grad_output, grad_input],
                    );
                }))
            }
            LayerKind::Dense(_) => {
                let size = self.dense_size(layer)?;
                self.push_backward(DenseGradWeight::new(size), &[input, grad_output, gradients[0]]);
                if let Some(&grad_bias) = gradients.get(1) {
                    let (rows, channels) = (size.batch_size, size.out_features);
                    self.push_backward(BiasGrad::new(rows, channels), &[grad_output, grad_bias]);
                }
                Ok(self.grad_input(wanted, input, |this, grad_input| {
                    this.push_backward(DenseGradInput::new(size), &[parameters[0], grad_output, grad_input]);
                }))
            }
            LayerKind::Activation(activation) => {
                let elements = self.plan.buffer(input).shape.elements();
                let saved = match activation.saves() {
                    Saved::Input => input,
                    Saved::Output => output,
                };
                let op = ActivationGrad { activation: *activation, elements };
                Ok(self.grad_input(wanted, input, |this, grad_input| {
                    this.push_backward(op, &[saved, grad_output, grad_input]);
                }))
            }
            LayerKind::Pool(pool) => {
                let op = PoolGrad::new(pool.kind, self.pool_geometry(layer)?);
                Ok(self.grad_input(wanted, input, |this, grad_input| match pool.kind {
                    PoolKind::Max => this.push_backward(op, &[input, grad_output, grad_input]),
                    PoolKind::Average => this.push_backward(op, &[grad_output, grad_input]),
                }))
            }
            LayerKind::Flatten => Ok(vec![grad_output]),
            // Both summands have the sum's gradient; it is read only, so they can share its buffer.
            LayerKind::Add => Ok(vec![grad_output; 2]),
        }
    }

    fn grad_input(
        &mut self,
        wanted: bool,
        input: BufferId,
        push: impl FnOnce(&mut Self, BufferId),
    ) -> Vec<BufferId> {
        if !wanted {
            return Vec::new();
        }
        let grad_input = self.gradient(input);
        push(self, grad_input);
        vec![grad_input]
    }

    fn update(&mut self, options: &TrainOptions, batch: &Batch, loss: BufferId) -> Result<()> {
        let TrainOptions { steps, update, data, .. } = options;
        update.check()?;
        let parameters = self.parameters_by_group();
        if !parameters.is_empty() {
            let gradient_of: HashMap<BufferId, BufferId> = self
                .parameters
                .iter()
                .flatten()
                .copied()
                .zip(self.grad_parameters.iter().flatten().copied())
                .collect();
            let gradients: Vec<BufferId> =
                parameters.iter().map(|parameter| gradient_of[parameter]).collect();
            self.plan.lay_side_by_side("gradients", gradients.clone());
            let sizes: Vec<(Group, usize)> = parameters
                .iter()
                .map(|&id| (group_of(self.plan.buffer(id)), self.plan.buffer(id).shape.elements()))
                .collect();
            let mut operands = [parameters.clone(), gradients.clone()].concat();
            for state in update.optimizer.states() {
                let of_parameter = |&id: &BufferId| {
                    let BufferSpec { name, shape, .. } = self.plan.buffer(id).clone();
                    self.plan.add_buffer(format!("{name}.{state}"), Role::State, shape, Element::Real)
                };
                let states: Vec<BufferId> = parameters.iter().map(of_parameter).collect();
                operands.extend(&states);
                self.plan.lay_side_by_side(*state, states);
            }
            let name = format!("{}/schedule", data.name);
            let schedule = self.plan.add_buffer(name, Role::State, [*steps, 4], Element::Real);
            operands.extend([schedule, batch.step, loss]);
            if let Some(max_norm) = update.clip_norm {
                let scale = self.plan.add_buffer("clip_scale", Role::Gradient, [1], Element::Real);
                operands.push(scale);
                let elements = sizes.iter().map(|&(_, elements)| elements).collect();
                let op = GradientNorm::new(elements, max_norm, *steps);
                let operands = [gradients, vec![batch.step, loss, scale]].concat();
                self.plan.update.push(Step { op: Box::new(op), operands });
            }
            let op = Update::new(*update, &sizes, *steps)?;
            self.plan.update.push(Step { op: Box::new(op), operands });
        }
        self.advance(loss, batch.step, *steps);
        Ok(())
    }

    /// All parameters, sorted by their groups: the order in which they lie in memory.
    fn parameters_by_group(&self) -> Vec<BufferId> {
        let mut parameters: Vec<BufferId> = self.parameters.iter().flatten().copied().collect();
        parameters.sort_by_key(|&id| group_of(self.plan.buffer(id)));
        parameters
    }

    fn advance(&mut self, loss: BufferId, step: BufferId, steps: usize) {
        self.plan.update.push(Step { op: Box::new(Advance { steps }), operands: vec![loss, step] });
    }
}

/// The group that a parameter belongs to.
fn group_of(parameter: &BufferSpec) -> Group {
    if parameter.name.ends_with(".bias") { Group::Bias } else { Group::Weight }
}

/// Rows and channels of a layer's output, as its bias sees it.
fn bias_size(output: Shape) -> (usize, usize) {
    let channels = *output.sizes().last().expect("an output has axes");
    (output.elements() / channels, channels)
}
