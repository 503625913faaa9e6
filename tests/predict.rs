//! A trained network is asked about pictures: the answers are those that its evaluation counts, and what cannot be answered
//! is said picture by picture.

mod common;
#[path = "common/drawn.rs"]
mod drawn;
#[path = "common/python.rs"]
mod python;
#[path = "common/workplace.rs"]
mod workplace;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use drawn::{folder, picture, save};
use image::{DynamicImage, GrayAlphaImage, LumaA};
use serde_json::{Value, json};
use wgconv::data::{self, HeldOut, LoadOptions};
use wgconv::gpu::ShaderChecks;
use wgconv::host::{CpuExecutor, ReferenceExecutor};
use wgconv::plan::Executor;
use wgconv::train::{Evaluator, RunFolder};
use wgconv::{Error, Predictor};
use workplace::{Run, Workplace};

/// A run that tells the classes apart.
fn trained() -> Workplace {
    let place = Workplace::new();
    folder(&place, "data", "abc", 0, 20);
    place.train("--data data --model linear --epochs 6 --batch-size 8 --out run");
    place
}

fn predict(place: &Workplace, arguments: &str) -> Run {
    place.run(&format!("predict run {arguments} --device cpu"))
}

/// The predicted class of each file.
fn classes(run: &Run) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    run.json().iter().map(|line| (text(&line["file"]), text(&line["classes"][0]["class"]))).collect()
}

#[test]
fn pictures_of_any_kind_are_told_apart() {
    let place = trained();
    save(&place, "drawn/1.png", picture('a', 50, 12, 12));
    // Another size and three channels,
    save(&place, "drawn/2.jpg", DynamicImage::from(picture('b', 51, 90, 60)).into_rgb8());
    // drawn in the alpha channel alone,
    let shape = picture('c', 52, 24, 24);
    let alpha = GrayAlphaImage::from_fn(24, 24, |x, y| LumaA([0, 255 - shape.get_pixel(x, y).0[0]]));
    save(&place, "drawn/3.png", alpha);
    // 16 bits a channel,
    save(&place, "drawn/4.tif", DynamicImage::from(picture('a', 53, 40, 40)).into_luma16());
    // in a folder of its own, under a name that says nothing.
    let name = "drawn/deeper/5";
    save(&place, "5.bmp", DynamicImage::from(picture('b', 54, 33, 33)).into_rgb8());
    save(&place, "5.webp", DynamicImage::from(picture('b', 54, 33, 33)).into_rgb8());
    place.write(name, fs::read(place.path("5.webp")).unwrap());
    place.write("drawn/notes.txt", "none of yours");

    let run = predict(&place, "drawn 5.bmp --json");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("note: 1 file skipped, no pictures that can be read: 1 .txt\n"), "{run:?}");
    let expected = [
        ("drawn/1.png", "a"),
        ("drawn/2.jpg", "b"),
        ("drawn/3.png", "c"),
        ("drawn/4.tif", "a"),
        (name, "b"),
        ("5.bmp", "b"),
    ];
    assert_eq!(classes(&run), expected.map(|(file, class)| (file.into(), class.into())));
    for line in run.json() {
        let shares =
            line["classes"].as_array().unwrap().iter().map(|class| class["probability"].as_f64().unwrap());
        let shares: Vec<f64> = shares.collect();
        assert!(
            shares.is_sorted_by(|a, b| a >= b) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12,
            "{line}"
        );
    }

    // For people, a line a picture.
    let run = predict(&place, "drawn/1.png drawn/2.jpg --top 1");
    let rows: Vec<Vec<&str>> = run.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |file: &str| rows.iter().find(|row| row.first() == Some(&file)).unwrap();
    assert_eq!((row("drawn/1.png")[1], row("drawn/1.png").len()), ("a", 4), "{run:?}");
    assert_eq!(row("drawn/2.jpg")[1], "b", "{run:?}");
    assert!(run.stdout.contains("2 of 2 pictures, "), "{run:?}");
}

