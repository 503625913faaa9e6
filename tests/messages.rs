//! Text from outside reaches a terminal visible, short and on one line, whatever is in it.

#[path = "common/workplace.rs"]
mod workplace;

use std::ffi::OsStr;
use std::fs;

use workplace::{Run, Workplace, files};

/// Clears the screen, breaks the line in two ways, and reverses the order of letters.
const NASTY: &str = "a\u{1b}[2Jb\nc\u{2028}d\u{202e}e\u{9b}f";

/// Its escaped form.
const SHOWN: &str = "a\\u{1b}[2Jb\\nc\\u{2028}d\\u{202e}e\\u{9b}f";

const HEADER: &str = "name,batch,in_channels,in_height,in_width,out_channels,kernel_height,kernel_width,\
                      pad_height,pad_width,stride_height,stride_width\n";

/// Runs the binary with arguments that may contain spaces or control characters.
fn run(place: &Workplace, arguments: &[&str]) -> Run {
    Run::of(place.command("").args(arguments))
}

/// Asserts that all output of the binary is visible, in lines of reasonable length.
#[track_caller]
fn assert_visible(run: &Run) {
    for text in [&run.stdout, &run.stderr] {
        let hidden = |c: char| (c.is_control() && c != '\n') || "\u{2028}\u{202e}".contains(c);
        assert!(!text.contains(hidden), "{run:?}");
        assert!(text.lines().all(|line| line.chars().count() <= 2100), "a line is very long");
    }
}

/// Asserts that the error is one visible line that shows the escaped text.
#[track_caller]
fn assert_shown(run: &Run, code: i32) {
    assert_visible(run);
    run.assert_error(code, SHOWN);
}

fn safetensors(name: &str) -> Vec<u8> {
    use safetensors::tensor::{Dtype, TensorView, serialize};

    serialize([(name, TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap())], None).unwrap()
}

#[test]
fn control_characters_in_names_of_tensors_are_escaped() {
    let place = Workplace::new();
    files::idx(&place, "data", 0);
    place.train("--data data --model linear --epochs 1 --out run");
    for name in [NASTY.to_owned(), "x".repeat(100_000)] {
        let weights = safetensors(&name);
        place.write("case", &weights);
        place.write("run/best.safetensors", &weights);
        for arguments in ["conv case --device cpu --out out", "evaluate run --device cpu"] {
            let run = place.run(arguments);
            assert_visible(&run);
            run.assert_error(1, if name == NASTY { SHOWN } else { "xxx…xxx" });
        }
    }
}

#[cfg(unix)]
#[test]
fn control_characters_in_paths_and_names_of_classes_are_escaped() {
    let place = Workplace::new();
    files::idx(&place, NASTY, 0);
    files::doubling_conv(&place, "case");
    let out = format!("{NASTY}/run");
    let train = run(
        &place,
        &["train", "--device", "cpu", "--model", "linear", "--data", NASTY, "--epochs", "1", "--out", &out],
    );
    assert_visible(&train);
    assert!(train.code == 0 && train.stdout.contains(&format!("\nresults: {SHOWN}/run\n")), "{train:?}");
    assert!(train.stdout.contains(&format!("\ndata: {SHOWN}, 80 training")), "{train:?}");
    assert_shown(&run(&place, &["evaluate", NASTY, "--device", "cpu"]), 1);
    assert_shown(&run(&place, &["train", "--device", "cpu", "--data", "nowhere", "--out", NASTY]), 2);
    assert_shown(&run(&place, &["conv", "case", "--device", "cpu", "--out", NASTY]), 1);
    let conv = run(&place, &["conv", "case", "--device", "cpu", "--out", &format!("{NASTY}/out")]);
    assert_visible(&conv);
    assert!(conv.code == 0 && conv.stdout.contains(&format!("written to {SHOWN}/out")), "{conv:?}");

    for folder in [format!("images/train/{NASTY}"), "images/test/other".into(), format!("odd/new {NASTY}")] {
        fs::create_dir_all(place.path(&folder)).unwrap();
        image::GrayImage::new(2, 2).save(place.path(&folder).join("a.png")).unwrap();
    }
    let classes = place.run("train --device cpu --model linear --data images --out mine");
    assert_visible(&classes);
    assert!(
        classes.code == 0 && classes.stdout.contains("without training images: class \"other\"\n"),
        "{classes:?}"
    );
    let classes = place.run("evaluate mine --device cpu --data odd");
    assert_visible(&classes);
    classes.assert_error(2, "an unknown class \"new ");
}

