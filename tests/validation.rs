//! With a validation set, the best epoch is chosen by it alone, and the test set is measured once, at the end.

#[path = "common/drawn.rs"]
mod drawn;
#[path = "common/workplace.rs"]
mod workplace;

use std::fs;

use drawn::{folder, picture, save};
use serde_json::Value;
use workplace::Workplace;

/// Training and validation pictures as they should be, and a test set whose labels are all wrong.
fn mislabelled_test_set() -> Workplace {
    let place = Workplace::new();
    folder(&place, "data/train", "abc", 0, 12);
    folder(&place, "data/val", "abc", 12, 4);
    for (folder, class) in [('a', 'b'), ('b', 'c'), ('c', 'a')] {
        for number in 20..24 {
            save(&place, &format!("data/test/{folder}/{number}.png"), picture(class, number, 12, 12));
        }
    }
    place
}

fn metrics(place: &Workplace, run: &str) -> Vec<Value> {
    place
        .read(&format!("{run}/metrics.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const TRAIN: &str = "--data data --model linear --batch-size 12";

#[test]
fn the_best_epoch_is_chosen_by_the_validation_set_and_the_test_set_is_measured_once() {
    let place = mislabelled_test_set();
    let run = place.train(&format!("{TRAIN} --epochs 4 --out run"));
    assert!(run.stdout.contains("epoch  train loss   val loss   val accuracy  images/s"), "{run:?}");
    assert!(run.stdout.contains("best validation accuracy 100.00 %, after epoch "), "{run:?}");
    let closing =
        "test accuracy 0.00 % with these best weights, 0.00 % with the last ones; `wgconv evaluate run` ";
    assert!(run.stdout.contains(closing), "{run:?}");

    let lines = metrics(&place, "run");
    let (epochs, tests) = lines.split_at(4);
    for line in epochs {
        let names: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert!(names.contains(&&"val/accuracy".to_string()), "{line}");
        assert!(!names.iter().any(|name| name.starts_with("test/")), "{line}");
    }
    // The best epoch is the one with the best validation figures.
    let merit = |line: &Value| (line["val/accuracy"].as_f64().unwrap(), -line["val/loss"].as_f64().unwrap());
    let best = epochs.iter().max_by(|a, b| merit(a).partial_cmp(&merit(b)).unwrap()).unwrap();
    let [last_test, best_test] = tests else { panic!("{lines:?}") };
    assert_eq!((&last_test["weights"], &last_test["epoch"]), (&"last".into(), &4.into()));
    assert_eq!((&best_test["weights"], &best_test["epoch"]), (&"best".into(), &best["epoch"]));

    // They are what `evaluate` measures.
    for (weights, line) in [("last", last_test), ("best", best_test)] {
        let run = place.run(&format!("evaluate run --weights {weights} --device cpu --json"));
        let measured = &run.json()[0];
        assert_eq!((&measured["part"], &measured["weights"]), (&"test".into(), &weights.into()));
        assert_eq!(measured["test/loss"], line["test/loss"], "{weights}");
    }
}

#[test]
fn the_test_set_changes_nothing_but_its_own_figures() {
    let place = mislabelled_test_set();
    place.train(&format!("{TRAIN} --epochs 3 --out run"));
    fs::remove_dir_all(place.path("data/test")).unwrap();
    folder(&place, "data/test", "abc", 30, 2);
    place.train(&format!("{TRAIN} --epochs 3 --out other"));
    for weights in ["best", "last"] {
        let [a, b] = ["run", "other"]
            .map(|run| fs::read(place.path(&format!("{run}/{weights}.safetensors"))).unwrap());
        assert!(a == b, "{weights}");
    }
    assert_eq!(metrics(&place, "other")[4]["test/accuracy"], 1.0);
}

#[test]
fn patience_waits_for_the_validation_set() {
    let place = Workplace::new();
    folder(&place, "data/train", "ab", 0, 12);
    folder(&place, "data/test", "ab", 12, 2);
    // No network can get better at pictures that have both labels.
    for class in ['a', 'b'] {
        save(&place, &format!("data/val/{class}/0.png"), picture('c', 0, 12, 12));
    }
    let run = place.train(&format!("{TRAIN} --epochs 50 --learning-rate 1e-6 --patience 2 --out run"));
    assert!(run.stdout.contains("stopped early after epoch "), "{run:?}");
    let epochs = metrics(&place, "run").iter().filter(|line| line["val/loss"].is_f64()).count();
    assert!(epochs < 50, "{epochs}");
}

#[test]
fn a_run_with_a_validation_set_is_resumed() {
    let place = mislabelled_test_set();
    place.train(&format!("{TRAIN} --epochs 4 --out whole"));
    place.train(&format!("{TRAIN} --epochs 2 --out parts"));
    place.train("--resume parts --epochs 4");
    let figures = |run: &str| {
        let timeless = |mut line: Value| {
            let object = line.as_object_mut().unwrap();
            object.remove("seconds");
            object.remove("images_per_s");
            line
        };
        metrics(&place, run).into_iter().map(timeless).collect::<Vec<_>>()
    };
    assert_eq!(figures("parts"), figures("whole"));
    // Other validation images are noticed.
    save(&place, "data/val/a/012.png", picture('a', 99, 12, 12));
    let culprit = "found other: the validation images";
    place.assert_refused("train --device cpu --resume parts --epochs 5", 2, culprit);
}

#[test]
fn without_a_validation_set_the_best_is_said_to_be_optimistic() {
    let place = Workplace::new();
    folder(&place, "data/train", "abc", 0, 12);
    folder(&place, "data/test", "abc", 12, 4);
    let run = place.train(&format!("{TRAIN} --epochs 3 --out run"));
    assert!(run.stdout.contains("chosen on the test set itself, so that figure is optimistic"), "{run:?}");
    assert_eq!(metrics(&place, "run").len(), 3);
    let run = place.train(&format!("{TRAIN} --epochs 3 --validation 0.2 --out other"));
    assert!(!run.stdout.contains("optimistic"), "{run:?}");
}
