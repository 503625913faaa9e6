//! `wgconv explain --lesson`: how a network learns its filters, told with the numbers of a training of its own.

use std::path::Path;

use wgconv::Result;
use wgconv::data::{self, LoadOptions};
use wgconv::files::{quoted_path, write_durably};
use wgconv::network;
use wgconv::ops::optimizer::{Optimizer, Sgd};
use wgconv::report::explain::lesson::{self, Lesson};
use wgconv::report::explain::{Asked, Explainer, Explanation};
use wgconv::report::run::{self, Reporter, Teller, figures};
use wgconv::train::{Basis, Observer, Recorder, RunConfig, RunFolder, TrainSettings, Trainer};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions};
use super::train::Display;

/// The page in the run's folder.
const PAGE: &str = "lesson.html";

/// The network that is taught with: two convolutions, two dense layers.
const MODEL: &str = "lenet";

/// Trains a small network on the built-in digits, and tells what happened.
pub fn run(out: Option<&Path>, device: &DeviceOptions, output: OutputOptions) -> Result<Outcome> {
    match out {
        Some(out) => RunFolder::check(out)?,
        None => RunFolder::check_next_free()?,
    }
    let settings = settings();
    let data = data::load("synthetic", &LoadOptions::seed(settings.seed))?;
    let network = network::load(MODEL, data.train.image, data.train.classes.len())?;
    let opened = device.open()?;
    output.say(format_args!("device: {}", opened.reason))?;
    let config = RunConfig {
        version: env!("CARGO_PKG_VERSION").into(),
        data: "synthetic".into(),
        device: opened.executor.device_name(),
        limit: None,
        validation: None,
        labels: None,
        skip_broken: false,
        classes: data.train.classes.clone(),
        preprocessing: data.preprocessing.clone(),
        training: settings.clone(),
    };
    let basis = Basis::new(&network, &settings, &data);
    let mut trainer = Trainer::new(opened.executor, network.clone(), &data, settings.clone())?;
    let path = out.map_or_else(|| RunFolder::next_free("lesson"), Path::to_path_buf);
    let folder = RunFolder::create(&path, &config, &network)?;
    output.say(format_args!(
        "training {MODEL} on {} drawn digits; results: {}",
        data.train.len(),
        path.display()
    ))?;
    let before = trainer.weights()?;

    let (held_out, images) = data.held_out();
    let teller = Teller::new(&folder, &config, &network, Some((held_out, images.clone())), None)?;
    let mut reporter = Reporter::start(&mut trainer, &folder, teller)?;
    let mut recorder = Recorder::new(folder.clone(), basis);
    let mut display = Display::start(output, held_out)?;
    let trained = trainer.run(&mut [&mut recorder as &mut dyn Observer, &mut reporter, &mut display]);
    let reported = reporter.finish();
    trained?;
    reported?;
    if display.stopped_at.is_some() {
        return Ok(Outcome::Interrupted);
    }
    let after = trainer.weights()?;

    let image = (format!("test image {SHOWN}"), images.image(SHOWN).to_vec());
    let class = images.labels[SHOWN] as usize;
    let explain = |weights, asked: &Asked| -> Result<Explanation> {
        Explainer::new(&network, &config, weights, image.clone(), Some(class))?.explain(asked)
    };
    let last = explain(&after, &Asked::default())?;
    // The same value, before anything was learnt.
    let asked = Asked { layer: None, filter: Some(last.filter), at: Some(last.at) };
    let first = explain(&before, &asked)?;
    let lesson = Lesson {
        network: &network,
        settings: &settings,
        images: data.train.len(),
        weights: [&before, &after],
        explanations: [&first, &last],
        epochs: &figures(&folder)?.0,
    };
    let chapters = lesson::chapters(&lesson)?;
    output.say("")?;
    output.say_table(&lesson::text(&chapters))?;
    let page = path.join(PAGE);
    write_durably(&page, lesson::page(&chapters, "How a network learns its filters").as_bytes())?;
    output.say(format_args!(
        "the lesson as a page: {}; its training: {}",
        quoted_path(&page),
        quoted_path(&path.join(run::PAGE))
    ))?;
    Ok(Outcome::Done)
}

/// The test image that is explained.
const SHOWN: usize = 0;

/// Plain gradient descent, so that a step is what the lesson says: weight minus rate times gradient.
fn settings() -> TrainSettings {
    TrainSettings {
        epochs: 4,
        batch_size: 32,
        learning_rate: 0.05,
        optimizer: Optimizer::Sgd(Sgd { momentum: 0.0, nesterov: false }),
        ..TrainSettings::default()
    }
}
