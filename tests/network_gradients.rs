//! Gradients of whole networks: those of the reference match central differences in f64, those of the other executors
//! match the reference, and a wrong gradient is caught.

mod common;

use std::sync::Arc;

use wgconv::data::{Dataset, Normalisation};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::layers::{Affine, BatchNorm, Conv2d, Dense, DepthwiseConv2d, GroupNorm, LayerNorm, Pool, Prelu};
use wgconv::network::{Initialiser, Network, Variable, presets};
use wgconv::ops::HostBuffer;
use wgconv::ops::activation::Activation;
use wgconv::ops::optimizer::{Adam, AdamW, GroupOptions, Groups, Optimizer, RmsProp, Sgd, UpdateOptions};
use wgconv::ops::pool::PoolKind;
use wgconv::plan::{
    BufferId, DataParts, Executor, LossOptions, Plan, Prepared, Prologues, TrainOptions, train_plan,
};
use wgconv::tensor::ImageShape;

const BATCH_SIZE: usize = 4;
const IMAGE: ImageShape = ImageShape { height: 12, width: 11, channels: 3 };

fn networks() -> Vec<Network> {
    let small_lenet = presets::lenet(ImageShape { channels: 1, ..IMAGE }, 10).unwrap();
    // Every kind of layer, a layer with two readers (conv1), and smooth activations.
    let residual = Network::builder("residual", IMAGE)
        .conv2d(Conv2d::new(6, [3, 3]).same())
        .activation(Activation::Silu)
        .conv2d(Conv2d::new(6, [3, 3]).same().groups(3).dilation([2, 1]))
        .activation(Activation::Gelu)
        .add("conv1")
        .pool(Pool::new(PoolKind::Average, [3, 2]).stride([2, 2]))
        .conv2d(Conv2d::new(8, [2, 3]).stride([2, 1]).without_bias())
        .activation(Activation::Tanh)
        .max_pool(2)
        .flatten()
        .dense(7)
        .activation(Activation::Elu { alpha: 0.7 })
        .dense(5)
        .activation(Activation::Sigmoid)
        .dense(10)
        .build()
        .unwrap();
    // Activations after a bias, without a bias, after a pool and after another activation, and outputs with two
    // readers, before the activation (conv2) and after it (leaky_relu1).
    let branching = Network::builder("branching", IMAGE)
        .conv2d(Conv2d::new(5, [1, 1]).without_bias())
        .activation(Activation::LeakyRelu { slope: 0.1 })
        .conv2d(Conv2d::new(5, [3, 3]).same())
        .activation(Activation::Elu { alpha: 0.8 })
        .activation(Activation::Tanh)
        .add("conv2")
        .add("leaky_relu1")
        .conv2d(Conv2d::new(6, [1, 1]))
        .max_pool(2)
        .activation(Activation::Sigmoid)
        .flatten()
        .dense(10)
        .build()
        .unwrap();
    // Normalised feature maps and flat features, with and without a trained scale and shift.
    let normalised = Network::builder("normalised", IMAGE)
        .conv2d(Conv2d::new(5, [3, 3]).same().without_bias())
        .batch_norm()
        .activation(Activation::Tanh)
        .conv2d(Conv2d::new(6, [3, 3]).stride([2, 2]).without_bias())
        .layer(BatchNorm::new().affine(Affine::Shift))
        .activation(Activation::Gelu)
        .flatten()
        .dense(Dense::new(12).without_bias())
        .layer(BatchNorm::new().affine(Affine::None).epsilon(0.1))
        .dense(10)
        .build()
        .unwrap();
    // Slopes that are learnt, of maps and of flat features, and a smooth activation with kinks.
    let sloped = Network::builder("sloped", IMAGE)
        .conv2d(Conv2d::new(5, [3, 3]).same())
        .prelu()
        .conv2d(Conv2d::new(6, [3, 3]).stride([2, 2]))
        .activation(Activation::HardSwish)
        .flatten()
        .layer(Prelu { slope: -0.5 })
        .dense(10)
        .build()
        .unwrap();
    // Both kinds of global pools, side by side with each other and with maps of other layers, and scaled
    // logits.
    let collected = Network::builder("collected", IMAGE)
        .conv2d(Conv2d::new(3, [3, 3]).same())
        .activation(Activation::Tanh)
        .conv2d(Conv2d::new(4, [3, 3]).same())
        .concatenate(["tanh1", "conv1"])
        .conv2d(Conv2d::new(6, [2, 3]).stride([2, 2]))
        .activation(Activation::Silu)
        .global_average_pool()
        .global_max_pool()
        .from("silu1")
        .concatenate(["pool1"])
        .scale(1.5)
        .dense(10)
        .scale(-0.25)
        .build()
        .unwrap();
    // Two layers that only rename the same one: their gradients, and what reads both, must not share a buffer.
    let renamed = Network::builder("renamed", IMAGE)
        .conv2d(Conv2d::new(4, [3, 3]).stride([3, 3]))
        .flatten()
        .flatten()
        .from("conv1")
        .add("flatten1")
        .dense(10)
        .build()
        .unwrap();
    // Values that are dropped, of maps and of flat features, beside those that are not.
    let dropping = Network::builder("dropping", IMAGE)
        .conv2d(Conv2d::new(4, [3, 3]).same())
        .activation(Activation::Tanh)
        .residual(|path| path.dropout(0.3))
        .depthwise_conv2d(DepthwiseConv2d { multiplier: 2, ..DepthwiseConv2d::new([3, 2]).stride([2, 2]) })
        .activation(Activation::Silu)
        .squeeze_excite(8, 3)
        .dropout(0.5)
        .flatten()
        .dense(12)
        .activation(Activation::Tanh)
        .dropout(0.25)
        .dense(10)
        .build()
        .unwrap();
    // Normalisations of each image by itself, of groups of channels, of each pixel, and of flat features.
    let grouped = Network::builder("grouped", IMAGE)
        .conv2d(Conv2d::new(6, [3, 3]).same().without_bias())
        .group_norm(3)
        .activation(Activation::Tanh)
        .conv2d(Conv2d::new(8, [3, 3]).stride([2, 2]))
        .layer_norm()
        .activation(Activation::Silu)
        .layer(GroupNorm { affine: false, ..GroupNorm::new(1) })
        .flatten()
        .layer_norm()
        .dense(Dense::new(12).without_bias())
        .layer(LayerNorm { affine: false, epsilon: 0.1 })
        .dense(10)
        .build()
        .unwrap();
    // As networks for speed records begin: filters that are not trained before a bias that is, identities, a pool before a
    // normalisation that learns a shift alone.
    let whitened = Network::builder("whitened", IMAGE)
        .whitening([2, 2])
        .activation(Activation::Gelu)
        .conv2d(Conv2d::new(30, [3, 3]).same().without_bias().initialiser(Initialiser::Dirac))
        .max_pool(2)
        .layer(BatchNorm::new().affine(Affine::Shift))
        .activation(Activation::Gelu)
        .max_pool(3)
        .flatten()
        .dense(Dense::new(10).without_bias().initialiser(Initialiser::PytorchDefault))
        .scale(1.0 / 9.0)
        .build()
        .unwrap();
    // Everything that is fused with a batch normalisation: activations that save their output and their input, and sums of
    // residual blocks, whose gradient goes both ways, with the other branch as it is, normalised too, and without a gradient
    // of its own.
    let conv = |filters| Conv2d::new(filters, [3, 3]).same().without_bias();
    let with_residuals = Network::builder("with residuals", IMAGE)
        .conv2d(conv(3))
        .batch_norm()
        .add("input")
        .relu()
        .residual(|path| {
            let path = path.conv2d(conv(3)).batch_norm().activation(Activation::LeakyRelu { slope: 0.1 });
            path.conv2d(conv(3)).batch_norm()
        })
        .relu()
        .residual_with(
            |path| {
                path.conv2d(conv(5)).batch_norm().activation(Activation::Silu).conv2d(conv(5)).batch_norm()
            },
            |shortcut| shortcut.conv2d(Conv2d::new(5, [1, 1]).without_bias()).batch_norm(),
        )
        .activation(Activation::Tanh)
        .conv2d(conv(4))
        .batch_norm()
        .relu()
        .global_average_pool()
        .dense(10)
        .build()
        .unwrap();
    vec![
        small_lenet,
        residual,
        branching,
        normalised,
        sloped,
        collected,
        renamed,
        dropping,
        grouped,
        whitened,
        with_residuals,
    ]
}

