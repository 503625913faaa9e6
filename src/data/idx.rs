//! IDX files: MNIST, Fashion-MNIST, KMNIST, EMNIST; plain or gzipped, which the content says.
//!
//! A file is big-endian: two zero bytes, the elements' type, the number of axes, a size of 32 bits for each axis, then the
//! elements; [`Elements`] says how they become pixels. Source: <http://yann.lecun.com/exdb/mnist/>. EMNIST stores each image transposed, and its letters are labelled from 1:
//! there are as many classes as the largest label plus one, so class `0` stays empty.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::elements::Elements;
use super::found::{Found, Images, Part, Pixels};
use super::layout::entries;
use super::reading::{is_damage, one_set, read_exactly};
use super::{LoadOptions, MAX_SIDE, numbered, pixel_room};
use crate::tensor::ImageShape;
use crate::{Error, Result, files};

/// What a message about damage expects.
const WHOLE: &str = "a whole IDX file";

/// The largest number of bytes that a header may declare.
const MAX_BYTES: usize = i32::MAX as usize;

/// How a file name ends before `-idx3-ubyte`, and its index in a [`Group`].
const STEMS: [(&str, usize); 6] = [
    ("train-images", 0),
    ("train-labels", 1),
    ("t10k-images", 2),
    ("t10k-labels", 3),
    ("test-images", 2),
    ("test-labels", 3),
];

/// Training images, training labels, test images, test labels.
type Group = [Option<PathBuf>; 4];

/// The IDX files of a folder; `None` if it holds none. Of several sets, `named` says which.
pub(super) fn load(folder: &Path, named: Option<&str>, options: &LoadOptions) -> Result<Option<Found>> {
    let Some((prefix, group)) = one_set(folder, find(folder)?, named)? else { return Ok(None) };
    let mut found = Found::default();
    let [train_images, train_labels, test_images, test_labels] = &group;
    let parts = [
        (Part::Train, train_images, train_labels, options.training_rows()),
        (Part::Test, test_images, test_labels, options.rows()),
    ];
    let has_test = test_images.is_some() || test_labels.is_some();
    let mut classes = 0;
    for (part, images, labels, rows) in parts {
        let (Some(images), Some(labels)) = (images, labels) else {
            if images.is_none() && labels.is_none() {
                continue;
            }
            let first = if part == Part::Train { 0 } else { 2 };
            let missing = (first..first + 2).find(|&file| group[file].is_none()).expect("one of the two");
            return Err(Error::file(folder, format!("an IDX file {prefix}{}", STEMS[missing].0), "none"));
        };
        let rows = if has_test { rows } else { usize::MAX };
        let (image, all_rows, pixels) = read_images(images, prefix.starts_with("emnist"), rows)?;
        // All labels are read, not only those of the first `rows`: the classes must not depend on `rows`.
        let mut labels = read_labels(labels, all_rows)?;
        classes = classes.max(labels.iter().max().map_or(0, |&label| label as usize + 1));
        labels.truncate(rows);
        found.parts.push((part, Images::Pixels(Pixels { path: images.clone(), image, pixels, labels })));
    }
    found.classes = numbered(classes);
    Ok(Some(found))
}

/// The IDX files of a folder, grouped by the part of the name before `train` or `t10k`; plain files before gzipped
/// ones.
fn find(folder: &Path) -> Result<BTreeMap<String, Group>> {
    let mut groups = BTreeMap::<String, Group>::new();
    for path in entries(folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(parse);
        if let Some((prefix, part)) = name
            && path.is_file()
        {
            let group = groups.entry(prefix.into()).or_default();
            group[part].get_or_insert(path);
        }
    }
    Ok(groups)
}

/// Whether a file of this name is one of a dataset's IDX files.
pub(super) fn is_idx(name: &str) -> bool {
    parse(name).is_some()
}

/// Prefix and part of a file name: `emnist-letters-test-images-idx3-ubyte.gz` is (`emnist-letters-`, 2).
fn parse(name: &str) -> Option<(&str, usize)> {
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix("-ubyte")?;
    let stem = stem.strip_suffix("idx3").or(stem.strip_suffix("idx1"))?.strip_suffix(['-', '.'])?;
    STEMS.iter().find_map(|&(end, part)| Some((stem.strip_suffix(end)?, part)))
}

