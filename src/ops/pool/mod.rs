//! Pooling.

use crate::Result;
use crate::ops::window::{Axis, WindowOptions};
use crate::tensor::{ImageShape, Shape};

/// What a pool takes of each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest value.
    Max,
    /// The mean.
    Average,
}

/// The sizes of a pool, checked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// N: images.
    pub batch_size: usize,
    /// C: channels.
    pub channels: usize,
    /// Rows.
    pub height: Axis,
    /// Columns.
    pub width: Axis,
}

impl PoolGeometry {
    /// Checks the sizes of a pool.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for sizes that cannot be.
    pub fn new(batch_size: usize, image: ImageShape, window: &WindowOptions) -> Result<Self> {
        let [height, width] = Axis::pair("pool", [image.height, image.width], window)?;
        Shape::checked("pool", [batch_size, height.output, width.output, image.channels])?;
        Ok(PoolGeometry { batch_size, channels: image.channels, height, width })
    }
}
