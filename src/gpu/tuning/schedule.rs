//! Which implementation of each operation is right and fastest, as far as the time goes. Knows no device.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::device::DeviceProfile;
use crate::gpu::submission::in_pieces;
use crate::ops::Op;
use crate::ops::kernel::Implementation;
use crate::verify::Mismatch;

/// Candidates of an operation, at most: its rules order them, and further ones rarely win.
const MOST_CANDIDATES: usize = 3;

/// Samples of each candidate, of which the median counts.
const SAMPLES: usize = 5;

/// Fewer samples than this decide nothing.
const FEWEST_SAMPLES: usize = 3;

/// A sample lasts about as long as this, or one run.
const SAMPLE: Duration = Duration::from_millis(2);

/// Runs in a sample, at most.
const MOST_RUNS: f64 = 100.0;

/// A candidate whose one run takes longer than the fastest's by this factor has lost, if the run is not so short
/// that its time says little.
const LOST_AT_ONCE: f64 = 3.0;

/// The shortest run whose time says something.
const SHORTEST_RUN: Duration = Duration::from_micros(50);

/// A candidate whose shortest sample takes longer than the fastest's by this factor has lost.
const LOST: f64 = 1.5;

/// Part of the time of a better guess that a worse one must stay below, since no sample is exact.
const CLEARLY_FASTER: f64 = 0.97;

/// A run that may take longer is not tried: some drivers reset a device after two seconds of one launch.
pub const LONGEST_RUN: Duration = Duration::from_millis(700);

/// An operation whose implementations are compared.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The operation.
    pub op: &'a dyn Op,
    /// The candidates, best guess first, and behind them the reference where it is none of them.
    pub implementations: Vec<Implementation>,
    /// How many of the implementations are candidates.
    pub candidates: usize,
    /// Position of the implementation that the others must agree with.
    pub reference: usize,
    /// The longest that a run of a simple kernel should take.
    pub longest: Duration,
    /// Candidates that were found wrong before.
    pub rejected: Vec<Rejected>,
    /// Earlier attempts that found no winner.
    pub attempts: u32,
}

impl<'a> Subject<'a> {
    /// What there is to compare on `device`; an operation with one implementation leaves no choice.
    pub fn new(op: &'a dyn Op, device: &DeviceProfile, longest: Duration) -> Self {
        let mut implementations = op.implementations(device);
        implementations.truncate(MOST_CANDIDATES);
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
    /// Time of a run.
    pub milliseconds: f64,
    /// Its largest difference from the reference's answer.
    pub error: f64,
}

/// An implementation that must not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its name.
    pub implementation: String,
    /// What it did wrong.
    pub reason: String,
}

/// What is known of a subject. Without a winner the best guess runs that was not rejected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub winner: Option<Winner>,
    pub rejected: Vec<Rejected>,
    /// Whether anything was run.
    pub attempted: bool,
    /// Whether that began with most of the time ahead.
    pub had_time: bool,
}

/// Why an attempt ended early.
#[derive(Debug)]
pub enum Trouble {
    /// There is too little memory to compare the implementations; to run one there may be enough.
    Memory,
    /// On random numbers the reference gives infinities or NaN: there is nothing to compare with.
    NotFinite,
    /// The device failed.
    Device(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Device(error)
    }
}

/// Where implementations are run, and by whose clock.
pub trait Lab {
    /// Time since tuning began.
    fn elapsed(&self) -> Duration;

    /// Compiles the implementations of some subjects, and says of each whether it can run.
    fn compile(&mut self, subjects: &[Subject]) -> Vec<Vec<Result<(), String>>>;

    /// Makes room for a subject's operands, and fills them.
    fn open(&mut self, subject: &Subject) -> Result<(), Trouble>;

    /// Runs an implementation `times` times; the time is the device's.
    fn run(&mut self, subject: &Subject, implementation: usize, times: usize) -> Result<Duration, Trouble>;

    /// Runs an implementation once, compares a sample of its answer with the operation's definition, and keeps the answer
    /// for others to be compared with: the device's time, and the first difference that no right answer shows.
    fn ask_reference(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<(), Mismatch>), Trouble>;

    /// Runs an implementation once and compares its answer with the reference's: the device's time, and the largest
    /// difference or the first that no right answer shows.
    fn check(
        &mut self,
        subject: &Subject,
        implementation: usize,
    ) -> Result<(Duration, Result<f64, Mismatch>), Trouble>;

    /// Frees what was opened.
    fn close(&mut self);
}

