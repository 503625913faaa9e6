//! NumPy's arrays, IDX files of every type, and CSV files of labels: each loads right, each kind of damage is refused.

#[path = "common/place.rs"]
mod place;

use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use place::Place;
use wgconv::data::{DataSplits, Dataset, LoadOptions, load, load_for};
use wgconv::host::CpuExecutor;
use wgconv::network::presets;
use wgconv::tensor::ImageShape;
use wgconv::{TrainSettings, Trainer};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

impl Place {
    fn load_with(&self, name: &str, options: &LoadOptions) -> Result<DataSplits, String> {
        load(&self.source(name), options).map_err(|error| {
            let error = error.to_string();
            assert!(!error.contains('\n'), "{error}");
            error.replace(self.0.path().to_str().unwrap(), "PLACE")
        })
    }

    fn load(&self, name: &str) -> Result<DataSplits, String> {
        self.load_with(name, &LoadOptions::default())
    }

    #[track_caller]
    fn assert_refused(&self, name: &str, message: &str) {
        assert_eq!(self.load(name).unwrap_err(), message);
    }
}

/// A `.npy` file, as NumPy writes it.
fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() == 1 { format!("{},", shape[0]) } else { sizes.trim_end_matches(", ").into() };
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let header = format!("{header:<117}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

fn npz(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        let options = SimpleFileOptions::default().compression_method(method).large_file(true);
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(array).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// Images of 2x3 pixels that differ from each other, beginning with `first`.
fn pixels(first: u8, rows: usize, image: usize) -> Vec<u8> {
    (0..rows * image).map(|value| first.wrapping_add(value as u8)).collect()
}

fn medmnist(method: CompressionMethod) -> Vec<u8> {
    let images = |first, rows: usize| npy("|u1", &[rows, 2, 3], &pixels(first, rows, 6));
    let labels = |labels: &[u8]| npy("|u1", &[labels.len(), 1], labels);
    let arrays = [
        ("train_images", images(0, 4)),
        ("train_labels", labels(&[0, 1, 2, 0])),
        ("val_images", images(50, 2)),
        ("val_labels", labels(&[1, 2])),
        ("test_images", images(100, 3)),
        ("test_labels", labels(&[2, 1, 0])),
    ];
    npz(&arrays, method)
}

mod numpy {
    use super::*;

    #[test]
    fn archives_with_medmnists_names_load() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let place = Place::new();
            place.write("some/med.npz", medmnist(method));
            for source in ["some/med.npz", "some/med", "some"] {
                let data = place.load(source).unwrap();
                assert_eq!(data.name, if source == "some" { "some" } else { "med" });
                assert_eq!(data.train.image, ImageShape { height: 2, width: 3, channels: 1 });
                assert_eq!(
                    (data.train.labels, &data.train.classes),
                    (vec![0, 1, 2, 0], &vec!["0".into(), "1".into(), "2".into()])
                );
                assert_eq!(*data.train.images, pixels(0, 4, 6));
                assert_eq!(*data.validation.as_ref().unwrap().images, pixels(50, 2, 6));
                assert_eq!((&*data.test.images, data.test.labels), (&pixels(100, 3, 6), vec![2, 1, 0]));
            }
        }
    }

    #[test]
    fn archives_with_keras_names_load_and_labels_have_any_type() {
        for (descr, width) in [("|u1", 1), ("<i2", 2), (">i4", 4), ("<u4", 4), ("<i8", 8), (">u8", 8)] {
            let labels = |labels: &[u8]| {
                let mut data = Vec::new();
                for &label in labels {
                    let mut bytes = vec![0; width];
                    bytes[if descr.starts_with('>') { width - 1 } else { 0 }] = label;
                    data.extend(bytes);
                }
                npy(descr, &[labels.len()], &data)
            };
            let place = Place::new();
            let arrays = [
                ("x_train", npy("|u1", &[3, 2, 3, 3], &pixels(0, 3, 18))),
                ("y_train", labels(&[0, 3, 1])),
                ("x_test", npy("|u1", &[1, 2, 3, 3], &pixels(9, 1, 18))),
                ("y_test", labels(&[2])),
                ("weights", npy("<f4", &[1], &[0; 4])),
            ];
            place.write("a.npz", npz(&arrays, CompressionMethod::Deflated));
            let data = place.load("a.npz").unwrap();
            assert_eq!(data.train.image.channels, 3);
            assert_eq!((data.train.labels, data.test.labels), (vec![0, 3, 1], vec![2]), "{descr}");
            assert_eq!(*data.train.images, pixels(0, 3, 18));
            assert_eq!(data.notes, ["arrays that are not used: weights.npy"]);
        }
    }

    #[test]
    fn kuzushijis_files_and_pairs_of_npy_load() {
        let images = |first, rows: usize| npy("|u1", &[rows, 2, 3], &pixels(first, rows, 6));
        let alone = |array: Vec<u8>| npz(&[("arr_0", array)], CompressionMethod::Deflated);
        let place = Place::new();
        for set in ["kmnist", "k49"] {
            place.write(&format!("kuzushiji/{set}-train-imgs.npz"), alone(images(1, 2)));
            place.write(&format!("kuzushiji/{set}-train-labels.npz"), alone(npy("|u1", &[2], &[0, 1])));
            place.write(&format!("kuzushiji/{set}-test-imgs.npz"), alone(images(60, 1)));
            place.write(&format!("kuzushiji/{set}-test-labels.npz"), alone(npy("|u1", &[1], &[1])));
        }
        place.write("kuzushiji/kmnist_classmap.csv", "index,codepoint,char\n");
        let sets = r#"PLACE/kuzushiji: expected one dataset, named as in --data PLACE/kuzushiji/k49, found 2: "k49", "kmnist""#;
        place.assert_refused("kuzushiji", sets);
        let data = place.load("kuzushiji/kmnist").unwrap();
        assert_eq!((data.name.as_str(), data.train.len(), data.test.len()), ("kmnist", 2, 1));

        place.write("pairs/X_train.npy", images(1, 2));
        place.write("pairs/y_train.npy", npy("<i8", &[2], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        place.write("pairs/X_test.npy", images(60, 1));
        place.write("pairs/y_test.npy", npy("|u1", &[1], &[1]));
        let pairs = place.load("pairs").unwrap();
        assert_eq!((&pairs.train.images, pairs.train.labels), (&data.train.images, vec![1, 0]));
    }

    #[test]
    fn without_parts_a_share_is_held_out_by_the_pixels() {
        let place = Place::new();
        let labels: Vec<u8> = (0..40).map(|row| row % 2).collect();
        let write = |name: &str, rows: usize, data: &[u8]| {
            let arrays = [
                ("images", npy("|u1", &[rows, 2, 3], data)),
                ("labels", npy("|u1", &[rows], &labels[..rows])),
            ];
            place.write(name, npz(&arrays, CompressionMethod::Stored));
            place.load(name).unwrap()
        };
        let data = pixels(0, 40, 6);
        let (before, after) = (write("before.npz", 20, &data[..120]), write("after.npz", 40, &data));
        assert_eq!(before.train.len() + before.test.len(), 20);
        let rows = |set: &Dataset| (0..set.len()).map(|row| set.image(row).to_vec()).collect::<Vec<_>>();
        let test = rows(&after.test);
        assert!(rows(&before.train).iter().all(|image| !test.contains(image)));
        // The labels stay with their images: even first pixels have class 0.
        for set in [&after.train, &after.test] {
            for row in 0..set.len() {
                assert_eq!(u32::from(set.image(row)[0] / 6 % 2), set.labels[row]);
            }
        }
    }

    #[test]
    fn channels_first_floats_and_transparency_are_understood() {
        let data = |images: Vec<u8>| {
            let place = Place::new();
            let arrays = [
                ("x_train", images.clone()),
                ("y_train", npy("|u1", &[1], &[0])),
                ("x_test", images),
                ("y_test", npy("|u1", &[1], &[0])),
            ];
            place.write("a.npz", npz(&arrays, CompressionMethod::Stored));
            place.load("a.npz").map(|data| (data.train.image.channels, data.train.images.to_vec()))
        };
        let planes = npy("|u1", &[1, 3, 2, 2], &[1, 2, 3, 4, 10, 20, 30, 40, 100, 101, 102, 103]);
        let last = vec![1, 10, 100, 2, 20, 101, 3, 30, 102, 4, 40, 103];
        assert_eq!(data(planes), Ok((3, last)));
        let floats: Vec<u8> = [0.0f32, 0.5, 1.0, 0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(data(npy("<f4", &[1, 2, 2], &floats)), Ok((1, vec![0, 128, 255, 64])));
        let clear = npy("|u1", &[1, 1, 2, 4], &[10, 20, 30, 255, 10, 20, 30, 0]);
        assert_eq!(data(clear), Ok((3, vec![10, 20, 30, 255, 255, 255])));
        let beyond: Vec<u8> =
            [0.0f32, 0.5, 255.0, 0.25].iter().flat_map(|value| value.to_le_bytes()).collect();
        let error = "PLACE/a.npz/x_train.npy: expected floating-point pixels from 0 to 1, found 255";
        assert_eq!(data(npy("<f4", &[1, 2, 2], &beyond)), Err(error.into()));
    }

    #[test]
    fn arrays_at_odds_are_refused() {
        let refused = |arrays: &[(&str, Vec<u8>)], message: &str| {
            let place = Place::new();
            place.write("a.npz", npz(arrays, CompressionMethod::Deflated));
            place.assert_refused("a.npz", message);
        };
        let images = || ("x_train", npy("|u1", &[2, 2, 3], &pixels(0, 2, 6)));
        let labels = || ("y_train", npy("|u1", &[2], &[0, 1]));
        refused(
            &[],
            "PLACE/a.npz: expected arrays such as train_images and train_labels, or x_train and y_train, found none",
        );
        refused(&[images()], "PLACE/a.npz/x_train.npy: expected labels to go with these images, found none");
        refused(&[labels()], "PLACE/a.npz/y_train.npy: expected images to go with these labels, found none");
        let more = ("y_train", npy("|u1", &[3], &[0, 1, 2]));
        refused(&[images(), more], "PLACE/a.npz/y_train.npy: expected 2 labels, one per image, found 3");
        let one_hot = ("y_train", npy("|u1", &[2, 3], &[0; 6]));
        refused(
            &[images(), one_hot],
            "PLACE/a.npz/y_train.npy: expected labels of shape [N] or [N, 1], one class an image, found [2, 3]",
        );
        let volumes = ("x_train", npy("|u1", &[1, 5, 5, 5], &[0; 125]));
        refused(
            &[volumes, labels()],
            "PLACE/a.npz/x_train.npy: expected images of shape [N, H, W] or [N, H, W, C], with 1, 3 or 4 channels, found [1, 5, 5, 5]",
        );
        let again = ("images_train", images().1);
        refused(
            &[images(), again, labels()],
            "PLACE/a.npz/images_train.npy: expected one array of images for each part, such as PLACE/a.npz/x_train.npy, found another",
        );
        let huge = ("x_train", npy("|u1", &[2, 4000, 4000], &[0; 10]));
        refused(
            &[huge, labels()],
            "PLACE/a.npz/x_train.npy: expected 32000000 bytes after the header, for shape [2, 4000, 4000], found 10",
        );
        let sizes = ("x_test", npy("|u1", &[1, 3, 3], &[0; 9]));
        let more = ("y_test", npy("|u1", &[1], &[0]));
        refused(
            &[images(), labels(), sizes, more],
            "PLACE/a.npz/x_test.npy: expected images of 2x3x1 as in the training set, found 3x3x1",
        );
    }

    #[test]
    fn an_archive_that_is_cut_off_anywhere_is_refused() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let place = Place::new();
            let whole = medmnist(method);
            for length in 0..whole.len() {
                place.write("a.npz", &whole[..length]);
                let error = place.load("a.npz").unwrap_err();
                assert!(error.starts_with("PLACE/a.npz"), "{error}");
            }
        }
        let place = Place::new();
        let array = npy("|u1", &[2, 2, 3], &pixels(0, 2, 6));
        place.write("y.npy", npy("|u1", &[2], &[0, 1]));
        for length in 0..array.len() {
            place.write("x.npy", &array[..length]);
            let error = place.load("").unwrap_err();
            assert!(error.starts_with("PLACE/x.npy: expected "), "{error}");
        }
    }

    /// A gigabyte of zeros in a megabyte: what the array's header promises is all that is unpacked.
    #[test]
    fn a_bomb_is_not_inflated() {
        let place = Place::new();
        let bomb = npy("|u1", &[10, 28, 28], &vec![0; 256 << 20]);
        place.write(
            "a.npz",
            npz(&[("x_train", bomb), ("y_train", npy("|u1", &[10], &[0; 10]))], CompressionMethod::Deflated),
        );
        let found = 256 << 20;
        let message = format!("expected 7840 bytes after the header, for shape [10, 28, 28], found {found}");
        place.assert_refused("a.npz", &format!("PLACE/a.npz/x_train.npy: {message}"));
    }
}

mod idx {
    use super::*;

    fn idx(code: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
        let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
        [&[0, 0, code, sizes.len() as u8 / 4][..], &sizes, data].concat()
    }

    #[test]
    fn elements_of_every_type_are_pixels() {
        let values = [0u8, 100, 51, 127];
        let floats = values.map(|value| f32::from(value) / 255.0);
        for (code, data) in [
            (0x08, values.to_vec()),
            (0x09, values.to_vec()),
            (0x0b, values.iter().flat_map(|&value| i16::from(value).to_be_bytes()).collect()),
            (0x0c, values.iter().flat_map(|&value| i32::from(value).to_be_bytes()).collect()),
            (0x0d, floats.iter().flat_map(|value| value.to_be_bytes()).collect()),
            (0x0e, floats.iter().flat_map(|&value| f64::from(value).to_be_bytes()).collect()),
        ] {
            let place = Place::new();
            for part in ["train", "t10k"] {
                place.write(&format!("MNIST/raw/{part}-images-idx3-ubyte"), idx(code, &[2, 1, 2], &data));
                let labels: Vec<u8> = [0i32, 1].iter().flat_map(|label| label.to_be_bytes()).collect();
                place.write(&format!("MNIST/raw/{part}-labels-idx1-ubyte"), idx(0x0c, &[2], &labels));
            }
            // torchvision's folders are looked into.
            for source in ["", "MNIST", "MNIST/raw"] {
                let data = place.load(source).unwrap();
                assert_eq!(
                    (data.train.images.to_vec(), data.train.labels),
                    (values.to_vec(), vec![0, 1]),
                    "{code:#x}"
                );
            }
        }
    }

    #[test]
    fn one_of_several_sets_is_named() {
        let place = Place::new();
        for set in ["balanced", "letters"] {
            for part in ["train", "test"] {
                let name = format!("gzip/emnist-{set}-{part}");
                place.write(
                    &format!("{name}-images-idx3-ubyte"),
                    idx(8, &[2, 1, 2], &[1, 2, 3, set.len() as u8]),
                );
                place.write(&format!("{name}-labels-idx1-ubyte"), idx(8, &[2], &[1, 2]));
            }
        }
        let message =
            r#"named as in --data PLACE/gzip/emnist-balanced, found 2: "emnist-balanced", "emnist-letters""#;
        place.assert_refused("gzip", &format!("PLACE/gzip: expected one dataset, {message}"));
        let data = place.load("gzip/emnist-letters").unwrap();
        assert_eq!((data.name.as_str(), data.train.images[3]), ("emnist-letters", 7));
        let message = r#"data: expected `synthetic`, a folder or an .npz file, found "PLACE/gzip/emnist-digits", which is no folder"#;
        place.assert_refused("gzip/emnist-digits", message);
    }

    #[test]
    fn a_part_alone_can_be_measured_on() {
        let place = Place::new();
        place.write("t10k-images-idx3-ubyte", idx(8, &[2, 1, 2], &[1, 2, 3, 4]));
        place.write("t10k-labels-idx1-ubyte", idx(8, &[2], &[1, 2]));
        place.assert_refused("", "PLACE/: expected training images, found a test or validation set alone");
        let data = place.load_for();
        assert_eq!((data.part, data.data.labels), ("test", vec![1, 2]));
    }

    impl Place {
        fn load_for(&self) -> wgconv::data::Measured {
            let image = ImageShape { height: 1, width: 2, channels: 1 };
            let figures = wgconv::data::Normalisation { mean: vec![0.0], deviation: vec![1.0] };
            let preprocessing = wgconv::data::Preprocessing::new(image, figures);
            let classes: Vec<String> = (0..3).map(|class| class.to_string()).collect();
            load_for(&self.source(""), &preprocessing, &classes, &LoadOptions::default()).unwrap()
        }
    }
}

#[test]
fn cifar_for_python_is_named_with_advice() {
    let place = Place::new();
    place.write("a/cifar-10-batches-py/data_batch_1", "");
    place.write("a/cifar-10-batches-py/batches.meta", "");
    place.write("b/train", "");
    place.write("b/meta", "");
    let found = "found the version for Python, whose files are programs";
    for source in ["a", "a/cifar-10-batches-py"] {
        let expected = "expected CIFAR's binary version, cifar-10-binary.tar.gz on the same page";
        place.assert_refused(source, &format!("PLACE/a/cifar-10-batches-py: {expected}, {found}"));
    }
    let expected = "expected CIFAR's binary version, cifar-100-binary.tar.gz on the same page";
    place.assert_refused("b", &format!("PLACE/b: {expected}, {found}"));
}

mod labels {
    use super::*;

    fn png(value: u8) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        image::GrayImage::from_pixel(3, 2, image::Luma([value]))
            .write_to(&mut file, image::ImageFormat::Png)
            .unwrap();
        file.into_inner()
    }

    /// Eight pictures, `0.png` to `7.png`.
    fn pictures() -> Place {
        let place = Place::new();
        for number in 0..8 {
            place.write(&format!("data/images/{number}.png"), png(number * 30));
        }
        place
    }

    fn load(place: &Place, csv: &str) -> Result<DataSplits, String> {
        let labels = place.write("labels.csv", csv);
        let options = LoadOptions { labels: Some(labels), ..LoadOptions::default() };
        place.load_with("data", &options).map_err(|error| error.replace("PLACE/labels.csv: ", ""))
    }

    #[test]
    fn columns_are_found_by_their_names_and_files_by_theirs() {
        let place = pictures();
        let class = |number: usize| ["cat", "dog"][number % 2];
        let lines = |line: &dyn Fn(usize) -> String| (0..8).map(line).collect::<String>();
        for csv in [
            format!("file,label\n{}", lines(&|n| format!("{n}.png,{}\n", class(n)))),
            format!(
                "\u{feff}Label,Width,FileName\r\n{}",
                lines(&|n| format!("{},3,images/{n}.png\r\n", class(n)))
            ),
            format!("id,breed\n{}", lines(&|n| format!("{n},{}\n", class(n)))),
            format!("image_path, class\n{}", lines(&|n| format!("\"images\\{n}\", {}\n", class(n)))),
            format!("file,label\n{}", lines(&|n| format!("./images/{n}.png,{}\n", class(n)))),
        ] {
            let data = load(&place, &csv).unwrap();
            assert_eq!(data.train.classes, ["cat", "dog"]);
            assert_eq!(data.train.len() + data.test.len(), 8);
            for set in [&data.train, &data.test] {
                for row in 0..set.len() {
                    assert_eq!(u32::from(set.image(row)[0] / 30 % 2), set.labels[row], "{csv}");
                }
            }
        }
        let numbers =
            load(&place, &format!("file,label\n{}", lines(&|n| format!("{n},{}\n", n + 5)))).unwrap_err();
        assert!(numbers.contains("at least 2 images of a class"), "{numbers}");
        let numbers =
            load(&place, &format!("file,label\n{}", lines(&|n| format!("{n},{}\n", n / 2 * 5)))).unwrap();
        assert_eq!(numbers.train.classes, ["0", "5", "10", "15"]);
    }

    #[test]
    fn what_is_not_named_is_noted() {
        let data = load(&pictures(), "file,label\n0,a\n1,b\n2,a\n3,b\n4,a\n").unwrap();
        let note = "pictures without a line in PLACE/labels.csv, which are not used: 3";
        assert!(data.notes[0].ends_with("/labels.csv, which are not used: 3"), "{:?}, {note}", data.notes);
        assert_eq!(data.train.len() + data.test.len(), 5);
    }

    #[test]
    fn lines_that_mean_no_single_picture_are_refused() {
        let place = pictures();
        place.write("data/other/7.png", png(1));
        place.write("data/labels/6.png", png(1));
        for (csv, message) in [
            ("", "expected a first line that names the columns, such as file,label, found "),
            ("a,b,c\n", "expected a first line that names the columns, such as file,label, found a,b,c"),
            ("file,label\n", "expected lines of files and their classes, found none"),
            (
                "file,label\n0,a\n9,b\n",
                "expected the name of a picture below PLACE/data in line 3, found \"9\"",
            ),
            (
                "file,label\n7,a\n",
                "expected the name of one picture in line 2, found \"7\", which may be PLACE/data/images/7.png or PLACE/data/other/7.png",
            ),
            ("file,label\n0,\n", "expected a file and its class in line 2, found an empty one"),
            (
                "file,label\n0,a\n1,b\n0.png,b\n",
                "expected class \"a\" of \"0.png\", as in line 2, in line 4, found \"b\"",
            ),
        ] {
            assert_eq!(load(&place, csv).unwrap_err(), message);
        }
        let error = load(&place, "file,label\n0,a,b\n").unwrap_err();
        assert!(error.starts_with("expected a CSV file with a line of names, found "), "{error}");
        // A name that is in the folder called as the labels are, too, is the one there.
        let data = load(&place, "file,label\n6,a\n5,a\n4,b\n3,b\n").unwrap();
        let values: Vec<u8> =
            [&data.train, &data.test].iter().flat_map(|set| set.images.iter().copied()).collect();
        assert!(values.contains(&1) && !values.contains(&180));
    }
}

