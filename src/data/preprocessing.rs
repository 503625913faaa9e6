//! How a picture becomes what a network sees.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::picture::{self, Picture};
use super::{Colour, MAX_SIDE, Normalisation};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// How a picture of another size comes to a network's size. What is drawn is never enlarged or shrunk without smoothing:
/// pixels are averaged over the area that they cover (a triangle filter, as Pillow's `BILINEAR`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The largest part in the middle that has the network's proportions is cut out and scaled.
    #[default]
    Crop,
    /// The whole picture is scaled until it fits inside, and the rest is filled with the background.
    Pad,
    /// The whole picture is scaled, each axis for itself.
    Stretch,
}

impl Fit {
    /// The names of all ways.
    pub const NAMES: [&str; 3] = ["crop", "pad", "stretch"];
}

impl FromStr for Fit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "crop" => Ok(Fit::Crop),
            "pad" => Ok(Fit::Pad),
            "stretch" => Ok(Fit::Stretch),
            _ => Err(Error::invalid("fit", Fit::NAMES.join(", "), format!("{name:?}"))),
        }
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fit::Crop => "crop",
            Fit::Pad => "pad",
            Fit::Stretch => "stretch",
        })
    }
}

/// How a picture becomes what a network sees. A run stores it, and training, evaluation and prediction use the same.
///
/// A picture is turned upright as its EXIF orientation says, laid over the background where it is transparent, brought to
/// the channels and the size, and normalised by the device. [`Preprocessing::decode`] does everything but the last.
///
/// - 16 bits a channel are scaled to 8, rounded.
/// - Colours become grey as `0.299 R + 0.587 G + 0.114 B`, rounded; grey becomes colour by equal channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Height and width of the images.
    pub image_size: [usize; 2],
    /// 1 (grey) or 3 (red, green, blue); images from memory may have other numbers.
    pub channels: usize,
    /// How pictures of other sizes come to this size.
    #[serde(default)]
    pub fit: Fit,
    /// What shows through transparent pictures, and what [`Fit::Pad`] fills with.
    #[serde(default)]
    pub background: Colour,
    /// Mean and deviation by which the device normalises the bytes.
    pub normalisation: Normalisation,
}

impl Preprocessing {
    /// That of images of this size whose pixels have these figures: [`Fit::Crop`], on white.
    pub fn new(image: ImageShape, normalisation: Normalisation) -> Self {
        Preprocessing {
            image_size: [image.height, image.width],
            channels: image.channels,
            fit: Fit::default(),
            background: Colour::default(),
            normalisation,
        }
    }

    /// The size of an image.
    pub fn image(&self) -> ImageShape {
        let [height, width] = self.image_size;
        ImageShape { height, width, channels: self.channels }
    }

    /// The pixels of a picture file: [height, width, channels] of [`Preprocessing::image`].
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::File`] when it is no picture, broken, or too large.
    pub fn open(&self, path: &Path) -> Result<Vec<u8>> {
        self.decode(path, &picture::read(path)?)
    }

    /// The pixels of the picture that a file of these bytes holds: [height, width, channels] of
    /// [`Preprocessing::image`]. The content, not the name, says which format it is: PNG, JPEG, BMP, GIF (its first
    /// frame), WebP, TIFF or PNM. `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] when it is no picture, broken, or too large.
    pub fn decode(&self, path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(self.convert(Picture::decode(path, bytes, self.background)?))
    }

    /// The pixels of a decoded picture.
    pub(super) fn convert(&self, picture: Picture) -> Vec<u8> {
        // Whichever has fewer channels is scaled.
        let picture = if self.channels == 1 { picture.into_grey() } else { picture };
        let picture = picture.fitted(self.image_size, self.fit, self.background);
        if self.channels == 1 { picture.into_pixels() } else { picture.into_rgb().into_pixels() }
    }

    /// Checks every number, for a file that may have been edited by hand.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size, mean or deviation out of range.
    pub fn check(&self) -> Result<()> {
        let Preprocessing { image_size, channels, normalisation: Normalisation { mean, deviation }, .. } =
            self;
        for size in image_size.iter().chain([channels]) {
            if !(1..=MAX_SIDE).contains(size) {
                return Err(Error::invalid("size of an image", format!("1 to {MAX_SIDE}"), size));
            }
        }
        if (mean.len(), deviation.len()) != (*channels, *channels) {
            let expected = format!("means and deviations of {channels} channels");
            let found = format!("{} and {}", mean.len(), deviation.len());
            return Err(Error::invalid("normalisation", expected, found));
        }
        for (channel, (mean, deviation)) in mean.iter().zip(deviation).enumerate() {
            if !mean.is_finite() {
                return Err(Error::invalid(format!("mean of channel {channel}"), "a finite number", mean));
            }
            if !(deviation.is_finite() && *deviation > 0.0) {
                let what = format!("deviation of channel {channel}");
                return Err(Error::invalid(what, "a finite number above 0", deviation));
            }
        }
        Ok(())
    }
}
