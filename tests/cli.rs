//! The command line: the output of each command, and its errors for bad input.

#[path = "common/workplace.rs"]
mod workplace;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use workplace::{Run, Workplace, files, tensors};

mod train {
    use super::*;

    const KEYS: [&str; 8] = [
        "epoch",
        "images_per_s",
        "learning_rate",
        "seconds",
        "step",
        "test/accuracy",
        "test/loss",
        "train/loss",
    ];

    #[test]
    fn a_run_prints_its_figures_and_leaves_its_folder() {
        let place = Workplace::new();
        let run = place.train("--model lenet --data synthetic --limit 300 --epochs 2 --json --out run");
        let lines = run.json();
        assert_eq!(lines.len(), 2);
        for (line, epoch) in lines.iter().zip(1..) {
            assert!(line.as_object().unwrap().keys().eq(KEYS), "{line}");
            assert_eq!((&line["epoch"], &line["step"]), (&Value::from(epoch), &Value::from(4 * epoch)));
        }
        for text in [
            "device: CPU executor",
            "(as asked)",
            "300 training and 300 test images of 28x28x1",
            "test accuracy",
            "215,370",
            "`wgconv evaluate run`",
        ] {
            assert!(run.stderr.contains(text), "{text}: {}", run.stderr);
        }
        assert_eq!(place.read("run/metrics.jsonl"), run.stdout);
        let names = [
            "best.safetensors",
            "config.toml",
            "history.safetensors",
            "last.safetensors",
            "metrics.jsonl",
            "model.toml",
            "pictures",
            "pictures/confusion.png",
            "pictures/curves.png",
            "pictures/filters.png",
            "report.html",
            "state.safetensors",
        ];
        let mut expected = vec![place.path("run")];
        expected.extend(names.map(|name| place.path("run").join(name)));
        assert_eq!(place.everything(), expected);

        let evaluate = "evaluate run --device cpu --weights last";
        let [figures] = place.run(&format!("{evaluate} --json")).json().try_into().unwrap();
        for key in ["test/loss", "test/accuracy"] {
            let (expected, found) = (lines[1][key].as_f64().unwrap(), figures[key].as_f64().unwrap());
            assert!((expected - found).abs() < 1e-6, "{key}: {expected} and {found}");
        }
        assert_eq!(figures["images"], 300);
        let text = place.run(evaluate);
        let loss = format!("test loss {:.4}", figures["test/loss"].as_f64().unwrap());
        assert!(text.stdout.contains(&loss) && text.stderr.is_empty(), "{text:?}");
    }

    #[test]
    fn without_json_the_table_goes_to_stdout_and_folders_are_numbered() {
        let place = Workplace::new();
        for path in ["runs/lenet-1", "runs/lenet-2"] {
            let run = place.train("--model lenet --limit 64 --epochs 1");
            assert!(run.stdout.contains("epoch  train loss  test loss"), "{run:?}");
            assert!(run.stdout.contains(&format!("results: {path}\n")) && run.stderr.is_empty(), "{run:?}");
            assert!(place.path(path).join("best.safetensors").is_file());
        }
    }

    /// A model, data or a recipe of the user's own take the place of the recipe for the built-in digits.
    #[test]
    fn without_arguments_the_fast_recipe_is_trained() {
        let place = Workplace::new();
        let settings = |arguments: &str| {
            place.train(&format!("--limit 64 {arguments} --out run"));
            let config: toml::Table = place.read("run/config.toml").parse().unwrap();
            fs::remove_dir_all(place.path("run")).unwrap();
            config["training"].as_table().unwrap().clone()
        };
        let fast = settings("");
        assert_eq!(fast["optimizer"]["name"].as_str(), Some("adam"));
        assert_eq!(fast, settings("--recipe mnist-fast"));
        assert_eq!(settings("--epochs 2")["epochs"].as_integer(), Some(2));
        assert_eq!(settings("--epochs 2")["optimizer"], fast["optimizer"]);
        files::idx(&place, "data", 0);
        for other in ["--model lenet --epochs 1", "--data data --epochs 1"] {
            assert_eq!(settings(other)["optimizer"]["name"].as_str(), Some("sgd"), "{other}");
        }
    }

    #[test]
    fn any_key_of_a_recipe_can_be_set() {
        let place = Workplace::new();
        place.train(
            "--limit 64 --out run --set schedule.end=0.25 --set groups.norm.rate_factor=2 --set epochs=2 \
             --set augment.padding=reflect",
        );
        let config: toml::Table = place.read("run/config.toml").parse().unwrap();
        let training = config["training"].as_table().unwrap();
        assert_eq!(training["schedule"]["end"].as_float(), Some(0.25));
        assert_eq!(training["schedule"]["name"].as_str(), Some("one_cycle"), "the rest is the recipe's");
        assert_eq!(training["groups"]["norm"]["rate_factor"].as_float(), Some(2.0));
        assert_eq!(training["epochs"].as_integer(), Some(2));
        for (set, culprit) in [
            ("schedule.ends=1", "schedule.ends=1: unknown field `ends`"),
            ("epochs", "epochs: no ="),
            ("epochs=many", "invalid type: string \"many\""),
            ("epochs.half=1", "epochs is no table"),
            ("schedule.end=2", "expected end from 0 to 1, found 2"),
            ("=3", "unknown field ``"),
        ] {
            place.assert_refused(&format!("train --device cpu --limit 64 --set {set}"), 2, culprit);
        }
    }

    #[test]
    fn mixed_precision_is_that_of_gpus_and_other_devices_say_so() {
        let place = Workplace::new();
        let run = place.train("--limit 64 --out run --precision mixed");
        assert!(run.stdout.contains("precision: f32, since this device stores no f16"), "{run:?}");
        let config: toml::Table = place.read("run/config.toml").parse().unwrap();
        assert_eq!(config["training"]["precision"].as_str(), Some("mixed"));
        let run = place.run("train --device cpu --limit 64 --precision f16");
        assert!(run.code == 2 && run.stderr.contains("f32, mixed"), "{run:?}");
        let run = place.run("verify --device cpu --halves --json --only scale_gradient");
        assert_eq!(run.code, 0, "{run:?}");
        let verdicts = run.json();
        let commands: Vec<&str> = verdicts.iter().filter_map(|verdict| verdict["command"].as_str()).collect();
        assert!(
            !commands.is_empty() && commands.iter().all(|command| command.contains(" --halves ")),
            "{commands:?}"
        );
    }

