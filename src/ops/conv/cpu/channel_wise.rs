//! Passes of small groups that run channel by channel: each vector holds result channels, of several groups if need be.

use std::ops::Range;

use super::line::Line;
use super::source::Source;
use crate::cpu::{Planes, Spread, lanes, spare, with_scratch};
use crate::ops::conv::ConvGeometry;

/// How a pass runs channel by channel.
#[derive(Clone, Copy, Debug)]
pub enum ChannelWise {
    /// The source is read in place: its groups have so many channels, as many as those of the result.
    InPlace(usize),
    /// The source is spread first.
    Spread(Spread),
}

/// The most channels of a group in a source that is spread: each has a plane of its own.
const MOST_PLANES: usize = 4;

/// Number of values to read behind pixels of so many channels, since vectors are read whole.
pub fn spare_behind(channels: usize) -> usize {
    if channels.is_multiple_of(lanes()) { 0 } else { spare() }
}

impl ChannelWise {
    /// How a pass runs whose groups have these channels, in the source and in the result, if it is best run channel by channel:
    /// depthwise convolutions, and groups that would leave many of a vector's lanes empty. If channels have to be spread,
    /// that has to be three quarters of them: where it is only half, vectors of half the width serve, and spreading would cost
    /// more than it saves.
    pub fn new(geometry: &ConvGeometry, [source, result]: [usize; 2]) -> Option<Self> {
        if geometry.groups == 1 && !geometry.is_depthwise() {
            return None;
        }
        if source == result && Planes::SIZES.contains(&source) && lanes().is_multiple_of(source) {
            return Some(ChannelWise::InPlace(source));
        }
        let is_small = source <= MOST_PLANES && 4 * result <= lanes() || geometry.is_depthwise();
        is_small.then_some(ChannelWise::Spread(Spread { groups: geometry.groups, source, result }))
    }

    /// How many times a value of a source that is read in place is multiplied, by results along these lines.
    pub fn products(&self, [down, across]: [&Line; 2]) -> usize {
        match self {
            ChannelWise::InPlace(size) => down.taps * across.taps * size / (down.step * across.step),
            ChannelWise::Spread(_) => 0,
        }
    }

    /// Number of values of a pixel, as the pass reads it.
    pub fn pixel(&self, channels: usize) -> usize {
        match self {
            ChannelWise::InPlace(_) => channels,
            ChannelWise::Spread(spread) => spread.row_elements(1),
        }
    }

    /// Calls `work` with whole rows of pixels, each of so many columns; with the distances from one row to the next and from
    /// one pixel to the next; and with what is to be read of a pixel. They lie in a cache, unless they
    /// [`may_be_far`](Source::with_whole_pixels).
    pub fn with_planes<R>(
        &self,
        source: &Source<'_>,
        pixels: Range<usize>,
        columns: usize,
        may_be_far: bool,
        work: impl FnOnce(&[f32], [usize; 2], Planes) -> R,
    ) -> R {
        let channels = source.channels;
        match self {
            ChannelWise::InPlace(size) => {
                let (steps, planes) = ([columns * channels, channels], Planes::Group(*size));
                let spare = spare_behind(channels);
                source.with_whole_pixels(pixels, spare, may_be_far, |pixels| work(pixels, steps, planes))
            }
            ChannelWise::Spread(spread) => source.with_pixels(pixels, 0..channels, 0, |pixels, _| {
                let (row, plane) = (spread.row_elements(columns), columns * spread.channels());
                let elements = pixels.len() / (columns * channels) * row;
                with_scratch(elements + spare(), |planes| {
                    let rows = pixels.chunks_exact(columns * channels);
                    for (pixels, planes) in rows.zip(planes.chunks_exact_mut(row)) {
                        spread.row(pixels, planes);
                    }
                    planes[elements..].fill(0.0);
                    work(planes, [row, spread.channels()], Planes::Apart(spread.source, plane))
                })
            }),
        }
    }
}
