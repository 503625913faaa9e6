//! CIFAR-10 and CIFAR-100 in their binary format.
//!
//! A row is one label byte (CIFAR-100: coarse label, fine label), then the planes red, green and blue of
//! 32x32 bytes each. CIFAR-100 is read with its fine labels. Source:
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::found::{Found, Images, Part, Pixels};
use super::{LoadOptions, numbered, pixel_room};
use crate::tensor::ImageShape;
use crate::{Error, Result, files};

const IMAGE: ImageShape = ImageShape { height: 32, width: 32, channels: 3 };
const PLANE: usize = IMAGE.height * IMAGE.width;

/// The largest file size that is read.
const MOST_BYTES: u64 = i32::MAX as u64;

/// One of the two datasets.
struct Variant {
    /// Folder that its archive unpacks to.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Label bytes per row; the last one is the label.
    label_bytes: usize,
    classes: usize,
    /// File with one class name per line; it may be missing.
    names: &'static str,
}

const VARIANTS: [Variant; 2] = [
    Variant {
        folder: "cifar-10-batches-bin",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        label_bytes: 1,
        classes: 10,
        names: "batches.meta.txt",
    },
    Variant {
        folder: "cifar-100-binary",
        train: &["train.bin"],
        test: "test.bin",
        label_bytes: 2,
        classes: 100,
        names: "fine_label_names.txt",
    },
];

/// The archives for Python: their folder, two files that each holds, and the archive to download instead.
const PICKLED: [(&str, [&str; 2], &str); 2] = [
    ("cifar-10-batches-py", ["data_batch_1", "batches.meta"], "cifar-10-binary.tar.gz"),
    ("cifar-100-python", ["train", "meta"], "cifar-100-binary.tar.gz"),
];

/// The CIFAR binaries in a folder, or in a folder that it holds; `None` if there are no such files.
pub(super) fn load(folder: &Path, options: &LoadOptions) -> Result<Option<Found>> {
    for variant in &VARIANTS {
        for folder in [folder.to_path_buf(), folder.join(variant.folder)] {
            let mut files = variant.train.iter().chain([&variant.test]);
            if files.any(|file| folder.join(file).is_file()) {
                let classes = variant.class_names(&folder)?;
                let train = variant.read(&folder, variant.train, options.training_rows())?;
                let test = variant.read(&folder, &[variant.test], options.rows())?;
                let parts = vec![(Part::Train, train), (Part::Test, test)];
                return Ok(Some(Found { classes, parts, notes: Vec::new() }));
            }
        }
    }
    for (inner, files, archive) in PICKLED {
        for place in [folder.to_path_buf(), folder.join(inner)] {
            if files.iter().all(|file| place.join(file).is_file()) {
                let expected = format!("CIFAR's binary version, {archive} on the same page");
                return Err(Error::file(place, expected, "the version for Python, whose files are programs"));
            }
        }
    }
    Ok(None)
}

/// Whether a file of this name is one of CIFAR's binaries.
pub(super) fn is_cifar(name: &str) -> bool {
    VARIANTS.iter().any(|variant| variant.train.contains(&name) || variant.test == name)
}

impl Variant {
    fn class_names(&self, folder: &Path) -> Result<Vec<String>> {
        let path = folder.join(self.names);
        if !path.exists() {
            return Ok(numbered(self.classes));
        }
        let text = files::read_text(&path, files::MOST_TEXT)?;
        let names: Vec<_> = text.split_whitespace().map(String::from).collect();
        if names.len() != self.classes {
            return Err(Error::file(path, format!("{} class names", self.classes), names.len()));
        }
        Ok(names)
    }

    /// The first `rows` rows of some files; later rows are not read.
    fn read(&self, folder: &Path, files: &[&str], rows: usize) -> Result<Images> {
        let mut parts = Vec::new();
        let mut found = 0;
        for path in files.iter().map(|file| folder.join(file)) {
            if found < rows {
                let (file, rows_inside) = self.open(&path)?;
                let wanted = rows_inside.min(rows - found);
                parts.push((path, file, wanted));
                found += wanted;
            }
        }
        let [mut images] = pixel_room([found], IMAGE, 0)?;
        let mut labels = Vec::with_capacity(found);
        let mut bytes = vec![0; self.row_bytes()];
        for (path, file, rows) in parts {
            let mut file = BufReader::new(file);
            for row in 0..rows {
                file.read_exact(&mut bytes).map_err(Error::io("read", &path))?;
                let (label, planes) = (bytes[self.label_bytes - 1], &bytes[self.label_bytes..]);
                if usize::from(label) >= self.classes {
                    let expected = format!("labels below {}", self.classes);
                    return Err(Error::file(path, expected, format!("{label} in row {row}")));
                }
                labels.push(u32::from(label));
                for pixel in 0..PLANE {
                    images.extend([planes[pixel], planes[PLANE + pixel], planes[2 * PLANE + pixel]]);
                }
            }
        }
        Ok(Images::Pixels(Pixels { path: folder.join(files[0]), image: IMAGE, pixels: images, labels }))
    }

    /// A file and the number of its rows.
    fn open(&self, path: &Path) -> Result<(File, usize)> {
        let file = files::open(path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length > MOST_BYTES {
            return Err(Error::file(path, format!("at most {MOST_BYTES} bytes"), length));
        }
        let row_bytes = self.row_bytes();
        if length == 0 || !length.is_multiple_of(row_bytes as u64) {
            return Err(Error::file(path, format!("rows of {row_bytes} bytes"), format!("{length} bytes")));
        }
        Ok((file, length as usize / row_bytes))
    }

    fn row_bytes(&self) -> usize {
        self.label_bytes + IMAGE.elements()
    }
}