/// The same digits as IDX files, an `.npz` file, pictures with a CSV file and pictures in folders give the same bytes;
/// `WGCONV_DATA` names a folder that holds `mnist/`.
#[test]
fn real_digits_are_the_same_in_every_format() {
    let Ok(root) = std::env::var("WGCONV_DATA") else {
        println!("skipped: WGCONV_DATA names no folder with mnist/");
        return;
    };
    let options = LoadOptions { limit: Some(400), ..LoadOptions::default() };
    let digits = load(&format!("{root}/mnist"), &options).unwrap();
    let place = Place::new();
    let (mut arrays, mut csv) = (Vec::new(), String::from("file,label\n"));
    for (part, set) in [("train", &digits.train), ("test", &digits.test)] {
        // In turns, as pictures in folders are.
        let mut turns = [0; 10];
        let mut order: Vec<(usize, u32, usize)> = (0..set.len())
            .map(|row| {
                turns[set.labels[row] as usize] += 1;
                (turns[set.labels[row] as usize], set.labels[row], row)
            })
            .collect();
        order.sort_unstable();
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        for (number, (_, label, row)) in order.into_iter().enumerate() {
            images.extend_from_slice(set.image(row));
            labels.push(label as u8);
            let picture = image::GrayImage::from_raw(28, 28, set.image(row).to_vec()).unwrap();
            let mut png = Cursor::new(Vec::new());
            picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
            place.write(&format!("folders/{part}/{label}/{number:03}.png"), png.get_ref());
            if part == "train" {
                place.write(&format!("csv/{number:03}.png"), png.get_ref());
                csv += &format!("{number:03}.png,{label}\n");
            }
        }
        let sizes = [set.len() as u32, 28, 28];
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let name = if part == "train" { "train" } else { "t10k" };
        let idx = [words(&[0x803]), words(&sizes), images.clone()].concat();
        place.write(&format!("idx/{name}-images-idx3-ubyte"), idx);
        let idx = [words(&[0x801]), words(&sizes[..1]), labels.clone()].concat();
        place.write(&format!("idx/{name}-labels-idx1-ubyte"), idx);
        arrays.push((format!("{part}_images"), npy("|u1", &[set.len(), 28, 28], &images)));
        arrays.push((format!("{part}_labels"), npy("|u1", &[set.len(), 1], &labels)));
    }
    let arrays: Vec<(&str, Vec<u8>)> =
        arrays.iter().map(|(name, array)| (name.as_str(), array.clone())).collect();
    place.write("digits.npz", npz(&arrays, CompressionMethod::Deflated));
    let idx = place.load("idx").unwrap();
    for source in ["digits.npz", "folders"] {
        let other = place.load(source).unwrap();
        assert_eq!((&other.train, &other.test), (&idx.train, &idx.test), "{source}");
        assert_eq!(other.preprocessing, idx.preprocessing);
        assert_eq!(losses(&other), losses(&idx), "{source}");
    }
    let mut spoilt = idx.clone();
    Arc::make_mut(&mut spoilt.train.images)[5 * 784 + 400] ^= 1;
    assert_ne!(losses(&spoilt), losses(&idx), "one bit of one pixel");
    // A CSV file has no parts: what is held out and what stays are the training images together.
    let labels = place.write("train.csv", csv);
    let csv =
        place.load_with("csv", &LoadOptions { labels: Some(labels), ..LoadOptions::default() }).unwrap();
    assert_eq!(csv.train.classes, idx.train.classes);
    let sorted = |sets: &[&Dataset]| {
        let rows =
            sets.iter().flat_map(|set| (0..set.len()).map(|row| (set.labels[row], set.image(row).to_vec())));
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(&[&csv.train, &csv.test]), sorted(&[&idx.train]));
    // The same rows in IDX files.
    for (name, set) in [("train", &csv.train), ("t10k", &csv.test)] {
        let sizes = [set.len() as u32, 28, 28];
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let labels: Vec<u8> = set.labels.iter().map(|&label| label as u8).collect();
        let images = [words(&[0x803]), words(&sizes), set.images.to_vec()].concat();
        place.write(&format!("rows/{name}-images-idx3-ubyte"), images);
        let labels = [words(&[0x801]), words(&sizes[..1]), labels].concat();
        place.write(&format!("rows/{name}-labels-idx1-ubyte"), labels);
    }
    let rows = place.load("rows").unwrap();
    assert_eq!((&rows.train, &rows.test), (&csv.train, &csv.test));
    assert_eq!(losses(&rows), losses(&csv));
}

/// The bits of the losses of an epoch, and of the test loss after it.
fn losses(data: &DataSplits) -> Vec<u64> {
    let network = presets::lenet(data.train.image, data.train.classes.len()).unwrap();
    let settings = TrainSettings { batch_size: 32, ..TrainSettings::default() };
    let mut trainer = Trainer::new(Box::new(CpuExecutor::new()), network, data, settings).unwrap();
    let report = trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
    let losses = report.losses.iter().map(|&loss| f64::from(loss));
    losses.chain([report.evaluation.unwrap().loss]).map(f64::to_bits).collect()
}
