//! Whitening: a first convolution whose filters are computed from the training images.

use ::toml::Value;
use nalgebra::DMatrix;
use rayon::prelude::*;

use super::{Conv2d, Inferred, LayerType, Pytorch, PytorchSite, Registered, weighted};
use crate::network::{
    Content, Features, Initialiser, Keys, Kind, NetworkBuilder, Sample, Variable, number, window,
};
use crate::ops::window::{Axis, WindowOptions};
use crate::plan::{BufferId, Site};
use crate::tensor::ImageShape;
use crate::{Error, Result};

pub(super) const TYPES: &[Registered] = &[Registered {
    name: NAME,
    keys: &[&["kernel_size", "eps", "bias"]],
    read: |keys| Ok(Content::layer(read(keys)?)),
}];

const NAME: &str = "whitening";

/// The most values of a patch: the time of an eigendecomposition grows with the cube.
const MOST_VALUES: usize = 1024;

/// Images whose patches are summed at a time; the sums of the chunks are added in order, so that the number of cores changes
/// nothing.
const CHUNK: usize = 64;

/// A convolution whose filters decorrelate the pixels of a patch, so that training starts from inputs of equal scale.
///
/// Before the first step, the filters are computed from the training images, and then stay as they are:
///
/// ```text
/// covariance = mean over all patches x of x * transpose(x)
/// covariance * e[i] = value[i] * e[i]             eigenvectors of length 1, the largest value first
/// filters[i] = e[i] / sqrt(value[i] + epsilon)    and filters[i + n] = -filters[i], for the n values of a patch
/// ```
///
/// There is no padding and the stride is 1. The layer reads the network's images: no other input has patches to compute
/// filters from. A patch has at most 1024 values.
///
/// # Source
/// Keller Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", section 3.1, after tysam-code/hlb-CIFAR10.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whitening {
    /// Size of a patch, [height, width].
    pub kernel_size: [usize; 2],
    /// What keeps directions that hardly vary from becoming large: above 0.
    pub epsilon: f32,
    /// Whether a bias is added to each output channel; it starts at zero and is trained.
    pub bias: bool,
}

impl Whitening {
    /// Filters of `kernel_size`, [height, width], with an epsilon of 5e-4 and a bias.
    pub fn new(kernel_size: [usize; 2]) -> Self {
        Whitening { kernel_size, epsilon: 5e-4, bias: true }
    }

    /// The same without a bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Number of values of a patch.
    fn values(&self, image: ImageShape) -> usize {
        self.kernel_size.iter().fold(image.channels, |values, &size| values.saturating_mul(size))
    }

    /// The convolution of these features.
    fn of(&self, features: Features) -> Result<Conv2d> {
        let values = self.values(features.image_for("an image")?);
        if values > MOST_VALUES {
            return Err(Error::invalid(NAME, format!("patches of at most {MOST_VALUES} values"), values));
        }
        Ok(Conv2d {
            out_channels: 2 * values,
            groups: 1,
            window: WindowOptions::new(self.kernel_size),
            bias: self.bias,
            initialiser: Initialiser::default(),
        })
    }

    /// The uncentred covariance of all patches, `[n,n]` in row-major order.
    fn covariance(&self, sample: &Sample<'_>) -> Vec<f64> {
        let image = sample.image();
        let (n, [kernel_height, kernel_width]) = (self.values(image), self.kernel_size);
        let [rows, columns] = [image.height - kernel_height + 1, image.width - kernel_width + 1];
        let of_chunk = |chunk: &[usize]| {
            let mut sums = vec![0.0; n * n];
            let mut patch = vec![0.0; n];
            for &number in chunk {
                let pixels = sample.pixels(number);
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    let length = kernel_width * image.channels;
                    for (r, line) in patch.chunks_exact_mut(length).enumerate() {
                        let first = ((row + r) * image.width + column) * image.channels;
                        let pixels = &pixels[first..][..length];
                        line.iter_mut().zip(pixels).for_each(|(value, &pixel)| *value = f64::from(pixel));
                    }
                    for (sums, &a) in sums.chunks_exact_mut(n).zip(&patch) {
                        sums.iter_mut().zip(&patch).for_each(|(sum, &b)| *sum += a * b);
                    }
                }
            }
            sums
        };
        let numbers: Vec<usize> = (0..sample.len()).collect();
        let chunks: Vec<Vec<f64>> = numbers.par_chunks(CHUNK).map(of_chunk).collect();
        let patches = (sample.len() * rows * columns) as f64;
        let mut sums = vec![0.0; n * n];
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, part)| *sum += part);
        }
        sums.iter_mut().for_each(|sum| *sum /= patches);
        sums
    }
}

fn read(keys: &mut Keys) -> Result<Whitening> {
    let default = Whitening::new(keys.required("kernel_size", Keys::pair)?);
    Ok(Whitening {
        epsilon: keys.optional("eps", Keys::number)?.unwrap_or(default.epsilon),
        bias: keys.optional("bias", Keys::boolean)?.unwrap_or(default.bias),
        ..default
    })
}

impl LayerType for Whitening {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        let default = Whitening::new(self.kernel_size);
        let mut keys = window::keys(&WindowOptions::new(self.kernel_size), [1, 1]);
        keys.extend((self.epsilon != default.epsilon).then(|| ("eps", number(self.epsilon))));
        keys.extend((!self.bias).then(|| ("bias", Value::from(false))));
        keys
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(Error::invalid(NAME, "a finite eps above 0", self.epsilon));
        }
        let mut inferred = self.of(inputs[0])?.infer(inputs)?;
        inferred.variables[0].kind = Kind::Frozen;
        Ok(inferred)
    }

    fn arithmetic(&self, variables: &[Variable]) -> Option<String> {
        weighted::arithmetic(variables)
    }

    fn windows(&self, input: Features) -> Option<[Axis; 2]> {
        self.of(input).ok()?.windows(input)
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        self.of(site.features())?.pytorch(site)
    }

    fn is_fitted(&self) -> bool {
        true
    }

    fn fit(&self, sample: &Sample<'_>) -> Vec<(&'static str, Vec<f32>)> {
        let n = self.values(sample.image());
        let eigen = DMatrix::from_vec(n, n, self.covariance(sample)).symmetric_eigen();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let filters: Vec<f32> = order
            .into_iter()
            .flat_map(|number| {
                let vector = eigen.eigenvectors.column(number);
                // An eigenvector has no sign of its own: its largest value is positive, so that the filters of a sample are
                // the same everywhere.
                let sign = vector[vector.iamax()].signum();
                // Rounding may leave a value of zero just below it.
                let scale = sign / (eigen.eigenvalues[number].max(0.0) + f64::from(self.epsilon)).sqrt();
                vector.iter().map(|value| (value * scale) as f32).collect::<Vec<_>>()
            })
            .collect();
        let negatives = filters.iter().map(|value| -value);
        vec![(weighted::WEIGHT, filters.iter().copied().chain(negatives).collect())]
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        self.of(site.input_features(0))?.forward(site)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        self.of(site.input_features(0))?.backward(site, grad_output)
    }
}

impl NetworkBuilder {
    /// Adds a whitening of patches of `kernel_size`, [height, width]: the network's first layer.
    pub fn whitening(self, kernel_size: [usize; 2]) -> Self {
        self.layer(Whitening::new(kernel_size))
    }
}
