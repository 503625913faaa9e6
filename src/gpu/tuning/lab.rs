//! Comparing implementations on a device, in separate buffers.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::schedule::{Lab, Subject, Trouble};
use crate::gpu::clock::Clock;
use crate::gpu::context::Context;
use crate::gpu::pipeline::Pipelines;
use crate::gpu::slice::Slice;
use crate::gpu::submission::{Dispatch, longest_time};
use crate::gpu::transfer::{Download, to_device};
use crate::ops::halves::{rounding_of, to_half};
use crate::ops::kernel::{Binding, Implementation};
use crate::ops::{Access, Element, HostBuffer, Operand};
use crate::plan::Pending;
use crate::verify::Mismatch;

/// The largest number of random numbers before they repeat: twice a prime, so that they do not align with a tensor's rows,
/// and that blocks of halves are whole words.
const MOST_RANDOM: usize = 2 * 2_097_143;

/// Number of random numbers from one seed.
const CHUNK: usize = 1 << 16;

/// The largest number of elements that are read back at a time.
const MOST_READ: usize = 8 << 20;

/// The device, as the tuner uses it.
pub struct DeviceLab<'a> {
    context: &'a Context,
    pipelines: &'a mut Pipelines,
    clock: &'a mut Clock,
    start: Instant,
    /// Number of elements of a block of numbers.
    block_elements: usize,
    /// Random numbers for the operand of each position, on the device and on the host.
    random: HashMap<Drawn, (wgpu::Buffer, Vec<f32>)>,
    /// A block of NaN of each type, so that missing elements show.
    poison: HashMap<Element, wgpu::Buffer>,
    bench: Bench,
}

/// What random numbers depend on: an operand's position and type, whether it has a sign, and the bound of indices.
type Drawn = (usize, Element, bool, u32);

fn drawn(position: usize, operand: &Operand) -> Drawn {
    (position, operand.element, operand.without_sign, operand.below)
}

/// The buffers and launches of one subject.
#[derive(Default)]
struct Bench {
    operands: Vec<wgpu::Buffer>,
    dispatches: HashMap<usize, Vec<Dispatch>>,
    /// The implementation that is the reference, and its answer: the content of the operands that are written, in order.
    reference: usize,
    expected: Vec<Vec<f32>>,
}

/// Where two answers differ in a winner: an operand, an index in it, and the reference's winner and the other.
struct Choice {
    operand: usize,
    index: usize,
    chosen: [f32; 2],
}

impl<'a> DeviceLab<'a> {
    pub fn new(
        context: &'a Context,
        pipelines: &'a mut Pipelines,
        clock: &'a mut Clock,
        subjects: &[Subject],
    ) -> Self {
        let start = Instant::now();
        let operands = subjects.iter().flat_map(|subject| subject.op.operands());
        let largest = operands.map(|operand| operand.shape.elements()).max().unwrap_or(0);
        let block_elements = largest.clamp(1, MOST_RANDOM);
        DeviceLab {
            context,
            pipelines,
            clock,
            start,
            block_elements,
            random: HashMap::new(),
            poison: HashMap::new(),
            bench: Bench::default(),
        }
    }

