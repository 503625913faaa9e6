//! A step of an optimizer on all parameters of a network.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::average::{AVERAGE, QUAD, apart, averaged};
use super::rule::{Decay, MOST_STATES, Now, Piece, Terms};
use super::{Group, Groups, Optimizer};
use crate::device::DeviceProfile;
use crate::ops::gemm::{LateSum, SumTable, adding};
use crate::ops::kernel::{
    Binding, Constant, Implementation, KernelCall, MAX_BINDINGS, Source, WORKGROUP_SIZE, shader,
};
use crate::ops::op::{CpuForm, HostBuffer, Op, Operand, Operands, Precision};
use crate::ops::span::{Span, side_by_side};
use crate::{Error, Result};

/// How parameters are updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateOptions {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The options of each group of parameters.
    pub groups: Groups,
    /// If the norm of all gradients together is above this, they are scaled down to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f32>,
    /// Whether a moving average of each parameter and statistic is kept, by the shares in the schedule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub averages: bool,
}

impl UpdateOptions {
    /// Checks all settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of range.
    pub fn check(&self) -> Result<()> {
        self.optimizer.check()?;
        self.groups.check(self.optimizer.name())?;
        match self.clip_norm.filter(|norm| !(norm.is_finite() && *norm > 0.0)) {
            Some(norm) => Err(Error::invalid("gradient clipping", "a finite norm above 0", norm)),
            None => Ok(()),
        }
    }
}

/// One step of an optimizer on all parameters of a network at once.
///
/// With the `direction` that [`Optimizer`] computes from a gradient `g`, and with each group's factor and decay:
///
/// ```text
/// rate = rate_factor * learning_rate            times the schedule's `at_first` for parameters that are trained at first alone
/// g = clip_scale * gradient                     clip_scale is 1 without clipping and without a loss scale
/// g = g + weight_decay * parameter              where weight decay is coupled
/// parameter -= rate * weight_decay * parameter  where it is decoupled
/// parameter -= rate * direction(g)
/// average += share * (parameter - average)      with averages
/// parameter = average                           with averages, in steps whose row says so
/// ```
///
/// If `loss[step]` is not finite, nothing changes, so that training stops with its weights intact; a step past the end
/// changes nothing either.
///
/// # Shapes
/// For parameters of `E1`, `E2`, .. values: each parameter (in place), each gradient, then the first state of each
/// parameter, and the second of each (in place, zero at first), if the optimizer has them, and the average of each (in
/// place, at first the parameter's value), if averages are kept. The tensors of each of these kinds lie side by side,
/// sorted by groups, those that are trained at first alone behind the others. Then schedule `[steps,8]` of [`Now::row`],
/// step `[1]`, loss `[steps]`, and with clipping or a loss scale clip_scale `[1]`, which
/// [`GradientNorm`](super::GradientNorm) writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    options: UpdateOptions,
    tensors: Vec<Parameter>,
    steps: usize,
    // Whether gradients have a scale, though they are not clipped.
    is_scaled: bool,
}

/// One tensor of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Whether it is trained in the first epochs alone.
    pub at_first: bool,
    /// Its group, whose options it has.
    pub group: Group,
    /// Number of its values.
    pub elements: usize,
}

impl Parameter {
    /// What parameters are sorted by.
    fn key(&self) -> (bool, Group) {
        (self.at_first, self.group)
    }
}

/// A parameter that is always trained.
impl From<(Group, usize)> for Parameter {
    fn from((group, elements): (Group, usize)) -> Self {
        Parameter { at_first: false, group, elements }
    }
}

/// The number of the first state's binding; those before it are the same for all optimizers.
const FIRST_STATE: u32 = 5;

/// Number of values that a core updates at a time.
const CHUNK: usize = 4096;

