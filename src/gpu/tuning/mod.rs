//! Verified tuning: of an operation's implementations the fastest that is right, on this device and this shape.
//!
//! Rules choose well, and a measurement better. An implementation is timed for a shape only after its answer has
//! matched the reference kernel's, on random numbers, on the device itself; one that does not match never runs for
//! this shape again. What was found out is kept in a file, so that the next start has nothing to measure.

mod lab;
mod record;
mod schedule;
#[cfg(test)]
mod schedule_tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lab::DeviceLab;
use record::{Identity, Key, Record, Store};
use schedule::{Forecast, LONGEST_RUN, Lab, Outcome, Subject, tune};

use super::adapter::Adapter;
use super::clock::Clock;
use super::context::Context;
use super::pipeline::{Pipelines, ShaderChecks};
use super::submission::longest_time;
use crate::device::DeviceProfile;
use crate::files::CacheFolder;
use crate::ops::kernel::Implementation;
use crate::ops::{Element, Op};
use crate::plan::{ChosenBy, Plan};

/// How an executor tunes.
#[derive(Clone)]
pub struct Tuning {
    /// Time for the operations of all plans that an executor prepares. What is not reached runs by the rules.
    pub budget: Duration,
    /// Where findings are kept; without it each process measures anew.
    pub cache: Option<CacheFolder>,
    /// Who is told.
    pub report: Arc<dyn Fn(&TuningNotice) + Send + Sync>,
}

impl Tuning {
    /// Time for the operations of all plans, unless another is asked for.
    pub const BUDGET: Duration = Duration::from_millis(3500);
}

impl Default for Tuning {
    /// Nothing is kept, and nobody told.
    fn default() -> Self {
        Tuning { budget: Self::BUDGET, cache: None, report: Arc::new(|_| {}) }
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuning { budget, cache, report: _ } = self;
        f.debug_struct("Tuning").field("budget", budget).field("cache", cache).finish_non_exhaustive()
    }
}

/// What tuning has to say.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TuningNotice {
    /// An implementation does not compile, or gives a wrong answer on this device. It never runs for this shape.
    Rejected {
        /// The operation.
        op: &'static str,
        /// Its sizes.
        sizes: String,
        /// The implementation.
        implementation: String,
        /// What it did wrong.
        reason: String,
    },
    /// The operations of a plan were measured.
    Done {
        /// Operations whose fastest implementation is known now, and was not before.
        tuned: usize,
        /// Operations of which it was not known.
        operations: usize,
        /// Time that it took.
        time: Duration,
        /// The file that keeps the findings, or why there is none.
        kept: Option<Result<PathBuf, String>>,
    },
}

