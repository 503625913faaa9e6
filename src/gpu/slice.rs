//! Pieces of device memory.

use std::num::NonZeroU64;

use crate::ops::Element;
use crate::ops::span::padded;

/// A part or all of a device's buffer, which holds one buffer of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub buffer: wgpu::Buffer,
    /// Bytes of the device's buffer before it.
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Slice {
    /// The first bytes of a device's buffer.
    pub fn first(buffer: wgpu::Buffer, bytes: u64) -> Self {
        Slice { buffer, offset: 0, bytes }
    }

    /// The binding by which a kernel accesses it.
    pub fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: NonZeroU64::new(self.bytes.max(4)),
        }
    }

    /// The slice that spans several slices of reals lying side by side, with the zeros after the last; `None` if they
    /// do not lie so.
    pub fn span(slices: &[&Slice]) -> Option<Slice> {
        let (first, last) = (slices.first()?, slices.last()?);
        let end = |slice: &Slice| slice.offset + Element::Real.bytes(padded((slice.bytes / 4) as usize));
        let touch = |pair: &[&Slice]| pair[0].buffer == pair[1].buffer && end(pair[0]) == pair[1].offset;
        slices.windows(2).all(touch).then(|| Slice {
            buffer: first.buffer.clone(),
            offset: first.offset,
            bytes: end(last) - first.offset,
        })
    }
}
