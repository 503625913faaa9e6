//! Anyone's pictures through the command line: from a folder as it lies to a trained network, and its measurement on others.

#[path = "common/drawn.rs"]
mod drawn;
#[path = "common/workplace.rs"]
mod workplace;

use std::fs;

use drawn::{folder, picture, save};
use image::{DynamicImage, GrayAlphaImage, GrayImage, LumaA, RgbaImage};
use serde_json::json;
use workplace::{Run, Workplace};

fn train(place: &Workplace, arguments: &str) -> Run {
    place.train(&format!("--model linear --epochs 4 {arguments}"))
}

#[track_caller]
fn assert_learnt(run: &Run) {
    assert!(run.stdout.contains("100.00 %"), "{run:?}");
}

#[test]
fn a_shape_in_the_alpha_channel_is_seen() {
    let place = Workplace::new();
    for class in ['a', 'b', 'c'] {
        for number in 0..16 {
            let shape = picture(class, number, 12, 12);
            let grey = GrayAlphaImage::from_fn(12, 12, |x, y| LumaA([0, 255 - shape.get_pixel(x, y).0[0]]));
            let colour =
                RgbaImage::from_fn(12, 12, |x, y| image::Rgba([0, 0, 0, 255 - shape.get_pixel(x, y).0[0]]));
            save(&place, &format!("la/{class}/{number}.png"), grey);
            save(&place, &format!("rgba/{class}/{number}.png"), colour);
        }
    }
    for data in ["la", "rgba"] {
        let run = train(&place, &format!("--data {data} --batch-size 8 --out {data}-run"));
        assert_learnt(&run);
        let note = "note: 48 of 48 pictures are transparent, and lie on white (--background)\n";
        assert!(run.stdout.contains(note), "{run:?}");
    }
    let config = place.read("la-run/config.toml");
    assert!(config.contains("background = \"white\"") && config.contains("channels = 1"), "{config}");
    let run = train(&place, "--data la --batch-size 8 --background #202020 --out dark");
    assert!(run.stdout.contains("lie on #202020"), "{run:?}");
}

#[test]
fn a_validation_folder_is_not_trained_on() {
    let place = Workplace::new();
    folder(&place, "data/train", "abc", 0, 12);
    folder(&place, "data/val", "abc", 12, 4);
    let run = train(&place, "--data data --batch-size 12 --out run");
    assert!(
        run.stdout.contains("data: data, 36 training and 12 validation images of 12x12x1, 3 classes\n"),
        "{run:?}"
    );
    let run = place.run("evaluate run --device cpu --json");
    assert_eq!(run.json()[0]["images"], 12);
}

#[test]
fn a_share_held_out_is_stored_and_measured_again() {
    let place = Workplace::new();
    folder(&place, "data", "abc", 0, 20);
    let run = train(&place, "--data data --validation 0.25 --batch-size 8 --out run");
    assert!(run.stdout.contains(" validation and ") && run.stdout.contains(" test images of"), "{run:?}");
    assert!(place.read("run/config.toml").contains("validation = 0.25"));
    place.assert_refused(
        "train --device cpu --data data --validation 1.5",
        2,
        "validation: expected a share between 0 and 1, found 1.5",
    );
}

#[test]
fn small_data_are_trained_on_in_one_batch_unless_another_was_asked_for() {
    let place = Workplace::new();
    folder(&place, "data/train", "ab", 0, 5);
    folder(&place, "data/test", "ab", 5, 2);
    let run = train(&place, "--data data --out run");
    assert!(
        run.stdout.contains("note: a batch holds all 10 training images, since there are no more\n"),
        "{run:?}"
    );
    let culprit = "batch size: expected 1 to the 10 training images, found 64";
    place.assert_refused("train --device cpu --data data --batch-size 64 --out new", 2, culprit);
}

#[test]
fn many_images_in_no_batch_are_warned_of() {
    let place = Workplace::new();
    folder(&place, "data/train", "ab", 0, 5);
    folder(&place, "data/test", "ab", 5, 2);
    let run = train(&place, "--data data --batch-size 6 --out run");
    let warning = "warning: each epoch leaves out 4 of 10 training images, which fill no batch of 6: \
                   `--batch-size 5` leaves out 0\n";
    assert!(run.stdout.contains(warning), "{run:?}");
    let run = train(&place, "--data data --batch-size 5 --out again");
    assert!(!run.stdout.contains("warning: "), "{run:?}");
}

