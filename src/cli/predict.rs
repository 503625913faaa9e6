//! `wgconv predict`: which class pictures belong to.

use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde_json::{Value, json};
use wgconv::data::{self, Preprocessing};
use wgconv::executors::Opened;
use wgconv::report::short_name;
use wgconv::train::RunFolder;
use wgconv::{Error, Prediction, Predictor, Result};

use super::Outcome;
use super::interrupt::Interrupt;
use super::options::{DeviceOptions, OutputOptions, TuningOptions, note};

/// Say which class pictures belong to, with a run's network
#[derive(Args)]
pub struct Predict {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Picture files, folders of them, or - for a picture on standard input
    #[arg(value_name = "PICTURE", required = true)]
    pictures: Vec<PathBuf>,
    /// Number of classes to show for each picture, the most probable first
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Which of the run's weights; ema are the moving averages of train --ema [default: best, or last if there is no best]
    #[arg(long, value_parser = ["best", "last", "ema"])]
    weights: Option<String>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// A picture by its name, and its pixels or why there are none.
type Decoded = (String, Result<Vec<u8>>);

impl Predict {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let (run, config, network) = RunFolder::open(&self.run)?;
        let weights = self.weights.as_deref().unwrap_or(run.default_weights());
        let values = run.load(weights, &network)?;
        let (files, notes) = self.files()?;
        let Opened { executor, reason } = self.device.open_tuned(self.tuning)?;
        self.output.say(format_args!("device: {reason}"))?;
        self.output.say(format_args!("weights: {weights} of {}", self.run.display()))?;
        for note in notes {
            self.output.say(format_args!("note: {note}"))?;
        }
        let mut predictor = Predictor::new(executor, &config, &network, &values)?;
        let preprocessing = predictor.preprocessing().clone();

        self.output.say("")?;
        let interrupt = Interrupt::listen();
        let layout = Layout::new(&files, predictor.classes());
        let bar = progress(files.len());
        let start = Instant::now();
        let (mut done, mut broken) = (0, 0);
        let mut batches: VecDeque<&[PathBuf]> = files.chunks(predictor.batch_size()).collect();
        let mut ready = batches.pop_front().map(|files| decoded(files, &preprocessing));
        // While the device works on a batch, the next one is decoded.
        while let Some(batch) = ready.take() {
            if interrupt.asked() {
                bar.finish_and_clear();
                return Ok(Outcome::Interrupted);
            }
            let next = batches.pop_front();
            let sound: Vec<&Vec<u8>> = batch.iter().filter_map(|(_, pixels)| pixels.as_ref().ok()).collect();
            let mut predictions = predictor.predict(&sound)?.into_iter();
            ready = next.map(|files| decoded(files, &preprocessing));
            bar.suspend(|| {
                batch.iter().try_for_each(|(name, pixels)| match pixels {
                    Ok(_) => {
                        let prediction = predictions.next().expect("one for each sound picture");
                        self.show(name, &prediction, predictor.classes(), &layout)
                    }
                    Err(error) => {
                        broken += 1;
                        note(format_args!("error: {error}"));
                        self.output.json(&json!({ "file": name, "error": error.to_string() }))
                    }
                })
            })?;
            done += batch.len();
            bar.set_position(done as u64);
        }
        bar.finish_and_clear();
        let seconds = start.elapsed().as_secs_f64();
        let rate = done as f64 / seconds;
        self.output.say("")?;
        let pictures = if done == 1 { "picture" } else { "pictures" };
        let sound = done - broken;
        self.output.say(format_args!("{sound} of {done} {pictures}, {seconds:.1} s, {rate:.0} images/s"))?;
        Ok(if broken > 0 { Outcome::Failed } else { Outcome::Done })
    }

    /// The files that the arguments name, and what was passed over in folders.
    fn files(&self) -> Result<(Vec<PathBuf>, Vec<String>)> {
        if self.pictures.iter().filter(|path| is_standard_input(path)).count() > 1 {
            return Err(Error::invalid("PICTURE", "standard input once", "- several times"));
        }
        pictures_of(&self.pictures)
    }

    fn show(&self, name: &str, prediction: &Prediction, classes: &[String], layout: &Layout) -> Result<()> {
        let top = prediction.top(self.top as usize);
        let shares: Vec<String> = top
            .iter()
            .map(|(class, share)| {
                let width = layout.class;
                format!("{:width$} {:6.2} %", short_name(&classes[*class]), 100.0 * share)
            })
            .collect();
        let width = layout.file;
        self.output.say(format_args!("{:width$}  {}", short_name(name), shares.join("  ")))?;
        let top: Vec<Value> = top
            .iter()
            .map(|(class, share)| json!({ "class": classes[*class], "probability": share }))
            .collect();
        self.output.json(&json!({ "file": name, "classes": top }))
    }
}

/// These files, and the pictures in these folders; and what was passed over there.
pub fn pictures_of(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let (mut files, mut notes) = (Vec::new(), Vec::new());
    for path in paths {
        if is_standard_input(path) || !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (found, note) = data::picture_files(path)?;
        if found.is_empty() {
            return Err(Error::file(path, "pictures", note.unwrap_or("an empty folder".into())));
        }
        files.extend(found);
        notes.extend(note);
    }
    Ok((files, notes))
}

/// Widths of the columns.
struct Layout {
    file: usize,
    class: usize,
}

impl Layout {
    fn new(files: &[PathBuf], classes: &[String]) -> Self {
        let widest = |names: &mut dyn Iterator<Item = String>| {
            names.map(|name| name.chars().count()).max().unwrap_or(0)
        };
        Layout {
            file: widest(&mut files.iter().map(|file| short_name(&file.to_string_lossy()))),
            class: widest(&mut classes.iter().map(|class| short_name(class))),
        }
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The pixels of each picture, decoded on all cores.
fn decoded(files: &[PathBuf], preprocessing: &Preprocessing) -> Vec<Decoded> {
    let decode = |path: &PathBuf| {
        let pixels = match is_standard_input(path) {
            true => {
                standard_input().and_then(|bytes| preprocessing.decode(Path::new("standard input"), &bytes))
            }
            false => preprocessing.open(path),
        };
        (path.to_string_lossy().into_owned(), pixels)
    };
    files.par_iter().map(decode).collect()
}

fn standard_input() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = data::MAX_PICTURE_BYTES;
    std::io::stdin().take(most + 1).read_to_end(&mut bytes).map_err(Error::io("read", "standard input"))?;
    if bytes.len() as u64 > most {
        return Err(Error::file("standard input", format!("a picture of at most {most} bytes"), "more"));
    }
    Ok(bytes)
}

/// A bar on a terminal, if there are so many pictures that they take a while.
fn progress(pictures: usize) -> ProgressBar {
    const FEW: usize = 200;
    if pictures < FEW {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {per_sec}, {eta} left");
    ProgressBar::new(pictures as u64).with_style(style.expect("a valid template"))
}
