//! Labelled images in host memory, and their sources.
//!
//! [`load`] takes the name of a source: `synthetic`, or a folder or file whose content shows its format:
//!
//! | source | what it may hold |
//! | --- | --- |
//! | pictures in folders | `train/CLASS/*`, `val/CLASS/*`, `test/CLASS/*`, or `CLASS/*`; the folders may lie deeper |
//! | pictures and a CSV file | [`LoadOptions::labels`] names the file |
//! | IDX files | MNIST and its relatives, plain or gzipped |
//! | NumPy arrays | `.npz` with MedMNIST's or Keras's names, Kuzushiji's files, pairs of `.npy` |
//! | CIFAR binaries | CIFAR-10 and CIFAR-100 |
//!
//! Of several sets in one folder, as EMNIST's, the source is the folder and the set's name: `emnist/gzip/emnist-letters`.
//!
//! Images of your own memory become a [`Dataset`]. [`Preprocessing`] says how a picture becomes what a network sees; a run
//! stores it, and [`load_for`] brings other data to it.

mod balance;
mod cifar;
mod colour;
mod dataset;
mod elements;
mod found;
mod hold_out;
mod idx;
mod labels;
mod layout;
mod normalisation;
mod numpy;
mod options;
mod picture;
mod pictures;
mod prepare;
mod preprocessing;
mod reading;
mod resized;
mod skipped;
mod source;
mod splits;
mod synthetic;
mod warnings;

pub use balance::balanced_weights;
pub use colour::Colour;
pub use dataset::Dataset;
pub use layout::picture_files;
pub use normalisation::Normalisation;
pub use options::{LoadOptions, Progress};
pub use picture::MAX_PICTURE_BYTES;
pub use prepare::{Measured, load, load_for, load_held_out, load_to_look};
pub use preprocessing::{Fit, Preprocessing};
pub use source::{absolute, absolute_labels};
pub use splits::{DataSplits, HeldOut};
pub use synthetic::{TEST_ROWS, TRAIN_ROWS, synthetic};

use crate::tensor::ImageShape;
use crate::{Result, host_memory};

/// The largest height and width of an image.
const MAX_SIDE: usize = 4096;

/// What pixels need memory for, and what to do if there is too little.
fn purpose(images: usize, image: ImageShape) -> (String, &'static str) {
    (format!("decoding {images} images of {image}"), "fewer of them (--limit)")
}

/// Checks that there is memory for the pixels of so many images.
fn check_pixel_room(images: usize, image: ImageShape) -> Result<()> {
    let (what, advice) = purpose(images, image);
    host_memory::check(&what, images.saturating_mul(image.elements()) as u64, advice)
}

/// Allocates memory for the pixels of sets of these sizes, if it is available together with `more` bytes.
fn pixel_room<const SETS: usize>(
    rows: [usize; SETS],
    image: ImageShape,
    more: u64,
) -> Result<[Vec<u8>; SETS]> {
    let bytes = rows.map(|rows| rows.saturating_mul(image.elements()));
    let (what, advice) = purpose(rows.iter().sum(), image);
    let all = bytes.iter().fold(more, |all, &bytes| all.saturating_add(bytes as u64));
    host_memory::check(&what, all, advice)?;
    let mut room = [const { Vec::new() }; SETS];
    for (room, bytes) in room.iter_mut().zip(bytes) {
        *room = host_memory::reserved(&what, bytes, advice)?;
    }
    Ok(room)
}

/// Class names for data without any: `0`, `1`, ...
fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}
