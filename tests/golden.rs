//! The definitions and the fast forms on the CPU give PyTorch's values.
//!
//! The values are from tests/golden/make.py: every case was run in PyTorch in float64, with gradients through autograd.

#[path = "golden/file.rs"]
mod file;

use std::collections::{BTreeMap, HashMap};

use file::File;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wgconv::host::Arithmetic;
use wgconv::ops::activation::{Activation, ActivationForward, ActivationGrad};
use wgconv::ops::bias::{BiasForward, BiasGrad};
use wgconv::ops::concatenate::{Concatenate, ConcatenateGrad};
use wgconv::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use wgconv::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};
use wgconv::ops::loss::SoftmaxCrossEntropy;
use wgconv::ops::multiply::{Multiply, MultiplyGradFactors};
use wgconv::ops::norm::{
    GroupNormForward, GroupNormGradInput, GroupNormGradSums, GroupNormGradWeight, GroupNormStatistics,
    GroupSize,
};
use wgconv::ops::optimizer::{
    GradientNorm, Group, GroupOptions, Groups, Optimizer, Sgd, Update, UpdateOptions,
};
use wgconv::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use wgconv::ops::prelu::{PreluForward, PreluGradInput, PreluGradWeight};
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::ops::{Access, Element, HostBuffer, Op, Operands};
use wgconv::tensor::ImageShape;

/// Both sides sum in float64; only the order of the sums may differ.
const DEFINITION_TOLERANCE: f64 = 1e-12;

/// A case of the file: its settings, and its tensors by name.
struct Case {
    name: String,
    settings: serde_json::Value,
    given: file::Tensors,
    computed: file::Tensors,
}

/// The settings in the file that convolutions and pools share.
#[derive(Deserialize)]
struct Window {
    kernel_size: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Top, bottom, left and right; `None` if PyTorch was given "same".
    padding: Option<[usize; 4]>,
}

impl Window {
    fn options(&self) -> WindowOptions {
        let &Window { kernel_size, stride, dilation, padding } = self;
        let padding = padding.map_or(Padding::Same, |[top, bottom, left, right]| Padding::Sides {
            top,
            bottom,
            left,
            right,
        });
        WindowOptions { kernel_size, stride, dilation, padding }
    }
}

/// Tensors by the names of operands.
type Tensors<T> = HashMap<String, HostBuffer<T>>;

impl Case {
    fn all(kind: &str) -> Vec<Case> {
        Case::all_of("pytorch.safetensors", kind)
    }

    fn all_of(file: &str, kind: &str) -> Vec<Case> {
        let file = File::read(file);
        let mut kinds: BTreeMap<String, serde_json::Value> = file.described();
        let settings: Vec<serde_json::Value> =
            serde_json::from_value(kinds.remove(kind).expect(kind)).expect("cases");
        let case = |settings: serde_json::Value| {
            let name = settings["name"].as_str().expect("a name").to_string();
            let word = |path: &str| path.strip_prefix(&format!("{kind}/{name}/")).map(str::to_string);
            let of_case = |tensors: &file::Tensors| -> file::Tensors {
                tensors.iter().filter_map(|(path, stored)| Some((word(path)?, stored.clone()))).collect()
            };
            let (given, computed) = (of_case(&file.given), of_case(&file.computed));
            assert!(!computed.is_empty(), "{kind}/{name}: nothing to compare with");
            Case { name: format!("{kind}/{name}"), settings, given, computed }
        };
        settings.into_iter().map(case).collect()
    }

