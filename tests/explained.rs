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
use wgconv::layers::{Affine, BatchNorm, Conv2d, Dense, Pool};
use wgconv::network::{Kind, Network, Weights};
use wgconv::ops::HostBuffer;
use wgconv::ops::optimizer::{Optimizer, Sgd, UpdateOptions};
use wgconv::ops::pool::PoolKind;
use wgconv::ops::window::Padding;
use wgconv::plan::{
    BufferId, DataParts, EvaluateOptions, Executor, ExplainPlan, LossOptions, Plan, Prepared, Question,
    TrainOptions, explain_plan, train_plan,
};
use wgconv::report::explain::{Asked, Explainer, Explanation, board};
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
    let config = config(image, normalisation, 10);
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
            let within = (255.0 * (value - low) / (high - low)).clamp(0.0, 255.0);
            let error = (within - f64::from(shade)).abs();
            assert!(error < 0.501, "{name}: shade {shade} of {value}");
        }
        // Few values, of all images, are beyond what is shown.
        let all = file.computed[name].inside().reals().to_vec();
        let beyond = all.iter().filter(|&&value| value < low || value > 1.001 * high).count();
        assert!(beyond * 200 <= all.len(), "{name}: {beyond} of {} values above {high}", all.len());
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

fn config(image: ImageShape, normalisation: Normalisation, classes: usize) -> RunConfig {
    RunConfig {
        version: "test".into(),
        data: "nowhere".into(),
        device: "none".into(),
        limit: None,
        validation: None,
        labels: None,
        skip_broken: false,
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        preprocessing: Preprocessing::new(image, normalisation),
        training: TrainSettings { learning_rate: 0.25, ..TrainSettings::default() },
    }
}

/// A network with padding, strides, dilation, groups and pools whose windows overlap.
fn windows() -> Network {
    let mut pool = Pool::new(PoolKind::Max, [3, 2]);
    pool.window.stride = [1, 2];
    Network::builder("windows", ImageShape { height: 13, width: 11, channels: 2 })
        .conv2d(Conv2d::new(4, [3, 2]).stride([2, 1]).padding(Padding::Symmetric([1, 1])))
        .relu()
        .pool(pool)
        .conv2d(Conv2d::new(6, [3, 3]).groups(2).dilation([1, 2]).same().without_bias())
        .batch_norm()
        .relu()
        .average_pool(2)
        .flatten()
        .dense(CLASSES)
        .build()
        .unwrap()
}

/// Every number of an explanation, wherever it is asked for, is that of the plan, and of the definitions in f64; and the chain
/// multiplies out.
#[test]
fn an_explanation_says_what_the_plan_computes() {
    let network = windows();
    let weights = weights(&network);
    let image = network.input();
    let normalisation = Normalisation { mean: vec![120.0, 100.0], deviation: vec![60.0, 80.0] };
    let config = config(image, normalisation, CLASSES);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let pixels: Vec<u8> = (0..image.elements()).map(|_| rng.random_range(0..=255u8)).collect();
    let explainer =
        Explainer::new(&network, &config, &weights, ("mine".into(), pixels.clone()), Some(2)).unwrap();
    let mut reference = Reference::new(&explainer, &network, &weights, &config, &pixels);
    let mut explained = 0;
    for (layer, filters, [height, width]) in [("conv1", 4, [7, 12]), ("conv2", 6, [5, 6])] {
        for filter in [None, Some(0), Some(filters - 1)] {
            for at in [None, Some([0, 0]), Some([height - 1, width - 1]), Some([height / 2, 1])] {
                let asked = Asked { layer: Some(layer.into()), filter, at };
                let found = explainer.explain(&asked).unwrap();
                assert_eq!(found.at, at.unwrap_or(found.at));
                assert_eq!(found.filter, filter.unwrap_or(found.filter));
                reference.check(&found);
                multiplies_out(&found);
                let text = board(&found);
                assert!(text.contains("Gradient descent goes against the gradient"), "{text}");
                explained += 1;
            }
        }
    }
    assert_eq!(explained, 24);
    let wrong = |asked: Asked| explainer.explain(&asked).unwrap_err().to_string();
    assert_eq!(
        wrong(Asked { layer: Some("dense1".into()), ..Asked::default() }),
        "--layer: expected a convolution of this network: conv1, conv2, found dense1"
    );
    assert_eq!(
        wrong(Asked { filter: Some(4), ..Asked::default() }),
        "--filter: expected 0 to 3, the filters of conv1, found 4"
    );
    assert_eq!(
        wrong(Asked { at: Some([7, 0]), ..Asked::default() }),
        "--at: expected a row below 7 and a column below 12, found 7,0"
    );
}

