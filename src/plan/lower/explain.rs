//! Plans that show how a network comes to its answers.

use super::{AugmentOptions, EvaluateOptions, LossOptions, Lowering, Mode, TrainOptions};
use crate::Result;
use crate::network::Network;
use crate::ops::Element;
use crate::ops::optimizer::UpdateOptions;
use crate::plan::{BufferId, Plan, Role};

/// What the backward pass of an explaining plan starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Question {
    /// The gradient of the logits, which the caller writes to the buffer `wanted` `[N,classes]`: 1 at a class asks what speaks
    /// for it.
    Logits,
    /// The loss, by which the parameters are then updated once; the caller writes the buffer `D/schedule`.
    Loss(UpdateOptions),
}

/// A plan that shows everything: what each layer computes, in evaluation mode, and if there is a question, the gradient of
/// each layer's output and of the image.
#[derive(Debug)]
pub struct ExplainPlan {
    /// The plan. Every buffer is kept.
    pub plan: Plan,
    /// The images as the network sees them, `[N,H,W,C]`.
    pub image: BufferId,
    /// The output of each layer.
    pub outputs: Vec<BufferId>,
    /// The gradient of each layer's output; empty without a question.
    pub gradients: Vec<BufferId>,
    /// The gradient of the images, if there is a question.
    pub image_gradient: Option<BufferId>,
}

/// The plan of explaining a network's answers, without any fusion.
///
/// Its buffers are those of [`evaluate_plan`](super::evaluate_plan); beside them, `LAYER.sums` holds the sums of a
/// convolution or a dense layer before its bias is added. Normalisations use their running statistics and nothing is dropped,
/// in the backward pass as in the forward pass.
///
/// # Errors
/// [`Error::Invalid`](crate::Error::Invalid) for a batch size whose tensors do not fit.
pub fn explain_plan(
    network: &Network,
    options: &EvaluateOptions,
    question: Option<Question>,
) -> Result<ExplainPlan> {
    let EvaluateOptions { batch_size, steps, ref data, ref augment } = *options;
    let mut lowering = Lowering::new(network, batch_size, Mode::Evaluate);
    lowering.explains = true;
    let augment = augment.map(|augment| AugmentOptions { mixes: false, ..augment });
    let batch = lowering.gather(data, steps, augment)?;
    let logits = lowering.forward(batch.input, Some(batch.guard))?;
    let of_loss = lowering.loss(logits, &batch, data, LossOptions::default())?;
    let start = question.map(|question| match question {
        Question::Loss(_) => of_loss,
        Question::Logits => {
            let shape = lowering.plan.buffer(logits).shape.clone();
            lowering.plan.add_buffer("wanted", Role::State, shape, Element::Real)
        }
    });
    let gradients = start.map(|start| lowering.backward(start, batch.guard)).transpose()?;
    match question {
        None | Some(Question::Logits) => lowering.advance(batch.guard),
        Some(Question::Loss(update)) => {
            let (data, loss) = (data.clone(), LossOptions::default());
            let options = TrainOptions { batch_size, steps, data, loss, update, augment: None };
            lowering.update(&options, batch.guard)?;
        }
    }
    let outputs = lowering.layers.iter().map(|layer| layer.output.expect("forward is done")).collect();
    let image_gradient = gradients.as_ref().and_then(|gradients| gradients.image);
    let gradients = gradients.into_iter().flat_map(|gradients| gradients.outputs);
    let gradients =
        gradients.map(|gradient| gradient.expect("an explaining plan has all gradients")).collect();
    let mut plan = lowering.plan;
    plan.buffers.iter_mut().for_each(|buffer| buffer.kept = true);
    Ok(ExplainPlan { plan, image: batch.input, outputs, gradients, image_gradient })
}