#[test]
fn control_characters_in_names_of_layers_and_models_are_escaped() {
    let place = Workplace::new();
    // Model files may not contain control characters, and names of layers consist of letters and digits.
    let (nasty, shown) = ("d\u{202e}e\u{2028}f", "d\\u{202e}e\\u{2028}f");
    let long = "x".repeat(70_000);
    for (name, layer, shown) in [(nasty, "flat", shown), (&long, &long, "xxx…xxx")] {
        let [flatten, dense] = [
            format!("type = \"flatten\"; name = \"{layer}\""),
            format!("type = \"dense\"; units = 10; inputs = [\"{layer}\"]"),
        ];
        let layers =
            [&flatten, &dense, "type = \"relu\"", "type = \"add\"; inputs = [\"dense1\", \"relu1\"]"];
        let model = files::model("input = [1, 2, 2]", &layers).replacen("mine", name, 1);
        place.write("mine.toml", model);
        for arguments in ["summary mine.toml", "summary mine.toml --json"] {
            let summary = place.run(arguments);
            let table = if arguments.ends_with("json") { &summary.stderr } else { &summary.stdout };
            assert_eq!(summary.code, 0, "{summary:?}");
            assert!(table.lines().all(|line| line.chars().count() < 250), "{table}");
            assert!(table.contains(&format!("Model: {}", &shown[..3])) && table.contains(shown), "{table}");
            if arguments.ends_with("json") {
                assert_eq!(summary.json()[0]["name"], name, "JSON is exact");
            } else {
                assert_visible(&summary);
            }
        }
    }
}

#[test]
fn control_characters_in_names_of_cases_are_escaped() {
    let place = Workplace::new();
    let nasty = NASTY.replace('\n', "\r");
    let long = "x".repeat(70_000);
    place
        .write("cases.csv", format!("{HEADER}{nasty},1,1,1,1,1,1,1,0,0,1,1\n{long},1,1,1,1,1,1,1,0,0,1,1\n"));
    let bench = "bench --device cpu --budget 0 --pass forward --cases cases.csv";
    let run = place.run(bench);
    assert_visible(&run);
    assert!(run.code == 0 && run.stdout.contains(&SHOWN.replace("\\n", "\\r")), "{run:?}");
    assert!(run.stdout.lines().all(|line| line.chars().count() < 250), "{run:?}");
    let names: Vec<_> =
        place.run(&format!("{bench} --json")).json().iter().map(|row| row["name"].clone()).collect();
    assert!(names.contains(&nasty.as_str().into()) && names.contains(&long.into()), "JSON is exact");

    place.write("cases.csv", format!("{HEADER}a,{nasty},1,1,1,1,1,1,0,0,1,1\n"));
    let run = place.run(bench);
    assert_visible(&run);
    run.assert_error(1, "cases.csv: line 2: expected");
}

#[test]
fn control_characters_in_json_are_escaped() {
    let place = Workplace::new();
    let row = |case: serde_json::Value| {
        let row = serde_json::json!({
            "case": case, "pass": "forward", "ms": 1.0, "program": NASTY, "adapter": "x".repeat(70_000), "backend": NASTY,
        });
        format!("{row}\n")
    };
    let case = serde_json::json!({
        "batch": 1, "in_channels": 1, "in_height": 1, "in_width": 1, "out_channels": 1, "kernel_height": 1,
        "kernel_width": 1, "pad_height": 0, "pad_width": 0, "stride_height": 1, "stride_width": 1,
    });
    let long = format!("{}.json", "x".repeat(200));
    place.write("a.json", row(case.clone()));
    place.write(&long, row(case));
    let compared = place.run(&format!("bench --compare a.json {long}"));
    assert_visible(&compared);
    assert!(compared.code == 0 && compared.stdout.contains(SHOWN), "{compared:?}");

    place.write("a.json", row(serde_json::json!({ NASTY: NASTY })));
    let wrong = place.run("bench --compare a.json a.json");
    assert_visible(&wrong);
    wrong.assert_error(1, "a.json: line 1: expected sizes of a convolution");
}

#[test]
fn control_characters_in_options_are_escaped() {
    let place = Workplace::new();
    files::doubling_conv(&place, "case");
    for arguments in [
        &["conv", "case", "--device", "cpu", "--out", "out", "--stride", NASTY][..],
        &["conv", "case", "--device", "cpu", "--out", "out", "--padding", NASTY],
        &["summary", "lenet", "--input", NASTY],
    ] {
        assert_shown(&run(&place, arguments), 2);
    }
    let long = "x".repeat(100_000);
    for nasty in [NASTY, &long] {
        for arguments in [
            &["summary", nasty][..],
            &["train", "--device", "cpu", "--data", nasty],
            &["train", "--device", nasty],
            &["verify", "--device", "cpu", "--only", nasty],
        ] {
            let run = run(&place, arguments);
            assert_visible(&run);
            run.assert_error(2, "");
        }
        // Lines on usage and advice follow.
        for arguments in [
            &["train", "--epochs", nasty][..],
            &["train", "--optimizer", nasty],
            &["bench", "--suite", nasty],
            &["bench", "--budget", nasty],
            &["evaluate", "run", "--weights", nasty],
            &[nasty],
        ] {
            let run = run(&place, arguments);
            assert_visible(&run);
            assert!(run.code == 2 && run.stdout.is_empty(), "{run:?}");
            assert!(run.stderr.contains(if nasty == NASTY { SHOWN } else { "xxx…xxx" }), "{run:?}");
        }
    }
}

