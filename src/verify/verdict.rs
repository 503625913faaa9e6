//! What implementations make of a case, and what that says about them.

use std::fmt;

use super::cases::Case;
use super::{Data, Trial};
use crate::plan::Workbench;

/// What a trial came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// The definition's answer.
    Passed,
    /// A wrong answer, or a device that failed.
    Failed,
    /// Not tried.
    Skipped,
    /// The definition's answer, which says little: of more than 20 reals that it writes, fewer than one in
    /// a hundred differ from zero.
    Mistrusted,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 4] = [Status::Passed, Status::Failed, Status::Skipped, Status::Mistrusted];
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Passed => "PASSED",
            Status::Failed => "FAILED",
            Status::Skipped => "SKIPPED",
            Status::Mistrusted => "MISTRUSTED",
        })
    }
}

/// What one implementation made of one case.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// The operation.
    pub op: &'static str,
    /// What the case is there for.
    pub case: String,
    /// The implementation.
    pub implementation: &'static str,
    /// What the operands held.
    pub data: Data,
    /// What came of it.
    pub status: Status,
    /// The reason for any status but PASSED.
    pub detail: String,
    /// The largest difference from the definition's answer; up to the first that is too large, where one is.
    pub error: Option<f64>,
    /// The largest difference that passes.
    pub bound: Option<f64>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { op, case, implementation, data, status, detail, .. } = self;
        write!(f, "{status} {op} ({case}), {implementation}, {data}")?;
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

/// Runs `case` on `executor` in each of `implementations`, of those that [`Workbench::implementations`] names,
/// and compares each answer with the definition's.
pub fn verify(
    case: Case,
    data: Data,
    executor: &mut dyn Workbench,
    implementations: &[&'static str],
) -> Vec<Verdict> {
    // Any seed will do, as long as a repeated trial draws the same numbers.
    const SEED: u64 = 7;
    let Case { name, op } = case;
    let untried = Verdict {
        op: op.name(),
        case: name,
        implementation: "",
        data,
        status: Status::Skipped,
        detail: "not exact on integers".into(),
        error: None,
        bound: None,
    };
    let untried = match Trial::check(op.as_ref()) {
        Ok(()) => untried,
        Err(error) => {
            let untried = Verdict { detail: error.to_string(), ..untried };
            let verdict = |&implementation| Verdict { implementation, ..untried.clone() };
            return implementations.iter().map(verdict).collect();
        }
    };
    let trial = Trial::new(op, data, SEED);
    let verdict = |&implementation: &&'static str| {
        let untried = Verdict { implementation, ..untried.clone() };
        let Some(trial) = &trial else { return untried };
        let op = trial.plan().forward[0].op.as_ref();
        if data == Data::Integers && !executor.is_exact_on_integers(op, implementation) {
            return untried;
        }
        executor.clear();
        executor.prefer(implementation);
        let (status, detail, error) = match trial.run(executor) {
            Ok(Ok(error)) => match mistrust(trial) {
                None => (Status::Passed, String::new(), Some(error)),
                Some(reason) => (Status::Mistrusted, reason, Some(error)),
            },
            Ok(Err(mismatch)) => {
                let error = (mismatch.found - mismatch.expected).abs();
                (Status::Failed, mismatch.difference(), Some(error))
            }
            Err(error) => (Status::Failed, error.to_string(), None),
        };
        Verdict { status, detail, error, bound: Some(trial.bound), ..untried }
    };
    implementations.iter().map(verdict).collect()
}

/// Why the right answer to `trial` says little about whoever gave it.
fn mistrust(trial: &Trial) -> Option<String> {
    let (nonzero, written) = trial.nonzero();
    let few = written > 20 && 100 * nonzero < written;
    few.then(|| format!("only {nonzero} of {written} values differ from zero"))
}
