//! From a source to images as a network sees them.

use std::path::Path;

use rayon::prelude::*;

use super::found::{Found, Images, Part, Pixels};
use super::hold_out::Purpose;
use super::picture::{Head, Picture};
use super::pictures::{Broken, Changes, Counter, WithHead, common_size, decode, heads};
use super::resized::Resized;
use super::warnings::{list, warnings};
use super::{
    DataSplits, Dataset, Fit, LoadOptions, Normalisation, Preprocessing, check_pixel_room, pixel_room, source,
};
use crate::{Error, Result};

/// If there is no test set, one image in this many goes to it.
const TEST_SHARE: usize = 6;

/// The data that `source` names: `synthetic`, a folder or an `.npz` file, whose content shows their format.
///
/// Without a test set and without a validation set, about a sixth of each class becomes the test set; with
/// [`LoadOptions::validation`], a share of the training images becomes the validation set. Which ones depends on the seed
/// and on each image's path within its class alone (on its pixels, if it has no path), so that images which are added later
/// never move another one from the training set into the test set.
///
/// No more images are decoded than [`LoadOptions::limit`] allows, and damage to others may go unnoticed.
///
/// # Errors
/// [`Error::Invalid`] when there is no such source, or for options out of range; [`Error::File`] or [`Error::Io`], naming
/// the file, when one is missing, damaged, or at odds with the others; [`Error::Memory`] when there is too little memory
/// for the images.
pub fn load(source: &str, options: &LoadOptions) -> Result<DataSplits> {
    loaded(source, options, For::Training)
}

/// As [`load`], for data that are only looked at: there may be no training images, and none to test on.
///
/// # Errors
/// Those of [`load`]; [`Error::File`] when there is no image at all.
pub fn load_to_look(source: &str, options: &LoadOptions) -> Result<DataSplits> {
    loaded(source, options, For::Looking)
}

/// What data are loaded for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Training,
    Looking,
}

fn loaded(source: &str, options: &LoadOptions, purpose: For) -> Result<DataSplits> {
    options.check()?;
    let (name, mut found) = source::find(source, options, &[])?;
    let train = found.take(Part::Train).or_else(|| found.take(Part::All));
    let is_trained_on = train.is_some();
    if !is_trained_on && purpose == For::Training {
        return Err(Error::file(source, "training images", "a test or validation set alone"));
    }
    let mut train = train.unwrap_or_else(|| Images::Files(Vec::new()));
    let (mut validation, mut test) = (found.take(Part::Validation), found.take(Part::Test));
    let mut notes = found.notes;
    if validation.is_some() && options.validation.is_some() {
        let expected = "no share, since the data have a validation set";
        return Err(Error::invalid("validation", expected, options.validation.unwrap_or_default()));
    }
    let all = train.len();
    if test.is_none() && validation.is_none() {
        let (kept, out) = train.hold_out(1.0 / TEST_SHARE as f64, Purpose::Test, options.seed)?;
        match (out.len(), purpose) {
            (0, For::Training) => {
                let expected = "at least 2 images of a class, to train and to test on";
                return Err(Error::file(source, expected, all));
            }
            (0, For::Looking) => notes.push(format!(
                "no test set can be held out, since no class has 2 images: there are {all} in all"
            )),
            (count, _) => notes.push(format!(
                "without a test set, {count} of {all} images, about a sixth of each class, are held out as one"
            )),
        }
        (train, test) = (kept, Some(out));
    }
    if let Some(share) = options.validation.filter(|_| is_trained_on) {
        let (kept, out) = train.hold_out(share, Purpose::Validation, options.seed)?;
        if out.len() == 0 {
            let expected = "at least 2 images of a class, to train and to validate with";
            return Err(Error::file(source, expected, all));
        }
        (train, validation) = (kept, Some(out));
    }

    let mut parts = vec![train];
    let has_validation = validation.is_some();
    parts.extend(validation);
    let has_test = test.is_some();
    parts.extend(test);
    parts.iter_mut().for_each(|part| part.truncate(options.rows()));
    let mut inspected = Inspected::new(Path::new(source), parts)?;
    let preprocessing = inspected.preprocessing(options)?;
    let (mut sets, more_notes) = inspected.datasets(&found.classes, &preprocessing, options)?;
    notes.extend(more_notes);

    let train = sets.remove(0);
    if train.is_empty() && (purpose == For::Training || sets.iter().all(Dataset::is_empty)) {
        return Err(Error::file(source, "training images", "none that is sound"));
    }
    let validation = has_validation.then(|| sets.remove(0));
    let test = if has_test { sets.remove(0) } else { train.emptied() };
    let preprocessing = Preprocessing { normalisation: Normalisation::measure(&train), ..preprocessing };
    let mut data = DataSplits { name, train, validation, test, preprocessing, notes, warnings: Vec::new() };
    data.warnings = warnings(&data);
    Ok(data)
}

