//! The folder of a run: settings, model, figures and weights.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Checkpoint, TrainSettings, load_weights, nonfinite, save_weights};
use crate::data::{self, LoadOptions, Measured, Normalisation, Preprocessing, Progress};
use crate::files::{
    MOST_TEXT, append_durably, check_folder, read, read_text, slug, sync_folder, write_durably,
};
use crate::network::{Network, NetworkFile, Weights};
use crate::report::short_name;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// What a run was started with, as `config.toml` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct RunConfig {
    /// The version of wgconv that wrote it.
    pub version: String,
    /// Where the images came from: `synthetic`, a folder, a file, or a set of files in a folder.
    pub data: String,
    /// The device's name.
    pub device: String,
    /// The largest number of images to use of each part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The share of the training images that was held out as the validation set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// The CSV file that names the class of each picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Whether broken pictures were left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip_broken: bool,
    /// Name of each class, in the order of the network's outputs.
    pub classes: Vec<String>,
    /// How a picture becomes what the network sees.
    pub preprocessing: Preprocessing,
    /// How the network is trained.
    pub training: TrainSettings,
}

/// `config.toml`, of this version or of an earlier one, which had `image` and `normalisation`.
#[derive(Deserialize)]
struct Stored {
    version: String,
    data: String,
    device: String,
    limit: Option<usize>,
    validation: Option<f64>,
    labels: Option<PathBuf>,
    #[serde(default)]
    skip_broken: bool,
    classes: Vec<String>,
    preprocessing: Option<Preprocessing>,
    /// Channels, height, width.
    image: Option<[usize; 3]>,
    normalisation: Option<Normalisation>,
    training: TrainSettings,
}

impl TryFrom<Stored> for RunConfig {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, &'static str> {
        let earlier = stored.image.zip(stored.normalisation).map(|([channels, height, width], figures)| {
            Preprocessing::new(ImageShape { height, width, channels }, figures)
        });
        let Stored {
            version, data, device, limit, validation, labels, skip_broken, classes, training, ..
        } = stored;
        let preprocessing = stored.preprocessing.or(earlier).ok_or("missing field `preprocessing`")?;
        Ok(RunConfig {
            version,
            data,
            device,
            limit,
            validation,
            labels,
            skip_broken,
            classes,
            preprocessing,
            training,
        })
    }
}

impl RunConfig {
    /// The size of an image.
    pub fn image_shape(&self) -> ImageShape {
        self.preprocessing.image()
    }

    /// How the run's data are loaded: as they were for the training, whatever else lies beside them by now.
    pub fn load_options(&self) -> LoadOptions {
        let Preprocessing { image_size, channels, fit, background, .. } = self.preprocessing;
        LoadOptions {
            seed: self.training.seed,
            limit: self.limit,
            image_size: Some(image_size),
            fit,
            channels: Some(channels).filter(|channels| [1, 3].contains(channels)),
            background,
            validation: self.validation,
            labels: self.labels.clone(),
            skip_broken: self.skip_broken,
            progress: Progress::default(),
            cache: None,
        }
    }

    /// The images to measure the run's weights on, at most `limit` of them: its own test set (or validation set, if it has
    /// no test set), or those of `source`, as [`data::load_for`] finds them, with classes from the CSV file `labels` if
    /// there is one. The run's limit is that of its own data.
    ///
    /// # Errors
    /// Those of [`data::load_for`].
    pub fn measured(
        &self,
        source: Option<&str>,
        labels: Option<&Path>,
        limit: Option<usize>,
    ) -> Result<Measured> {
        let source = source.filter(|source| data::absolute(source).ok().as_ref() != Some(&self.data));
        let (preprocessing, classes) = (&self.preprocessing, &self.classes);
        let options = self.load_options();
        match source {
            Some(source) => {
                let options = LoadOptions { limit, labels: labels.map(Path::to_path_buf), ..options };
                data::load_for(source, preprocessing, classes, &options)
            }
            None => {
                let options = LoadOptions { limit: limit.or(self.limit), ..options };
                data::load_held_out(&self.data, preprocessing, classes, &options)
            }
        }
    }

