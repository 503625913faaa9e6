//! How the learning rate changes over a run.

use std::f64::consts::PI;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The learning rate of each optimizer step of a run, as a factor of the settings' learning rate.
///
/// A run of `T` steps counts them `t` = 0 .. T - 1. All schedules except the one-cycle policy may begin with a
/// warm-up, a share of the run in which the factor rises linearly from `start` (at `t` = 0) to 1 (at `t` = `warmup *
/// T`, rounded down). The factor after the warm-up is given below as a function of `p`, which runs from 0 at the end
/// of the warm-up to 1 at `t` = `T`.
///
/// ```
/// use wgconv::train::Schedule;
///
/// let schedule: Schedule = toml::from_str("name = 'linear'\nwarmup = 0.25\nstart = 0.2\nend = 0.07").unwrap();
/// assert_eq!(schedule.factor(0, 100), 0.2);
/// assert_eq!(schedule.factor(25, 100), 1.0);
/// assert!((schedule.factor(99, 100) - (1.0 - 0.93 * 74.0 / 75.0)).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The factor 1.
    Constant {
        /// Share of the run that the warm-up takes.
        #[serde(default)]
        warmup: f64,
        /// Factor at the first step of a warm-up.
        #[serde(default = "warmup_start")]
        start: f64,
    },
    /// The factor is multiplied by `factor` at each milestone: `factor^(number of milestones m with m * T <= t)`.
    Step {
        /// Share of the run that the warm-up takes.
        #[serde(default)]
        warmup: f64,
        /// Factor at the first step of a warm-up.
        #[serde(default = "warmup_start")]
        start: f64,
        /// Shares of the run after which the rate falls, in rising order.
        #[serde(default = "milestones")]
        milestones: Vec<f64>,
        /// Factor that the rate is multiplied by at each milestone.
        #[serde(default = "step_factor")]
        factor: f64,
    },
    /// `end + (1 - end) * (1 + cos(pi * p)) / 2`.
    Cosine {
        /// Share of the run that the warm-up takes.
        #[serde(default)]
        warmup: f64,
        /// Factor at the first step of a warm-up.
        #[serde(default = "warmup_start")]
        start: f64,
        /// Factor at the end.
        #[serde(default)]
        end: f64,
    },
    /// `1 + (end - 1) * p`.
    Linear {
        /// Share of the run that the warm-up takes.
        #[serde(default)]
        warmup: f64,
        /// Factor at the first step of a warm-up.
        #[serde(default = "warmup_start")]
        start: f64,
        /// Factor at the end.
        #[serde(default)]
        end: f64,
    },
    /// The one-cycle policy of Smith and Topin 2017, as `torch.optim.lr_scheduler.OneCycleLR` has it: the rate rises
    /// along half a cosine from `start` to 1, then falls along another to `end` at the last step; the momentum moves
    /// in the opposite direction.
    OneCycle {
        /// Share of the run in which the rate rises.
        #[serde(default = "one_cycle_warmup")]
        warmup: f64,
        /// Factor at the first step.
        #[serde(default = "one_cycle_start")]
        start: f64,
        /// Factor at the last step.
        #[serde(default = "one_cycle_end")]
        end: f64,
        /// Momentum, or the first beta, at the highest learning rate and at the lowest.
        #[serde(default = "one_cycle_momentum")]
        momentum: [f64; 2],
    },
}

fn warmup_start() -> f64 {
    0.1
}

fn milestones() -> Vec<f64> {
    vec![0.5, 0.75]
}

fn step_factor() -> f64 {
    0.1
}

fn one_cycle_warmup() -> f64 {
    0.3
}

fn one_cycle_start() -> f64 {
    1.0 / 25.0
}

fn one_cycle_end() -> f64 {
    one_cycle_start() / 1e4
}

fn one_cycle_momentum() -> [f64; 2] {
    [0.85, 0.95]
}

impl Default for Schedule {
    /// A constant rate without a warm-up.
    fn default() -> Self {
        Schedule::Constant { warmup: 0.0, start: warmup_start() }
    }
}

/// Parses a schedule's name; the schedule has its default settings.
impl FromStr for Schedule {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for a name that no schedule has.
    fn from_str(name: &str) -> Result<Self> {
        match Self::NAMES.contains(&name) {
            true => Ok(toml::from_str(&format!("name = \"{name}\"")).expect("every setting has a default")),
            false => {
                let expected = format!("one of {}", Self::NAMES.join(", "));
                Err(Error::invalid("schedule", expected, format!("{name:?}")))
            }
        }
    }
}