impl Update {
    /// Checks the options for these parameters, in a run of at most `steps` steps.
    ///
    /// # Errors
    /// As [`UpdateOptions::check`].
    ///
    /// # Panics
    /// If there are no parameters, or they are not sorted by groups.
    pub fn new(
        options: UpdateOptions,
        parameters: impl IntoIterator<Item = impl Into<Parameter>>,
        steps: usize,
    ) -> Result<Self> {
        options.check()?;
        let tensors: Vec<Parameter> = parameters.into_iter().map(Into::into).collect();
        assert!(!tensors.is_empty(), "an update without parameters");
        assert!(tensors.is_sorted_by_key(Parameter::key), "{tensors:?} are not sorted by groups");
        Ok(Update { options, tensors, steps, is_scaled: false })
    }

    /// The same update of gradients that a loss scale has multiplied: with the operand `clip_scale` even if they are not
    /// clipped.
    pub fn with_scaled_gradients(self) -> Self {
        Update { is_scaled: true, ..self }
    }

    fn optimizer(&self) -> &Optimizer {
        &self.options.optimizer
    }

    fn clips(&self) -> bool {
        self.is_scaled || self.options.clip_norm.is_some()
    }

    /// Number of operands per parameter before its average: the parameter, its gradient and its states.
    fn kinds_before_average(&self) -> usize {
        2 + self.optimizer().states().len()
    }

    /// Number of operands per parameter.
    fn kinds(&self) -> usize {
        self.kinds_before_average() + usize::from(self.options.averages)
    }

    /// The operands, sorted by kind.
    fn sorted<'a, T>(&'a self, operands: &'a mut Operands<T>) -> Sorted<'a, T> {
        let (tensors, others) = operands.as_mut_slice().split_at_mut(self.kinds() * self.tensors.len());
        let mut kinds = tensors.chunks_exact_mut(self.tensors.len());
        let mut kind = || kinds.next().unwrap_or_default();
        let tensors = Tensors {
            tensors: &self.tensors,
            parameters: kind(),
            gradients: kind(),
            states: std::array::from_fn(|state| {
                if state < self.optimizer().states().len() { kind() } else { Default::default() }
            }),
            averages: kind(),
        };
        Sorted { tensors, others }
    }