/// The variables with a gradient: statistics have none.
fn trained(network: &Network) -> impl Iterator<Item = &Variable> {
    network.variables().filter(|variable| variable.is_trained())
}

/// A training step without an update: the learning rate is zero, and the gradients are kept.
struct Probe<E> {
    executor: E,
    plan: Arc<Plan>,
    prepared: Prepared,
}

impl<E: Executor> Probe<E> {
    fn new(executor: E, network: &Network, prologues: Prologues) -> Self {
        Probe::of_plan(executor, network, |plan| plan.fused(prologues))
    }

    fn of_plan(executor: E, network: &Network, fuse: impl FnOnce(Plan) -> Plan) -> Self {
        Probe::of_update(executor, network, UpdateOptions::default(), fuse)
    }

    fn of_update(
        mut executor: E,
        network: &Network,
        update: UpdateOptions,
        fuse: impl FnOnce(Plan) -> Plan,
    ) -> Self {
        let image = network.input();
        let data = DataParts { name: "train", image, classes: 10, rows: vec![BATCH_SIZE] };
        let options = TrainOptions {
            batch_size: BATCH_SIZE,
            steps: 1,
            data,
            loss: LossOptions::default(),
            update,
            augment: None,
        };
        let mut plan = train_plan(network, &options).unwrap();
        for parameter in trained(network) {
            plan.keep(plan.expect(&format!("{}.grad", parameter.name)));
        }
        let plan = Arc::new(fuse(plan));
        let prepared = executor.prepare(plan.clone()).unwrap();
        let mut probe = Probe { executor, plan, prepared };

        let images: Vec<u8> = (0..BATCH_SIZE * image.elements()).map(|i| (i * 7919 % 251) as u8).collect();
        let labels: Vec<u32> = (0..BATCH_SIZE as u32).map(|row| row * 3 % 10).collect();
        let classes = (0..10).map(|class| class.to_string()).collect();
        let data = Dataset::new(image, classes, images, labels).unwrap();
        let Normalisation { mean, deviation } = Normalisation::measure(&data);
        let scale = deviation.iter().map(|deviation| 1.0 / deviation);
        let shift = mean.iter().zip(&deviation).map(|(mean, deviation)| -mean / deviation);
        probe.write("normalisation", HostBuffer::real(scale.chain(shift).collect()));
        probe.write("train/images.0", HostBuffer::shared_bytes(data.images));
        probe.write("train/labels.0", HostBuffer::index(data.labels));
        probe.write("train/order", HostBuffer::index((0..BATCH_SIZE as u32).collect()));
        probe.write("train/schedule", HostBuffer::real(vec![0.0; 8]));
        let weights = network.initial_weights(11).unwrap();
        for variable in network.variables() {
            probe.write(&variable.name, HostBuffer::real(weights.values(variable).unwrap()));
        }
        probe
    }

