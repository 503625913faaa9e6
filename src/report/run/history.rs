//! What a report needs of the past of a run, beside the run's other files: `history.safetensors`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::story::Moment;
use crate::network::{Layer, Network, Variable, Weights};
use crate::ops::Element;
use crate::tensor::{Shape, Tensor};
use crate::train::{Snapshot, read_safetensors, save_tensors};
use crate::{Error, Result};

/// The past of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The loss of each step.
    pub losses: Vec<f32>,
    /// The filters of the first convolution at some moments.
    pub moments: Vec<Moment>,
    /// The weights after some epochs; 0 is the start.
    pub weights: BTreeMap<usize, Weights>,
    /// How each layer with a weight fared: a row for each epoch from the first, a column for each layer.
    pub health: Vec<Vec<Health>>,
    /// Whole epochs trained.
    pub epochs: usize,
}

/// How a layer fared in an epoch: NaN where it is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Norm of the gradient of its weight in the last step.
    pub gradient: f32,
    /// Norm of the last step's change of its weight, by the norm of the weight.
    pub update: f32,
    /// Share of its units that are active for none of the images looked at.
    pub inactive: f32,
    /// Mean of its activations.
    pub mean: f32,
    /// Standard deviation of its activations.
    pub deviation: f32,
}

impl Health {
    /// Nothing is known.
    pub const UNKNOWN: Health = Health {
        gradient: f32::NAN,
        update: f32::NAN,
        inactive: f32::NAN,
        mean: f32::NAN,
        deviation: f32::NAN,
    };

    const VALUES: usize = 5;

    fn to_row(self) -> [f32; Health::VALUES] {
        [self.gradient, self.update, self.inactive, self.mean, self.deviation]
    }

    fn from_row([gradient, update, inactive, mean, deviation]: [f32; Health::VALUES]) -> Health {
        Health { gradient, update, inactive, mean, deviation }
    }
}

/// What the file's header says beside the tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    epochs: usize,
    steps: Vec<u64>,
    names: Vec<String>,
    weights: Vec<usize>,
}

/// The name of [`Header`] in the file's metadata.
const HEADER: &str = "history";

/// Most bytes of all weights together, and most sets of them.
const WEIGHTS_BYTES: u64 = 24 << 20;
const MOST_WEIGHTS: usize = 9;

/// Most bytes of a history's file beside the weights.
const MOST_BYTES: u64 = 256 << 20;

/// Most moments of a film: those of the first steps, and epochs at growing distances.
const MOST_MOMENTS: usize = 60;

impl History {
    /// The history of a training that starts from these weights.
    pub fn start(network: &Network, weights: Weights) -> Result<History> {
        let mut history = History::default();
        if let Some(filters) = network.layers().iter().find_map(Layer::filters) {
            let values = weights.values(filters)?;
            history.moments.push(Moment { step: 0, name: "start".into(), values, gradient: Vec::new() });
        }
        history.weights.insert(0, weights);
        Ok(history)
    }

    /// The history of a training of which nothing is known before these weights, after so many epochs of `steps` steps.
    ///
    /// # Errors
    /// As [`History::start`].
    pub fn start_late(network: &Network, weights: Weights, epochs: usize, steps: usize) -> Result<History> {
        let mut history = History::start(network, weights)?;
        if epochs > 0 {
            let layers = network.layers().iter().filter_map(Layer::weight).count();
            history.epochs = epochs;
            history.losses = vec![f32::NAN; epochs * steps];
            history.health = vec![vec![Health::UNKNOWN; layers]; epochs];
            history.weights =
                std::mem::take(&mut history.weights).into_values().map(|it| (epochs, it)).collect();
            for moment in &mut history.moments {
                (moment.step, moment.name) = ((epochs * steps) as u64, format!("epoch {epochs}"));
            }
        }
        Ok(history)
    }

