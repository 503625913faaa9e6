//! Where a number that is not finite came from.

use std::sync::Arc;

use crate::Result;
use crate::network::Network;
use crate::ops::Element;
use crate::plan::{EvaluateOptions, Executor, Role, evaluate_plan};

/// Runs the step that went bad once more, forward, with every buffer kept, and names the first place that
/// holds a value that is not finite.
///
/// Each layer is a step of its own here, so that the place is a layer's, and not that of whichever step it was
/// fused into. That works because a bad step changes nothing: the optimizer skips it, and the step's number stays.
pub fn find(executor: &mut dyn Executor, network: &Network, options: &EvaluateOptions) -> Result<String> {
    let plan = Arc::new(evaluate_plan(network, options)?.for_inspection());
    let prepared = executor.prepare(plan.clone())?;
    executor.run(prepared, 1)?;
    let parameters: Vec<_> = plan.with_role(Role::Parameter).collect();
    let activations = plan.with_role(Role::Activation);
    for buffer in parameters.into_iter().chain(activations) {
        let spec = plan.buffer(buffer);
        if spec.element != Element::Real {
            continue;
        }
        if let Some(place) = described(&spec.name, executor.read(prepared, buffer)?.reals()) {
            return Ok(place);
        }
    }
    let mut state =
        |name: &str| executor.read(prepared, plan.expect(&format!("{}/{name}", options.data.name)));
    let step = state("step")?.indices()[0] as usize;
    // Clipping makes the loss of a step whose gradients have no finite norm what their norm is.
    let place = if state("loss")?.reals()[step].is_finite() { "the gradients" } else { "the loss itself" };
    Ok(format!("first seen in {place}"))
}

/// The first parameter that holds a value that is not finite, if one does; the order is that of
/// [`Network::parameters`].
pub fn in_parameters(network: &Network, parameters: &[Vec<f32>]) -> Option<String> {
    network.parameters().zip(parameters).find_map(|(parameter, values)| described(&parameter.name, values))
}

fn described(name: &str, values: &[f32]) -> Option<String> {
    let bad = values.iter().filter(|value| !value.is_finite()).count();
    (bad > 0).then(|| format!("first seen in {name}, {bad} of {} values not finite", values.len()))
}