    fn write(&mut self, name: &str, content: HostBuffer<f32>) {
        self.executor.write(self.prepared, self.plan.expect(name), &content).unwrap();
    }

    fn step(&mut self) {
        self.write("train/step", HostBuffer::index(vec![0]));
        self.executor.run(self.prepared, 1).unwrap();
    }

    fn gradients(&mut self, network: &Network) -> Vec<Vec<f32>> {
        self.step();
        let buffers: Vec<BufferId> =
            trained(network).map(|parameter| self.plan.expect(&format!("{}.grad", parameter.name))).collect();
        buffers
            .into_iter()
            .map(|id| self.executor.read(self.prepared, id).unwrap().reals().to_vec())
            .collect()
    }
}

impl Probe<ReferenceExecutor> {
    fn exact(&self, name: &str) -> Vec<f64> {
        self.executor.buffer(self.prepared, self.plan.expect(name)).reals().to_vec()
    }

    fn loss_with(&mut self, parameter: &str, index: usize, value: f64) -> f64 {
        let id = self.plan.expect(parameter);
        let before =
            std::mem::replace(&mut self.executor.buffer_mut(self.prepared, id).reals_mut()[index], value);
        self.step();
        self.executor.buffer_mut(self.prepared, id).reals_mut()[index] = before;
        self.exact("train/loss")[0]
    }

