//! Moving buffers between host and device memory.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use half::f16;

use super::context::Context;
use super::slice::Slice;
use crate::ops::{Element, HostBuffer};
use crate::plan::Pending;
use crate::{Error, Result};

/// Writes a buffer's content in the device's format, 32-bit words, with elements of this type.
pub fn to_device(queue: &wgpu::Queue, slice: &Slice, element: Element, data: &HostBuffer<f32>) {
    let Slice { buffer, offset, .. } = slice;
    match element {
        Element::Half => {
            let halves = data.reals().iter().map(|&value| f16::from_f32(value));
            // Copies consist of whole words.
            let padding = (data.len() % 2 == 1).then_some(f16::ZERO);
            let words: Vec<f16> = halves.chain(padding).collect();
            queue.write_buffer(buffer, *offset, bytemuck::cast_slice(&words));
        }
        Element::Real => queue.write_buffer(buffer, *offset, bytemuck::cast_slice(data.reals())),
        Element::Index => queue.write_buffer(buffer, *offset, bytemuck::cast_slice(data.indices())),
        Element::Byte => {
            // Copies consist of whole words; the rest of the last one is zero.
            let bytes = data.bytes();
            let (words, rest) = bytes.split_at(bytes.len() / 4 * 4);
            queue.write_buffer(buffer, *offset, words);
            if !rest.is_empty() {
                let mut word = [0; 4];
                word[..rest.len()].copy_from_slice(rest);
                queue.write_buffer(buffer, offset + words.len() as u64, &word);
            }
        }
    }
}

/// Longest time to wait for a mapping: once the copy is done, mapping takes no time unless the driver is broken.
const LONGEST_MAPPING: Duration = Duration::from_secs(10);

/// A copy of a device buffer that is being transferred to the host.
pub struct Download {
    context: Context,
    submission: wgpu::SubmissionIndex,
    staging: wgpu::Buffer,
    mapped: Receiver<Result<(), wgpu::BufferAsyncError>>,
    element: Element,
    elements: usize,
}

impl Download {
    /// Starts the copy of a slice's `elements`, after all work submitted so far.
    pub fn start(context: &Context, slice: &Slice, element: Element, elements: usize) -> Self {
        Self::start_at(context, &slice.buffer, slice.offset, element, elements)
    }

    /// Starts the copy of `elements` from byte `offset` on.
    pub fn start_at(
        context: &Context,
        buffer: &wgpu::Buffer,
        offset: u64,
        element: Element,
        elements: usize,
    ) -> Self {
        let size = element.bytes(elements);
        let staging = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = context.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, offset, &staging, 0, size);
        let submission = context.queue.submit([encoder.finish()]);
        let (sender, mapped) = channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // There is no receiver if the download was dropped.
            let _ = sender.send(result);
        });
        Download { context: context.clone(), submission, staging, mapped, element, elements }
    }

    fn failed(&self, cause: impl ToString) -> Error {
        self.context.failed("reading a buffer back", cause)
    }
}

impl Pending for Download {
    fn wait(self: Box<Self>) -> Result<HostBuffer<f32>> {
        // Waits for this copy alone; later submissions continue meanwhile.
        let submission_index = Some(self.submission.clone());
        let wait = wgpu::PollType::Wait { submission_index, timeout: None };
        self.context.device.poll(wait).map_err(|error| self.failed(error))?;
        match self.mapped.recv_timeout(LONGEST_MAPPING) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(gone) => return Err(self.failed(gone)),
        }
        let view = self.staging.get_mapped_range(..).map_err(|error| self.failed(error))?;
        Ok(match self.element {
            Element::Real => HostBuffer::real(bytemuck::pod_collect_to_vec(&view)),
            Element::Half => {
                let halves = view.chunks_exact(size_of::<f16>()).take(self.elements);
                HostBuffer::real(
                    halves.map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()).collect(),
                )
            }
            Element::Index => HostBuffer::index(bytemuck::pod_collect_to_vec(&view)),
            Element::Byte => HostBuffer::byte(view[..self.elements].to_vec()),
        })
    }
}
