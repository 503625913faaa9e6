//! Running implementations on a case, and judging their answers.

use std::fmt;

use super::cases::Case;
use super::{Data, Trial};
use crate::plan::Workbench;

/// The outcome of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It gave the definition's answer.
    Passed,
    /// It gave a wrong answer, or the device failed.
    Failed,
    /// It was not run.
    Skipped,
    /// It gave the definition's answer, but that proves little: the operation writes more than 20 reals, and fewer than
    /// one in a hundred differ from zero.
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

/// The outcome of one implementation on one case.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Verdict {
    /// The operation.
    pub op: &'static str,
    /// The name of the case, which says what it tests.
    pub case: String,
    /// The implementation.
    pub implementation: &'static str,
    /// The kind of values in the operands.
    pub data: Data,
    /// The outcome.
    pub status: Status,
    /// The reason for any status but PASSED.
    pub detail: String,
    /// The largest difference from the definition's answer, or the first that is too large; `None` without an answer.
    pub error: Option<f64>,
    /// The largest difference that passes; `None` if the case was not run.
    pub bound: Option<f64>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { op, case, implementation, data, status, detail, .. } = self;
        write!(f, "{status} {op} ({case}), {implementation}, {data}")?;
        if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
    }
}

/// Runs `case` on `executor` in each of `implementations`, which are names from [`Workbench::implementations`], and
/// compares each answer with the definition's.
pub fn verify(
    case: Case,
    data: Data,
    executor: &mut dyn Workbench,
    implementations: &[&'static str],
) -> Vec<Verdict> {
    // Any seed will do, as long as repeated trials draw the same numbers.
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
        let (status, detail, error) = match trial.run_as(executor, implementation) {
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
        Verdict { status, detail, error, bound: Some(trial.bound_of(executor, implementation)), ..untried }
    };
    implementations.iter().map(verdict).collect()
}

/// The reason why the right answer to `trial` proves little, if it does.
fn mistrust(trial: &Trial) -> Option<String> {
    let (nonzero, written) = trial.nonzero();
    let few = written > 20 && 100 * nonzero < written;
    few.then(|| format!("only {nonzero} of {written} values differ from zero"))
}