    /// The largest relative difference between `gradients` and central differences, over a few elements of
    /// each parameter.
    fn worst(&mut self, network: &Network, gradients: &[Vec<f64>]) -> f64 {
        const STEP: f64 = 1e-6;
        let mut worst: f64 = 0.0;
        for (parameter, gradient) in trained(network).zip(gradients) {
            let values = self.exact(&parameter.name);
            for probe in 0..5 {
                let index = (probe * 7919 + 3) % values.len();
                let above = self.loss_with(&parameter.name, index, values[index] + STEP);
                let below = self.loss_with(&parameter.name, index, values[index] - STEP);
                let difference = (above - below) / (2.0 * STEP);
                let scale = difference.abs().max(gradient[index].abs()).max(1e-4);
                worst = worst.max((difference - gradient[index]).abs() / scale);
            }
        }
        worst
    }
}

#[test]
fn the_reference_matches_central_differences() {
    for network in networks() {
        let mut probe = Probe::new(ReferenceExecutor::new(), &network, Prologues::Everywhere);
        probe.step();
        let gradients: Vec<Vec<f64>> =
            trained(&network).map(|parameter| probe.exact(&format!("{}.grad", parameter.name))).collect();
        let worst = probe.worst(&network, &gradients);
        assert!(worst < 1e-5, "{}: {worst:e}", network.name());

        // A negative control: gradients that are one per cent too large, or of the wrong element, must fail.
        let scaled: Vec<Vec<f64>> =
            gradients.iter().map(|gradient| gradient.iter().map(|value| value * 1.01).collect()).collect();
        assert!(probe.worst(&network, &scaled) > 5e-3);
        let shifted: Vec<Vec<f64>> = gradients
            .iter()
            .map(|gradient| gradient.iter().cycle().skip(1).take(gradient.len()).copied().collect())
            .collect();
        assert!(probe.worst(&network, &shifted) > 5e-3);
    }
}

/// Bounds the relative error of each parameter, in the Euclidean norm.
fn assert_same(device: &str, network: &Network, expected: &[Vec<f32>], found: &[Vec<f32>]) {
    for ((parameter, expected), found) in trained(network).zip(expected).zip(found) {
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let error = norm(&mut expected.iter().zip(found).map(|(a, b)| f64::from(a - b)));
        let size = norm(&mut expected.iter().map(|&a| f64::from(a)));
        let what = format!("{device}, {}, {}", network.name(), parameter.name);
        assert!(error <= 2e-5 * size, "{what}: relative error {:e}", error / size);
    }
}

/// However many steps are fused, the loss and every gradient are the same up to the rounding of f64.
#[test]
fn fusion_changes_no_gradient() {
    for network in networks() {
        let mut apart = Probe::of_plan(ReferenceExecutor::new(), &network, |plan| plan);
        apart.step();
        let names: Vec<String> =
            trained(&network).map(|parameter| format!("{}.grad", parameter.name)).collect();
        let mut steps = vec![apart.plan.steps().count()];
        let fusions: [&dyn Fn(Plan) -> Plan; 4] = [
            &|plan| plan.fused(Prologues::Nowhere),
            &|plan| plan.fused(Prologues::WhereTheyPay),
            &|plan| plan.fused(Prologues::Everywhere),
            &|plan| plan.fused(Prologues::Everywhere).condensed(),
        ];
        for fuse in fusions {
            let mut fused = Probe::of_plan(ReferenceExecutor::new(), &network, fuse);
            fused.step();
            for name in names.iter().map(String::as_str).chain(["train/loss"]) {
                let (expected, found) = (apart.exact(name), fused.exact(name));
                let size = expected.iter().fold(0.0f64, |size, value| size.max(value.abs()));
                for (expected, found) in expected.iter().zip(found) {
                    let difference = (expected - found).abs();
                    assert!(difference <= 1e-12 * size, "{}, {name}: off by {difference:e}", network.name());
                }
            }
            steps.push(fused.plan.steps().count());
        }
        assert!(steps[0] > steps[1] && steps[1..].is_sorted_by(|a, b| a >= b), "{steps:?}");
        println!("{}: {steps:?} steps", network.name());
    }
}

