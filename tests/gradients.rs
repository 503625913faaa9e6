//! In f64, the definitions of gradients match central differences of the definitions of the forward operations; a wrong
//! gradient fails.

use std::collections::{HashMap, HashSet};

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use wgconv::device::DeviceProfile;
use wgconv::ops::activation::{Activation, ActivationForward, ActivationGrad, Saved};
use wgconv::ops::bias::{BiasForward, BiasGrad};
use wgconv::ops::concatenate::{Concatenate, ConcatenateGrad};
use wgconv::ops::conv::{ConvForward, ConvGradFilters, ConvGradInput, ConvMaxPool};
use wgconv::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight};
use wgconv::ops::kernel::Implementation;
use wgconv::ops::multiply::{Multiply, MultiplyGradFactors};
use wgconv::ops::norm::{
    BatchNormGrad, BatchNormSize, BatchNormTrain, GroupNormForward, GroupNormGradInput, GroupNormGradSums,
    GroupNormGradWeight, GroupNormStatistics, GroupSize,
};
use wgconv::ops::pool::{InputGrad, MaxUnpool, PoolForward, PoolGrad, UnpooledGrad};
use wgconv::ops::prelu::{PreluForward, PreluGradInput, PreluGradWeight};
use wgconv::ops::{CpuForm, Element, Epilogue, HostBuffer, Op, Operand, Operands, Precision, Prologue};
use wgconv::tensor::Shape;
use wgconv::verify::cases::{self, conv, dense, elementwise, norm, pool, training};

/// Half the distance between the two points of a central difference.
const DISTANCE: f64 = 1e-5;

/// Right gradients stay at least a hundred times below this.
const TOLERANCE: f64 = 1e-6;

/// A gradient and its forward pass, each one operation or a sequence of several. Operands are matched by name:
/// `gradient` reads operands of `forward` and `grad_` + `output`, and writes `grad_` + `variable`; a gradient that
/// starts after an activation reads the output as `activated`. Of several gradients, each hands its `grad_input`, if it has
/// one, to the next as that one's `grad_output`.
struct Pair {
    name: String,
    forward: Vec<Box<dyn Op>>,
    gradient: Vec<Box<dyn Op>>,
    output: &'static str,
    variable: &'static str,
}

/// The content of operands, by name.
type Tensors = HashMap<&'static str, HostBuffer<f64>>;

impl Pair {
    fn new(
        name: &str,
        forward: impl Op + 'static,
        gradient: impl Op + 'static,
        output: &'static str,
        variable: &'static str,
    ) -> Self {
        Pair::of_chains(name, vec![Box::new(forward)], vec![Box::new(gradient)], output, variable)
    }

    fn of_chains(
        name: &str,
        forward: Vec<Box<dyn Op>>,
        gradient: Vec<Box<dyn Op>>,
        output: &'static str,
        variable: &'static str,
    ) -> Self {
        let name = format!("{} ({name}), grad_{variable}", gradient[gradient.len() - 1].name());
        Pair { name, forward, gradient, output, variable }
    }

    /// The content of the operands of `forward`, and the weights of its output in the loss: the same in every call.
    fn data(&self) -> (Tensors, HostBuffer<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut given = Tensors::new();
        let operands: Vec<Operand> = self.forward.iter().flat_map(|op| op.operands()).collect();
        for operand in &operands {
            given.entry(operand.name).or_insert_with(|| fill(operand, &mut rng));
        }
        let output = &operands[position(&operands, self.output)];
        let mut gradient = self.gradient.iter().flat_map(|op| op.operands());
        // A loss is given no gradient: its own is 1.
        let ones = || HostBuffer::real(vec![1.0; output.shape.elements()]);
        let takes_weights = gradient.any(|operand| operand.name == self.grad_output());
        let weights = if takes_weights { fill(output, &mut rng) } else { ones() };
        (given, weights)
    }

    fn grad_output(&self) -> String {
        format!("grad_{}", self.output)
    }

