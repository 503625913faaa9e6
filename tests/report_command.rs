//! Reports and explanations of runs, by the command line.

#[path = "common/workplace.rs"]
mod workplace;

use std::fs;

use serde_json::Value;
use workplace::{Workplace, files, tensors};

/// A network small enough to be trained in no time, with everything that a report shows.
const MODEL: &str = "name = \"small\"\n\
    [[layers]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 3\n\
    [[layers]]\ntype = \"batch_norm\"\n\
    [[layers]]\ntype = \"relu\"\n\
    [[layers]]\ntype = \"max_pool\"\nkernel_size = 2\n\
    [[layers]]\ntype = \"conv2d\"\nfilters = 3\nkernel_size = 2\n\
    [[layers]]\ntype = \"relu\"\n\
    [[layers]]\ntype = \"flatten\"\n\
    [[layers]]\ntype = \"dense\"\nunits = 10\n";

const TRAIN: &str = "--data data --model small.toml --batch-size 16 --threads 2";

fn workplace() -> Workplace {
    let place = Workplace::new();
    files::idx(&place, "data", 0);
    place.write("small.toml", MODEL);
    place
}

fn bytes(place: &Workplace, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn a_training_writes_its_report_and_is_the_same_without() {
    let place = workplace();
    place.train(&format!("{TRAIN} --epochs 3 --out with"));
    place.train(&format!("{TRAIN} --epochs 3 --no-report --out without"));
    for name in ["last.safetensors", "best.safetensors", "state.safetensors"] {
        assert_eq!(
            bytes(&place, &format!("with/{name}")),
            bytes(&place, &format!("without/{name}")),
            "{name}"
        );
    }
    let page = place.read("with/report.html");
    for part in
        ["test images are right after 3 epochs", "id=\"filters\"", "id=\"maps\"", "id=\"health\"", "epoch 3"]
    {
        assert!(page.contains(part), "{part}");
    }
    for picture in ["curves.png", "filters.png", "confusion.png"] {
        let picture = bytes(&place, &format!("with/pictures/{picture}"));
        assert!(picture.starts_with(b"\x89PNG"));
    }
    let left = place.everything().iter().filter(|path| path.starts_with(place.path("without"))).count();
    assert_eq!(left, 7, "{:?}", place.everything());
}

#[test]
fn a_report_made_again_is_the_same() {
    let place = workplace();
    place.train(&format!("{TRAIN} --epochs 2 --out run"));
    let first = place.read("run/report.html");
    fs::remove_file(place.path("run/report.html")).unwrap();
    let made = place.run("report run --device cpu --threads 2");
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(place.read("run/report.html"), first);
}

#[test]
fn a_resumed_run_has_the_report_of_one_that_never_stopped() {
    let place = workplace();
    place.train(&format!("{TRAIN} --epochs 3 --out straight"));
    place.train(&format!("{TRAIN} --epochs 1 --out resumed"));
    place.train("--resume resumed --epochs 3 --threads 2");
    assert_eq!(bytes(&place, "straight/history.safetensors"), bytes(&place, "resumed/history.safetensors"));
    // One that was trained on without a report begins anew, and says what it can.
    place.train("--resume resumed --epochs 4 --no-report");
    place.train("--resume resumed --epochs 5 --threads 2");
    assert!(place.read("resumed/report.html").contains("after 5 epochs"));
}

#[test]
fn own_pictures_are_looked_at_and_names_do_no_harm() {
    let place = workplace();
    place.train(&format!("{TRAIN} --epochs 1 --out run"));
    let harm = "x\"><img src=x onerror=alert(1)>&]].png";
    place.write(&format!("mine/{harm}"), picture());
    let config = place.read("run/config.toml");
    let named = config.replace("classes = [\"0\"", "classes = [\"</script><script>alert(1)</script>\"");
    assert_ne!(config, named);
    place.write("run/config.toml", named);
    let made = place.run("report run --images mine --device cpu");
    assert_eq!(made.code, 0, "{made:?}");
    let page = place.read("run/report.html");
    assert!(!page.contains("<img src=x") && !page.contains("<script>alert"));
    assert!(page.contains("onerror=alert(1)"), "the name is shown, as text");
}

/// A grey picture of 8x8 pixels.
fn picture() -> Vec<u8> {
    let header = b"P5 8 8 255\n".to_vec();
    header.into_iter().chain((0..64).map(|value| 4 * value)).collect()
}

#[test]
fn what_is_missing_or_damaged_is_said_in_a_line() {
    let place = workplace();
    place.train(&format!("{TRAIN} --epochs 1 --out run"));
    // Without a history only the end is known; without the images, less.
    fs::remove_file(place.path("run/history.safetensors")).unwrap();
    fs::rename(place.path("data"), place.path("moved")).unwrap();
    let made = place.run("report run --device cpu");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(
        made.stdout.contains("only its end is known") && made.stdout.contains("without the run's images")
    );
    assert!(place.read("run/report.html").contains("id=\"filters\""));
    let before = place.read("run/report.html");
    for damaged in [&b"not safetensors"[..], &[0xff; 64], b""] {
        place.write("run/history.safetensors", damaged);
        let made = place.run("report run --device cpu");
        assert!(made.code == 1 && made.stderr.contains("history.safetensors"), "{made:?}");
    }
    // Weights of another network.
    fs::copy(place.path("run/last.safetensors"), place.path("run/history.safetensors")).unwrap();
    assert_eq!(place.run("report run --device cpu").code, 1);
    assert_eq!(place.read("run/report.html"), before);
    place.assert_refused("report nowhere", 1, "nowhere");
    place.assert_refused("report run --images nothing.png", 1, "nothing.png");
}

#[test]
fn one_value_is_explained() {
    let place = workplace();
    place.train(&format!("{TRAIN} --epochs 1 --out run"));
    let told = place.run("explain run 3");
    assert_eq!(told.code, 0, "{told:?}");
    for part in
        ["test image 3: the network says", "the largest wins, which is ours", "Gradient descent goes against"]
    {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    let run = place.run("explain run 3 --layer conv2 --filter 1 --at 0,1 --json");
    let Value::Object(found) = &run.json()[0] else { panic!("{run:?}") };
    assert_eq!(
        (&found["layer"], &found["filter"], &found["at"]),
        (&"conv2".into(), &1.into(), &[0, 1][..].into())
    );
    assert_eq!(found["taps"].as_array().unwrap().len(), 2 * 2 * 4);
    place.write("mine.pgm", picture());
    let own = place.run("explain run mine.pgm");
    assert!(
        own.stdout.contains("mine.pgm: the network says") && own.stdout.contains("nobody said what it is")
    );
    let own = place.run("explain run mine.pgm --class 7");
    assert!(own.stdout.contains("The loss asks for 7, the image's class"), "{own:?}");
    place.assert_refused("explain run 20", 2, "a number below 20");
    place.assert_refused("explain run 3 --class eleven", 2, "one of 0, 1, 2");
    place.assert_refused("explain run 3 --layer dense1", 2, "conv1, conv2");
    place.assert_refused("explain run 3 --filter 4", 2, "0 to 3, the filters of conv1");
    place.assert_refused("explain run 3 --at 6,0", 2, "a row below 6");
    place.assert_refused("explain run absent.png", 1, "absent.png");
    for wrong in ["explain run", "explain run 3 --at 1", "explain --lesson run 3", "explain run 3 --out x"] {
        assert_eq!(place.run(wrong).code, 2, "{wrong}");
    }
}

/// The last filter that it prints is that of the weights, and the table that of the figures.
#[test]
fn a_lesson_is_told_with_the_numbers_of_its_training() {
    let place = Workplace::new();
    let told = place.run("explain --lesson --device cpu --threads 2 --out lesson");
    assert_eq!(told.code, 0, "{told:?}");
    let page = place.read("lesson/lesson.html");
    for heading in
        ["1. What there is to learn", "3. Forwards: from pixels to an answer", "6. What was learnt"]
    {
        assert!(told.stdout.contains(heading) && page.contains(heading), "{heading}");
    }
    assert!(place.path("lesson/report.html").exists());
    let after = told.stdout.split("The same filter ").nth(1).unwrap();
    let filter: usize = after.split(' ').next().unwrap().parse().unwrap();
    let weights = &tensors(&place.path("lesson/last.safetensors"))["conv1.weight"];
    assert_eq!(weights.0, [16, 1, 5, 5]);
    let rows = weights.1[filter * 25..][..25].chunks(5);
    let rows: Vec<String> =
        rows.map(|row| row.iter().map(|value| format!("{value:8.4}")).collect()).collect();
    assert!(after.contains(&rows.join("\n")), "{after}");
    let metrics = place.read("lesson/metrics.jsonl");
    for line in metrics.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let accuracy = format!("{:.2} %", 100.0 * line["test/accuracy"].as_f64().unwrap());
        assert!(told.stdout.contains(&accuracy) && page.contains(&accuracy), "{accuracy}");
    }
    assert_eq!(metrics.lines().count(), 4);
}

#[test]
fn filters_are_drawn_where_there_are_colours_alone() {
    let place = workplace();
    let trained = place.train(&format!("{TRAIN} --epochs 1 --show filters --out run"));
    assert!(trained.stdout.contains("--show needs a terminal with 24-bit colours"));
    assert!(!trained.stdout.contains('\u{1b}'));
}