#[test]
fn the_fast_executors_match_the_reference() {
    const TEST: &str = "the_fast_executors_match_the_reference";
    for network in networks() {
        let mut reference = Probe::of_plan(ReferenceExecutor::new(), &network, |plan| plan);
        let expected = reference.gradients(&network);
        for (prologues, condensed) in [
            (Prologues::WhereTheyPay, false),
            (Prologues::WhereTheyPay, true),
            (Prologues::Everywhere, false),
        ] {
            let fuse = |plan: Plan| {
                let plan = plan.fused(prologues);
                if condensed { plan.condensed() } else { plan }
            };
            let cpu = Probe::of_plan(CpuExecutor::new(), &network, fuse).gradients(&network);
            assert_same("CPU", &network, &expected, &cpu);
            for checks in [ShaderChecks::Off, ShaderChecks::On] {
                let Some(gpu) = common::gpu(TEST, checks) else { continue };
                let found = Probe::of_plan(gpu, &network, fuse).gradients(&network);
                assert_same("GPU", &network, &expected, &found);
            }
        }
    }
}

/// All parameters after three steps on one batch.
fn updated<E: Executor>(executor: E, network: &Network, update: UpdateOptions) -> Vec<Vec<f32>> {
    let mut probe = Probe::of_update(executor, network, update, |plan| plan.fused(Prologues::WhereTheyPay));
    for t in 1..=3 {
        probe.write("train/schedule", HostBuffer::real(update.optimizer.now(t, 0.01, None).row().into()));
        probe.step();
    }
    let buffers: Vec<BufferId> =
        network.variables().map(|parameter| probe.plan.expect(&parameter.name)).collect();
    let read = buffers.into_iter().map(|id| probe.executor.read(probe.prepared, id).unwrap());
    read.map(HostBuffer::into_reals).collect()
}

/// With groups and clipping, and every optimizer except Lion, whose steps depend on the sign of a gradient's last bit.
#[test]
fn updates_of_a_network_match_the_reference() {
    const TEST: &str = "updates_of_a_network_match_the_reference";
    // Large enough to keep divisors well above the rounding errors of the gradients.
    let adam = Adam { epsilon: 1e-2, ..Adam::default() };
    let network = &networks()[0];
    let weight = GroupOptions { rate_factor: 1.0, weight_decay: 0.01 };
    let bias = GroupOptions { rate_factor: 2.0, weight_decay: 0.0 };
    let mut seen = Vec::new();
    for optimizer in [
        Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: true }),
        Optimizer::Adam(adam),
        Optimizer::AdamW(AdamW(adam)),
        Optimizer::RmsProp(RmsProp { epsilon: 1e-2, momentum: 0.5, ..RmsProp::default() }),
    ] {
        for clip_norm in [None, Some(0.1)] {
            let groups = Groups { weight, bias, ..Groups::default() };
            let update = UpdateOptions { optimizer, groups, clip_norm, averages: false };
            let expected = updated(ReferenceExecutor::new(), network, update);
            assert_same("CPU", network, &expected, &updated(CpuExecutor::new(), network, update));
            for checks in [ShaderChecks::Off, ShaderChecks::On] {
                let Some(gpu) = common::gpu(TEST, checks) else { continue };
                assert_same("GPU", network, &expected, &updated(gpu, network, update));
            }
            assert!(!seen.contains(&expected), "{update:?} trains as another does");
            seen.push(expected);
        }
    }
}
