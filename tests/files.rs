//! Files that the command line writes: where they are written, what they replace, what a killed run leaves.

#[path = "common/workplace.rs"]
mod workplace;

use std::fs;

use workplace::{Workplace, files, tensors};

/// Asserts the answer of `wgconv conv` to [`files::doubling_conv`].
#[track_caller]
fn assert_doubled(place: &Workplace, name: &str) {
    assert_eq!(tensors(&place.path(name))["output"], (vec![1; 4], vec![6.0]));
}

fn too_long() -> String {
    "x".repeat(300)
}

mod run_folders {
    use super::*;

    #[test]
    fn names_of_models_do_not_leave_the_folder_of_runs() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        let long = "x".repeat(70_000);
        for (name, folder) in [
            ("../../escaped", "escaped-1"),
            ("/abs/path", "abs-path-1"),
            ("..", "unnamed-1"),
            ("\u{7f51}\u{7edc}", "unnamed-2"),
            ("con", "con-1"),
            ("~user/$HOME", "user-home-1"),
            ("My Net", "my-net-1"),
            ("my_net", "my-net-2"),
            (&long, &format!("{}-1", "x".repeat(64))),
        ] {
            let layers = ["type = \"flatten\"", "type = \"dense\"; units = 10"];
            let model = files::model("", &layers).replacen("mine", name, 1);
            place.write("mine.toml", model);
            let run = place.train("--data data --model mine.toml --epochs 1");
            assert!(
                place.path("runs").join(folder).join("best.safetensors").is_file(),
                "{name:.99}: {run:?}"
            );
        }
        let mut names: Vec<_> =
            fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["data", "mine.toml", "runs"]);
    }

    #[test]
    fn impossible_folders_are_refused_before_the_data_are_loaded() {
        let place = Workplace::new();
        let (name, deep) = (too_long(), "d/".repeat(2050));
        let mut outs = vec![
            (name.clone(), 1, "cannot create xxx"),
            (format!("new/{name}/run"), 1, "cannot create new/xxx"),
            (format!("{deep}run"), 1, "cannot create d/"),
            ("nowhere/..".into(), 2, "output folder: expected a path that ends in a name"),
        ];
        if cfg!(unix) {
            #[cfg(unix)]
            std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
            outs.push(("dangling".into(), 2, "output folder: expected a path that does not exist yet"));
            outs.push(("dangling/run".into(), 1, "cannot create dangling/run: "));
        }
        for (out, code, culprit) in outs {
            place.assert_refused(&format!("train --device cpu --data nowhere --out {out}"), code, culprit);
        }
        place.write("runs", "a file where the default folder goes");
        place.assert_refused("train --device cpu --data nowhere", 1, "cannot create runs: ");
    }

    #[test]
    fn impossible_numbers_in_a_configuration_are_refused() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        place.train("--data data --model linear --epochs 1 --limit 40 --batch-size 20 --out run");
        let sound = place.read("run/config.toml");
        let line = |name: &str| sound.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
        for (old, values, culprit) in [
            (
                line("deviation"),
                &["[0.0]", "[inf]", "[-inf]", "[-1.0]", "[nan]", "[1e-60]"][..],
                "deviation of channel 0",
            ),
            (line("mean"), &["[inf]", "[-inf]", "[nan]", "[1e60]"], "mean of channel 0"),
            (line("epochs"), &["0"], "epochs"),
            (line("limit"), &["0"], "limit"),
            (line("image_size"), &["[0, 8]", "[8, 0]", "[8, 5000]"], "image size"),
            (line("channels"), &["0", "5000"], "size of an image"),
            (line("batch_size"), &["0"], "batch size"),
            (line("learning_rate"), &["0.0", "-1.0", "inf", "nan"], "learning rate"),
            (line("momentum"), &["1.0", "-0.5", "inf", "nan"], "momentum"),
            (line("weight_decay"), &["-1.0", "inf", "nan"], "weight_decay"),
        ] {
            let name = old.split(' ').next().unwrap();
            for value in values {
                place.write("run/config.toml", sound.replace(old, &format!("{name} = {value}")));
                place.assert_refused("evaluate run --device cpu", 1, culprit);
                place.assert_refused(
                    "evaluate run --device cpu",
                    1,
                    "error: run/config.toml: expected a sound ",
                );
            }
            for value in ["-3", "\"many\"", "99999999999999999999999"] {
                place.write("run/config.toml", sound.replace(old, &format!("{name} = {value}")));
                let run = place.run("evaluate run --device cpu");
                run.assert_error(1, "error: run/config.toml: expected a ");
            }
        }
        place.write("run/config.toml", sound);
        assert_eq!(place.run("evaluate run --device cpu").code, 0);
    }

    #[test]
    fn saving_refuses_weights_that_are_not_finite_and_removes_leftovers() {
        let place = Workplace::new();
        place.write("cache/.wgconv-abcdef.tmp", "half a fi");
        wgconv::files::CacheFolder::new(place.path("cache")).write("a", b"whole").unwrap();
        assert!(!place.path("cache/.wgconv-abcdef.tmp").exists());

        files::idx(&place, "data", 0);
        place.train("--data data --model linear --epochs 1 --out run");
        place.write("run/.wgconv-abcdef.tmp", "half a fi");
        let (run, _, network) = wgconv::train::RunFolder::open(&place.path("run")).unwrap();
        let weights = run.load("last", &network).unwrap();
        assert!(place.path("run/.wgconv-abcdef.tmp").exists(), "reading changes nothing");
        let sound = fs::read(place.path("run/last.safetensors")).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut spoilt = weights.clone();
            spoilt.get_mut("dense1.bias").unwrap().data_mut()[3] = bad;
            let message = run.save("last", &network, &spoilt).unwrap_err().to_string();
            assert!(
                message.ends_with("not saved: first seen in dense1.bias, 1 of 10 values not finite"),
                "{message}"
            );
        }
        assert_eq!(fs::read(place.path("run/last.safetensors")).unwrap(), sound);

        run.save("last", &network, &weights).unwrap();
        assert!(!place.path("run/.wgconv-abcdef.tmp").exists());
    }

    #[test]
    fn a_folder_may_end_with_a_slash_or_a_dot() {
        let place = Workplace::new();
        files::idx(&place, "data", 0);
        for (out, folder) in [("a/", "a"), ("b/c/", "b/c"), ("d/.", "d")] {
            place.train(&format!("--data data --model linear --epochs 1 --out {out}"));
            assert!(place.path(folder).join("last.safetensors").is_file());
        }
    }
}

