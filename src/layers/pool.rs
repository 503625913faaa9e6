//! Pools: the maximum or the mean of each window.

use ::toml::Value;

use super::pytorch::{Call, padded, pair, symmetric_padding};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::Result;
use crate::network::{Content, Features, Keys, NetworkBuilder, window};
use crate::ops::pool::{PoolForward, PoolGeometry, PoolGrad, PoolKind};
use crate::ops::window::{Axis, Padding, WindowOptions};
use crate::plan::{BufferId, Site};
use crate::tensor::ImageShape;

const KEYS: &[&str] = &["kernel_size", "padding", "stride", "dilation", CEIL_MODE];
const AVERAGE_KEYS: &[&str] = &[COUNT_INCLUDE_PAD];

const CEIL_MODE: &str = "ceil_mode";
const COUNT_INCLUDE_PAD: &str = "count_include_pad";

pub(super) const TYPES: &[Registered] = &[
    Registered { name: "max_pool", keys: &[KEYS], read: |keys| read(keys, PoolKind::Max) },
    Registered { name: "average_pool", keys: &[KEYS, AVERAGE_KEYS], read: read_average },
];

/// A pooling layer, as in PyTorch; by default its windows are adjacent and do not overlap, a rest of the input that is too
/// short for another window is dropped, and an average counts the padding's zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Whether it takes the maximum or the mean, and whether a mean counts the padding.
    pub kind: PoolKind,
    /// The window, with its stride, padding and dilation.
    pub window: WindowOptions,
    /// Whether a rest of the padded input that is too short for another window gets one all the same, which hangs over the
    /// end.
    pub ceil_mode: bool,
}

impl Pool {
    /// A pool whose stride is its kernel size, [height, width].
    pub fn new(kind: PoolKind, kernel_size: [usize; 2]) -> Self {
        let window = WindowOptions { stride: kernel_size, ..WindowOptions::new(kernel_size) };
        Pool { kind, window, ceil_mode: false }
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

    /// Gives a rest of the padded input that is too short for another window one all the same, as PyTorch's
    /// `ceil_mode=True` does: `output = ceil((input + padding - span) / stride) + 1`, less a last window that would start
    /// behind the input. What lies beyond the padding is no maximum, and does not count in a mean.
    pub fn ceil_mode(mut self) -> Self {
        self.ceil_mode = true;
        self
    }

    /// Whether an average counts the taps in the padding, whose zeros pull it down at the edges, as PyTorch does by
    /// default; without them it is the mean of what the window meets of the input, as in Keras. A maximum has neither.
    pub fn count_include_pad(mut self, counts: bool) -> Self {
        self.kind = match self.kind {
            PoolKind::Max => PoolKind::Max,
            PoolKind::Average | PoolKind::AverageInside if counts => PoolKind::Average,
            PoolKind::Average | PoolKind::AverageInside => PoolKind::AverageInside,
        };
        self
    }

    /// The sizes of this layer's pool over `batch_size` images.
    ///
    /// # Errors
    /// Those of [`PoolGeometry::new`].
    pub fn geometry(&self, batch_size: usize, image: ImageShape) -> Result<PoolGeometry> {
        match self.ceil_mode {
            false => PoolGeometry::new(batch_size, image, &self.window),
            true => PoolGeometry::in_ceil_mode(batch_size, image, &self.window),
        }
    }

    /// The positions before and after the input under some window, for each axis: first the zeros that an average counts,
    /// then those that count in nothing.
    fn positions_around(&self, axes: [Axis; 2]) -> [[[usize; 2]; 2]; 2] {
        let around = axes.map(|axis| {
            let end = (axis.output - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1;
            let after = match self.ceil_mode {
                false => axis.padding_after,
                true => end.saturating_sub(axis.padding_before + axis.input),
            };
            let padding = after.min(axis.padding_after);
            match self.kind {
                PoolKind::Average => [[axis.padding_before, padding], [0, after - padding]],
                PoolKind::Max | PoolKind::AverageInside => [[0, 0], [axis.padding_before, after]],
            }
        });
        [0, 1].map(|part| around.map(|axis| axis[part]))
    }

    fn geometry_at(&self, site: &Site<'_>) -> Result<PoolGeometry> {
        self.geometry(site.batch_size(), site.input_features(0).image_for("an image")?)
    }
}

fn read(keys: &mut Keys, kind: PoolKind) -> Result<Content> {
    let default = Pool::new(kind, keys.required("kernel_size", Keys::pair)?);
    let ceil_mode = keys.optional(CEIL_MODE, Keys::boolean)?.unwrap_or(default.ceil_mode);
    Ok(Content::layer(Pool { window: window::read(keys, default.window)?, ceil_mode, ..default }))
}

fn read_average(keys: &mut Keys) -> Result<Content> {
    let counts = keys.optional(COUNT_INCLUDE_PAD, Keys::boolean)?.unwrap_or(true);
    read(keys, if counts { PoolKind::Average } else { PoolKind::AverageInside })
}

impl LayerType for Pool {
    fn type_name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool",
            PoolKind::Average | PoolKind::AverageInside => "average_pool",
        }
    }