/// What comes next will take, by what went before.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Compiling a group of subjects.
    compile: Duration,
    /// Moving a byte of the operands to the device and back, in seconds.
    byte: f64,
    /// The first run of a kernel beyond the later ones: some drivers compile only then.
    start: Duration,
    /// The reference's time by that of the best guess, once known.
    ratio: Option<f64>,
}

impl Default for Forecast {
    /// Before anything was seen: only moving data takes its time everywhere.
    fn default() -> Self {
        Forecast { compile: Duration::ZERO, byte: 2e-9, start: Duration::ZERO, ratio: None }
    }
}

struct Session<'a> {
    lab: &'a mut dyn Lab,
    budget: Duration,
    forecast: &'a mut Forecast,
}

/// A candidate that agrees with the reference, and the time of each of its samples' runs.
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

/// Leaves those of `trials` whose shortest time is within `factor` of the shortest of all, or of `floor`.
fn drop_losers(trials: &mut Vec<Trial>, factor: f64, floor: Duration) {
    if let Some(least) = trials.iter().map(Trial::least).min() {
        trials.retain(|trial| trial.least() <= least.max(floor).mul_f64(factor));
    }
}

/// Compares the implementations of `subjects`, in their order, until `budget` is spent: nothing is begun that
/// would probably not end in time. `at_once` of them are compiled together. An answer for each subject.
///
/// # Errors
/// That of the device, when it failed.
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

    /// Time that moving a subject's operands to the device or back will probably take.
    fn moving(&self, subject: &Subject) -> Duration {
        Duration::from_secs_f64(self.forecast.byte * subject.bytes() as f64)
    }

    /// Time without which a subject need not be begun.
    fn beginning(&self, subject: &Subject) -> Duration {
        self.moving(subject) + self.forecast.start + 2 * subject.longest
    }

    /// Fills `outcome` as far as the time goes.
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
        // A reference that was found wrong before is wrong still.
        if subject.rejected.iter().any(|rejected| rejected.implementation == name(subject.reference)) {
            return Ok(());
        }

        if !self.fits(self.beginning(subject)) {
            return Ok(());
        }
        let moving = self.moving(subject);
        (outcome.attempted, outcome.had_time) = (true, 2 * self.lab.elapsed() < self.budget);
        self.lab.open(subject)?;
        let first = self.lab.run(subject, guess, 1)?.max(Duration::from_nanos(1));

        let once = first.saturating_sub(self.forecast.start).max(first / 4);
        // The simplest kernel is the slowest by far, where the device is a large one.
        let reference = match self.forecast.ratio {
            Some(ratio) => once.mul_f64(1.5 * ratio),
            None => subject.longest.max(first),
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
        // Where a device gets even the plainest implementation wrong, the plainest of the others takes its place.
        while let Err(mismatch) = asked.1 {
            let reason = format!("by the definition, {}", mismatch.difference());
            outcome.rejected.push(Rejected { implementation: name(position), reason });
            candidates.retain(|&candidate| candidate != position);
            let Some(&plainest) = candidates.last() else { return Ok(()) };
            if !self.fits(moving + self.forecast.start + 2 * asked.0.max(first)) {
                return Ok(());
            }
            (position, asked) = (plainest, self.lab.ask_reference(subject, plainest)?);
        }
        let reference = asked.0;

        let mut trials: Vec<Trial> = Vec::new();
        for candidate in candidates {
            // None should be slower than the reference.
            let longest = if candidate == guess { first } else { self.forecast.start + 2 * reference };
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
            let (first, second) = match candidate == guess {
                true => (first, time),
                false => (time, self.lab.run(subject, candidate, 1)?),
            };
            self.forecast.start = self.forecast.start.max(first.saturating_sub(second));
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

    /// Time that comparing some candidates will probably take, beside the reference's run, when one run of the best
    /// guess takes `once`.
    fn rest(&self, candidates: u32, once: Duration, moving: Duration) -> Duration {
        let start = self.forecast.start;
        let others = candidates - 1;
        let samples = (FEWEST_SAMPLES as u32 - 1) * candidates * once.max(SAMPLE);
        start + once + others * (start + 2 * once) + (candidates + 1) * moving + samples
    }

    /// The fastest of some trials, each of which has one sample; none where there is too little time for enough of
    /// them. They take turns, so that what disturbs one disturbs all.
    fn race(&mut self, subject: &Subject, mut trials: Vec<Trial>) -> Result<Option<Winner>, Trouble> {
        drop_losers(&mut trials, LOST_AT_ONCE, SHORTEST_RUN);
        let least = trials.iter().map(Trial::least).min().unwrap_or(SAMPLE);
        let times = SAMPLE.div_duration_f64(least).clamp(1.0, MOST_RUNS) as u32;
        if times > 1 {
            // A single run of so little time is no sample beside many.
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
