//! Pieces of device memory.

use std::num::NonZeroU64;

use crate::ops::Element;
use crate::ops::span::padded;

/// A part of a device's buffer, or all of it: where one buffer of a plan lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub buffer: wgpu::Buffer,
    /// Bytes before it.
    pub offset: u64,
    /// Bytes of it.
    pub bytes: u64,
}

impl Slice {
    /// The first bytes of a device's buffer.
    pub fn first(buffer: wgpu::Buffer, bytes: u64) -> Self {
        Slice { buffer, offset: 0, bytes }
    }

    /// What a kernel sees of it.
    pub fn binding(&self) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: NonZeroU64::new(self.bytes.max(4)),
        }
    }

    /// The slice of several, reals, that lie side by side, the zeros behind them included; none where they do not.
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
