//! The learning-rate range test: at which rate does the loss fall fastest?
//!
//! A network is trained for a hundred steps or so while the rate grows exponentially, from one that is too small to
//! change anything to one that is too large. This is the arithmetic: the rates, and what the losses say.

use crate::{Error, Result};

/// Share of the smoothed loss that is kept from step to step.
///
/// With 0.9 the average looks back 9 steps on average, a tenth of the usual hundred, and leaves a quarter of the noise of
/// single batches. The customary 0.98 looks back 49 steps: half the test. With 0.8 the noise, 1.5 times as strong, moves
/// the steepest point by a decade and more on flat curves.
const KEPT: f64 = 0.9;

/// The loss has diverged where its smoothed value exceeds the lowest one so far by this factor.
const DIVERGENCE: f64 = 4.0;

/// The lowest smoothed loss must lie so many standard deviations of single losses below the first ones: of losses that
/// only scatter, two in a thousand sets do.
const LEAST_FALL: f64 = 2.5;

/// And below this share of them, where they hardly scatter at all.
const LEAST_SHARE: f64 = 0.99;

/// One step of a range test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeStep {
    /// The learning rate: positive, and larger than that of the step before.
    pub rate: f64,
    /// The loss of the step's batch, before the step.
    pub loss: f64,
}

/// What the losses of a range test say.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeTest {
    /// The smoothed loss of each step up to the end: the steps behind it are those that do not count, because the loss has
    /// diverged.
    pub smoothed: Vec<f64>,
    /// The rate to train with.
    pub suggestion: Suggestion,
}

/// The rate that a range test suggests, or why it suggests none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Suggestion {
    /// This rate, that of step number `step`, counted from 0.
    Rate {
        /// The rate.
        rate: f64,
        /// Its step.
        step: usize,
    },
    /// There are too few steps, or the loss diverged within the first tenth of them: the rates start too high.
    TooShort,
    /// The loss did not fall by more than it scatters: the rates end too low, or the network does not learn.
    NeverFell,
}

/// Learning rates of `steps` steps that grow exponentially from `first` to `last`.
///
/// # Errors
/// [`Error::Invalid`] for fewer than two steps, and for rates that are not positive and finite or do not grow.
pub fn range_rates(first: f64, last: f64, steps: usize) -> Result<Vec<f64>> {
    const OPERATION: &str = "range test";
    if !(first > 0.0 && last > first && last.is_finite()) {
        let found = format!("{first:e} to {last:e}");
        return Err(Error::invalid(OPERATION, "positive rates, the last above the first", found));
    }
    if steps < 2 {
        return Err(Error::invalid(OPERATION, "two steps or more", steps));
    }
    let rate = |step: usize| match step {
        0 => first,
        _ if step == steps - 1 => last,
        _ => first * (last / first).powf(step as f64 / (steps - 1) as f64),
    };
    Ok((0..steps).map(rate).collect())
}

impl RangeTest {
    /// Reads the losses of a range test.
    ///
    /// 1. Losses are smoothed exponentially, `average = 0.9 * average + 0.1 * loss` from 0, corrected for that start:
    ///    `smoothed[i] = average / (1 - 0.9^(i+1))`.
    /// 2. The test ends before the first step whose loss is not finite, or whose smoothed loss exceeds 4 times the lowest
    ///    one so far. A test that has been given more steps than it has [`smoothed`](RangeTest::smoothed) losses is over.
    /// 3. The first tenth of the steps, five at least, shows how the loss scatters while the rate is too small to matter.
    ///    Where the lowest smoothed loss is not 2.5 standard deviations and a hundredth below the mean there, nothing is
    ///    suggested.
    /// 4. Of the steps behind those and before the lowest smoothed loss, the one where the smoothed loss falls steepest
    ///    over the logarithm of the rate, as a difference between the steps on either side, gives the rate.
    ///
    /// An average lags behind. Over 100 steps and seven decades the steepest fall shows about a third of a decade late;
    /// the rate with the lowest loss, at the brink of divergence, is a decade further on as a rule.
    ///
    /// # Errors
    /// [`Error::Invalid`] for rates that are not positive and finite or do not grow from step to step.
    ///
    /// # Source
    /// L. Smith, "Cyclical learning rates for training neural networks", 2017; the end and the steepest descent as in
    /// fastai's `lr_find`.
    pub fn of(steps: &[RangeStep]) -> Result<Self> {
        let mut before = 0.0;
        for &RangeStep { rate, .. } in steps {
            if !(rate > before && rate.is_finite()) {
                let expected = format!("a finite rate above {before:e}");
                return Err(Error::invalid("range test", expected, format!("{rate:e}")));
            }
            before = rate;
        }
        let smoothed = smoothed(steps);
        let suggestion = suggestion(steps, &smoothed);
        Ok(RangeTest { smoothed, suggestion })
    }
}

