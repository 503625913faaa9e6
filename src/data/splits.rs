//! The parts of the data: what a network is trained on, and what it is measured on.

use super::warnings::{unused, warnings};
use super::{Dataset, Normalisation, Preprocessing};
use crate::{Error, Result};

/// The part of the data that each epoch is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOut {
    /// The validation set: the test set is measured once, at the end.
    Validation,
    /// The test set, for want of a validation set. A best epoch that is chosen by it looks better than it is.
    Test,
}

impl HeldOut {
    /// `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            HeldOut::Validation => "validation",
            HeldOut::Test => "test",
        }
    }

    /// The prefix of its metrics' names, and of its buffers' names in a plan: `val` or `test`.
    pub fn prefix(self) -> &'static str {
        match self {
            HeldOut::Validation => "val",
            HeldOut::Test => "test",
        }
    }
}

/// A training set, and the sets that a network is measured on, with the same classes and image size.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSplits {
    /// Name of the data: `synthetic`, or the folder's name.
    pub name: String,
    /// The images that a network is trained on.
    pub train: Dataset,
    /// The images by which the best epoch is chosen, if there are any.
    pub validation: Option<Dataset>,
    /// The images that the network is judged by. There may be none if there is a validation set.
    pub test: Dataset,
    /// How pictures became these images, and the training set's mean and deviation.
    pub preprocessing: Preprocessing,
    /// What the user should know, a line each: files that were skipped, how test images were chosen.
    pub notes: Vec<String>,
    /// What makes results doubtful, a line each.
    pub warnings: Vec<String>,
}

impl DataSplits {
    /// Images of your own: see [`Dataset`].
    ///
    /// # Errors
    /// [`Error::Invalid`] when the sets differ in classes or image size, or there is no training image.
    pub fn new(name: &str, train: Dataset, test: Dataset) -> Result<Self> {
        Self::with_validation(name, train, None, test)
    }

    /// The same with a validation set.
    ///
    /// # Errors
    /// Those of [`DataSplits::new`].
    pub fn with_validation(
        name: &str,
        train: Dataset,
        validation: Option<Dataset>,
        test: Dataset,
    ) -> Result<Self> {
        if train.is_empty() {
            return Err(Error::invalid("data", "training images", "none"));
        }
        for other in validation.iter().chain([&test]) {
            if other.image != train.image {
                let expected = format!("images of {}, as in the training set", train.image);
                return Err(Error::invalid("data", expected, other.image));
            }
            if other.classes != train.classes {
                let expected = format!("the training set's classes, {}", train.classes.join(", "));
                return Err(Error::invalid("data", expected, other.classes.join(", ")));
            }
        }
        let mut data = Self::of(name, train, validation, test);
        data.warnings = warnings(&data);
        Ok(data)
    }

    /// Sets that fit together, without a look at what is in them.
    pub(super) fn of(name: &str, train: Dataset, validation: Option<Dataset>, test: Dataset) -> Self {
        let preprocessing = Preprocessing::new(train.image, Normalisation::measure(&train));
        let (notes, warnings) = (Vec::new(), Vec::new());
        DataSplits { name: name.into(), train, validation, test, preprocessing, notes, warnings }
    }

    /// The sets that hold images, and their names: `training`, `validation`, `test`.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Dataset)> {
        let sets = [
            ("training", Some(&self.train)),
            ("validation", self.validation.as_ref()),
            ("test", Some(&self.test)),
        ];
        sets.into_iter().filter_map(|(name, set)| Some((name, set.filter(|set| !set.is_empty())?)))
    }

    /// A warning if batches of this size use too few of the training images: an epoch's last batch is left out if it is not
    /// full.
    pub fn unused(&self, batch_size: usize) -> Option<String> {
        unused(self.train.len(), batch_size)
    }

    /// The images that each epoch is measured on: the validation set, or the test set if there is none.
    pub fn held_out(&self) -> (HeldOut, &Dataset) {
        match &self.validation {
            Some(validation) => (HeldOut::Validation, validation),
            None => (HeldOut::Test, &self.test),
        }
    }

    /// The first `rows` images of each set, or all of them when there are fewer; mean and deviation are those of the
    /// training images that are left.
    pub fn head(self, rows: usize) -> Self {
        let train = self.train.head(rows);
        let normalisation = Normalisation::measure(&train);
        DataSplits {
            train,
            validation: self.validation.map(|validation| validation.head(rows)),
            test: self.test.head(rows),
            preprocessing: Preprocessing { normalisation, ..self.preprocessing },
            ..self
        }
    }
}
