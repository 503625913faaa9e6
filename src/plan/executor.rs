//! The interface of every executor, on whatever device it runs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{BufferId, Memory, Plan};
use crate::ops::{HostBuffer, Op};
use crate::{Result, host_memory};

/// Number of a plan that an executor has prepared to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prepared(pub(crate) usize);

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

/// Runs plans on a device.
///
/// Buffers with a persistent [`Role`](super::Role) are shared by name among the plans of one executor: the
/// training and the evaluation plan of a network see the same parameters. They start as zeros.
pub trait Executor {
    /// The device's name, for messages.
    fn device_name(&self) -> String;

    /// The largest number of bytes of one buffer.
    fn max_buffer_bytes(&self) -> u64;

    /// Names of the implementations of `op` that the device can run, best guess first.
    fn implementations(&self, op: &dyn Op) -> Vec<&'static str>;

    /// Whether this implementation is exact on small integers, for an `op` that can be.
    fn is_exact_on_integers(&self, _op: &dyn Op, _implementation: &str) -> bool {
        true
    }

    /// The implementation that `op` runs as unless another is preferred: the fastest if this executor measures,
    /// otherwise the best guess.
    fn choose(&mut self, op: &dyn Op) -> (&'static str, ChosenBy) {
        (self.implementations(op)[0], ChosenBy::Rules)
    }

    /// From now on, prepared plans run this implementation for each operation that has it, and for the others the one
    /// that [`Executor::choose`] returns. An executor without a choice ignores the call.
    fn prefer(&mut self, _implementation: &str) {}

    /// Frees the kernels compiled so far; prepared plans keep those that they use.
    fn forget_kernels(&mut self) {}

    /// Checks that the buffers of a plan fit the device, as far as that is known before implementations are chosen:
    /// nothing is measured, compiled or allocated. [`Executor::prepare`] makes this check too.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when a buffer is larger than the device's buffers can be.
    fn check(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// Bytes of host memory that this executor will take to prepare `plans`, beside what it holds already; 0 on a
    /// device with memory of its own. Images are not counted: an executor in host memory shares them with the caller.
    fn host_bytes(&self, _plans: &[&Plan]) -> u64 {
        0
    }

    /// Prepares a plan to run: allocates its buffers, and chooses and compiles the implementations of its steps.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device refuses a kernel or has too little memory;
    /// [`Error::Memory`](crate::Error::Memory) when the host has too little.
    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared>;

    /// The memory that a plan takes on this device, before anything is allocated.
    fn memory(&self, plan: &Plan) -> Memory;

    /// Replaces the content of a buffer.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when `data` differs in number or kind of elements.
    fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()>;

    /// The reals of a buffer, exactly as the executor holds them, once all runs so far are done.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn read_exact(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Vec<f64>> {
        let read = self.read(prepared, buffer)?.into_reals();
        let mut values = host_memory::reserved("reading a buffer", read.len(), "a smaller model")?;
        values.extend(read.into_iter().map(f64::from));
        Ok(values)
    }

    /// Replaces the reals of a buffer by values that [`Executor::read_exact`] returned on an executor of the same
    /// kind, one for each element.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn write_exact(&mut self, prepared: Prepared, buffer: BufferId, data: &[f64]) -> Result<()> {
        let values = data.iter().map(|&value| value as f32).collect();
        self.write(prepared, buffer, &HostBuffer::real(values))
    }

    /// Runs all steps of a plan `times` times. Work may still be under way when this returns.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed, now or in an earlier run;
    /// [`Error::Memory`](crate::Error::Memory) when the host has too little memory for a step's scratch buffers.
    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()>;

    /// Device time of `times` runs of a plan, which start after all earlier work. [`Executor::timed_by`] then names
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

    /// The clock of [`Executor::time`].
    fn timed_by(&self) -> TimedBy {
        TimedBy::HostClock
    }

    /// Requests a buffer's content after all runs so far, without waiting for it.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>>;

    /// Waits until all runs so far are done.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn wait(&mut self) -> Result<()>;

    /// Drops all plans and buffers, persistent ones too.
    fn clear(&mut self);

    /// A buffer's content, once all runs so far are done.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn read(&mut self, prepared: Prepared, buffer: BufferId) -> Result<HostBuffer<f32>> {
        self.read_later(prepared, buffer)?.wait()
    }
}

/// A buffer's content that is being read back from the device.
pub trait Pending {
    /// Waits for the content.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed meanwhile.
    fn wait(self: Box<Self>) -> Result<HostBuffer<f32>>;
}