    /// How to feed the weights, for the header of their file, each as JSON: the names of the `classes`, the `size`
    /// [channels, height, width] of an image, and the `mean` and `deviation` of each channel, for pixels from 0 to 1 as
    /// torchvision's `ToTensor` gives them.
    pub fn about_weights(&self) -> Vec<(String, String)> {
        let Normalisation { mean, deviation } = &self.preprocessing.normalisation;
        let [mean, deviation] =
            [mean, deviation].map(|bytes| bytes.iter().map(|byte| byte / 255.0).collect::<Vec<_>>());
        let ImageShape { height, width, channels } = self.image_shape();
        let about = [
            ("classes", json!(self.classes)),
            ("mean", json!(mean)),
            ("deviation", json!(deviation)),
            ("size", json!([channels, height, width])),
        ];
        about.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
    }

    /// Checks every number, since the file may have been edited by hand.
    fn check(&self) -> Result<()> {
        self.load_options().check()?;
        self.preprocessing.check()?;
        self.training.check_alone()
    }
}

/// The longest file name in a run's folder.
const LONGEST_NAME: &str = STATE;

/// The file of figures, one line for each epoch.
const METRICS: &str = "metrics.jsonl";

/// The file from which a run can be resumed.
const STATE: &str = "state.safetensors";

/// Whether the path exists; an error if it cannot exist.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|_| true),
    }
}

/// A run's folder: `config.toml`, `model.toml`, `metrics.jsonl`, the weights `best.safetensors`, `last.safetensors` and,
/// with moving averages, `ema.safetensors`; and `state.safetensors`, from which the run can be resumed.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    // What the headers of weights say.
    about_weights: Vec<(String, String)>,
}

impl RunFolder {
    /// The parent folder of runs for which no folder was named.
    const RUNS: &str = "runs";

