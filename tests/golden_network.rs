//! A whole network takes the same steps as PyTorch: losses and final weights, on every executor.
//!
//! tests/golden/make.py trained it in float64, from the weights, images and labels in the file.

mod common;
#[path = "golden/file.rs"]
mod file;

use std::sync::Arc;

use file::{File, Stored};
use serde::Deserialize;
use wgconv::gpu::ShaderChecks;
use wgconv::host::{Arithmetic, CpuExecutor, HostExecutor, ReferenceExecutor};
use wgconv::layers::{Affine, BatchNorm, Conv2d, Dense, DepthwiseConv2d};
use wgconv::network::{Network, Variable};
use wgconv::ops::HostBuffer;
use wgconv::ops::activation::Activation;
use wgconv::ops::loss::{FIRST_LOSS_SCALE, LOSS_SCALE};
use wgconv::ops::optimizer::{Optimizer, Sgd, UpdateOptions};
use wgconv::ops::window::Padding;
use wgconv::plan::{
    BufferId, DataParts, Executor, LossOptions, Plan, Prepared, Prologues, TrainOptions, train_plan,
};
use wgconv::tensor::{ImageShape, Shape, Tensor};

/// For the losses, and for the weights relative to the largest: f32, and sums in another order.
const TOLERANCE: f64 = 1e-5;
/// Both sides compute in float64.
const REFERENCE_TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Settings {
    batch_size: usize,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    learning_rate: f32,
    momentum: f32,
}

/// A training of PyTorch's, to be repeated here.
struct Training {
    file: File,
    settings: Settings,
    network: Network,
    plan: Arc<Plan>,
    steps: usize,
    optimizer: Optimizer,
}

/// Losses of the steps, and the weights after them in PyTorch's layout.
#[derive(Clone)]
struct Trained {
    losses: Vec<f64>,
    weights: Vec<Tensor>,
}

/// Builds a network for images of a shape.
type Build = fn(ImageShape) -> Network;

/// The networks of make.py: the file of each, and the function that builds it.
const NETWORKS: [(&str, Build); 3] = [
    ("network.safetensors", lenet),
    ("normalised_network.safetensors", normalised),
    ("gathered_network.safetensors", gathered),
];

fn lenet(image: ImageShape) -> Network {
    let conv = |filters| Conv2d::new(filters, [5, 5]).same();
    let features = Network::builder("lenet", image)
        .conv2d(conv(4))
        .relu()
        .max_pool(2)
        .conv2d(conv(6))
        .relu()
        .max_pool(2);
    features.flatten().dense(16).relu().dense(10).build().unwrap()
}

fn normalised(image: ImageShape) -> Network {
    let conv = |filters| Conv2d::new(filters, [3, 3]).same();
    let features = Network::builder("normalised", image)
        .conv2d(conv(4).without_bias())
        .batch_norm()
        .named("bn1")
        .relu()
        .max_pool(2)
        .conv2d(conv(6))
        .layer(BatchNorm::new().epsilon(1e-3).momentum(0.3))
        .named("bn2")
        .relu();
    let dense = features.flatten().dense(Dense::new(12).without_bias());
    let normalised = dense.layer(BatchNorm::new().affine(Affine::None)).named("bn3");
    normalised.relu().dense(10).build().unwrap()
}

fn gathered(image: ImageShape) -> Network {
    let padding = Padding::Symmetric([1, 1]);
    let mut depthwise = DepthwiseConv2d { multiplier: 2, ..DepthwiseConv2d::new([3, 3]).stride([2, 2]) };
    depthwise.window.padding = padding;
    Network::builder("gathered", image)
        .conv2d(Conv2d::new(4, [3, 3]).padding(padding).without_bias())
        .group_norm(2)
        .named("gn1")
        .prelu()
        .depthwise_conv2d(depthwise)
        .activation(Activation::HardSwish)
        .squeeze_excite(8, 3)
        .global_max_pool()
        .named("max")
        .global_average_pool()
        .from("squeeze_excite1")
        .concatenate(["max"])
        .layer_norm()
        .named("ln1")
        .dense(10)
        .scale(0.5)
        .build()
        .unwrap()
}

fn tensor(stored: &Stored) -> Tensor {
    let values = stored.values.reals().iter().map(|&value| value as f32).collect();
    Tensor::new(Shape::new(stored.sizes.clone()), values).unwrap()
}

impl Training {
    /// The training of each network.
    fn all() -> Vec<Training> {
        Training::all_with(|plan| plan.fused(Prologues::WhereTheyPay))
    }

    fn all_with(fuse: fn(Plan) -> Plan) -> Vec<Training> {
        NETWORKS.map(|(file, network)| Training::read(file, network, LossOptions::default(), fuse)).into()
    }

