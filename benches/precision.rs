//! Whether networks learn as well in mixed precision as in f32: the same trainings in both, from the same seeds.
//!
//!     cargo bench --bench precision -- MODEL DATA [EPOCHS [SEEDS [BATCH_SIZE [IMAGES]]]]
//!
//! MODEL is a recipe or a preset, DATA a source of images. This runs on the CPU, which rounds as a GPU does that stores halves,
//! so that it shows what is learnt, and nothing of the time that halves save.

use std::error::Error;
use std::ops::ControlFlow;

use wgconv::data::{self, LoadOptions};
use wgconv::host::CpuExecutor;
use wgconv::network::{Network, presets};
use wgconv::train::{Precision, Recipe, TrainSettings, Trainer};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, source, ..] = &arguments[..] else {
        println!("precision: skipped, since no model and data are given");
        return Ok(());
    };
    let number = |position: usize| arguments.get(position).map(|text| text.parse::<usize>()).transpose();
    let images = number(5)?.unwrap_or(usize::MAX);
    let data = data::load(source, &LoadOptions { limit: number(5)?, ..LoadOptions::default() })?;
    let recipe = Recipe::open(model).ok();
    let named = recipe.as_ref().and_then(|recipe| recipe.model.clone()).unwrap_or_else(|| model.clone());
    let preset = presets::preset(&named).ok_or_else(|| format!("no preset {named}"))?;
    let base = recipe.map_or_else(TrainSettings::default, |recipe| recipe.training);
    let settings = TrainSettings {
        epochs: number(2)?.unwrap_or(base.epochs),
        batch_size: number(4)?.unwrap_or(base.batch_size).min(images),
        ..base
    };
    println!(
        "| {named}, seed | f32: loss of the last epoch | mixed | f32: test accuracy | mixed | largest scale |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for seed in 0..number(3)?.unwrap_or(1) as u64 {
        let network = || (preset.build)(data.train.image, data.train.classes.len());
        let trained =
            |precision| run(network()?, &data, TrainSettings { seed, precision, ..settings.clone() });
        let [whole, mixed] = [trained(Precision::F32)?, trained(Precision::Mixed)?];
        println!(
            "| {seed} | {:.4} | {:.4} | {:.2} % | {:.2} % | {} |",
            whole.loss, mixed.loss, whole.accuracy, mixed.accuracy, mixed.scale
        );
    }
    Ok(())
}

struct Outcome {
    loss: f64,
    accuracy: f64,
    scale: f32,
}

fn run(network: Network, data: &data::DataSplits, settings: TrainSettings) -> wgconv::Result<Outcome> {
    let epochs = settings.epochs;
    let executor = Box::new(CpuExecutor::new().with_halves());
    let mut trainer = Trainer::new(executor, network, data, settings)?;
    let (mut loss, mut scale) = (f64::NAN, 1.0f32);
    for _ in 0..epochs {
        loss = trainer.run_epoch(|_| ControlFlow::Continue(()))?.train_loss();
        let (plan, prepared) = trainer.plan();
        if let Some(buffer) = plan.find("loss_scale") {
            scale = scale.max(trainer.executor().read(prepared, buffer)?.reals()[0]);
        }
    }
    let accuracy = 100.0 * trainer.evaluate()?.accuracy();
    Ok(Outcome { loss, accuracy, scale })
}
