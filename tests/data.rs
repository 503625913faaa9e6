//! Each format loads correctly, and each kind of damage is refused in one clear line.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;
use wgconv::data::{DataSplits, Dataset, LoadOptions, Normalisation, TEST_ROWS, TRAIN_ROWS, load};
use wgconv::tensor::ImageShape;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn load_from(folder: &TempDir) -> DataSplits {
    load(folder.path().to_str().unwrap(), &LoadOptions::seed(3)).unwrap()
}

/// Asserts that the folder is refused with the single line `message`, in which paths are relative to it.
#[track_caller]
fn assert_refused(folder: &TempDir, message: &str) {
    let error = load(folder.path().to_str().unwrap(), &LoadOptions::seed(3)).unwrap_err().to_string();
    let relative = error.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(relative.replace(&folder.path().display().to_string(), "FOLDER"), message);
    assert!(!error.contains('\n'));
}

mod idx {
    use super::*;

    fn header(magic: u32, sizes: &[u32]) -> Vec<u8> {
        [magic].iter().chain(sizes).flat_map(|word| word.to_be_bytes()).collect()
    }

    fn images(rows: u32, height: u32, width: u32) -> Vec<u8> {
        let pixels = (0..rows * height * width).map(|value| value as u8);
        header(0x803, &[rows, height, width]).into_iter().chain(pixels).collect()
    }