    fn read(file: &str, network: Build, loss: LossOptions, fuse: fn(Plan) -> Plan) -> Training {
        let file = File::read(file);
        let settings: Settings = file.described();
        let &[rows, channels, height, width] = file.given["images"].sizes.as_slice() else {
            panic!("images [N,C,H,W]")
        };
        let image = ImageShape { height, width, channels };
        let network = network(image);
        let optimizer = Optimizer::Sgd(Sgd { momentum: settings.momentum.into(), nesterov: false });
        let options = TrainOptions {
            batch_size: settings.batch_size,
            steps: rows / settings.batch_size,
            data: DataParts { name: "train", image, classes: 10, rows: vec![rows] },
            loss,
            update: UpdateOptions { optimizer, ..UpdateOptions::default() },
            augment: None,
        };
        let plan = Arc::new(fuse(train_plan(&network, &options).unwrap()));
        Training { file, settings, network, plan, steps: options.steps, optimizer }
    }

    fn buffer(&self, name: &str) -> BufferId {
        self.plan.find(name).unwrap_or_else(|| panic!("no buffer {name}"))
    }

    /// PyTorch's value of a parameter before training.
    fn initial(&self, parameter: &Variable) -> &Stored {
        &self.file.given[&format!("initial/{}", parameter.name)]
    }

    /// PyTorch's value of a parameter after training.
    fn trained(&self, parameter: &Variable) -> &Stored {
        &self.file.computed[&format!("final/{}", parameter.name)]
    }

    /// Runs all steps.
    fn run(&self, executor: &mut dyn Executor) -> Prepared {
        let Settings { mean, deviation, learning_rate, .. } = &self.settings;
        let prepared = executor.prepare(self.plan.clone()).unwrap();
        let mut write = |name: &str, content: HostBuffer<f32>| {
            executor.write(prepared, self.buffer(name), &content).unwrap();
        };
        for parameter in self.network.variables() {
            let values = parameter.from_pytorch(&tensor(self.initial(parameter))).unwrap();
            write(&parameter.name, HostBuffer::real(values));
        }
        for (name, stored) in
            [("train/images.0", "images"), ("train/labels.0", "labels"), ("train/order", "order")]
        {
            write(name, self.file.given[stored].inside().map_reals(|_| unreachable!("whole numbers")));
        }
        let scale = deviation.iter().map(|deviation| 1.0 / deviation);
        let shift = mean.iter().zip(deviation).map(|(mean, deviation)| -mean / deviation);
        write("normalisation", HostBuffer::real(scale.chain(shift).collect()));
        let row = self.optimizer.now(1, (*learning_rate).into(), None).row();
        write("train/schedule", HostBuffer::real(row.repeat(self.steps)));
        write("train/step", HostBuffer::index(vec![0]));
        if self.plan.find(LOSS_SCALE).is_some() {
            write(LOSS_SCALE, HostBuffer::real(FIRST_LOSS_SCALE.into()));
        }
        executor.run(prepared, self.steps).unwrap();
        prepared
    }

    /// Runs all steps in host memory, without rounding the losses.
    fn run_on_host<T: Arithmetic + Into<f64>>(&self, mut executor: HostExecutor<T>) -> Trained {
        let prepared = self.run(&mut executor);
        let losses = executor.buffer(prepared, self.buffer("train/loss"));
        let losses = losses.reals().iter().map(|&loss| loss.into()).collect();
        Trained { losses, weights: self.weights(&mut executor, prepared) }
    }

    fn weights(&self, executor: &mut dyn Executor, prepared: Prepared) -> Vec<Tensor> {
        let read = |parameter: &Variable| {
            let values = executor.read(prepared, self.buffer(&parameter.name)).unwrap();
            parameter.to_pytorch(values.reals()).unwrap()
        };
        self.network.variables().map(read).collect()
    }

    /// The largest relative difference of a loss and of a weight, if neither is too large.
    fn compare(&self, found: &Trained, tolerance: f64) -> Result<[f64; 2], String> {
        let losses =
            largest_difference("losses", self.file.computed["losses"].values.reals(), &found.losses)?;
        let mut weights: f64 = 0.0;
        for (parameter, found) in self.network.variables().zip(&found.weights) {
            let expected = self.trained(parameter);
            assert_eq!(expected.sizes, found.shape().sizes(), "{}", parameter.name);
            let found: Vec<f64> = found.data().iter().map(|&value| value.into()).collect();
            weights = weights.max(largest_difference(&parameter.name, expected.values.reals(), &found)?);
        }
        // All executors return the weights in f32.
        let weights_tolerance = tolerance.max(f32::EPSILON.into());
        if losses > tolerance || weights > weights_tolerance {
            return Err(format!(
                "losses differ by {losses:e}, weights by {weights:e}; tolerance {tolerance:e}"
            ));
        }
        Ok([losses, weights])
    }
}

/// The largest difference, relative to the largest expected value.
fn largest_difference(what: &str, expected: &[f64], found: &[f64]) -> Result<f64, String> {
    assert_eq!(expected.len(), found.len(), "{what}");
    if let Some(value) = found.iter().find(|value| !value.is_finite()) {
        return Err(format!("{what}: {value}"));
    }
    let size = expected.iter().fold(0.0f64, |size, value| size.max(value.abs()));
    let differences = expected.iter().zip(found).map(|(expected, found)| (expected - found).abs());
    Ok(differences.fold(0.0, f64::max) / size)
}