#[test]
fn data_are_shown_before_training() {
    let place = Workplace::new();
    folder(&place, "data/train", "ab", 0, 4);
    folder(&place, "data/val", "ab", 4, 1);
    folder(&place, "data/test", "b", 5, 2);
    place.write("data/train/a/notes.txt", "");
    let run = place.run("data data");
    assert_eq!(run.code, 0, "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    let [data, pixels, table @ ..] = lines.as_slice() else { panic!("{run:?}") };
    assert_eq!(*data, "data: data, 8 training, 2 validation and 2 test images of 12x12x1, 2 classes");
    assert!(pixels.starts_with("pixels: mean 0.") && pixels.ends_with("1, white)"), "{run:?}");
    let expected = [
        "",
        "class  training  validation  test",
        "a             4           1     0",
        "b             4           1     2",
        "",
        "note: 1 file skipped, no pictures that can be read: 1 .txt",
    ];
    assert_eq!(table, expected);

    let run = place.run("data data --json --image-size 6 --channels 3 --limit 5");
    let [object] = run.json().try_into().unwrap();
    assert_eq!(object["images"], json!({ "training": 5, "validation": 2, "test": 2 }));
    assert_eq!(object["image_shape"], json!([6, 6, 3]));
    let classes = json!([
        { "class": "a", "training": 3, "validation": 1, "test": 0 },
        { "class": "b", "training": 2, "validation": 1, "test": 2 },
    ]);
    assert_eq!((&object["classes"], &object["data"]), (&classes, &json!("data")));
    for figures in ["mean", "deviation"] {
        let values = object[figures].as_array().unwrap();
        assert!(
            values.len() == 3 && values.iter().all(|value| (0.0..1.0).contains(&value.as_f64().unwrap()))
        );
    }
    assert!(
        object["warnings"].as_array().unwrap().is_empty() && object["notes"].as_array().unwrap().len() == 2
    );
}

/// What cannot be trained on can be looked at.
#[test]
fn a_test_set_alone_and_single_images_are_shown() {
    let place = Workplace::new();
    folder(&place, "held/test", "ab", 0, 2);
    folder(&place, "single", "abc", 0, 1);
    let run = place.run("data held");
    assert!(run.stdout.starts_with("data: held, 4 test images of 12x12x1, 2 classes\n"), "{run:?}");
    assert!(run.stdout.ends_with("warning: without training images: 2 classes, \"a\", \"b\"\n"), "{run:?}");
    let run = place.run("data single --preview sheet.png");
    assert!(run.stdout.contains("note: no test set can be held out, since no class has 2 images"), "{run:?}");
    assert!(run.stdout.ends_with("training images of 3 classes: sheet.png\n"), "{run:?}");
    for data in ["held", "single"] {
        let run = place.run(&format!("train --device cpu --data {data}"));
        assert_eq!(run.code, 1, "{run:?}");
    }
    place.assert_refused("data nothing", 2, "data: expected `synthetic`, a folder or an .npz file");
}

#[test]
fn a_preview_is_written_whole_or_not_at_all() {
    let place = Workplace::new();
    folder(&place, "data", "ab", 0, 4);
    let preview = |arguments: &str| place.run(&format!("data data {arguments}"));
    place.write("sheet.png", "old");
    assert_eq!(preview("--preview sheet.png").code, 0);
    let sheet = image::open(place.path("sheet.png")).unwrap();
    // The classes stand side by side, and twelve pixels become 96.
    assert!(sheet.width() >= 2 * 96 && sheet.height() >= 96);
    place.write("broken/a/1.png", "no picture");
    for (arguments, code, culprit) in [
        ("data --preview sheet.jpg", 2, "--preview: expected a .png file, found sheet.jpg"),
        ("data --preview none/sheet.png", 1, "cannot write none/sheet.png: "),
        ("data --preview data", 1, "cannot write data: "),
        ("broken --preview other.png", 1, "1.png: expected a PNG"),
    ] {
        place.assert_refused(&format!("data {arguments}"), code, culprit);
    }
    #[cfg(unix)]
    {
        let run = Run::of(&mut place.shell("$wgconv data data --preview /dev/stdout 2>text | wc -c"));
        assert!(run.code == 0 && run.stdout.trim().parse::<usize>().unwrap() > 500, "{run:?}");
        assert!(place.read("text").starts_with("data: data, "), "{run:?}");
        place.assert_refused("data data --json --preview /dev/stdout", 2, "--preview: expected a file");
    }
}

/// The images of a sheet of two classes with 12x12 grey pixels, each class in two lines of ten.
fn cells(sheet: &[u8]) -> Vec<[GrayImage; 10]> {
    let sheet = image::load_from_memory(sheet).unwrap().into_luma8();
    // Twelve pixels become 96, with gaps of 6 and names of 16 pixels above them.
    let cell = |left: u32, top: u32| {
        GrayImage::from_fn(12, 12, |x, y| *sheet.get_pixel(left + 8 * x + 4, top + 8 * y + 4))
    };
    let width = 10 * 102 - 6;
    assert_eq!(sheet.width() % width, 12, "one class beside the other, or one below");
    let tops = [0, 1].map(|class| 6 + class * (16 + 2 * 102 - 6 + 20));
    let lines = tops.iter().flat_map(|top| [0, 1].map(|line| top + 16 + line * 102));
    lines.map(|top| std::array::from_fn(|place| cell(6 + 102 * place as u32, top))).collect()
}

#[test]
fn a_preview_shows_augmented_images() {
    let place = Workplace::new();
    folder(&place, "data/train", "ab", 0, 2);
    folder(&place, "data/test", "ab", 0, 1);
    let preview = |arguments: &str| {
        let run = place.run(&format!("data data --preview sheet.png --augment {arguments}"));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments}");
        (fs::read(place.path("sheet.png")).unwrap(), run.stdout)
    };
    let originals: Vec<GrayImage> =
        "ab".chars().flat_map(|class| [0, 1].map(|number| picture(class, number, 12, 12))).collect();

    let (sheet, said) = preview("flip=alternating");
    let expected = "training images of 2 classes, as they are and varied by flip=alternating: sheet.png\n";
    assert!(said.ends_with(expected), "{said}");
    let lines = cells(&sheet);
    assert_eq!(lines.len(), originals.len());
    for (line, original) in lines.iter().zip(&originals) {
        let mirrored = image::imageops::flip_horizontal(original);
        let both = [original, &mirrored];
        let first = both.iter().position(|image| **image == line[1]).expect("one of both");
        assert_eq!(line[0], *original);
        assert!((1..10).all(|place| line[place] == *both[(first + place - 1) % 2]));
    }

    let (sheet, _) = preview("vertical_flip");
    let mut turned = 0;
    for (line, original) in cells(&sheet).iter().zip(&originals) {
        let upside_down = image::imageops::flip_vertical(original);
        assert_eq!(line[0], *original);
        assert!(line[1..].iter().all(|shown| shown == original || *shown == upside_down));
        turned += line[1..].iter().filter(|shown| **shown == upside_down).count();
    }
    assert!((6..30).contains(&turned), "{turned} of 36");

    // A patch of another image on the sheet.
    let (sheet, _) = preview("cutmix=1");
    let mut foreign = 0;
    for (line, original) in cells(&sheet).iter().zip(&originals) {
        for (shown, (x, y)) in
            line[1..].iter().flat_map(|shown| (0..144).map(move |i| (shown, (i % 12, i / 12))))
        {
            let pixel = shown.get_pixel(x, y);
            assert!(originals.iter().any(|other| other.get_pixel(x, y) == pixel));
            foreign += u32::from(pixel != original.get_pixel(x, y));
        }
    }
    assert!(foreign > 100, "{foreign}");

    let everything =
        "crop=2,padding=reflect,flip,rotate=15,scale=0.2,brightness=0.1,contrast=0.2,cutout=4,mixup=0.4";
    let (sheet, _) = preview(everything);
    assert_eq!(preview(everything).0, sheet);
    assert_ne!(preview(&format!("{everything} --seed 1")).0, sheet);
    let (plain, _) = preview("none");
    assert!(
        cells(&plain)
            .iter()
            .zip(&originals)
            .all(|(line, original)| line.iter().all(|shown| shown == original))
    );
}

