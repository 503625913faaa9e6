//! Medians of repeated runs by the host's clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::Result;
use crate::ops::{Element, HostBuffer, Op};
use crate::plan::{Executor, Plan};

/// Fewer samples than this have no quartiles worth printing.
const FEWEST_SAMPLES: usize = 5;

/// Runs that are sent to the device at once, at most.
const MOST_RUNS: usize = 1000;

/// A sample lasts at least this long where the budget allows, so that the clock and one wait for the device
/// weigh nothing.
const LONG_ENOUGH: Duration = Duration::from_millis(20);

/// Time of one run in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The fastest sample.
    pub least: f64,
    /// Half of the samples are below it.
    pub median: f64,
    /// A quarter of the samples lie below the first, a quarter above the second.
    pub quartiles: [f64; 2],
}

impl Timing {
    /// The median and the quartiles of some samples.
    ///
    /// # Panics
    /// When there are none.
    pub fn of(mut samples: Vec<f64>) -> Timing {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let position = part * (samples.len() - 1) as f64;
            let (below, above) = (samples[position.floor() as usize], samples[position.ceil() as usize]);
            below + (above - below) * position.fract()
        };
        Timing { least: at(0.0), median: at(0.5), quartiles: [at(0.25), at(0.75)] }
    }
}

/// Times `op` on random inputs: warm-up, then samples until there are enough and `budget` is spent. A sample is
/// the mean of many runs with one wait at their end.
pub fn time_op(executor: &mut dyn Executor, op: Box<dyn Op>, budget: Duration) -> Result<Timing> {
    let operands = op.operands();
    let plan = Arc::new(Plan::of_op(op));
    // Buffers are shared by name, and the last operation's have other sizes.
    executor.clear();
    let prepared = executor.prepare(plan.clone())?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (operand, &buffer) in operands.iter().zip(&plan.forward[0].operands) {
        if operand.access.reads() && operand.element == Element::Real {
            let values = (0..operand.shape.elements()).map(|_| rng.random_range(-1.0f32..=1.0)).collect();
            executor.write(prepared, buffer, &HostBuffer::real(values))?;
        }
    }
    let timing = time(budget, |times| {
        executor.run(prepared, times)?;
        executor.wait()
    });
    executor.clear();
    timing
}

/// Times `run`, which is told how many runs to do and returns when they are done.
pub fn time(budget: Duration, mut run: impl FnMut(usize) -> Result<()>) -> Result<Timing> {
    run(1)?;
    let mut clocked = |times: usize| -> Result<Duration> {
        let start = Instant::now();
        run(times)?;
        Ok(start.elapsed())
    };
    let once = clocked(1)?.max(Duration::from_nanos(1));
    let sample = LONG_ENOUGH.min(budget / FEWEST_SAMPLES as u32);
    let times = ((sample.as_secs_f64() / once.as_secs_f64()) as usize).clamp(1, MOST_RUNS);
    let (mut samples, mut spent) = (Vec::new(), Duration::ZERO);
    while samples.len() < FEWEST_SAMPLES || spent < budget {
        let elapsed = clocked(times)?;
        spent += elapsed;
        samples.push(elapsed.as_secs_f64() * 1e3 / times as f64);
    }
    Ok(Timing::of(samples))
}

/// The geometric mean; none of nothing.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<f64> = values.into_iter().map(f64::ln).collect();
    (!logarithms.is_empty()).then(|| (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_samples() {
        let timing = Timing::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(timing, Timing { least: 1.0, median: 2.5, quartiles: [1.75, 3.25] });
        assert_eq!(Timing::of(vec![7.0]), Timing { least: 7.0, median: 7.0, quartiles: [7.0, 7.0] });
    }

    #[test]
    fn a_short_run_is_repeated_and_the_budget_is_spent() {
        let mut runs = 0;
        let budget = Duration::from_millis(20);
        let start = Instant::now();
        time(budget, |times| {
            runs += times;
            Ok(())
        })
        .unwrap();
        assert!(runs > 100 && start.elapsed() >= budget);
    }

    #[test]
    fn the_geometric_mean_of_a_factor_and_its_inverse_is_one() {
        assert!((geometric_mean([4.0, 0.25]).unwrap() - 1.0).abs() < 1e-15);
        assert_eq!(geometric_mean([]), None);
    }
}