    #[test]
    fn two_numbers_are_given_with_a_comma() {
        let place = Workplace::new();
        place.train("--limit 64 --out run --betas 0.8,0.95");
        let config: toml::Table = place.read("run/config.toml").parse().unwrap();
        let betas = config["training"]["optimizer"]["betas"].as_array().unwrap();
        assert_eq!(betas.iter().filter_map(toml::Value::as_float).collect::<Vec<_>>(), [0.8, 0.95]);
        for betas in ["0.8", "0.8,", "0.8,0.9,0.95", "a,b"] {
            let run = place.run(&format!("train --device cpu --limit 64 --betas {betas}"));
            assert_eq!(run.code, 2, "{run:?}");
            let refused =
                format!("invalid value '{betas}' for '--betas <X,X>': expected two numbers with a comma");
            assert!(run.stderr.contains(&refused), "{run:?}");
        }
    }

    #[test]
    fn a_model_file_trains_on_a_folder_and_is_evaluated_on_another() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        files::idx(&place, "brighter", 90);
        let conv = "type = \"conv2d\"; filters = 4; kernel_size = 3; padding = \"same\"; groups = 1";
        let layers = [conv, "type = \"relu\"", "type = \"flatten\"", "type = \"dense\"; units = 10"];
        place.write("small.toml", files::model("", &layers));
        let run = place.train("--model small.toml --data data --batch-size 30 --epochs 1 --json");
        let evaluate = |arguments: &str| {
            let run = place.run(&format!("evaluate runs/mine-1 --device cpu --json {arguments}"));
            assert_eq!(run.code, 0, "{run:?}");
            run.json()[0]["test/loss"].as_f64().unwrap()
        };
        let loss = run.json()[0]["test/loss"].as_f64().unwrap();
        assert!((evaluate("") - loss).abs() < 1e-6);
        assert!((evaluate("--batch-size 7") - loss).abs() < 1e-6);
        assert!((evaluate("--data brighter") - loss).abs() > 1e-3);
        assert!((evaluate("--limit 5") - loss).abs() > 1e-3);
    }

    #[test]
    fn a_seed_decides_every_bit() {
        let place = Workplace::new();
        let weights = |name: &str, seed: u32| {
            place.train(&format!("--limit 128 --epochs 1 --seed {seed} --out {name}"));
            fs::read(place.path(name).join("last.safetensors")).unwrap()
        };
        let first = weights("a", 7);
        assert!(first == weights("b", 7));
        assert!(first != weights("c", 8));
    }

    #[test]
    fn a_run_that_diverges_says_where_and_keeps_its_weights() {
        let place = Workplace::new();
        for (name, rate) in [("a", "1e6"), ("b", "1e38")] {
            let run = place.run(&format!(
                "train --device cpu --model lenet --limit 640 --epochs 3 --learning-rate {rate} --out {name}"
            ));
            run.assert_error(1, "try a smaller learning rate");
            let (step, place_of_it) =
                run.stderr.strip_prefix("error: the loss of step ").unwrap().split_once(": ").unwrap();
            assert!(step.ends_with("is NaN") || step.ends_with("is inf"), "{run:?}");
            assert!(place_of_it.starts_with("first seen in "), "{run:?}");
            let weights = tensors(&place.path(name).join("last.safetensors"));
            assert_eq!(weights.len(), 8);
            assert!(weights.values().flat_map(|(_, values)| values).all(|value| value.is_finite()));
        }
    }

    /// The evaluation is the first to use the weights of an epoch's last step.
    #[test]
    fn weights_without_a_finite_loss_do_not_replace_good_ones() {
        let place = Workplace::new();
        let common =
            "train --device cpu --limit 64 --batch-size 64 --model linear --momentum 0 --weight-decay 4";
        let run = place.run(&format!("{common} --epochs 300 --learning-rate 1 --out a"));
        let epochs = place.read("a/metrics.jsonl").lines().count();
        assert!((2..299).contains(&epochs), "{run:?}");
        run.assert_error(1, &format!("error: the loss of test batch 0 after step {epochs} is NaN: "));
        run.assert_error(
            1,
            "try a smaller learning rate; these weights are not saved, last.safetensors is that",
        );
        // The files are those of a run of only the good epochs.
        place.train(&format!(
            "{} --epochs {epochs} --learning-rate 1 --out b",
            common.trim_start_matches("train --device cpu")
        ));
        for name in ["last.safetensors", "best.safetensors"] {
            let [found, expected] = ["a", "b"].map(|run| fs::read(place.path(run).join(name)).unwrap());
            assert!(found == expected, "{name}");
        }

        let common = common.replace("--weight-decay 4", "--weight-decay 1000");
        let run = place.run(&format!("{common} --epochs 1 --learning-rate 1e38 --out c"));
        run.assert_error(
            1,
            "error: the loss of test batch 0 after step 0 is NaN: first seen in dense1.weight, ",
        );
        run.assert_error(1, "; these weights are not saved\n");
        assert!(!place.path("c/last.safetensors").exists());
    }

    #[cfg(unix)]
    #[test]
    fn an_interrupted_run_saves_its_weights() {
        use std::io::{BufRead, BufReader, Read};
        use std::time::{Duration, Instant};

        let place = Workplace::new();
        let mut command = place.command("train --device cpu --limit 2000 --epochs 100000 --out run");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(stdout.any(|line| line.starts_with("epoch  train loss")));
        let start = Instant::now();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = stdout.collect();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        assert!(rest.last().unwrap().starts_with("stopped at step "), "{rest:?}");
        assert!(stderr.contains("Ctrl-C again ends at once") && !stderr.contains("panicked"), "{stderr}");
        assert_eq!(place.run("evaluate run --device cpu --weights last").code, 0);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        for (arguments, culprit) in [
            ("--batch-size 0", "batch size: expected 1 to the 80 training images, found 0"),
            ("--batch-size 81", "batch size: expected 1 to the 80 training images, found 81"),
            ("--batch-size 9 --limit 8", "batch size: expected 1 to the 8 training images, found 9"),
            ("--learning-rate 0", "learning rate: expected a number above 0, found 0"),
            ("--learning-rate -0.1", "learning rate: expected a number above 0, found -0.1"),
            ("--learning-rate NaN", "learning rate: expected a number above 0, found NaN"),
            ("--learning-rate inf", "learning rate: expected a number above 0, found inf"),
            ("--momentum 1.5", "momentum from 0 to below 1, found 1.5"),
            ("--momentum -1", "momentum from 0 to below 1, found -1"),
            ("--momentum 0 --nesterov", "nesterov"),
            ("--weight-decay -1", "weight"),
            ("--weight-decay NaN", "weight"),
        ] {
            let command = format!("train --device cpu --data data --model linear --out run {arguments}");
            place.assert_refused(&command, 2, culprit);
        }
        for (arguments, culprit) in [
            (
                "--model resnet-9000",
                "model: expected linear, lenet, mnist-fast, mnist-best, vgg-mini, resnet8, mobilenet-mini, resnet20, cifar-fast-small, cifar-fast or the path of a .toml file",
            ),
            ("--data nowhere", "data: expected `synthetic`, a folder or an .npz file, found \"nowhere\""),
        ] {
            place.assert_refused(&format!("train --device cpu --out run {arguments}"), 2, culprit);
        }
    }

    #[test]
    fn impossible_output_folders_are_refused() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        place.write("file", "");
        for (out, code, culprit) in [
            ("data", 2, "output folder: expected a path that does not exist yet, found data"),
            ("file", 2, "output folder: expected a path that does not exist yet, found file"),
            ("file/run", 1, "cannot create file/run: "),
            ("file/a/run", 1, "cannot create file/a/run: "),
            #[cfg(target_os = "linux")]
            ("/proc/nowhere/run", 1, "cannot create /proc/nowhere/run: "),
        ] {
            // The same error with missing data shows that the folder is checked first.
            for data in ["data", "nowhere"] {
                let command = format!("train --device cpu --model linear --data {data} --out {out}");
                place.assert_refused(&command, code, culprit);
            }
        }
        let runs = place.path("runs");
        fs::write(runs, "a file where the default folder goes").unwrap();
        place.assert_refused("train --device cpu --data data --model linear", 1, "cannot create runs");
    }

    #[test]
    fn model_files_that_describe_no_network_are_refused() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        let conv = |rest: &str| format!("type = \"conv2d\"; filters = 4; {rest}");
        let (flatten, dense) = ("type = \"flatten\"", "type = \"dense\"; units = 10");
        for (text, culprit) in [
            ("name = ".into(), "model, line 1: expected TOML"),
            ("name = \"mine\"\n\n[[layers]\n".into(), "model, line 3: expected TOML"),
            ("name = \"mine\"\nlayers = []".into(), "layer"),
            (files::model("", &["type = \"convolution\""]), "layer 1: expected type conv2d, "),
            (files::model("", &["filters = 4"]), "layer 1: expected key `type`, found none"),
            (files::model("", &["type = \"conv2d\"; filters = 4"]), "key `kernel_size`, found none"),
            (
                files::model("", &[&conv("kernel_size = -3")]),
                "layer 1 (conv2d): expected `kernel_size` to be",
            ),
            (files::model("", &[&conv("kernel_size = 3; strides = 2")]), "found key `strides`"),
            (files::model("", &[&conv("kernel_size = 9"), flatten, dense]), "conv1"),
            (files::model("", &[&conv("kernel_size = 3; groups = 3"), flatten, dense]), "conv1"),
            (files::model("", &[flatten, "type = \"dense\"; units = 7"]), "expected 10 flat features"),
            (files::model("", &[&conv("kernel_size = 3")]), "expected 10 flat features"),
            (files::model("input = [1, 28, 28]", &[flatten, dense]), "28x28x1"),
            (files::model("input = [1, 0, 28]", &[flatten, dense]), "`input`"),
        ] {
            place.write("mine.toml", text);
            let command = "train --device cpu --data data --model mine.toml --out run";
            place.assert_refused(command, 2, culprit);
            place.assert_refused(command, 2, "error: mine.toml: ");
        }
        let command = "train --device cpu --data data --out run --model";
        place.assert_refused(&format!("{command} missing.toml"), 1, "cannot read missing.toml: ");
        place.write("latin.toml", b"name = \"caf\xe9\"");
        place.assert_refused(&format!("{command} latin.toml"), 1, "cannot read latin.toml: ");
    }

    #[test]
    fn damaged_data_are_refused() {
        use std::io::{Read, Write};

        use flate2::{Compression, write::GzEncoder};

        const IMAGES: &str = "data/train-images-idx3-ubyte";
        type Damage = fn(&Workplace);
        let cases: [(Damage, &str); 9] = [
            (|place| place.write(IMAGES, files::idx_header(0x803, &[80, 8])), "damaged"),
            (
                |place| {
                    let bytes = fs::read(place.path(IMAGES)).unwrap();
                    place.write(IMAGES, &bytes[..bytes.len() / 2]);
                },
                "train-images-idx3-ubyte: expected 5120 bytes after the header",
            ),
            (
                |place| place.write(IMAGES, files::idx_header(0x803, &[u32::MAX, 4096, 4096])),
                "train-images-idx3-ubyte: expected at most",
            ),
            (
                |place| place.write(IMAGES, files::idx_header(0x801, &[80, 8, 8])),
                "train-images-idx3-ubyte: expected the magic number",
            ),
            (
                |place| {
                    fs::remove_file(place.path(IMAGES)).unwrap();
                    let file = fs::File::create(place.path(&format!("{IMAGES}.gz"))).unwrap();
                    let mut bomb = GzEncoder::new(file, Compression::fast());
                    bomb.write_all(&files::idx_header(0x803, &[80, 8, 8])).unwrap();
                    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut bomb).unwrap();
                    bomb.finish().unwrap();
                },
                "train-images-idx3-ubyte.gz: expected 5120 bytes after the header",
            ),
            (|place| fs::remove_file(place.path(IMAGES)).unwrap(), "data: expected an IDX file train-images"),
            (
                |place| {
                    fs::remove_dir_all(place.path("data")).unwrap();
                    (1..=5).for_each(|batch| place.write(&format!("data/data_batch_{batch}.bin"), [0; 3072]));
                },
                "data_batch_1.bin: expected rows of 3073 bytes, found 3072 bytes",
            ),
            (
                |place| {
                    fs::remove_dir_all(place.path("data")).unwrap();
                    fs::create_dir_all(place.path("data/train/cat")).unwrap();
                },
                "data: expected pictures in one folder a class (or --labels FILE.csv), IDX files, NumPy files or CIFAR",
            ),
            (
                |place| {
                    fs::remove_dir_all(place.path("data")).unwrap();
                    let image = image::GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * y) as u8]));
                    for name in ["1.jpg", "2.jpg"] {
                        place.write(&format!("data/cat/{name}"), "");
                        image.save(place.path("data/cat").join(name)).unwrap();
                    }
                    let bytes = fs::read(place.path("data/cat/2.jpg")).unwrap();
                    place.write("data/cat/2.jpg", &bytes[..bytes.len() / 2]);
                },
                "2.jpg: expected a whole JPEG picture, found one that is cut off",
            ),
        ];
        for (damage, culprit) in cases {
            let place = Workplace::new();
            files::idx(&place, "data", 0);
            damage(&place);
            place.assert_refused("train --device cpu --data data --out run", 1, culprit);
        }
    }
}

