//! Everything that a training needs to continue as if it had never stopped, in one file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::checkpoint::read_safetensors;
use super::evaluate::Evaluation;
use super::settings::TrainSettings;
use crate::data::{DataSplits, Dataset};
use crate::files::write_durably;
use crate::network::{Network, Variable, Weights};
use crate::ops::optimizer::AVERAGE;
use crate::{Error, Result};

/// The state of a training between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState {
    /// Number of whole epochs trained.
    pub epochs: usize,
    /// Loss of each step trained so far in the epoch under way.
    pub losses: Vec<f32>,
    /// Everything that changes from step to step, with the exact values and in the layout of memory, under the names
    /// of the plan's buffers: the network's variables, `conv1.weight`, and the optimizer's state,
    /// `conv1.weight.velocity`.
    pub variables: BTreeMap<String, Vec<f64>>,
}

impl TrainState {
    /// The values of the network's variables, rounded to f32.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a state of another network; [`Error::Memory`] when there is too little memory.
    pub fn weights(&self, network: &Network) -> Result<Weights> {
        self.weights_from(network, |variable| self.variables.get(&variable.name))
    }

    /// The moving averages of the network's variables, rounded to f32, and the values of those that have none; `None`
    /// if the training keeps no averages.
    ///
    /// # Errors
    /// As [`TrainState::weights`].
    pub fn averages(&self, network: &Network) -> Result<Option<Weights>> {
        let average = |variable: &Variable| self.variables.get(&format!("{}.{AVERAGE}", variable.name));
        if network.variables().all(|variable| average(variable).is_none()) {
            return Ok(None);
        }
        let values = |variable: &Variable| average(variable).or_else(|| self.variables.get(&variable.name));
        self.weights_from(network, values).map(Some)
    }

    fn weights_from<'a>(
        &self,
        network: &Network,
        values: impl Fn(&Variable) -> Option<&'a Vec<f64>>,
    ) -> Result<Weights> {
        let of_variable = |variable: &Variable| {
            let name = &variable.name;
            let values = values(variable);
            let values =
                values.ok_or_else(|| Error::invalid("state", format!("values of {name}"), "none"))?;
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Ok((name.clone(), variable.to_pytorch(&values)?))
        };
        network.variables().map(of_variable).collect()
    }
}

/// What a run can be resumed from.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// How far the training has got.
    pub state: TrainState,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// What was trained, and on what.
    pub basis: Basis,
}

/// The epoch with the best figures on the validation set, or on the test set if there is no validation set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its number, from 1.
    pub epoch: usize,
    /// The figures.
    #[serde(alias = "test")]
    pub evaluation: Evaluation,
}

/// What defines a run. With anything else, it is another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// The network, as a model file.
    pub model: String,
    /// Settings by their names, as a run's configuration writes them.
    pub settings: BTreeMap<String, String>,
    /// A checksum of the training set.
    pub train: String,
    /// A checksum of the validation set, if there is one.
    #[serde(default)]
    pub validation: Option<String>,
    /// A checksum of the test set.
    pub test: String,
}

impl Basis {
    /// The basis of a run that trains `network` on `data` with `settings`.
    ///
    /// The number of epochs counts only if the schedule depends on it.
    pub fn new(network: &Network, settings: &TrainSettings, data: &DataSplits) -> Self {
        let mut settings = settings.clone();
        if settings.schedule.is_constant() {
            settings.epochs = 0;
        }
        let text = toml::to_string(&settings).expect("settings are plain TOML");
        let table: toml::Table = text.parse().expect("TOML that was just written");
        let mut settings = BTreeMap::new();
        flatten("", &table, &mut settings);
        Basis {
            model: network.to_toml(),
            settings,
            train: checksum(&data.train),
            validation: data.validation.as_ref().map(checksum),
            test: checksum(&data.test),
        }
    }

    /// The differences from `now`, one phrase for each: `learning_rate 0.02, now 0.05`.
    pub fn differences(&self, now: &Basis) -> Vec<String> {
        let named = [
            ("the model", self.model != now.model),
            ("the training images", self.train != now.train),
            ("the validation images", self.validation != now.validation),
            ("the test images", self.test != now.test),
        ];
        let mut found: Vec<String> =
            named.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()).collect();
        let names: BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        found.extend(names.into_iter().filter_map(|name| {
            let [then, now] =
                [self, now].map(|basis| basis.settings.get(name).map_or("not set", String::as_str));
            (then != now).then(|| format!("{name} {then}, now {now}"))
        }));
        found
    }
}