/// The definitions in f64, and the plan that the explanation was made of.
struct Reference<'a> {
    explainer: &'a Explainer,
    network: &'a Network,
    weights: &'a Weights,
    executor: ReferenceExecutor,
    plan: Arc<Plan>,
    prepared: Prepared,
}

impl<'a> Reference<'a> {
    fn new(
        explainer: &'a Explainer,
        network: &'a Network,
        weights: &'a Weights,
        config: &RunConfig,
        pixels: &[u8],
    ) -> Self {
        let data = DataParts { name: "shown", image: network.input(), classes: CLASSES, rows: vec![1] };
        let options = EvaluateOptions { batch_size: 1, steps: 1, data, augment: None };
        let optimizer = Optimizer::Sgd(Sgd { momentum: 0.0, nesterov: false });
        let update = UpdateOptions { optimizer, ..UpdateOptions::default() };
        let plan = explain_plan(network, &options, Some(Question::Loss(update))).unwrap().plan;
        let plan = Arc::new(plan);
        let mut executor = ReferenceExecutor::new();
        let prepared = executor.prepare(plan.clone()).unwrap();
        let mut write = |name: &str, content| executor.write(prepared, plan.expect(name), &content).unwrap();
        write("shown/images.0", HostBuffer::byte(pixels.to_vec()));
        write("shown/labels.0", HostBuffer::index(vec![2]));
        write("shown/order", HostBuffer::index(vec![0]));
        let normalisation = config.preprocessing.normalisation.scale_and_shift().concat();
        write("normalisation", HostBuffer::real(normalisation));
        write("shown/schedule", HostBuffer::real(optimizer.now(1, 0.25, None).row().to_vec()));
        for variable in network.variables() {
            write(&variable.name, HostBuffer::real(weights.values(variable).unwrap()));
        }
        executor.run(prepared, 1).unwrap();
        Reference { explainer, network, weights, executor, plan, prepared }
    }

    /// Compares a number with the plan's buffer, exactly, and with the definition's.
    fn same(&mut self, found: f32, buffer: &str, index: usize) {
        let (plan, prepared, executor) = self.explainer.parts();
        let of_plan = executor.buffer(prepared, plan.expect(buffer)).reals()[index];
        assert_eq!(found, of_plan, "{buffer}[{index}]");
        let all = self.executor.read_exact(self.prepared, self.plan.expect(buffer)).unwrap();
        let largest = all.iter().fold(1e-9f64, |largest, value| largest.max(value.abs()));
        let error = (f64::from(found) - all[index]).abs();
        assert!(error < 2e-6 * largest, "{buffer}[{index}]: {found}, not {}", all[index]);
    }

    fn check(&mut self, found: &Explanation) {
        let Explanation { layer, filter, filters, map, at, size, .. } = found;
        let index = (at[0] * map[1] + at[1]) * filters + filter;
        let output = format!("{layer}.output");
        self.same(found.total, &output, index);
        let has_bias = found.bias.is_some();
        self.same(found.sum, &if has_bias { format!("{layer}.sums") } else { output.clone() }, index);
        self.same(found.gradient, &format!("{output}.grad"), index);
        self.same(found.loss, "shown/loss", 0);
        for pass in &found.passes {
            self.same(pass.value, &format!("{}.output", pass.layer), index);
            self.same(pass.gradient, &format!("{}.output.grad", pass.layer), index);
        }
        // The last row of an odd number lies in no window of the second pool.
        assert_eq!(found.pool.is_none(), layer == "conv2" && at[0] == 4);
        if let (Some(pool), Some(last)) = (&found.pool, found.passes.last()) {
            for &(row, column, value) in &pool.window {
                let index = (row * map[1] + column) * filters + filter;
                self.same(value, &format!("{}.output", last.layer), index);
            }
            let index = (pool.at[0] * (map[1] / 2) + pool.at[1]) * filters + filter;
            self.same(pool.value, &format!("{}.output", pool.layer), index);
            self.same(pool.gradient, &format!("{}.output.grad", pool.layer), index);
        }
        let weight = found.weight.as_ref().unwrap();
        let [r, s, c] = weight.tap;
        let index = filter * size.iter().product::<usize>() + (r * size[1] + s) * size[2] + c;
        self.same(weight.gradient, &format!("{layer}.weight.grad"), index);
        self.same(weight.after, &format!("{layer}.weight"), index);
        let variable = self.network.variables().find(|variable| variable.name == format!("{layer}.weight"));
        assert_eq!(weight.before, self.weights.values(variable.unwrap()).unwrap()[index]);
        for term in &weight.terms {
            let index = (term.at[0] * map[1] + term.at[1]) * filters + filter;
            self.same(term.gradient, &format!("{output}.grad"), index);
        }
    }
}

