//! Checks that the fast forms of operations give the answers of their definitions.

pub mod cases;
mod exhaustive;
mod matrix_units;
mod random;
mod self_test;
mod verdict;

pub use exhaustive::Exhaustive;
pub use matrix_units::matrix_units_compute_right;
pub use random::random_cases;
pub use self_test::{SelfTest, self_test};
pub use verdict::{Status, Verdict, verify};

use std::fmt;
use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::ops::halves::{rounding_of, to_half};
use crate::ops::{Element, HostBuffer, Op, Operand, Operands};
use crate::plan::{BufferId, Executor, Plan, Workbench};
use crate::{Result, host_memory};

/// The kind of values with which a trial fills the operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// Integers from -2 to 2: sums below 2^24 are exact in f32, so that every order of summation gives the same answer,
    /// and any difference is a bug.
    Integers,
    /// Reals from -1 to 1: the answer may differ by [`Precision::bound`](crate::ops::Precision::bound), or a multiple of it
    /// where the implementation says so.
    Reals,
}

impl Data {
    /// Both kinds.
    pub const ALL: [Data; 2] = [Data::Integers, Data::Reals];
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Data::Integers => "integers",
            Data::Reals => "reals",
        })
    }
}

/// One operation with data for its operands, and the answer of its definition.
#[derive(Debug)]
pub struct Trial {
    plan: Arc<Plan>,
    operands: Vec<Operand>,
    given: Vec<HostBuffer<f64>>,
    expected: Vec<HostBuffer<f64>>,
    /// The largest difference of a right answer, for each operand.
    bounds: Vec<f64>,
    /// The same for values that an operand chooses, whose own bound is 0.
    chosen_bounds: Vec<f64>,
}

/// A difference from the definition that a correct answer cannot have.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The operation.
    pub op: &'static str,
    /// The operand.
    pub operand: &'static str,
    /// Position in it.
    pub index: usize,
    /// The definition's value.
    pub expected: f64,
    /// The value found.
    pub found: f64,
    /// The largest difference that passes.
    pub bound: f64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.difference())
    }
}

impl Mismatch {
    /// The difference without the operation, for messages that have named it already.
    pub fn difference(&self) -> String {
        let Mismatch { operand, index, expected, found, bound, .. } = self;
        format!("{operand}[{index}]: expected {expected} within {bound:e}, found {found}")
    }
}

impl Trial {
    /// Checks that a trial of `op` fits the host's memory: the definition works in f64 on copies of its own.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if it does not.
    pub fn check(op: &dyn Op) -> Result<()> {
        let elements = op.operands().into_iter().map(|operand| operand.shape.elements() as u64);
        let (sum, largest) =
            elements.fold((0, 0), |(sum, largest), elements| (sum + elements, elements.max(largest)));
        // Every operand exists as it was given and as the definition leaves it, in the executor, possibly in f64 too,
        // and as read back in f32; in addition, one operand at a time, there are the copies that are compared.
        let bytes = (8 + 8 + 8 + 4) * sum + 3 * 8 * largest;
        host_memory::check(&format!("the definition of {}", op.name()), bytes, "a smaller batch")
    }

    /// Fills the operands of `op` from `seed` and runs its definition. `None` if `data` are integers and the operation
    /// is not exact on them.
    pub fn new(op: Box<dyn Op>, data: Data, seed: u64) -> Option<Trial> {
        if data == Data::Integers && !op.precision().exact_on_integers {
            return None;
        }
        let operands = op.operands();
        let bound = |(number, operand): (usize, &Operand)| match data {
            Data::Reals if operand.element.is_real() && operand.access.writes() => {
                op.precision_of(number).bound()
            }
            _ => 0.0,
        };
        let bounds = operands.iter().enumerate().map(bound).collect();
        let chosen_bound = |number| match data {
            Data::Reals => op.precision_of(number).bound(),
            Data::Integers => 0.0,
        };
        let chosen_bounds = (0..operands.len()).map(chosen_bound).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let given: Vec<_> = operands.iter().map(|operand| fill(operand, data, &mut rng)).collect();
        let mut answer = Operands::new(given.clone());
        op.define(&mut answer);
        let expected = answer.into_buffers();
        Some(Trial { plan: Arc::new(Plan::of_op(op)), operands, given, expected, bounds, chosen_bounds })
    }

    /// The plan that consists of this operation.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs the operation on `executor` and compares its answer.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device failed. A wrong answer is not an error but the inner
    /// `Err`.
    pub fn run(&self, executor: &mut dyn Executor) -> Result<std::result::Result<f64, Mismatch>> {
        Ok(self.compare(&self.answer_of(executor)?))
    }