#[cfg(unix)]
mod conv {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn place() -> Workplace {
        let place = Workplace::new();
        files::doubling_conv(&place, "case");
        place
    }

    #[track_caller]
    fn convolve(place: &Workplace, out: &str) {
        let run = place.run(&format!("conv case --device cpu --out {out}"));
        assert_eq!(run.code, 0, "{run:?}");
    }

    #[test]
    fn permissions_links_and_devices_stay() {
        let place = place();
        place.write("old", "");
        fs::set_permissions(place.path("old"), fs::Permissions::from_mode(0o604)).unwrap();
        symlink("old", place.path("link")).unwrap();
        convolve(&place, "link");
        assert!(place.path("link").is_symlink());
        assert_eq!(fs::metadata(place.path("old")).unwrap().permissions().mode() & 0o7777, 0o604);
        assert_doubled(&place, "old");
        symlink("/dev/null", place.path("null")).unwrap();
        convolve(&place, "null");
        assert!(place.path("null").is_symlink());
    }

    #[test]
    fn a_new_file_gets_what_the_umask_leaves() {
        let place = place();
        for (umask, mode) in [("027", 0o640), ("002", 0o664), ("077", 0o600)] {
            let script = format!("umask {umask}; exec \"$wgconv\" conv case --device cpu --out {umask}");
            assert!(place.shell(&script).output().unwrap().status.success());
            assert_eq!(fs::metadata(place.path(umask)).unwrap().permissions().mode() & 0o7777, mode);
            assert_doubled(&place, umask);
        }
    }

    #[test]
    fn standard_output_takes_the_tensors_and_nothing_else() {
        let place = place();
        for script in [
            "\"$wgconv\" conv case --device cpu --out /dev/stdout | cat > out",
            "\"$wgconv\" conv case --device cpu --out /dev/stdout > out",
            "\"$wgconv\" conv case --device cpu --out out > out",
            "mkfifo pipe; cat pipe > out & \"$wgconv\" conv case --device cpu --out pipe > text; wait",
        ] {
            assert!(place.shell(script).output().unwrap().status.success(), "{script}");
            assert_doubled(&place, "out");
            fs::remove_file(place.path("out")).unwrap();
        }
        let run = place
            .shell("\"$wgconv\" conv case --device cpu --json --out /dev/stdout | cat")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), "");
        assert!(String::from_utf8(run.stderr).unwrap().starts_with("error: --out: expected "));
    }

    #[test]
    fn impossible_files_are_refused_before_anything_is_computed() {
        let place = place();
        symlink("nowhere", place.path("dangling")).unwrap();
        for (out, culprit) in [
            (too_long().as_str(), "cannot write xxx"),
            ("dangling", "cannot write dangling: a symbolic link to nowhere, where nothing is"),
            ("nowhere/..", "cannot write nowhere/..: the path does not end in a name"),
            ("new/", "cannot write new/: the path does not end in a name"),
        ] {
            let command = format!("conv case --device cpu --out {out}");
            place.assert_refused(&command, 1, culprit);
            assert_eq!(place.run(&command).stdout, "", "{command}");
        }
    }

    #[test]
    fn remains_of_a_killed_process_are_removed() {
        let place = place();
        place.write(".wgconv-abcdef.tmp", "half a fi");
        place.write(".wgconv-notes", "somebody's");
        convolve(&place, "out");
        assert!(!place.path(".wgconv-abcdef.tmp").exists());
        assert!(place.path(".wgconv-notes").exists());
    }
}
