//! Images as they were found, before they have a common size.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::hold_out::{Purpose, held_out};
use super::{Dataset, pixel_room};
use crate::Result;
use crate::tensor::ImageShape;

/// A part of the data, as its source names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Train,
    Validation,
    Test,
    /// The source has no parts.
    All,
}

/// What a source holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Name of each class; a label is an index into it.
    pub classes: Vec<String>,
    /// Each part at most once; none is empty.
    pub parts: Vec<(Part, Images)>,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

impl Found {
    /// Takes a part out.
    pub fn take(&mut self, part: Part) -> Option<Images> {
        let place = self.parts.iter().position(|(other, _)| *other == part)?;
        Some(self.parts.swap_remove(place).1)
    }
}

/// Labelled images.
#[derive(Clone, Debug)]
pub(super) enum Images {
    Pixels(Pixels),
    Files(Vec<PictureFile>),
}

/// Images that a source holds as plain numbers.
#[derive(Clone, Debug)]
pub(super) struct Pixels {
    /// Where they come from, for messages.
    pub path: PathBuf,
    pub image: ImageShape,
    /// [rows, height, width, channels]
    pub pixels: Vec<u8>,
    pub labels: Vec<u32>,
}

/// A picture file that has a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PictureFile {
    pub path: PathBuf,
    /// Its path within its class, in the same bytes on every system.
    pub key: Vec<u8>,
    pub label: u32,
}

impl PictureFile {
    /// The file at `relative` below the folder of its class.
    pub fn new(path: PathBuf, relative: &Path, label: u32) -> Self {
        let parts: Vec<&[u8]> = relative.iter().map(|part| part.as_encoded_bytes()).collect();
        PictureFile { path, key: parts.join(&b'/'), label }
    }
}

impl Images {
    pub fn len(&self) -> usize {
        match self {
            Images::Pixels(pixels) => pixels.labels.len(),
            Images::Files(files) => files.len(),
        }
    }

    /// The label of each image.
    pub fn labels_mut(&mut self) -> Box<dyn Iterator<Item = &mut u32> + '_> {
        match self {
            Images::Pixels(pixels) => Box::new(pixels.labels.iter_mut()),
            Images::Files(files) => Box::new(files.iter_mut().map(|file| &mut file.label)),
        }
    }

    /// The first `rows` images.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Images::Pixels(Pixels { image, pixels, labels, .. }) => {
                labels.truncate(rows);
                pixels.truncate(labels.len() * image.elements());
            }
            Images::Files(files) => files.truncate(rows),
        }
    }

    /// Moves a share of each class to a set of their own: the images that stay, and those that are held out.
    pub fn hold_out(self, share: f64, purpose: Purpose, seed: u64) -> Result<(Images, Images)> {
        match self {
            Images::Files(files) => {
                let keys = files.iter().map(|file| (file.label, file.key.as_slice()));
                let is_held_out = held_out(keys, share, purpose, seed);
                let (mut kept, mut out) = (Vec::new(), Vec::new());
                for (file, is_held_out) in files.into_iter().zip(is_held_out) {
                    if is_held_out { &mut out } else { &mut kept }.push(file);
                }
                Ok((Images::Files(in_turns(kept)), Images::Files(in_turns(out))))
            }
            Images::Pixels(Pixels { path, image, mut pixels, labels }) => {
                let row = image.elements();
                let keys = labels.iter().copied().zip(pixels.chunks_exact(row));
                let is_held_out = held_out(keys, share, purpose, seed);
                let count = is_held_out.iter().filter(|out| **out).count();
                let [mut out_pixels] = pixel_room([count], image, 0)?;
                let (mut out_labels, mut kept_labels) = (Vec::with_capacity(count), Vec::new());
                for (number, is_held_out) in is_held_out.into_iter().enumerate() {
                    let place = number * row..(number + 1) * row;
                    if is_held_out {
                        out_pixels.extend_from_slice(&pixels[place]);
                        out_labels.push(labels[number]);
                    } else {
                        pixels.copy_within(place, kept_labels.len() * row);
                        kept_labels.push(labels[number]);
                    }
                }
                pixels.truncate(kept_labels.len() * row);
                let kept = Pixels { path: path.clone(), image, pixels, labels: kept_labels };
                let out = Pixels { path, image, pixels: out_pixels, labels: out_labels };
                Ok((Images::Pixels(kept), Images::Pixels(out)))
            }
        }
    }
}

impl From<Dataset> for Images {
    fn from(data: Dataset) -> Self {
        let Dataset { image, images, labels, .. } = data;
        let pixels = std::sync::Arc::unwrap_or_clone(images);
        Images::Pixels(Pixels { path: PathBuf::new(), image, pixels, labels })
    }
}

/// Pictures of each class in turns: the first of each class, then the second ones, and so on, so that the first rows are a
/// fair sample of all. Within a class, and within a turn, they keep their order.
pub(super) fn in_turns(files: Vec<PictureFile>) -> Vec<PictureFile> {
    let mut turns = HashMap::<u32, usize>::new();
    let mut with_turns: Vec<((usize, u32), PictureFile)> = files
        .into_iter()
        .map(|file| {
            let turn = turns.entry(file.label).or_default();
            *turn += 1;
            ((*turn, file.label), file)
        })
        .collect();
    with_turns.sort_by_key(|(turn, _)| *turn);
    with_turns.into_iter().map(|(_, file)| file).collect()
}
