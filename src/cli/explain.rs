//! `wgconv explain`: one value of a network, with every number on the way to it and back.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use wgconv::report::explain::{Asked, Explainer, board};
use wgconv::report::run::OwnImages;
use wgconv::report::short_name;
use wgconv::train::{RunConfig, RunFolder};
use wgconv::{Error, Result};

use super::Outcome;
use super::lesson;
use super::options::{DeviceOptions, OutputOptions};

/// Explain one value of a network: patch, filter, sum, activation, pool; and back to a weight's gradient and its next value
#[derive(Args)]
pub struct Explain {
    /// The run's folder
    #[arg(value_name = "RUN", required_unless_present = "lesson")]
    run: Option<PathBuf>,
    /// A picture file, or the number of an image of the run's test set
    #[arg(value_name = "IMAGE", required_unless_present = "lesson")]
    image: Option<PathBuf>,
    /// Train a small network on the built-in digits and tell, with its numbers, how it learns its filters
    #[arg(long, conflicts_with_all = ["run", "image", "layer", "filter", "at", "class", "weights"])]
    lesson: bool,
    /// Folder for the lesson and its training, which must not exist yet [default: runs/lesson-N]
    #[arg(long, value_name = "DIR", conflicts_with = "run")]
    out: Option<PathBuf>,
    /// The convolution [default: the first]
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// The filter, from 0 [default: the one with the strongest value]
    #[arg(long, value_name = "N")]
    filter: Option<usize>,
    /// The place in its map, from 0,0 [default: the strongest]
    #[arg(long, value_name = "ROW,COLUMN", value_parser = place)]
    at: Option<[usize; 2]>,
    /// The picture's class, by its name, which the loss asks for [default: a test image's own, otherwise the most probable]
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Which of the run's weights [default: best, or last if there is no best]
    #[arg(long, value_parser = ["best", "last", "ema"])]
    weights: Option<String>,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    output: OutputOptions,
}

fn place(text: &str) -> Result<[usize; 2], String> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "expected two numbers: ROW,COLUMN".into())
}

impl Explain {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let (Some(run), Some(image)) = (&self.run, &self.image) else {
            return lesson::run(self.out.as_deref(), &self.device, self.output);
        };
        let (run, config, network) = RunFolder::open(run)?;
        let weights = run.load(self.weights.as_deref().unwrap_or(run.default_weights()), &network)?;
        let class = self.class.as_deref().map(|class| class_number(&config, class)).transpose()?;
        let (image, label) = opened(image, &config)?;
        let explainer = Explainer::new(&network, &config, &weights, image, class.or(label))?;
        let Explain { layer, filter, at, .. } = self;
        let explanation = explainer.explain(&Asked { layer, filter, at })?;
        self.output.say_table(&board(&explanation))?;
        self.output.json(&json!(explanation))?;
        Ok(Outcome::Done)
    }
}

/// An image's name and its pixels.
type Named = (String, Vec<u8>);

/// An image, and its class if that is known.
fn opened(image: &Path, config: &RunConfig) -> Result<(Named, Option<usize>)> {
    let number = image.to_str().and_then(|text| text.parse::<usize>().ok());
    let Some(number) = number.filter(|_| !image.exists()) else {
        let OwnImages { names, pixels } = OwnImages::open(config, [image])?;
        return Ok(((names.concat(), pixels), None));
    };
    let measured = config.measured(None, None, None)?;
    let images = &measured.data;
    if number >= images.len() {
        let expected =
            format!("a picture file, or a number below {}, the {} images", images.len(), measured.part);
        return Err(Error::invalid("IMAGE", expected, number));
    }
    let name = format!("{} image {number}", measured.part);
    Ok(((name, images.image(number).to_vec()), Some(images.labels[number] as usize)))
}

/// The number of the class with this name.
fn class_number(config: &RunConfig, name: &str) -> Result<usize> {
    let found = config.classes.iter().position(|class| class == name);
    found.ok_or_else(|| {
        let names: Vec<String> = config.classes.iter().take(20).map(|class| short_name(class)).collect();
        let more = if config.classes.len() > names.len() { ", .." } else { "" };
        Error::invalid("--class", format!("one of {}{more}", names.join(", ")), name)
    })
}