    /// Runs the definition of `op`; tensors that it writes need not exist before.
    fn define(&self, op: &dyn Op, tensors: &mut Tensors, grad_output: Option<&HostBuffer<f64>>) {
        let declared = op.operands();
        let buffers = declared.iter().map(|operand| {
            let name = if operand.name == "activated" { self.output } else { operand.name };
            match (grad_output, tensors.get(name)) {
                (Some(grad_output), _) if name == self.grad_output() => grad_output.clone(),
                (_, Some(found)) if operand.access.reads() => found.clone(),
                _ => nothing_yet(operand),
            }
        });
        let mut operands = Operands::new(buffers.collect());
        op.define(&mut operands);
        for (operand, buffer) in declared.iter().zip(operands.into_buffers()) {
            if operand.access.writes() {
                tensors.insert(operand.name, buffer);
            }
        }
    }

    fn run_forward(&self, mut tensors: Tensors) -> Tensors {
        self.forward.iter().for_each(|op| self.define(op.as_ref(), &mut tensors, None));
        tensors
    }

    /// The answer of `gradient`.
    fn gradient(&self) -> Vec<f64> {
        let (given, weights) = self.data();
        // A gradient may read what the forward pass has written.
        let (mut tensors, mut grad_output) = (self.run_forward(given), weights);
        for op in &self.gradient {
            if let Some(grad_input) = tensors.remove("grad_input") {
                grad_output = grad_input;
            }
            self.define(op.as_ref(), &mut tensors, Some(&grad_output));
        }
        tensors[format!("grad_{}", self.variable).as_str()].reals().to_vec()
    }

    /// The largest difference, over a few random directions v, between `(L(x + d*v) - L(x - d*v)) / 2d` and
    /// `grad . v`, in units of the size of `grad`; `L = sum over output of output * weights`, and x is the
    /// variable.
    fn difference(&self, grad: &[f64]) -> f64 {
        let (given, weights) = self.data();
        let loss_at = |direction: &[f64], distance: f64| {
            let mut tensors = given.clone();
            let variable = tensors.get_mut(self.variable).expect("the variable is an operand");
            for (value, direction) in variable.reals_mut().iter_mut().zip(direction) {
                *value += distance * direction;
            }
            dot(self.run_forward(tensors)[self.output].reals(), weights.reals())
        };
        let mut rng = ChaCha8Rng::seed_from_u64(13);
        // A right gradient may be zero: that of a single class.
        let size = dot(grad, grad).sqrt().max(1e-3);
        let differences = (0..3).map(|_| {
            let direction: Vec<f64> = grad.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
            let slope = (loss_at(&direction, DISTANCE) - loss_at(&direction, -DISTANCE)) / (2.0 * DISTANCE);
            (slope - dot(grad, &direction)).abs() / size
        });
        // f64::max would drop a NaN.
        differences.fold(0.0, |a, b| if a > b || a.is_nan() { a } else { b })
    }
}

/// A max-pool of windows of 2x2 of an image, or of an activation of its values, and the layer behind it, which takes no notice
/// of what its input is. Operands: input, the layer's second operand, its output, winners, pooled, then the layer's others.
#[derive(Debug)]
struct BehindPool<L> {
    activation: Option<Activation>,
    unpool: MaxUnpool,
    layer: L,
}

impl<L: Op> BehindPool<L> {
    /// The shapes of the pool's input and output.
    fn shapes(&self) -> [Shape; 2] {
        let operands = self.unpool.operands();
        [operands[2].shape.clone(), operands[0].shape.clone()]
    }
}

impl<L: Op> Op for BehindPool<L> {
    fn name(&self) -> &'static str {
        "behind a pool"
    }

    fn operands(&self) -> Vec<Operand> {
        let [input, pooled] = self.shapes();
        let mut operands = self.layer.operands();
        let others = operands.split_off(3);
        operands[0].shape = input;
        operands.push(Operand::write("winners", pooled.clone()).indices(4));
        operands.push(Operand::write("pooled", pooled));
        operands.extend(others);
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, pooled] = self.shapes();
        let [batch_size, height, width, channels] = [0, 1, 2, 3].map(|axis| input.size(axis));
        let [_, down, across, _] = [0, 1, 2, 3].map(|axis| pooled.size(axis));
        let buffers = operands.as_mut_slice();
        let mut activated = buffers[0].clone();
        if let Some(activation) = self.activation {
            let forward = ActivationForward { activation, elements: activated.len() };
            let mut values = Operands::new(vec![activated.clone(), activated]);
            forward.define(&mut values);
            activated = values.into_buffers().swap_remove(1);
        }
        let mut window = 0;
        for n in 0..batch_size {
            for (p, q, c) in
                (0..down).flat_map(|p| (0..across).flat_map(move |q| (0..channels).map(move |c| (p, q, c))))
            {
                let values = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[r, s]| {
                    let pixel = (n * height + 2 * p + r) * width + 2 * q + s;
                    activated.reals()[pixel * channels + c]
                });
                let largest = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
                let place = values.iter().position(|&value| value == largest).unwrap();
                buffers[3].indices_mut()[window] = place as u32;
                buffers[4].reals_mut()[window] = largest;
                window += 1;
            }
        }
        let pooled = buffers[4].clone();
        let image = std::mem::replace(&mut buffers[0], pooled);
        let of_layer: Vec<usize> = (0..3).chain(5..buffers.len()).collect();
        operands.with(&of_layer, |operands| self.layer.define(operands));
        operands.as_mut_slice()[0] = image;
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        unreachable!("the definition is what runs")
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        unreachable!("the definition is what runs")
    }

    fn flops(&self) -> u64 {
        0
    }

    fn precision(&self) -> Precision {
        Precision::EXACT
    }
}