#[test]
fn augmentation_without_a_sheet_is_refused() {
    let place = Workplace::new();
    folder(&place, "data", "ab", 0, 4);
    let culprit = "--augment: expected --preview SHEET.png, to show it on, found none";
    place.assert_refused("data data --augment crop=4", 2, culprit);
    let run = place.run("data data --augment turn=3 --preview sheet.png");
    assert!(run.code == 2 && run.stderr.contains("unknown field `turn`"), "{run:?}");
    assert!(!place.path("sheet.png").exists());
}

#[test]
fn mixed_sizes_are_brought_to_one_by_a_flag() {
    let place = Workplace::new();
    for class in ['a', 'b'] {
        for number in 0..16 {
            save(
                &place,
                &format!("data/{class}/{number}.png"),
                picture(class, number, 12 + 3 * (number % 4), 20),
            );
        }
    }
    let culprit =
        "data: expected pictures of one size, or --image-size HEIGHTxWIDTH to bring them to one, found a/";
    place.assert_refused("train --device cpu --data data --out new", 1, culprit);
    for (arguments, image) in [
        ("--image-size 10", "10x10x1"),
        ("--image-size 8x14 --fit stretch", "8x14x1"),
        ("--image-size 16 --fit pad --channels 3", "16x16x3"),
    ] {
        let name = image.replace('x', "-");
        let run = train(&place, &format!("--data data --batch-size 8 --out {name} {arguments}"));
        assert!(run.stdout.contains(&format!("test images of {image}, 2 classes")), "{run:?}");
        assert_learnt(&run);
    }
    // A run's pictures are prepared alike ever after.
    let run = place.train("--resume 8-14-1 --epochs 5");
    assert!(run.stdout.contains("8x14x1"), "{run:?}");
    let culprit = "--image-size: expected no such option with --resume";
    place.assert_refused("train --device cpu --resume 8-14-1 --epochs 6 --image-size 9", 2, culprit);
    for (size, culprit) in
        [("0", "found 0"), ("9x", "N or HEIGHTxWIDTH"), ("5000", "from 1 to 4096, found 5000")]
    {
        let command = format!("train --device cpu --data data --image-size {size}");
        let run = place.run(&command);
        assert!(run.code == 2 && run.stderr.contains(culprit), "{run:?}");
    }
}