    /// Three overrides, one for each group.
    fn of_groups(
        names: [&'static str; 3],
        values: [f32; 3],
    ) -> impl Iterator<Item = (&'static str, Constant)> {
        names.into_iter().zip(values.map(Constant::from))
    }

    /// The launches that update the parameters of one span: one, unless it would bind too many buffers. With a table, the first
    /// also adds the slices of gradients: it binds as scratch buffers 0 and 1 the slices and the table.
    fn calls(&self, span: &Span, sums: Option<(&SumTable, &DeviceProfile)>) -> Vec<KernelCall> {
        let all = self.tensors.len();
        let first_of = |at_first: bool, group: Group| {
            let tensors = &self.tensors[span.tensors.clone()];
            let number = tensors.iter().position(|tensor| tensor.key() >= (at_first, group));
            number.map_or(span.elements, |number| span.offsets[number]) / QUAD
        };
        let groups = self.options.groups.all();
        let quads = span.elements / QUAD;
        let (workgroups, count) = match sums {
            None => (quads.div_ceil(WORKGROUP_SIZE as usize), ("QUADS", quads.into())),
            Some((table, _)) => (table.workgroups(), ("WORKGROUPS", table.workgroups().into())),
        };
        let mut constants: Vec<(&'static str, Constant)> = vec![
            count,
            ("FIRST_BIAS", first_of(false, Group::Bias).into()),
            ("FIRST_NORM", first_of(false, Group::Norm).into()),
            ("FIRST_AT_FIRST", first_of(true, Group::Weight).into()),
            ("FIRST_BIAS_AT_FIRST", first_of(true, Group::Bias).into()),
            ("FIRST_NORM_AT_FIRST", first_of(true, Group::Norm).into()),
            ("STEPS", self.steps.into()),
            ("IS_COUPLED", (self.optimizer().decay() == Decay::Coupled).into()),
        ];
        let names = ["WEIGHT_RATE_FACTOR", "BIAS_RATE_FACTOR", "NORM_RATE_FACTOR"];
        constants.extend(Self::of_groups(names, groups.map(|group| group.rate_factor)));
        let names = ["WEIGHT_DECAY", "BIAS_DECAY", "NORM_DECAY"];
        constants.extend(Self::of_groups(names, groups.map(|group| group.weight_decay)));
        constants.extend(self.optimizer().constants());

        let of_kind = |kind: usize| Binding::Span {
            first: kind * all + span.tensors.start,
            last: kind * all + span.tensors.end - 1,
        };
        let single = |number: usize| Binding::Operand(self.kinds() * all + number);
        let mut bindings = vec![of_kind(0), of_kind(1), single(0), single(1), single(2)];
        let average = self.kinds_before_average();
        bindings.extend((2..average).map(of_kind));
        debug_assert_eq!(bindings.len(), FIRST_STATE as usize + self.optimizer().states().len());

        let mut source = self.optimizer().source();
        let mut add = |more: Source| source.files.extend(more.files);
        add(shader!("optimizer/update.wgsl", "float_bits.wgsl"));
        if self.clips() {
            add(shader!("optimizer/gradient_clipped.wgsl"));
            source.sizes.push(("CLIP_SCALE_BINDING", bindings.len() as u32));
            bindings.push(single(3));
        } else {
            add(shader!("optimizer/gradient_as_it_is.wgsl"));
        }
        match sums {
            None => add(shader!("optimizer/update_at_once.wgsl", "grid.wgsl")),
            Some((_, device)) => {
                source = adding(source, device);
                source.files.extend(shader!("optimizer/update_of_slices.wgsl").files);
                source.sizes.push(("SLICES_BINDING", bindings.len() as u32));
                source.sizes.push(("TABLE_BINDING", bindings.len() as u32 + 1));
                bindings.extend([Binding::Workspace(0), Binding::Workspace(1)]);
            }
        }
        let is_averaged_here = self.options.averages && bindings.len() < MAX_BINDINGS;
        if is_averaged_here {
            source.files.extend(shader!("optimizer/average.wgsl").files);
            source.sizes.push(("AVERAGE_BINDING", bindings.len() as u32));
            bindings.push(of_kind(average));
        } else {
            source.files.extend(shader!("optimizer/no_average.wgsl").files);
        }
        let mut calls = vec![KernelCall::new(source, constants, bindings, workgroups)];
        if self.options.averages && !is_averaged_here {
            let bindings = [of_kind(0), single(0), single(1), single(2), of_kind(average)];
            calls.push(apart(quads, self.steps, bindings));
        }
        calls
    }
}

/// The schedule's row of a step, of the operands schedule, step and loss; `None` if the step must change nothing.
pub(super) fn now<T: Copy>(others: &[HostBuffer<T>], is_finite: impl Fn(T) -> bool) -> Option<Now<T>> {
    let (schedule, step, loss) = (others[0].reals(), others[1].indices()[0] as usize, others[2].reals());
    (step < loss.len() && is_finite(loss[step])).then(|| Now::of(schedule, step))
}

/// The operands of an update, sorted by kind.
struct Sorted<'a, T> {
    tensors: Tensors<'a, T>,
    /// schedule, step, loss, and with clipping clip_scale.
    others: &'a [HostBuffer<T>],
}

impl<T: Copy> Sorted<'_, T> {
    fn clip_scale(&self) -> Option<T> {
        self.others.get(3).map(|scale| scale.reals()[0])
    }
}

/// A part of the parameters, with their gradients and the states that the optimizer has.
struct Tensors<'a, T> {
    tensors: &'a [Parameter],
    parameters: &'a mut [HostBuffer<T>],
    gradients: &'a [HostBuffer<T>],
    states: [&'a mut [HostBuffer<T>]; MOST_STATES],
    averages: &'a mut [HostBuffer<T>],
}

