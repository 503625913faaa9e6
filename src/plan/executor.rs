//! What every executor can do, wherever it runs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{BufferId, Memory, Plan};
use crate::ops::{HostBuffer, Op};
use crate::{Result, host_memory};

/// Number of a plan that an executor has made ready to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prepared(pub(crate) usize);

/// Who chose an implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenBy {
    /// The operation's rules for the kind of device.
    Rules,
    /// Measurements on the device.
    Tuning,
    /// Whoever asked for it by name.
    Flag,
}

/// The clock that a time was taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimedBy {
    /// The device's own.
    GpuTimestamps,
    /// The host's, around the runs and the wait for their end.
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
    /// The device, as messages name it.
    fn device_name(&self) -> String;

    /// Bytes that one buffer may have.
    fn max_buffer_bytes(&self) -> u64;

    /// Names of the implementations of `op` that the device can run, best guess first.
    fn implementations(&self, op: &dyn Op) -> Vec<&'static str>;

    /// Whether the implementation of this name gives an exact answer to small integers, where `op` does so at all.
    fn is_exact_on_integers(&self, _op: &dyn Op, _implementation: &str) -> bool {
        true
    }

    /// The implementation that `op` runs as unless another is preferred: the fastest, where this executor
    /// measures, else the best guess.
    fn choose(&mut self, op: &dyn Op) -> (&'static str, ChosenBy) {
        (self.implementations(op)[0], ChosenBy::Rules)
    }

    /// Lets the plans prepared from now on run the implementation of this name where an operation has it,
    /// else the one that [`Executor::choose`] gives. Nothing changes where there is no choice.
    fn prefer(&mut self, _implementation: &str) {}

    /// Frees the kernels that were compiled so far; those of prepared plans live on in them.
    fn forget_kernels(&mut self) {}

    /// Checks that the buffers of plans fit the device, as far as that is known before implementations are chosen:
    /// nothing is measured, compiled or allocated. [`Executor::prepare`] checks it too.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when a buffer is larger than the device's buffers can be.
    fn check(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// Bytes of the host's memory that this executor will take to prepare `plans`, beside what it holds already; none
    /// on a device with memory of its own. Images are left out: an executor in host memory shares them with the caller.
    fn host_bytes(&self, _plans: &[&Plan]) -> u64 {
        0
    }

    /// Makes a plan ready: allocates its buffers and chooses and compiles what runs its steps.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device refuses a kernel or has too little memory;
    /// [`Error::Memory`](crate::Error::Memory) when the host has too little.
    fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared>;

    /// The memory that a plan takes on this device, before anything is allocated.
    fn memory(&self, plan: &Plan) -> Memory;

    /// Replaces a buffer's content.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when `data` has another number or kind of elements.
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

    /// Replaces the reals of a buffer by what [`Executor::read_exact`] gave on an executor of the same kind: one value for
    /// each of its elements.
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
    /// [`Error::Memory`](crate::Error::Memory) when the host has too little memory for what a step works in.
    fn run(&mut self, prepared: Prepared, times: usize) -> Result<()>;

    /// Device time of `times` runs of a plan, after whatever was under way: by the clock that
    /// [`Executor::timed_by`] names afterwards.
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

    /// Asks for a buffer's content as it is after all runs so far, without waiting for it.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>>;

    /// Waits until all runs so far are done.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn wait(&mut self) -> Result<()>;

    /// Forgets all plans and buffers, persistent ones too.
    fn clear(&mut self);

    /// A buffer's content, once all runs so far are done.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed.
    fn read(&mut self, prepared: Prepared, buffer: BufferId) -> Result<HostBuffer<f32>> {
        self.read_later(prepared, buffer)?.wait()
    }
}

/// A buffer's content on its way from the device.
pub trait Pending {
    /// Waits for the content.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device failed meanwhile.
    fn wait(self: Box<Self>) -> Result<HostBuffer<f32>>;
}
