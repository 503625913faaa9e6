//! CIFAR-10 and CIFAR-100 in their binary version.
//!
//! A row is one label byte (CIFAR-100: coarse label, fine label), then the planes red, green and blue of
//! 32x32 bytes each. CIFAR-100 is read with its fine labels. Source:
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs;
use std::path::Path;

use super::{Dataset, numbered};
use crate::tensor::ImageShape;
use crate::{Error, Result};

const IMAGE: ImageShape = ImageShape { height: 32, width: 32, channels: 3 };
const PLANE: usize = IMAGE.height * IMAGE.width;

/// One of the two datasets.
struct Variant {
    /// Folder that its archive unpacks to.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    /// Label bytes a row; the last one counts.
    label_bytes: usize,
    classes: usize,
    /// File with one class name a line; it may be missing.
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

/// Training and test set of a folder of CIFAR binaries, or one that holds such a folder; `None` when neither.
pub(super) fn load(folder: &Path) -> Result<Option<(Dataset, Dataset)>> {
    for variant in &VARIANTS {
        for folder in [folder.to_path_buf(), folder.join(variant.folder)] {
            let mut files = variant.train.iter().chain([&variant.test]);
            if files.any(|file| folder.join(file).is_file()) {
                let classes = variant.class_names(&folder)?;
                let train = variant.read(&folder, variant.train, classes.clone())?;
                return Ok(Some((train, variant.read(&folder, &[variant.test], classes)?)));
            }
        }
    }
    Ok(None)
}

impl Variant {
    fn class_names(&self, folder: &Path) -> Result<Vec<String>> {
        let path = folder.join(self.names);
        if !path.exists() {
            return Ok(numbered(self.classes));
        }
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let names: Vec<_> = text.split_whitespace().map(String::from).collect();
        if names.len() != self.classes {
            return Err(Error::file(path, format!("{} class names", self.classes), names.len()));
        }
        Ok(names)
    }

    fn read(&self, folder: &Path, files: &[&str], classes: Vec<String>) -> Result<Dataset> {
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        let row_bytes = self.label_bytes + IMAGE.elements();
        for file in files {
            let path = folder.join(file);
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            if bytes.is_empty() || bytes.len() % row_bytes != 0 {
                let expected = format!("rows of {row_bytes} bytes");
                return Err(Error::file(path, expected, format!("{} bytes", bytes.len())));
            }
            images.reserve(bytes.len());
            for (row, bytes) in bytes.chunks_exact(row_bytes).enumerate() {
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
        Dataset::new(IMAGE, classes, images, labels)
    }
}
