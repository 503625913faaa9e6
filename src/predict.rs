//! Asking a trained network about images.
//!
//! A [`Predictor`] opens a run and classifies images with the weights that were learnt, prepared exactly as the training's
//! were:
//!
//! ```no_run
//! use std::path::Path;
//! use wgconv::Predictor;
//!
//! # fn main() -> wgconv::Result<()> {
//! let mut predictor = Predictor::open(Path::new("runs/lenet-1"))?;
//! let picture = predictor.preprocessing().open(Path::new("seven.jpg"))?;
//! let prediction = &predictor.predict(&[picture])?[0];
//! for (class, probability) in prediction.top(3) {
//!     println!("{}: {:.1} %", predictor.classes()[class], 100.0 * probability);
//! }
//! # Ok(())
//! # }
//! ```

use std::cmp::Ordering;
use std::path::Path;

use crate::data::{Dataset, HeldOut, Preprocessing};
use crate::device::DeviceChoice;
use crate::network::{Network, Weights};
use crate::plan::Executor;
use crate::tensor::ImageShape;
use crate::train::{Evaluator, RunConfig, RunFolder};
use crate::{Error, Result, executors};

/// What a network says about an image: a probability for each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    probabilities: Vec<f64>,
    class: usize,
}

impl Prediction {
    /// The softmax of one logit per class: `exp(logits[c]) / sum over d of exp(logits[d])`.
    ///
    /// # Panics
    /// When there is no logit.
    pub fn of_logits(logits: &[f64]) -> Self {
        let class = winner(logits);
        let powers = logits.iter().map(|logit| (logit - logits[class]).exp());
        let sum: f64 = powers.clone().sum();
        Prediction { probabilities: powers.map(|power| power / sum).collect(), class }
    }

    /// The most probable class: the first of them if there are several.
    pub fn class(&self) -> usize {
        self.class
    }

    /// The probability of each class; they add up to 1.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// The `count` most probable classes and their probabilities, the most probable first; all of them if there are fewer.
    pub fn top(&self, count: usize) -> Vec<(usize, f64)> {
        let mut classes: Vec<(usize, f64)> = self.probabilities.iter().copied().enumerate().collect();
        // A stable sort, so that equals keep the order of the classes.
        classes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        classes.truncate(count);
        classes
    }
}

/// The first class with the largest logit, as the loss counts it: a NaN is larger than any number.
pub(crate) fn winner(logits: &[f64]) -> usize {
    let order = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).expect("two numbers"),
        (a, b) => a.cmp(&b),
    };
    let all = logits.iter().copied().enumerate();
    let best = all.reduce(|best, other| match order(other.1, best.1) {
        Ordering::Greater => other,
        _ => best,
    });
    best.expect("at least one logit").0
}

/// Classifies images with a trained network.
pub struct Predictor {
    executor: Box<dyn Executor>,
    evaluator: Evaluator,
    image: ImageShape,
    classes: Vec<String>,
    preprocessing: Preprocessing,
    batch_size: usize,
}

impl Predictor {
    /// The best weights of the run in this folder (the last ones if the run ended before there was a best), on a GPU if
    /// there is one, otherwise on the CPU.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] when the run's files are missing or damaged; any error of the device.
    pub fn open(run: &Path) -> Result<Predictor> {
        let (run, config, network) = RunFolder::open(run)?;
        let weights = run.load(run.default_weights(), &network)?;
        let executor = executors::open(&DeviceChoice::Auto, false)?.executor;
        Predictor::new(executor, &config, &network, &weights)
    }

    /// A network and its weights on any executor; `config` says what the images are like and what the classes are called.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the weights are not the network's, or the network does not fit the images or classes; any
    /// error of the device.
    pub fn new(
        mut executor: Box<dyn Executor>,
        config: &RunConfig,
        network: &Network,
        weights: &Weights,
    ) -> Result<Predictor> {
        let (image, classes) = (config.image_shape(), config.classes.clone());
        network.check_data(image, classes.len())?;
        let batch_size = config.training.batch_size;
        // The first batch, until there are images.
        let blank = Dataset::new(
            image,
            classes.clone(),
            vec![0; batch_size * image.elements()],
            vec![0; batch_size],
        )?;
        let normalisation = &config.preprocessing.normalisation;
        let evaluator =
            Evaluator::new(executor.as_mut(), network, (HeldOut::Test, &blank), normalisation, batch_size)?;
        evaluator.set_weights(executor.as_mut(), network, weights)?;
        let preprocessing = config.preprocessing.clone();
        Ok(Predictor { executor, evaluator, image, classes, preprocessing, batch_size })
    }

    /// Name of each class, by the numbers that predictions use.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How a picture becomes an image for [`Predictor::predict`]: [`Preprocessing::open`] and [`Preprocessing::decode`].
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Number of images that the device works on at a time. Others than a multiple of it take as long as the next multiple.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// A prediction for each image, which is given as its pixels [height, width, channels] of
    /// [`Preprocessing::image`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size; [`Error::NotFinite`] when the weights give no sound numbers;
    /// [`Error::Device`] when the device failed.
    pub fn predict(&mut self, images: &[impl AsRef<[u8]>]) -> Result<Vec<Prediction>> {
        let size = self.image.elements();
        if let Some(wrong) = images.iter().map(AsRef::as_ref).find(|image| image.len() != size) {
            let expected = format!("{size} bytes, an image of {}", self.image);
            return Err(Error::invalid("image", expected, format!("{} bytes", wrong.len())));
        }
        let mut predictions = Vec::with_capacity(images.len());
        for batch in images.chunks(self.batch_size) {
            let pixels = batch.iter().flat_map(AsRef::as_ref).copied().collect();
            let data = Dataset::new(self.image, self.classes.clone(), pixels, vec![0; batch.len()])?;
            self.evaluator.replace_data(self.executor.as_mut(), data)?;
            let (_, logits) = self.evaluator.classify(self.executor.as_mut())?;
            predictions.extend(logits.chunks_exact(self.classes.len()).map(Prediction::of_logits));
        }
        Ok(predictions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax_and_come_in_order() {
        let prediction = Prediction::of_logits(&[1.0, 3.0, 3.0, -1000.0]);
        assert_eq!(prediction.class(), 1);
        let rest = (-2.0f64).exp();
        let expected = [rest, 1.0, 1.0, 0.0].map(|power| power / (2.0 + rest));
        assert_eq!(prediction.probabilities(), expected);
        assert_eq!(prediction.top(3), [(1, expected[1]), (2, expected[2]), (0, expected[0])]);
        assert_eq!(prediction.top(9).len(), 4);
        // Large logits do not overflow.
        assert_eq!(Prediction::of_logits(&[5000.0, 4000.0]).probabilities(), [1.0, 0.0]);
    }

    #[test]
    fn the_winner_is_the_first_of_the_largest() {
        assert_eq!(winner(&[0.0, -0.0]), 0);
        assert_eq!(winner(&[-1.0, 2.0, 2.0]), 1);
        assert_eq!(winner(&[1.0, f64::NAN, f64::INFINITY, f64::NAN]), 1);
    }
}
