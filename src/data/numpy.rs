//! NumPy's arrays: `.npz` archives and `.npy` files.
//!
//! What an array is follows from the words of its name: `train_images` and `train_labels` (MedMNIST), `x_train` and
//! `y_train` (Keras), `kmnist-train-imgs.npz` and `kmnist-train-labels.npz` with one array each (Kuzushiji),
//! `X_test.npy` and `y_test.npy`. Words for parts are those of folders; without one, the images are all there are.
//!
//! Images are `[N, H, W]` or `[N, H, W, C]` with 1, 3 or 4 (RGBA) channels; `[N, C, H, W]` is taken where it can be
//! nothing else. [`Elements`] says how numbers become pixels. Labels are `[N]` or `[N, 1]`, of any integer type.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The header is a Python dictionary
//! of three keys, which is parsed here: the crates that do it bring a parser of all of Python's literals.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::elements::Elements;
use super::found::{Found, Images, Part, Pixels};
use super::layout::{entries, part_of};
use super::picture::composited;
use super::reading::{is_damage, one_set, read_exactly};
use super::{Colour, LoadOptions, MAX_SIDE, numbered, pixel_room};
use crate::tensor::ImageShape;
use crate::{Error, Result, files};

/// What a message about damage expects.
const WHOLE: &str = "a whole .npy array";
/// The longest header that is read.
const MOST_HEADER: usize = 1 << 16;
/// The most arrays of an archive.
const MOST_ARRAYS: usize = 10_000;
/// The largest array, in elements.
const MOST_ELEMENTS: usize = 1 << 40;
/// The most axes of an array.
const MOST_AXES: usize = 8;

/// What an array's name says: the name of its set, its part, and whether it holds labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    set: String,
    part: Part,
    is_labels: bool,
}

/// The meaning of a name such as `x_train` or `kmnist-test-labels`.
fn meaning(name: &str) -> Option<Meaning> {
    let (mut part, mut is_labels, mut set) = (None, None, Vec::new());
    for word in name.split(['_', '-', '.', ' ']).filter(|word| !word.is_empty()) {
        let lower = word.to_lowercase();
        if let (None, Some(found)) = (part, part_of(&lower)) {
            part = Some(found);
            continue;
        }
        let kind = match lower.as_str() {
            "x" | "images" | "image" | "imgs" | "img" | "data" => Some(false),
            "y" | "labels" | "label" | "targets" | "target" => Some(true),
            _ => None,
        };
        match (kind, is_labels) {
            (Some(kind), None) => is_labels = Some(kind),
            // `train_images_labels` is neither.
            (Some(_), Some(_)) => return None,
            (None, _) => set.push(word),
        }
    }
    Some(Meaning { set: set.join("-"), part: part.unwrap_or(Part::All), is_labels: is_labels? })
}

/// Where an array lies.
#[derive(Clone, Debug)]
enum Place {
    Npy(PathBuf),
    /// An archive, and the array's name in it.
    Npz(PathBuf, String),
}

impl Place {
    fn path(&self) -> PathBuf {
        match self {
            Place::Npy(path) => path.clone(),
            Place::Npz(path, name) => path.join(name),
        }
    }

    /// The result of `read` for the array's bytes, of which there are at most as many as the length says.
    fn open<T>(&self, read: impl FnOnce(&mut dyn Read, u64) -> Result<T>) -> Result<T> {
        match self {
            Place::Npy(path) => {
                let file = files::open(path)?;
                let length = file.metadata().map_err(Error::io("read", path))?.len();
                read(&mut BufReader::new(file), length)
            }
            Place::Npz(path, name) => {
                let mut archive = archive(path)?;
                let mut file = archive.by_name(name).map_err(|error| no_archive(path, error))?;
                let length = file.size();
                read(&mut file, length)
            }
        }
    }
}

/// The images and labels of each part.
type Set = BTreeMap<Part, [Option<Place>; 2]>;