#[test]
fn a_broken_picture_is_named_and_the_others_go_on() {
    let place = trained();
    folder(&place, "more", "abc", 40, 5);
    let sound = fs::read(place.path("more/b/042.png")).unwrap();
    place.write("more/b/042.png", &sound[..sound.len() / 2]);
    place.write("more/a/041.png", "no picture");
    let run = predict(&place, "more missing.png --json");
    assert_eq!(run.code, 1, "{run:?}");
    let found = classes(&run);
    assert_eq!(found.len(), 16);
    for (file, class) in found {
        let expected = match file.as_str() {
            "more/b/042.png" | "more/a/041.png" | "missing.png" => "-",
            file => &file[5..6],
        };
        assert_eq!(class, expected, "{file}");
    }
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 3, "{run:?}");
    assert!(errors[0].starts_with("error: more/a/041.png: expected a PNG, JPEG, "), "{run:?}");
    assert!(errors[2].starts_with("error: cannot read missing.png: "), "{run:?}");
}

#[test]
fn wrong_use_is_refused() {
    let place = trained();
    place.write("empty/notes.txt", "");
    place.assert_refused("predict nowhere data --device cpu", 1, "nowhere/config.toml");
    place.assert_refused(
        "predict run empty --device cpu",
        1,
        "empty: expected pictures, found 1 file skipped",
    );
    place.assert_refused(
        "predict run - - --device cpu",
        2,
        "PICTURE: expected standard input once, found - several times",
    );
    place.assert_refused("predict run data --weights ema --device cpu", 1, "ema.safetensors");
}

#[test]
fn a_picture_comes_from_standard_input() {
    let place = trained();
    let mut command = place.command("predict run - --device cpu --json");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(place.path("data/c/003.png")).unwrap()).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, classes(&run)), (0, vec![("-".into(), "c".into())]), "{run:?}");
}

/// Trained too little to be always right, so that there is something to count.
#[test]
fn its_figures_are_those_of_the_evaluation() {
    let place = Workplace::new();
    let digits =
        data::load("synthetic", &LoadOptions { limit: Some(300), ..LoadOptions::default() }).unwrap();
    for (part, set) in [("train", &digits.train), ("test", &digits.test)] {
        for row in 0..set.len() {
            let image = image::GrayImage::from_raw(28, 28, set.image(row).to_vec()).unwrap();
            save(&place, &format!("digits/{part}/{}/{row:03}.png", set.labels[row]), image);
        }
    }
    place.train("--data digits --epochs 3 --batch-size 32 --out run");
    let measured = place.run("evaluate run --device cpu --json").json().remove(0);
    let run = predict(&place, "digits/test --top 10 --json");
    assert_eq!(run.code, 0, "{run:?}");

    let names: Vec<String> = (0..10).map(|class| class.to_string()).collect();
    let mut counts = vec![[0u64; 10]; 10];
    let (mut loss, lines) = (0.0, run.json());
    for line in &lines {
        let label: usize = line["file"].as_str().unwrap().split('/').nth(2).unwrap().parse().unwrap();
        let all = line["classes"].as_array().unwrap();
        let predicted: usize = all[0]["class"].as_str().unwrap().parse().unwrap();
        counts[label][predicted] += 1;
        let own = all.iter().find(|class| class["class"] == names[label]).unwrap();
        loss -= own["probability"].as_f64().unwrap().ln() / lines.len() as f64;
    }
    let correct: u64 = (0..10).map(|class| counts[class][class]).sum();
    assert!(correct > 100 && correct < 300, "{correct}");
    assert_eq!(measured["images"], 300);
    assert_eq!(measured["test/accuracy"], correct as f64 / 300.0);
    let found = measured["test/loss"].as_f64().unwrap();
    assert!((found - loss).abs() < 1e-6 * loss, "{found}, {loss}");
    for class in 0..10 {
        let taken: u64 = (0..10).map(|other| counts[other][class]).sum();
        let support: u64 = counts[class].iter().sum();
        let share = |of: u64| (of > 0).then(|| counts[class][class] as f64 / of as f64);
        let expected = json!({
            "class": names[class], "precision": share(taken), "recall": share(support), "support": support,
        });
        assert_eq!(measured["classes"][class], expected);
    }
}

type Make = fn() -> Box<dyn Executor>;

