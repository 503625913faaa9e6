//! Picture files become the pixels that Pillow sees, in every format, layout and size; damage is named.
//!
//! tests/golden/pictures.py wrote the files and what Pillow made of them.

#[path = "common/place.rs"]
mod place;

use std::fs;
use std::path::Path;

use place::Place;
use serde::Deserialize;
use wgconv::data::{
    Colour, DataSplits, Fit, HeldOut, LoadOptions, Normalisation, Preprocessing, load, load_for,
};
use wgconv::tensor::ImageShape;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
    /// Pixels of the pictures that are resized, by their channels.
    sources: std::collections::BTreeMap<String, String>,
    /// How, height, width, channels, pixels.
    fits: Vec<(String, usize, usize, usize, String)>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    file: String,
    height: usize,
    width: usize,
    /// How far a pixel of a lossy format may be from Pillow's.
    tolerance: u8,
    rgb: String,
    grey: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn preprocessing(height: usize, width: usize, channels: usize) -> Preprocessing {
    let figures = Normalisation { mean: vec![0.0; channels], deviation: vec![1.0; channels] };
    Preprocessing::new(ImageShape { height, width, channels }, figures)
}

fn decode(case: &Case, channels: usize) -> Vec<u8> {
    let preprocessing = preprocessing(case.height, case.width, channels);
    preprocessing.decode(Path::new(&case.name), &bytes(&case.file)).unwrap()
}