fn report(device: &str, result: Result<[f64; 2], String>) {
    let [losses, weights] = result.unwrap_or_else(|error| panic!("{device}: {error}"));
    println!("{device}: losses differ by {losses:.1e} from PyTorch's, weights by {weights:.1e}");
}

#[test]
fn the_reference_trains_as_pytorch_does() {
    let forms: [fn(Plan) -> Plan; 2] = [|plan| plan, |plan| plan.fused(Prologues::Everywhere)];
    for training in forms.into_iter().flat_map(Training::all_with) {
        let trained = training.run_on_host(ReferenceExecutor::new());
        report("reference", training.compare(&trained, REFERENCE_TOLERANCE));
    }
}

#[test]
fn the_cpu_trains_as_pytorch_does() {
    for training in Training::all() {
        let trained = training.run_on_host(CpuExecutor::new());
        report("CPU", training.compare(&trained, TOLERANCE));
    }
}

#[test]
fn the_gpu_trains_as_pytorch_does() {
    for (training, checks) in Training::all()
        .iter()
        .flat_map(|training| [ShaderChecks::Off, ShaderChecks::On].map(|checks| (training, checks)))
    {
        let Some(mut gpu) = common::gpu("the_gpu_trains_as_pytorch_does", checks) else { return };
        let prepared = training.run(&mut gpu);
        let losses = gpu.read(prepared, training.buffer("train/loss")).unwrap();
        let losses = losses.reals().iter().map(|&loss| loss.into()).collect();
        let trained = Trained { losses, weights: training.weights(&mut gpu, prepared) };
        report(&gpu.device_name(), training.compare(&trained, TOLERANCE));
    }
}

/// In mixed precision, losses differ from those in float64 at most a little more than PyTorch's do, which has products in
/// float16 by `torch.autocast` and scales the loss too.
#[test]
fn mixed_precision_is_as_close_as_pytorchs() {
    let autocast = File::read("autocast.safetensors");
    let scaled = LossOptions { scaled: true, ..LossOptions::default() };
    let gpu = common::gpu("mixed_precision_is_as_close_as_pytorchs", ShaderChecks::Off);
    let mut executors: Vec<Box<dyn Executor>> = vec![Box::new(CpuExecutor::new().with_halves())];
    executors.extend(gpu.filter(|gpu| gpu.stores_halves()).map(|gpu| Box::new(gpu) as Box<dyn Executor>));
    for (file, network) in NETWORKS {
        let halves = |plan: Plan| plan.fused_for_halves(Prologues::WhereTheyPay).in_halves();
        let training = Training::read(file, network, scaled, halves);
        let exact = training.file.computed["losses"].values.reals();
        let name = file.trim_end_matches(".safetensors");
        let theirs = autocast.computed[name].values.reals();
        let theirs = largest_difference("PyTorch's losses", exact, theirs).unwrap();
        for executor in &mut executors {
            executor.clear();
            let prepared = training.run(executor.as_mut());
            let losses = executor.read(prepared, training.buffer("train/loss")).unwrap();
            let losses: Vec<f64> = losses.reals().iter().map(|&loss| loss.into()).collect();
            let ours = largest_difference("losses", exact, &losses).unwrap();
            let device = executor.device_name();
            println!("{name} on {device}: losses differ by {ours:.1e}, PyTorch's by {theirs:.1e}");
            // In f32, they differ by 1e-7.
            assert!(ours > 1e-6, "{name} on {device}: not in halves, by {ours:e}");
            assert!(ours <= 2.0 * theirs, "{name} on {device}: {ours:e}, PyTorch's {theirs:e}");
        }
    }
}

/// A negative control: a loss or a weight that is slightly off, or the columns of the first dense layer in the wrong
/// order, do not pass.
#[test]
fn another_training_is_caught() {
    let mut training = Training::all().remove(0);
    let right = training.run_on_host(ReferenceExecutor::new());
    assert!(training.compare(&right, REFERENCE_TOLERANCE).is_ok());
    let mut wrong = right.clone();
    wrong.losses[4] *= 1.0 + 1e-4;
    assert!(training.compare(&wrong, TOLERANCE).is_err());
    for number in 0..right.weights.len() {
        let mut wrong = right.clone();
        *wrong.weights[number].data_mut().last_mut().unwrap() += 1e-3;
        assert!(training.compare(&wrong, TOLERANCE).is_err());
    }
    // Columns in (h, w, c) order, as if PyTorch flattened feature maps as wgconv does.
    let columns = training.file.given.get_mut("initial/dense1.weight").unwrap();
    let shape = columns.sizes.clone();
    columns.sizes = vec![shape[0], 6, 3, 2];
    (columns.values, columns.sizes) = (columns.inside(), shape);
    let wrong = training.run_on_host(CpuExecutor::new());
    assert!(training.compare(&wrong, TOLERANCE).is_err());
}
