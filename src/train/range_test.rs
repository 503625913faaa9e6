//! The learning-rate range test, which finds how large a learning rate a network tolerates.

use super::trainer::Trainer;
use crate::ops::HostBuffer;
use crate::ops::optimizer::Now;
use crate::{Error, Result};

/// One step of a range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangePoint {
    /// Learning rate of the step.
    pub rate: f64,
    /// Loss of its batch, before the step.
    pub loss: f64,
    /// Smoothed average of the losses so far.
    pub smoothed: f64,
}

/// The result of a range test.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTest {
    /// The steps, up to the one at which the loss diverged.
    pub points: Vec<RangePoint>,
}

/// Weight of the old average in each step. A hundred steps span five powers of ten, so that ten steps are half a power
/// of ten, which is about the accuracy of a suggestion.
const KEPT: f64 = 0.9;

/// The loss has diverged if it exceeds its minimum by this factor.
const RUNAWAY: f64 = 4.0;

impl RangeTest {
    /// The result for these rates and losses of steps. Losses are smoothed by a bias-corrected exponential average,
    /// `average = 0.9 * average + 0.1 * loss`, `smoothed = average / (1 - 0.9^t)`; the result ends before a loss that
    /// is not finite, and at the step where the smoothed loss exceeds 4 times its minimum.
    ///
    /// # Source
    /// Smith 2015, "Cyclical Learning Rates for Training Neural Networks"; the smoothing and the criterion for the end
    /// are from fastai.
    pub fn new(steps: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (mut average, mut share, mut least) = (0.0, 1.0, f64::INFINITY);
        let mut points = Vec::new();
        for (rate, loss) in steps {
            if !loss.is_finite() {
                break;
            }
            average = KEPT * average + (1.0 - KEPT) * loss;
            share *= KEPT;
            let smoothed = average / (1.0 - share);
            points.push(RangePoint { rate, loss, smoothed });
            least = least.min(smoothed);
            if smoothed > RUNAWAY * least {
                break;
            }
        }
        RangeTest { points }
    }

    /// A learning rate for training: the one before the minimum at which the smoothed loss falls most steeply over the
    /// logarithm of the rate, with the slope taken over five steps on both sides. `None` if the loss never falls by one
    /// per cent.
    pub fn suggestion(&self) -> Option<f64> {
        const SIDE: usize = 5;
        let points = &self.points;
        // A smaller decrease is noise or rounding.
        const LEAST_FALL: f64 = 0.01;
        let lowest = points.iter().enumerate().min_by(|(_, a), (_, b)| a.smoothed.total_cmp(&b.smoothed))?.0;
        if points[lowest].smoothed > (1.0 - LEAST_FALL) * points[0].smoothed {
            return None;
        }
        let slope = |at: usize| {
            let (before, after) = (points[at - SIDE], points[at + SIDE]);
            (after.smoothed - before.smoothed) / (after.rate / before.rate).ln()
        };
        let last = lowest.min(points.len().saturating_sub(SIDE + 1));
        let slopes = (SIDE..=last).map(|at| (at, slope(at)));
        let (at, steepest) = slopes.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        (steepest < 0.0).then(|| points[at].rate)
    }
}

/// `steps` rates from `first` to `last`, in a geometric sequence.
///
/// # Errors
/// [`Error::Invalid`] for fewer than two steps, and for rates that are not positive or do not increase.
pub fn growing_rates(first: f64, last: f64, steps: usize) -> Result<Vec<f64>> {
    if steps < 2 {
        return Err(Error::invalid("range test", "at least 2 steps", steps));
    }
    if !(first > 0.0 && first < last && (last as f32).is_finite() && first as f32 > 0.0) {
        let found = format!("{first} to {last}");
        return Err(Error::invalid("range test", "rates above 0, the last above the first", found));
    }
    let growth = (last / first).ln() / (steps - 1) as f64;
    Ok((0..steps).map(|step| first * (growth * step as f64).exp()).collect())
}