    /// Runs `make`, and returns the device's error if it runs out of memory or a binding is invalid.
    fn guarded<T>(&mut self, make: impl FnOnce(&mut Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let memory = self.context.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make(self);
        let wrong = pollster::block_on(validation.pop());
        let exhausted = pollster::block_on(memory.pop());
        match (wrong, exhausted) {
            // Buffers that could not be created make bindings invalid, too.
            (_, Some(_)) => Err(Trouble::Memory),
            (Some(error), None) => Err(self.context.failed("comparing implementations", error).into()),
            (None, None) => made,
        }
    }

    fn create_buffer(&self, element: Element, elements: usize) -> Result<wgpu::Buffer, Trouble> {
        if element.bytes(elements) > self.context.max_buffer_bytes() {
            return Err(Trouble::Memory);
        }
        Ok(self.context.create_buffer("tuning", element, elements))
    }

    /// A buffer of these values.
    fn block(&self, element: Element, values: &HostBuffer<f32>) -> Result<wgpu::Buffer, Trouble> {
        let block = self.create_buffer(element, values.len())?;
        let slice = Slice::first(block.clone(), block.size());
        to_device(&self.context.queue, &slice, element, values);
        Ok(block)
    }

    /// Fills the operand of this position: with random numbers if it is read, otherwise with NaN.
    fn fill(&mut self, position: usize, operand: &Operand) -> Result<(), Trouble> {
        let (drawn, element) = (drawn(position, operand), operand.element);
        if operand.access.reads() && !self.random.contains_key(&drawn) {
            let mut values = random(position, self.block_elements);
            if operand.without_sign {
                values.iter_mut().for_each(|value| *value = value.abs());
            }
            if element == Element::Half {
                values.iter_mut().for_each(|value| *value = to_half(*value));
            }
            let block = if element == Element::Index {
                let indices = to_indices(&mut values, operand.below);
                self.block(element, &HostBuffer::index(indices))?
            } else {
                self.block(element, &HostBuffer::real(values.clone()))?
            };
            self.random.insert(drawn, (block, values));
        }
        if !operand.access.reads() && !self.poison.contains_key(&element) {
            let poison = match element {
                Element::Index => HostBuffer::index(vec![u32::MAX; self.block_elements]),
                _ => HostBuffer::real(vec![f32::NAN; self.block_elements]),
            };
            self.poison.insert(element, self.block(element, &poison)?);
        }
        let block = match operand.access {
            Access::Write => &self.poison[&element],
            Access::Read | Access::ReadWrite => &self.random[&drawn].0,
        };
        let mut encoder = self.context.device.create_command_encoder(&Default::default());
        let elements = operand.shape.elements();
        for first in (0..elements).step_by(self.block_elements) {
            let bytes = element.bytes(self.block_elements.min(elements - first));
            let offset = element.bytes(first);
            encoder.copy_buffer_to_buffer(block, 0, &self.bench.operands[position], offset, bytes);
        }
        self.context.queue.submit([encoder.finish()]);
        Ok(())
    }

    /// Restores the operands that are written to their content before the first run.
    fn restore(&mut self, subject: &Subject) -> Result<(), Trouble> {
        self.guarded(|lab| {
            let operands = subject.op.operands();
            let mut written = operands.iter().enumerate().filter(|(_, operand)| operand.access.writes());
            written.try_for_each(|(position, operand)| lab.fill(position, operand))
        })
    }

    /// Binds an implementation to the operands and to its own scratch buffers.
    fn bind(&mut self, subject: &Subject, implementation: usize) -> Result<(), Trouble> {
        if self.bench.dispatches.contains_key(&implementation) {
            return Ok(());
        }
        let chosen: &Implementation = &subject.implementations[implementation];
        let dispatches = self.guarded(|lab| {
            let workspace: Result<Vec<wgpu::Buffer>, Trouble> =
                chosen.workspace.iter().map(|&elements| lab.create_buffer(Element::Real, elements)).collect();
            let (workspace, operands) = (workspace?, subject.op.operands());
            let all_of = |buffer, element: Element, elements| wgpu::BufferBinding {
                buffer,
                offset: 0,
                size: NonZeroU64::new(element.bytes(elements).max(4)),
            };
            let bound = |binding| match binding {
                Binding::Operand(number) => {
                    let Operand { element, shape, .. } = &operands[number];
                    all_of(&lab.bench.operands[number], *element, shape.elements())
                }
                Binding::Workspace(number) => {
                    all_of(&workspace[number], Element::Real, chosen.workspace[number])
                }
                Binding::Span { .. } => unreachable!("operations on spans are not compared"),
            };
            let seconds = longest_time(&lab.context.profile, subject.op);
            Ok(lab.context.dispatches(seconds, chosen, lab.pipelines, bound))
        })?;
        self.bench.dispatches.insert(implementation, dispatches);
        Ok(())
    }

    /// A value with which an operand was filled.
    fn given(&self, operands: &[Operand], operand: usize, index: usize) -> f64 {
        let (_, values) = &self.random[&drawn(operand, &operands[operand])];
        f64::from(values[index % self.block_elements])
    }

    /// The first of these choices that differs from the reference's by more than right answers may.
    fn worst_choice(
        &self,
        subject: &Subject,
        choices: &[Choice],
        bound: impl Fn(usize) -> f64 + Sync,
    ) -> Option<Mismatch> {
        let (op, operands) = (subject.op, subject.op.operands());
        let read = |operand: usize, index: usize| self.given(&operands, operand, index);
        choices.par_iter().find_map_first(|&Choice { operand, index, chosen: [expected, found] }| {
            let [a, b] = [expected, found].map(|winner| op.chosen(&read, operand, index, winner as u32));
            let bound = bound(operand);
            let is_right = a.zip(b).is_some_and(|(a, b)| (a - b).abs() <= bound);
            (!is_right).then(|| Mismatch {
                op: op.name(),
                operand: operands[operand].name,
                index,
                expected: expected.into(),
                found: found.into(),
                bound,
            })
        })
    }

    /// Compares a sample of the reference's answer with the operation's definition.
    fn sample(&self, subject: &Subject, implementation: usize) -> Result<(), Mismatch> {
        let op = subject.op;
        let operands = op.operands();
        let written = (0..).zip(&operands).filter(|(_, operand)| operand.access.writes());
        let answers = written.zip(&self.bench.expected);
        let answers: Vec<(usize, &Vec<f32>)> = answers
            .filter(|((_, operand), _)| operand.element.is_real())
            .map(|((number, _), answer)| (number, answer))
            .collect();
        let read = |operand: usize, index: usize| {
            if operands[operand].access == Access::Write {
                let answer = answers.iter().find(|&&(number, _)| number == operand);
                return f64::from(answer.expect("an answer to each operand").1[index]);
            }
            self.given(&operands, operand, index)
        };
        let amplification = subject.implementations[implementation].amplification;
        let elements = answers.iter().map(|(_, found)| found.len()).sum();
        let wrong = sample(elements, op.flops()).into_par_iter().find_map_first(|number| {
            let (mut index, mut answers) = (number, answers.iter());
            let (operand, found) = answers.find(|(_, found)| {
                let is_inside = index < found.len();
                index -= if is_inside { 0 } else { found.len() };
                is_inside
            })?;
            let (expected, found) = (op.define_at(&read, number)?, f64::from(found[index]));
            let bound = op.precision_of(*operand).bound() * amplification
                + rounding_of(&operands[*operand], expected);
            let is_right = (expected - found).abs() <= bound;
            (!is_right).then_some(Mismatch {
                op: op.name(),
                operand: operands[*operand].name,
                index,
                expected,
                found,
                bound,
            })
        });
        wrong.map_or(Ok(()), Err)
    }

    /// Runs an implementation on fresh operands, and passes the values that it wrote to `take`: the operand, its number
    /// among those that are written, the first element, and the values from there on.
    fn answer(
        &mut self,
        subject: &Subject,
        implementation: usize,
        mut take: impl FnMut(&Operand, usize, usize, &[f32]) -> Result<(), Trouble>,
    ) -> Result<Duration, Trouble> {
        self.restore(subject)?;
        let time = self.run(subject, implementation, 1)?;
        let operands = subject.op.operands();
        let written =
            operands.iter().zip(&self.bench.operands).filter(|(operand, _)| operand.access.writes());
        for (number, (operand, buffer)) in written.enumerate() {
            let elements = operand.shape.elements();
            for first in (0..elements).step_by(MOST_READ) {
                let (offset, count) = (operand.element.bytes(first), MOST_READ.min(elements - first));
                let part = Download::start_at(self.context, buffer, offset, operand.element, count);
                let part = Box::new(part).wait()?;
                match part.element() {
                    Element::Index => take(operand, number, first, &as_reals(part.indices()))?,
                    _ => take(operand, number, first, part.reals())?,
                }
            }
        }
        Ok(time)
    }
}

impl Lab for DeviceLab<'_> {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn compile(&mut self, subjects: &[Subject]) -> Vec<Vec<Result<(), String>>> {
        let all: Vec<&Implementation> =
            subjects.iter().flat_map(|subject| &subject.implementations).collect();
        let mut compiled = self.pipelines.compile(&self.context.device, &all).into_iter();
        let lengths = subjects.iter().map(|subject| subject.implementations.len());
        lengths.map(|length| compiled.by_ref().take(length).collect()).collect()
    }

    fn open(&mut self, subject: &Subject) -> Result<(), Trouble> {
        self.guarded(|lab| {
            let operands = subject.op.operands();
            for operand in &operands {
                let buffer = lab.create_buffer(operand.element, operand.shape.elements())?;
                lab.bench.operands.push(buffer);
            }
            operands.iter().enumerate().try_for_each(|(position, operand)| lab.fill(position, operand))
        })
    }

    fn run(&mut self, subject: &Subject, implementation: usize, times: usize) -> Result<Duration, Trouble> {
        self.bind(subject, implementation)?;
        Ok(self.clock.measure(self.context, &self.bench.dispatches[&implementation], times)?)
    }

    fn ask_reference(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<(), Mismatch>), Trouble> {
        let mut expected: Vec<Vec<f32>> = Vec::new();
        let time = self.answer(subject, implementation, |operand, number, first, values| {
            if first == 0 {
                let mut room = Vec::new();
                room.try_reserve_exact(operand.shape.elements()).map_err(|_| Trouble::Memory)?;
                expected.push(room);
            }
            if !values.par_iter().all(|value| value.is_finite()) {
                return Err(Trouble::NotFinite);
            }
            expected[number].extend_from_slice(values);
            Ok(())
        })?;
        self.bench.expected = expected;
        self.bench.reference = implementation;
        Ok((time, self.sample(subject, implementation)))
    }

    fn check(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<f64, Mismatch>), Trouble> {
        // Two right answers may each differ from the definition's by their bounds.
        let amplification = [self.bench.reference, implementation]
            .map(|number| subject.implementations[number].amplification);
        let amplification = amplification.iter().sum::<f64>();
        let expected = std::mem::take(&mut self.bench.expected);
        let (mut largest, mut mismatch, mut choices) = (0.0f64, None, Vec::new());
        let operands = subject.op.operands();
        let written: Vec<usize> =
            (0..operands.len()).filter(|&number| operands[number].access.writes()).collect();
        let bounds: Vec<f64> =
            written.iter().map(|&number| subject.op.precision_of(number).bound()).collect();
        let answered = self.answer(subject, implementation, |operand, number, first, found| {
            let expected = &expected[number][first..][..found.len()];
            if operand.element == Element::Index {
                let pairs = (first..).zip(expected.iter().zip(found)).filter(|(_, (a, b))| a != b);
                choices.extend(pairs.map(|(index, (&expected, &found))| Choice {
                    operand: written[number],
                    index,
                    chosen: [expected, found],
                }));
                return Ok(());
            }
            largest = largest.max(largest_difference(expected, found));
            // Both were rounded.
            let bound =
                |expected: f32| amplification * bounds[number] + 2.0 * rounding_of(operand, expected.into());
            let is_wrong = |(&a, &b): (&f32, &f32)| difference(a, b) > bound(a);
            if mismatch.is_none()
                && let Some(index) = expected.iter().zip(found).position(is_wrong)
            {
                mismatch = Some(Mismatch {
                    op: subject.op.name(),
                    operand: operand.name,
                    index: first + index,
                    expected: expected[index].into(),
                    found: found[index].into(),
                    bound: bound(expected[index]),
                });
            }
            Ok(())
        });
        self.bench.expected = expected;
        let time = answered?;
        let bound = |operand| amplification * subject.op.precision_of(operand).bound();
        let mismatch = mismatch.or_else(|| self.worst_choice(subject, &choices, bound));
        Ok((time, mismatch.map_or(Ok(largest), Err)))
    }

    fn close(&mut self) {
        self.bench = Bench::default();
        // The device frees buffers when it is polled; if that fails, the next call reports it.
        let _ = self.context.device.poll(wgpu::PollType::Poll);
    }
}