    /// Adds an epoch: its losses, what was read back of it, and the weights at its end. How the layers fared is known from the
    /// gradients and the weights as far as they tell; the rest is `activations`: share inactive, mean and deviation of each
    /// layer with a weight.
    pub fn add_epoch(
        &mut self,
        network: &Network,
        losses: &[f32],
        snapshots: &[Snapshot],
        weights: Weights,
        activations: &[[f32; 3]],
    ) {
        self.epochs += 1;
        self.losses.extend(losses);
        self.add_moments(network, snapshots);
        let layers = network.layers().iter().filter_map(Layer::weight).enumerate();
        let row = layers.map(|(number, weight)| {
            let [inactive, mean, deviation] = activations.get(number).copied().unwrap_or([f32::NAN; 3]);
            let [gradient, update] = of_step(weight, snapshots);
            Health { gradient, update, inactive, mean, deviation }
        });
        self.health.push(row.collect());
        self.weights.insert(self.epochs, weights);
        self.thin(network);
    }

    /// Adds the film's moments.
    fn add_moments(&mut self, network: &Network, snapshots: &[Snapshot]) {
        let Some(filters) = network.layers().iter().find_map(Layer::filters) else { return };
        let last = snapshots.last().map(|snapshot| snapshot.step);
        for Snapshot { step, values } in snapshots {
            let Some(found) = values.get(&filters.name) else { continue };
            let gradient = values.get(&format!("{}.grad", filters.name)).cloned().unwrap_or_default();
            // The weights before the last step serve another purpose.
            let is_last = Some(*step) == last;
            if gradient.is_empty() && filters.is_trained() && !is_last {
                continue;
            }
            let name = if is_last { format!("epoch {}", self.epochs) } else { format!("step {step}") };
            self.moments.push(Moment { step: *step, name, values: found.clone(), gradient });
        }
        // Of many epochs, every second, fourth, ... and the last remain.
        let mut apart = 1;
        while self.moments.len() > MOST_MOMENTS && apart < self.epochs {
            apart *= 2;
            let epochs = self.epochs;
            self.moments.retain(|moment| {
                match moment.name.strip_prefix("epoch ").and_then(|epoch| epoch.parse().ok()) {
                    Some(epoch) => usize::is_multiple_of(epoch, apart) || epoch == epochs,
                    None => true,
                }
            });
        }
    }

    /// How many sets of weights are kept, at most: of so many epochs, maps are shown.
    pub fn most_weights(network: &Network) -> usize {
        let elements = network.variables().map(|variable| variable.shape.elements()).sum();
        let fitting = (WEIGHTS_BYTES / Element::Real.bytes(elements).max(1)) as usize;
        fitting.clamp(2, MOST_WEIGHTS)
    }

    /// The bytes of memory that the weights take: those that are kept, one on its way, and one as a file.
    pub fn bytes(network: &Network) -> u64 {
        let elements = network.variables().map(|variable| variable.shape.elements()).sum();
        (2 * History::most_weights(network) as u64 + 1) * Element::Real.bytes(elements)
    }

    /// Drops weights of epochs until few enough are left, at equal distances; the start and the last always remain.
    fn thin(&mut self, network: &Network) {
        let most = History::most_weights(network);
        let mut apart = 1;
        while self.weights.len() > most {
            apart *= 2;
            let last = self.epochs;
            self.weights.retain(|epoch, _| epoch.is_multiple_of(apart) || *epoch == last);
        }
    }

    /// Forgets what came after so many epochs, for a training that goes on from there.
    pub fn keep_epochs(&mut self, epochs: usize, steps_per_epoch: usize) {
        let steps = epochs * steps_per_epoch;
        self.epochs = self.epochs.min(epochs);
        self.losses.truncate(steps);
        self.moments.retain(|moment| moment.step <= steps as u64);
        self.weights.retain(|&epoch, _| epoch <= epochs);
        self.health.truncate(epochs);
    }

    /// Writes the history.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written; it is then as it was.
    pub fn save(&self, path: &Path) -> Result<()> {
        let header = Header {
            epochs: self.epochs,
            steps: self.moments.iter().map(|moment| moment.step).collect(),
            names: self.moments.iter().map(|moment| moment.name.clone()).collect(),
            weights: self.weights.keys().copied().collect(),
        };
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        let mut add = |name: String, values: &[f32]| -> Result<()> {
            tensors.push((name, Tensor::new(Shape::checked(HEADER, [values.len()])?, values.to_vec())?));
            Ok(())
        };
        add("losses".into(), &self.losses)?;
        let health: Vec<f32> = self.health.iter().flatten().flat_map(|health| health.to_row()).collect();
        add("health".into(), &health)?;
        for (number, moment) in self.moments.iter().enumerate() {
            add(format!("moment.{number}.filters"), &moment.values)?;
            add(format!("moment.{number}.gradient"), &moment.gradient)?;
        }
        let mut named: Vec<(String, &Tensor)> = Vec::new();
        for (epoch, weights) in &self.weights {
            named.extend(weights.iter().map(|(name, tensor)| (format!("epoch.{epoch}.{name}"), tensor)));
        }
        let header = serde_json::to_string(&header).expect("plain data");
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let weights = named.iter().map(|(name, tensor)| (name.as_str(), *tensor));
        save_tensors(path, tensors.chain(weights), &[(HEADER.into(), header)])
    }

