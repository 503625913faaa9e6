//! Where a number that is not finite came from.

use std::sync::Arc;

use crate::Result;
use crate::network::{Network, Weights};
use crate::plan::{EvaluateOptions, Executor, Mode, Role, inspect_plan};

/// Repeats the forward pass of the step that went bad, in the same mode, with every buffer kept, and names the first
/// place that holds a value that is not finite.
///
/// No steps are fused here, so that the place found is a layer and not the step that it was fused into. The
/// repetition is possible because a bad step changes nothing: the optimizer skips it, and the step's number stays.
pub fn find(
    executor: &mut dyn Executor,
    network: &Network,
    options: &EvaluateOptions,
    mode: Mode,
) -> Result<String> {
    let plan = Arc::new(inspect_plan(network, options, mode)?);
    let prepared = executor.prepare(plan.clone())?;
    executor.run(prepared, 1)?;
    let parameters: Vec<_> = plan.with_role(Role::Parameter).collect();
    let activations = plan.with_role(Role::Activation);
    for buffer in parameters.into_iter().chain(activations) {
        let spec = plan.buffer(buffer);
        if !spec.element.is_real() {
            continue;
        }
        if let Some(place) = described(&spec.name, executor.read(prepared, buffer)?.reals()) {
            return Ok(place);
        }
    }
    let mut state =
        |name: &str| executor.read(prepared, plan.expect(&format!("{}/{name}", options.data.name)));
    let step = state("step")?.indices()[0] as usize;
    // When the gradients' norm is not finite, clipping overwrites the loss of the step with that norm.
    let place = if state("loss")?.reals()[step].is_finite() { "the gradients" } else { "the loss itself" };
    Ok(format!("first seen in {place}"))
}

/// The first variable, in the order of the layers, that holds a value that is not finite, if one does.
pub fn in_weights(network: &Network, weights: &Weights) -> Option<String> {
    network.variables().find_map(|variable| {
        weights.get(&variable.name).and_then(|tensor| described(&variable.name, tensor.data()))
    })
}

fn described(name: &str, values: &[f32]) -> Option<String> {
    let bad = values.iter().filter(|value| !value.is_finite()).count();
    (bad > 0).then(|| format!("first seen in {name}, {bad} of {} values not finite", values.len()))
}