impl<'a> Tensors<'a, f32> {
    /// Calls `work` with all tensors in pieces, on all cores.
    fn in_pieces(self, terms: &(impl Fn(Parameter) -> Terms + Sync), work: &(impl Fn(Piece<'_>) + Sync)) {
        let elements: usize = self.tensors.iter().map(|tensor| tensor.elements).sum();
        match self.tensors {
            [] => {}
            &[parameter] => {
                fn reals(buffers: &mut [HostBuffer<f32>]) -> &mut [f32] {
                    buffers.first_mut().map_or(&mut [], HostBuffer::reals_mut)
                }
                let Tensors { parameters, gradients, states, averages, .. } = self;
                in_chunks(
                    Piece {
                        parameter: reals(parameters),
                        gradient: gradients[0].reals(),
                        states: states.map(reals),
                        average: reals(averages),
                        terms: terms(parameter),
                    },
                    work,
                );
            }
            tensors => {
                let [left, right] = self.split_at(tensors.len() / 2);
                // For a few small tensors, splitting the work would cost more than the work.
                if elements <= CHUNK {
                    left.in_pieces(terms, work);
                    right.in_pieces(terms, work);
                } else {
                    rayon::join(|| left.in_pieces(terms, work), || right.in_pieces(terms, work));
                }
            }
        }
    }

    fn split_at(self, middle: usize) -> [Self; 2] {
        let Tensors { tensors, parameters, gradients, states: [first, second], averages } = self;
        let halves = |kept: &'a mut [HostBuffer<f32>]| {
            let middle = middle.min(kept.len());
            kept.split_at_mut(middle)
        };
        let (tensors, parameters) = (tensors.split_at(middle), parameters.split_at_mut(middle));
        let gradients = gradients.split_at(middle);
        let (first, second, averages) = (halves(first), halves(second), halves(averages));
        [
            Tensors {
                tensors: tensors.0,
                parameters: parameters.0,
                gradients: gradients.0,
                states: [first.0, second.0],
                averages: averages.0,
            },
            Tensors {
                tensors: tensors.1,
                parameters: parameters.1,
                gradients: gradients.1,
                states: [first.1, second.1],
                averages: averages.1,
            },
        ]
    }
}

/// Calls `work` with a piece in chunks, on all cores.
fn in_chunks(piece: Piece<'_>, work: &(impl Fn(Piece<'_>) + Sync)) {
    let chunks = piece.parameter.len().div_ceil(CHUNK);
    if chunks <= 1 {
        return work(piece);
    }
    let [left, right] = piece.split_at(chunks / 2 * CHUNK);
    rayon::join(|| in_chunks(left, work), || in_chunks(right, work));
}

