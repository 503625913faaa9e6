//! The interface of every executor, on whatever device it runs.

use std::sync::Arc;

use super::{BufferId, Memory, Plan};
use crate::device::USUAL_ELEMENTS_PER_LAUNCH;
use crate::ops::HostBuffer;
use crate::{Result, host_memory};

/// Number of a plan that an executor has prepared to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prepared(pub(crate) usize);

/// Runs plans on a device.
///
/// Buffers with a persistent [`Role`](super::Role) are shared by name among the plans of one executor: the
/// training and the evaluation plan of a network see the same parameters. They start as zeros.
pub trait Executor {
    /// The device's name, for messages.
    fn device_name(&self) -> String;

    /// The largest number of bytes of one buffer.
    fn max_buffer_bytes(&self) -> u64;

    /// Whether it holds [halves](Plan::in_halves) in half the memory of reals.
    fn stores_halves(&self) -> bool {
        false
    }

    /// Elements (f32) that the device moves to or from memory in the time that one more launch costs, by which a plan's
    /// [prologues](super::Prologues) are selected.
    fn elements_per_launch(&self) -> usize {
        USUAL_ELEMENTS_PER_LAUNCH
    }

    /// Whether it runs plans faster that are [condensed](Plan::condensed).
    fn condenses(&self) -> bool {
        false
    }

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