impl fmt::Display for TuningNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TuningNotice::Rejected { op, sizes, implementation, reason } => {
                write!(f, "{op}, {implementation} fails on this device and is left out: {reason}; {sizes}")
            }
            TuningNotice::Done { tuned, operations, time, kept } => {
                write!(f, "tuned {tuned} of {operations} operations in {:.1} s", time.as_secs_f64())?;
                match kept {
                    Some(Ok(path)) => write!(f, " (cached in {})", path.display()),
                    Some(Err(reason)) => write!(f, " (not cached: {reason})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Measures the operations of plans, and remembers.
#[derive(Debug)]
pub struct Tuner {
    tuning: Tuning,
    store: Option<Store>,
    records: HashMap<Key, Record>,
    forecast: Forecast,
    /// Time spent on plans so far.
    spent: Duration,
}

impl Tuner {
    pub fn new(tuning: Tuning, adapter: &Adapter, checks: ShaderChecks) -> Self {
        let identity = Identity {
            wgconv: env!("CARGO_PKG_VERSION").into(),
            adapter: adapter.profile().name.clone(),
            driver: adapter.driver(),
            backend: adapter.backend(),
            shader_checks: checks == ShaderChecks::On,
        };
        let store = tuning.cache.clone().map(|folder| Store::new(folder, identity));
        let records = store.as_ref().map_or_else(HashMap::new, Store::load);
        Tuner { tuning, store, records, forecast: Forecast::default(), spent: Duration::ZERO }
    }

    /// What is known of the operation, with its present kernels.
    fn known(&self, subject: &Subject) -> Option<&Record> {
        self.records.get(&Key::new(subject.op)).filter(|record| record.fits(subject))
    }

    /// Position of the implementation to run, of those that the operation has on `device`, as far as it is known.
    pub fn choose(
        &self,
        op: &dyn Op,
        device: &DeviceProfile,
        implementations: &[Implementation],
    ) -> (usize, ChosenBy) {
        let subject = Subject::new(op, device, Duration::ZERO);
        let Some(record) = self.known(&subject) else { return (0, ChosenBy::Rules) };
        let position = |name: &str| implementations.iter().position(|candidate| candidate.name == name);
        if let Some(position) = record.winner.as_ref().and_then(|winner| position(&winner.implementation)) {
            return (position, ChosenBy::Tuning);
        }
        let is_rejected = |candidate: &Implementation| {
            record.rejected.iter().any(|rejected| rejected.implementation == candidate.name)
        };
        let first = implementations.iter().position(|candidate| !is_rejected(candidate));
        (first.unwrap_or(implementations.len() - 1), ChosenBy::Rules)
    }

    /// Measures the operations of a plan, in what is left of the budget.
    pub fn tune_plan(
        &mut self,
        plan: &Plan,
        context: &Context,
        pipelines: &mut Pipelines,
        clock: &mut Clock,
    ) {
        let ops = plan.steps().map(|step| step.op.as_ref());
        let budget = self.tuning.budget.saturating_sub(self.spent);
        // What little is left would be spent on beginnings.
        if 2 * budget <= self.tuning.budget {
            return;
        }
        let time = self.tune(ops, budget, context, pipelines, clock);
        self.spent += time;
    }

    /// Measures one operation, in a budget of its own.
    pub fn tune_op(&mut self, op: &dyn Op, context: &Context, pipelines: &mut Pipelines, clock: &mut Clock) {
        self.tune(std::iter::once(op), self.tuning.budget, context, pipelines, clock);
    }

    /// Measures those of `ops` that leave a choice and are not known yet, as far as the time goes. Failures of the
    /// device are left to whoever runs the plan, who will meet them too.
    fn tune<'a>(
        &mut self,
        ops: impl Iterator<Item = &'a dyn Op>,
        budget: Duration,
        context: &Context,
        pipelines: &mut Pipelines,
        clock: &mut Clock,
    ) -> Duration {
        let subjects = self.subjects(ops, context);
        if subjects.is_empty() {
            return Duration::ZERO;
        }
        // A subject has about as many kernels.
        let at_once = rayon::current_num_threads() / 4;
        let mut lab = DeviceLab::new(context, pipelines, clock, &subjects);
        let outcomes = tune(&subjects, budget, at_once, &mut self.forecast, &mut lab);
        let time = lab.elapsed();
        drop(lab);
        match outcomes {
            Ok(outcomes) => self.learn(&subjects, outcomes, time),
            Err(_) => {
                context
                    .fault
                    .explain("this was while implementations were compared, which --no-tune leaves out");
            }
        }
        time
    }

    /// Remembers what came out, and tells.
    fn learn(&mut self, subjects: &[Subject], outcomes: Vec<Outcome>, time: Duration) {
        let (mut tuned, mut attempted) = (0, false);
        for (subject, outcome) in subjects.iter().zip(outcomes) {
            let news = &outcome.rejected[subject.rejected.len()..];
            for rejected in news {
                (self.tuning.report)(&TuningNotice::Rejected {
                    op: subject.op.name(),
                    sizes: format!("{:?}", subject.op),
                    implementation: rejected.implementation.clone(),
                    reason: rejected.reason.split_whitespace().collect::<Vec<_>>().join(" "),
                });
            }
            attempted |= outcome.attempted || !news.is_empty();
            if outcome.winner.is_some() || outcome.had_time || !news.is_empty() {
                tuned += usize::from(outcome.winner.is_some());
                let record = Record::new(subject, outcome);
                self.records.insert(record.key(), record);
            }
        }
        if !attempted {
            return;
        }
        let kept = self.store.as_ref().map(|store| match store.save(&self.records) {
            Ok(()) => Ok(store.path()),
            Err(error) => Err(error.to_string()),
        });
        let operations = subjects.len();
        (self.tuning.report)(&TuningNotice::Done { tuned, operations, time, kept });
    }

    /// The operations that are worth measuring: new ones before those that took too long, and those of the most
    /// work first.
    fn subjects<'a>(&self, ops: impl Iterator<Item = &'a dyn Op>, context: &Context) -> Vec<Subject<'a>> {
        let mut work: HashMap<Key, u64> = HashMap::new();
        let mut subjects = Vec::new();
        for op in ops {
            let key = Key::new(op);
            if let Some(work) = work.get_mut(&key) {
                *work += op.flops();
                continue;
            }
            work.insert(key, op.flops());
            // Whatever indices and bytes mean, random ones need not make sense; and here every operand lies on its own.
            let is_special = op.operands().iter().any(|operand| operand.element != Element::Real);
            if is_special || !op.side_by_side().is_empty() {
                continue;
            }
            let longest = Duration::from_secs_f64(longest_time(&context.profile, op));
            if longest > LONGEST_RUN {
                continue;
            }
            let mut subject = Subject::new(op, &context.profile, longest);
            if let Some(record) = self.known(&subject) {
                if record.is_final() {
                    continue;
                }
                (subject.rejected, subject.attempts) = (record.rejected.clone(), record.attempts);
            }
            if subject.implementations.len() > 1 {
                subjects.push(subject);
            }
        }
        subjects.sort_by_key(|subject| (subject.attempts, Reverse(work[&Key::new(subject.op)])));
        subjects
    }
}
