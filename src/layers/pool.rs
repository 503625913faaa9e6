//! Pools: the maximum or the mean of each window.

use ::toml::Value;

use super::{Inferred, LayerType, Registered};
use crate::Result;
use crate::network::{Content, Features, Keys, NetworkBuilder, window};
use crate::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use crate::ops::window::{Padding, WindowOptions};
use crate::plan::{BufferId, Site};
use crate::tensor::ImageShape;

const KEYS: &[&str] = &["kernel_size", "padding", "stride", "dilation"];

pub(super) const TYPES: &[Registered] = &[
    Registered { name: "max_pool", keys: &[KEYS], read: |keys| read(keys, PoolKind::Max) },
    Registered { name: "average_pool", keys: &[KEYS], read: |keys| read(keys, PoolKind::Average) },
];

/// A pooling layer; by default its windows are adjacent and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Whether it takes the maximum or the mean.
    pub kind: PoolKind,
    /// The window, with its stride, padding and dilation.
    pub window: WindowOptions,
}

impl Pool {
    /// A pool whose stride is its kernel size, [height, width].
    pub fn new(kind: PoolKind, kernel_size: [usize; 2]) -> Self {
        Pool { kind, window: WindowOptions { stride: kernel_size, ..WindowOptions::new(kernel_size) } }
    }

    /// Moves the window by `stride`, [height, width].
    pub fn stride(mut self, stride: [usize; 2]) -> Self {
        self.window.stride = stride;
        self
    }

    /// Pads the input.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.window.padding = padding;
        self
    }

    /// Spreads the taps by `dilation`, [height, width]; 1 is none.
    pub fn dilation(mut self, dilation: [usize; 2]) -> Self {
        self.window.dilation = dilation;
        self
    }

    /// The sizes of this layer's pool over `batch_size` images.
    ///
    /// # Errors
    /// Those of [`PoolGeometry::new`].
    pub fn geometry(&self, batch_size: usize, image: ImageShape) -> Result<PoolGeometry> {
        PoolGeometry::new(batch_size, image, &self.window)
    }

    fn geometry_at(&self, site: &Site<'_>) -> Result<PoolGeometry> {
        self.geometry(site.batch_size(), site.input_features(0).image_for("an image")?)
    }
}

fn read(keys: &mut Keys, kind: PoolKind) -> Result<Content> {
    let default = Pool::new(kind, keys.required("kernel_size", Keys::pair)?);
    Ok(Content::layer(Pool { window: window::read(keys, default.window)?, ..default }))
}

impl LayerType for Pool {
    fn type_name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool",
            PoolKind::Average => "average_pool",
        }
    }

    fn stem(&self) -> &'static str {
        "pool"
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        window::keys(&self.window, self.window.kernel_size)
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let image = inputs[0].image_for("an image")?;
        let geometry = self.geometry(1, image)?;
        let [height, width] = [geometry.height, geometry.width].map(|axis| axis.output);
        Ok(Inferred::without_variables(Features::Image(ImageShape { height, width, ..image })))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let geometry = self.geometry_at(site)?;
        let output = site.output(geometry.output_shape());
        site.push(PoolForward { kind: self.kind, geometry }, &[site.input(), output]);
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let op = PoolGrad::new(self.kind, self.geometry_at(site)?);
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            match self.kind {
                PoolKind::Max => site.push(op, &[site.input(), grad_output, grad_input]),
                PoolKind::Average => site.push(op, &[grad_output, grad_input]),
            }
        }
        Ok(vec![grad_input])
    }
}

impl NetworkBuilder {
    /// Adds a pool.
    pub fn pool(self, pool: Pool) -> Self {
        self.layer(pool)
    }

    /// Adds a max-pool of adjacent square windows.
    pub fn max_pool(self, kernel_size: usize) -> Self {
        self.pool(Pool::new(PoolKind::Max, [kernel_size; 2]))
    }

    /// Adds an average-pool of adjacent square windows.
    pub fn average_pool(self, kernel_size: usize) -> Self {
        self.pool(Pool::new(PoolKind::Average, [kernel_size; 2]))
    }
}