mod evaluate {
    use super::*;

    #[test]
    fn a_run_is_found_from_another_folder_and_on_any_number_of_threads() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        let run = place.train("--data data --model linear --epochs 1 --threads 1 --out run");
        assert!(run.stdout.contains("CPU executor, 1 thread "), "{run:?}");
        let other = Workplace::new();
        let path = place.path("run");
        let run = other.run(&format!("evaluate {} --device cpu --threads 3", path.display()));
        assert!(run.code == 0 && run.stdout.contains("3 threads"), "{run:?}");
    }

    #[test]
    fn damaged_runs_are_refused() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        place.train("--data data --model linear --epochs 1 --out run");
        place.train("--data data --model lenet --epochs 1 --out other");
        for (arguments, code, culprit) in [
            ("nowhere", 1, "cannot read nowhere/config.toml: "),
            ("data/train-labels-idx1-ubyte", 1, "cannot read data/train-labels-idx1-ubyte/config.toml: "),
            ("run --batch-size 0", 2, "batch size: expected 1 to the 20 test images, found 0"),
            ("run --batch-size 21", 2, "batch size: expected 1 to the 20 test images, found 21"),
            (
                "run --data nowhere",
                2,
                "data: expected `synthetic`, a folder or an .npz file, found \"nowhere\"",
            ),
        ] {
            place.assert_refused(&format!("evaluate --device cpu {arguments}"), code, culprit);
        }

        let sound = ["config.toml", "model.toml", "best.safetensors"]
            .map(|name| (name, fs::read(place.path("run").join(name)).unwrap()));
        let [config, model, weights] = sound.clone().map(|(_, bytes)| bytes);
        let other = |name: &str| fs::read(place.path("other").join(name)).unwrap();
        let edited = |bytes: &[u8], old: &str, new: &str| {
            let text = std::str::from_utf8(bytes).unwrap();
            assert!(text.contains(old));
            text.replace(old, new).into_bytes()
        };
        for (name, bytes, culprit) in [
            ("config.toml", b"nonsense".to_vec(), "run/config.toml: expected a run's configuration"),
            ("config.toml", config[..config.len() / 2].to_vec(), "run/config.toml: expected a run's"),
            ("config.toml", edited(&config, "epochs = 1", "epochs = \"many\""), "run/config.toml: expected"),
            ("config.toml", edited(&config, "image_size = [8, 8]", "image_size = [9, 9]"), "run/model.toml"),
            (
                "config.toml",
                edited(&config, "mean = [", "mean = [1.0, "),
                "means and deviations of 1 channels",
            ),
            ("model.toml", model[..model.len() - 9].to_vec(), "run/model.toml: expected a run's model"),
            (
                "model.toml",
                edited(&model, "units = 10", "units = 9"),
                "run/model.toml: expected a run's model",
            ),
            ("best.safetensors", other("best.safetensors"), "run/best.safetensors: expected"),
            ("best.safetensors", weights[..weights.len() - 1].to_vec(), "run/best.safetensors: expected"),
            ("best.safetensors", b"".to_vec(), "run/best.safetensors: expected a safetensors file"),
        ] {
            place.write(&format!("run/{name}"), bytes);
            place.assert_refused("evaluate run --device cpu", 1, culprit);
            for (name, bytes) in &sound {
                place.write(&format!("run/{name}"), bytes);
            }
        }
        fs::remove_file(place.path("run/best.safetensors")).unwrap();
        assert_eq!(place.run("evaluate run --device cpu").code, 0, "the last weights stand in for the best");
        let best = "evaluate run --device cpu --weights best";
        place.assert_refused(best, 1, "cannot read run/best.safetensors: ");
        fs::remove_file(place.path("run/last.safetensors")).unwrap();
        place.assert_refused("evaluate run --device cpu", 1, "cannot read run/last.safetensors: ");
    }
}