#[test]
fn a_run_is_measured_on_other_data_by_the_names_of_their_classes() {
    let place = Workplace::new();
    folder(&place, "data", "abc", 0, 16);
    train(&place, "--data data --batch-size 8 --out run");
    folder(&place, "sub", "ac", 20, 5);
    folder(&place, "alone/test", "abc", 20, 5);
    folder(&place, "other", "b", 20, 5);
    folder(&place, "other", "c", 20, 5);
    fs::rename(place.path("other/c"), place.path("other/zebra")).unwrap();
    for class in ['a', 'b', 'c'] {
        for number in 0..5 {
            let large = DynamicImage::from(picture(class, number + 20, 30, 30)).into_rgb8();
            save(&place, &format!("rgb/{class}/{number}.jpg"), large);
        }
    }
    for (data, images) in [("sub", 10), ("alone", 15), ("rgb", 15)] {
        let run = place.run(&format!("evaluate run --data {data} --device cpu --json"));
        assert_eq!((run.code, &run.json()[0]["images"]), (0, &images.into()), "{run:?}");
        assert_eq!(run.json()[0]["test/accuracy"], 1.0, "{run:?}");
    }
    let culprit = r#"data: expected the run's 3 classes, "a", "b", "c", found an unknown class "zebra""#;
    place.assert_refused("evaluate run --data other --device cpu", 2, culprit);
    // Its own data are measured on what was held out, however they are named.
    let own = place.run("evaluate run --device cpu --json").json()[0]["images"].clone();
    let named = place.run("evaluate run --data ./data --device cpu --json").json()[0]["images"].clone();
    assert!(own == named && own.as_u64().unwrap() < 48, "{own}, {named}");
}

#[test]
fn a_file_of_labels_is_used_and_stored() {
    let place = Workplace::new();
    let mut csv = String::from("id,width,label\n");
    for class in ['a', 'b'] {
        for number in 0..10 {
            save(&place, &format!("data/{class}{number}.png"), picture(class, number, 12, 12));
            csv += &format!("{class}{number},12,{class}\n");
        }
    }
    place.write("labels.csv", &csv);
    let run = train(&place, "--data data --labels labels.csv --batch-size 8 --out run");
    assert!(run.stdout.contains("2 classes"), "{run:?}");
    assert_learnt(&run);
    let other = Workplace::new();
    let run = other.run(&format!("evaluate {} --device cpu --json", place.path("run").display()));
    assert_eq!(run.code, 0, "{run:?}");
    let run = place.run("evaluate run --data data --labels labels.csv --device cpu --json");
    assert_eq!(run.code, 0, "{run:?}");
    place.assert_refused("train --device cpu --labels labels.csv", 2, "labels");
}

/// Runs of earlier versions stored the size and the normalisation only.
#[test]
fn runs_of_the_earlier_shape_still_open() {
    let place = Workplace::new();
    folder(&place, "data/train", "ab", 0, 8);
    folder(&place, "data/test", "ab", 8, 4);
    train(&place, "--data data --batch-size 8 --out run");
    let now = place.run("evaluate run --device cpu --json").json()[0]["test/loss"].clone();
    let config: toml::Table = place.read("run/config.toml").parse().unwrap();
    let mut earlier = config.clone();
    let preprocessing = earlier.remove("preprocessing").unwrap();
    earlier.insert("image".into(), toml::Value::from(vec![1, 12, 12]));
    earlier.insert("normalisation".into(), preprocessing["normalisation"].clone());
    place.write("run/config.toml", toml::to_string(&earlier).unwrap());
    assert_eq!(place.run("evaluate run --device cpu --json").json()[0]["test/loss"], now);
    earlier.remove("image");
    place.write("run/config.toml", toml::to_string(&earlier).unwrap());
    place.assert_refused("evaluate run --device cpu", 1, "missing field `preprocessing`");
}
