//! Explanations are right: gradients of an evaluation against differences, and what a report shows against PyTorch.

#[path = "golden/file.rs"]
mod file;

use std::collections::BTreeMap;
use std::sync::Arc;

use file::{File, Stored};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use wgconv::data::{Normalisation, Preprocessing};
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::layers::{Affine, BatchNorm, Conv2d, Dense};
use wgconv::network::{Kind, Network, Weights};
use wgconv::ops::HostBuffer;
use wgconv::ops::optimizer::UpdateOptions;
use wgconv::plan::{
    BufferId, DataParts, EvaluateOptions, Executor, ExplainPlan, LossOptions, Plan, Prepared, Question,
    TrainOptions, explain_plan, train_plan,
};
use wgconv::report::run::{Activity, History, MappedImage, OwnImages, Story, Teller};
use wgconv::tensor::{ImageShape, Shape, Tensor};
use wgconv::train::{RunConfig, RunFolder, TrainSettings};

const IMAGE: ImageShape = ImageShape { height: 8, width: 7, channels: 2 };
const CLASSES: usize = 3;
const BATCH: usize = 3;

/// A network with every kind of layer that an evaluation treats in a way of its own, and several readers of the image.
fn network() -> Network {
    let conv = |filters| Conv2d::new(filters, [3, 3]).same();
    Network::builder("explained", IMAGE)
        .conv2d(conv(4))
        .batch_norm()
        .relu()
        .named("first")
        .conv2d(conv(4).without_bias())
        .from("input")
        .layer(BatchNorm::new().affine(Affine::Shift))
        .named("second")
        .concatenate(["first"])
        .max_pool(2)
        .residual(|path| {
            path.conv2d(conv(8).without_bias()).layer(BatchNorm::new().affine(Affine::None)).relu()
        })
        .squeeze_excite(8, 3)
        .dropout(0.5)
        .global_average_pool()
        .batch_norm()
        .dense(CLASSES)
        .build()
        .unwrap()
}

fn weights(network: &Network) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut weights = network.initial_weights(1).unwrap();
    for variable in network.variables().filter(|variable| variable.shape.sizes().len() == 1) {
        let tensor = weights.get_mut(&variable.name).unwrap();
        let is_positive = variable.kind == Kind::Statistic && variable.name.ends_with("var");
        let values =
            tensor.data().iter().map(|_| rng.random_range(if is_positive { 0.5..2.0 } else { -1.0..1.0f32 }));
        *tensor = Tensor::new(tensor.shape().clone(), values.collect()).unwrap();
    }
    weights
}

fn options() -> EvaluateOptions {
    let data = DataParts { name: "shown", image: IMAGE, classes: CLASSES, rows: vec![BATCH] };
    EvaluateOptions { batch_size: BATCH, steps: 1, data, augment: None }
}

/// Writes the data and the weights to the buffers of a plan.
fn fill(executor: &mut dyn Executor, plan: &Plan, prepared: Prepared, network: &Network, weights: &Weights) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let pixels = (0..BATCH * IMAGE.elements()).map(|_| rng.random_range(0..=255u8)).collect();
    let normalisation = Normalisation { mean: vec![120.0, 100.0], deviation: vec![60.0, 80.0] };
    let mut write = |name: &str, content| executor.write(prepared, plan.expect(name), &content).unwrap();
    write("shown/images.0", HostBuffer::byte(pixels));
    write("shown/labels.0", HostBuffer::index(vec![2, 0, 1]));
    write("shown/order", HostBuffer::index((0..BATCH as u32).collect()));
    write("normalisation", HostBuffer::real(normalisation.scale_and_shift().concat()));
    for variable in network.variables() {
        write(&variable.name, HostBuffer::real(weights.values(variable).unwrap()));
    }
}

/// The loss of the images with one value of a buffer changed by `by`.
fn loss_with(
    executor: &mut ReferenceExecutor,
    (plan, prepared): (&Plan, Prepared),
    buffer: BufferId,
    index: usize,
    by: f64,
) -> f64 {
    let before = executor.read_exact(prepared, buffer).unwrap();
    let mut changed = before.clone();
    changed[index] += by;
    executor.write_exact(prepared, buffer, &changed).unwrap();
    executor.write(prepared, plan.expect("shown/step"), &HostBuffer::index(vec![0])).unwrap();
    executor.run(prepared, 1).unwrap();
    executor.write_exact(prepared, buffer, &before).unwrap();
    executor.read_exact(prepared, plan.expect("shown/loss")).unwrap()[0]
}