mod summary {
    use super::*;

    #[test]
    fn presets_and_files_are_summarised() {
        let place = Workplace::new();
        let layers = ["type = \"flatten\"", "type = \"dense\"; units = 5"];
        place.write("mine.toml", files::model("input = [2, 3, 4]", &layers));
        for (model, total) in [
            ("lenet", "215,370"),
            ("linear", "7,850"),
            ("vgg-mini", "591,274"),
            ("lenet --input 3,32,32 --classes 100", "289,220"),
            ("mine.toml", "125"),
        ] {
            let run = place.run(&format!("summary {model}"));
            assert!(run.stdout.contains(&format!("Total params: {total} ")), "{run:?}");
            assert_eq!((run.code, run.stderr.as_str()), (0, ""));
            let run = place.run(&format!("summary {model} --json"));
            let [json] = run.json().try_into().unwrap();
            assert_eq!(json["parameters"].to_string(), total.replace(',', ""), "{json}");
            assert!(run.stderr.contains("Total params"));
        }
    }

    #[test]
    fn bad_models_and_sizes_are_refused() {
        let place = Workplace::new();
        place.write("mine.toml", files::model("", &["type = \"flatten\""]));
        for (arguments, culprit) in [
            (
                "lenett",
                "model: expected linear, lenet, mnist-fast, mnist-best, vgg-mini, resnet8, mobilenet-mini, resnet20, cifar-fast-small, cifar-fast or the path of a .toml file, found \"lenett\"",
            ),
            ("lenet --input 28,28", "--input: expected CHANNELS,HEIGHT,WIDTH"),
            ("lenet --input 1,x,28", "--input: expected CHANNELS,HEIGHT,WIDTH"),
            ("lenet --input 1,-28,28", "--input: expected CHANNELS,HEIGHT,WIDTH"),
            ("lenet --input 0,28,28", "network: expected an input of at least 1x1x1"),
            ("lenet --input 1,3,3", "layer pool2 (max_pool): "),
            ("lenet --input 1,99999999999,99999999999", "fewer than 2^31 elements"),
            ("lenet --classes 0", "layer dense2 (dense): expected units of at least 1, found 0"),
            ("mine.toml", "mine.toml: model: expected key `input`, found none"),
        ] {
            place.assert_refused(&format!("summary {arguments}"), 2, culprit);
        }
    }
}

