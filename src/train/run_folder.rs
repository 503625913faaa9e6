//! The folder that a run leaves behind: settings, model, figures and weights.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{TrainSettings, load_weights, save_weights};
use crate::data::Normalisation;
use crate::files::{MOST_TEXT, read_text, write_atomically};
use crate::network::{Network, NetworkFile};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// What a run was started with, as `config.toml` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The version of wgconv that wrote it.
    pub version: String,
    /// Where the images came from: `synthetic`, or a folder.
    pub data: String,
    /// The device, as it names itself.
    pub device: String,
    /// Epochs asked for.
    pub epochs: usize,
    /// Images used of the training set and of the test set, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Size of an image: channels, height, width.
    pub image: [usize; 3],
    /// Name of each class.
    pub classes: Vec<String>,
    /// How the network is trained.
    pub training: TrainSettings,
    /// Mean and deviation of the training set's channels.
    pub normalisation: Normalisation,
}

impl RunConfig {
    /// The size of an image.
    pub fn image_shape(&self) -> ImageShape {
        let [channels, height, width] = self.image;
        ImageShape { height, width, channels }
    }
}

/// A run's folder: `config.toml`, `model.toml`, `metrics.jsonl`, `best.safetensors`, `last.safetensors`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: String,
}

impl RunFolder {
    /// Checks that a new folder can be made at `path`, and leaves no trace.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn check(path: &Path) -> Result<()> {
        if path.exists() {
            return Err(Self::taken(path));
        }
        let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let parent = above.find(|above| above.exists()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return Err(Error::io("create", path)(io::ErrorKind::NotADirectory.into()));
        }
        tempfile::tempdir_in(parent).map(drop).map_err(Error::io("create", path))
    }

    fn taken(path: &Path) -> Error {
        Error::invalid("output folder", "a path where nothing is yet", path.display())
    }

    /// Makes a new folder and writes what the run starts with.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the folder exists; [`Error::Io`] when it cannot be made or written.
    pub fn create(path: &Path, config: &RunConfig, network: &Network) -> Result<RunFolder> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        fs::create_dir(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Self::taken(path),
            _ => Error::io("create", path)(error),
        })?;
        let run = RunFolder { path: path.into(), metrics: String::new() };
        let config = toml::to_string(config).expect("a configuration is plain TOML");
        write_atomically(&run.path.join("config.toml"), config.as_bytes())?;
        write_atomically(&run.path.join("model.toml"), network.to_toml().as_bytes())?;
        Ok(run)
    }

    /// The first of `runs/NAME-1`, `runs/NAME-2`, ... where nothing is yet.
    pub fn next_free(name: &str) -> PathBuf {
        let path = |number: u32| Path::new("runs").join(format!("{name}-{number}"));
        (1..).map(path).find(|path| !path.exists()).expect("a free number")
    }

    /// Opens the folder of an earlier run.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing, [`Error::File`] when one is damaged.
    pub fn open(path: &Path) -> Result<(RunFolder, RunConfig, Network)> {
        let read = |name: &str| read_text(&path.join(name), MOST_TEXT);
        let config: RunConfig = toml::from_str(&read("config.toml")?).map_err(|error| {
            Error::file(path.join("config.toml"), "a run's configuration", error.message())
        })?;
        let [channels, height, width] = config.image;
        let image = ImageShape { height, width, channels };
        let damaged = |error: Error| Error::file(path.join("model.toml"), "a run's model", error);
        let network = NetworkFile::parse(&read("model.toml")?)
            .and_then(|file| file.build(Some(image)))
            .map_err(damaged)?;
        network.check_data(image, config.classes.len()).map_err(damaged)?;
        let channels = (config.normalisation.mean.len(), config.normalisation.deviation.len());
        if channels != (image.channels, image.channels) {
            let expected = format!("a normalisation of {} channels", image.channels);
            return Err(Error::file(path.join("config.toml"), expected, format!("{channels:?}")));
        }
        Ok((RunFolder { path: path.into(), metrics: String::new() }, config, network))
    }

    /// Where the run lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn log(&mut self, line: &serde_json::Value) -> Result<()> {
        self.metrics.push_str(&format!("{line}\n"));
        write_atomically(&self.path.join("metrics.jsonl"), self.metrics.as_bytes())
    }

    /// Writes `best.safetensors` or `last.safetensors`; see [`save_weights`].
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save(&self, name: &str, network: &Network, parameters: &[Vec<f32>]) -> Result<()> {
        save_weights(&self.weights_path(name), network, parameters)
    }

    /// Reads `best.safetensors` or `last.safetensors`; see [`load_weights`].
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] when the weights are not there or not the network's.
    pub fn load(&self, name: &str, network: &Network) -> Result<Vec<Vec<f32>>> {
        load_weights(&self.weights_path(name), network)
    }

    /// Whether `best.safetensors` or `last.safetensors` is there.
    pub fn has(&self, name: &str) -> bool {
        self.weights_path(name).exists()
    }

    fn weights_path(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.safetensors"))
    }
}