/// The smoothed losses up to the end.
fn smoothed(steps: &[RangeStep]) -> Vec<f64> {
    let (mut average, mut weight, mut lowest) = (0.0, 0.0, f64::INFINITY);
    let values = steps.iter().map_while(|step| {
        average = KEPT * average + (1.0 - KEPT) * step.loss;
        weight = KEPT * weight + (1.0 - KEPT);
        let value = average / weight;
        lowest = value.min(lowest);
        (step.loss.is_finite() && value <= DIVERGENCE * lowest).then_some(value)
    });
    values.collect()
}

fn suggestion(steps: &[RangeStep], smoothed: &[f64]) -> Suggestion {
    let first = (steps.len() / 10).max(5);
    if smoothed.len() <= first + 1 {
        return Suggestion::TooShort;
    }
    let mean = steps[..first].iter().map(|step| step.loss).sum::<f64>() / first as f64;
    let squares: f64 = steps[..first].iter().map(|step| (step.loss - mean).powi(2)).sum();
    let deviation = (squares / (first - 1) as f64).sqrt();
    let lowest = (0..smoothed.len()).min_by(|&a, &b| smoothed[a].total_cmp(&smoothed[b])).expect("a step");
    if smoothed[lowest] >= (mean - LEAST_FALL * deviation).min(LEAST_SHARE * mean) {
        return Suggestion::NeverFell;
    }
    let slope = |step: usize| {
        (smoothed[step + 1] - smoothed[step - 1]) / (steps[step + 1].rate / steps[step - 1].rate).ln()
    };
    match (first..lowest).min_by(|&a, &b| slope(a).total_cmp(&slope(b))) {
        Some(step) => Suggestion::Rate { rate: steps[step].rate, step },
        // It fell among the first steps alone.
        None => Suggestion::NeverFell,
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Losses of a hundred steps over seven decades.
    fn steps(loss: impl FnMut(f64) -> f64) -> Vec<RangeStep> {
        let rates = range_rates(1e-6, 10.0, 100).unwrap();
        let losses: Vec<f64> = rates.iter().copied().map(loss).collect();
        rates.into_iter().zip(losses).map(|(rate, loss)| RangeStep { rate, loss }).collect()
    }

    /// Falls from 2.3 to 0.5, steepest at 1e-2, and explodes at 0.3.
    fn typical(rate: f64) -> f64 {
        let decades = rate.log10();
        2.3 - 1.8 / (1.0 + (-(decades + 2.0) / 0.35).exp()) + 0.5 * (6.0 * (decades + 0.5)).exp()
    }

    /// Standard deviations from the mean, near enough to a normal distribution.
    fn noise(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0
    }

    #[track_caller]
    fn suggested(steps: &[RangeStep]) -> f64 {
        match RangeTest::of(steps).unwrap().suggestion {
            Suggestion::Rate { rate, step } => {
                assert_eq!(rate, steps[step].rate);
                rate
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rates_grow_by_equal_factors_to_the_last() {
        let rates = range_rates(1e-4, 1.0, 5).unwrap();
        assert_eq!([rates[0], rates[4]], [1e-4, 1.0]);
        assert!(rates.windows(2).all(|pair| (pair[1] / pair[0] - 10.0).abs() < 1e-9), "{rates:?}");
        for (first, last, steps) in [
            (0.0, 1.0, 9),
            (-1.0, 1.0, 9),
            (1.0, 1.0, 9),
            (1e-3, f64::INFINITY, 9),
            (f64::NAN, 1.0, 9),
            (1e-3, 1.0, 1),
        ] {
            assert!(range_rates(first, last, steps).is_err(), "{first} to {last}, {steps}");
        }
    }

    #[test]
    fn losses_are_smoothed_from_the_first_on() {
        let mut losses = [3.0, 1.0, 2.0].into_iter();
        let given: Vec<RangeStep> =
            [1.0, 2.0, 4.0].map(|rate| RangeStep { rate, loss: losses.next().unwrap() }).into();
        let found = RangeTest::of(&given).unwrap();
        assert_eq!(found.suggestion, Suggestion::TooShort);
        let expected = [3.0, 0.37 / 0.19, 0.533 / 0.271];
        assert!(found.smoothed.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert!(RangeTest::of(&[]).unwrap().smoothed.is_empty());
    }

    #[test]
    fn the_steepest_descent_is_found_through_noise() {
        let exact = suggested(&steps(typical));
        assert!((1e-2..5e-2).contains(&exact), "{exact}");
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let noisy = steps(|rate| typical(rate) + 0.15 * noise(&mut rng));
            let found = RangeTest::of(&noisy).unwrap();
            assert!(found.smoothed.len() > 70 && found.smoothed.len() < 95, "{}", found.smoothed.len());
            let rate = suggested(&noisy);
            assert!((3e-3..1e-1).contains(&rate), "seed {seed}: {rate}");
        }
    }

    #[test]
    fn what_comes_behind_the_end_changes_nothing() {
        let all = steps(typical);
        let found = RangeTest::of(&all).unwrap();
        let end = found.smoothed.len();
        assert!(end < all.len());
        let lowest = found.smoothed.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(found.smoothed.iter().all(|&value| value <= 4.0 * 2.3) && found.smoothed[end - 1] > lowest);
        for bad in [f64::NAN, f64::INFINITY, 1e9] {
            let mut worse = all.clone();
            worse[end..].iter_mut().for_each(|step| step.loss = bad);
            assert_eq!(RangeTest::of(&worse).unwrap(), found);
        }
        // Where the loss ends as NaN before it has grown, the descent is still there.
        let mut cut = all.clone();
        cut[70..].iter_mut().for_each(|step| step.loss = f64::NAN);
        let cut_short = RangeTest::of(&cut).unwrap();
        assert_eq!((cut_short.smoothed.len(), cut_short.suggestion), (70, found.suggestion));
    }

    #[test]
    fn a_descent_that_never_ends_has_its_steepest_point_too() {
        let falling = steps(|rate| 2.3 - 1.8 / (1.0 + (-(rate.log10() + 1.0) / 0.35).exp()));
        let found = RangeTest::of(&falling).unwrap();
        assert_eq!(found.smoothed.len(), falling.len());
        assert!((0.1..0.5).contains(&suggested(&falling)));
    }

    #[test]
    fn divergence_at_once_suggests_nothing() {
        let diverging = [
            steps(|rate| 2.3 * (rate * 1e6).powi(3)),
            steps(|rate| if rate > 2e-6 { f64::NAN } else { 2.3 }),
            steps(|_| f64::NAN),
        ];
        for steps in diverging {
            let found = RangeTest::of(&steps).unwrap();
            assert_eq!(found.suggestion, Suggestion::TooShort);
            assert!(found.smoothed.len() < 10 && found.smoothed.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_loss_that_never_falls_suggests_nothing() {
        assert_eq!(RangeTest::of(&steps(|_| 2.3)).unwrap().suggestion, Suggestion::NeverFell);
        let rising = steps(|rate| 2.3 + rate);
        assert_eq!(RangeTest::of(&rising).unwrap().suggestion, Suggestion::NeverFell);
        let deceived = (0..200).filter(|&seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let found = RangeTest::of(&steps(|_| 2.3 + 0.3 * noise(&mut rng))).unwrap();
            found.suggestion != Suggestion::NeverFell
        });
        assert!(deceived.count() <= 2);
    }

    #[test]
    fn rates_that_do_not_grow_are_refused() {
        for rates in [[0.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, f64::NAN], [1.0, f64::INFINITY]]
        {
            let given = rates.map(|rate| RangeStep { rate, loss: 1.0 });
            let error = RangeTest::of(&given).unwrap_err().to_string();
            assert!(error.starts_with("range test: expected a finite rate above "), "{error}");
        }
    }
}
