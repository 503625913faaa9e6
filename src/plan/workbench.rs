//! What is asked of an executor beside running plans.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Executor, Prepared};
use crate::Result;
use crate::ops::Op;

/// How an implementation was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenBy {
    /// By the operation's rules for the kind of device.
    Rules,
    /// By measurements on the device.
    Tuning,
    /// By name, by the caller.
    Flag,
}

/// The clock that measured a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimedBy {
    /// The device's own clock.
    GpuTimestamps,
    /// The host's clock, around the runs and the wait for their end.
    HostClock,
}

impl fmt::Display for TimedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TimedBy::GpuTimestamps => "gpu timestamps",
            TimedBy::HostClock => "host clock",
        })
    }
}

/// An executor whose implementations can be listed, chosen by name and timed.
///
/// Training and prediction need nothing of this; verification, tuning, benchmarks and tests do.
pub trait Workbench: Executor {
    /// Names of the implementations of `op` that the device can run, best guess first.
    fn implementations(&self, op: &dyn Op) -> Vec<&'static str>;

    /// Whether it can run operations on [halves](crate::ops::halves::InHalves).
    fn takes_halves(&self) -> bool {
        true
    }

    /// Whether this implementation is exact on small integers, for an `op` that can be.
    fn is_exact_on_integers(&self, op: &dyn Op, implementation: &str) -> bool;

    /// How many times the rounding errors of the operation's own sums this implementation's answer may have.
    fn amplification(&self, op: &dyn Op, implementation: &str) -> f64;

    /// The implementation that `op` runs as unless another is preferred: the fastest if this executor measures,
    /// otherwise the best guess.
    fn choose(&mut self, op: &dyn Op) -> (&'static str, ChosenBy) {
        (self.implementations(op)[0], ChosenBy::Rules)
    }

    /// From now on, prepared plans run this implementation for each operation that has it, and for the others the one
    /// that [`Workbench::choose`] returns.
    fn prefer(&mut self, implementation: &str);

    /// Compiles these implementations of operations together, on all cores, before they are prepared one by one. What does
    /// not compile is reported when it is prepared.
    fn compile_ahead(&mut self, _wanted: &[(&dyn Op, &[&'static str])]) {}

    /// Frees the kernels compiled so far; prepared plans keep those that they use.
    fn forget_kernels(&mut self) {}

    /// Device time of `times` runs of a plan, which start after all earlier work. [`Workbench::timed_by`] then names
    /// the clock that was used.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed, now or in an earlier run.
    fn time(&mut self, prepared: Prepared, times: usize) -> Result<Duration> {
        self.wait()?;
        let start = Instant::now();
        self.run(prepared, times)?;
        self.wait()?;
        Ok(start.elapsed())
    }

    /// The clock of [`Workbench::time`].
    fn timed_by(&self) -> TimedBy {
        TimedBy::HostClock
    }
}
