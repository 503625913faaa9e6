//! IDX files: MNIST, Fashion-MNIST, KMNIST, EMNIST; plain or gzipped.
//!
//! A file is big-endian: magic `0x00000800 + rank`, `rank` sizes of 32 bits, then one byte per value. Source:
//! <http://yann.lecun.com/exdb/mnist/>. EMNIST stores each image transposed, and its letters are labelled from 1:
//! there are as many classes as the largest label plus one, so class `0` stays empty.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{Dataset, MAX_SIDE, entries, numbered, pixel_room};
use crate::tensor::ImageShape;
use crate::{Error, Result, host_memory};

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

/// The first `rows` images of the training and the test set in a folder of IDX files; `None` if it holds none.
pub(super) fn load(folder: &Path, rows: usize) -> Result<Option<(Dataset, Dataset)>> {
    let mut groups = find(folder)?;
    let Some((prefix, group)) = groups.pop_first() else { return Ok(None) };
    if !groups.is_empty() {
        let prefixes: Vec<_> = groups.keys().map(|other| format!("{other:?}")).collect();
        let found = format!("files that begin with {prefix:?}, {}", prefixes.join(", "));
        return Err(Error::file(folder, "the IDX files of one dataset", found));
    }
    let [Some(train_images), Some(train_labels), Some(test_images), Some(test_labels)] = group else {
        let missing = group.iter().position(Option::is_none).map_or("", |part| STEMS[part].0);
        return Err(Error::file(folder, format!("an IDX file {prefix}{missing}"), "none"));
    };

    let transposed = prefix.starts_with("emnist");
    let (image, train_rows, train) = read_images(&train_images, transposed, rows)?;
    let (test_image, test_rows, test) = read_images(&test_images, transposed, rows)?;
    if image != test_image {
        let expected = format!("images of {image} as in the training set");
        return Err(Error::file(test_images, expected, test_image));
    }
    // All labels are read, not only those of the first `rows`: the classes must not depend on `rows`.
    let mut train_labels = read_labels(&train_labels, train_rows)?;
    let mut test_labels = read_labels(&test_labels, test_rows)?;
    let largest = train_labels.iter().chain(&test_labels).max().map_or(0, |&label| label as usize);
    let classes = numbered(largest + 1);
    train_labels.truncate(rows);
    test_labels.truncate(rows);
    let train = Dataset::new(image, classes.clone(), train, train_labels)?;
    Ok(Some((train, Dataset::new(image, classes, test, test_labels)?)))
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

/// Prefix and part of a file name: `emnist-letters-test-images-idx3-ubyte.gz` is (`emnist-letters-`, 2).
fn parse(name: &str) -> Option<(&str, usize)> {
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix("-ubyte")?;
    let stem = stem.strip_suffix("idx3").or(stem.strip_suffix("idx1"))?.strip_suffix(['-', '.'])?;
    STEMS.iter().find_map(|&(end, part)| Some((stem.strip_suffix(end)?, part)))
}

/// The size and the number of the images in a file, and the pixels of the first `rows`.
fn read_images(path: &Path, transposed: bool, rows: usize) -> Result<(ImageShape, usize, Vec<u8>)> {
    let ([images, height, width], pixels) = read(path, rows)?;
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
    let ([labels], values) = read(path, images)?;
    if labels != images {
        return Err(Error::file(path, format!("{images} labels, one per image"), labels));
    }
    Ok(values.into_iter().map(u32::from).collect())
}

/// Sizes of a file, and the values of its first `rows`; if there are no more rows, no data may follow. The header is
/// checked against the data before memory is allocated for them.
fn read<const RANK: usize>(path: &Path, rows: usize) -> Result<([usize; RANK], Vec<u8>)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let file_length = file.metadata().map_err(Error::io("read", path))?.len();
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let file = BufReader::new(file);
    let mut reader: Box<dyn Read> =
        if gzipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::file(path, "a whole IDX file", format!("one that is cut off or damaged: {error}"))
        }
        _ => Error::io("read", path)(error),
    };

    let mut word = || {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(broken)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let (magic, expected) = (word()?, 0x800 + RANK as u32);
    if magic != expected {
        return Err(Error::file(
            path,
            format!("the magic number {expected:#010x}"),
            format!("{magic:#010x}"),
        ));
    }
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
    let length = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
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
    let row_bytes = length / all_rows;
    let wanted = rows.min(*all_rows) * row_bytes;
    let (what, advice) = (format!("reading {}", path.display()), "fewer images (--limit)");
    host_memory::check(&what, wanted as u64, advice)?;
    // The buffer grows as data arrive, and reading stops one byte after the declared size, so that a gzip bomb is not
    // unpacked.
    let mut data = Vec::new();
    let most = if wanted < length { wanted } else { length + 1 };
    reader.take(most as u64).read_to_end(&mut data).map_err(broken)?;
    match data.len() {
        found if found < wanted => Err(Error::file(path, expected, found)),
        found if found > wanted => Err(Error::file(path, expected, "more")),
        _ => Ok((sizes, data)),
    }
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
