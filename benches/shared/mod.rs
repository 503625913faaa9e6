//! A training step on random data, for benches that time it.

use std::error::Error;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use wgconv::network::{Network, presets};
use wgconv::ops::optimizer::{Optimizer, Sgd, UpdateOptions};
use wgconv::ops::{Element, HostBuffer};
use wgconv::plan::{DataParts, LossOptions, Plan, Prologues, TrainOptions, train_plan};

const IMAGES: usize = 1024;
const CLASSES: usize = 10;

/// A step of a preset (lenet, vgg-mini, ..) on images of its own size, which can be taken `steps` times, as the CPU takes it; of
/// `lenet+mixed` in mixed precision.
pub fn training_plan(
    model: &str,
    batch_size: usize,
    steps: usize,
    prologues: Prologues,
    condenses: bool,
) -> Result<Plan, Box<dyn Error>> {
    let (name, scaled) = model.strip_suffix("+mixed").map_or((model, false), |name| (name, true));
    let preset = presets::preset(name).ok_or_else(|| format!("no preset {name}"))?;
    plan_of(&(preset.build)(preset.image, CLASSES)?, batch_size, steps, prologues, scaled, condenses)
}

/// The same of any network with as many outputs as there are classes; in mixed precision with a `scaled` loss.
pub fn plan_of(
    network: &Network,
    batch_size: usize,
    steps: usize,
    prologues: Prologues,
    scaled: bool,
    condenses: bool,
) -> Result<Plan, Box<dyn Error>> {
    let data = DataParts { name: "train", image: network.input(), classes: CLASSES, rows: vec![IMAGES] };
    let optimizer = Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: false });
    let update = UpdateOptions { optimizer, ..UpdateOptions::default() };
    let loss = LossOptions { scaled, ..LossOptions::default() };
    let options = TrainOptions { batch_size, steps, data, loss, update, augment: None };
    let plan = train_plan(network, &options)?;
    let plan = if scaled { plan.fused_for_halves(prologues) } else { plan.fused(prologues) };
    let plan = if condenses { plan.condensed() } else { plan };
    Ok(if scaled { plan.in_halves() } else { plan })
}

/// Random weights and images, labels among the classes, and positions that start at zero: a buffer's content.
pub fn contents(plan: &Plan) -> Vec<HostBuffer<f32>> {
    // Long buffers repeat them: what a step costs does not depend on it, and drawing them anew would take seconds.
    const DRAWN: usize = 99_991;
    let mut generator = SmallRng::seed_from_u64(0);
    let reals: Vec<f32> = (0..DRAWN).map(|_| generator.random_range(-0.05..0.05)).collect();
    let bytes: Vec<u8> = (0..DRAWN).map(|_| generator.random()).collect();
    let mut content = |name: &str, element, elements| match element {
        // As executors lay them out.
        Element::Real | Element::Half => {
            let mut buffer = HostBuffer::zeros(element, elements);
            let values = buffer.reals_mut().iter_mut().zip(reals.iter().cycle());
            values.for_each(|(value, drawn)| *value = *drawn);
            buffer
        }
        Element::Byte => HostBuffer::byte(bytes.iter().copied().cycle().take(elements).collect()),
        Element::Index if name.starts_with("train/labels") => {
            HostBuffer::index((0..elements).map(|_| generator.random_range(0..CLASSES as u32)).collect())
        }
        Element::Index if name == "train/order" => {
            HostBuffer::index((0..elements).map(|_| generator.random_range(0..IMAGES as u32)).collect())
        }
        Element::Index => HostBuffer::zeros(element, elements),
    };
    plan.buffers.iter().map(|buffer| content(&buffer.name, buffer.element, buffer.shape.elements())).collect()
}