#[test]
fn what_the_run_froze_takes_no_step() {
    let network = windows();
    let weights = weights(&network);
    let normalisation = Normalisation { mean: vec![120.0, 100.0], deviation: vec![60.0, 80.0] };
    let mut config = config(network.input(), normalisation, CLASSES);
    let pixels = vec![100; network.input().elements()];
    let explain = |config: &RunConfig, layer: &str| {
        let explainer =
            Explainer::new(&network, config, &weights, ("mine".into(), pixels.clone()), Some(2)).unwrap();
        explainer.explain(&Asked { layer: Some(layer.into()), ..Asked::default() }).unwrap()
    };
    let before = explain(&config, "conv1");
    config.training.freeze = vec!["conv1.*".into()];
    let frozen = explain(&config, "conv1");
    assert!(before.weight.is_some() && frozen.weight.is_none());
    assert!(board(&frozen).contains("conv1 is frozen"));
    assert_eq!((frozen.sum, frozen.loss, frozen.gradient), (before.sum, before.loss, before.gradient));
    assert!(explain(&config, "conv2").weight.is_some());
}

/// What follows from what.
fn multiplies_out(found: &Explanation) {
    let close = |a: f64, b: f64, what: &str| {
        assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{what}: {a} and {b}: {found:?}");
    };
    let products: f64 = found.taps.iter().map(|tap| f64::from(tap.input) * f64::from(tap.weight)).sum();
    assert_eq!(found.taps.len(), found.size.iter().product::<usize>());
    close(products, found.sum.into(), "the sum of the products");
    close(f64::from(found.sum) + f64::from(found.bias.unwrap_or(0.0)), found.total.into(), "the total");
    let before_relu = found.passes.iter().rev().nth(1).map_or(found.total, |pass| pass.value);
    let relu = found.passes.last().unwrap();
    assert_eq!((relu.kind.as_str(), relu.value), ("relu", before_relu.max(0.0)));
    let grad_before = found.passes.iter().rev().nth(1).map_or(found.gradient, |pass| pass.gradient);
    assert_eq!(grad_before, if relu.value > 0.0 { relu.gradient } else { 0.0 });
    if let Some(pool) = &found.pool {
        assert!(pool.window.iter().any(|&(row, column, _)| [row, column] == found.at));
        let largest = pool.window.iter().map(|&(.., value)| value).fold(f32::MIN, f32::max);
        match pool.kind.as_str() {
            "max_pool" => assert_eq!((pool.value, pool.window[pool.winner].2), (largest, largest)),
            _ => close(
                pool.window.iter().map(|&(.., value)| f64::from(value)).sum::<f64>() / 4.0,
                pool.value.into(),
                "the mean",
            ),
        }
    }
    let weight = found.weight.as_ref().unwrap();
    assert_eq!(weight.after, weight.before - weight.rate * weight.gradient);
    let terms: f64 = weight.terms.iter().map(|term| f64::from(term.product)).sum();
    if weight.nonzero <= weight.terms.len() {
        close(terms, weight.gradient.into(), "the terms");
    }
    assert!(weight.terms.is_sorted_by(|a, b| a.product.abs() >= b.product.abs()));
    let (name, fans, bound) = weight.drawn.as_ref().unwrap();
    assert_eq!(name, "glorot_uniform");
    close(bound * bound * (fans[0] + fans[1]) as f64, 6.0, "the bound");
}