/// The gradient of what a max-pool has read, behind a layer.
fn behind_a_pool<G: InputGrad>(name: &str, grad: UnpooledGrad<G>, layer: impl Op) -> Pair {
    let unpool = *grad.unpool();
    let activation = unpool.prologue().activation();
    Pair::new(name, BehindPool { activation, unpool, layer }, grad, "output", "input")
}

/// Every gradient of the library.
fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (name, geometry) in conv::geometries() {
        let forward = ConvForward::new(geometry);
        pairs.push(Pair::new(name, forward, ConvGradFilters::new(geometry), "output", "filters"));
        pairs.push(Pair::new(name, forward, ConvGradInput::new(geometry), "output", "input"));
    }
    for (name, geometry, prologue) in conv::prologues() {
        let epilogue = Epilogue { bias: true, activation: prologue.activation(), ..Epilogue::NONE };
        let forward = ConvForward::new(geometry).with_epilogue(epilogue);
        let filters = ConvGradFilters::new(geometry).with_prologue(prologue);
        let input = ConvGradInput::new(geometry).with_prologue(prologue);
        let (rows, channels) = (geometry.batch_size * geometry.positions(), geometry.out_channels);
        let bias = BiasGrad::new(rows, channels).with_prologue(prologue);
        pairs.push(Pair::new(&name, forward, filters, "output", "filters"));
        pairs.push(Pair::new(&name, forward, input, "output", "input"));
        pairs.push(Pair::new(&name, forward, bias, "output", "bias"));
    }
    for (name, geometry) in pool::geometries() {
        for kind in pool::KINDS {
            let forward = PoolForward { kind, geometry };
            pairs.push(Pair::new(name, forward, PoolGrad::new(kind, geometry), "output", "input"));
        }
    }
    // With more values, central differences would step across kinks.
    for (name, conv, pool) in
        conv::pooled().filter(|(_, conv, _)| conv.geometry.output_shape().elements() < 2000)
    {
        let (geometry, channels) = (conv.geometry, conv.geometry.out_channels);
        let prologue = conv.epilogue.activation.map_or(Some(Prologue::NONE), Prologue::of);
        let unpool =
            MaxUnpool::new(&pool, prologue.expect("a derivative of the output")).expect("windows of 2x2");
        let bias = BiasGrad::new(geometry.batch_size * geometry.positions(), channels);
        let gradients: [(_, Box<dyn Op>); 3] = [
            ("filters", Box::new(ConvGradFilters::new(geometry))),
            ("input", Box::new(ConvGradInput::new(geometry))),
            ("bias", Box::new(bias)),
        ];
        for (variable, gradient) in
            gradients.into_iter().filter(|(name, _)| *name != "bias" || conv.epilogue.bias)
        {
            let forward = ConvMaxPool::new(conv, &pool).expect("a pool of the convolution's output");
            let chain = vec![Box::new(unpool) as Box<dyn Op>, gradient];
            pairs.push(Pair::of_chains(&name, vec![Box::new(forward)], chain, "output", variable));
        }
    }
    let few = |unpool: &MaxUnpool| unpool.operands()[2].shape.elements() < 2000;
    for (name, grad) in conv::unpooled().into_iter().filter(|(_, grad)| few(grad.unpool())) {
        let ConvGradInput { geometry, prologue } = *grad.grad();
        let epilogue = Epilogue { activation: prologue.activation(), ..Epilogue::NONE };
        pairs.push(behind_a_pool(&name, grad, ConvForward::new(geometry).with_epilogue(epilogue)));
    }
    for (name, grad) in dense::unpooled().into_iter().filter(|(_, grad)| few(grad.unpool())) {
        let DenseGradInput { size, prologue } = *grad.grad();
        let epilogue = Epilogue { activation: prologue.activation(), ..Epilogue::NONE };
        pairs.push(behind_a_pool(&name, grad, DenseForward::new(size).with_epilogue(epilogue)));
    }
    for (name, size) in dense::sizes() {
        let forward = DenseForward::new(size);
        pairs.push(Pair::new(name, forward, DenseGradWeight::new(size), "output", "weight"));
        pairs.push(Pair::new(name, forward, DenseGradInput::new(size), "output", "input"));
    }
    for (name, size, epilogue, prologue) in dense::fused() {
        let forward = DenseForward::new(size).with_epilogue(epilogue);
        let weight = DenseGradWeight::new(size).with_prologue(prologue);
        let input = DenseGradInput::new(size).with_prologue(prologue);
        pairs.push(Pair::new(&name, forward, weight, "output", "weight"));
        pairs.push(Pair::new(&name, forward, input, "output", "input"));
    }
    for [rows, channels] in [[1, 1], [7, 5], [60, 3]] {
        let (forward, gradient) = (BiasForward { rows, channels }, BiasGrad::new(rows, channels));
        pairs.push(Pair::new("bias", forward, gradient, "output", "bias"));
    }
    for activation in elementwise::ACTIVATIONS {
        let elements = 101;
        let (forward, gradient) =
            (ActivationForward { activation, elements }, ActivationGrad { activation, elements });
        pairs.push(Pair::new(activation.name(), forward, gradient, "output", "input"));
    }
    for [rows, channels] in [[1, 1], [7, 5], [60, 3]] {
        let forward = PreluForward { rows, channels };
        let (input, weight) = (PreluGradInput { rows, channels }, PreluGradWeight { rows, channels });
        pairs.push(Pair::new("slopes", forward, input, "output", "input"));
        pairs.push(Pair::new("slopes", forward, weight, "output", "weight"));
    }
    for [samples, rows, channels] in [[1, 1, 1], [3, 1, 5], [4, 6, 3]] {
        let forward = Multiply { samples, rows, channels };
        let factors = MultiplyGradFactors { samples, rows, channels };
        pairs.push(Pair::new("products", forward, factors, "output", "factors"));
    }
    // Operands are matched by name, so that only a single tensor has a gradient here; those of several are checked in
    // whole networks.
    let (forward, gradient) = (
        Concatenate { rows: 4, channels: vec![5] },
        ConcatenateGrad { rows: 4, all: 5, first: 0, channels: 5 },
    );
    pairs.push(Pair::new("one tensor", forward, gradient, "output", "input"));
    for (name, rows, channels, affine) in
        [("two rows", 2, 5, true), ("affine", 7, 3, true), ("not affine", 60, 5, false)]
    {
        let size = BatchNormSize { rows, channels, epsilon: norm::EPSILON, affine };
        let (plain, grad) = (BatchNormTrain::new(size), BatchNormGrad::new(size, true));
        let mut ways = vec![(name.into(), plain, grad)];
        // Behind an activation whose input is computed again, and behind a sum and an activation whose output is saved.
        for activation in norm::activations() {
            let (name, activated) = (format!("{name}, {}", activation.name()), Some(activation));
            let epilogue = Epilogue { activation: activated, ..Epilogue::NONE };
            ways.push((name.clone(), plain.with_epilogue(epilogue), grad.behind_recomputed(activation)));
            if activation.saves() == Saved::Output {
                let (name, epilogue) = (format!("{name} of a sum"), Epilogue { summand: true, ..epilogue });
                ways.push((name, plain.with_epilogue(epilogue), grad.behind(activation, true)));
            }
        }
        for (name, forward, grad) in ways {
            let mut variables = vec!["input"];
            variables.extend(["weight", "bias"].iter().filter(|_| affine));
            variables.extend(name.ends_with("sum").then_some("summand"));
            for variable in variables {
                pairs.push(Pair::new(&name, forward, grad, "output", variable));
            }
        }
    }
    for (name, affine) in [("groups", true), ("groups, not affine", false)] {
        for [samples, rows, channels, groups] in [[2, 7, 6, 3], [5, 1, 9, 1], [3, 4, 4, 4]] {
            let (size, epsilon) = (GroupSize { samples, rows, channels, groups }, norm::EPSILON);
            let forward = || -> Vec<Box<dyn Op>> {
                let normalise = GroupNormForward { size, epsilon, affine };
                vec![Box::new(GroupNormStatistics { size }), Box::new(normalise)]
            };
            let sums = GroupNormGradSums { size, epsilon, affine };
            let input = GroupNormGradInput { size, epsilon, affine };
            let input: Vec<Box<dyn Op>> = vec![Box::new(sums), Box::new(input)];
            pairs.push(Pair::of_chains(name, forward(), input, "output", "input"));
            if affine {
                let weight = Box::new(GroupNormGradWeight { size, epsilon });
                pairs.push(Pair::of_chains(name, forward(), vec![weight], "output", "weight"));
            }
        }
    }
    for (name, op) in training::losses() {
        pairs.push(Pair::new(name, op, op, "loss", "logits"));
    }
    pairs
}