impl Op for Update {
    /// The optimizer's name.
    fn name(&self) -> &'static str {
        self.optimizer().name()
    }

    fn operands(&self) -> Vec<Operand> {
        fn one_each<'a>(
            tensors: &'a [Parameter],
            operand: impl Fn([usize; 1]) -> Operand + 'a,
        ) -> impl Iterator<Item = Operand> + 'a {
            tensors.iter().map(move |tensor| operand([tensor.elements]))
        }
        let optimizer = self.optimizer();
        let mut operands: Vec<Operand> = Vec::new();
        operands.extend(one_each(&self.tensors, |shape| Operand::update("parameter", shape)));
        operands.extend(one_each(&self.tensors, |shape| Operand::read("gradient", shape)));
        for &state in optimizer.states() {
            let has_sign = !optimizer.states_without_sign().contains(&state);
            operands.extend(one_each(&self.tensors, move |shape| {
                let operand = Operand::update(state, shape);
                if has_sign { operand } else { operand.without_sign() }
            }));
        }
        if self.options.averages {
            operands.extend(one_each(&self.tensors, |shape| Operand::update(AVERAGE, shape)));
        }
        operands.extend([
            Operand::read("schedule", [self.steps, Now::<f32>::SIZE]).without_sign(),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::read("loss", [self.steps]),
        ]);
        operands.extend(self.clips().then(|| Operand::read("clip_scale", [1])));
        operands
    }

    fn side_by_side(&self) -> Vec<Range<usize>> {
        let all = self.tensors.len();
        (0..self.kinds()).map(|kind| kind * all..(kind + 1) * all).collect()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let sorted = self.sorted(operands);
        let Some(now) = now(sorted.others, f64::is_finite) else { return };
        let clip_scale = sorted.clip_scale();
        let optimizer = self.optimizer();
        let Tensors { tensors, parameters, gradients, mut states, averages } = sorted.tensors;
        for (number, tensor) in tensors.iter().enumerate() {
            let options = self.options.groups.of(tensor.group);
            let at_first = if tensor.at_first { now.at_first } else { 1.0 };
            let rate = f64::from(options.rate_factor) * now.learning_rate * at_first;
            let weight_decay = f64::from(options.weight_decay);
            for (i, parameter) in parameters[number].reals_mut().iter_mut().enumerate() {
                let mut g = gradients[number].reals()[i];
                if let Some(scale) = clip_scale {
                    g *= scale;
                }
                match optimizer.decay() {
                    Decay::Coupled => g += weight_decay * *parameter,
                    Decay::Decoupled => *parameter -= rate * weight_decay * *parameter,
                }
                let mut before = [0.0; MOST_STATES];
                let kept = optimizer.states().len();
                for (state, of_tensors) in before.iter_mut().zip(&states[..kept]) {
                    *state = of_tensors[number].reals()[i];
                }
                *parameter -= rate * optimizer.define(&now, g, &mut before[..kept]);
                for (state, of_tensors) in before.iter().zip(&mut states[..kept]) {
                    of_tensors[number].reals_mut()[i] = *state;
                }
                if self.options.averages {
                    let average = &mut averages[number].reals_mut()[i];
                    [*average, *parameter] = averaged(&now, *average, *parameter);
                }
            }
        }
    }

    /// One pass over all tensors.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let sorted = self.sorted(operands);
            let Some(now) = now(sorted.others, f32::is_finite) else { return };
            let scale = sorted.clip_scale().unwrap_or(1.0);
            let decay = self.optimizer().decay();
            let terms = |tensor: Parameter| {
                let options = self.options.groups.of(tensor.group);
                let at_first = if tensor.at_first { now.at_first } else { 1.0 };
                let rate = now.learning_rate * at_first * options.rate_factor;
                match decay {
                    Decay::Coupled => Terms { scale, pull: options.weight_decay, keep: 1.0, rate },
                    Decay::Decoupled => {
                        Terms { scale, pull: 0.0, keep: 1.0 - rate * options.weight_decay, rate }
                    }
                }
            };
            let optimizer = self.optimizer();
            sorted.tensors.in_pieces(&terms, &|piece| {
                let Piece { parameter, gradient, states, average, terms } = piece;
                let step = Piece { parameter: &mut *parameter, gradient, states, average: &mut [], terms };
                optimizer.run_on_cpu(&now, step);
                for (average, parameter) in average.iter_mut().zip(parameter) {
                    [*average, *parameter] = averaged(&now, *average, *parameter);
                }
            });
        })
    }

    /// One launch per span that the device can bind.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let sizes: Vec<usize> = self.tensors.iter().map(|tensor| tensor.elements).collect();
        let spans = side_by_side(&sizes, device.largest_buffer());
        let calls = spans.iter().flat_map(|span| self.calls(span, None)).collect();
        vec![Implementation::of_calls("side_by_side", calls, Vec::new())]
    }

    /// Unless parameters lie in several spans, gradients are clipped, or there would be too many bindings.
    fn adding_slices(&self, sums: &[LateSum], device: &DeviceProfile) -> Option<(Implementation, SumTable)> {
        let all = self.tensors.len();
        let sizes: Vec<usize> = self.tensors.iter().map(|tensor| tensor.elements).collect();
        let spans = side_by_side(&sizes, device.largest_buffer());
        let [span] = &spans[..] else { return None };
        let is_whole = |late: &LateSum| {
            let is_gradient = (all..2 * all).contains(&late.operand);
            is_gradient && SumTable::results_of_a_workgroup(&late.sum, device).is_multiple_of(QUAD)
        };
        if self.clips() || !sums.iter().all(is_whole) {
            return None;
        }
        let mut table = SumTable::default();
        for (number, (&elements, &first)) in sizes.iter().zip(&span.offsets).enumerate() {
            match sums.iter().find(|late| late.operand == all + number) {
                Some(late) => table.push(&late.sum, late.first_slice, first, device),
                None => table.push_complete(elements, first, QUAD, device),
            }
        }
        let [call] = <[KernelCall; 1]>::try_from(self.calls(span, Some((&table, device)))).ok()?;
        let fits = call.bindings.len() <= MAX_BINDINGS;
        fits.then(|| (Implementation::of("side_by_side_of_slices", call), table))
    }

    /// A fused multiply-add for the decay and one for the step, a difference and a fused multiply-add for the average, in
    /// addition to the optimizer's own.
    fn flops(&self) -> u64 {
        let elements: usize = self.tensors.iter().map(|tensor| tensor.elements).sum();
        let average = if self.options.averages { 3 } else { 0 };
        (4 + u64::from(self.clips()) + self.optimizer().flops() + average) * elements as u64
    }

    /// Exact if factors and decays are multiples of 1/16, whose products with small integers have few digits.
    fn precision(&self) -> Precision {
        let groups = self.options.groups.all();
        let is_short = |value: f32| (value * 16.0).fract() == 0.0;
        let mut factors = groups.iter().flat_map(|group| [group.rate_factor, group.weight_decay]);
        let exact_on_integers = self.optimizer().is_exact_on_integers() && factors.all(is_short);
        let largest = groups.iter().fold(1.0, |largest: f32, group| largest.max(group.rate_factor));
        let term_error = f64::from(largest) * self.optimizer().error();
        Precision { summed: 4, exact_on_integers, term_error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::optimizer::{Adam, AdamW, GroupOptions, Sgd};

    fn options(optimizer: Optimizer, weight_decay: f32) -> UpdateOptions {
        UpdateOptions {
            optimizer,
            groups: Groups::with_weight_decay(weight_decay),
            ..UpdateOptions::default()
        }
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let good = options(Optimizer::default(), 0.25);
        assert!(good.check().is_ok());
        for wrong in [-0.1, f32::INFINITY, f32::NAN] {
            assert!(options(Optimizer::default(), wrong).check().is_err(), "{wrong}");
            let bias = GroupOptions { rate_factor: wrong, weight_decay: 0.0 };
            let groups = Groups { bias, ..Groups::default() };
            assert!(UpdateOptions { groups, ..good }.check().is_err(), "{wrong}");
        }
        for clip_norm in [0.0, -1.0, f32::INFINITY, f32::NAN].map(Some) {
            assert!(UpdateOptions { clip_norm, ..good }.check().is_err(), "{clip_norm:?}");
        }
    }

    #[test]
    fn options_are_tables() {
        let text = "clip_norm = 2.0\noptimizer = { name = 'adamw' }\n[groups.bias]\nrate_factor = 2.0";
        let bias = GroupOptions { rate_factor: 2.0, weight_decay: 0.0 };
        let expected = UpdateOptions {
            optimizer: Optimizer::AdamW(AdamW::default()),
            groups: Groups { bias, ..Groups::default() },
            clip_norm: Some(2.0),
            averages: false,
        };
        assert_eq!(toml::from_str::<UpdateOptions>(text).unwrap(), expected);
        assert_eq!(toml::from_str::<UpdateOptions>("").unwrap(), UpdateOptions::default());
        assert!(toml::from_str::<UpdateOptions>("[groups.filters]\nrate_factor = 2.0").is_err());
    }

    /// Each group has its own factor and decay; parameters that are trained at first alone keep their values later.
    #[test]
    fn groups_differ() {
        let group = |rate_factor, weight_decay| GroupOptions { rate_factor, weight_decay };
        let groups = Groups { weight: group(1.0, 0.5), bias: group(2.0, 0.0), norm: group(0.0, 0.5) };
        let options = UpdateOptions { groups, ..UpdateOptions::default() };
        let at_first = Parameter { at_first: true, group: Group::Bias, elements: 1 };
        let always = [(Group::Weight, 1), (Group::Bias, 2), (Group::Norm, 1)].map(Parameter::from);
        let op = Update::new(options, always.into_iter().chain([at_first]), 2).unwrap();
        let real = |values: &[f32]| HostBuffer::real(values.to_vec());
        let row = Optimizer::default().now(1, 0.5, None);
        let mut operands = Operands::new(vec![
            real(&[2.0]),
            real(&[2.0, -2.0]),
            real(&[2.0]),
            real(&[2.0]),
            real(&[3.0]),
            real(&[3.0, 1.0]),
            real(&[3.0]),
            real(&[3.0]),
            real(&[row, Now { at_first: 0.0, ..row }].map(Now::row).concat()),
            HostBuffer::index(vec![0]),
            real(&[0.0, 0.0]),
        ]);
        op.cpu_forms()[0].run(&mut operands);
        // 2 - 0.5 * (3 + 0.5 * 2), 2 - 2 * 0.5 * 3, -2 - 2 * 0.5 * 1, and no step at all; at first, 2 - 2 * 0.5 * 3.
        let values = |operands: &mut Operands<f32>| -> Vec<f32> {
            operands.as_mut_slice()[..4].iter().flat_map(|buffer| buffer.reals().to_vec()).collect()
        };
        assert_eq!(values(&mut operands), [0.0, -1.0, -3.0, 2.0, -1.0]);
        operands.as_mut_slice()[9] = HostBuffer::index(vec![1]);
        op.cpu_forms()[0].run(&mut operands);
        // 0 - 0.5 * 3, -1 - 2 * 0.5 * 3, -3 - 2 * 0.5 * 1, no step, and no step any more.
        assert_eq!(values(&mut operands), [-1.5, -4.0, -4.0, 2.0, -1.0]);
    }

    /// Coupled decay goes through the moments, and then has about the size of a gradient; decoupled decay does not.
    #[test]
    fn decay_is_coupled_or_decoupled() {
        let adam = Adam { betas: [0.0, 0.0], epsilon: 1e-8 };
        for (optimizer, expected) in [
            (Optimizer::Sgd(Sgd::default()), 2.0 - 0.5 * 0.25 * 2.0),
            (Optimizer::Adam(adam), 2.0 - 0.5),
            (Optimizer::AdamW(AdamW(adam)), 2.0 - 0.5 * 0.25 * 2.0),
        ] {
            let op = Update::new(options(optimizer, 0.25), [(Group::Weight, 1)], 1).unwrap();
            let zeros = (0..1 + optimizer.states().len()).map(|_| HostBuffer::real(vec![0.0f32]));
            let row = optimizer.now(1, 0.5, None).row().to_vec();
            let others = [HostBuffer::real(row), HostBuffer::index(vec![0]), HostBuffer::real(vec![1.0])];
            let parameter = HostBuffer::real(vec![2.0]);
            let mut operands = Operands::new([parameter].into_iter().chain(zeros).chain(others).collect());
            op.cpu_forms()[0].run(&mut operands);
            let found = operands.into_buffers()[0].reals()[0];
            assert!((found - expected).abs() < 1e-6, "{}: expected {expected}, found {found}", op.name());
        }
    }

    /// Parameters that a device cannot bind at once are updated in several launches, each with its part of the groups.
    #[test]
    fn large_networks_take_several_launches() {
        let parameters = [(Group::Weight, 100), (Group::Weight, 60), (Group::Bias, 1), (Group::Bias, 300)];
        let op = Update::new(UpdateOptions::default(), parameters, 1).unwrap();
        let device = DeviceProfile { max_binding_bytes: 4 * 256, ..DeviceProfile::portable() };
        let [implementation] = <[_; 1]>::try_from(op.implementations(&device)).unwrap();
        let seen: Vec<(Binding, Vec<Constant>)> = implementation
            .calls
            .iter()
            .map(|call| (call.bindings[1], call.constants[..3].iter().map(|&(_, value)| value).collect()))
            .collect();
        let constants = |values: [u32; 3]| values.map(Constant::U32).to_vec();
        assert_eq!(
            seen,
            [
                (Binding::Span { first: 4, last: 6 }, constants([64, 48, 64])),
                (Binding::Span { first: 7, last: 7 }, constants([80, 0, 80])),
            ]
        );
    }
}