    /// Reads the history of a run of `network`.
    ///
    /// # Errors
    /// [`Error::Io`] when there is none; [`Error::File`] when it is damaged, or not of this network.
    pub fn load(path: &Path, network: &Network) -> Result<History> {
        let elements: usize = network.variables().map(|variable| variable.shape.elements()).sum();
        let most = MOST_BYTES + MOST_WEIGHTS as u64 * Element::Real.bytes(elements);
        let expected = format!("the history of a run of {}, at most {most} bytes", network.name());
        let bytes = read_safetensors(path, most, &expected)?;
        let damaged = |found: String| Error::file(path, "the history of this run", found);
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER));
        let header = header.ok_or_else(|| damaged("no header".into()))?;
        let header: Header = serde_json::from_str(header).map_err(|error| damaged(error.to_string()))?;
        let read = |name: &str| -> Result<Vec<f32>> {
            let view = file.tensor(name).map_err(|_| damaged(format!("no {name}")))?;
            match view.dtype() {
                Dtype::F32 => Ok(bytemuck::pod_collect_to_vec(view.data())),
                other => Err(damaged(format!("{name} of {other:?}"))),
            }
        };
        let layers = network.layers().iter().filter_map(Layer::weight).count();
        let health = read("health")?;
        let losses = read("losses")?;
        if header.steps.len() != header.names.len()
            || health.len() != header.epochs.saturating_mul(layers * Health::VALUES)
        {
            return Err(damaged(format!("figures of another number of epochs than {}", header.epochs)));
        }
        let rows = health.as_chunks::<{ Health::VALUES }>().0.chunks(layers.max(1));
        let health = rows.map(|row| row.iter().map(|&row| Health::from_row(row)).collect()).collect();
        let filters =
            network.layers().iter().find_map(Layer::filters).map_or(0, |filters| filters.shape.elements());
        let mut moments = Vec::new();
        for (number, (step, name)) in header.steps.into_iter().zip(header.names).enumerate() {
            let values = read(&format!("moment.{number}.filters"))?;
            let gradient = read(&format!("moment.{number}.gradient"))?;
            if values.len() != filters || !(gradient.is_empty() || gradient.len() == filters) {
                return Err(damaged(format!("other filters at {name}")));
            }
            moments.push(Moment { step, name, values, gradient });
        }
        let mut weights = BTreeMap::new();
        for epoch in header.weights {
            let read = network.variables().map(|variable: &Variable| {
                let values = read(&format!("epoch.{epoch}.{}", variable.name))?;
                Ok((variable.name.clone(), Tensor::new(variable.pytorch_shape(), values)?))
            });
            weights.insert(epoch, read.collect::<Result<Weights>>()?);
        }
        Ok(History { losses, moments, weights, health, epochs: header.epochs })
    }
}

/// The norm of a weight's last gradient, and of its last change by its own.
fn of_step(weight: &Variable, snapshots: &[Snapshot]) -> [f32; 2] {
    let mut last = snapshots.iter().rev();
    let (after, before) = (last.next(), last.next());
    let gradient = after.and_then(|after| after.values.get(&format!("{}.grad", weight.name)));
    let gradient = gradient.map_or(f32::NAN, |gradient| norm(gradient.iter().copied()) as f32);
    let [after, before] = [after, before].map(|snapshot| snapshot?.values.get(&weight.name));
    let change = after.zip(before).map(|(after, before)| {
        let size = norm(after.iter().copied());
        (norm(after.iter().zip(before).map(|(after, before)| after - before)) / size) as f32
    });
    [gradient, change.unwrap_or(f32::NAN)]
}

/// The Euclidean norm.
fn norm(values: impl IntoIterator<Item = f32>) -> f64 {
    values.into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}
