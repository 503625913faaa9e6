//! Many picture files, decoded on all cores.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::found::PictureFile;
use super::picture::{self, Head, Picture};
use super::resized::Resized;
use super::{MAX_SIDE, Preprocessing, Progress, pixel_room};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// The most files that a message names.
const MOST_NAMES: usize = 10;

/// A picture file and what its head says.
pub(super) type WithHead = (PictureFile, Head);

/// Files that are no sound pictures.
#[derive(Debug, Default)]
pub(super) struct Broken(Vec<(PathBuf, Error)>);

impl Broken {
    /// The values of the sound pictures; an error that has nothing to do with a picture's content ends everything.
    ///
    /// The first of several such errors is returned, which a parallel collect would not promise.
    fn sift<T>(&mut self, results: Vec<(PictureFile, Result<T>)>) -> Result<Vec<(PictureFile, T)>> {
        let mut sound = Vec::with_capacity(results.len());
        for (file, result) in results {
            match result {
                Ok(value) => sound.push((file, value)),
                Err(error @ Error::File { .. }) => self.0.push((file.path, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(sound)
    }

    /// An error that names all of them, or, if they are to be skipped, a note that does.
    pub fn report(mut self, folder: &Path, skip: bool) -> Result<Option<String>> {
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let names = |broken: &[(PathBuf, Error)]| {
            let path = |(path, _): &(PathBuf, Error)| path.display().to_string();
            let mut names: Vec<String> = broken.iter().take(MOST_NAMES).map(path).collect();
            if broken.len() > MOST_NAMES {
                names.push(format!("{} more", broken.len() - MOST_NAMES));
            }
            names.join(", ")
        };
        match (self.0.len(), skip) {
            (0, _) => Ok(None),
            (count, true) => Ok(Some(format!("broken pictures left out ({count}): {}", names(&self.0)))),
            (1, false) => Err(self.0.remove(0).1),
            (count, false) => {
                let expected = "sound pictures (--skip-broken goes on without the others)";
                let found =
                    format!("{count} broken ones, the first as in \"{}\": {}", self.0[0].1, names(&self.0));
                Err(Error::file(folder, expected, found))
            }
        }
    }
}

/// Reads the head of every file.
pub(super) fn heads(files: Vec<PictureFile>, broken: &mut Broken) -> Result<Vec<WithHead>> {
    let head = |file: PictureFile| {
        let head = picture::read(&file.path).and_then(|bytes| Head::read(&file.path, &bytes));
        (file, head)
    };
    broken.sift(files.into_par_iter().map(head).collect())
}

/// The size that all pictures have.
///
/// # Errors
/// [`Error::File`] when they have several, or one that is too large for a network.
pub(super) fn common_size(folder: &Path, files: &[&WithHead]) -> Result<Option<[usize; 2]>> {
    let Some((first, Head { size, .. })) = files.first() else { return Ok(None) };
    let [height, width] = size;
    if let Some((other, Head { size: [h, w], .. })) = files.iter().find(|(_, head)| head.size != *size) {
        let expected = "pictures of one size, or --image-size HEIGHTxWIDTH to bring them to one";
        let [first, other] = [first, other]
            .map(|file| file.path.strip_prefix(folder).unwrap_or(&file.path).display().to_string());
        return Err(Error::file(
            folder,
            expected,
            format!("{first} of {height}x{width} and {other} of {h}x{w}"),
        ));
    }
    if *height.max(width) > MAX_SIDE {
        let expected = format!("pictures of at most {MAX_SIDE}x{MAX_SIDE}, or --image-size to scale them");
        return Err(Error::file(&first.path, expected, format!("{height}x{width}")));
    }
    Ok(Some(*size))
}

/// What happened to pictures on their way to pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// How many were laid over the background.
    pub composited: usize,
    /// How many were brought to another size.
    pub resized: usize,
}

/// Pixels [rows, height, width, channels] and labels of the sound pictures. Those that are resized are taken from the cache
/// if they are there, and added to it otherwise.
pub(super) fn decode(
    files: Vec<WithHead>,
    preprocessing: &Preprocessing,
    resized: Option<&Resized>,
    progress: &Counter,
    broken: &mut Broken,
) -> Result<(Vec<u8>, Vec<u32>, Changes)> {
    let image = preprocessing.image();
    // A picture is decoded, converted and scaled in buffers of its own, one picture a thread.
    let largest = files.iter().map(|(_, head)| head.bytes.saturating_mul(3)).max();
    let aside = largest.unwrap_or(0).saturating_mul(rayon::current_num_threads() as u64);
    let [mut pixels] = pixel_room([files.len()], image, aside)?;
    pixels.resize(files.len() * image.elements(), 0);
    let decode_one = |pixels: &mut [u8], file: &PictureFile| {
        let bytes = picture::read(&file.path)?;
        if let Some((known, was_transparent)) = resized.and_then(|resized| resized.get(&bytes)) {
            pixels.copy_from_slice(known);
            return Ok([was_transparent, true]);
        }
        let picture = Picture::decode(&file.path, &bytes, preprocessing.background)?;
        let changes = [picture.was_transparent(), picture.size() != preprocessing.image_size];
        pixels.copy_from_slice(&preprocessing.convert(picture));
        if let [was_transparent, true] = changes
            && let Some(resized) = resized
        {
            resized.add(&bytes, pixels, was_transparent);
        }
        Ok(changes)
    };
    let decode = |(pixels, (file, _)): (&mut [u8], WithHead)| {
        let changes = decode_one(pixels, &file);
        progress.advance();
        (file, changes)
    };
    let results: Vec<(PictureFile, Result<[bool; 2]>)> =
        pixels.par_chunks_exact_mut(image.elements()).zip(files).map(decode).collect();
    remove_rows(&mut pixels, image, results.iter().map(|(_, result)| result.is_ok()));
    let sound = broken.sift(results)?;
    let count = |which: usize| sound.iter().filter(|(_, changes)| changes[which]).count();
    let changes = Changes { composited: count(0), resized: count(1) };
    Ok((pixels, sound.iter().map(|(file, _)| file.label).collect(), changes))
}

/// Keeps the rows that are to be kept.
fn remove_rows(pixels: &mut Vec<u8>, image: ImageShape, is_kept: impl Iterator<Item = bool>) {
    let row = image.elements();
    let mut kept = 0;
    for (number, _) in is_kept.enumerate().filter(|(_, is_kept)| *is_kept) {
        if number != kept {
            pixels.copy_within(number * row..(number + 1) * row, kept * row);
        }
        kept += 1;
    }
    pixels.truncate(kept * row);
}

/// Counts pictures for [`Progress`].
pub(super) struct Counter<'a> {
    progress: &'a Progress,
    done: AtomicUsize,
    all: usize,
}

impl<'a> Counter<'a> {
    pub fn new(progress: &'a Progress, all: usize) -> Self {
        Counter { progress, done: AtomicUsize::new(0), all }
    }

    fn advance(&self) {
        self.progress.say(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.all);
    }
}