    /// Checks that a new folder can be made at `path`, without leaving anything behind.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn check(path: &Path) -> Result<()> {
        if path.file_name().is_none() {
            return Err(Error::invalid("output folder", "a path that ends in a name", path.display()));
        }
        if fs::symlink_metadata(path).is_ok() {
            return Err(Self::taken(path));
        }
        Self::check_room(path).map_err(Error::io("create", path))
    }

    /// Checks that a folder can be made where [`RunFolder::next_free`] will look, without leaving anything behind.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn check_next_free() -> Result<()> {
        Self::check_room(&Self::next_free("")).map_err(Error::io("create", Self::RUNS))
    }

    /// Whether a path that does not exist yet can become a folder with a run's files.
    fn check_room(path: &Path) -> io::Result<()> {
        // The full path of a file must not be too long,
        is_there(&path.join(LONGEST_NAME))?;
        let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let parent = above.find(|above| fs::symlink_metadata(above).is_ok()).unwrap_or(Path::new(""));
        // nor may the name of any folder on the way.
        for name in path.strip_prefix(parent).unwrap_or(path) {
            is_there(&parent.join(name))?;
        }
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if !parent.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        check_folder(parent)
    }

    fn taken(path: &Path) -> Error {
        Error::invalid("output folder", "a path that does not exist yet", path.display())
    }

    /// Makes a new folder and writes the files that a run starts with.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the folder exists; [`Error::Io`] when it cannot be made or written.
    pub fn create(path: &Path, config: &RunConfig, network: &Network) -> Result<RunFolder> {
        // Without a slash or a dot at the end: some systems reject those for a folder that does not exist yet.
        let path: PathBuf = path.components().collect();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        fs::create_dir(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Self::taken(&path),
            _ => Error::io("create", &path)(error),
        })?;
        sync_folder(parent).map_err(Error::io("write", parent))?;
        let run = RunFolder { path, about_weights: config.about_weights() };
        run.set_config(config)?;
        write_durably(&run.path.join("model.toml"), network.to_toml().as_bytes())?;
        Ok(run)
    }

    /// The first of `runs/NAME-1`, `runs/NAME-2`, ... that does not exist yet, for a network of this name. NAME
    /// consists of letters, digits and hyphens only, whatever characters `name` contains.
    pub fn next_free(name: &str) -> PathBuf {
        let name = slug(name);
        let path = |number: u32| Path::new(Self::RUNS).join(format!("{name}-{number}"));
        (1..).map(path).find(|path| fs::symlink_metadata(path).is_err()).expect("a free number")
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
        config
            .check()
            .map_err(|error| Error::file(path.join("config.toml"), "a sound configuration", error))?;
        let image = config.image_shape();
        let damaged = |error: Error| Error::file(path.join("model.toml"), "a run's model", error);
        let network = NetworkFile::parse(&read("model.toml")?)
            .and_then(|file| file.build(Some(image)))
            .map_err(damaged)?;
        network.check_data(image, config.classes.len()).map_err(damaged)?;
        let run = RunFolder { path: path.into(), about_weights: config.about_weights() };
        Ok((run, config, network))
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `metrics.jsonl`.
    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// Adds a line to the end of `metrics.jsonl`. Whoever reads the file drops a last line that a killed process has left
    /// without its end.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn log(&self, line: &serde_json::Value) -> Result<()> {
        append_durably(&self.metrics_path(), format!("{line}\n").as_bytes())
    }

    /// Keeps the lines of the first `epochs` epochs of `metrics.jsonl`, from an earlier part of the run, and drops those
    /// behind them, whole or not.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be read or the others not dropped; [`Error::File`] when they are damaged, or one is
    /// missing.
    pub(super) fn keep_metrics(&self, epochs: usize) -> Result<()> {
        let path = self.metrics_path();
        if epochs == 0 && !is_there(&path).map_err(Error::io("read", &path))? {
            return Ok(());
        }
        // What is torn need not be text.
        let found = read(&path, MOST_TEXT)?;
        let text = String::from_utf8_lossy(&found);
        let lines: Vec<&str> = text.lines().take(epochs).collect();
        for (line, epoch) in lines.iter().zip(1..) {
            let found = serde_json::from_str::<serde_json::Value>(line).ok();
            if found.and_then(|line| line["epoch"].as_u64()) != Some(epoch) {
                return Err(Error::file(&path, format!("a line of epoch {epoch}"), short_name(line)));
            }
        }
        if lines.len() < epochs {
            return Err(Error::file(&path, format!("lines of {epochs} epochs"), lines.len()));
        }
        let kept: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if kept.as_bytes() == found { Ok(()) } else { write_durably(&path, kept.as_bytes()) }
    }

    /// Writes the checkpoint from which the run can be resumed.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written; it is then as it was.
    pub(super) fn save_checkpoint(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.save(&self.path.join(STATE))
    }

    /// Whether there is a checkpoint from which the run can be resumed.
    pub(super) fn has_checkpoint(&self) -> bool {
        self.path.join(STATE).exists()
    }

    /// Reads the checkpoint from which the run can be resumed.
    ///
    /// # Errors
    /// [`Error::Io`] when there is none; [`Error::File`] when it is damaged.
    pub fn load_checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::load(&self.path.join(STATE))
    }

    /// Rewrites `config.toml`, for a run that is resumed with other settings.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written; the old file is then unchanged.
    pub fn set_config(&self, config: &RunConfig) -> Result<()> {
        let config = toml::to_string(config).expect("a configuration is plain TOML");
        write_durably(&self.path.join("config.toml"), config.as_bytes())
    }

    /// Writes the weights of this name, such as `last.safetensors`; see [`save_weights`]. Weights that are not finite are not
    /// written.
    ///
    /// # Errors
    /// [`Error::WeightsNotFinite`] for weights that hold NaN or infinity; [`Error::Io`] when the file cannot be
    /// written. The old file is then unchanged.
    pub fn save(&self, name: &str, network: &Network, weights: &Weights) -> Result<()> {
        if let Some(place) = nonfinite::in_weights(network, weights) {
            return Err(Error::WeightsNotFinite { what: "the weights".into(), place });
        }
        save_weights(&self.weights_path(name), weights, &self.about_weights)
    }

    /// Reads the weights of this name, such as `last.safetensors`; see [`load_weights`].
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] when the file is missing or damaged, or its weights are not those of
    /// `network`.
    pub fn load(&self, name: &str, network: &Network) -> Result<Weights> {
        load_weights(&self.weights_path(name), network)
    }

    /// The weights that are meant if nobody says which: `best`, or `last` if the run ended before there was a best.
    pub fn default_weights(&self) -> &'static str {
        if self.has("best") { "best" } else { "last" }
    }

    /// Whether there are weights of this name, such as `last.safetensors`.
    pub fn has(&self, name: &str) -> bool {
        self.weights_path(name).exists()
    }

    fn weights_path(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.safetensors"))
    }
}
