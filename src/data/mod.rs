//! Labelled images in host memory, and their sources.
//!
//! [`load`] takes the name of a source: `synthetic`, or a folder whose content shows its format: IDX files (MNIST and
//! its relatives), CIFAR binaries, or a folder of PNG and JPEG files for each class.

mod balance;
mod cifar;
mod folder;
mod idx;
mod synthetic;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use balance::balanced_weights;
pub use synthetic::{TEST_ROWS, TRAIN_ROWS, synthetic};

use crate::tensor::ImageShape;
use crate::{Error, Result, host_memory};

/// The source that needs no file.
const SYNTHETIC: &str = "synthetic";

/// The largest height and width that a file may declare.
const MAX_SIDE: usize = 4096;

/// Labelled images of one size.
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
        if labels.len().checked_mul(image.elements()) != Some(images.len()) {
            let expected = format!("{} images of {image}", labels.len());
            return Err(Error::invalid("dataset", expected, format!("{} bytes", images.len())));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len()) {
            return Err(Error::invalid("dataset", format!("labels below {}", classes.len()), label));
        }
        Ok(Dataset { image, classes, images: images.into(), labels })
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
}

/// A training set and a test set with the same classes and image size.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSplits {
    /// Name of the data: `synthetic`, or the folder's name.
    pub name: String,
    /// The images that a network is trained on.
    pub train: Dataset,
    /// The images that it is evaluated on.
    pub test: Dataset,
}

impl DataSplits {
    /// The first `rows` images of each set, or all of them when there are fewer.
    pub fn head(self, rows: usize) -> Self {
        DataSplits { train: self.train.head(rows), test: self.test.head(rows), ..self }
    }
}

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
}

/// The data that `source` names: `synthetic`, or a folder whose format is detected.
///
/// `seed` determines the synthetic digits, and the split of image folders that have no test set.
///
/// # Errors
/// [`Error::Invalid`] when there is no such folder; [`Error::File`] or [`Error::Io`], naming the file, when one is
/// missing, damaged, or inconsistent with the others; [`Error::Memory`] when there is too little memory for the
/// images.
pub fn load(source: &str, seed: u64) -> Result<DataSplits> {
    load_first(source, seed, usize::MAX)
}

/// The first `rows` images of each set of [`load`], or all of them when there are fewer. No others are decoded, and
/// damage after them may go unnoticed. An image folder is grayscale if all images used are.
///
/// # Errors
/// Those of [`load`]; [`Error::Memory`] when there is too little memory for the decoded images.
pub fn load_first(source: &str, seed: u64, rows: usize) -> Result<DataSplits> {
    if source == SYNTHETIC {
        return Ok(synthetic(seed, TRAIN_ROWS.min(rows), TEST_ROWS.min(rows)));
    }
    let path = Path::new(source);
    if !path.is_dir() {
        return Err(Error::invalid(
            "data",
            "`synthetic` or a folder",
            format!("{source:?}, which is no folder"),
        ));
    }
    let (train, test) = if let Some(splits) = idx::load(path, rows)? {
        splits
    } else if let Some(splits) = cifar::load(path, rows)? {
        splits
    } else {
        folder::load(path, seed, rows)?
    };
    let full_path = fs::canonicalize(path).map_err(Error::io("read", path))?;
    let name =
        full_path.file_name().map_or_else(|| source.into(), |name| name.to_string_lossy().into_owned());
    Ok(DataSplits { name, train, test })
}

/// The same source, as a name that is valid from any working directory.
///
/// # Errors
/// [`Error::Io`] when there is no such folder.
pub fn absolute(source: &str) -> Result<String> {
    if source == SYNTHETIC {
        return Ok(source.into());
    }
    let path = fs::canonicalize(source).map_err(Error::io("read", source))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Allocates memory for the pixels of sets of these sizes, if it is available together with `more` bytes.
fn pixel_room<const SETS: usize>(
    rows: [usize; SETS],
    image: ImageShape,
    more: u64,
) -> Result<[Vec<u8>; SETS]> {
    let bytes = rows.map(|rows| rows.saturating_mul(image.elements()));
    let images = rows.iter().sum::<usize>();
    let (what, advice) = (format!("decoding {images} images of {image}"), "fewer of them (--limit)");
    let all = bytes.iter().fold(more, |all, &bytes| all.saturating_add(bytes as u64));
    host_memory::check(&what, all, advice)?;
    let mut room = [const { Vec::new() }; SETS];
    for (room, bytes) in room.iter_mut().zip(bytes) {
        *room = host_memory::reserved(&what, bytes, advice)?;
    }
    Ok(room)
}

/// Paths in a folder, sorted, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Class names for data without any: `0`, `1`, ...
fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(images: Vec<u8>, labels: Vec<u32>) -> Result<Dataset> {
        Dataset::new(ImageShape { height: 1, width: 2, channels: 2 }, numbered(3), images, labels)
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
    }

    #[test]
    fn head_keeps_the_first_rows() {
        let all = dataset((0..8).collect(), vec![0, 2]).unwrap();
        assert_eq!(all.image(1), [4, 5, 6, 7]);
        assert_eq!(all.clone().head(9), all);
        let head = all.head(1);
        assert_eq!((head.len(), head.images.to_vec()), (1, vec![0, 1, 2, 3]));
    }

    #[test]
    fn normalisation_is_measured_a_channel() {
        let figures = Normalisation::measure(&dataset(vec![0, 9, 2, 9, 4, 9, 6, 9], vec![0, 1]).unwrap());
        assert_eq!(figures.mean, [3.0, 9.0]);
        assert_eq!(figures.deviation, [5f32.sqrt(), 1.0]);
    }
}