    fn labels(labels: &[u8]) -> Vec<u8> {
        [header(0x801, &[labels.len() as u32]), labels.to_vec()].concat()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Three training and two test images of 2x3 pixels.
    fn valid() -> TempDir {
        let folder = folder();
        write(&folder, "train-images-idx3-ubyte", images(3, 2, 3));
        write(&folder, "train-labels-idx1-ubyte.gz", gzip(&labels(&[2, 0, 1])));
        write(&folder, "t10k-images.idx3-ubyte.gz", gzip(&images(2, 2, 3)));
        write(&folder, "t10k-labels.idx1-ubyte", labels(&[1, 4]));
        folder
    }

    #[test]
    fn plain_and_gzipped_files_load() {
        let folder = valid();
        let data = load_from(&folder);
        assert_eq!(data.name, folder.path().file_name().unwrap().to_str().unwrap());
        assert_eq!(data.train.image, ImageShape { height: 2, width: 3, channels: 1 });
        assert_eq!(*data.train.images, (0..18).collect::<Vec<u8>>());
        assert_eq!(data.train.labels, [2, 0, 1]);
        assert_eq!(*data.test.images, (0..12).collect::<Vec<u8>>());
        assert_eq!(data.test.labels, [1, 4]);
        assert_eq!(data.train.classes, ["0", "1", "2", "3", "4"]);
        assert_eq!(data.test.classes, data.train.classes);
    }

    #[test]
    fn emnist_is_turned_upright() {
        let folder = folder();
        write(&folder, "emnist-letters-train-images-idx3-ubyte", images(1, 2, 3));
        write(&folder, "emnist-letters-train-labels-idx1-ubyte", labels(&[1]));
        write(&folder, "emnist-letters-test-images-idx3-ubyte", images(1, 2, 3));
        write(&folder, "emnist-letters-test-labels-idx1-ubyte", labels(&[2]));
        let train = load_from(&folder).train;
        assert_eq!(train.image, ImageShape { height: 3, width: 2, channels: 1 });
        assert_eq!(*train.images, [0, 3, 1, 4, 2, 5]);
        assert_eq!(train.classes.len(), 3);
    }

    #[test]
    fn damaged_files_are_refused() {
        let file = "train-images-idx3-ubyte";
        let cases = [
            (
                vec![0, 0, 8],
                "a whole IDX file, found one that is cut off or damaged: failed to fill whole buffer",
            ),
            (labels(&[1]), "the magic number 0x00000803, found 0x00000801"),
            (images(3, 2, 3)[..30].to_vec(), "18 bytes after the header, for sizes [3, 2, 3], found 14"),
            ([images(3, 2, 3), vec![0]].concat(), "18 bytes after the header, for sizes [3, 2, 3], found 19"),
            (images(0, 2, 3), "at least one row, found 0"),
            (images(3, 0, 3), "image sides from 1 to 4096, found 0"),
            (header(0x803, &[1, 2, 4097]), "image sides from 1 to 4096, found 4097"),
            (
                header(0x803, &[u32::MAX, 4096, 4096]),
                "at most 2147483647 bytes of data, found sizes [4294967295, 4096, 4096]",
            ),
        ];
        for (bytes, message) in cases {
            let folder = valid();
            write(&folder, file, bytes);
            assert_refused(&folder, &format!("{file}: expected {message}"));
        }
    }

    #[test]
    fn damaged_gzip_files_are_refused() {
        let file = "train-labels-idx1-ubyte.gz";
        let promise = "3 bytes after the header, for sizes [3]";
        let whole = gzip(&labels(&[2, 0, 1]));
        let damaged = "a whole IDX file, found one that is cut off or damaged";
        let mut wrong_checksum = whole.clone();
        wrong_checksum[whole.len() - 5] ^= 1;
        let cases = [
            // The content says whether a file is gzipped, not its name.
            (b"no gzip file".to_vec(), "the magic number 0x00000801, found 0x6e6f2067".into()),
            (whole[..whole.len() - 9].to_vec(), format!("{damaged}: incomplete deflate stream")),
            (wrong_checksum, format!("{damaged}: corrupt gzip stream does not have a matching checksum")),
            (gzip(&labels(&[2, 0, 1])[..10]), format!("{promise}, found 2")),
            (gzip(&[labels(&[2, 0, 1]), vec![7; 99]].concat()), format!("{promise}, found more")),
        ];
        for (bytes, message) in cases {
            let folder = valid();
            write(&folder, file, bytes);
            assert_refused(&folder, &format!("{file}: expected {message}"));
        }
    }

    #[test]
    fn a_gzip_bomb_is_not_inflated() {
        let folder = valid();
        fs::remove_file(folder.path().join("train-images-idx3-ubyte")).unwrap();
        let path = write(&folder, "train-images-idx3-ubyte.gz", "");
        let mut encoder = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
        encoder.write_all(&header(0x803, &[10, 28, 28])).unwrap();
        io::copy(&mut io::repeat(0).take(1 << 30), &mut encoder).unwrap();
        encoder.finish().unwrap();
        let start = Instant::now();
        let message = "expected 7840 bytes after the header, for sizes [10, 28, 28], found more";
        assert_refused(&folder, &format!("train-images-idx3-ubyte.gz: {message}"));
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }

    #[test]
    fn inconsistent_files_are_refused() {
        let folder = valid();
        write(&folder, "train-labels-idx1-ubyte", labels(&[1, 2]));
        assert_refused(&folder, "train-labels-idx1-ubyte: expected 3 labels, one per image, found 2");

        let folder = valid();
        write(&folder, "t10k-images.idx3-ubyte.gz", gzip(&images(2, 3, 2)));
        let message = "expected images of 2x3x1 as in the training set, found 3x2x1";
        assert_refused(&folder, &format!("t10k-images.idx3-ubyte.gz: {message}"));

        let folder = valid();
        fs::remove_file(folder.path().join("t10k-labels.idx1-ubyte")).unwrap();
        assert_refused(&folder, "FOLDER: expected an IDX file t10k-labels, found none");

        let folder = valid();
        write(&folder, "emnist-digits-train-images-idx3-ubyte", images(1, 2, 3));
        let error = load(folder.path().to_str().unwrap(), &LoadOptions::default()).unwrap_err().to_string();
        let place = folder.path().display();
        let message = format!(r#"named as in --data {place}/emnist-digits, found 2: "", "emnist-digits""#);
        assert_eq!(error, format!("{place}: expected one dataset, {message}"));
    }
}

mod cifar {
    use super::*;

    /// A row whose planes are filled with 10, 20 and 30, except for the second pixel: 11, 21 and 31.
    fn row(labels: &[u8]) -> Vec<u8> {
        let plane = |value: u8| [vec![value, value + 1], vec![value; 1022]].concat();
        [labels.to_vec(), plane(10), plane(20), plane(30)].concat()
    }

    fn cifar10(subfolder: &str) -> TempDir {
        let folder = folder();
        for batch in 1..=5 {
            write(&folder, &format!("{subfolder}data_batch_{batch}.bin"), row(&[batch]));
        }
        write(&folder, &format!("{subfolder}test_batch.bin"), [row(&[9]), row(&[0])].concat());
        folder
    }

    #[test]
    fn cifar10_loads_with_channels_last() {
        for subfolder in ["", "cifar-10-batches-bin/"] {
            let data = load_from(&cifar10(subfolder));
            assert_eq!(data.train.image, ImageShape { height: 32, width: 32, channels: 3 });
            assert_eq!(data.train.labels, [1, 2, 3, 4, 5]);
            assert_eq!(data.test.labels, [9, 0]);
            assert_eq!(data.test.image(1)[..9], [10, 20, 30, 11, 21, 31, 10, 20, 30]);
            assert_eq!(data.train.classes.len(), 10);
        }
    }

    #[test]
    fn class_names_are_read() {
        let folder = cifar10("");
        write(&folder, "batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
        assert_eq!(load_from(&folder).train.classes[9], "j");
        write(&folder, "batches.meta.txt", "a\nb\n");
        assert_refused(&folder, "batches.meta.txt: expected 10 class names, found 2");
    }

    #[test]
    fn cifar100_loads_with_fine_labels() {
        let folder = folder();
        write(&folder, "cifar-100-binary/train.bin", row(&[5, 99]));
        write(&folder, "cifar-100-binary/test.bin", row(&[6, 42]));
        let data = load_from(&folder);
        assert_eq!((data.train.labels, data.test.labels), (vec![99], vec![42]));
        assert_eq!(data.train.images[..3], [10, 20, 30]);
        assert_eq!(data.train.classes.len(), 100);
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = cifar10("");
        write(&folder, "data_batch_3.bin", &row(&[1])[1..]);
        assert_refused(&folder, "data_batch_3.bin: expected rows of 3073 bytes, found 3072 bytes");
        write(&folder, "data_batch_3.bin", "");
        assert_refused(&folder, "data_batch_3.bin: expected rows of 3073 bytes, found 0 bytes");
        write(&folder, "data_batch_3.bin", [row(&[1]), row(&[10])].concat());
        assert_refused(&folder, "data_batch_3.bin: expected labels below 10, found 10 in row 1");
        fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
        assert_refused(&folder, "cannot read data_batch_3.bin: No such file or directory (os error 2)");
    }
}

mod folders {
    use super::*;

    fn parent(folder: &TempDir, name: &str) -> PathBuf {
        write(folder, name, "")
    }

    /// A grayscale image of 2 rows and 3 columns.
    fn gray(folder: &TempDir, name: &str, value: u8) {
        GrayImage::from_pixel(3, 2, Luma([value])).save(parent(folder, name)).unwrap();
    }

    fn colour(folder: &TempDir, name: &str, value: [u8; 3]) {
        RgbImage::from_pixel(3, 2, Rgb(value)).save(parent(folder, name)).unwrap();
    }

    fn valid() -> TempDir {
        let folder = folder();
        gray(&folder, "train/cat/2.png", 12);
        gray(&folder, "train/cat/1.png", 11);
        gray(&folder, "train/ant/9.PNG", 9);
        gray(&folder, "test/cat/5.jpg", 100);
        gray(&folder, "test/ant/7.jpeg", 200);
        write(&folder, "train/cat/.hidden.png", "no image");
        write(&folder, "train/cat/notes.txt", "no image");
        folder
    }

    #[test]
    fn given_splits_load_with_interleaved_classes() {
        let data = load_from(&valid());
        assert_eq!(data.train.image, ImageShape { height: 2, width: 3, channels: 1 });
        assert_eq!(data.train.classes, ["ant", "cat"]);
        assert_eq!(data.train.labels, [0, 1, 1]);
        assert_eq!(*data.train.images, [[9; 6], [11; 6], [12; 6]].concat());
        assert_eq!(data.test.labels, [0, 1]);
        assert_eq!(*data.test.images, [[200; 6], [100; 6]].concat());
    }

    #[test]
    fn one_colour_image_makes_all_rgb() {
        let folder = valid();
        colour(&folder, "test/ant/8.png", [1, 2, 3]);
        let data = load_from(&folder);
        assert_eq!(data.train.image.channels, 3);
        assert_eq!(*data.train.images, [[9; 18], [11; 18], [12; 18]].concat());
        assert_eq!(data.test.image(2), [1, 2, 3].repeat(6));
    }

    #[test]
    fn without_a_test_set_a_share_of_each_class_is_held_out() {
        for root in ["", "train/"] {
            let folder = folder();
            let mut all = Vec::new();
            for value in 0..60 {
                gray(&folder, &format!("{root}a/{value:02}.png"), value);
                all.push(value);
            }
            for value in 100..103 {
                gray(&folder, &format!("{root}b/{value}.png"), value);
                all.push(value);
            }
            let data = load_from(&folder);
            let firsts = |set: &Dataset| set.images.iter().copied().step_by(6).collect::<Vec<u8>>();
            let counts = data.test.counts();
            assert!((1..25).contains(&counts[0]) && (1..3).contains(&counts[1]), "{counts:?}");
            assert_eq!(data.test.labels[..2], [0, 1]);
            assert_eq!(data.train.labels[..2], [0, 1]);
            let mut seen = [firsts(&data.train), firsts(&data.test)].concat();
            seen.sort_unstable();
            assert_eq!(seen, all);
            assert_eq!(load_from(&folder), data);
            let other_seed = load(folder.path().to_str().unwrap(), &LoadOptions::seed(4)).unwrap();
            assert_ne!(firsts(&other_seed.test), firsts(&data.test));
        }
    }

    #[test]
    fn missing_images_are_refused() {
        let folder = folder();
        let nothing = "expected pictures in one folder a class (or --labels FILE.csv), IDX files, NumPy files or CIFAR binaries";
        assert_refused(&folder, &format!("FOLDER: {nothing}, found none of them"));
        gray(&folder, "1.png", 0);
        assert_refused(&folder, &format!("FOLDER: {nothing}, found pictures (1) in no folder of a class"));
        gray(&folder, "a/1.png", 0);
        let alone = "expected at least 2 images of a class, to train and to test on, found 1";
        assert_refused(&folder, &format!("FOLDER: {alone}"));
        write(&folder, "downloads/MNIST/raw/train-images-idx3-ubyte", "");
        write(&folder, "downloads/KMNIST/raw/train-images-idx3-ubyte", "");
        let downloads = folder.path().join("downloads");
        let error = load(downloads.to_str().unwrap(), &LoadOptions::default()).unwrap_err();
        let error = error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        let files = "files in FOLDER/downloads/KMNIST/raw, FOLDER/downloads/MNIST/raw";
        let expected = "expected one dataset, by the folder that holds it";
        assert_eq!(error, format!("FOLDER/downloads: {expected}, found {files}"));
        let error = load("no/such/folder", &LoadOptions::seed(0)).unwrap_err();
        assert!(error.is_wrong_use());
        let message = r#"data: expected `synthetic`, a folder or an .npz file, found "no/such/folder", which is no folder"#;
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn broken_images_are_refused() {
        let folder = valid();
        let jpeg = fs::read(folder.path().join("test/cat/5.jpg")).unwrap();
        let png = fs::read(folder.path().join("train/cat/1.png")).unwrap();
        let mut endless = jpeg.clone();
        endless.truncate(jpeg.len() - 2);
        let mut scrambled = jpeg.clone();
        scrambled[24..30].fill(0xff);
        let cut_off = "a whole JPEG picture, found one that is cut off";
        let undecodable =
            "a PNG, JPEG, BMP, GIF, WebP, TIFF or PNM picture, found one that cannot be decoded";
        let cases = [
            (b"".as_slice(), format!("{undecodable}: The image format could not be determined")),
            (b"text", format!("{undecodable}: The image format could not be determined")),
            (&jpeg[..20], cut_off.into()),
            (&endless, cut_off.into()),
            (&scrambled, format!("{undecodable}: Format error decoding Jpeg: ")),
            (&png[..20], undecodable.into()),
            (&png[..png.len() - 20], undecodable.into()),
        ];
        for (bytes, message) in cases {
            // The content decides, not the extension.
            for name in ["test/cat/6.jpg", "test/cat/6.png"] {
                let path = write(&folder, name, bytes);
                let error =
                    load(folder.path().to_str().unwrap(), &LoadOptions::seed(0)).unwrap_err().to_string();
                assert!(error.starts_with(&format!("{}: expected {message}", path.display())), "{error}");
                assert!(!error.contains('\n'));
                fs::remove_file(path).unwrap();
            }
        }
    }

    #[test]
    fn a_huge_header_is_refused() {
        let folder = valid();
        let mut png = fs::read(folder.path().join("train/cat/1.png")).unwrap();
        png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        // The header chunk ends with its checksum.
        let mut checksum = flate2::Crc::new();
        checksum.update(&png[12..29]);
        png[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
        write(&folder, "train/ant/9.PNG", png);
        let message =
            "expected a PNG, JPEG, BMP, GIF, WebP, TIFF or PNM picture, found one that cannot be decoded";
        assert_refused(&folder, &format!("train/ant/9.PNG: {message}: Image size exceeds limit"));
    }
}

#[test]
fn synthetic_digits_are_balanced_and_normalisable() {
    let data = load("synthetic", &LoadOptions::seed(5)).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (TRAIN_ROWS, TEST_ROWS));
    assert_eq!(data.train.image, ImageShape { height: 28, width: 28, channels: 1 });
    for digit in 0..10 {
        let share = data.test.labels.iter().filter(|&&label| label == digit).count();
        assert_eq!(share, TEST_ROWS / 10);
    }
    let figures = Normalisation::measure(&data.train);
    assert!(
        (20.0..60.0).contains(&figures.mean[0]) && (40.0..80.0).contains(&figures.deviation[0]),
        "{figures:?}"
    );
}

/// Uses the published files: `WGCONV_DATA` names a folder that contains `mnist/`.
#[test]
fn mnist_loads() {
    let Ok(root) = std::env::var("WGCONV_DATA") else {
        println!("skipped: WGCONV_DATA names no folder with mnist/");
        return;
    };
    let data = load(&format!("{root}/mnist"), &LoadOptions::seed(0)).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!(data.train.labels[..5], [5, 0, 4, 1, 9]);
    assert_eq!(data.train.classes.len(), 10);
    // The well-known figures: mean 0.1307, deviation 0.3081.
    let figures = Normalisation::measure(&data.train);
    assert!((figures.mean[0] / 255.0 - 0.1307).abs() < 5e-5, "{figures:?}");
    assert!((figures.deviation[0] / 255.0 - 0.3081).abs() < 5e-5, "{figures:?}");
}