    fn stem(&self) -> &'static str {
        "pool"
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let mut keys = window::keys(&self.window, self.window.kernel_size);
        keys.extend(self.ceil_mode.then_some((CEIL_MODE, true.into())));
        keys.extend((self.kind == PoolKind::AverageInside).then_some((COUNT_INCLUDE_PAD, false.into())));
        keys
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        let image = inputs[0].image_for("an image")?;
        let geometry = self.geometry(1, image)?;
        let [height, width] = [geometry.height, geometry.width].map(|axis| axis.output);
        Ok(Inferred::without_variables(Features::Image(ImageShape { height, width, ..image })))
    }

    fn windows(&self, input: Features) -> Option<[Axis; 2]> {
        let geometry = self.geometry(1, input.image_for("an image").ok()?).ok()?;
        Some([geometry.height, geometry.width])
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let image = site.features().image_for("an image")?;
        let geometry = self.geometry(1, image)?;
        let axes = [geometry.height, geometry.width];
        let WindowOptions { kernel_size, stride, dilation, .. } = self.window;
        let module = match self.kind {
            PoolKind::Max => Call::new("nn.MaxPool2d"),
            PoolKind::Average | PoolKind::AverageInside => Call::new("nn.AvgPool2d"),
        };
        let module = module.with(pair(kernel_size)).option("stride", pair(stride), pair(kernel_size));
        let module = module.option("dilation", pair(dilation), pair([1, 1]));
        // PyTorch's averages know no dilation, and its pools add no more than half a window to both sides alike.
        let has_module = self.kind == PoolKind::Max || dilation == [1, 1];
        let padding = symmetric_padding(axes)
            .filter(|padding| (0..2).all(|axis| padding[axis] <= kernel_size[axis] / 2));
        if let Some(padding) = padding.filter(|_| has_module) {
            let module = module
                .option("padding", pair(padding), pair([0, 0]))
                .flag("ceil_mode", self.ceil_mode, false)
                .flag("count_include_pad", self.kind != PoolKind::AverageInside, true);
            return Ok(site.module(module));
        }
        let [inner, outer] = self.positions_around(axes);
        match self.kind {
            PoolKind::Max => Ok(site.module_of(module, padded(site.input(), outer, Some("-torch.inf")))),
            _ if has_module && outer == [[0, 0]; 2] => {
                Ok(site.module_of(module, padded(site.input(), inner, None)))
            }
            PoolKind::Average | PoolKind::AverageInside => {
                let counted = padded(site.input(), inner, None);
                let windows = Call::new("F.unfold")
                    .with(padded(&counted, outer, Some("torch.nan")))
                    .with(pair(kernel_size))
                    .option("dilation", pair(dilation), pair([1, 1]))
                    .option("stride", pair(stride), pair([1, 1]));
                let mean = if outer == [[0, 0]; 2] { "mean" } else { "nanmean" };
                let (channels, taps, [height, width]) =
                    (geometry.channels, geometry.taps(), axes.map(|axis| axis.output));
                Ok(Pytorch::expression(format!(
                    "{windows}.unflatten(1, ({channels}, {taps})).{mean}(2).unflatten(2, ({height}, {width}))"
                )))
            }
        }
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
                PoolKind::Average | PoolKind::AverageInside => site.push(op, &[grad_output, grad_input]),
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