mod devices {
    use wgconv::device::DeviceKind;
    use wgconv::gpu::adapters;

    use super::*;

    /// A variable that hides every adapter.
    const HIDDEN: (&str, &str) = ("WGPU_ADAPTER_NAME", "nothing-like-this");

    const TRAIN: &str = "train --model linear --data data --epochs 1 --out run";

    fn workplace() -> Workplace {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        place
    }

    #[test]
    fn every_device_is_listed_and_tested() {
        let run = Workplace::new().run("devices --json");
        let lines = run.json();
        assert_eq!((run.code, lines.len()), (0, adapters().len() + 1));
        assert!(lines.iter().all(|line| line["self_test"]["status"] == "PASSED"), "{run:?}");
        assert_eq!(lines.last().unwrap()["device"], "cpu");
        assert!(run.stderr.contains("cpu: CPU executor"));
    }

    #[test]
    fn without_an_adapter_there_is_advice_and_the_cpu() {
        let place = workplace();
        let hidden = |arguments: &str| {
            let (name, value) = HIDDEN;
            Run::of(place.command(arguments).env(name, value))
        };
        let run = hidden("devices");
        assert!(run.stdout.contains("no GPU driver found: ") && run.stdout.contains("cpu: CPU executor"));
        assert!(run.stdout.contains("PASSED") && run.code == 0, "{run:?}");

        let advice = wgconv::gpu::install_advice();
        for device in ["gpu", "gpu --allow-software", "0", "some-name"] {
            hidden(&format!("{TRAIN} --device {device}")).assert_error(2, advice);
        }
        assert!(!place.path("run").exists());
        let run = hidden(&format!("{TRAIN} --device auto"));
        assert!(
            run.stdout.contains("device: CPU executor") && run.stdout.contains("(no GPU found; "),
            "{run:?}"
        );
    }

    #[test]
    fn the_device_asked_for_is_taken_or_refused() {
        let place = workplace();
        for device in ["99", "no-such-name"] {
            place.assert_refused(
                &format!("{TRAIN} --device {device}"),
                2,
                &format!("no device \"{device}\": "),
            );
        }
        let adapters = adapters();
        let Some(best) = adapters.first().map(|adapter| adapter.profile()) else { return };
        let train = |device: &str, name: &str| {
            let run = place.run(&format!("{} --device {device}", TRAIN.replace("run", name)));
            assert_eq!(run.code, 0, "{run:?}");
            run.stdout.lines().find(|line| line.starts_with("device: ")).unwrap().to_owned()
        };
        if best.kind == DeviceKind::Software {
            place.assert_refused(&format!("{TRAIN} --device gpu"), 2, "--allow-software");
            assert!(train("auto", "a").contains("(no GPU found; "));
            assert!(train("gpu --allow-software", "b").contains("(a software rasteriser, as allowed"));
        } else {
            assert!(train("auto", "a").contains(&best.name));
            assert!(train("gpu", "b").contains(&best.name));
        }
        assert!(train("0", "c").contains(&best.name));
        assert!(
            train(&best.name.split_whitespace().next().unwrap().to_uppercase(), "d").contains("(by name")
        );
        assert!(train("reference", "e").contains("reference"));
    }
}

mod caches {
    use super::*;