    /// Runs the operation in one of its implementations and compares the answer, whose errors may be as large as that
    /// implementation says. The executor's plans are dropped.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn run_as(
        &self,
        executor: &mut dyn Workbench,
        implementation: &str,
    ) -> Result<std::result::Result<f64, Mismatch>> {
        let amplification = self.amplification_of(executor, implementation);
        Ok(self.compare_within(&self.answer_as(executor, implementation)?, amplification))
    }

    /// What the operands hold after a run in one of the implementations.
    fn answer_as(&self, executor: &mut dyn Workbench, implementation: &str) -> Result<Vec<HostBuffer<f32>>> {
        executor.clear();
        executor.prefer(implementation);
        self.answer_of(executor)
    }

    /// The largest difference of a right answer of this implementation, in its least accurate operand.
    fn bound_of(&self, executor: &dyn Workbench, implementation: &str) -> f64 {
        let largest = self.bounds.iter().copied().fold(0.0, f64::max);
        largest * self.amplification_of(executor, implementation)
    }

    fn amplification_of(&self, executor: &dyn Workbench, implementation: &str) -> f64 {
        executor.amplification(self.plan.forward[0].op.as_ref(), implementation)
    }

    /// What the operands hold after a run.
    fn answer_of(&self, executor: &mut dyn Executor) -> Result<Vec<HostBuffer<f32>>> {
        let prepared = executor.prepare(self.plan.clone())?;
        let buffers: Vec<BufferId> = self.plan.forward[0].operands.clone();
        for (&buffer, given) in buffers.iter().zip(&self.given) {
            executor.write(prepared, buffer, &given.map_reals(|&value| value as f32))?;
        }
        executor.run(prepared, 1)?;
        buffers.iter().map(|&buffer| executor.read(prepared, buffer)).collect()
    }

    /// The largest difference between `found` and the definition's answer.
    ///
    /// Values that are not finite never pass, and operands that are only read must be unchanged.
    ///
    /// # Errors
    /// The first difference above the bound.
    pub fn compare(&self, found: &[HostBuffer<f32>]) -> std::result::Result<f64, Mismatch> {
        self.compare_within(found, 1.0)
    }

    /// As [`Trial::compare`], with so many times the bounds.
    fn compare_within(&self, found: &[HostBuffer<f32>], times: f64) -> std::result::Result<f64, Mismatch> {
        let mut largest: f64 = 0.0;
        let operands = self.operands.iter().zip(&self.bounds).enumerate();
        for (((number, (operand, bound)), expected), found) in operands.zip(&self.expected).zip(found) {
            let values = |buffer: &HostBuffer<f64>| -> Vec<f64> {
                match buffer.element() {
                    Element::Real | Element::Half => buffer.reals().to_vec(),
                    Element::Index => buffer.indices().iter().map(|&value| value.into()).collect(),
                    Element::Byte => buffer.bytes().iter().map(|&value| value.into()).collect(),
                }
            };
            let found = values(&found.map_reals(|&value| value.into()));
            for (index, (expected, found)) in values(expected).into_iter().zip(found).enumerate() {
                let difference = (expected - found).abs();
                let bound = times * bound + rounding_of(operand, expected);
                // Written so that a NaN on either side fails.
                if !(difference <= bound && found.is_finite()) {
                    if self.chooses_as_well(number, index, [expected, found], times) {
                        continue;
                    }
                    let (op, operand) = (self.plan.forward[0].op.name(), operand.name);
                    return Err(Mismatch { op, operand, index, expected, found, bound });
                }
                largest = largest.max(difference);
            }
        }
        Ok(largest)
    }

    /// Whether an operand of indices chooses, where it has not the index that was expected, a value that a right answer cannot
    /// tell from that which was to be chosen.
    fn chooses_as_well(&self, operand: usize, position: usize, indices: [f64; 2], times: f64) -> bool {
        let is_choice = self.operands[operand].element == Element::Index;
        let op = self.plan.forward[0].op.as_ref();
        let read = |operand: usize, position: usize| self.given[operand].reals()[position];
        let chosen = |index: f64| op.chosen(&read, operand, position, index as u32);
        let [Some(expected), Some(found)] = (if is_choice { indices.map(chosen) } else { [None; 2] }) else {
            return false;
        };
        // Each of the two may differ that much from its definition.
        let bound = 2.0 * times * self.chosen_bounds[operand];
        bound > 0.0 && (expected - found).abs() <= bound
    }

    /// How many of the reals that the definition writes differ from zero, and how many it writes.
    pub fn nonzero(&self) -> (usize, usize) {
        let written = self.operands.iter().zip(&self.expected);
        let reals: Vec<f64> = written
            .filter(|(operand, _)| operand.element.is_real() && operand.access.writes())
            .flat_map(|(_, expected)| expected.reals().iter().copied())
            .collect();
        (reals.iter().filter(|&&value| value != 0.0).count(), reals.len())
    }

    /// The operands before the run.
    pub fn given(&self) -> &[HostBuffer<f64>] {
        &self.given
    }

    /// The operands after the definition has run.
    pub fn answer(&self) -> &[HostBuffer<f64>] {
        &self.expected
    }

    /// The definition's answer, rounded to f32, for negative controls to falsify.
    pub fn expected(&self) -> Vec<HostBuffer<f32>> {
        self.expected.iter().map(|buffer| buffer.map_reals(|&value| value as f32)).collect()
    }
}

/// Values for an operand. An operand that is only written starts as NaN, so that a missing element shows.
fn fill(operand: &Operand, data: Data, rng: &mut ChaCha8Rng) -> HostBuffer<f64> {
    let elements = operand.shape.elements();
    match (operand.element, operand.access.reads()) {
        (Element::Real | Element::Half, false) => HostBuffer::real(vec![f64::NAN; elements]),
        (Element::Real | Element::Half, true) => HostBuffer::real(
            (0..elements)
                .map(|_| match data {
                    Data::Integers => f64::from(rng.random_range(-2i32..=2)),
                    Data::Reals => rng.random_range(-1.0f32..=1.0).into(),
                })
                .map(|value: f64| match operand.element {
                    Element::Half => to_half(value as f32).into(),
                    _ => value,
                })
                .map(|value| if operand.without_sign { value.abs() } else { value })
                .collect(),
        ),
        (Element::Index, false) => HostBuffer::index(vec![u32::MAX; elements]),
        (Element::Index, true) => {
            HostBuffer::index((0..elements).map(|_| rng.random_range(0..operand.below.max(1))).collect())
        }
        (Element::Byte, _) => HostBuffer::byte((0..elements).map(|_| rng.random()).collect()),
    }
}