/// The arrays in a folder; `None` if it holds none. Of several sets, `named` says which.
pub(super) fn load(folder: &Path, named: Option<&str>, options: &LoadOptions) -> Result<Option<Found>> {
    let mut sets = BTreeMap::<String, (Set, Vec<String>)>::new();
    for path in entries(folder)?.into_iter().filter(|path| path.is_file()) {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let place = match extension.as_deref() {
            Some("npy") => Place::Npy(path),
            Some("npz") => match names(&path)?.as_slice() {
                [only] => Place::Npz(path, only.clone()),
                several => {
                    let (set, others) = set_of(&path, several)?;
                    if !set.is_empty() {
                        sets.insert(stem, (set, others));
                    }
                    continue;
                }
            },
            _ => continue,
        };
        if let Some(meaning) = meaning(&stem) {
            let (set, _) = sets.entry(meaning.set).or_default();
            place_in(set, meaning.part, meaning.is_labels, place)?;
        }
    }
    let Some((_, (set, others))) = one_set(folder, sets, named)? else { return Ok(None) };
    found(folder, set, others, options).map(Some)
}

/// The arrays of one archive.
pub(super) fn load_file(path: &Path, options: &LoadOptions) -> Result<Found> {
    let names = names(path)?;
    let (set, others) = set_of(path, &names)?;
    found(path, set, others, options)
}

fn set_of(path: &Path, names: &[String]) -> Result<(Set, Vec<String>)> {
    let (mut set, mut others) = (Set::new(), Vec::new());
    for name in names {
        match meaning(name.strip_suffix(".npy").unwrap_or(name)) {
            Some(meaning) if meaning.set.is_empty() => {
                place_in(&mut set, meaning.part, meaning.is_labels, Place::Npz(path.into(), name.clone()))?;
            }
            _ => others.push(name.clone()),
        }
    }
    Ok((set, others))
}

fn place_in(set: &mut Set, part: Part, is_labels: bool, place: Place) -> Result<()> {
    let slot = &mut set.entry(part).or_default()[usize::from(is_labels)];
    if let Some(first) = slot {
        let what = if is_labels { "labels" } else { "images" };
        let expected = format!("one array of {what} for each part, such as {}", first.path().display());
        return Err(Error::file(place.path(), expected, "another"));
    }
    *slot = Some(place);
    Ok(())
}

fn no_archive(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) if !is_damage(&error) => Error::io("read", path)(error),
        error => {
            Error::file(path, "a whole .npz archive", format!("one that is cut off or damaged: {error}"))
        }
    }
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let mut file = files::open(path)?;
    // What has no end, such as a pipe, is no archive.
    file.seek(io::SeekFrom::Start(0)).map_err(Error::io("read", path))?;
    ZipArchive::new(BufReader::new(file)).map_err(|error| no_archive(path, error))
}