    /// Trains briefly on the first adapter, with this `WGCONV_CACHE`; `None` without an adapter.
    fn train(place: &Workplace, cache: Option<&str>, more: &str) -> Option<Run> {
        wgconv::gpu::adapters().first()?;
        files::idx(place, "data", 0);
        let arguments = format!("train --model linear --data data --epochs 1 --device 0 {more}");
        let mut command = place.command(&arguments);
        match cache {
            Some(cache) => command.env("WGCONV_CACHE", cache),
            None => command.env_remove("WGCONV_CACHE"),
        };
        // Drivers have caches of their own.
        command.env("XDG_CACHE_HOME", place.path("home")).env("MESA_SHADER_CACHE_DISABLE", "true");
        let run = Run::of(&mut command);
        assert_eq!(run.code, 0, "{run:?}");
        Some(run)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().file_name()));
        let mut names: Vec<String> =
            entries.into_iter().flatten().map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn measurements_are_kept_and_reported_once() {
        let place = Workplace::new();
        let Some(first) = train(&place, Some("cache"), "") else { return };
        assert!(first.stderr.starts_with("tuned ") && first.stderr.contains(" operations in "), "{first:?}");
        assert!(first.stderr.contains("(cached in cache/tuning-"), "{first:?}");
        let is_tuning = |name: &String| name.starts_with("tuning-") && name.ends_with(".json");
        assert_eq!(names(&place.path("cache")).iter().filter(|name| is_tuning(name)).count(), 1);
        // On a busy machine, it may take more than one start until everything is measured.
        let mut silent = Vec::new();
        for number in 0..12 {
            let run = train(&place, Some("cache"), &format!("--out {number}")).unwrap();
            if !run.stderr.is_empty() {
                silent.clear();
                continue;
            }
            silent.push(fs::read(place.path(&number.to_string()).join("last.safetensors")).unwrap());
            if let [first, second] = silent.as_slice() {
                assert!(first == second, "the same cache gives the same bits");
                return;
            }
        }
        panic!("there is always something to measure");
    }

    #[test]
    fn without_tuning_nothing_is_measured_and_without_caches_nothing_is_kept() {
        let place = Workplace::new();
        let Some(run) = train(&place, Some("cache"), "--no-tune") else { return };
        assert_eq!(run.stderr, "");
        assert!(!names(&place.path("cache")).iter().any(|name| name.starts_with("tuning")));
        let run = train(&place, Some(""), "").unwrap();
        assert!(run.stderr.contains("tuned ") && !run.stderr.contains("cached"), "{run:?}");
        assert_eq!(names(&place.path("home")), Vec::<String>::new());
        train(&place, None, "--no-tune --out run").unwrap();
        assert!(names(&place.path("home")).iter().all(|name| name == "wgconv"));
        train(&place, None, "").unwrap();
        assert_eq!(names(&place.path("home")), ["wgconv"]);
    }
}

mod conv {
    use safetensors::tensor::{Dtype, TensorView, serialize};

    use super::*;

