//! Packets: the neighbouring channels that an invocation moves at a time.

use crate::ops::kernel::{Source, shader};

/// Neighbouring channels that a kernel reads and writes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Four.
    Quad,
    /// One, for channels that do not come in fours.
    Scalar,
}

impl Packet {
    /// The widest packet that `channels` fill.
    pub fn of(channels: usize) -> Self {
        if channels.is_multiple_of(4) { Packet::Quad } else { Packet::Scalar }
    }

    /// Channels.
    pub fn width(self) -> usize {
        match self {
            Packet::Quad => 4,
            Packet::Scalar => 1,
        }
    }

    /// `source` with what a packet is, and the convolution's sizes.
    pub fn complete(self, mut source: Source) -> Source {
        let packet = match self {
            Packet::Quad => shader!("conv/few_channels/packet_quads.wgsl"),
            Packet::Scalar => shader!("conv/few_channels/packet_scalars.wgsl"),
        };
        source.files.extend(packet.files);
        source.files.extend(shader!("conv/geometry.wgsl", "grid.wgsl").files);
        source
    }

    /// `finish_packet` for packets of the output.
    pub fn finish(self) -> Source {
        match self {
            Packet::Quad => shader!("epilogue/quads.wgsl"),
            Packet::Scalar => shader!("epilogue/scalars.wgsl"),
        }
    }
}