/// Labelled images to measure a network on.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Name of the data.
    pub name: String,
    /// Which part of them these are: `test`, `validation`, `train`, or `all`.
    pub part: &'static str,
    /// The images; classes are those of the network.
    pub data: Dataset,
    /// What the user should know, a line each.
    pub notes: Vec<String>,
}

/// Data to measure a network on that was trained with this preprocessing for these classes: the source's test set, or its
/// validation set, or all of its images if it has no parts.
///
/// Images are converted to the network's channels and size. Classes are matched by their names; the source may lack some.
/// Of the options, those that say how pictures are converted do not count.
///
/// # Errors
/// Those of [`load`]; [`Error::Invalid`] for images of a class that the network does not know.
pub fn load_for(
    source: &str,
    preprocessing: &Preprocessing,
    classes: &[String],
    options: &LoadOptions,
) -> Result<Measured> {
    // Nothing is held out here.
    let options = LoadOptions { validation: None, ..options.clone() };
    let order =
        [(Part::Test, "test"), (Part::Validation, "validation"), (Part::All, "all"), (Part::Train, "train")];
    measured(source, preprocessing, classes, &options, |mut found| {
        let part = order.into_iter().find_map(|(part, name)| Some((found.take(part)?, name)));
        part.ok_or_else(|| Error::file(source, "images", "none"))
    })
}

/// The test set of the data that the network itself was trained on, with these options, or the validation set if they have
/// no test set: what [`load`] returns as such, without the training images.
///
/// # Errors
/// Those of [`load_for`].
pub fn load_held_out(
    source: &str,
    preprocessing: &Preprocessing,
    classes: &[String],
    options: &LoadOptions,
) -> Result<Measured> {
    measured(source, preprocessing, classes, options, |mut found| {
        if let Some(test) = found.take(Part::Test) {
            return Ok((test, "test"));
        }
        if let Some(validation) = found.take(Part::Validation) {
            return Ok((validation, "validation"));
        }
        let train = found.take(Part::Train).or_else(|| found.take(Part::All));
        let train = train.ok_or_else(|| Error::file(source, "images", "none"))?;
        let (_, test) = train.hold_out(1.0 / TEST_SHARE as f64, Purpose::Test, options.seed)?;
        Ok((test, "test"))
    })
}

fn measured(
    source: &str,
    preprocessing: &Preprocessing,
    classes: &[String],
    options: &LoadOptions,
    choose: impl FnOnce(Found) -> Result<(Images, &'static str)>,
) -> Result<Measured> {
    options.check()?;
    let (name, mut found) = source::find(source, options, classes)?;
    let (found_classes, notes) = (std::mem::take(&mut found.classes), std::mem::take(&mut found.notes));
    let (mut images, part) = choose(found)?;
    match_classes(&mut images, &found_classes, classes)?;
    images.truncate(options.rows());
    let inspected = Inspected::new(Path::new(source), vec![images])?;
    let (mut sets, more_notes) = inspected.datasets(classes, preprocessing, options)?;
    let data = sets.remove(0);
    if data.is_empty() {
        return Err(Error::file(source, "images", "none that is sound"));
    }
    Ok(Measured { name, part, data, notes: [notes, more_notes].concat() })
}

/// Replaces the labels by those that `classes` give to the same names.
fn match_classes(images: &mut Images, found: &[String], classes: &[String]) -> Result<()> {
    let known: Vec<Option<u32>> = found
        .iter()
        .map(|name| classes.iter().position(|class| class == name).map(|label| label as u32))
        .collect();
    let mut is_unknown = vec![false; known.len()];
    for label in images.labels_mut() {
        match known[*label as usize] {
            Some(matched) => *label = matched,
            None => is_unknown[*label as usize] = true,
        }
    }
    let unknown: Vec<&String> =
        found.iter().zip(is_unknown).filter(|(_, is_unknown)| *is_unknown).map(|(name, _)| name).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let all: Vec<&String> = classes.iter().collect();
    let expected = format!("the run's {}", list("class", &all));
    Err(Error::invalid("data", expected, format!("an unknown {}", list("class", &unknown))))
}

/// Parts of the data with what their files' heads say.
struct Inspected<'a> {
    source: &'a Path,
    parts: Vec<Inspection>,
    broken: Broken,
}

enum Inspection {
    Pixels(Pixels),
    Files(Vec<WithHead>),
}

impl<'a> Inspected<'a> {
    fn new(source: &'a Path, parts: Vec<Images>) -> Result<Self> {
        let mut broken = Broken::default();
        let inspect = |part: Images| match part {
            Images::Pixels(pixels) => Ok(Inspection::Pixels(pixels)),
            Images::Files(files) => heads(files, &mut broken).map(Inspection::Files),
        };
        let parts = parts.into_iter().map(inspect).collect::<Result<_>>()?;
        Ok(Inspected { source, parts, broken })
    }

