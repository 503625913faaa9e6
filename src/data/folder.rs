//! Folders of PNG and JPEG files: `train/CLASS/*` and `test/CLASS/*`, `train/CLASS/*` alone, or `CLASS/*`.
//!
//! Without a test set, a sixth of each class, chosen by the seed, becomes the test set. The rows alternate between
//! the classes, so that the first rows of a set are a fair sample of it. Hidden files and files with other extensions
//! are ignored; transparency is dropped.

use std::collections::HashSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{Dataset, MAX_SIDE, entries, pixel_room};
use crate::tensor::ImageShape;
use crate::{Error, Result, files};

/// If there is no test set, one image in this many goes to it.
const TEST_SHARE: usize = 6;
/// Memory that decoding one image may take, in bytes.
const MAX_DECODER_MEMORY: u64 = 256 << 20;

/// Largest size of an image file in bytes: more than the largest image takes uncompressed.
const MAX_FILE: u64 = 256 << 20;

/// A class: its name and its image files, sorted.
struct Class {
    name: String,
    files: Vec<PathBuf>,
}

/// The first `rows` images of the training and the test set of a folder of images.
pub(super) fn load(folder: &Path, seed: u64, rows: usize) -> Result<(Dataset, Dataset)> {
    let (train_folder, test_folder) = (folder.join("train"), folder.join("test"));
    // A class may also be called "train"; that folder then holds images, not folders.
    let is_split = train_folder.is_dir() && !subfolders(&train_folder)?.is_empty();
    let train = classes_of(if is_split { &train_folder } else { folder })?;
    let (train, test) = if is_split && test_folder.is_dir() {
        (train, classes_of(&test_folder)?)
    } else {
        split(train, seed)?
    };

    let names = |classes: &[Class]| classes.iter().map(|class| class.name.clone()).collect::<Vec<_>>();
    let classes = names(&train);
    if let Some(odd) = odd_one_out(&classes, &names(&test)) {
        return Err(Error::file(test_folder, "the classes of the training set", odd));
    }
    let (mut train, mut test) = (in_turns(train), in_turns(test));
    train.truncate(rows);
    test.truncate(rows);
    let (image, train_images, test_images) = decode_all(&train, &test)?;
    let labels = |rows: Vec<(PathBuf, u32)>| rows.into_iter().map(|row| row.1).collect();
    let train = Dataset::new(image, classes.clone(), train_images, labels(train))?;
    Ok((train, Dataset::new(image, classes, test_images, labels(test))?))
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// The classes below `folder`, sorted by name; each holds at least one image.
fn classes_of(folder: &Path) -> Result<Vec<Class>> {
    let folders = subfolders(folder)?;
    if folders.is_empty() {
        let expected = "IDX files, CIFAR binaries, or one folder of PNG or JPEG images a class";
        return Err(Error::file(folder, expected, "none of them"));
    }
    let class = |path: PathBuf| {
        let files: Vec<_> = entries(&path)?.into_iter().filter(|file| is_image(file)).collect();
        if files.is_empty() {
            return Err(Error::file(path, "PNG or JPEG images of one class", "none"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Class { name, files })
    };
    folders.into_iter().map(class).collect()
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known)) && path.is_file()
}

/// The first class that only one of two lists has, as words of a message.
fn odd_one_out(train: &[String], test: &[String]) -> Option<String> {
    let first_beyond = |names: &'_ [String], others: &[String]| {
        let others: HashSet<&String> = others.iter().collect();
        names.iter().find(|name| !others.contains(name)).cloned()
    };
    let missing = first_beyond(train, test).map(|name| format!("no class {name:?}"));
    missing.or_else(|| first_beyond(test, train).map(|name| format!("an unknown class {name:?}")))
}