/// The size and the number of the images in a file, and the pixels of the first `rows`.
fn read_images(path: &Path, transposed: bool, rows: usize) -> Result<(ImageShape, usize, Vec<u8>)> {
    let ([images, height, width], elements, values) = read(path, rows)?;
    let pixels = elements.to_bytes(path, values)?;
    if !transposed {
        return Ok((ImageShape { height, width, channels: 1 }, images, pixels));
    }
    let image = ImageShape { height: width, width: height, channels: 1 };
    let [mut upright] = pixel_room([images.min(rows)], image, 0)?;
    let turned = pixels
        .chunks_exact(height * width)
        .flat_map(|image| (0..width).flat_map(move |x| (0..height).map(move |y| image[y * width + x])));
    upright.extend(turned);
    Ok((image, images, upright))
}

/// The labels of `images` images.
fn read_labels(path: &Path, images: usize) -> Result<Vec<u32>> {
    let ([labels], elements, values) = read(path, images)?;
    if labels != images {
        return Err(Error::file(path, format!("{images} labels, one per image"), labels));
    }
    elements.to_labels(path, &values)
}

/// Sizes of a file, its elements, and the data of its first `rows`; if there are no more rows, no data may follow. The
/// header is checked against the data before memory is allocated for them.
fn read<const RANK: usize>(path: &Path, rows: usize) -> Result<([usize; RANK], Elements, Vec<u8>)> {
    let file = files::open(path)?;
    let file_length = file.metadata().map_err(Error::io("read", path))?.len();
    let broken = |error: io::Error| match is_damage(&error) {
        true => Error::file(path, WHOLE, format!("one that is cut off or damaged: {error}")),
        false => Error::io("read", path)(error),
    };
    let mut file = BufReader::new(file);
    let gzipped = file.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]);
    let mut reader: Box<dyn Read> =
        if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let mut word = || {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(broken)?;
        Ok::<u32, Error>(u32::from_be_bytes(bytes))
    };
    let (magic, expected) = (word()?, 0x800 + RANK as u32);
    let [zero, zero_too, code, rank] = magic.to_be_bytes();
    let elements = Elements::of_idx(code).filter(|_| (zero, zero_too, usize::from(rank)) == (0, 0, RANK));
    let Some(elements) = elements else {
        return Err(Error::file(
            path,
            format!("the magic number {expected:#010x}"),
            format!("{magic:#010x}"),
        ));
    };
    let mut sizes = [0; RANK];
    for size in &mut sizes {
        *size = word()? as usize;
    }
    let [all_rows, sides @ ..] = sizes.as_slice() else { unreachable!("IDX files have at least one axis") };
    if *all_rows == 0 {
        return Err(Error::file(path, "at least one row", 0));
    }
    if let Some(side) = sides.iter().find(|side| !(1..=MAX_SIDE).contains(*side)) {
        return Err(Error::file(path, format!("image sides from 1 to {MAX_SIDE}"), side));
    }
    let length = sizes.iter().try_fold(elements.bytes(), |product, &size| product.checked_mul(size));
    let Some(length) = length.filter(|&length| length <= MAX_BYTES) else {
        return Err(Error::file(
            path,
            format!("at most {MAX_BYTES} bytes of data"),
            format!("sizes {sizes:?}"),
        ));
    };

    let expected = format!("{length} bytes after the header, for sizes {sizes:?}");
    let data_length = file_length.saturating_sub(4 + 4 * RANK as u64);
    if !gzipped && data_length != length as u64 {
        return Err(Error::file(path, expected, data_length));
    }
    let wanted = rows.min(*all_rows) * (length / all_rows);
    let data = read_exactly(path, &mut reader, wanted as u64, length as u64, WHOLE, &expected)?;
    Ok((sizes, elements, data))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_of_all_relatives_are_known() {
        assert_eq!(parse("train-images-idx3-ubyte"), Some(("", 0)));
        assert_eq!(parse("train-labels.idx1-ubyte.gz"), Some(("", 1)));
        assert_eq!(parse("t10k-images.idx3-ubyte"), Some(("", 2)));
        assert_eq!(parse("emnist-letters-test-labels-idx1-ubyte.gz"), Some(("emnist-letters-", 3)));
        assert_eq!(parse("train-images.png"), None);
        assert_eq!(parse("other-idx3-ubyte"), None);
    }
}