    type Tensor<'a> = (&'a str, &'a [usize], &'a [f32]);

    fn file(tensors: &[Tensor], dtype: Dtype) -> Vec<u8> {
        let bytes = |values: &[f32]| match dtype {
            Dtype::F64 => values.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect(),
            _ => bytemuck::cast_slice::<f32, u8>(values).to_vec(),
        };
        let data: Vec<Vec<u8>> = tensors.iter().map(|(.., values)| bytes(values)).collect();
        let views = tensors
            .iter()
            .zip(&data)
            .map(|((name, shape, _), data)| (*name, TensorView::new(dtype, shape.to_vec(), data).unwrap()));
        serialize(views, None).unwrap()
    }

    /// Asserts the answers of `wgconv conv` to a case, whose values were computed by hand.
    #[track_caller]
    fn assert_answers(options: &str, case: &[Tensor], expected: &[Tensor]) {
        let place = Workplace::new();
        place.write("case.safetensors", file(case, Dtype::F32));
        let device = if options.contains("--device") { "" } else { " --device cpu" };
        let run = place.run(&format!("conv case.safetensors --json --out out.safetensors {options}{device}"));
        assert_eq!(run.code, 0, "{run:?}");
        let answers = tensors(&place.path("out.safetensors"));
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|&(name, shape, values)| (name.to_owned(), (shape.to_vec(), values.to_vec())))
            .collect();
        assert_eq!(answers, expected, "{options}");
        for line in run.json() {
            let (shape, _) = &answers[line["tensor"].as_str().unwrap()];
            assert_eq!(line["shape"], Value::from(shape.clone()), "{options}");
        }
    }

    #[test]
    fn bias_uneven_padding_and_uneven_stride() {
        // Padded: 0 1 2 3 / 0 4 5 6 / 0 0 0 0; three windows side by side.
        assert_answers(
            "--padding 0,1,1,0 --stride 2,1",
            &[
                ("input", &[1, 1, 2, 3], &[1., 2., 3., 4., 5., 6.]),
                ("filters", &[1, 1, 2, 2], &[1., 2., 3., 4.]),
                ("bias", &[1], &[10.]),
                ("grad_output", &[1, 1, 1, 3], &[1., 10., 100.]),
            ],
            &[
                ("output", &[1, 1, 1, 3], &[28., 47., 57.]),
                ("grad_filters", &[1, 1, 2, 2], &[210., 321., 540., 654.]),
                ("grad_input", &[1, 1, 2, 3], &[12., 120., 200., 34., 340., 400.]),
                ("grad_bias", &[1], &[111.]),
            ],
        );
    }

    #[test]
    fn dilation() {
        assert_answers(
            "--dilation 2",
            &[
                ("input", &[1, 1, 3, 3], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]),
                ("filters", &[1, 1, 2, 2], &[1., 2., 3., 4.]),
                ("grad_output", &[1, 1, 1, 1], &[2.]),
            ],
            &[
                ("output", &[1, 1, 1, 1], &[64.]),
                ("grad_filters", &[1, 1, 2, 2], &[2., 6., 14., 18.]),
                ("grad_input", &[1, 1, 3, 3], &[2., 0., 4., 0., 0., 0., 6., 0., 8.]),
                ("grad_bias", &[1], &[2.]),
            ],
        );
    }

    #[test]
    fn groups() {
        assert_answers(
            "--groups 2",
            &[
                ("input", &[1, 2, 1, 1], &[3., 5.]),
                ("filters", &[2, 1, 1, 1], &[10., 100.]),
                ("grad_output", &[1, 2, 1, 1], &[1., 2.]),
            ],
            &[
                ("output", &[1, 2, 1, 1], &[30., 500.]),
                ("grad_filters", &[2, 1, 1, 1], &[3., 10.]),
                ("grad_input", &[1, 2, 1, 1], &[10., 200.]),
                ("grad_bias", &[2], &[1., 2.]),
            ],
        );
    }

    #[test]
    fn same_padding() {
        assert_answers(
            "--padding same",
            &[("input", &[1, 1, 1, 3], &[1., 2., 3.]), ("filters", &[1, 1, 1, 3], &[1., 10., 100.])],
            &[("output", &[1, 1, 1, 3], &[210., 321., 32.])],
        );
    }

    #[test]
    fn channels_come_before_pixels() {
        assert_answers(
            "--padding valid",
            &[
                ("input", &[2, 2, 1, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]),
                ("filters", &[2, 2, 1, 1], &[1., 10., 100., 1000.]),
            ],
            &[("output", &[2, 2, 1, 2], &[31., 42., 3100., 4200., 75., 86., 7500., 8600.])],
        );
    }

    #[test]
    fn tensors_with_other_names_are_refused_with_what_they_may_stand_for() {
        const INPUT: Tensor = ("input", &[1, 1, 1, 1], &[1.]);
        const FILTERS: Tensor = ("filters", &[1, 1, 1, 1], &[1.]);
        let place = Workplace::new();
        for (names, found) in [
            (&["grad_out"][..], "grad_out: did you mean grad_output?"),
            (&["Bias"], "Bias: did you mean bias?"),
            (&["inputs", "filter"], "filter: did you mean filters?; inputs: did you mean input?"),
            (&["y", "grad_outputs"], "grad_outputs: did you mean grad_output?; y"),
        ] {
            let others = names.iter().map(|&name| -> Tensor { (name, &[1, 1, 1, 1], &[1.]) });
            let case: Vec<Tensor> = [INPUT, FILTERS].into_iter().chain(others).collect();
            place.write("case.safetensors", file(&case, Dtype::F32));
            let expected = format!(
                "case.safetensors: expected no tensors but input, filters, bias, grad_output, found {found}\n"
            );
            place.assert_refused("conv case.safetensors --out out --device cpu", 1, &expected);
        }
    }

    /// Padded: the first filter value meets the input at the last of four positions alone, and the padding at the others.
    #[test]
    fn an_infinite_filter_meets_no_padding() {
        let infinite = f32::INFINITY;
        let filters = [infinite, 1., 1., 1., 1., 1., 1., 1., 1.];
        for device in ["cpu", "reference"] {
            assert_answers(
                &format!("--padding 1 --device {device}"),
                &[
                    ("input", &[1, 1, 2, 2], &[1., 2., 3., 4.]),
                    ("filters", &[1, 1, 3, 3], &filters),
                    ("grad_output", &[1, 1, 2, 2], &[1., infinite, 1., 1.]),
                ],
                &[
                    ("output", &[1, 1, 2, 2], &[10., 10., 10., infinite]),
                    (
                        "grad_filters",
                        &[1, 1, 3, 3],
                        &[1., 3., 2., infinite, infinite, 6., infinite, infinite, 4.],
                    ),
                    ("grad_input", &[1, 1, 2, 2], &[infinite, infinite, infinite, infinite]),
                    ("grad_bias", &[1], &[infinite]),
                ],
            );
        }
    }

    #[test]
    fn bad_cases_are_refused() {
        const INPUT: Tensor = ("input", &[1, 2, 4, 4], &[1.; 32]);
        const FILTERS: Tensor = ("filters", &[2, 2, 3, 3], &[1.; 36]);
        let sound = file(&[INPUT, FILTERS], Dtype::F32);
        let with = |tensor: Tensor| file(&[INPUT, FILTERS, tensor], Dtype::F32);
        let filters = |shape: &[usize]| {
            let values = vec![1.; shape.iter().product()];
            file(&[INPUT, ("filters", shape, &values)], Dtype::F32)
        };
        let place = Workplace::new();
        place.write("file", "");
        fs::create_dir(place.path("folder")).unwrap();
        for (case, options, code, culprit) in [
            (&file(&[INPUT], Dtype::F32), "", 1, "case.safetensors: expected a tensor filters, found"),
            (&file(&[FILTERS], Dtype::F32), "", 1, "case.safetensors: expected a tensor input, found"),
            (&file(&[INPUT, FILTERS], Dtype::F64), "", 1, "expected input of f32 with 4 axes, found F64"),
            (&filters(&[2, 2, 9]), "", 1, "expected filters of f32 with 4 axes, found F32 [2, 2, 9]"),
            (&filters(&[2, 3, 1, 1]), "", 2, "filters: expected [K, 2, R, S] for 2 channels in 1 groups"),
            (&filters(&[0, 2, 1, 1]), "", 2, "expected"),
            (&filters(&[2, 2, 5, 5]), "", 2, "spans at most the padded input height of 4"),
            (&with(("bias", &[3], &[0.; 3])), "", 2, "bias: expected [2], found [3]"),
            (&with(("bias", &[1, 2], &[0.; 2])), "", 1, "expected bias of f32 with 1 axes"),
            (&with(("grad_output", &[1, 2, 2, 3], &[0.; 12])), "", 2, "grad_output: expected [1, 2, 2, 2]"),
            (&sound[..sound.len() - 1].to_vec(), "", 1, "case.safetensors: expected a safetensors file"),
            (&b"nonsense".to_vec(), "", 1, "case.safetensors: expected a safetensors file"),
            (&sound, "--groups 3", 2, "groups"),
            (&sound, "--groups 0", 2, "groups"),
            (&sound, "--stride 0", 2, "stride"),
            (&sound, "--stride x", 2, "--stride: expected a number, or height,width, found x"),
            (&sound, "--stride 1,2,3", 2, "--stride: expected a number, or height,width, found 1,2,3"),
            (&sound, "--dilation 9", 2, "dilation 9"),
            (&sound, "--dilation 99999999999999999999", 2, "--dilation: expected a number"),
            (&sound, "--padding all", 2, "--padding: expected a number"),
            (&sound, "--padding 1,2,3", 2, "--padding: expected a number"),
            (&sound, "--padding 4000000000", 2, "padded input"),
            (&sound, "--device 99", 2, "no device \"99\": "),
        ] {
            place.write("case.safetensors", case);
            let device = if options.contains("--device") { "" } else { "--device cpu" };
            let command = format!("conv case.safetensors --out out.safetensors {device} {options}");
            place.assert_refused(&command, code, culprit);
        }
        place.write("case.safetensors", &sound);
        for (case, out, culprit) in [
            ("missing", "out", "cannot read missing: "),
            ("folder", "out", "cannot read folder: "),
            ("case.safetensors", "file/out", "cannot write file/out: "),
            ("case.safetensors", "nowhere/out", "cannot write nowhere/out: "),
            ("case.safetensors", "folder", "cannot write folder: "),
        ] {
            let command = format!("conv {case} --out {out} --device cpu");
            place.assert_refused(&command, 1, culprit);
            // Nothing was computed, or the answers would have been listed.
            assert_eq!(place.run(&command).stdout, "", "{command}");
        }
    }
}

