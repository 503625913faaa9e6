//! Labelled images in host memory.

use std::sync::Arc;

use crate::tensor::ImageShape;
use crate::{Error, Result};

/// Labelled images of one size.
///
/// Images of your own become one by [`Dataset::new`] (bytes) or [`Dataset::from_floats`]:
///
/// ```
/// use wgconv::data::{DataSplits, Dataset};
/// use wgconv::tensor::ImageShape;
///
/// let image = ImageShape { height: 2, width: 3, channels: 1 };
/// let classes = vec!["dark".to_string(), "bright".to_string()];
/// // Two images, row by row; the channels of a pixel lie side by side.
/// let bytes = vec![10, 20, 10, 0, 0, 10, 250, 255, 240, 230, 255, 255];
/// let train = Dataset::new(image, classes.clone(), bytes, vec![0, 1])?;
/// let test = Dataset::from_floats(image, classes, &[0.8; 6], vec![1])?;
/// assert_eq!(test.image(0), [204; 6]);
///
/// let data = DataSplits::new("mine", train, test)?;
/// assert_eq!(data.train.len(), 2);
/// # Ok::<(), wgconv::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Size of every image.
    pub image: ImageShape,
    /// Name of each class; a label is an index into it.
    pub classes: Vec<String>,
    /// Pixels as bytes: [rows, height, width, channels]; shared with the executor that reads them.
    pub images: Arc<Vec<u8>>,
    /// Class of each row.
    pub labels: Vec<u32>,
}

impl Dataset {
    /// A dataset, checked for consistency.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `images` does not hold one image per label, or a label names no class.
    pub fn new(image: ImageShape, classes: Vec<String>, images: Vec<u8>, labels: Vec<u32>) -> Result<Self> {
        Self::check(image, &classes, images.len(), "bytes", &labels)?;
        Ok(Dataset { image, classes, images: images.into(), labels })
    }

    /// A dataset of values from 0 (black) to 1 (white), in the order of [`Dataset::images`]; they are rounded to bytes.
    ///
    /// # Errors
    /// Those of [`Dataset::new`]; [`Error::Invalid`] for a value outside 0 to 1, NaN included.
    pub fn from_floats(
        image: ImageShape,
        classes: Vec<String>,
        values: &[f32],
        labels: Vec<u32>,
    ) -> Result<Self> {
        Self::check(image, &classes, values.len(), "values", &labels)?;
        if let Some(row) = values.iter().position(|value| !(0.0..=1.0).contains(value)) {
            let found = format!("{} in image {}", values[row], row / image.elements());
            return Err(Error::invalid("dataset", "values from 0 to 1", found));
        }
        let images = values.iter().map(|&value| byte(value.into())).collect();
        Ok(Dataset { image, classes, images: Arc::new(images), labels })
    }

    fn check(image: ImageShape, classes: &[String], values: usize, unit: &str, labels: &[u32]) -> Result<()> {
        let sizes = [image.height, image.width, image.channels];
        let elements = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if elements == Some(0) {
            return Err(Error::invalid("dataset", "images of at least one pixel", image));
        }
        if elements.and_then(|elements| labels.len().checked_mul(elements)) != Some(values) {
            let expected = format!("{} images of {image}", labels.len());
            return Err(Error::invalid("dataset", expected, format!("{values} {unit}")));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len()) {
            return Err(Error::invalid("dataset", format!("labels below {}", classes.len()), label));
        }
        Ok(())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image: [height, width, channels].
    ///
    /// # Panics
    /// When there is no such row.
    pub fn image(&self, row: usize) -> &[u8] {
        let size = self.image.elements();
        &self.images[row * size..(row + 1) * size]
    }

    /// Number of images of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// The first `rows` images, or all of them when there are fewer.
    pub fn head(mut self, rows: usize) -> Self {
        let rows = rows.min(self.len());
        let elements = rows * self.image.elements();
        if elements < self.images.len() {
            Arc::make_mut(&mut self.images).truncate(elements);
        }
        self.labels.truncate(rows);
        self
    }

    /// The same without any image.
    pub(super) fn emptied(&self) -> Self {
        let (images, labels) = (Arc::default(), Vec::new());
        Dataset { image: self.image, classes: self.classes.clone(), images, labels }
    }
}

/// The byte of a value from 0 (black) to 1 (white).
pub(super) fn byte(value: f64) -> u8 {
    (value * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: ImageShape = ImageShape { height: 1, width: 2, channels: 2 };

    fn classes() -> Vec<String> {
        ["a", "b", "c"].map(String::from).to_vec()
    }

    fn dataset(images: Vec<u8>, labels: Vec<u32>) -> Result<Dataset> {
        Dataset::new(IMAGE, classes(), images, labels)
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert!(dataset(vec![0; 8], vec![0, 2]).is_ok());
        assert_eq!(
            dataset(vec![0; 7], vec![0, 2]).unwrap_err().to_string(),
            "dataset: expected 2 images of 1x2x2, found 7 bytes"
        );
        assert_eq!(
            dataset(vec![0; 8], vec![0, 3]).unwrap_err().to_string(),
            "dataset: expected labels below 3, found 3"
        );
        let nothing = ImageShape { height: 0, width: 2, channels: 1 };
        assert!(Dataset::new(nothing, classes(), vec![], vec![0]).is_err());
        let huge = ImageShape { height: usize::MAX, width: 2, channels: 1 };
        assert!(Dataset::new(huge, classes(), vec![], vec![0]).is_err());
    }

    #[test]
    fn floats_are_rounded_to_bytes_and_refused_beyond_0_to_1() {
        let floats = |values: [f32; 4]| Dataset::from_floats(IMAGE, classes(), &values, vec![1]);
        let data = floats([0.0, 1.0, 0.5, 0.25]).unwrap();
        assert_eq!(*data.images, [0, 255, 128, 64]);
        for (value, found) in [(f32::NAN, "NaN"), (-0.001, "-0.001"), (255.0, "255")] {
            let error = floats([0.0, 0.0, 0.0, value]).unwrap_err().to_string();
            assert_eq!(error, format!("dataset: expected values from 0 to 1, found {found} in image 0"));
        }
    }

    #[test]
    fn head_keeps_the_first_rows() {
        let all = dataset((0..8).collect(), vec![0, 2]).unwrap();
        assert_eq!(all.image(1), [4, 5, 6, 7]);
        assert_eq!(all.counts(), [1, 0, 1]);
        assert_eq!(all.clone().head(9), all);
        let head = all.head(1);
        assert_eq!((head.len(), head.images.to_vec()), (1, vec![0, 1, 2, 3]));
    }
}