/// Indices among the values of an answer: winners, which are small numbers.
fn as_reals(indices: &[u32]) -> Vec<f32> {
    indices.iter().map(|&index| index as f32).collect()
}

/// The difference of two numbers; infinite if either is NaN.
fn difference(a: f32, b: f32) -> f64 {
    let difference = (f64::from(a) - f64::from(b)).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

fn largest_difference(expected: &[f32], found: &[f32]) -> f64 {
    expected.par_iter().zip(found).map(|(&a, &b)| difference(a, b)).reduce(|| 0.0, f64::max)
}

/// Positions of a few dozen of `elements`, including the first and the last; fewer if the definitions, which take
/// `flops` for all elements, would take long.
fn sample(elements: usize, flops: u64) -> Vec<usize> {
    const MOST: u64 = 48;
    const FEWEST: u64 = 4;
    const FLOPS: u64 = 8 << 20;
    let each = flops / elements.max(1) as u64;
    let wanted = (FLOPS / each.max(1)).clamp(FEWEST, MOST) as usize;
    let count = wanted.min(elements);
    // Multiples of the golden ratio are evenly distributed, but not on a regular grid of rows and channels.
    let scattered = |number: usize| {
        let fraction = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(fraction) * elements as u128) >> 64) as usize
    };
    (0..count).map(|number| if number + 1 == count { elements - 1 } else { scattered(number) }).collect()
}

