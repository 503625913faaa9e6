//! The options that say which images to use, and how they are prepared.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use wgconv::data::{Colour, Fit, LoadOptions, Progress};
use wgconv::files::CacheFolder;
use wgconv::{Error, Result};

/// Which images to train on, and how pictures become images.
#[derive(Args, Clone, Debug)]
pub struct DataOptions {
    /// Images: `synthetic` (built-in digits), a folder of pictures (train/CLASS/* or CLASS/*), IDX, NumPy or CIFAR files,
    /// or an .npz file [default: synthetic]
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    #[command(flatten)]
    pub preparation: PreparationOptions,
}

/// How pictures become images, and which of them are used.
#[derive(Args, Clone, Debug)]
pub struct PreparationOptions {
    /// Bring all images to this size: N, or HEIGHTxWIDTH
    #[arg(long, value_name = "SIZE", value_parser = size)]
    image_size: Option<[usize; 2]>,
    /// How images of another size come to --image-size: crop, pad or stretch [default: crop]
    #[arg(long, alias = "resize", value_name = "HOW", requires = "image_size")]
    fit: Option<Fit>,
    /// Channels to convert all images to: 1 (grey) or 3 [default: 1 if all images are grey, otherwise 3]
    #[arg(long, value_name = "N")]
    channels: Option<usize>,
    /// The same as --channels 1
    #[arg(long, alias = "greyscale", conflicts_with = "channels")]
    grayscale: bool,
    /// Colour behind transparent pictures and around padded ones: white, black or #rrggbb [default: white]
    #[arg(long, value_name = "COLOUR")]
    background: Option<Colour>,
    /// Hold out this share of the training images as the validation set
    #[arg(long, value_name = "FRACTION")]
    validation: Option<f64>,
    /// CSV file with the class of each picture, in columns such as file,label
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Leave broken pictures out, instead of refusing the data
    #[arg(long)]
    skip_broken: bool,
    /// Use only the first N images of each set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl PreparationOptions {
    /// The options for loading the data.
    pub fn load_options(&self, seed: u64) -> Result<LoadOptions> {
        let options = LoadOptions {
            seed,
            limit: self.limit.map(|limit| limit as usize),
            image_size: self.image_size,
            fit: self.fit.unwrap_or_default(),
            channels: if self.grayscale { Some(1) } else { self.channels },
            background: self.background.unwrap_or_default(),
            validation: self.validation,
            labels: self.labels.clone(),
            skip_broken: self.skip_broken,
            progress: decoding_bar(),
            cache: CacheFolder::of_user(),
        };
        options.check().map(|()| options)
    }

    /// The first option that says how images are prepared, which a run that is resumed says itself.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.image_size.is_some(), "--image-size"),
            (self.fit.is_some(), "--fit"),
            (self.channels.is_some(), "--channels"),
            (self.grayscale, "--grayscale"),
            (self.background.is_some(), "--background"),
            (self.validation.is_some(), "--validation"),
            (self.labels.is_some(), "--labels"),
            (self.skip_broken, "--skip-broken"),
            (self.limit.is_some(), "--limit"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }
}

/// A bar on a terminal while pictures are decoded.
fn decoding_bar() -> Progress {
    let style = ProgressStyle::with_template("decoding {bar:30} {pos}/{len} pictures, {per_sec}");
    let style = style.expect("a valid template");
    let bar = ProgressBar::new(0).with_style(style).with_finish(ProgressFinish::AndClear);
    Progress::new(move |done, all| {
        bar.set_length(all as u64);
        bar.inc(1);
        if done == all {
            bar.finish_and_clear();
        }
    })
}

/// Height and width from `N` or `HEIGHTxWIDTH`.
fn size(text: &str) -> Result<[usize; 2], Error> {
    let wrong = || Error::invalid("image size", "N or HEIGHTxWIDTH", format!("{text:?}"));
    let side = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    match text.split_once(['x', 'X']) {
        Some((height, width)) => Ok([side(height)?, side(width)?]),
        None => side(text).map(|side| [side, side]),
    }
}
