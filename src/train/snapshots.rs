//! Weights and their gradients at some moments of an epoch, read back while training goes on.

use std::collections::BTreeMap;

use crate::Result;
use crate::network::{Layer, Network, Variable};
use crate::ops::loss::LOSS_SCALE;
use crate::plan::{CLIP_SCALE, Executor, Pending, Plan, Prepared};

/// What the names of gradients end with.
const GRADIENT: &str = ".grad";

/// What the buffers of a training plan held between two steps, in the plan's layouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Steps trained since the start of the training.
    pub step: u64,
    /// By the name of the buffer: `conv1.weight`, `conv1.weight.grad`. Gradients that the scale of a loss has multiplied are
    /// those that the update takes; zeros, if the step was left out.
    pub values: BTreeMap<String, Vec<f32>>,
}

/// Says when which buffers are read back.
///
/// - The filters of the first convolution and their gradient, after steps 1, 2, 5, 10, 20, 50, ... of the training.
/// - The weights of every layer before an epoch's last step, and with their gradients after it.
#[derive(Clone, Debug)]
pub struct Watch {
    filters: Option<String>,
    weights: Vec<String>,
}

/// A request that is under way.
struct Requested {
    step: u64,
    name: String,
    content: Box<dyn Pending>,
}

/// The snapshots of an epoch that is under way.
#[derive(Default)]
pub(super) struct Requests(Vec<Requested>);

impl Watch {
    /// For a training of this network.
    pub fn new(network: &Network) -> Self {
        let weights = network.layers().iter().filter_map(Layer::weight);
        let filters = network.layers().iter().find_map(Layer::filters).map(|filters| filters.name.clone());
        Watch { filters, weights: weights.map(|weight| weight.name.clone()).collect() }
    }

    /// The next step after `done` steps of an epoch of `steps` steps, which began after `before` steps of the training,
    /// at whose end something is read back.
    pub(super) fn next(&self, before: u64, done: usize, steps: usize) -> usize {
        let next_shown = next_shown(before + done as u64) - before;
        let last = if done + 1 < steps { steps - 1 } else { steps };
        last.min(usize::try_from(next_shown).unwrap_or(last))
    }

    /// Requests what is to be read back after `done` steps of an epoch.
    pub(super) fn request(
        &self,
        requests: &mut Requests,
        executor: &mut dyn Executor,
        (plan, prepared): (&Plan, Prepared),
        [before, done, steps]: [u64; 3],
    ) -> Result<()> {
        let step = before + done;
        let mut names: Vec<String> = Vec::new();
        if done + 1 >= steps {
            names.extend(self.weights.iter().cloned());
        }
        let is_shown = next_shown(step - 1) == step;
        names.extend(
            self.filters.iter().filter(|name| is_shown && !names.contains(name)).cloned().collect::<Vec<_>>(),
        );
        if done == steps || is_shown {
            names.extend(names.clone().iter().map(|name| format!("{name}{GRADIENT}")));
            names.extend(plan.find(LOSS_SCALE).map(|_| CLIP_SCALE.into()));
        }
        for name in names {
            // What is not trained has no gradient.
            let Some(buffer) = plan.find(&name) else { continue };
            let content = executor.read_later(prepared, buffer)?;
            requests.0.push(Requested { step, name, content });
        }
        Ok(())
    }
}

impl Requests {
    /// Waits for all contents.
    pub fn wait(self) -> Result<Vec<Snapshot>> {
        let mut snapshots: Vec<Snapshot> = Vec::new();
        for Requested { step, name, content } in self.0 {
            let values = content.wait()?.into_reals();
            match snapshots.last_mut() {
                Some(last) if last.step == step => {
                    last.values.insert(name, values);
                }
                _ => snapshots.push(Snapshot { step, values: BTreeMap::from([(name, values)]) }),
            }
        }
        for Snapshot { values, .. } in &mut snapshots {
            let Some(scale) = values.remove(CLIP_SCALE) else { continue };
            let gradients = values.iter_mut().filter(|(name, _)| name.ends_with(GRADIENT));
            for value in gradients.flat_map(|(_, gradient)| gradient) {
                *value = if scale[0] == 0.0 { 0.0 } else { scale[0] * *value };
            }
        }
        Ok(snapshots)
    }
}

/// The first of 1, 2, 5, 10, 20, 50, ... that is larger than `step`.
fn next_shown(step: u64) -> u64 {
    let mut power = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let shown = power.saturating_mul(factor);
            if shown > step || shown == u64::MAX {
                return shown;
            }
        }
        power = power.saturating_mul(10);
    }
}

impl Layer {
    /// Its weight, if it multiplies by one: of convolutions and dense layers.
    pub fn weight(&self) -> Option<&Variable> {
        self.variables.first().filter(|variable| variable.shape.sizes().len() > 1)
    }

    /// Its filters `[filters, height, width, channels of a group]`, if it is a convolution.
    pub fn filters(&self) -> Option<&Variable> {
        self.weight().filter(|weight| weight.shape.sizes().len() == 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::presets;
    use crate::tensor::ImageShape;

    #[test]
    fn moments_grow_apart_and_the_end_of_an_epoch_is_seen() {
        let network = presets::lenet(ImageShape { height: 12, width: 12, channels: 1 }, 3).unwrap();
        let watch = Watch::new(&network);
        let moments = |before: u64, steps: usize| {
            let mut done = 0;
            std::iter::from_fn(|| {
                done = (done < steps).then(|| watch.next(before, done, steps))?;
                Some(done)
            })
            .collect::<Vec<usize>>()
        };
        assert_eq!(moments(0, 30), [1, 2, 5, 10, 20, 29, 30]);
        assert_eq!(moments(30, 30), [20, 29, 30]);
        assert_eq!(moments(0, 1), [1]);
        assert_eq!(moments(1, 1), [1]);
        assert_eq!(moments(0, 2), [1, 2]);
        assert_eq!(moments(u64::MAX / 2, 3), [2, 3]);
    }
}