/// The names of the arrays in an archive.
fn names(path: &Path) -> Result<Vec<String>> {
    let archive = archive(path)?;
    if archive.len() > MOST_ARRAYS {
        return Err(Error::file(path, format!("at most {MOST_ARRAYS} arrays"), archive.len()));
    }
    let names =
        archive.file_names().map(|name| Ok(name.map_err(|error| no_archive(path, error))?.into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    Ok(names.into_iter().filter(|name| name.ends_with(".npy")).collect())
}

/// The images of a set.
fn found(source: &Path, set: Set, others: Vec<String>, options: &LoadOptions) -> Result<Found> {
    if set.is_empty() {
        let expected = "arrays such as train_images and train_labels, or x_train and y_train";
        return Err(Error::file(
            source,
            expected,
            if others.is_empty() { "none".into() } else { others.join(", ") },
        ));
    }
    let mut found = Found::default();
    let has_test = set.contains_key(&Part::Test) || set.contains_key(&Part::Validation);
    let mut classes = 0;
    for (part, places) in set {
        let [Some(images), Some(labels)] = places else {
            let [is, lacks] = if places[0].is_some() { ["images", "labels"] } else { ["labels", "images"] };
            let place = places.into_iter().flatten().next().expect("one of the two");
            return Err(Error::file(place.path(), format!("{lacks} to go with these {is}"), "none"));
        };
        let rows = match part {
            Part::Train if has_test => options.training_rows(),
            Part::Train | Part::All => usize::MAX,
            Part::Test | Part::Validation => options.rows(),
        };
        let (image, all_rows, pixels) = read_images(&images, rows, options.background)?;
        let mut labels = read_labels(&labels, all_rows)?;
        classes = classes.max(labels.iter().max().map_or(0, |&label| label as usize + 1));
        labels.truncate(rows);
        found.parts.push((part, Images::Pixels(Pixels { path: images.path(), image, pixels, labels })));
    }
    found.classes = numbered(classes);
    if !others.is_empty() {
        found.notes.push(format!("arrays that are not used: {}", others.join(", ")));
    }
    Ok(found)
}

/// The head of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    elements: Elements,
    shape: Vec<usize>,
    /// Whether the first axis is the fastest.
    is_fortran: bool,
}

impl Header {
    /// Reads the head of a `.npy` file.
    fn read(path: &Path, reader: &mut dyn Read) -> Result<(Header, u64)> {
        let damaged =
            |what: &str| Error::file(path, WHOLE, format!("one that is cut off or damaged: {what}"));
        let mut exact = |buffer: &mut [u8]| {
            reader.read_exact(buffer).map_err(|error| match is_damage(&error) {
                true => damaged(&error.to_string()),
                false => Error::io("read", path)(error),
            })
        };
        let mut start = [0; 8];
        exact(&mut start)?;
        let [magic @ .., major, _] = start;
        if magic != *b"\x93NUMPY" {
            return Err(Error::file(path, "a NumPy array", "another kind of file"));
        }
        let (length, before) = match major {
            1 => {
                let mut length = [0; 2];
                exact(&mut length)?;
                (usize::from(u16::from_le_bytes(length)), 10)
            }
            2 | 3 => {
                let mut length = [0; 4];
                exact(&mut length)?;
                (u32::from_le_bytes(length) as usize, 12)
            }
            _ => return Err(Error::file(path, "version 1, 2 or 3 of NumPy's format", major)),
        };
        if length > MOST_HEADER {
            return Err(damaged(&format!("a header of {length} bytes")));
        }
        let mut header = vec![0; length];
        exact(&mut header)?;
        let header = String::from_utf8(header).map_err(|_| damaged("a header that is no text"))?;
        Ok((Header::parse(path, &header)?, before + length as u64))
    }

    /// Parses `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }`.
    fn parse(path: &Path, text: &str) -> Result<Header> {
        let wrong = || {
            let found: String = text.trim().chars().take(200).collect();
            Error::file(path, "a header of descr, fortran_order and shape", found)
        };
        let value = |key: &str| {
            let (_, value) = text.split_once(&format!("'{key}':"))?;
            Some(value.trim_start())
        };
        let (Some(descr), Some(order), Some(shape)) =
            (value("descr"), value("fortran_order"), value("shape"))
        else {
            return Err(wrong());
        };
        let is_fortran = match order {
            order if order.starts_with("True") => true,
            order if order.starts_with("False") => false,
            _ => return Err(wrong()),
        };
        let shape = shape.strip_prefix('(').and_then(|shape| shape.split_once(')')).ok_or_else(wrong)?.0;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Vec<usize> = sizes.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if shape.len() > MOST_AXES || elements.is_none_or(|elements| elements > MOST_ELEMENTS) {
            return Err(Error::file(
                path,
                format!("at most {MOST_ELEMENTS} elements"),
                format!("shape {shape:?}"),
            ));
        }
        // A type of several fields is a list.
        let type_name =
            descr.strip_prefix('\'').and_then(|descr| descr.split_once('\'')).ok_or_else(wrong)?.0;
        let elements = Elements::of_numpy(type_name).ok_or_else(|| {
            Error::file(path, "integers or floating-point numbers", format!("type {type_name:?}"))
        })?;
        Ok(Header { elements, shape, is_fortran })
    }

    fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }
}

