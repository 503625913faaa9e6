//! `wgconv evaluate`: loss and accuracy of a run's weights, and how well it tells each class.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use wgconv::data::HeldOut;
use wgconv::executors::Opened;
use wgconv::report::{columns, short_name};
use wgconv::train::{ClassFigures, Confusion, Evaluation, Evaluator, RunFolder, TestAugmentation};
use wgconv::{Error, Result};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions, TuningOptions};

/// Measure the weights of a run on a test set
#[derive(Args)]
pub struct Evaluate {
    /// The run's folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// `synthetic`, a folder or an .npz file, whose classes are matched by name [default: what the run was trained on]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// CSV file with the class of each picture of --data, in columns such as file,label
    #[arg(long, value_name = "FILE", requires = "data")]
    labels: Option<PathBuf>,
    /// Which of the run's weights; ema are the moving averages of train --ema [default: best, or last if there is no best]
    #[arg(long, value_parser = ["best", "last", "ema"])]
    weights: Option<String>,
    /// Average the logits over several views of each image: mirror (left to right), or shift (by a pixel, and mirrored)
    #[arg(long, value_name = "WAY")]
    tta: Option<TestAugmentation>,
    /// Images in a batch [default: the run's]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Use only the first N images [default: the run's limit, unless --data is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    tuning: TuningOptions,
    #[command(flatten)]
    output: OutputOptions,
}

impl Evaluate {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let (run, config, network) = RunFolder::open(&self.run)?;
        let weights = self.weights.as_deref().unwrap_or(run.default_weights());
        let values = run.load(weights, &network)?;
        let limit = self.limit.map(|limit| limit as usize);
        let measured = config.measured(self.data.as_deref(), self.labels.as_deref(), limit)?;
        let (images, classes) = (&measured.data, &config.classes);
        let batch_size = match self.batch_size {
            None => config.training.batch_size,
            Some(size) if (1..=images.len()).contains(&size) => size,
            Some(size) => {
                let expected = format!("1 to the {} test images", images.len());
                return Err(Error::invalid("batch size", expected, size));
            }
        };
        let Opened { mut executor, reason } = self.device.open_tuned(self.tuning)?;
        self.output.say(format_args!("device: {reason}"))?;
        let (name, part) = (&measured.name, measured.part);
        let set = if part == "all" { "all".into() } else { format!("{part} set,") };
        self.output
            .say(format_args!("measured: {weights} weights on {name}, {set} {} images", images.len()))?;
        for note in &measured.notes {
            self.output.say(format_args!("note: {note}"))?;
        }

        let executor = executor.as_mut();
        let normalisation = &config.preprocessing.normalisation;
        let set = (HeldOut::Test, images);
        let evaluator = match self.tta {
            None => Evaluator::new(executor, &network, set, normalisation, batch_size)?,
            Some(way) => Evaluator::augmented(executor, &network, set, normalisation, batch_size, way)?,
        };
        evaluator.set_weights(executor, &network, &values)?;
        let start = Instant::now();
        let (result, logits) = match self.tta {
            None => evaluator.classify(executor)?,
            Some(way) => {
                let logits = evaluator.classify_augmented(executor, way)?;
                (Evaluation::of_logits(&logits, &images.labels, classes.len()), logits)
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let figures = Confusion::of_logits(&logits, &images.labels, classes.len()).figures();

        // All images of a source without parts are a test set.
        let (title, prefix) = match part {
            "validation" => ("validation", "val"),
            "train" => ("training", "train"),
            _ => ("test", "test"),
        };
        self.output.say(format_args!(
            "{title} loss {:.4}, {title} accuracy {:.2} % ({} of {}), {seconds:.1} s",
            result.loss,
            100.0 * result.accuracy(),
            result.correct,
            result.images
        ))?;
        self.output.say("")?;
        self.output.say_table(&table(classes, &figures))?;
        self.output.json(&json!({
            format!("{prefix}/loss"): result.loss,
            format!("{prefix}/accuracy"): result.accuracy(),
            "weights": weights,
            "data": name,
            "part": part,
            "images": result.images,
            "classes": per_class(classes, &figures),
            "seconds": seconds,
        }))?;
        Ok(Outcome::Done)
    }
}

/// Precision, recall and support of each class.
fn table(classes: &[String], figures: &[ClassFigures]) -> String {
    let percent = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share));
    let row = |(class, figures): (&String, &ClassFigures)| {
        let ClassFigures { precision, recall, support } = figures;
        vec![short_name(class), percent(*precision), percent(*recall), support.to_string()]
    };
    let rows: Vec<Vec<String>> = classes.iter().zip(figures).map(row).collect();
    columns(&["class", "precision", "recall", "support"], &rows)
}

fn per_class(classes: &[String], figures: &[ClassFigures]) -> Vec<Value> {
    let object = |(class, figures): (&String, &ClassFigures)| {
        let ClassFigures { precision, recall, support } = figures;
        json!({ "class": class, "precision": precision, "recall": recall, "support": support })
    };
    classes.iter().zip(figures).map(object).collect()
}
