//! Mean and deviation of the pixels.

use serde::{Deserialize, Serialize};

use super::Dataset;

/// Mean and standard deviation of each channel, in byte units.
///
/// A network sees `(pixel - mean[channel]) / deviation[channel]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel; 1 for a channel that never changes.
    pub deviation: Vec<f32>,
}

impl Normalisation {
    /// Measures `data`, with exact integer sums; mean 0 and deviation 1 if it holds no image.
    pub fn measure(data: &Dataset) -> Self {
        let channels = data.image.channels;
        let pixels = (data.len() * data.image.height * data.image.width).max(1) as u128;
        let (mean, deviation) = (0..channels)
            .map(|channel| {
                let values = data.images.iter().skip(channel).step_by(channels);
                let (sum, squares) = values.fold((0u64, 0u64), |(sum, squares), &value| {
                    (sum + u64::from(value), squares + u64::from(value).pow(2))
                });
                let spread = pixels * u128::from(squares) - u128::from(sum).pow(2);
                let deviation = if spread == 0 { 1.0 } else { (spread as f64).sqrt() / pixels as f64 };
                ((sum as f64 / pixels as f64) as f32, deviation as f32)
            })
            .unzip();
        Normalisation { mean, deviation }
    }

    /// What a channel's bytes are multiplied by, for each channel, and then what is added to the products.
    pub(crate) fn scale_and_shift(&self) -> Vec<f32> {
        let scale = self.deviation.iter().map(|deviation| 1.0 / deviation);
        let shift = self.mean.iter().zip(&self.deviation).map(|(mean, deviation)| -mean / deviation);
        scale.chain(shift).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ImageShape;

    #[test]
    fn normalisation_is_measured_a_channel() {
        let image = ImageShape { height: 1, width: 2, channels: 2 };
        let data = Dataset::new(image, vec!["a".into()], vec![0, 9, 2, 9, 4, 9, 6, 9], vec![0, 0]);
        let figures = Normalisation::measure(&data.unwrap());
        assert_eq!(figures.mean, [3.0, 9.0]);
        assert_eq!(figures.deviation, [5f32.sqrt(), 1.0]);
    }
}