/// What a training advises at its end is run as it stands there.
#[cfg(unix)]
#[test]
fn commands_that_are_advised_can_be_pasted_into_a_shell() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let place = Workplace::new();
    files::idx(&place, "data", 0);
    let shell = |script: &str| Run::of(place.shell("exec bash -c \"$script\"").env("script", script));
    if shell("true").code != 0 {
        return eprintln!("SKIPPED commands_that_are_advised_can_be_pasted_into_a_shell: there is no bash");
    }
    let mut names: Vec<OsString> =
        ["plain", "a run", "it's", "$HOME", "~", "#1", "a;b", "-run", "*", "a\\b", "Größe", NASTY]
            .map(OsString::from)
            .into();
    // Elsewhere names of files are text.
    names.extend(cfg!(target_os = "linux").then(|| OsString::from_vec(b"a\xff'b".into())));
    for name in names {
        let mut out = OsString::from("--out=");
        out.push(&name);
        let mut train = place.command("train --device cpu --data data --model linear --epochs 1");
        let train = Run::of(train.arg(out));
        assert!(train.code == 0, "{train:?}");
        assert_visible(&train);
        let advised = train.stdout.split('`').find_map(|advised| advised.strip_prefix("wgconv "));
        let evaluate = advised.unwrap_or_else(|| panic!("no advice: {train:?}"));
        let run = shell(&format!("\"$wgconv\" {evaluate} --device cpu"));
        assert!(run.code == 0 && run.stdout.contains("test accuracy"), "{evaluate}: {run:?}");
    }
}

/// Arguments that are not text.
#[cfg(unix)]
#[test]
fn arguments_that_are_not_unicode_are_refused_or_taken_as_paths() {
    use std::os::unix::ffi::OsStrExt;

    let place = Workplace::new();
    let odd = OsStr::from_bytes(b"a\xff\x1b[2Jb");
    for arguments in [
        &["summary"][..],
        &["train", "--data"],
        &["train", "--model"],
        &["train", "--device"],
        &["train", "--epochs"],
        &["evaluate"],
        &["conv", "--out", "out"],
        &["verify", "--only"],
        &["bench", "--cases"],
        &["bench", "--suite"],
        &["bench", "--compare", "a.json"],
        &[],
    ] {
        let run = Run::of(place.command("").args(arguments).arg(odd));
        assert_visible(&run);
        assert!(run.code == 1 || run.code == 2, "{run:?}");
    }
    for (arguments, name) in [
        (&["summary"][..], "<MODEL>"),
        (&["train", "--data"], "--data <DATA>"),
        (&["train", "--model"], "--model <MODEL>"),
        (&["train", "--device"], "--device <DEVICE>"),
        (&["train", "--freeze", "a", "--freeze"], "--freeze <PATTERN>"),
        (&["lr-find", "--data"], "--data <DATA>"),
        (&["evaluate", "run", "--data"], "--data <DATA>"),
        (&["verify", "--only"], "--only <TEXT>"),
        (&["conv", "case", "--out", "out", "--stride"], "--stride <STRIDE>"),
    ] {
        let run = Run::of(place.command("").args(arguments).arg(odd));
        run.assert_error(
            2,
            &format!("error: {name}: expected text in UTF-8, found \"a\\xFF\\u{{1b}}[2Jb\"\n"),
        );
    }
    // A path in front of it is not to blame.
    let run = Run::of(place.command("train --out").arg(odd).arg("--model").arg(odd));
    run.assert_error(2, "error: --model <MODEL>: expected text in UTF-8");

    files::doubling_conv(&place, "case");
    let run = Run::of(place.command("conv case --device cpu --out").arg(odd));
    assert_visible(&run);
    assert!(run.code == 0 && fs::metadata(place.path("").join(odd)).unwrap().is_file(), "{run:?}");

    let row = r#"{"case": {"batch": 1, "in_channels": 1, "in_height": 1, "in_width": 1, "out_channels": 1, "kernel_height": 1, "kernel_width": 1, "pad_height": 0, "pad_width": 0, "stride_height": 1, "stride_width": 1}, "pass": "forward", "ms": 1}"#;
    fs::write(place.path("").join(odd), row).unwrap();
    let run = Run::of(place.command("bench --json --compare").args([odd, odd]));
    assert_visible(&run);
    assert!(run.code == 0 && !run.json().is_empty(), "{run:?}");
}