/// The values of a table and of the tables in it, under dotted names.
fn flatten(prefix: &str, table: &toml::Table, values: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => flatten(&format!("{prefix}{key}."), inner, values),
            value => drop(values.insert(format!("{prefix}{key}"), value.to_string())),
        }
    }
}

/// A checksum of a dataset's sizes, classes, labels and pixels.
fn checksum(data: &Dataset) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(data.classes.join("\n").as_bytes());
    data.labels.iter().for_each(|label| hasher.update(&label.to_le_bytes()));
    hasher.update(&data.images);
    format!("{} images of {}, {:08x}", data.len(), data.image, hasher.finalize())
}

/// What the file's header holds beside the tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    epochs: usize,
    best: Option<Best>,
    basis: Basis,
}

/// The key of [`Header`] among the file's metadata; its number changes with the format.
const HEADER: &str = "wgconv-state-1";
const LOSSES: &str = "losses";
const VARIABLES: &str = "variables/";

impl Checkpoint {
    /// Writes the checkpoint as one safetensors file, completely or not at all. Values that f32 can hold exactly are
    /// written as f32.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written; a file that was there before is then as it was.
    pub fn save(&self, path: &Path) -> Result<()> {
        let variables = self.state.variables.iter().map(|(name, values)| (name, Stored::new(values)));
        let variables: Vec<(&String, Stored<'_>)> = variables.collect();
        let losses = Stored::F32(self.state.losses.clone());
        let mut tensors = vec![(LOSSES.to_owned(), losses.view())];
        tensors.extend(variables.iter().map(|(name, stored)| (format!("{VARIABLES}{name}"), stored.view())));
        let header = Header { epochs: self.state.epochs, best: self.best, basis: self.basis.clone() };
        let header = serde_json::to_string(&header).expect("a header is plain JSON");
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        let bytes = serialize(tensors, Some(metadata)).expect("names are unique and data fit their shapes");
        write_durably(path, &bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::File`] when it is damaged or not a checkpoint;
    /// [`Error::Memory`] when there is too little memory for it.
    pub fn load(path: &Path) -> Result<Checkpoint> {
        const EXPECTED: &str = "the state of a training";
        let wrong = |found: &dyn ToString| Error::file(path, EXPECTED, found.to_string());
        let bytes = read_safetensors(path, u64::MAX, EXPECTED)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(&error))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(&error))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER));
        let header = header.ok_or_else(|| wrong(&format!("one without {HEADER} in its header")))?;
        let Header { epochs, best, basis } = serde_json::from_str(header).map_err(|error| wrong(&error))?;
        let mut state = TrainState { epochs, losses: Vec::new(), variables: BTreeMap::new() };
        for (name, view) in file.tensors() {
            match (name.strip_prefix(VARIABLES), view.dtype()) {
                (None, Dtype::F32) if name == LOSSES => {
                    state.losses = bytemuck::pod_collect_to_vec(view.data());
                }
                (Some(name), Dtype::F32) => {
                    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
                    state.variables.insert(name.into(), values.into_iter().map(f64::from).collect());
                }
                (Some(name), Dtype::F64) => {
                    state.variables.insert(name.into(), bytemuck::pod_collect_to_vec(view.data()));
                }
                (_, dtype) => return Err(wrong(&format!("a tensor {name} of {dtype:?}"))),
            }
        }
        Ok(Checkpoint { state, best, basis })
    }
}

/// Values as they are stored in a file.
enum Stored<'a> {
    F32(Vec<f32>),
    F64(&'a [f64]),
}

impl<'a> Stored<'a> {
    fn new(values: &'a [f64]) -> Self {
        let is_f32 = |value: &f64| value.is_nan() || f64::from(*value as f32) == *value;
        match values.iter().all(is_f32) {
            true => Stored::F32(values.iter().map(|&value| value as f32).collect()),
            false => Stored::F64(values),
        }
    }

    fn view(&self) -> TensorView<'_> {
        let (dtype, length, bytes) = match self {
            Stored::F32(values) => (Dtype::F32, values.len(), bytemuck::cast_slice(values)),
            Stored::F64(values) => (Dtype::F64, values.len(), bytemuck::cast_slice(values)),
        };
        TensorView::new(dtype, vec![length], bytes).expect("values fit their shape")
    }
}