fn distance(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn every_format_gives_the_pixels_that_pillow_sees() {
    let cases = golden().cases;
    assert!(cases.len() > 40);
    for case in &cases {
        for (channels, expected) in [(3, &case.rgb), (1, &case.grey)] {
            let distance = distance(&decode(case, channels), &bytes(expected));
            assert!(distance <= case.tolerance, "{}, {channels} channels: off by {distance}", case.name);
        }
    }
}

#[test]
fn pictures_of_other_sizes_are_fitted_as_pillow_does() {
    let Golden { sources, fits, .. } = golden();
    for (how, height, width, channels, expected) in fits {
        let source = bytes(&sources[&channels.to_string()]);
        let mut png = std::io::Cursor::new(Vec::new());
        let source = match channels {
            1 => image::DynamicImage::from(image::GrayImage::from_raw(33, 20, source).unwrap()),
            _ => image::RgbImage::from_raw(33, 20, source).unwrap().into(),
        };
        source.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let fit: Fit = how.parse().unwrap();
        let preprocessing = Preprocessing { fit, ..preprocessing(height, width, channels) };
        let fitted = preprocessing.decode(Path::new("a.png"), png.get_ref()).unwrap();
        // Both round sums of weights that are rounded themselves.
        let distance = distance(&fitted, &bytes(&expected));
        assert!(distance <= 1, "{how} to {height}x{width}, {channels} channels: off by {distance}");
    }
}

#[test]
fn the_background_shows_through_what_is_transparent() {
    let cases = golden().cases;
    let case = |name: &str| cases.iter().find(|case| case.name == name).unwrap();
    let on = |name: &str, background: Colour, channels: usize| {
        let case = case(name);
        let preprocessing = Preprocessing { background, ..preprocessing(case.height, case.width, channels) };
        preprocessing.decode(Path::new(name), &bytes(&case.file)).unwrap()
    };
    for name in ["la.png", "rgba.png", "rgba.webp", "rgba.tiff", "palette-transparent.gif"] {
        let [white, black] = [Colour::WHITE, Colour::BLACK].map(|colour| on(name, colour, 3));
        let red = on(name, Colour([255, 0, 0]), 3);
        assert_ne!(white, black, "{name}");
        for (pixel, red) in red.iter().enumerate() {
            let expected = if pixel % 3 == 0 { white[pixel] } else { black[pixel] };
            assert_eq!(*red, expected, "{name}");
        }
    }
    assert_eq!(on("rgb.png", Colour::BLACK, 3), on("rgb.png", Colour::WHITE, 3));
}

/// A file that was cut off anywhere is refused, or it has all its pixels.
#[test]
fn no_file_that_is_cut_off_passes_as_whole() {
    for case in golden().cases {
        let preprocessing = preprocessing(case.height, case.width, 3);
        let file = bytes(&case.file);
        let whole = decode(&case, 3);
        for length in 0..file.len() {
            match preprocessing.decode(Path::new("cut"), &file[..length]) {
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
                Ok(pixels) => assert_eq!(pixels, whole, "{}, {length} of {} bytes", case.name, file.len()),
            }
        }
    }
}

#[test]
fn what_lies_around_a_jpeg_does_not_matter() {
    let cases = golden().cases;
    for case in cases.iter().filter(|case| case.name.ends_with(".jpg")) {
        let preprocessing = preprocessing(case.height, case.width, 3);
        let (file, whole) = (bytes(&case.file), decode(case, 3));
        let decode = |file: Vec<u8>| preprocessing.decode(Path::new("a.jpg"), &file);
        // Behind the end: another scan's marker, zeros, another picture that is cut off.
        for trailer in [&b"\xff\xda\x01\x02"[..], &[0; 100], &file[..file.len() / 2]] {
            assert_eq!(decode([&file, trailer].concat()).unwrap(), whole, "{}", case.name);
        }
        // Before the first segment: fill bytes, and a thumbnail that holds an end.
        let padded = [&file[..2], b"\xff\xff\xff", &file[3..]].concat();
        assert_eq!(decode(padded).unwrap(), whole, "{}", case.name);
        let comment = [&file[..2], b"\xff\xfe\x00\x06\xff\xd8\xff\xd9", &file[2..]].concat();
        assert_eq!(decode(comment.clone()).unwrap(), whole, "{}", case.name);
        let error = decode(comment[..comment.len() - 2].to_vec()).unwrap_err().to_string();
        assert_eq!(error, "a.jpg: expected a whole JPEG picture, found one that is cut off");
    }
}

impl Place {
    fn load(&self, options: LoadOptions) -> Result<DataSplits, String> {
        load(&self.source(""), &options).map_err(|error| {
            let error = error.to_string();
            assert!(!error.contains('\n'), "{error}");
            error.replace(&self.source(""), "FOLDER/").replace("FOLDER/:", "FOLDER:")
        })
    }
}

fn default() -> LoadOptions {
    LoadOptions::default()
}

/// A grey PNG file of 2 rows and 3 columns.
fn png(value: u8) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(3, 2, image::Luma([value]))
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

/// Every format in every layout, in each number of channels, as it is and resized: what is loaded is what
/// [`Preprocessing::decode`] makes of each file alone.
#[test]
fn layouts_formats_channels_and_sizes_go_together() {
    const LAYOUTS: [(&str, [&str; 3]); 8] = [
        ("classes", ["", "", ""]),
        ("train and test", ["train/", "", "test/"]),
        ("train, val and test", ["train/", "val/", "test/"]),
        ("train and valid", ["Train/", "valid/", ""]),
        ("words", ["TRAINING/", "validation/", "Testing/"]),
        ("sets", ["training_set/", "", "test_set/"]),
        ("wrapped", ["data/name/train/", "", "data/name/test/"]),
        ("doubled", ["train/train/", "", "test/test/"]),
    ];
    let cases: Vec<Case> =
        golden().cases.into_iter().filter(|case| (case.height, case.width) == (6, 9)).collect();
    for (layout, roots) in LAYOUTS {
        let place = Place::new();
        for (number, case) in cases.iter().enumerate() {
            for root in roots.iter().filter(|root| !root.is_empty() || roots == ["", "", ""]) {
                for (class, deeper) in [("a", ""), ("b", "more/and more/")] {
                    place.write(
                        &format!("{root}{class}/{deeper}{number:02}-{}", case.name),
                        bytes(&case.file),
                    );
                }
            }
        }
        for (channels, image_size) in [(None, None), (Some(1), None), (Some(3), Some([4, 4]))] {
            let data = place.load(LoadOptions { channels, image_size, ..default() }).unwrap();
            let test = Some(&data.test).filter(|test| !test.is_empty());
            assert_eq!(data.validation.is_some(), !roots[1].is_empty(), "{layout}");
            assert_eq!(test.is_some(), roots[1].is_empty() || !roots[2].is_empty(), "{layout}");
            assert_eq!(data.train.classes, ["a", "b"], "{layout}");
            let expected: Vec<Vec<u8>> = cases
                .iter()
                .map(|case| data.preprocessing.decode(Path::new(&case.name), &bytes(&case.file)).unwrap())
                .collect();
            let sets: Vec<_> =
                [Some(&data.train), data.validation.as_ref(), test].into_iter().flatten().collect();
            let images: usize = sets.iter().map(|set| set.len()).sum();
            let parts = if roots[0].is_empty() { 1 } else { sets.len() };
            assert_eq!(images, 2 * cases.len() * parts, "{layout}");
            if parts > 1 {
                for set in sets {
                    let rows: Vec<_> = (0..set.len()).map(|row| set.image(row).to_vec()).collect();
                    let in_turns: Vec<_> =
                        expected.iter().flat_map(|image| [image.clone(), image.clone()]).collect();
                    assert_eq!(rows, in_turns, "{layout}, {channels:?}, {image_size:?}");
                }
            }
        }
    }
}

#[test]
fn a_validation_folder_is_the_validation_set() {
    let place = Place::new();
    for (part, count) in [("train", 6), ("val", 2)] {
        for (class, value) in [("a", 10), ("b", 100)] {
            for number in 0..count {
                let value = value + number + if part == "val" { 50 } else { 0 };
                place.write(&format!("{part}/{class}/{number}.png"), png(value));
            }
        }
    }
    let data = place.load(default()).unwrap();
    let validation = data.validation.as_ref().unwrap();
    assert_eq!((data.train.len(), validation.len(), data.test.len()), (12, 4, 0));
    assert_eq!(data.held_out(), (HeldOut::Validation, validation));
    assert_eq!((data.notes, data.warnings), (vec![], vec![]));
    let error = place.load(LoadOptions { validation: Some(0.2), ..default() }).unwrap_err();
    assert_eq!(error, "validation: expected no share, since the data have a validation set, found 0.2");
}

#[test]
fn a_share_becomes_the_validation_set_and_moves_no_test_image() {
    let place = Place::new();
    for number in 0..200u8 {
        place.write(&format!("{}/{number}.png", if number % 2 == 0 { "a" } else { "b" }), png(number));
    }
    let values = |set: &wgconv::Dataset| set.images.iter().copied().step_by(6).collect::<Vec<u8>>();
    let plain = place.load(default()).unwrap();
    let data = place.load(LoadOptions { validation: Some(0.25), ..default() }).unwrap();
    assert_eq!(data.test, plain.test);
    let validation = data.validation.unwrap();
    assert!((20..65).contains(&validation.len()), "{}", validation.len());
    let mut both = [values(&data.train), values(&validation)].concat();
    let mut train = values(&plain.train);
    both.sort_unstable();
    train.sort_unstable();
    assert_eq!(both, train);
    let expected = format!(
        "without a test set, {} of 200 images, about a sixth of each class, are held out as one",
        data.test.len()
    );
    assert_eq!(data.notes, [expected]);
}

#[test]
fn images_that_are_added_move_no_training_image_into_the_test() {
    let place = Place::new();
    let add = |from: u8, to: u8| {
        for number in from..to {
            place.write(&format!("a/{:03}.png", number.reverse_bits()), png(number));
            place.write(&format!("b/{:03}.png", number.reverse_bits()), png(255 - number));
        }
        place.load(default()).unwrap()
    };
    let values = |set: &wgconv::Dataset| set.images.iter().copied().step_by(6).collect::<Vec<u8>>();
    let (before, after) = (add(0, 40), add(40, 90));
    assert_eq!(before.train.len() + before.test.len(), 80);
    let test = values(&after.test);
    assert!(values(&before.train).iter().all(|image| !test.contains(image)));
    assert!(values(&before.test).iter().all(|image| test.contains(image)));
}

#[test]
fn nothing_is_passed_over_in_silence() {
    let place = Place::new();
    for class in ["a", "b"] {
        for number in 0..8 {
            place.write(&format!("{class}/{number}.png"), png(number * 9 + class.as_bytes()[0]));
        }
        for file in ["notes.txt", "clip.mp4", "clip2.MP4", ".hidden", "Thumbs.db", "desktop.ini"] {
            place.write(&format!("{class}/{file}"), "no picture");
        }
        place.write(&format!("{class}/.ipynb_checkpoints/0.png"), png(0));
        place.write(&format!("{class}/@eaDir/0.png"), "no picture");
    }
    place.write("__MACOSX/a/._0.png", "no picture");
    place.write("loose.png", png(1));
    place.write("annotations/a.xml", "no picture");
    // A picture without an extension is one, by its content.
    place.write("a/picture", png(77));
    let data = place.load(default()).unwrap();
    assert_eq!(data.train.classes, ["a", "b"]);
    assert_eq!(data.train.len() + data.test.len(), 17);
    let notes = [
        "7 files skipped, no pictures that can be read: 4 .mp4, 2 .txt, 1 .xml",
        "pictures in no class's folder, which are not used: 1",
        "not used, since they are no classes: annotations",
    ];
    assert_eq!(data.notes[..3], notes);
}

#[test]
fn broken_pictures_are_named_together_or_left_out() {
    let place = Place::new();
    for class in ["a", "b"] {
        for number in 0..4 {
            place.write(&format!("train/{class}/{number}.png"), png(number * 20 + class.as_bytes()[0]));
            place.write(&format!("test/{class}/{number}.png"), png(number * 20 + class.as_bytes()[0] + 1));
        }
    }
    let whole = place.load(default()).unwrap();
    let cut = png(3);
    place.write("train/a/5.png", &cut[..cut.len() - 20]);
    let one = place.load(default()).unwrap_err();
    assert!(one.starts_with("FOLDER/train/a/5.png: expected a PNG, JPEG, BMP, GIF, WebP, TIFF or PNM picture, found one that cannot"), "{one}");
    let broken = place.write("test/b/6.jpg", "text");
    let both = place.load(default()).unwrap_err();
    let start = "FOLDER: expected sound pictures (--skip-broken goes on without the others), found 2 broken ones, the first as in";
    assert!(both.starts_with(start) && both.ends_with("FOLDER/test/b/6.jpg, FOLDER/train/a/5.png"), "{both}");
    let skipping = place.load(LoadOptions { skip_broken: true, ..default() }).unwrap();
    assert_eq!((&skipping.train, &skipping.test), (&whole.train, &whole.test));
    assert!(skipping.notes[0].starts_with("broken pictures left out (2): "), "{:?}", skipping.notes);
    assert!(skipping.notes[0].contains(broken.to_str().unwrap()));
}

#[test]
fn mixed_sizes_are_one_line_that_names_the_flag() {
    let place = Place::new();
    let picture = |height, width| {
        let mut file = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8 * 8, y as u8 * 7, 50]))
            .write_to(&mut file, image::ImageFormat::Png)
            .unwrap();
        file.into_inner()
    };
    for (number, (height, width)) in [(8, 9), (8, 9), (20, 10), (9, 30)].into_iter().enumerate() {
        for class in ["a", "b"] {
            place.write(&format!("{class}/{number}.png"), picture(height, width));
        }
    }
    let expected =
        "FOLDER: expected pictures of one size, or --image-size HEIGHTxWIDTH to bring them to one, found ";
    let error = place.load(default()).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
    assert!(
        error.contains(".png of 8x9 and ") && (error.contains("of 20x10") || error.contains("of 9x30")),
        "{error}"
    );
    for fit in [Fit::Crop, Fit::Pad, Fit::Stretch] {
        let data = place.load(LoadOptions { image_size: Some([12, 16]), fit, ..default() }).unwrap();
        assert_eq!(data.train.image, ImageShape { height: 12, width: 16, channels: 3 });
        assert!(data.notes.iter().any(|note| note.contains(&format!("(--fit {fit})"))), "{:?}", data.notes);
    }
}

