//! Finds the fastest correct implementation of each operation, as far as time permits. Independent of any device.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::device::{DeviceKind, DeviceProfile};
use crate::gpu::submission::in_pieces;
use crate::ops::Op;
use crate::ops::kernel::Implementation;
use crate::verify::Mismatch;

/// Most candidates of an operation: its rules order them, and later ones rarely win. Large GPUs differ more from what rules
/// expect, and try a candidate in less time.
fn most_candidates(device: &DeviceProfile) -> usize {
    if device.kind == DeviceKind::DiscreteGpu { 6 } else { 3 }
}

/// Samples of each candidate; their median counts.
const SAMPLES: usize = 5;

/// With fewer samples, there is no winner.
const FEWEST_SAMPLES: usize = 3;

/// Approximate duration of a sample, unless one run takes longer.
const SAMPLE: Duration = Duration::from_millis(2);

/// Most runs in a sample.
const MOST_RUNS: f64 = 100.0;

/// A candidate has lost if one run takes longer than the fastest's by this factor, unless the run is too short to be
/// timed reliably.
const LOST_AT_ONCE: f64 = 3.0;

/// The shortest run that can be timed reliably.
const SHORTEST_RUN: Duration = Duration::from_micros(50);

/// A candidate whose shortest sample takes longer than the fastest's by this factor has lost.
const LOST: f64 = 1.5;

/// A worse guess wins only if its time is below this share of a better guess's, since samples are inexact.
const CLEARLY_FASTER: f64 = 0.97;

/// A run that may take longer than this is not tried: some drivers reset a device if one launch takes two seconds.
pub const LONGEST_RUN: Duration = Duration::from_millis(700);

/// An operation whose implementations are compared.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The operation.
    pub op: &'a dyn Op,
    /// The candidates, best guess first, followed by the reference if it is not one of them.
    pub implementations: Vec<Implementation>,
    /// Number of candidates among the implementations.
    pub candidates: usize,
    /// Position of the implementation whose answer the others must match.
    pub reference: usize,
    /// Upper estimate of the duration of a simple kernel's run.
    pub longest: Duration,
    /// Candidates that were found to be wrong in earlier attempts.
    pub rejected: Vec<Rejected>,
    /// Number of earlier attempts that found no winner.
    pub attempts: u32,
}

impl<'a> Subject<'a> {
    /// The implementations to compare on `device`; an operation with only one leaves no choice.
    pub fn new(op: &'a dyn Op, device: &DeviceProfile, longest: Duration) -> Self {
        let mut implementations = op.implementations(device);
        implementations.truncate(most_candidates(device));
        let candidates = implementations.len();
        let reference = op.reference_implementation(device);
        let position = implementations.iter().position(|candidate| *candidate == reference);
        let reference = position.unwrap_or_else(|| {
            implementations.push(reference);
            candidates
        });
        let implementations =
            implementations.into_iter().map(|chosen| in_pieces(device, op, chosen)).collect();
        Subject { op, implementations, candidates, reference, longest, rejected: Vec::new(), attempts: 0 }
    }

    /// Bytes of all operands.
    fn bytes(&self) -> u64 {
        self.op.operands().iter().map(|operand| operand.element.bytes(operand.shape.elements())).sum()
    }

    fn winner(&self, implementation: usize, time: Duration, error: f64) -> Winner {
        Winner {
            implementation: self.implementations[implementation].name.into(),
            milliseconds: time.as_secs_f64() * 1e3,
            error,
        }
    }
}

/// The implementation to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Winner {
    /// Its name.
    pub implementation: String,
    /// Duration of a run.
    pub milliseconds: f64,
    /// Its largest difference from the reference's answer.
    pub error: f64,
}

/// An implementation that must not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its name.
    pub implementation: String,
    /// Why it was rejected.
    pub reason: String,
}

/// The outcome for a subject. Without a winner, the best guess that was not rejected runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub winner: Option<Winner>,
    pub rejected: Vec<Rejected>,
    /// Whether any implementation was run.
    pub attempted: bool,
    /// Whether the attempt began with most of the budget left.
    pub had_time: bool,
}

