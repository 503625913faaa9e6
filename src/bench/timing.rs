//! Medians of repeated runs.

use std::time::{Duration, Instant};

use super::rotation::Rotation;
use crate::Result;
use crate::ops::Op;
use crate::plan::Workbench;

/// The fewest samples whose quartiles are worth printing.
const FEWEST_SAMPLES: usize = 5;

/// Most runs that are sent to the device at once.
const MOST_RUNS: usize = 1000;

/// Time of one run in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The fastest sample.
    pub least: f64,
    /// Half of the samples are below it.
    pub median: f64,
    /// The quartiles: a quarter of the samples lie below the first, and a quarter above the second.
    pub quartiles: [f64; 2],
}

impl Timing {
    /// The median and the quartiles of some samples.
    ///
    /// # Panics
    /// When there are no samples.
    pub fn of(mut samples: Vec<f64>) -> Timing {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let position = part * (samples.len() - 1) as f64;
            let (below, above) = (samples[position.floor() as usize], samples[position.ceil() as usize]);
            below + (above - below) * position.fract()
        };
        Timing { least: at(0.0), median: at(0.5), quartiles: [at(0.25), at(0.75)] }
    }

    /// The time of one run, if each sample measured several.
    fn divided_by(self, runs: usize) -> Timing {
        let one = |milliseconds: f64| milliseconds / runs as f64;
        Timing { least: one(self.least), median: one(self.median), quartiles: self.quartiles.map(one) }
    }
}

/// Times an operation on random inputs, of which runs read `copies` in turn: a warm-up, then samples until there are
/// enough and `budget` is spent. A sample is the mean of many runs with one wait at their end.
pub fn time_op(
    executor: &mut dyn Workbench,
    op: &dyn Fn() -> Box<dyn Op>,
    copies: usize,
    budget: Duration,
) -> Result<Timing> {
    let mut rotation = Rotation::prepare(executor, op, copies, sample_length(budget))?;
    let timing = time(budget, |times| rotation.time(executor, times));
    executor.clear();
    Ok(timing?.divided_by(rotation.runs_each()))
}

/// A sample lasts at least this long, so that the clock and the wait for the device hardly matter; less if the budget
/// is small.
fn sample_length(budget: Duration) -> Duration {
    Duration::from_millis(20).min(budget / FEWEST_SAMPLES as u32)
}

/// Times `run`, which is given a number of runs to do, and returns their duration when they are done.
///
/// The budget is measured by the host's clock, whichever clock `run` uses.
pub fn time(budget: Duration, mut run: impl FnMut(usize) -> Result<Duration>) -> Result<Timing> {
    run(1)?;
    let once = run(1)?.max(Duration::from_nanos(1));
    let times = ((sample_length(budget).as_secs_f64() / once.as_secs_f64()) as usize).clamp(1, MOST_RUNS);
    let (mut samples, start) = (Vec::new(), Instant::now());
    while samples.len() < FEWEST_SAMPLES || start.elapsed() < budget {
        samples.push(run(times)?.as_secs_f64() * 1e3 / times as f64);
    }
    Ok(Timing::of(samples))
}

/// The geometric mean; `None` for no values.
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
        let timing = time(budget, |times| {
            runs += times;
            Ok(Duration::from_micros(3 * times as u64))
        });
        assert_eq!(timing.unwrap().quartiles, [0.003; 2]);
        assert!(runs > 100 && start.elapsed() >= budget);
    }

    #[test]
    fn the_geometric_mean_of_a_factor_and_its_inverse_is_one() {
        assert!((geometric_mean([4.0, 0.25]).unwrap() - 1.0).abs() < 1e-15);
        assert_eq!(geometric_mean([]), None);
    }
}