#[test]
fn suspicious_data_are_warned_of() {
    let warnings = |files: &[(&str, u8)]| {
        let place = Place::new();
        for (name, value) in files {
            place.write(name, png(*value));
        }
        place.load(default()).unwrap().warnings
    };
    let sound = [("train/a/1.png", 1), ("train/b/1.png", 2), ("test/a/1.png", 3), ("test/b/1.png", 4)];
    assert_eq!(warnings(&sound), [""; 0]);
    let one_class = [("train/a/1.png", 1), ("train/a/2.png", 2), ("test/a/1.png", 3)];
    assert_eq!(warnings(&one_class), [r#"there is one class only, "a": any answer is right"#]);
    let untrained = [&sound[..], &[("test/c/1.png", 5)]].concat();
    assert_eq!(warnings(&untrained), [r#"without training images: class "c""#]);
    let constant = sound.map(|(name, value)| (name, if value < 3 { 9 } else { value }));
    assert_eq!(warnings(&constant), ["every pixel of every training image is the same"]);
    let few = [&sound[..3], &[("train/c/1.png", 7)]].concat();
    assert_eq!(warnings(&few), ["fewer test images (1) than classes (3): too few to tell anything"]);
    let copies = sound.map(|(name, value)| (name, if value == 3 { 1 } else { value }));
    assert_eq!(warnings(&copies), ["1 of the 2 test images are training images too, pixel for pixel"]);
    let names: Vec<String> = (0..21).map(|number| format!("train/a/more-{number}.png")).collect();
    let uneven: Vec<(&str, u8)> = sound
        .into_iter()
        .chain(names.iter().zip(100..).map(|(name, value)| (name.as_str(), value)))
        .collect();
    let expected = r#"class "a" has 22 training images, and class "b" has 1: `--class-weights balanced` lets them weigh the same"#;
    assert_eq!(warnings(&uneven), [expected]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    let place = Place::new();
    for number in 0..6 {
        place.write(&format!("elsewhere/{number}.png"), png(number));
        place.write(&format!("data/a/{number}.png"), png(100 + number));
    }
    std::os::unix::fs::symlink(place.source("elsewhere"), place.source("data/b")).unwrap();
    std::os::unix::fs::symlink(place.source("data"), place.source("data/a/around")).unwrap();
    let data = load(&place.source("data"), &default()).unwrap();
    assert_eq!(data.train.classes, ["a", "b"]);
    assert_eq!(data.train.len() + data.test.len(), 12);
}

mod measuring {
    use super::*;

    fn a_and_b(place: &Place, root: &str) {
        for (class, value) in [("a", 10), ("b", 100)] {
            for number in 0..3 {
                place.write(&format!("{root}{class}/{number}.png"), png(value + number));
            }
        }
    }

    fn classes(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn each_layout_is_measured_and_its_part_named() {
        for (root, part) in [("", "all"), ("test/", "test"), ("val/", "validation"), ("train/", "train")] {
            let place = Place::new();
            a_and_b(&place, root);
            let preprocessing = preprocessing(2, 3, 1);
            let classes = classes(&["zebra", "b", "a"]);
            let measured = load_for(&place.source(""), &preprocessing, &classes, &default()).unwrap();
            assert_eq!((measured.part, measured.data.len()), (part, 6), "{root}");
            // By name, in the run's order.
            assert_eq!(measured.data.labels, [2, 1, 2, 1, 2, 1]);
            assert_eq!(measured.data.classes, classes);
        }
        let place = Place::new();
        a_and_b(&place, "train/");
        a_and_b(&place, "test/");
        let measured =
            load_for(&place.source(""), &preprocessing(2, 3, 1), &classes(&["a", "b"]), &default());
        assert_eq!(measured.unwrap().part, "test");
    }

    #[test]
    fn an_unknown_class_is_refused_by_its_name() {
        let place = Place::new();
        a_and_b(&place, "");
        let refused = |names: &[&str]| {
            let result = load_for(&place.source(""), &preprocessing(2, 3, 1), &classes(names), &default());
            result.unwrap_err().to_string()
        };
        let expected = r#"data: expected the run's 2 classes, "a", "c", found an unknown class "b""#;
        assert_eq!(refused(&["a", "c"]), expected);
        let expected = r#"data: expected the run's class "c", found an unknown 2 classes, "a", "b""#;
        assert_eq!(refused(&["c"]), expected);
    }

    #[test]
    fn images_are_converted_to_the_runs_channels_and_size() {
        let place = Place::new();
        a_and_b(&place, "");
        let names = classes(&["a", "b"]);
        let measured = load_for(&place.source(""), &preprocessing(4, 6, 3), &names, &default()).unwrap();
        assert_eq!(measured.data.image, ImageShape { height: 4, width: 6, channels: 3 });
        assert_eq!(measured.data.image(0), [10; 72]);
        assert_eq!(measured.notes, ["6 of 6 images are cropped and scaled to 4x6 (--fit crop)"]);
    }
}
