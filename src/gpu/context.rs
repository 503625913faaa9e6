//! An open device: its buffers and bindings, and the errors that occurred on it.

use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::Adapter;
use super::slice::Slice;
use crate::device::DeviceProfile;
use crate::ops::Element;
use crate::ops::span::{ALIGNMENT, Span, side_by_side};
use crate::{Error, Result};

/// An open device.
#[derive(Clone, Debug)]
pub struct Context {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub profile: DeviceProfile,
    pub fault: Fault,
}

impl Context {
    /// Opens an adapter, for kernels on matrix units too if they are wanted and it has them.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver refuses.
    pub fn open(adapter: &Adapter, matrix_units: bool) -> Result<Self> {
        let (device, queue) = adapter.open(matrix_units && adapter.profile().matrix_units.is_some())?;
        let mut profile = adapter.profile().clone();
        profile.matrix_units = profile.matrix_units.filter(|_| matrix_units);
        let alignment = device.limits().min_storage_buffer_offset_alignment as u64;
        assert!(
            Element::Real.bytes(ALIGNMENT).is_multiple_of(alignment),
            "a device that wants bindings aligned to {alignment} bytes"
        );
        let fault = Fault::default();
        let uncaptured = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error| uncaptured.note(error.to_string())));
        let lost = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost.note_lost(&message);
            }
        });
        Ok(Context { device, queue, profile, fault })
    }

    /// The largest number of bytes of one buffer.
    pub fn max_buffer_bytes(&self) -> u64 {
        self.profile.largest_buffer()
    }

    /// The error that the device failed at `operation`.
    ///
    /// If the device reported a fault of its own, the error shows that, since it explains more than its consequences.
    pub fn failed(&self, operation: impl Into<String>, cause: impl ToString) -> Error {
        let cause = self.fault.message().unwrap_or_else(|| cause.to_string());
        // Drivers' messages may span many lines; an error is one line.
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        Error::Device { device: self.profile.name.clone(), operation: operation.into(), cause }
    }

    /// # Errors
    /// [`Error::Device`] when the device has failed before.
    pub fn check_fault(&self, operation: &str) -> Result<()> {
        match self.fault.message() {
            Some(message) => Err(self.failed(operation, message)),
            None => Ok(()),
        }
    }

    /// Waits until all work submitted so far is done.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn wait(&self) -> Result<()> {
        let wait = wgpu::PollType::wait_indefinitely();
        self.device.poll(wait).map_err(|error| self.failed("running a plan", error))?;
        self.check_fault("running a plan")
    }

    /// A buffer for use by kernels.
    pub fn create_buffer(&self, label: &str, element: Element, elements: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: element.bytes(elements.max(1)),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Real tensors of these sizes side by side, in one buffer, or in several if one would be too large. All memory
    /// is zero.
    pub fn create_span(&self, label: &str, sizes: &[usize]) -> Vec<Slice> {
        let of_span = |span: Span| {
            let buffer = self.create_buffer(label, Element::Real, span.elements);
            let slice = move |(offset, &size): (usize, &usize)| Slice {
                buffer: buffer.clone(),
                offset: Element::Real.bytes(offset),
                bytes: Element::Real.bytes(size.max(1)),
            };
            span.offsets.into_iter().zip(&sizes[span.tensors]).map(slice)
        };
        side_by_side(sizes, self.max_buffer_bytes()).into_iter().flat_map(of_span).collect()
    }
}

/// The first message from the driver that was not returned by a call; if the device was lost, the message that says
/// so.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<Mutex<Option<String>>>);

impl Fault {
    fn note(&self, message: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }

    /// Records that the device was lost, and the driver's `reason`.
    pub fn note_lost(&self, reason: &str) {
        let reason = reason.trim().trim_end_matches('.');
        let reason = if reason.is_empty() { "for no reason that it gives" } else { reason };
        let message = format!("the device was lost ({reason}); try a smaller batch, or --device cpu");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    /// Adds to the message, if there is one.
    pub fn explain(&self, more: &str) {
        if let Some(message) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *message += "; ";
            *message += more;
        }
    }

    fn message(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