fn position(operands: &[Operand], name: &str) -> usize {
    let found = operands.iter().position(|operand| operand.name == name);
    found.unwrap_or_else(|| panic!("no operand {name} among {operands:?}"))
}

/// Evenly spaced reals in a random order: no two are close to each other and none is close to zero, so that no
/// difference steps across a kink.
fn fill(operand: &Operand, rng: &mut ChaCha8Rng) -> HostBuffer<f64> {
    let elements = operand.shape.elements();
    match operand.element {
        Element::Real | Element::Half => {
            let mut values: Vec<f64> =
                (0..elements).map(|i| 2.0 * (i as f64 + 0.25) / elements as f64 - 1.0).collect();
            if operand.without_sign {
                values.iter_mut().for_each(|value| *value = value.abs());
            }
            values.shuffle(rng);
            HostBuffer::real(values)
        }
        Element::Index => {
            HostBuffer::index((0..elements).map(|_| rng.random_range(0..operand.below)).collect())
        }
        Element::Byte => HostBuffer::byte((0..elements).map(|_| rng.random()).collect()),
    }
}

/// Values for an operand that is only written, so that a missing element shows.
fn nothing_yet(operand: &Operand) -> HostBuffer<f64> {
    match operand.element {
        Element::Real => HostBuffer::real(vec![f64::NAN; operand.shape.elements()]),
        element => HostBuffer::zeros(element, operand.shape.elements()),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The gradient multiplied by 1.01, and the gradient shifted by one element: `None` if that changes nothing.
fn spoilt(right: &[f64]) -> [Option<Vec<f64>>; 2] {
    let scaled: Vec<f64> = right.iter().map(|grad| 1.01 * grad).collect();
    let mut shifted = right.to_vec();
    shifted.rotate_right(1);
    [scaled, shifted].map(|wrong| (wrong != right).then_some(wrong))
}

#[test]
fn gradients_match_central_differences() {
    for pair in pairs() {
        let difference = pair.difference(&pair.gradient());
        assert!(difference < TOLERANCE, "{}: off by {difference:e}", pair.name);
    }
}

#[test]
fn wrong_gradients_are_caught() {
    let mut caught = 0;
    for pair in pairs() {
        for wrong in spoilt(&pair.gradient()).into_iter().flatten() {
            let difference = pair.difference(&wrong);
            assert!(difference > 100.0 * TOLERANCE, "{}: off by {difference:e} only", pair.name);
            caught += 1;
        }
    }
    assert!(caught > pairs().len(), "only {caught} wrong gradients");
}

#[test]
fn every_gradient_of_the_table_of_cases_is_checked() {
    let checked: HashSet<&str> = pairs().iter().flat_map(|pair| &pair.gradient).map(|op| op.name()).collect();
    for case in cases::all() {
        let writes_gradient =
            |operand: &Operand| operand.access.writes() && operand.name.starts_with("grad_");
        if case.op.operands().iter().any(writes_gradient) {
            assert!(checked.contains(case.op.name()), "{}, {}: not checked", case.op.name(), case.name);
        }
    }
}