/// Why an attempt ended early.
#[derive(Debug)]
pub enum Trouble {
    /// There is too little memory to compare the implementations, although there may be enough to run one.
    Memory,
    /// The reference's answer to random numbers holds infinities or NaN, so that nothing can be compared.
    NotFinite,
    /// The device failed.
    Device(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Device(error)
    }
}

/// Runs implementations and measures time.
pub trait Lab {
    /// Time since tuning began.
    fn elapsed(&self) -> Duration;

    /// Compiles the implementations of some subjects, and tells for each whether it can run.
    fn compile(&mut self, subjects: &[Subject]) -> Vec<Vec<Result<(), String>>>;

    /// Allocates a subject's operands, and fills them.
    fn open(&mut self, subject: &Subject) -> Result<(), Trouble>;

    /// Runs an implementation `times` times and returns the device's time.
    fn run(&mut self, subject: &Subject, implementation: usize, times: usize) -> Result<Duration, Trouble>;

    /// Runs an implementation once, compares a sample of its answer with the operation's definition, and keeps the
    /// answer for comparison with others. Returns the device's time, and the first difference that exceeds the bound.
    fn ask_reference(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<(), Mismatch>), Trouble>;

    /// Runs an implementation once and compares its answer with the reference's. Returns the device's time, and the
    /// largest difference, or the first that exceeds the bound.
    fn check(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<f64, Mismatch>), Trouble>;

    /// Frees the subject's operands.
    fn close(&mut self);
}

/// Expected durations of the next actions, from those of earlier ones.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Compiling a group of subjects.
    compile: Duration,
    /// Moving one byte of the operands to the device and back, in seconds.
    byte: f64,
    /// By how much the first run of a kernel takes longer than later ones: some drivers compile only then.
    start: Duration,
    /// The ratio of the reference's time to that of the best guess, once known.
    ratio: Option<f64>,
}

impl Default for Forecast {
    /// The forecast before any measurement: only data transfers take time on every device.
    fn default() -> Self {
        Forecast { compile: Duration::ZERO, byte: 2e-9, start: Duration::ZERO, ratio: None }
    }
}

struct Session<'a> {
    lab: &'a mut dyn Lab,
    budget: Duration,
    forecast: &'a mut Forecast,
}

/// A candidate that agrees with the reference, and the duration of a run in each of its samples.
struct Trial {
    candidate: usize,
    error: f64,
    samples: Vec<Duration>,
}

impl Trial {
    fn least(&self) -> Duration {
        self.samples.iter().min().copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        let mut samples = self.samples.clone();
        samples.sort_unstable();
        samples[samples.len() / 2]
    }
}

/// Keeps those of `trials` whose shortest time is within `factor` of the shortest of all, or of `floor`.
fn drop_losers(trials: &mut Vec<Trial>, factor: f64, floor: Duration) {
    if let Some(least) = trials.iter().map(Trial::least).min() {
        trials.retain(|trial| trial.least() <= least.max(floor).mul_f64(factor));
    }
}

/// Compares the implementations of `subjects`, in order, until `budget` is spent; no action is begun that would
/// probably exceed it. `at_once` subjects are compiled together. Returns an outcome for each subject.
///
/// # Errors
/// Those of the device.
pub fn tune(
    subjects: &[Subject],
    budget: Duration,
    at_once: usize,
    forecast: &mut Forecast,
    lab: &mut dyn Lab,
) -> Result<Vec<Outcome>, Error> {
    let mut session = Session { lab, budget, forecast };
    let untried = |subject: &Subject| Outcome { rejected: subject.rejected.clone(), ..Outcome::default() };
    let mut outcomes: Vec<Outcome> = subjects.iter().map(untried).collect();
    let groups = subjects.chunks(at_once.max(1)).zip(outcomes.chunks_mut(at_once.max(1)));
    for (group, outcomes) in groups {
        let compile = session.forecast.compile;
        if !group.iter().any(|subject| session.fits(compile + session.beginning(subject))) {
            continue;
        }
        let start = session.lab.elapsed();
        let compiled = session.lab.compile(group);
        let took = session.lab.elapsed().saturating_sub(start);
        session.forecast.compile = compile.max(took);
        for ((subject, compiled), outcome) in group.iter().zip(compiled).zip(outcomes) {
            let result = session.compare(subject, &compiled, outcome);
            session.lab.close();
            match result {
                Ok(()) | Err(Trouble::Memory | Trouble::NotFinite) => {}
                Err(Trouble::Device(error)) => return Err(error),
            }
        }
    }
    Ok(outcomes)
}