/// Of every trained variable, and of the image by the scale and the shift that all its pixels share.
#[test]
fn gradients_of_an_evaluation_are_its_differences() {
    let network = network();
    let weights = weights(&network);
    let asked = explain_plan(&network, &options(), Some(Question::Loss(UpdateOptions::default()))).unwrap();
    let ExplainPlan { plan, image, image_gradient, gradients, outputs } = asked;
    assert_eq!([gradients.len(), outputs.len()], [network.layers().len(); 2]);
    let plan = Arc::new(plan);
    plan.assert_valid();
    let mut executor = ReferenceExecutor::new();
    let prepared = executor.prepare(plan.clone()).unwrap();
    fill(&mut executor, &plan, prepared, &network, &weights);
    executor.run(prepared, 1).unwrap();
    let found: BTreeMap<String, Vec<f64>> = network
        .variables()
        .filter(|variable| variable.is_trained())
        .map(|variable| {
            let gradient = plan.expect(&format!("{}.grad", variable.name));
            (variable.name.clone(), executor.read_exact(prepared, gradient).unwrap())
        })
        .collect();
    let seen = executor.read_exact(prepared, image).unwrap();
    let of_image = executor.read_exact(prepared, image_gradient.unwrap()).unwrap();

    let forward = Arc::new(explain_plan(&network, &options(), None).unwrap().plan);
    let mut executor = ReferenceExecutor::new();
    let prepared = executor.prepare(forward.clone()).unwrap();
    fill(&mut executor, &forward, prepared, &network, &weights);
    let mut check = |buffer: &str, index: usize, expected: f64| {
        let at = (&*forward, prepared);
        let mut loss = |by| loss_with(&mut executor, at, forward.expect(buffer), index, by);
        let step = 1e-6;
        let difference = (loss(step) - loss(-step)) / (2.0 * step);
        let error = (difference - expected).abs();
        assert!(error < 1e-7 + 1e-6 * expected.abs(), "{buffer}[{index}]: {expected}, not {difference}");
        // A gradient of half the size would be noticed.
        assert!(expected.abs() < 1e-5 || (difference - expected / 2.0).abs() > 1e-6 * expected.abs());
    };
    let mut checked = 0;
    for (name, gradient) in &found {
        for index in (0..gradient.len()).step_by(gradient.len().div_ceil(7)) {
            check(name, index, gradient[index]);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
    // seen = scale * pixel + shift
    let [scale, shift] =
        Normalisation { mean: vec![120.0, 100.0], deviation: vec![60.0, 80.0] }.scale_and_shift();
    for channel in 0..IMAGE.channels {
        let of_channel = || seen.iter().zip(&of_image).skip(channel).step_by(IMAGE.channels);
        check("normalisation", IMAGE.channels + channel, of_channel().map(|(_, gradient)| gradient).sum());
        let pixel = |seen: f64| (seen - f64::from(shift[channel])) / f64::from(scale[channel]);
        // A pixel counts up to 255.
        let by_scale: f64 = of_channel().map(|(&seen, gradient)| pixel(seen) * gradient).sum();
        check("normalisation", channel, by_scale);
    }
}

/// Without layers that tell training from evaluation, both have the same gradients, bit for bit.
#[test]
fn gradients_are_those_of_a_training_step() {
    let network = Network::builder("plain", IMAGE)
        .conv2d(Conv2d::new(4, [3, 3]))
        .relu()
        .max_pool(2)
        .flatten()
        .dense(Dense::new(CLASSES))
        .build()
        .unwrap();
    let weights = network.initial_weights(1).unwrap();
    let options = options();
    let explained = explain_plan(&network, &options, Some(Question::Loss(UpdateOptions::default()))).unwrap();
    let training = TrainOptions {
        batch_size: BATCH,
        steps: 1,
        data: options.data,
        loss: LossOptions::default(),
        update: UpdateOptions::default(),
        augment: None,
    };
    let trained = train_plan(&network, &training).unwrap();
    let gradients = [explained.plan, trained].map(|plan| {
        let plan = Arc::new(plan);
        let mut executor = CpuExecutor::new();
        let prepared = executor.prepare(plan.clone()).unwrap();
        fill(&mut executor, &plan, prepared, &network, &weights);
        executor.run(prepared, 1).unwrap();
        let gradient = |name: &str| executor.read(prepared, plan.expect(&format!("{name}.grad"))).unwrap();
        ["conv1.weight", "conv1.bias", "dense1.weight"].map(gradient)
    });
    assert_eq!(gradients[0], gradients[1]);
}

#[derive(Deserialize)]
struct Settings {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Filters, maps, sums, Grad-CAM and the gradient at the pixels.
#[test]
fn a_report_shows_what_pytorch_computes() {
    let file = File::read("explained.safetensors");
    let Settings { mean, deviation } = file.described();
    let image = ImageShape { height: 12, width: 10, channels: 2 };
    let conv = |filters| Conv2d::new(filters, [3, 3]).same();
    let network = Network::builder("normalised", image)
        .conv2d(conv(4).without_bias())
        .batch_norm()
        .named("bn1")
        .relu()
        .max_pool(2)
        .conv2d(conv(6))
        .layer(BatchNorm::new().epsilon(1e-3).momentum(0.3))
        .named("bn2")
        .relu()
        .flatten()
        .dense(Dense::new(12).without_bias())
        .layer(BatchNorm::new().affine(Affine::None))
        .named("bn3")
        .relu()
        .dense(10)
        .build()
        .unwrap();
    let stored =
        |name: &str| file.given.get(name).or(file.computed.get(name)).unwrap_or_else(|| panic!("{name}"));
    let weights: Weights = network
        .variables()
        .map(|variable| {
            let Stored { sizes, values } = stored(&format!("weights/{}", variable.name));
            let values = values.reals().iter().map(|&value| value as f32).collect();
            (variable.name.clone(), Tensor::new(Shape::new(sizes.clone()), values).unwrap())
        })
        .collect();
    let normalisation = Normalisation { mean, deviation };
    let config = RunConfig {
        version: "test".into(),
        data: "nowhere".into(),
        device: "none".into(),
        limit: None,
        validation: None,
        labels: None,
        skip_broken: false,
        classes: (0..10).map(|class| format!("class {class}")).collect(),
        preprocessing: Preprocessing::new(image, normalisation),
        training: TrainSettings::default(),
    };
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run"), &config, &network).unwrap();
    let pixels = stored("images").inside();
    let count = stored("labels").sizes[0];
    let own = OwnImages {
        names: (0..count).map(|number| format!("image {number}")).collect(),
        pixels: pixels.bytes().to_vec(),
    };
    let mut teller = Teller::new(&run, &config, &network, None, Some(own)).unwrap();
    let history = History::start(&network, weights.clone()).unwrap();
    let story = teller.story(&history, &Activity::default(), &[]).unwrap();

    let film = story.film.as_ref().unwrap();
    let filters = network.variables().find(|variable| variable.name == "conv1.weight").unwrap();
    assert_eq!(film.moments[0].values, weights.values(filters).unwrap());
    let logits = stored("logits").values.reals();
    for (number, shown) in story.maps.images.iter().enumerate() {
        let logits = &logits[number * 10..][..10];
        let winner = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!((shown.top[0].0, shown.reasons[0].class, shown.reasons.len()), (winner, winner, 1));
        check_image(&story, shown, number, &file);
    }
}

/// Checks an image's numbers, maps and reasons.
fn check_image(story: &Story, shown: &MappedImage, number: usize, file: &File) {
    let of_image = |name: &str| {
        let all = file.computed[name].inside().reals().to_vec();
        let size = all.len() / story.maps.images.len();
        all[number * size..][..size].to_vec()
    };
    let close = |name: &str, found: &[f32], expected: &[f64]| {
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert_eq!(found.len(), expected.len(), "{name}");
        for (&found, expected) in found.iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 1e-5 * largest, "{name}: {found}, not {expected}");
        }
    };
    let [first, last] = [0, 1].map(|layer| &shown.numbers[layer]);
    close("sums", &first.sums, &of_image("sums"));
    close("first maps", &first.output, &of_image("first"));
    close("last maps", &last.output, &of_image("last"));
    for (layer, name) in [(0, "first"), (1, "last")] {
        let [low, high] = story.maps.layers[layer].range.map(f64::from);
        let size = story.maps.layers[layer].size.unwrap();
        let expected = of_image(name);
        for (index, &shade) in shown.maps[0][layer].iter().enumerate() {
            let (map, position) = (index / (size.height * size.width), index % (size.height * size.width));
            let value = expected[position * size.channels + map];
            let error = (255.0 * (value - low) / (high - low) - f64::from(shade)).abs();
            assert!(error < 0.501, "{name}: shade {shade} of {value}");
        }
    }
    let reason = &shown.reasons[0];
    let heat = &file.computed["heat"];
    let size = heat.sizes[1] * heat.sizes[2];
    assert_eq!(reason.heat_size[..], heat.sizes[1..]);
    close("heat", &reason.heat, &heat.values.reals()[number * size..][..size]);
    let gradient = of_image("gradient");
    let largest =
        gradient.chunks(2).map(|pixel| if pixel[1].abs() > pixel[0].abs() { pixel[1] } else { pixel[0] });
    close("gradient", &reason.gradient, &largest.collect::<Vec<_>>());
}