/// Moves a share of each class to a test set; each class has a random stream of its own.
fn split(classes: Vec<Class>, seed: u64) -> Result<(Vec<Class>, Vec<Class>)> {
    let mut splits = (Vec::new(), Vec::new());
    for (label, Class { name, mut files }) in classes.into_iter().enumerate() {
        if let [only] = files.as_slice() {
            let expected = format!("at least 2 images of class {name:?}, to train and to test on");
            return Err(Error::file(only, expected, 1));
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(label as u64);
        files.shuffle(&mut random);
        let mut test = files.split_off(files.len() - (files.len() / TEST_SHARE).max(1));
        files.sort();
        test.sort();
        splits.0.push(Class { name: name.clone(), files });
        splits.1.push(Class { name, files: test });
    }
    Ok(splits)
}

/// Files and labels of the first image of each class, then of the second ones, and so on.
fn in_turns(classes: Vec<Class>) -> Vec<(PathBuf, u32)> {
    let label_files = |(label, class): (usize, Class)| {
        class.files.into_iter().enumerate().map(move |(turn, file)| (turn, label, file))
    };
    let mut rows: Vec<_> = classes.into_iter().enumerate().flat_map(label_files).collect();
    rows.sort_by_key(|&(turn, label, _)| (turn, label));
    rows.into_iter().map(|(_, label, file)| (file, label as u32)).collect()
}

/// The size of all images, and the pixels of both sets: grayscale if every image is, otherwise RGB.
///
/// The headers are read first, to check that there is memory for the pixels; these are then decoded to their final
/// place.
fn decode_all(train: &[(PathBuf, u32)], test: &[(PathBuf, u32)]) -> Result<(ImageShape, Vec<u8>, Vec<u8>)> {
    let both = [train, test].concat();
    let size = read(&both[0].0, None, |decoder| Ok(decoder.dimensions()))?;
    let headers = both.par_iter().map(|(path, _)| {
        read(path, Some(size), |decoder| Ok((decoder.color_type().has_color(), decoder.total_bytes())))
    });
    // Two steps, since a parallel collect would report an arbitrary one of several errors; this reports the first.
    let headers: Vec<Result<(bool, u64)>> = headers.collect();
    let headers = headers.into_iter().collect::<Result<Vec<_>>>()?;
    let channels = if headers.iter().any(|&(has_color, _)| has_color) { 3 } else { 1 };
    let image = ImageShape { height: size.1 as usize, width: size.0 as usize, channels };
    // Images in a format other than the pixels' are decoded to a buffer of their own, one per thread, and converted.
    let largest = headers.iter().map(|&(_, bytes)| bytes + 3 * u64::from(size.0) * u64::from(size.1)).max();
    let aside = largest.unwrap_or(0) * rayon::current_num_threads() as u64;
    let [train_room, test_room] = pixel_room([train.len(), test.len()], image, aside)?;
    let decoded = |mut pixels: Vec<u8>, rows: &[(PathBuf, u32)]| {
        pixels.resize(rows.len() * image.elements(), 0);
        let decode = pixels
            .par_chunks_exact_mut(image.elements())
            .zip(rows)
            .map(|(pixels, (path, _))| read(path, Some(size), |decoder| decode(decoder, pixels)));
        let results: Vec<Result<()>> = decode.collect();
        results.into_iter().collect::<Result<()>>().map(|()| pixels)
    };
    Ok((image, decoded(train_room, train)?, decoded(test_room, test)?))
}

/// Decodes an image to `pixels`, which are grayscale or RGB.
fn decode(decoder: impl ImageDecoder, pixels: &mut [u8]) -> ImageResult<()> {
    let (width, height) = decoder.dimensions();
    let channels = pixels.len() / (width as usize * height as usize);
    match (decoder.color_type(), channels) {
        (ColorType::L8, 1) | (ColorType::Rgb8, 3) => decoder.read_image(pixels),
        (_, 1) => {
            pixels.copy_from_slice(&DynamicImage::from_decoder(decoder)?.into_luma8());
            Ok(())
        }
        (color, _) => {
            let image = DynamicImage::from_decoder(decoder)?;
            // Grayscale of more bits is rounded to 8 bits first, so that it gives the same values beside colour
            // images.
            let image = if color.has_color() { image } else { image.into_luma8().into() };
            pixels.copy_from_slice(&image.into_rgb8());
            Ok(())
        }
    }
}

/// The result of `use_decoder` for an image's decoder. An image whose size is not `size` is refused before its pixels
/// are decoded.
fn read<T>(
    path: &Path,
    size: Option<(u32, u32)>,
    use_decoder: impl FnOnce(Box<dyn ImageDecoder + '_>) -> ImageResult<T>,
) -> Result<T> {
    let bytes = files::read(path, MAX_FILE)?;
    // A decoder's message may have several lines.
    let broken = |error: image::ImageError| {
        let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::file(path, "a PNG or JPEG image", format!("one that cannot be decoded: {reason}"))
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_DECODER_MEMORY);
    let mut reader = ImageReader::new(Cursor::new(&bytes));
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(Error::io("read", path))?;
    if reader.format() == Some(ImageFormat::Jpeg) && !ends(&bytes) {
        return Err(Error::file(path, "a whole JPEG image", "one that is cut off"));
    }
    let decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    if let Some((expected_width, expected_height)) = size.filter(|&size| size != (width, height)) {
        let expected = format!("{expected_height}x{expected_width} pixels as in the other images");
        return Err(Error::file(path, expected, format!("{height}x{width}")));
    }
    use_decoder(Box::new(decoder)).map_err(broken)
}

/// Whether the last scan of a JPEG file (marker FF DA) has an end (FF D9); the decoder would fill the missing part
/// with gray and report no error.
fn ends(jpeg: &[u8]) -> bool {
    jpeg.windows(2).rev().find(|marker| matches!(marker, [0xff, 0xd9 | 0xda])) == Some(&[0xff, 0xd9])
}
