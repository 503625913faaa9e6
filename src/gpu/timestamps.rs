//! Timestamps that the device records around a piece of work.

use super::context::Context;
use crate::{Error, Result};

/// The buffers that the device writes timestamps to.
#[derive(Debug)]
pub struct Timestamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Nanoseconds per tick.
    pub period: f64,
}

const BYTES: u64 = 2 * wgpu::QUERY_SIZE as u64;

impl Timestamps {
    pub fn new(context: &Context) -> Self {
        let buffer = |usage| {
            let label = Some("timestamps");
            let descriptor = wgpu::BufferDescriptor { label, size: BYTES, usage, mapped_at_creation: false };
            context.device.create_buffer(&descriptor)
        };
        Timestamps {
            set: context.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            period: context.queue.get_timestamp_period().into(),
        }
    }

    /// The timestamps that a compute pass records, if it is the first or the last of a measurement.
    pub fn writes(&self, is_first: bool, is_last: bool) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        (is_first || is_last).then(|| wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: is_first.then_some(0),
            end_of_pass_write_index: is_last.then_some(1),
        })
    }

    /// Copies the timestamps to a buffer that the host can read, after the preceding work.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, BYTES);
    }

    /// The ticks at the beginning and at the end.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn read(&self, context: &Context) -> Result<[u64; 2]> {
        let failed =
            |cause: &dyn ToString| -> Error { context.failed("reading timestamps", cause.to_string()) };
        // Waiting for the device runs the callback; after an error there is no mapping to read.
        self.staging.map_async(wgpu::MapMode::Read, .., |_| {});
        context.wait()?;
        let view = self.staging.get_mapped_range(..).map_err(|error| failed(&error))?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.staging.unmap();
        ticks.try_into().map_err(|_| failed(&"there are not two of them"))
    }
}