fn executors() -> Vec<Make> {
    const NAME: &str = "predictions_are_the_softmax_of_the_evaluations_logits";
    let mut makes: Vec<Make> = vec![|| Box::new(CpuExecutor::new()), || Box::new(ReferenceExecutor::new())];
    if common::gpu(NAME, ShaderChecks::On).is_some() {
        makes.push(|| Box::new(common::gpu(NAME, ShaderChecks::On).expect("a GPU, as before")));
    }
    makes
}

/// The same bits, on each executor, wherever an image stands in a batch.
#[test]
fn predictions_are_the_softmax_of_the_evaluations_logits() {
    let place = trained();
    let (run, config, network) = RunFolder::open(&place.path("run")).unwrap();
    let weights = run.load("best", &network).unwrap();
    let images = data::load(place.path("data").to_str().unwrap(), &config.load_options()).unwrap().train;
    let rows: Vec<&[u8]> = (0..images.len()).map(|row| images.image(row)).collect();
    for make in executors() {
        let mut executor = make();
        let normalisation = &config.preprocessing.normalisation;
        let set = (HeldOut::Test, &images);
        let evaluator = Evaluator::new(executor.as_mut(), &network, set, normalisation, 8).unwrap();
        evaluator.set_weights(executor.as_mut(), &network, &weights).unwrap();
        let (evaluation, logits) = evaluator.classify(executor.as_mut()).unwrap();
        assert_eq!(evaluation, evaluator.evaluate(executor.as_mut()).unwrap());
        let expected: Vec<_> = logits.chunks_exact(3).map(wgconv::Prediction::of_logits).collect();
        let mut predictor = Predictor::new(make(), &config, &network, &weights).unwrap();
        assert_eq!(predictor.predict(&rows).unwrap(), expected);
        // Fewer images than a batch, and others than before.
        assert_eq!(predictor.predict(&rows[11..14]).unwrap(), expected[11..14]);
        assert!(predictor.predict(&rows[..0]).unwrap().is_empty());
        let wrong = predictor.predict(&[vec![0u8; 143]]).unwrap_err();
        assert_eq!(wrong.to_string(), "image: expected 144 bytes, an image of 12x12x1, found 143 bytes");
        let spoilt = weights.iter().map(|(name, tensor)| {
            let values = vec![f32::NAN; tensor.data().len()];
            (name.to_owned(), wgconv::Tensor::new(tensor.shape().clone(), values).unwrap())
        });
        let spoilt = spoilt.collect();
        let mut predictor = Predictor::new(make(), &config, &network, &spoilt).unwrap();
        assert!(matches!(predictor.predict(&rows[..1]), Err(Error::NotFinite { .. })));
    }
}

/// The lines of Python in the README, with PyTorch, if it is there.
#[test]
fn the_readmes_lines_give_the_same_probabilities_in_pytorch() {
    let Some(python) = python::with_torch() else { return };
    let place = Workplace::new();
    place.train("--model lenet --epochs 1 --limit 2000 --out run");
    let digits =
        data::load("synthetic", &LoadOptions { limit: Some(40), ..LoadOptions::default() }).unwrap().test;
    place.write("pixels", digits.images.as_slice());
    for row in 0..digits.len() {
        let image = image::GrayImage::from_raw(28, 28, digits.image(row).to_vec()).unwrap();
        save(&place, &format!("digits/{row:03}.png"), image);
    }
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let lines = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let script = format!(
        "{}\nimages = torch.tensor(list(open('pixels', 'rb').read())).reshape(-1, 1, 28, 28) / 255\n\
         print(json.dumps([dict(zip(about['classes'], row)) for row in predict(images).tolist()]))\n",
        lines.replace("RUN/", "run/")
    );
    place.write("script.py", script);
    let run = Run::of(Command::new(&python).arg("script.py").current_dir(place.path("")));
    assert_eq!(run.code, 0, "{run:?}");
    let in_pytorch = run.json().remove(0);
    let run = predict(&place, "digits --top 10 --json");
    for (row, line) in run.json().iter().enumerate() {
        for class in line["classes"].as_array().unwrap() {
            let here = class["probability"].as_f64().unwrap();
            let there = in_pytorch[row][class["class"].as_str().unwrap()].as_f64().unwrap();
            assert!((here - there).abs() < 1e-5, "{line}: {here}, {there} in PyTorch");
        }
    }
}