impl Schedule {
    /// The names of all schedules.
    pub const NAMES: [&str; 5] = ["constant", "step", "cosine", "linear", "one_cycle"];

    /// The same schedule with a warm-up of this share of the run.
    pub fn with_warmup(mut self, share: f64) -> Self {
        *self.warmup_mut() = share;
        self
    }

    fn warmup_mut(&mut self) -> &mut f64 {
        match self {
            Schedule::Constant { warmup, .. }
            | Schedule::Step { warmup, .. }
            | Schedule::Cosine { warmup, .. }
            | Schedule::Linear { warmup, .. }
            | Schedule::OneCycle { warmup, .. } => warmup,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first that is out of range.
    pub fn check(&self) -> Result<()> {
        let within =
            |what: &str, range: std::ops::RangeInclusive<f64>, value: f64| match range.contains(&value) {
                true => Ok(()),
                false => {
                    let expected = format!("{what} from {} to {}", range.start(), range.end());
                    Err(Error::invalid("schedule", expected, value))
                }
            };
        let warmup = *self.clone().warmup_mut();
        if !(0.0..1.0).contains(&warmup) {
            return Err(Error::invalid("schedule", "a warm-up from 0 to below 1", warmup));
        }
        let (Schedule::Constant { start, .. }
        | Schedule::Step { start, .. }
        | Schedule::Cosine { start, .. }
        | Schedule::Linear { start, .. }
        | Schedule::OneCycle { start, .. }) = *self;
        within("start", 0.0..=1.0, start)?;
        match self {
            Schedule::Constant { .. } => Ok(()),
            Schedule::Step { milestones, factor, .. } => {
                within("factor", 0.0..=1.0, *factor)?;
                milestones.iter().try_for_each(|&milestone| within("milestones", 0.0..=1.0, milestone))?;
                match milestones.is_sorted() && milestones.first().is_none_or(|&first| first >= warmup) {
                    true => Ok(()),
                    false => {
                        let expected = "milestones in rising order, none within the warm-up";
                        Err(Error::invalid("schedule", expected, format!("{milestones:?}")))
                    }
                }
            }
            Schedule::Cosine { end, .. } | Schedule::Linear { end, .. } => within("end", 0.0..=1.0, *end),
            Schedule::OneCycle { end, momentum, .. } => {
                within("end", 0.0..=1.0, *end)?;
                match momentum.iter().find(|momentum| !(0.0..1.0).contains(*momentum)) {
                    None => Ok(()),
                    Some(momentum) => Err(Error::invalid("schedule", "momentum from 0 to below 1", momentum)),
                }
            }
        }
    }

    /// Whether the rate is constant, whatever the length of the run.
    pub fn is_constant(&self) -> bool {
        matches!(self, Schedule::Constant { warmup: 0.0, .. })
    }

    /// The factor of the learning rate at step `t`, counted from 0, of a run of `steps`. After the end it stays as it
    /// is at the last step.
    pub fn factor(&self, t: u64, steps: u64) -> f64 {
        let t = t.min(steps.saturating_sub(1)) as f64;
        let length = steps as f64;
        let after_warmup = |warmup: f64, start: f64, behind: &dyn Fn(f64) -> f64| {
            let rise = (warmup * length + ROUNDING).floor();
            match t < rise {
                true => start + (1.0 - start) * t / rise,
                false => behind((t - rise) / (length - rise).max(1.0)),
            }
        };
        match *self {
            Schedule::Constant { warmup, start } => after_warmup(warmup, start, &|_| 1.0),
            Schedule::Step { warmup, start, ref milestones, factor } => after_warmup(warmup, start, &|_| {
                let behind = milestones.iter().filter(|&&milestone| t + ROUNDING >= milestone * length);
                factor.powi(behind.count() as i32)
            }),
            Schedule::Cosine { warmup, start, end } => after_warmup(warmup, start, &|p| cosine(1.0, end, p)),
            Schedule::Linear { warmup, start, end } => {
                after_warmup(warmup, start, &|p| 1.0 + (end - 1.0) * p)
            }
            Schedule::OneCycle { warmup, start, end, .. } => one_cycle(warmup, t, length, [start, 1.0, end]),
        }
    }

    /// The momentum at step `t` of a run of `steps`, if the schedule sets it.
    pub fn momentum(&self, t: u64, steps: u64) -> Option<f64> {
        let t = t.min(steps.saturating_sub(1)) as f64;
        match *self {
            Schedule::OneCycle { warmup, momentum: [least, most], .. } => {
                Some(one_cycle(warmup, t, steps as f64, [most, least, most]))
            }
            _ => None,
        }
    }
}

/// How far below a whole number the product of a share and a number of steps may lie, through rounding, and still
/// count as that number.
const ROUNDING: f64 = 1e-9;

/// Goes from `from` to `to` along half a cosine, as `p` goes from 0 to 1.
fn cosine(from: f64, to: f64, p: f64) -> f64 {
    to + (from - to) * (1.0 + libm::cos(PI * p)) / 2.0
}

/// Interpolates between the values of `OneCycleLR` at the first step, at the turn and at the last step.
fn one_cycle(warmup: f64, t: f64, steps: f64, [first, turn, last]: [f64; 3]) -> f64 {
    let end = (steps - 1.0).max(0.0);
    // If the run is so short that the rate never rises, the turn lies before the first step.
    let turn_at = (warmup * steps - 1.0).min(end);
    if t <= turn_at && turn_at > 0.0 {
        cosine(first, turn, t / turn_at)
    } else if end > turn_at {
        cosine(turn, last, (t - turn_at) / (end - turn_at))
    } else {
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Schedule {
        name.parse().unwrap()
    }

    fn assert_rates(schedule: &Schedule, rate: f64, expected: &[f64]) {
        let steps = expected.len() as u64;
        for (t, expected) in (0..).zip(expected) {
            let found = rate * schedule.factor(t, steps);
            assert!((found / expected - 1.0).abs() < 1e-12, "{schedule:?}, step {t}: {found} for {expected}");
        }
    }

    #[test]
    fn every_schedule_has_a_name_and_survives_a_file() {
        for name in Schedule::NAMES {
            let schedule = named(name);
            schedule.check().unwrap();
            let text = toml::to_string(&schedule).unwrap();
            assert!(text.starts_with(&format!("name = \"{name}\"\n")), "{text}");
            assert_eq!(toml::from_str::<Schedule>(&text).unwrap(), schedule);
            assert!(toml::from_str::<Schedule>(&(text + "more = 1")).is_err());
        }
        let error = "cosin".parse::<Schedule>().unwrap_err().to_string();
        assert_eq!(
            error,
            "schedule: expected one of constant, step, cosine, linear, one_cycle, found \"cosin\""
        );
    }

    // From torch 2.15: `lr` (and `momentum`) of SGD(lr=0.5, momentum=0.9) before each optimizer.step(); scheduler.step() with
    // CosineAnnealingLR(o, 10, eta_min=0.05), MultiStepLR(o, [5, 8]), LinearLR(o, 1.0, 0.25, 10), LinearLR(o, 0.2, 1.0, 4)
    // and OneCycleLR(o, 0.5, total_steps=12).
    #[test]
    fn the_figures_are_those_of_pytorch() {
        let cosine = [
            0.5,
            0.48898771616640957,
            0.45702882373436315,
            0.40725168176580645,
            0.34452882373436317,
            0.275,
            0.20547117626563688,
            0.1427483182341936,
            0.09297117626563686,
            0.06101228383359046,
        ];
        let step = [0.5, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005000000000000001, 0.005000000000000001];
        let linear =
            [0.5, 0.4625, 0.425, 0.38749999999999996, 0.35, 0.3125, 0.275, 0.23750000000000002, 0.2, 0.1625];
        let warm = [0.1, 0.2, 0.30000000000000004, 0.4, 0.5, 0.5, 0.5, 0.5];
        let one_cycle = [
            0.020000000000000018,
            0.17489482710979154,
            0.43964257956106434,
            0.49720771772545586,
            0.46650648492070584,
            0.4058728269748815,
            0.32368949884755166,
            0.23131855133348753,
            0.14153049910434962,
            0.0667387650944153,
            0.01728349371269761,
            2e-06,
        ];
        let momentum = [
            0.95,
            0.9177302443521267,
            0.8625744625914449,
            0.8505584586887436,
            0.856698729810778,
            0.8688255099070633,
            0.8852622412794547,
            0.9037365046793212,
            0.9216941869558779,
            0.9366525935914912,
            0.9465436874322102,
            0.95,
        ];
        assert_rates(&Schedule::Cosine { warmup: 0.0, start: 0.1, end: 0.1 }, 0.5, &cosine);
        assert_rates(
            &Schedule::Step { warmup: 0.0, start: 0.1, milestones: vec![0.5, 0.8], factor: 0.1 },
            0.5,
            &step,
        );
        assert_rates(&Schedule::Linear { warmup: 0.0, start: 0.1, end: 0.25 }, 0.5, &linear);
        assert_rates(&Schedule::Constant { warmup: 0.5, start: 0.2 }, 0.5, &warm);
        assert_rates(&named("one_cycle"), 0.5, &one_cycle);
        for (t, expected) in (0..).zip(momentum) {
            let found = named("one_cycle").momentum(t, 12).unwrap();
            assert!((found / expected - 1.0f64).abs() < 1e-12, "step {t}: {found} for {expected}");
        }
        assert_eq!(named("cosine").momentum(3, 12), None);
    }

    #[test]
    fn a_warm_up_rises_to_the_peak() {
        for name in ["constant", "cosine", "linear", "step"] {
            let schedule = named(name).with_warmup(0.2);
            let factors: Vec<f64> = (0..20).map(|t| schedule.factor(t, 20)).collect();
            for (t, expected) in [0.1, 0.325, 0.55, 0.775, 1.0].into_iter().enumerate() {
                assert!((factors[t] - expected).abs() < 1e-12, "{name}: {factors:?}");
            }
        }
    }

    #[test]
    fn shares_that_binary_fractions_miss_are_whole_steps() {
        for (warmup, step) in [(0.29, 29), (0.57, 57), (0.1, 10)] {
            let schedule = named("cosine").with_warmup(warmup);
            assert!(schedule.factor(step - 1, 100) < 1.0 && schedule.factor(step, 100) == 1.0, "{warmup}");
        }
        let step = Schedule::Step { warmup: 0.0, start: 0.1, milestones: vec![0.4, 0.5], factor: 0.5 };
        assert_eq!([0, 1, 2].map(|t| step.factor(t, 2)), [1.0, 0.25, 0.25]);
        assert_eq!(step.factor(0, 1), 1.0);
        // The first values of OneCycleLR(o, 1.0, total_steps=3).
        assert!(
            (named("one_cycle").factor(0, 3) - 0.9944).abs() < 1e-3,
            "{}",
            named("one_cycle").factor(0, 3)
        );
    }

    #[test]
    fn short_runs_and_steps_behind_the_end_have_a_rate() {
        for name in Schedule::NAMES {
            for warmup in [0.0, 0.5, 0.99] {
                let schedule = named(name).with_warmup(warmup);
                for steps in [0, 1, 2, 3] {
                    let factors: Vec<f64> = (0..steps + 3).map(|t| schedule.factor(t, steps)).collect();
                    assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor)), "{name}: {factors:?}");
                    let last = factors[steps.saturating_sub(1) as usize];
                    assert!(factors[steps as usize..].iter().all(|&factor| factor == last), "{name}");
                    let momentum = schedule.momentum(5, steps);
                    assert!(
                        momentum.is_none_or(|momentum| (0.85..=0.95).contains(&momentum)),
                        "{momentum:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        for (text, culprit) in [
            ("name = 'constant'\nwarmup = 1.0", "a warm-up from 0 to below 1, found 1"),
            ("name = 'cosine'\nwarmup = -0.1", "a warm-up"),
            ("name = 'cosine'\nwarmup = nan", "a warm-up"),
            ("name = 'cosine'\nend = 2.0", "end from 0 to 1, found 2"),
            ("name = 'linear'\nstart = inf", "start from 0 to 1"),
            ("name = 'step'\nmilestones = [0.5, 0.4]", "milestones in rising order"),
            ("name = 'step'\nmilestones = [0.1]\nwarmup = 0.2", "none within the warm-up"),
            ("name = 'step'\nmilestones = [1.5]", "milestones from 0 to 1"),
            ("name = 'step'\nfactor = nan", "factor from 0 to 1, found NaN"),
            ("name = 'one_cycle'\nmomentum = [0.85, 1.0]", "momentum from 0 to below 1"),
        ] {
            let schedule: Schedule = toml::from_str(text).unwrap();
            let error = schedule.check().unwrap_err().to_string();
            assert!(error.contains(culprit), "{error}");
        }
    }
}