impl Trainer {
    /// Trains one step at each of these rates, until the loss diverges, and then restores the trainer's state.
    ///
    /// # Errors
    /// [`Error::Device`] if the device failed.
    pub fn range_test(&mut self, rates: &[f64]) -> Result<RangeTest> {
        /// Number of steps after which the losses are read.
        const AT_ONCE: usize = 10;
        let before = self.state()?;
        let mut losses: Vec<f32> = Vec::new();
        let in_epoch = self.steps_per_epoch();
        'steps: for (epoch, rates) in rates.chunks(in_epoch).enumerate() {
            self.write_order(epoch)?;
            let first = epoch * in_epoch;
            let optimizer = self.settings().optimizer;
            let mut schedule: Vec<f32> = (first as u64 + 1..)
                .zip(rates)
                .flat_map(|(t, &rate)| optimizer.now(t, rate, None).row())
                .collect();
            schedule.resize(Now::<f32>::SIZE * in_epoch, 0.0);
            self.write("train/schedule", HostBuffer::real(schedule))?;
            self.write("train/step", HostBuffer::index(vec![0]))?;
            let mut done = 0;
            while done < rates.len() {
                let steps = AT_ONCE.min(rates.len() - done);
                let read = self.run_steps(steps)?;
                losses.extend(&read.reals()[done..done + steps]);
                done += steps;
                if RangeTest::ran_away(&losses) {
                    break 'steps;
                }
            }
        }
        self.restore(&before)?;
        Ok(RangeTest::new(rates.iter().copied().zip(losses.into_iter().map(f64::from))))
    }
}

impl RangeTest {
    fn ran_away(losses: &[f32]) -> bool {
        RangeTest::new(losses.iter().map(|&loss| (1.0, loss.into()))).points.len() < losses.len()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A loss of 2.3 that falls around a rate of 1e-2 and diverges at 1.
    fn curve(noise: f64) -> Vec<(f64, f64)> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let loss = |rate: f64| {
            let fall = 1.0 / (1.0 + (-3.0 * (rate / 1e-2).ln()).exp());
            2.3 - 1.8 * fall + rate.powi(2) * 20.0 + noise * random.random_range(-1.0..1.0)
        };
        let rates = growing_rates(1e-5, 10.0, 100).unwrap();
        let losses: Vec<f64> = rates.iter().copied().map(loss).collect();
        rates.into_iter().zip(losses).collect()
    }

    #[test]
    fn the_suggestion_lies_where_the_loss_falls() {
        for noise in [0.0, 0.1, 0.3] {
            let test = RangeTest::new(curve(noise));
            assert!(test.points.len() < 100, "it runs away");
            let rate = test.suggestion().unwrap();
            assert!((5e-3..1e-1).contains(&rate), "noise {noise}: {rate}");
        }
    }

    #[test]
    fn a_loss_that_never_falls_gives_no_suggestion() {
        let rates = growing_rates(1e-5, 1.0, 100).unwrap();
        let flat = rates.iter().map(|&rate| (rate, 2.3));
        assert_eq!(RangeTest::new(flat).suggestion(), None);
        let rising = rates.iter().map(|&rate| (rate, 2.3 + rate));
        assert_eq!(RangeTest::new(rising).suggestion(), None);
        assert_eq!(RangeTest::new([(1e-5, 1.0), (1e-4, f64::NAN)]).points.len(), 1);
        assert_eq!(RangeTest::new([]).suggestion(), None);
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_test() {
        let steps = curve(0.0).into_iter().enumerate();
        let steps = steps.map(|(step, (rate, loss))| (rate, if step < 70 { loss } else { f64::INFINITY }));
        assert!(RangeTest::new(steps).points.len() <= 70);
    }

    #[test]
    fn rates_grow_by_one_factor() {
        let rates = growing_rates(1e-3, 1.0, 4).unwrap();
        for (rate, expected) in rates.iter().zip([1e-3, 1e-2, 1e-1, 1.0]) {
            assert!((rate / expected - 1.0).abs() < 1e-12, "{rates:?}");
        }
        for (first, last, steps) in [(0.0, 1.0, 9), (1.0, 1.0, 9), (1e-3, f64::INFINITY, 9), (1e-3, 1.0, 1)] {
            assert!(growing_rates(first, last, steps).is_err());
        }
        assert!(growing_rates(f64::NAN, 1.0, 9).is_err() && growing_rates(1e-3, f64::NAN, 9).is_err());
    }
}