impl Session<'_> {
    fn fits(&self, time: Duration) -> bool {
        self.lab.elapsed() + time < self.budget
    }

    /// Expected time for moving a subject's operands to the device or back.
    fn moving(&self, subject: &Subject) -> Duration {
        Duration::from_secs_f64(self.forecast.byte * subject.bytes() as f64)
    }

    /// The least remaining time with which a subject is begun.
    fn beginning(&self, subject: &Subject) -> Duration {
        self.moving(subject) + self.forecast.start + 2 * subject.longest
    }

    /// Fills in `outcome` as far as time permits.
    fn compare(
        &mut self,
        subject: &Subject,
        compiled: &[Result<(), String>],
        outcome: &mut Outcome,
    ) -> Result<(), Trouble> {
        let name = |implementation: usize| subject.implementations[implementation].name.to_string();
        let mut candidates = Vec::new();
        for (candidate, compiled) in compiled[..subject.candidates].iter().enumerate() {
            match compiled {
                _ if subject.rejected.iter().any(|rejected| rejected.implementation == name(candidate)) => {}
                Ok(()) => candidates.push(candidate),
                Err(message) => {
                    let reason = format!("does not compile: {message}");
                    outcome.rejected.push(Rejected { implementation: name(candidate), reason });
                }
            }
        }
        let (Some(&guess), Ok(())) = (candidates.first(), &compiled[subject.reference]) else {
            return Ok(());
        };
        // A reference that was found to be wrong before is still wrong.
        if subject.rejected.iter().any(|rejected| rejected.implementation == name(subject.reference)) {
            return Ok(());
        }

        if !self.fits(self.beginning(subject)) {
            return Ok(());
        }
        let moving = self.moving(subject);
        (outcome.attempted, outcome.had_time) = (true, 2 * self.lab.elapsed() < self.budget);
        self.lab.open(subject)?;
        let first = self.lab.run(subject, guess, 1)?;
        if !self.fits(first) {
            return Ok(());
        }
        // The first run may have been mostly compilation, which says nothing of others.
        let once = self.lab.run(subject, guess, 1)?.max(Duration::from_nanos(1));
        self.forecast.start = self.forecast.start.max(first.saturating_sub(once));
        // The simplest kernel is by far the slowest on a large device.
        let reference = match self.forecast.ratio {
            Some(ratio) => once.mul_f64(1.5 * ratio),
            None => subject.longest.max(once),
        };
        let rest = self.rest(candidates.len() as u32, once, moving) + reference;
        if reference > LONGEST_RUN || !self.fits(rest) {
            return Ok(());
        }
        let start = self.lab.elapsed();
        let (mut position, mut asked) =
            (subject.reference, self.lab.ask_reference(subject, subject.reference)?);
        let moved = self.lab.elapsed().saturating_sub(start + asked.0);
        self.forecast.byte =
            self.forecast.byte.max(moved.as_secs_f64() / subject.bytes().max(1 << 20) as f64);
        // If the device computes even the simplest implementation wrongly, the simplest of the others takes its
        // place.
        while let Err(mismatch) = asked.1 {
            let reason = format!("by the definition, {}", mismatch.difference());
            outcome.rejected.push(Rejected { implementation: name(position), reason });
            candidates.retain(|&candidate| candidate != position);
            let Some(&plainest) = candidates.last() else { return Ok(()) };
            if !self.fits(moving + self.forecast.start + 2 * asked.0.max(once)) {
                return Ok(());
            }
            (position, asked) = (plainest, self.lab.ask_reference(subject, plainest)?);
        }
        let reference = asked.0;

        let mut trials: Vec<Trial> = Vec::new();
        for candidate in candidates {
            // No candidate should be slower than the reference.
            let longest = if candidate == guess { once } else { self.forecast.start + 2 * reference };
            if !self.fits(moving + longest) {
                return Ok(());
            }
            let (time, error) = if candidate == position {
                (reference, Ok(0.0))
            } else {
                self.lab.check(subject, candidate)?
            };
            let error = match error {
                Ok(error) => error,
                Err(mismatch) => {
                    let reason = mismatch.difference();
                    outcome.rejected.push(Rejected { implementation: name(candidate), reason });
                    continue;
                }
            };
            let second = match candidate == guess {
                true => time,
                false => self.lab.run(subject, candidate, 1)?,
            };
            self.forecast.start = self.forecast.start.max(time.saturating_sub(second));
            let samples = vec![second.max(Duration::from_nanos(1))];
            trials.push(Trial { candidate, error, samples });
        }
        if let Some(guess) = trials.iter().find(|trial| trial.candidate == guess) {
            let known = trials.iter().find(|trial| trial.candidate == position);
            let reference = known.map_or(reference.saturating_sub(self.forecast.start), Trial::least);
            let ratio = reference.div_duration_f64(guess.least());
            self.forecast.ratio = Some(self.forecast.ratio.unwrap_or(1.0).max(ratio));
        }
        outcome.winner = match trials.is_empty() {
            true => Some(subject.winner(position, reference, 0.0)),
            false => self.race(subject, trials)?,
        };
        Ok(())
    }

    /// Expected time for comparing some candidates, when one run of the best guess takes `once`, without the reference's
    /// run but for its start.
    fn rest(&self, candidates: u32, once: Duration, moving: Duration) -> Duration {
        let start = self.forecast.start;
        let others = candidates - 1;
        let samples = (FEWEST_SAMPLES as u32 - 1) * candidates * once.max(SAMPLE);
        start + once + others * (start + 2 * once) + (candidates + 1) * moving + samples
    }

    /// The fastest of some trials, each of which has one sample; `None` if there is too little time for enough
    /// samples. The trials take turns, so that a disturbance affects all of them.
    fn race(&mut self, subject: &Subject, mut trials: Vec<Trial>) -> Result<Option<Winner>, Trouble> {
        drop_losers(&mut trials, LOST_AT_ONCE, SHORTEST_RUN);
        let least = trials.iter().map(Trial::least).min().unwrap_or(SAMPLE);
        let times = SAMPLE.div_duration_f64(least).clamp(1.0, MOST_RUNS) as u32;
        if times > 1 {
            // A single short run is no sample comparable to those of many runs.
            let round: Duration = trials.iter().map(|trial| times * trial.least()).sum();
            if !self.fits(round) {
                return Ok(None);
            }
            for trial in &mut trials {
                let time = self.lab.run(subject, trial.candidate, times as usize)?;
                trial.samples = vec![time / times];
            }
        }
        for samples in 1..SAMPLES {
            drop_losers(&mut trials, LOST, Duration::ZERO);
            let round: Duration = trials.iter().map(|trial| times * trial.least()).sum();
            if trials.len() == 1 || !self.fits(round) {
                if trials.len() > 1 && samples < FEWEST_SAMPLES {
                    return Ok(None);
                }
                break;
            }
            for trial in &mut trials {
                let time = self.lab.run(subject, trial.candidate, times as usize)?;
                trial.samples.push(time / times);
            }
        }
        let mut best: Option<&Trial> = None;
        for trial in &trials {
            if best.is_none_or(|best| trial.median() < best.median().mul_f64(CLEARLY_FASTER)) {
                best = Some(trial);
            }
        }
        Ok(best.map(|trial| subject.winner(trial.candidate, trial.median(), trial.error)))
    }
}