mod verify {
    use super::*;

    #[test]
    fn the_table_and_random_cases_pass_on_the_cpu() {
        let run = Workplace::new().run("verify --device cpu --random 5");
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
        let total = run.stdout.lines().find_map(|line| line.strip_prefix("total")).expect(&run.stdout);
        let counts: Vec<usize> = total.split_whitespace().map(|count| count.parse().unwrap()).collect();
        assert!(counts[0] > 500 && counts[1] == 0 && counts[2] > 20, "{total}");
    }

    #[test]
    fn json_has_one_object_per_verdict_and_the_totals_last() {
        let run = Workplace::new().run("verify --device cpu --only pool2d.forward --json");
        assert_eq!(run.code, 0, "{run:?}");
        let objects = run.json();
        let (totals, verdicts) = objects.split_last().unwrap();
        for status in ["PASSED", "FAILED", "SKIPPED", "MISTRUSTED"] {
            let count = verdicts.iter().filter(|verdict| verdict["status"] == status).count();
            assert_eq!(totals[status], count, "{status}");
        }
        for verdict in verdicts {
            assert!(verdict["op"].as_str().unwrap().ends_with("pool2d.forward"), "{verdict}");
            assert_eq!(verdict["implementation"], "cpu");
            assert_eq!(verdict["error"].is_null(), verdict["status"] == "SKIPPED", "{verdict}");
        }
    }

    #[test]
    fn names_of_nothing_are_refused() {
        let place = Workplace::new();
        for arguments in [
            "--only nothing",
            "--implementation nothing",
            "--only conv2d --implementation nothing",
            "--only advance --random 3 --implementation nothing",
        ] {
            place.assert_refused(&format!("verify --device cpu {arguments}"), 2, "nothing");
        }
    }

    /// Runs the command of a verdict.
    #[cfg(unix)]
    fn repeat(command: &str) -> Run {
        let arguments = command.trim_start().strip_prefix("wgconv ").expect(command);
        let script = format!("'{}' {arguments}", env!("CARGO_BIN_EXE_wgconv"));
        Run::of(Command::new("sh").args(["-c", &script]).env("WGCONV_CACHE", ""))
    }

    #[cfg(unix)]
    #[test]
    fn the_command_of_a_verdict_repeats_only_that_verdict() {
        let run = Workplace::new().run("verify --device cpu --random 12 --seed 3 --json");
        let mut objects = run.json();
        objects.pop();
        let mut repeated = std::collections::BTreeSet::new();
        for verdict in &objects {
            let command = verdict["command"].as_str().unwrap();
            // For each operation, one case of the table and one random case.
            if !repeated.insert((verdict["op"].as_str().unwrap(), command.contains("--random"))) {
                continue;
            }
            let mut again = repeat(&format!("{command} --json")).json();
            again.pop();
            assert!(again.contains(verdict), "{command}: {verdict} is not among {again:?}");
            for other in again {
                for key in ["op", "case", "implementation"] {
                    assert_eq!(other[key], verdict[key], "{command}");
                }
            }
        }
        assert!(repeated.len() > 25, "{repeated:?}");
    }

    /// Among many random windows, some lie entirely in the padding.
    #[cfg(unix)]
    #[test]
    fn mistrusted_answers_are_shown_with_their_command() {
        let run = Workplace::new().run("verify --device cpu --random 300 --only conv2d.forward");
        assert_eq!(run.code, 0, "{run:?}");
        let mut lines = run.stdout.lines().skip_while(|line| !line.starts_with("MISTRUSTED "));
        let (verdict, command) = (lines.next().expect(&run.stdout), lines.next().unwrap());
        let again = repeat(command);
        assert!(again.code == 0 && again.stdout.lines().any(|line| line == verdict), "{command}: {again:?}");
    }
}

#[test]
fn wrong_usage_is_refused_with_help() {
    let place = Workplace::new();
    for (arguments, culprit) in [
        ("", "Usage: wgconv"),
        ("fly", "'fly'"),
        ("train --speed 9", "'--speed'"),
        ("train --epochs 0", "'--epochs <N>'"),
        ("train --epochs many", "'--epochs <N>'"),
        ("train --limit 0", "'--limit <N>'"),
        ("train --threads 0", "'--threads <N>'"),
        ("train --optimizer magic", "'--optimizer <NAME>'"),
        ("evaluate", "<RUN>"),
        ("evaluate run --weights worst", "'--weights <WEIGHTS>'"),
        ("conv case.safetensors", "--out <OUT.safetensors>"),
        ("summary", "<MODEL>"),
    ] {
        let run = place.run(arguments);
        assert!(
            run.code == 2 && run.stderr.contains(culprit) && run.stdout.is_empty(),
            "{arguments}: {run:?}"
        );
    }
    assert!(place.everything().is_empty());
}

#[test]
fn help_names_every_command_and_how_to_start() {
    let place = Workplace::new();
    let help = place.run("--help");
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for command in ["train", "evaluate", "data", "summary", "devices", "conv", "verify"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}");
        assert_eq!(place.run(&format!("{command} --help")).code, 0);
    }
    assert!(help.stdout.contains("wgconv evaluate runs/lenet-1"));
    assert_eq!(place.run("--version").stdout, concat!("wgconv ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// `wgconv ... | head -1` must not end in a panic, nor end a training.
#[test]
fn a_closed_pipe_stops_no_command() {
    let place = Workplace::new();
    files::idx(&place, "data", 0);
    let nobody = || std::io::pipe().unwrap().1;
    for arguments in ["summary lenet", "train --device cpu --data data --model linear --out run"] {
        let run = Run::of(place.command(arguments).stdout(nobody()).stderr(Stdio::piped()));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments}");
    }
    assert!(place.path("run/best.safetensors").is_file());
    for (arguments, code) in [("summary lenet --json", 0), ("summary nothing", 2)] {
        let status = place.command(arguments).stdout(nobody()).stderr(nobody()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_is_lost_is_a_failure() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let run = Run::of(Workplace::new().command("summary lenet").stdout(full).stderr(Stdio::piped()));
    run.assert_error(1, "cannot write standard output: ");
}
