//! Verified tuning: finding the fastest correct implementation of an operation for this device and shape.
//!
//! Rules choose well, but measurements choose better. An implementation is timed for a shape only after its answer
//! has matched the reference kernel's, on random numbers, on the device itself; one that does not match never runs
//! for this shape again. The findings are kept in a file, so that the next start need not measure.

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
use crate::ops::{Access, Element, Op};
use crate::plan::{ChosenBy, Plan};

/// How an executor tunes.
#[derive(Clone)]
pub struct Tuning {
    /// Time for measuring the operations of all plans that an executor prepares. Operations not reached in that time
    /// are chosen by rules.
    pub budget: Duration,
    /// Where findings are kept; without it, each process measures again.
    pub cache: Option<CacheFolder>,
    /// Called with each notice.
    pub report: Arc<dyn Fn(&TuningNotice) + Send + Sync>,
}

impl Tuning {
    /// The default time for the operations of all plans.
    pub const BUDGET: Duration = Duration::from_millis(3500);
}

impl Default for Tuning {
    /// No cache, and notices are ignored.
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

/// A notice about tuning.
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
        /// Why it was rejected.
        reason: String,
    },
    /// Operations will not run on the device's matrix units.
    WithoutMatrixUnits {
        /// What they computed wrongly.
        reason: String,
    },
    /// The operations of a plan were measured.
    Done {
        /// Operations whose fastest implementation has become known.
        tuned: usize,
        /// Operations whose fastest implementation was not known before.
        operations: usize,
        /// Time that the measurements took.
        time: Duration,
        /// The file that keeps the findings, or the reason why there is none.
        kept: Option<Result<PathBuf, String>>,
    },
}

impl fmt::Display for TuningNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TuningNotice::Rejected { op, sizes, implementation, reason } => {
                write!(f, "{op}, {implementation} fails on this device and is left out: {reason}; {sizes}")
            }
            TuningNotice::WithoutMatrixUnits { reason } => {
                write!(f, "this device's matrix units have failed their test, and are left out: {reason}")
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

/// Measures the operations of plans, and keeps the findings.
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

    /// The record of an operation, if it is valid for its present kernels.
    fn known(&self, subject: &Subject) -> Option<&Record> {
        self.records.get(&Key::new(subject.op)).filter(|record| record.fits(subject))
    }

    /// Position of the implementation to run, among those that the operation has on `device`, as far as it is known.
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

    /// Measures the operations of a plan, within the remaining budget.
    pub fn tune_plan(
        &mut self,
        plan: &Plan,
        context: &Context,
        pipelines: &mut Pipelines,
        clock: &mut Clock,
    ) {
        let ops = plan.steps().map(|step| step.op.as_ref());
        let budget = self.tuning.budget.saturating_sub(self.spent);
        // A small remainder would only suffice for the preparations.
        if 2 * budget <= self.tuning.budget {
            return;
        }
        let time = self.tune(ops, budget, context, pipelines, clock);
        self.spent += time;
    }

    /// Measures one operation, with a separate budget.
    pub fn tune_op(&mut self, op: &dyn Op, context: &Context, pipelines: &mut Pipelines, clock: &mut Clock) {
        self.tune(std::iter::once(op), self.tuning.budget, context, pipelines, clock);
    }

    /// Measures those of `ops` that have several candidates and are not known yet, as far as time permits. Failures
    /// of the device are ignored here: running the plan will report them too.
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
        // A subject has about four kernels.
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

    /// Stores the outcomes, and reports them.
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

    /// The operations that are worth measuring: new ones before those that took too long, and those of the most work
    /// first.
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
            // Random bytes, and indices that change, may be invalid values; and in this lab, every operand has a buffer of its own.
            let is_special = op.operands().iter().any(|operand| match (operand.access, operand.element) {
                (Access::Write, _) | (_, Element::Real | Element::Half) => false,
                (Access::Read, Element::Index) => !defines_elements(op),
                _ => true,
            });
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

/// Whether an answer can be checked against the definition of its elements.
fn defines_elements(op: &dyn Op) -> bool {
    op.define_at(&|_, _| 0.0, 0).is_some()
}