/// Reads the first `rows` rows of an array, after a check of its head; the data grow as they arrive.
fn read_array(
    place: &Place,
    rows: usize,
    check: impl FnOnce(&Header) -> Result<()>,
) -> Result<(Header, Vec<u8>)> {
    let path = place.path();
    place.open(|reader, length| {
        let (header, before) = Header::read(&path, reader)?;
        check(&header)?;
        let size = header.elements.bytes();
        let all = header.shape.iter().product::<usize>() as u64 * size as u64;
        let expected = format!("{all} bytes after the header, for shape {:?}", header.shape);
        if length.saturating_sub(before) != all {
            return Err(Error::file(&path, expected, length.saturating_sub(before)));
        }
        if header.is_fortran && header.shape.len() > 1 {
            return Err(Error::file(
                &path,
                "an array in C order (numpy.ascontiguousarray)",
                "one in Fortran order",
            ));
        }
        let wanted = all / header.rows().max(1) as u64 * header.rows().min(rows) as u64;
        let data = read_exactly(&path, reader, wanted, all, WHOLE, &expected)?;
        Ok((header, data))
    })
}

/// The size and the number of the images in an array, and the pixels of the first `rows`.
fn read_images(place: &Place, rows: usize, background: Colour) -> Result<(ImageShape, usize, Vec<u8>)> {
    let path = place.path();
    let mut layout = None;
    let check = |header: &Header| {
        layout = Some(ImageLayout::of(&path, &header.shape)?);
        Ok(())
    };
    let (header, bytes) = read_array(place, rows, check)?;
    let layout = layout.expect("a header that was checked");
    let bytes = header.elements.to_bytes(&path, bytes)?;
    let count = header.rows().min(rows);
    let image = layout.image;
    let pixels = match layout.order {
        Order::ChannelsLast => bytes,
        Order::ChannelsFirst => channels_last(&bytes, image)?,
    };
    if image.channels != 4 {
        return Ok((image, header.rows(), pixels));
    }
    let opaque = ImageShape { channels: 3, ..image };
    let [mut over] = pixel_room([count], opaque, 0)?;
    over.extend(composited(&pixels, background.0));
    Ok((opaque, header.rows(), over))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    ChannelsLast,
    ChannelsFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ImageLayout {
    image: ImageShape,
    order: Order,
}

impl ImageLayout {
    fn of(path: &Path, shape: &[usize]) -> Result<ImageLayout> {
        let is_channels = |size: usize| matches!(size, 1 | 3 | 4);
        let (order, [height, width, channels]) = match *shape {
            [_, height, width] => (Order::ChannelsLast, [height, width, 1]),
            [_, height, width, channels] if is_channels(channels) => {
                (Order::ChannelsLast, [height, width, channels])
            }
            [_, channels, height, width] if is_channels(channels) => {
                (Order::ChannelsFirst, [height, width, channels])
            }
            _ => {
                let expected = "images of shape [N, H, W] or [N, H, W, C], with 1, 3 or 4 channels";
                return Err(Error::file(path, expected, format!("{shape:?}")));
            }
        };
        if shape[0] == 0 {
            return Err(Error::file(path, "at least one image", 0));
        }
        if let Some(side) = [height, width].iter().find(|side| !(1..=MAX_SIDE).contains(*side)) {
            return Err(Error::file(path, format!("image sides from 1 to {MAX_SIDE}"), side));
        }
        Ok(ImageLayout { image: ImageShape { height, width, channels }, order })
    }
}

/// Turns [rows, channels, height, width] to [rows, height, width, channels].
fn channels_last(planes: &[u8], image: ImageShape) -> Result<Vec<u8>> {
    let rows = planes.len() / image.elements();
    let plane = image.height * image.width;
    let [mut pixels] = pixel_room([rows], image, 0)?;
    for planes in planes.chunks_exact(image.elements()) {
        pixels
            .extend((0..plane).flat_map(|pixel| (0..image.channels).map(move |c| planes[c * plane + pixel])));
    }
    Ok(pixels)
}

/// The labels of `images` images.
fn read_labels(place: &Place, images: usize) -> Result<Vec<u32>> {
    let path = place.path();
    let check = |header: &Header| match *header.shape.as_slice() {
        [rows] | [rows, 1] if rows == images => Ok(()),
        [rows] | [rows, 1] => Err(Error::file(&path, format!("{images} labels, one per image"), rows)),
        _ => {
            let expected = "labels of shape [N] or [N, 1], one class an image";
            Err(Error::file(&path, expected, format!("{:?}", header.shape)))
        }
    };
    let (header, bytes) = read_array(place, images, check)?;
    header.elements.to_labels(&path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_an_array_is() {
        for (name, set, part, is_labels) in [
            ("train_images", "", Part::Train, false),
            ("val_labels", "", Part::Validation, true),
            ("x_train", "", Part::Train, false),
            ("y_test", "", Part::Test, true),
            ("X", "", Part::All, false),
            ("kmnist-train-imgs", "kmnist", Part::Train, false),
            ("k49-test-labels", "k49", Part::Test, true),
            ("my.own-valid-data", "my-own", Part::Validation, false),
        ] {
            let expected = Meaning { set: set.into(), part, is_labels };
            assert_eq!(meaning(name), Some(expected), "{name}");
        }
        for name in ["arr_0", "train", "images_labels", "weights"] {
            assert_eq!(meaning(name), None, "{name}");
        }
    }

    #[test]
    fn headers_are_parsed() {
        let parse = |text: &str| Header::parse(Path::new("a.npy"), text).map_err(|error| error.to_string());
        let header = parse("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }   \n").unwrap();
        assert_eq!((header.shape, header.is_fortran), (vec![2, 3], false));
        assert_eq!(parse("{'shape': (7,), 'fortran_order': True, 'descr': '>i4'}").unwrap().shape, [7]);
        for (text, message) in [
            ("{}", "a.npy: expected a header of descr, fortran_order and shape, found {}"),
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
                "a.npy: expected integers or floating-point numbers, found type \"|O\"",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551615, 2)}",
                "a.npy: expected at most 1099511627776 elements, found shape [18446744073709551615, 2]",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message);
        }
        assert!(parse("{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}").is_err());
        assert!(parse("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}").is_err());
    }

    #[test]
    fn an_axis_of_channels_is_told_from_height_and_width() {
        let of = |shape: &[usize]| {
            ImageLayout::of(Path::new("a"), shape).ok().map(|layout| {
                let ImageShape { height, width, channels } = layout.image;
                ([height, width, channels], layout.order)
            })
        };
        assert_eq!(of(&[5, 8, 9]), Some(([8, 9, 1], Order::ChannelsLast)));
        assert_eq!(of(&[5, 8, 9, 3]), Some(([8, 9, 3], Order::ChannelsLast)));
        assert_eq!(of(&[5, 3, 8, 9]), Some(([8, 9, 3], Order::ChannelsFirst)));
        assert_eq!(of(&[5, 3, 8, 3]), Some(([3, 8, 3], Order::ChannelsLast)));
        for shape in
            [&[5][..], &[5, 8], &[0, 8, 9], &[5, 8, 9, 2], &[5, 28, 28, 28], &[5, 0, 3], &[5, 9, 9999]]
        {
            assert_eq!(of(shape), None, "{shape:?}");
        }
    }
}