    /// What the options ask for, and what is common to all images where they ask for nothing; nothing is normalised yet.
    fn preprocessing(&mut self, options: &LoadOptions) -> Result<Preprocessing> {
        let files: Vec<&WithHead> = self.parts.iter().filter_map(Inspection::files).flatten().collect();
        let arrays: Vec<&Pixels> = self.parts.iter().filter_map(Inspection::pixels).collect();
        let image_size = match (options.image_size, arrays.first()) {
            (Some(size), _) => size,
            (None, Some(first)) => {
                if let Some(other) = arrays.iter().find(|other| other.image != first.image) {
                    let expected = format!("images of {} as in the training set", first.image);
                    return Err(Error::file(&other.path, expected, other.image));
                }
                [first.image.height, first.image.width]
            }
            // No size if every picture is broken, which is reported when all have been decoded.
            (None, None) => common_size(self.source, &files)?.unwrap_or([1, 1]),
        };
        let needs_colour = |head: &Head| head.has_colour || head.has_alpha && !options.background.is_grey();
        let is_coloured = files.iter().any(|(_, head)| needs_colour(head))
            || arrays.iter().any(|array| array.image.channels != 1);
        let channels = options.channels.unwrap_or(if is_coloured { 3 } else { 1 });
        let normalisation = Normalisation { mean: Vec::new(), deviation: Vec::new() };
        let (fit, background) = (options.fit, options.background);
        Ok(Preprocessing { image_size, channels, fit, background, normalisation })
    }

    /// The images of each part, and what was done to them.
    fn datasets(
        self,
        classes: &[String],
        preprocessing: &Preprocessing,
        options: &LoadOptions,
    ) -> Result<(Vec<Dataset>, Vec<String>)> {
        let Inspected { source, parts, mut broken } = self;
        let all = parts.iter().filter_map(Inspection::files).map(<[_]>::len).sum();
        // All parts together, before the first is decoded.
        check_pixel_room(all, preprocessing.image())?;
        let counter = Counter::new(&options.progress, all);
        // What keeps its size is decoded about as fast as it is found in a cache.
        let is_resized = |(_, head): &WithHead| head.size != preprocessing.image_size;
        let resized = match &options.cache {
            Some(cache) if parts.iter().filter_map(Inspection::files).flatten().any(is_resized) => {
                Resized::open(cache, source, preprocessing)
            }
            _ => None,
        };
        let (mut sets, mut changes) = (Vec::new(), Changes::default());
        for part in parts {
            let (pixels, labels, more) = match part {
                Inspection::Pixels(pixels) => convert(pixels, preprocessing)?,
                Inspection::Files(files) => {
                    decode(files, preprocessing, resized.as_ref(), &counter, &mut broken)?
                }
            };
            changes.composited += more.composited;
            changes.resized += more.resized;
            sets.push(Dataset::new(preprocessing.image(), classes.to_vec(), pixels, labels)?);
        }
        if let Some(resized) = resized {
            resized.save();
        }
        let mut notes = Vec::from_iter(broken.report(source, options.skip_broken)?);
        let images: usize = sets.iter().map(Dataset::len).sum();
        if changes.composited > 0 {
            let (count, background) = (changes.composited, preprocessing.background);
            notes.push(format!(
                "{count} of {images} pictures are transparent, and lie on {background} (--background)"
            ));
        }
        if changes.resized > 0 {
            let [height, width] = preprocessing.image_size;
            let (count, fit) = (changes.resized, preprocessing.fit);
            let verb = match fit {
                Fit::Crop => "cropped and scaled",
                Fit::Pad => "scaled and padded",
                Fit::Stretch => "stretched",
            };
            notes.push(format!("{count} of {images} images are {verb} to {height}x{width} (--fit {fit})"));
        }
        Ok((sets, notes))
    }
}

impl Inspection {
    fn files(&self) -> Option<&[WithHead]> {
        if let Inspection::Files(files) = self { Some(files) } else { None }
    }

    fn pixels(&self) -> Option<&Pixels> {
        if let Inspection::Pixels(pixels) = self { Some(pixels) } else { None }
    }
}

/// Brings plain pixels to the preprocessing's channels and size.
fn convert(found: Pixels, preprocessing: &Preprocessing) -> Result<(Vec<u8>, Vec<u32>, Changes)> {
    let Pixels { path, image, pixels, labels } = found;
    let wanted = preprocessing.image();
    if image == wanted {
        return Ok((pixels, labels, Changes::default()));
    }
    for channels in [image.channels, wanted.channels] {
        if ![1, 3].contains(&channels) {
            return Err(Error::file(path, format!("images of {wanted}"), image));
        }
    }
    let size = [image.height, image.width];
    let [mut converted] = pixel_room([labels.len()], wanted, 0)?;
    converted.resize(labels.len() * wanted.elements(), 0);
    converted
        .par_chunks_exact_mut(wanted.elements())
        .zip(pixels.par_chunks_exact(image.elements()))
        .for_each(|(converted, pixels)| {
            let picture = Picture::new(size, image.channels, pixels.to_vec());
            converted.copy_from_slice(&preprocessing.convert(picture));
        });
    let resized = if size == preprocessing.image_size { 0 } else { labels.len() };
    Ok((converted, labels, Changes { resized, composited: 0 }))
}