/// Numbers from -1 to 1, which depend only on the position and the length, not on the number of threads.
fn random(position: usize, elements: usize) -> Vec<f32> {
    let mut values = vec![0.0; elements];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
        let mut rng = ChaCha8Rng::seed_from_u64(((position as u64) << 32) + chunk as u64);
        values.iter_mut().for_each(|value| *value = rng.random_range(-1.0f32..=1.0));
    });
    values
}

/// Makes indices below a bound of numbers from -1 to 1, which become the same as reals.
fn to_indices(values: &mut [f32], below: u32) -> Vec<u32> {
    let index = |value: f32| (((value + 1.0) / 2.0 * below as f32) as u32).min(below.saturating_sub(1));
    let indices: Vec<u32> = values.iter().map(|&value| index(value)).collect();
    values.copy_from_slice(&as_reals(&indices));
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_below_their_bound_and_all_occur() {
        let mut values = random(0, 1000);
        values.extend([-1.0, 1.0]);
        let indices = to_indices(&mut values, 4);
        assert!((0..4).all(|index| indices.iter().filter(|&&found| found == index).count() > 200));
        assert!(indices.iter().all(|&index| index < 4));
        assert!(values.iter().zip(&indices).all(|(&value, &index)| value == index as f32));
    }

    #[test]
    fn what_is_not_a_number_differs_from_everything() {
        assert_eq!(difference(1.0, 1.5), 0.5);
        assert_eq!(difference(1.0, f32::NAN), f64::INFINITY);
        assert_eq!(largest_difference(&[1.0, 2.0, 3.0], &[1.0, 1.0, 2.5]), 1.0);
        assert_eq!(largest_difference(&[1.0, 2.0], &[f32::NAN, 2.0]), f64::INFINITY);
        assert_eq!(largest_difference(&[1.0, 2.0], &[1.0, f32::INFINITY]), f64::INFINITY);
    }

    #[test]
    fn a_sample_holds_dozens_of_elements_and_fewer_of_long_sums() {
        assert_eq!(sample(1, 100), [0]);
        assert_eq!(sample(3, 6).len(), 3);
        let many = sample(1_000_000, 2_000_000);
        assert!(many.len() == 48 && many[0] == 0 && many[47] == 999_999, "{many:?}");
        let halves = many.iter().filter(|&&index| index < 500_000).count();
        assert!((20..28).contains(&halves), "{halves} in the first half");
        assert_eq!(sample(100, 100 << 30).len(), 4);
    }

    #[test]
    fn random_numbers_differ_from_operand_to_operand_and_never_from_start_to_start() {
        let first = random(0, 3 * CHUNK + 5);
        assert_eq!(first, random(0, 3 * CHUNK + 5));
        assert_ne!(first[..100], random(1, 100)[..]);
        assert_ne!(first[..100], first[CHUNK..CHUNK + 100]);
        assert!(first.iter().all(|value| value.abs() <= 1.0));
        let mean = first.iter().sum::<f32>() / first.len() as f32;
        assert!(mean.abs() < 0.01, "{mean}");
    }
}