    fn settings<S: DeserializeOwned>(&self) -> S {
        serde_json::from_value(self.settings.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn sizes<const N: usize>(&self, tensor: &str) -> [usize; N] {
        self.given[tensor].sizes.clone().try_into().expect("the number of axes")
    }

    /// Batch size and image of the input `[N,C,H,W]`.
    fn images(&self) -> (usize, ImageShape) {
        let [batch_size, channels, height, width] = self.sizes("input");
        (batch_size, ImageShape { height, width, channels })
    }

    /// The tensors that PyTorch was given.
    fn given<T: Arithmetic>(&self) -> Tensors<T> {
        let convert = |&value: &f64| T::from_f32(value as f32);
        let given = self.given.iter();
        given.map(|(name, stored)| (name.clone(), stored.inside().map_reals(convert))).collect()
    }

    /// The largest difference between `found` and PyTorch's values, relative for values above 1; or the first one that
    /// is too large.
    fn compare<T: Arithmetic + Into<f64>>(&self, found: &Tensors<T>, tolerance: f64) -> Result<f64, String> {
        let mut largest: f64 = 0.0;
        for (name, stored) in &self.computed {
            let found: Vec<f64> = match &found[name] {
                buffer if buffer.element() == Element::Index => {
                    buffer.indices().iter().map(|&value| value.into()).collect()
                }
                buffer => buffer.reals().iter().map(|&value| value.into()).collect(),
            };
            let expected = stored.inside();
            assert_eq!(found.len(), expected.len(), "{}: {name}", self.name);
            for (index, (found, expected)) in found.iter().zip(expected.reals()).enumerate() {
                let difference = (found - expected).abs() / expected.abs().max(1.0);
                if difference.is_nan() || difference > tolerance {
                    return Err(format!(
                        "{}: {name}[{index}]: PyTorch has {expected}, found {found}, tolerance {tolerance:e}",
                        self.name
                    ));
                }
                largest = largest.max(difference);
            }
        }
        Ok(largest)
    }
}

/// Runs an operation on the tensors with the names of its operands. Those that it writes need not exist before.
fn apply<T: Arithmetic>(op: &dyn Op, tensors: &mut Tensors<T>) {
    let declared = op.operands();
    let buffers = declared.iter().map(|operand| {
        let elements = operand.shape.elements();
        let fresh = || match (operand.access, operand.element) {
            // So that a missing element shows.
            (Access::Write, Element::Real) => HostBuffer::real(vec![T::from_f32(f32::NAN); elements]),
            (Access::Write | Access::ReadWrite, element) => HostBuffer::zeros(element, elements),
            (Access::Read, _) => panic!("{}: no {}", op.name(), operand.name),
        };
        let buffer = tensors.remove(operand.name).unwrap_or_else(fresh);
        assert_eq!(buffer.len(), elements, "{}: {}", op.name(), operand.name);
        buffer
    });
    let mut operands = Operands::new(buffers.collect());
    T::forms(op)[0].run(&mut operands);
    for (operand, buffer) in declared.iter().zip(operands.into_buffers()) {
        tensors.insert(operand.name.to_string(), buffer);
    }
}

/// The tensors after `ops` have run, in order, on those that PyTorch was given.
fn run<T: Arithmetic>(case: &Case, ops: &[Box<dyn Op>]) -> Tensors<T> {
    let mut tensors = case.given();
    ops.iter().for_each(|op| apply(op.as_ref(), &mut tensors));
    tensors
}

/// The tolerance for the answers of `ops` in f32, run one after another.
fn cpu_tolerance(ops: &[Box<dyn Op>]) -> f64 {
    ops.iter().map(|op| op.precision().bound()).sum()
}

/// Runs the operations that `ops` returns for each of `count` cases, by definition and on the CPU.
fn check(kind: &str, count: usize, ops: impl Fn(&Case) -> Vec<Box<dyn Op>>) {
    check_cases(Case::all(kind), kind, count, ops);
}

fn check_cases(cases: Vec<Case>, kind: &str, count: usize, ops: impl Fn(&Case) -> Vec<Box<dyn Op>>) {
    assert_eq!(cases.len(), count, "{kind}: number of cases");
    let results = cases.iter().map(|case| {
        let ops = ops(case);
        let defined = case.compare(&run::<f64>(case, &ops), DEFINITION_TOLERANCE);
        [defined, case.compare(&run::<f32>(case, &ops), cpu_tolerance(&ops))]
    });
    report(kind, results.collect());
}

fn report(kind: &str, results: Vec<[Result<f64, String>; 2]>) {
    let failures: Vec<&String> =
        results.iter().flatten().filter_map(|result| result.as_ref().err()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let largest = |form: usize| results.iter().flat_map(|result| result[form].clone()).fold(0.0, f64::max);
    println!(
        "{kind}: {} cases, largest difference {:.1e} by definition, {:.1e} on the CPU",
        results.len(),
        largest(0),
        largest(1)
    );
}

/// The bias operations for an output of `rows` and `channels`.
fn bias(rows: usize, channels: usize) -> (BiasForward, BiasGrad) {
    (BiasForward { rows, channels }, BiasGrad::new(rows, channels))
}

fn convolution(case: &Case) -> Vec<Box<dyn Op>> {
    let (batch_size, image) = case.images();
    let out_channels = case.sizes::<4>("filters")[0];
    let groups = case.settings["groups"].as_u64().expect("groups") as usize;
    let window = case.settings::<Window>().options();
    let geometry = ConvGeometry::new(batch_size, image, out_channels, groups, &window);
    let geometry = geometry.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let (bias, grad_bias) = bias(batch_size * geometry.positions(), out_channels);
    vec![
        Box::new(ConvForward::new(geometry)),
        Box::new(bias),
        Box::new(ConvGradFilters::new(geometry)),
        Box::new(grad_bias),
        Box::new(ConvGradInput::new(geometry)),
    ]
}

#[test]
fn convolutions_match_pytorch() {
    check("conv", 21, convolution);
}

#[test]
fn pools_match_pytorch() {
    check("pool", 17, |case| pool(case, true, false));
    let edges = Case::all_of("pools.safetensors", "edge_pool");
    check_cases(edges, "edge_pool", 28, |case| {
        let said = |key: &str| case.settings[key].as_bool().expect("true or false");
        pool(case, said("count_include_pad"), said("ceil_mode"))
    });
}

fn pool(case: &Case, count_include_pad: bool, ceil_mode: bool) -> Vec<Box<dyn Op>> {
    let (batch_size, image) = case.images();
    let kind = match case.settings["kind"].as_str() {
        Some("max") => PoolKind::Max,
        Some("average") if count_include_pad => PoolKind::Average,
        Some("average") => PoolKind::AverageInside,
        other => panic!("{}: {other:?}", case.name),
    };
    let geometry = if ceil_mode { PoolGeometry::in_ceil_mode } else { PoolGeometry::new };
    let geometry = geometry(batch_size, image, &case.settings::<Window>().options());
    let geometry = geometry.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    vec![Box::new(PoolForward { kind, geometry }), Box::new(PoolGrad::new(kind, geometry))]
}

#[test]
fn activations_match_pytorch() {
    check("activation", 7, activation);
    check_cases(Case::all_of("layers.safetensors", "activation"), "activation", 2, activation);
}

fn activation(case: &Case) -> Vec<Box<dyn Op>> {
    let parameter = || case.settings["parameter"].as_f64().expect("a parameter") as f32;
    let activation = match case.settings["name"].as_str() {
        Some("relu") => Activation::Relu,
        Some("leaky_relu") => Activation::LeakyRelu { slope: parameter() },
        Some("elu") => Activation::Elu { alpha: parameter() },
        Some("sigmoid") => Activation::Sigmoid,
        Some("tanh") => Activation::Tanh,
        Some("gelu") => Activation::Gelu,
        Some("silu") => Activation::Silu,
        Some("hard_swish") => Activation::HardSwish,
        Some("scale") => Activation::Scale { factor: parameter() },
        other => panic!("{}: {other:?}", case.name),
    };
    let [elements] = case.sizes("input");
    vec![
        Box::new(ActivationForward { activation, elements }),
        Box::new(ActivationGrad { activation, elements }),
    ]
}

#[test]
fn global_pools_match_pytorch() {
    check_cases(Case::all_of("layers.safetensors", "global_pool"), "global_pool", 4, |case| {
        let (batch_size, image) = case.images();
        let kind = if case.settings["kind"] == "max" { PoolKind::Max } else { PoolKind::Average };
        let window = WindowOptions::new([image.height, image.width]);
        let geometry = PoolGeometry::new(batch_size, image, &window).unwrap();
        vec![Box::new(PoolForward { kind, geometry }), Box::new(PoolGrad::new(kind, geometry))]
    });
}

/// Three tensors side by side, and the gradient of each.
#[test]
fn concatenations_match_pytorch() {
    let cases = Case::all_of("layers.safetensors", "concatenate");
    assert_eq!(cases.len(), 2);
    for case in cases {
        let words = ["a", "b", "c"];
        let of = |word: &str| {
            let sizes = &case.given[word].sizes;
            (sizes.iter().product::<usize>() / sizes[1], sizes[1])
        };
        let (rows, channels): (Vec<usize>, Vec<usize>) = words.iter().map(|word| of(word)).unzip();
        let given = case.given::<f64>();
        let op = Concatenate { rows: rows[0], channels: channels.clone() };
        let inputs = words.iter().map(|word| given[*word].clone());
        let output = HostBuffer::zeros(Element::Real, rows[0] * op.total());
        let output = run_one(&op, inputs.chain([output]).collect()).pop().expect("the output");
        let mut found: Tensors<f64> = HashMap::from([("output".into(), output)]);
        let mut first = 0;
        for (word, channels) in words.iter().zip(channels) {
            let grad = ConcatenateGrad { rows: rows[0], all: op.total(), first, channels };
            let grad_input = HostBuffer::zeros(Element::Real, rows[0] * channels);
            let grad_input = run_one(&grad, vec![given["grad_output"].clone(), grad_input]).pop();
            found.insert(format!("grad_{word}"), grad_input.expect("the gradient"));
            first += channels;
        }
        case.compare(&found, 0.0).unwrap();
    }
}

#[test]
fn products_of_channels_match_pytorch() {
    check_cases(Case::all_of("layers.safetensors", "multiply"), "multiply", 2, |case| {
        let (samples, channels) = (case.given["input"].sizes[0], case.given["input"].sizes[1]);
        let rows = rows_and_channels(case).0 / samples;
        vec![
            Box::new(Multiply { samples, rows, channels }),
            Box::new(MultiplyGradFactors { samples, rows, channels }),
        ]
    });
}

/// Of maps in groups, of each of their pixels, and of flat features.
#[test]
fn normalisations_of_each_image_match_pytorch() {
    check_cases(Case::all_of("layers.safetensors", "group_norm"), "group_norm", 7, |case| {
        let sizes = &case.given["input"].sizes;
        let (all_rows, channels) = rows_and_channels(case);
        let size = match case.settings["groups"].as_u64() {
            Some(groups) => {
                let samples = sizes[0];
                GroupSize { samples, rows: all_rows / samples, channels, groups: groups as usize }
            }
            None => GroupSize { samples: all_rows, rows: 1, channels, groups: 1 },
        };
        let epsilon = case.settings["eps"].as_f64().expect("eps") as f32;
        let affine = case.given.contains_key("weight");
        let mut ops: Vec<Box<dyn Op>> = vec![
            Box::new(GroupNormStatistics { size }),
            Box::new(GroupNormForward { size, epsilon, affine }),
            Box::new(GroupNormGradSums { size, epsilon, affine }),
            Box::new(GroupNormGradInput { size, epsilon, affine }),
        ];
        if affine {
            ops.push(Box::new(GroupNormGradWeight { size, epsilon }));
            ops.push(Box::new(BiasGrad::new(all_rows, channels)));
        }
        ops
    });
}

/// Rows and channels of an input `[N,C,..]`.
fn rows_and_channels(case: &Case) -> (usize, usize) {
    let sizes = &case.given["input"].sizes;
    (sizes.iter().product::<usize>() / sizes[1], sizes[1])
}

#[test]
fn learnt_slopes_match_pytorch() {
    check_cases(Case::all_of("layers.safetensors", "prelu"), "prelu", 3, |case| {
        let (rows, channels) = rows_and_channels(case);
        vec![
            Box::new(PreluForward { rows, channels }),
            Box::new(PreluGradWeight { rows, channels }),
            Box::new(PreluGradInput { rows, channels }),
        ]
    });
}

#[test]
fn cross_entropy_matches_pytorch() {
    check("cross_entropy", 5, |case| {
        let [batch_size, classes] = case.sizes("logits");
        vec![Box::new(SoftmaxCrossEntropy::new(batch_size, classes, 1).unwrap())]
    });
}

/// The operation of a case of smoothed labels or class weights, with `smoothing` in place of its own.
fn shared_cross_entropy(case: &Case, smoothing: f32) -> Vec<Box<dyn Op>> {
    let [batch_size, classes] = case.sizes("logits");
    let op = SoftmaxCrossEntropy::new(batch_size, classes, 1).unwrap().with_smoothing(smoothing).unwrap();
    let weighted = case.given.contains_key("class_weights");
    vec![Box::new(if weighted { op.with_class_weights().unwrap() } else { op })]
}

#[test]
fn smoothed_labels_and_class_weights_match_pytorch() {
    let cases = Case::all_of("losses.safetensors", "shared_cross_entropy");
    assert_eq!(cases.len(), 11);
    let compare = |case: &Case, ops: &[Box<dyn Op>]| {
        let defined = case.compare(&run::<f64>(case, ops), DEFINITION_TOLERANCE);
        [defined, case.compare(&run::<f32>(case, ops), cpu_tolerance(ops))]
    };
    let results = cases.iter().map(|case| {
        let smoothing = case.settings["smoothing"].as_f64().expect("a smoothing") as f32;
        // A negative control: slightly more smoothing is noticed.
        let wrong = compare(case, &shared_cross_entropy(case, smoothing + 0.01));
        assert!(wrong.iter().all(|result| result.is_err()), "{}: {wrong:?}", case.name);
        compare(case, &shared_cross_entropy(case, smoothing))
    });
    report("shared_cross_entropy", results.collect());
}

#[test]
fn dense_layers_match_pytorch() {
    check("dense", 3, |case| {
        let ([batch_size, in_features], [out_features]) = (case.sizes("input"), case.sizes("bias"));
        let size = DenseSize::new(batch_size, in_features, out_features).unwrap();
        let (bias, grad_bias) = bias(batch_size, out_features);
        vec![
            Box::new(DenseForward::new(size)),
            Box::new(bias),
            Box::new(DenseGradWeight::new(size)),
            Box::new(grad_bias),
            Box::new(DenseGradInput::new(size)),
        ]
    });
}

/// The optimizer of a case.
struct Descent {
    options: UpdateOptions,
    /// Names and groups of the parameters, in their order in memory.
    words: Vec<(&'static str, Group)>,
}

impl Descent {
    /// The parameters after each step.
    fn run<T: Arithmetic>(&self, case: &Case) -> Tensors<T> {
        let UpdateOptions { optimizer, clip_norm, .. } = self.options;
        let [steps] = case.sizes("learning_rate");
        let given = case.given::<T>();
        let real = |value: f32| T::from_f32(value);
        let single = |step: usize, name: &str| Some(case.given.get(name)?.values.reals()[step]);
        let rows = (0..steps).flat_map(|step| {
            let rate = single(step, "learning_rate").expect("a learning rate");
            optimizer.now(step as u64 + 1, rate, single(step, "momentum")).row()
        });
        let schedule = HostBuffer::real(rows.map(real).collect());
        let loss = HostBuffer::real(vec![real(0.0); steps]);
        let sizes: Vec<usize> = self.words.iter().map(|(word, _)| given[*word].len()).collect();
        let groups: Vec<(Group, usize)> =
            self.words.iter().zip(&sizes).map(|(&(_, group), &elements)| (group, elements)).collect();
        let op = Update::new(self.options, groups, steps).unwrap();
        let norm = clip_norm.map(|norm| GradientNorm::new(sizes.clone(), norm, steps));

        let mut parameters: Vec<_> = self.words.iter().map(|(word, _)| given[*word].clone()).collect();
        let mut states: Vec<HostBuffer<T>> = optimizer
            .states()
            .iter()
            .flat_map(|_| sizes.iter().map(|&elements| HostBuffer::zeros(Element::Real, elements)))
            .collect();
        let mut after: Tensors<T> = HashMap::new();
        for step in 0..steps {
            let gradients: Vec<HostBuffer<T>> = self
                .words
                .iter()
                .zip(&sizes)
                .map(|((word, _), elements)| {
                    let all = given[&format!("{word}_gradients")].reals();
                    HostBuffer::real(all[step * elements..][..*elements].to_vec())
                })
                .collect();
            let now = HostBuffer::index(vec![step as u32]);
            let scale = norm.as_ref().map(|norm| {
                let others = [now.clone(), loss.clone(), HostBuffer::real(vec![real(f32::NAN)])];
                run_one(norm, [gradients.clone(), others.into()].concat()).pop().expect("the scale")
            });
            let others = [schedule.clone(), now, loss.clone()].into_iter().chain(scale).collect();
            let mut results = run_one(&op, [parameters, gradients, states, others].concat());
            parameters = results.drain(..sizes.len()).collect();
            results.drain(..sizes.len());
            states = results.drain(..sizes.len() * optimizer.states().len()).collect();
            for ((word, _), parameter) in self.words.iter().zip(&parameters) {
                let before = after.remove(&format!("{word}_after"));
                let mut values = before.map_or(Vec::new(), HostBuffer::into_reals);
                values.extend_from_slice(parameter.reals());
                after.insert(format!("{word}_after"), HostBuffer::real(values));
            }
        }
        after
    }
}

fn run_one<T: Arithmetic>(op: &dyn Op, buffers: Vec<HostBuffer<T>>) -> Vec<HostBuffer<T>> {
    let mut operands = Operands::new(buffers);
    T::forms(op)[0].run(&mut operands);
    operands.into_buffers()
}

#[test]
fn steps_of_sgd_match_pytorch() {
    #[derive(Deserialize)]
    struct Settings {
        momentum: f64,
        nesterov: bool,
        weight_decay: f32,
    }
    let cases = Case::all("sgd");
    assert_eq!(cases.len(), 5);
    let results = cases.into_iter().map(|mut case| {
        let Settings { momentum, nesterov, weight_decay } = case.settings();
        let optimizer = Optimizer::Sgd(Sgd { momentum, nesterov });
        let groups = Groups::with_weight_decay(weight_decay);
        let gradients = case.given.remove("gradients").expect("gradients");
        case.given.insert("parameter_gradients".into(), gradients);
        let options = UpdateOptions { optimizer, groups, clip_norm: None, averages: false };
        let descent = Descent { options, words: vec![("parameter", Group::Weight)] };
        [
            case.compare(&descent.run::<f64>(&case), DEFINITION_TOLERANCE),
            case.compare(&descent.run::<f32>(&case), 5.0 * 8.0 * f64::from(f32::EPSILON)),
        ]
    });
    report("sgd", results.collect());
}

/// The optimizer of a case of 50 steps.
fn descent(case: &Case) -> Descent {
    #[derive(Deserialize)]
    struct Settings {
        optimizer: Optimizer,
        decays: [f32; 2],
        bias_factor: f32,
        clip_norm: Option<f32>,
    }
    let Settings { optimizer, decays: [weight, bias], bias_factor, clip_norm } = case.settings();
    let weight = GroupOptions { rate_factor: 1.0, weight_decay: weight };
    let bias = GroupOptions { rate_factor: bias_factor, weight_decay: bias };
    let groups = Groups { weight, bias, ..Groups::default() };
    Descent {
        options: UpdateOptions { optimizer, groups, clip_norm, averages: false },
        words: vec![("weight", Group::Weight), ("bias", Group::Bias)],
    }
}

/// In f64, only the schedule is rounded to f32.
const TOLERANCES_OF_50_STEPS: [f64; 2] = [1e-6, 1e-5];

#[test]
fn fifty_steps_of_every_optimizer_match_pytorch() {
    let cases = Case::all_of("optimizers.safetensors", "optimizer");
    assert_eq!(cases.len(), 20);
    for optimizer in Optimizer::all() {
        let is_its = |case: &&Case| descent(case).options.optimizer.name() == optimizer.name();
        let [definition, cpu] = TOLERANCES_OF_50_STEPS;
        let results: Vec<_> = cases
            .iter()
            .filter(is_its)
            .map(|case| {
                let descent = descent(case);
                [
                    case.compare(&descent.run::<f64>(case), definition),
                    case.compare(&descent.run::<f32>(case), cpu),
                ]
            })
            .collect();
        assert!(results.len() >= 2, "{}", optimizer.name());
        report(optimizer.name(), results);
    }
}

/// A negative control: another decay, bias factor or clipping norm, or AdamW in place of Adam, is noticed.
#[test]
fn wrong_optimizers_are_caught() {
    let cases = Case::all_of("optimizers.safetensors", "optimizer");
    let [definition, cpu] = TOLERANCES_OF_50_STEPS;
    let mut caught = 0;
    for case in &cases {
        let right = descent(case).options;
        let with_decay = |decay| GroupOptions { weight_decay: decay, ..right.groups.weight };
        let with_factor = |rate_factor| GroupOptions { rate_factor, ..right.groups.bias };
        let mut wrong = vec![
            UpdateOptions { groups: Groups { weight: with_decay(0.02), ..right.groups }, ..right },
            UpdateOptions { groups: Groups { bias: with_factor(1.01), ..right.groups }, ..right },
            UpdateOptions { clip_norm: Some(right.clip_norm.map_or(0.01, |norm| 1.01 * norm)), ..right },
        ];
        if let Optimizer::Adam(adam) = right.optimizer {
            let as_adamw = Optimizer::AdamW(wgconv::ops::optimizer::AdamW(adam));
            wrong.extend(
                (right.groups.weight.weight_decay > 0.0)
                    .then_some(UpdateOptions { optimizer: as_adamw, ..right }),
            );
        }
        for options in wrong {
            // These optimizers divide gradients by their own size, so that a common factor does not show.
            let is_blind = options.clip_norm != right.clip_norm && right.optimizer.name() != "sgd";
            let descent = Descent { options, ..descent(case) };
            let [in_f64, in_f32] = [
                case.compare(&descent.run::<f64>(case), definition),
                case.compare(&descent.run::<f32>(case), cpu),
            ];
            assert!(is_blind || in_f64.is_err() && in_f32.is_err(), "{}: {options:?}", case.name);
            caught += usize::from(in_f64.is_err());
        }
    }
    assert!(caught > 40, "{caught} caught");
}

/// A negative control: a small change anywhere in PyTorch's values is noticed.
#[test]
fn wrong_values_are_caught() {
    for mut case in Case::all("conv") {
        let ops = convolution(&case);
        let (defined, on_cpu) = (run::<f64>(&case, &ops), run::<f32>(&case, &ops));
        let tolerance = cpu_tolerance(&ops);
        let names: Vec<String> = case.computed.keys().cloned().collect();
        assert_eq!(names, ["grad_bias", "grad_filters", "grad_input", "output"]);
        for name in names {
            for index in [0, case.computed[&name].values.len() - 1] {
                let right = case.computed[&name].values.reals()[index];
                let mut passes = |wrong: f64| {
                    case.computed.get_mut(&name).expect("it is there").values.reals_mut()[index] = wrong;
                    [
                        case.compare(&defined, DEFINITION_TOLERANCE).is_ok(),
                        case.compare(&on_cpu, tolerance).is_ok(),
                    ]
                };
                let size = right.abs().max(1.0);
                assert_eq!(passes(right + 1e-10 * size), [false, true], "{name}");
                assert_eq!(passes(right - 1e-2 * size), [false, false], "{name}");
                assert_eq!(passes(f64::NAN), [false, false], "{name}");
                assert_eq!(passes(right), [true, true], "{name}");
            }
        }
    }
}
