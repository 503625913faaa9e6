//! What a user may say about how data are loaded.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Colour, Fit, MAX_SIDE};
use crate::files::CacheFolder;
use crate::{Error, Result};

/// How data are loaded. The default takes them as they lie.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Determines the synthetic digits, and which images are held out where the data do not say it.
    pub seed: u64,
    /// The largest number of images to use of each part.
    pub limit: Option<usize>,
    /// Height and width to bring all images to; without them, all images must be of one size.
    pub image_size: Option<[usize; 2]>,
    /// How images of other sizes come to `image_size`.
    pub fit: Fit,
    /// 1 (grey) or 3 (red, green, blue); without it, grey if all images are.
    pub channels: Option<usize>,
    /// What shows through transparent pictures.
    pub background: Colour,
    /// Share of the training images to hold out as the validation set, between 0 and 1.
    pub validation: Option<f64>,
    /// A CSV file that names the class of each picture in a folder, in columns such as `file` and `label`.
    pub labels: Option<PathBuf>,
    /// Go on without broken pictures, instead of refusing the data.
    pub skip_broken: bool,
    /// Is told how many pictures have been decoded.
    pub progress: Progress,
    /// Where pictures that were resized are kept, so that the next load need not decode them; without it, nowhere.
    pub cache: Option<CacheFolder>,
}

impl LoadOptions {
    /// The default, but for the seed.
    pub fn seed(seed: u64) -> Self {
        LoadOptions { seed, ..LoadOptions::default() }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is out of range.
    pub fn check(&self) -> Result<()> {
        if let Some(size) = self.image_size
            && let Some(side) = size.iter().find(|side| !(1..=MAX_SIDE).contains(*side))
        {
            return Err(Error::invalid("image size", format!("sides from 1 to {MAX_SIDE}"), side));
        }
        if let Some(channels) = self.channels.filter(|channels| ![1, 3].contains(channels)) {
            return Err(Error::invalid("channels", "1 (grey) or 3 (colour)", channels));
        }
        if let Some(share) = self.validation.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            return Err(Error::invalid("validation", "a share between 0 and 1", share));
        }
        if self.limit == Some(0) {
            return Err(Error::invalid("limit", "at least 1", 0));
        }
        Ok(())
    }

    /// The largest number of images to use of a part.
    pub(super) fn rows(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// The number of training images to read, which are more than are used if others are held out of them.
    pub(super) fn training_rows(&self) -> usize {
        if self.validation.is_some() { usize::MAX } else { self.rows() }
    }
}

/// Is told how many pictures of how many have been decoded, from several threads and in any order.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Watch>>);

type Watch = dyn Fn(usize, usize) + Send + Sync;

impl Progress {
    /// Calls `watch` with the number of pictures that have been decoded, and with that of all.
    pub fn new(watch: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        Progress(Some(Arc::new(watch)))
    }

    pub(super) fn say(&self, done: usize, all: usize) {
        if let Some(watch) = &self.0 {
            watch(done, all);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(..)" } else { "Progress" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        let refused = |options: LoadOptions| options.check().unwrap_err().to_string();
        let base = LoadOptions::default;
        base().check().unwrap();
        let expected = "image size: expected sides from 1 to 4096, found 0";
        assert_eq!(refused(LoadOptions { image_size: Some([3, 0]), ..base() }), expected);
        let expected = "channels: expected 1 (grey) or 3 (colour), found 2";
        assert_eq!(refused(LoadOptions { channels: Some(2), ..base() }), expected);
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            let expected = format!("validation: expected a share between 0 and 1, found {share}");
            assert_eq!(refused(LoadOptions { validation: Some(share), ..base() }), expected);
        }
        assert_eq!(refused(LoadOptions { limit: Some(0), ..base() }), "limit: expected at least 1, found 0");
    }
}
