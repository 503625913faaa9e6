//! Lists of convolutions, comparisons of results, and `wgconv bench`; no test asserts a speed.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wgconv::bench::{ConvCase, Pass, SUITES, compare, named_apart, read_cases, suite};

const HEADER: &str = "batch,in_channels,in_height,in_width,out_channels,kernel_height,kernel_width,\
                      pad_height,pad_width,stride_height,stride_width";

/// A folder with one file in it.
fn file(content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, content).unwrap();
    (folder, path)
}

#[test]
fn a_file_of_cases_is_read_by_its_column_names() {
    let content = format!("{HEADER}\r\n4,1,161,700,32,5,20,0,0,2,2\r\n\r\n8,64,56,56,64,3,3,1,1,1,1\r\n");
    let (_folder, path) = file(&content);
    let cases = read_cases(&path).unwrap();
    assert_eq!(cases[0].name, "4x1x161x700 k32 5x20 s2");
    assert_eq!((cases[0].geometry.height.output, cases[0].geometry.width.output), (79, 341));
    assert_eq!(cases[1].name, "8x64x56x56 k64 3x3 p1");

    // Another order, every possible column, and a byte order mark.
    let (_folder, path) = file(
        "\u{feff}name, groups, dilation_width, dilation_height, stride_width, stride_height, pad_width, pad_height, \
         kernel_width, kernel_height, out_channels, in_width, in_height, in_channels, batch\n\
         mine, 2, 3, 2, 1, 2, 4, 1, 5, 3, 6, 30, 20, 4, 7\n",
    );
    let cases = read_cases(&path).unwrap();
    assert_eq!((cases.len(), cases[0].name.as_str()), (1, "mine"));
    assert_eq!(cases[0].sizes.to_string(), "7x4x20x30 k6 3x5 p1,4 s2,1 d2,3 g2");
    let geometry = cases[0].geometry;
    assert_eq!((geometry.batch_size, geometry.in_channels, geometry.out_channels), (7, 4, 6));
    assert_eq!((geometry.height.stride, geometry.width.dilation, geometry.groups), (2, 3, 2));

    let renamed = cases[0].clone().with_batch_size(1).unwrap();
    assert_eq!((renamed.name.as_str(), renamed.geometry.batch_size), ("mine", 1));
}

#[test]
fn a_bad_file_of_cases_is_refused_with_its_line() {
    let good = "4,1,16,16,32,5,5,0,0,2,2";
    let files = [
        (String::new(), "expected a line of column names"),
        (format!("{HEADER}\n"), "expected one line per convolution"),
        (format!("{HEADER}\n{good}\n4,1\n"), "line 3: expected 11 values, one per column, found 2"),
        (format!("{HEADER}\n{good},1\n"), "line 2: expected 11 values, one per column, found 12"),
        (format!("{HEADER}\n{good}\n4,1,16,16,32,5,five,0,0,2,2\n"), "found kernel_width \"five\""),
        (format!("{HEADER}\n-4,1,16,16,32,5,5,0,0,2,2\n"), "found batch \"-4\""),
        (format!("{HEADER}\n4,1,16,16,32,5,5,0,0,0,2\n"), "stride height from 1"),
        (format!("{HEADER}\n4,1,3,3,32,5,5,0,0,2,2\n"), "line 2: expected sizes of a convolution"),
        (format!("{HEADER}\n{},1,9,9,9,1,1,0,0,1,1\n", u64::MAX), "line 2"),
        (format!("{HEADER}\n{}0,1,9,9,9,1,1,0,0,1,1\n", u64::MAX), "line 2"),
        (format!("{HEADER}\n100000,1000,100,100,9,1,1,0,0,1,1\n"), "fewer than 2^31 elements"),
        (format!("{HEADER},groups\n{good},3\n"), "groups that divide"),
        (format!("{HEADER},batch\n{good},3\n"), "columns that differ"),
        (format!("{HEADER},dilatoin_width\n{good},3\n"), "dilatoin_width"),
        (format!("{}\n1,2\n", &HEADER[..17]), "missing field"),
    ];
    for (content, culprit) in files {
        let (_folder, path) = file(&content);
        let error = read_cases(&path).expect_err(culprit).to_string();
        assert!(
            error.contains(culprit) && error.lines().count() == 1,
            "expected {culprit:?}, found {error:?}"
        );
    }
}

#[test]
fn suites_build_and_have_names_that_differ() {
    for name in SUITES {
        let cases = named_apart(suite(name).unwrap());
        let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len(), "{name}");
        assert!(cases.iter().all(|case| case.geometry.flops() > 0));
    }
    let small: Vec<String> = suite("small").unwrap().into_iter().map(|case| case.name).collect();
    assert_eq!(small.len(), 6);
    assert_eq!(small[0], "16x64x28x28 k64 3x3 p1");
    assert_eq!(small[3], "8x3x64x64 k32 7x7 p3 s2");
    let resnet50 = suite("resnet50").unwrap();
    let sizes: HashSet<_> = resnet50.iter().map(|case| case.sizes).collect();
    assert_eq!((resnet50.len(), sizes.len()), (23, 23));
    assert!(suite("large").is_err());
}

#[test]
fn deepbench_is_all_there() {
    let cases = suite("deepbench").unwrap();
    assert_eq!(cases.len(), 94);
    let flops: u64 = cases.iter().map(|case| case.geometry.flops()).sum();
    assert_eq!(flops, 562_504_360_960);
    let sizes: HashSet<_> = cases.iter().map(|case| case.sizes).collect();
    assert_eq!(sizes.len(), 90);
    assert_eq!(cases[0].name, "4x1x161x700 k32 5x20 s2");
}

#[test]
fn a_repeated_name_gets_a_number() {
    let sizes = suite("small").unwrap()[0].sizes;
    let given = ["a", "b", "a", "a #2", "a"];
    let cases = given.map(|name| ConvCase::new(sizes).unwrap().named(name));
    let names: Vec<String> = named_apart(cases.to_vec()).into_iter().map(|case| case.name).collect();
    assert_eq!(names, ["a", "b", "a #2", "a #2 #2", "a #3"]);
}

/// A row as written by a program that prints the columns of a CSV file as text.
fn foreign(batch: usize, pass: &str, ms: f64) -> String {
    let names = HEADER.split(',').map(str::trim);
    let values = [batch, 1, 9, 9, 8, 3, 3, 1, 1, 1, 1];
    let columns: Vec<String> =
        names.zip(values).map(|(name, value)| format!("\"{name}\": \"{value}\"")).collect();
    format!("{{\"case\": {{{}}}, \"pass\": \"{pass}\", \"ms\": {ms}, \"gflops\": 1}}\n", columns.join(", "))
}

/// The same row as we write it.
fn ours(batch: usize, pass: &str, ms: f64) -> String {
    format!(
        "{{\"name\":\"any\",\"case\":{{\"batch\":{batch},\"in_channels\":1,\"in_height\":9,\"in_width\":9,\
         \"out_channels\":8,\"kernel_height\":3,\"kernel_width\":3,\"pad_height\":1,\"pad_width\":1,\
         \"stride_height\":1,\"stride_width\":1,\"dilation_height\":1,\"dilation_width\":1,\"groups\":1}},\
         \"pass\":\"{pass}\",\"ms\":{ms}}}\n"
    )
}

#[test]
fn a_comparison_pairs_the_same_work_of_different_programs() {
    let a = [
        "{\"ceilings\":{\"gflops\":100}}\n".into(),
        ours(1, "forward", 2.0),
        ours(2, "forward", 1.0),
        ours(2, "forward", 4.0), // another implementation, slower
        ours(3, "forward", 1.0), // only here
        ours(1, "grad_input", 8.0),
    ];
    let b = [
        "{\"torch\": \"2.0\", \"device\": \"cpu\"}\n".into(),
        foreign(2, "forward", 18.0),
        foreign(1, "forward", 4.0),
        foreign(1, "grad_input", 4.0),
        foreign(1, "grad_filters", 4.0), // only here
        foreign(4, "forward", 4.0),      // only here
    ];
    let ((_a, first), (_b, second)) = (file(&a.concat()), file(&b.concat()));
    let comparison = compare(&[&first, &second]).unwrap();
    let found: Vec<_> = comparison
        .work
        .iter()
        .map(|work| (work.sizes.batch_size, work.pass, work.ratio(1).unwrap(), work.ratio(0).unwrap()))
        .collect();
    assert_eq!(
        found,
        [(1, Pass::Forward, 2.0, 1.0), (2, Pass::Forward, 18.0, 1.0), (1, Pass::GradInput, 0.5, 1.0)]
    );
    let unmatched: Vec<usize> = comparison.files.iter().map(|file| file.unmatched).collect();
    assert_eq!(unmatched, [1, 2]);
    // Both files are called `file`.
    let names: Vec<&str> = comparison.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
    // 2*N*K*P*Q*C*R*S in 2 milliseconds.
    let gflops = comparison.work[0].gflops(0).unwrap();
    assert!((gflops / (2.0 * 8.0 * 81.0 * 9.0 / 2e6) - 1.0).abs() < 1e-12, "{gflops}");
    // The square root of 2 * 18 is 6.
    assert_eq!(comparison.passes().collect::<Vec<_>>(), [Pass::Forward, Pass::GradInput]);
    let (mean, count) = comparison.geometric_mean(Pass::Forward, 1).unwrap();
    assert!((mean - 6.0).abs() < 1e-12 && count == 2, "{mean}");
    assert_eq!(comparison.geometric_mean(Pass::GradInput, 1), Some((0.5, 1)));
    assert_eq!(comparison.geometric_mean(Pass::GradFilters, 1), None);

    let back = compare(&[&second, &first]).unwrap();
    assert_eq!(back.work.iter().map(|work| work.ratio(1).unwrap()).product::<f64>(), 1.0 / 18.0);
}

#[test]
fn three_files_are_compared_with_the_first_and_need_not_have_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let about = |row: String, about: &str| row.replacen('{', &format!("{{{about},"), 1);
    let content = [
        ("ours", ours(1, "forward", 2.0) + &ours(2, "forward", 1.0) + &ours(3, "forward", 5.0)),
        (
            "burn",
            about(ours(2, "forward", 8.0), "\"program\":\"burn\",\"version\":\"0.22\",\"warm_cache\":false"),
        ),
        (
            "torch",
            about(
                foreign(1, "forward", 1.0),
                "\"adapter\":\"H200\",\"backend\":\"cuda\",\"warm_cache\":true",
            ) + &foreign(2, "forward", 4.0)
                + &foreign(4, "forward", 4.0),
        ),
    ];
    let paths: Vec<PathBuf> = content
        .iter()
        .map(|(name, rows)| {
            let path = folder.path().join(format!("{name}.jsonl"));
            fs::write(&path, rows).unwrap();
            path
        })
        .collect();
    let comparison = compare(&paths).unwrap();
    let found: Vec<_> =
        comparison.work.iter().map(|work| (work.sizes.batch_size, work.milliseconds.clone())).collect();
    assert_eq!(found, [(1, vec![Some(2.0), None, Some(1.0)]), (2, vec![Some(1.0), Some(8.0), Some(4.0)])]);
    let files: Vec<_> = comparison
        .files
        .iter()
        .map(|file| (&*file.name, &*file.about, file.warm_cache, file.unmatched))
        .collect();
    assert_eq!(
        files,
        [
            ("ours", "", None, 1),
            ("burn", "burn 0.22", Some(false), 0),
            ("torch", "on H200 (cuda)", Some(true), 1)
        ]
    );
    let (mean, count) = comparison.geometric_mean(Pass::Forward, 1).unwrap();
    assert!((mean - 8.0).abs() < 1e-12 && count == 1);
    let (mean, count) = comparison.geometric_mean(Pass::Forward, 2).unwrap();
    // The square root of 1/2 * 4.
    assert!((mean - 2f64.sqrt()).abs() < 1e-12 && count == 2);

    let arguments: Vec<&str> =
        ["--compare"].into_iter().chain(paths.iter().map(|path| path.to_str().unwrap())).collect();
    let (code, stdout, stderr) = bench(&arguments);
    assert_eq!(code, 0);
    let heading = stdout.lines().find(|line| line.starts_with("case")).unwrap();
    for column in ["ours ms", "burn ms", "torch ms", "torch GFLOP/s", "burn/ours", "torch/ours"] {
        assert!(heading.contains(column), "{stdout}");
    }
    let row = stdout.lines().find(|line| line.starts_with("1x1x9x9")).unwrap();
    // A dash for the milliseconds, the GFLOP/s and the ratio, which Burn does not have.
    assert_eq!(row.split_whitespace().filter(|&cell| cell == "-").count(), 3, "{stdout}");
    assert!(
        stdout.contains("   8.00 burn/ours, cases: 1") && stdout.contains("   1.41 torch/ours, cases: 2")
    );
    assert!(stdout.contains("left out, rows without a match: 1 of ours, 1 of torch"), "{stdout}");
    assert!(stderr.contains("not like for like: only torch"), "{stderr}");
}

#[test]
fn files_that_cannot_be_compared_are_refused_with_their_line() {
    let good = ours(1, "forward", 1.0);
    let bad = [
        (String::new(), "in common"),
        (ours(1, "grad_input", 1.0), "in common"),
        (format!("{good}not json\n"), "line 2: expected a JSON object"),
        (format!("{good}{}", ours(1, "backward", 1.0)), "line 2: expected a pass"),
        (ours(1, "forward", 0.0), "line 1: expected ms above zero, found 0"),
        (good.replace("\"ms\":1", "\"ms\":\"fast\""), "found \"fast\""),
        (good.replace("\"batch\":1", "\"batch\":-1"), "line 1: expected sizes of a convolution"),
        (good.replace("\"batch\":1,", ""), "missing field `batch`"),
        ("{\"case\":3}\n".into(), "an object of sizes, found 3"),
    ];
    let (_a, first) = file(&good);
    for (content, culprit) in bad {
        let (_b, second) = file(&content);
        let error = compare(&[&first, &second]).expect_err(culprit).to_string();
        assert!(
            error.contains(culprit) && error.lines().count() == 1,
            "expected {culprit:?}, found {error:?}"
        );
    }
}

/// Exit code, stdout and stderr of `wgconv bench`.
fn bench(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wgconv"))
        .arg("bench")
        .args(arguments)
        // Nothing may be left in the cache folder of the user who runs the tests.
        .env("WGCONV_CACHE", "")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// A tiny convolution on the CPU, with all of MIOpenDriver's flags.
const TINY: &str =
    "-n 2 -c 4 -H 9 -W 8 -k 6 -y 3 -x 2 -p 1 -q 0 -u 2 -v 1 -l 1 -j 2 -g 2 --device cpu --budget 0.001";

#[test]
fn a_row_says_what_was_measured_and_where() {
    let (code, stdout, _) =
        bench(&[TINY, "--json --verify"].join(" ").split_whitespace().collect::<Vec<_>>());
    assert_eq!(code, 0);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["ceilings"]["gflops"].as_f64().unwrap() > 0.0);
    let rows: Vec<&Value> = lines.iter().filter(|line| line.get("case").is_some()).collect();
    let passes: Vec<&str> = rows.iter().map(|row| row["pass"].as_str().unwrap()).collect();
    assert_eq!(passes, ["forward", "grad_filters", "grad_input"]);
    for row in &rows {
        assert_eq!(row["name"], "2x4x9x8 k6 3x2 p1,0 s2,1 d1,2 g2");
        assert_eq!((&row["case"]["batch"], &row["case"]["dilation_width"]), (&2.into(), &2.into()));
        assert!(["direct", "patches"].contains(&row["implementation"].as_str().unwrap()), "{row}");
        assert_eq!(row["status"].as_str(), Some("PASSED"));
        assert_eq!((row["adapter"].as_str(), row["backend"].as_str()), (Some("cpu"), Some("cpu")));
        assert_eq!((&row["dtype"], &row["version"]), (&"f32".into(), &env!("CARGO_PKG_VERSION").into()));
        assert_eq!((&row["program"], &row["warm_cache"]), (&"wgconv".into(), &false.into()));
        assert_commit(&row["commit"]);
        assert!(row["threads"].as_u64().unwrap() >= 1);
        let number = |name: &str| row[name].as_f64().filter(|&number| number > 0.0).expect(name);
        // 2*N*K*P*Q*(C/groups)*R*S for an output of 5x6.
        let flops = 2.0 * 2.0 * 6.0 * 5.0 * 6.0 * 2.0 * 3.0 * 2.0;
        assert!((number("gflops") * number("ms") * 1e6 / flops - 1.0).abs() < 1e-9);
        // Input 2x9x8x4, filters 6x3x2x2, output 2x5x6x6.
        assert!((number("gigabytes_per_s") * number("ms") * 1e6 / 4.0 - 1008.0).abs() < 1e-6);
        let quartiles = &row["ms_quartiles"];
        assert!(quartiles[0].as_f64() <= row["ms"].as_f64() && row["ms"].as_f64() <= quartiles[1].as_f64());
        assert!(number("share_of_roofline").is_finite());
    }
    let summaries = lines.iter().filter(|line| line.get("summary").is_some()).count();
    assert_eq!((summaries, lines.len()), (3, 7));
}

/// The commit of the checkout in which this was built, possibly with changes; null without git.
fn assert_commit(commit: &Value) {
    let git = Command::new("git").args(["rev-parse", "--show-prefix"]).output();
    if git.is_ok_and(|output| output.status.success() && output.stdout.trim_ascii().is_empty()) {
        let commit = commit.as_str().expect("a commit");
        let hash = commit.strip_suffix("-dirty").unwrap_or(commit);
        assert!(hash.len() >= 12 && hash.chars().all(|digit| digit.is_ascii_hexdigit()), "{commit}");
    } else {
        assert!(commit.is_null(), "{commit}");
    }
}

#[test]
fn inputs_rotate_unless_a_warm_cache_is_asked_for() {
    // Input 1x64x64x64 and filters 8x1x1x64: a little over 1 MiB; the cache is taken to be 128 MiB.
    let case =
        "-n 1 -c 64 -H 64 -W 64 -k 8 -y 1 -x 1 --pass forward --device cpu --budget 0.001 --json --verify";
    let copies = |option: &str| {
        let arguments = [case, option].join(" ");
        let (code, stdout, _) = bench(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(code, 0);
        let rows = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let row = rows.into_iter().find(|row| row.get("case").is_some()).unwrap();
        assert_eq!((&row["status"], &row["warm_cache"]), (&"PASSED".into(), &(!option.is_empty()).into()));
        row["input_copies"].as_u64().unwrap()
    };
    assert_eq!((copies(""), copies("--warm-cache")), (128, 1));
}

#[test]
fn a_row_says_who_chose_the_implementation_and_by_which_clock() {
    let Some(adapter) = wgconv::gpu::adapters().into_iter().next() else { return };
    let op = Pass::Forward.op(suite("small").unwrap()[1].clone().with_batch_size(1).unwrap().geometry);
    let guess = op.implementations(adapter.profile())[0].name;
    let convolution = "-n 1 -c 1 -H 28 -W 28 -k 16 -y 5 -x 5 -p 2 -q 2 --budget 0.001 --json";
    let rows = |more: &str| -> Vec<(String, String)> {
        let arguments = format!("{convolution} {more}");
        let (code, stdout, stderr) = bench(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(code, 0, "{stderr}");
        let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let rows: Vec<Value> = lines.filter(|line| line.get("case").is_some()).collect();
        for row in &rows {
            let clock = row["timed_by"].as_str().unwrap();
            assert!(["gpu timestamps", "host clock"].contains(&clock), "{row}");
            assert!(row["ms"].as_f64().unwrap() > 0.0, "{row}");
        }
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_string();
        rows.iter().map(|row| (text(row, "chosen_by"), text(row, "implementation"))).collect()
    };
    let row = |by: &str, name: &str| (by.to_string(), name.to_string());
    assert_eq!(rows("--device 0 --pass forward --no-tune"), [row("rules", guess)]);
    assert_eq!(rows("--device 0 --pass forward --implementation direct"), [row("flag", "direct")]);
    let all = rows("--device 0 --pass forward --all-implementations");
    assert!(all.len() > 1 && all.iter().all(|(by, _)| by == "flag"), "{all:?}");
    // On a busy machine, the time may not suffice for all of them.
    let tuned = rows("--device 0");
    assert!(tuned.len() == 3 && tuned.iter().any(|(by, _)| by == "tuning"), "{tuned:?}");
    assert_eq!(rows("--device cpu --pass forward"), [row("rules", "direct")]);
}

#[test]
fn a_table_ends_with_the_geometric_means() {
    let (code, stdout, _) =
        bench(&[TINY, "--pass grad-filters"].join(" ").split_whitespace().collect::<Vec<_>>());
    assert_eq!(code, 0);
    assert!(stdout.contains("ceilings: ") && stdout.contains("GFLOP/s"), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.contains(" grad_filters ")).count(), 1, "{stdout}");
    let last = stdout.lines().last().unwrap();
    assert!(last.starts_with("grad_filters ") && last.contains("ms in all"), "{stdout}");
    assert!(!stdout.contains("forward"), "{stdout}");
}

#[test]
fn a_convolution_that_is_listed_twice_counts_twice() {
    let row = "2,1,8,8,8,3,3,0,0,1,1\n";
    let (_folder, path) = file(&format!("{HEADER}\n{row}{row}"));
    let arguments =
        "--device cpu --budget 0.001 --batch 1 --pass forward --json --all-implementations --cases";
    let arguments: Vec<&str> = arguments.split_whitespace().chain(path.to_str()).collect();
    let (code, stdout, _) = bench(&arguments);
    assert_eq!(code, 0);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [_, first, second, summary] = lines.as_slice() else { panic!("{stdout}") };
    assert_eq!((&first["case"]["batch"], &summary["convolutions"]), (&1.into(), &2.into()));
    let total = first["ms"].as_f64().unwrap() + second["ms"].as_f64().unwrap();
    assert!((summary["total_ms"].as_f64().unwrap() / total - 1.0).abs() < 1e-9);
}

#[test]
fn results_are_compared_from_the_command_line() {
    let ((_a, first), (_b, second)) = (file(&ours(1, "forward", 2.0)), file(&foreign(1, "forward", 3.0)));
    let paths = [first.to_str().unwrap(), second.to_str().unwrap()];
    let (code, stdout, stderr) = bench(&["--compare", paths[0], paths[1]]);
    assert_eq!(code, 0);
    assert!(stdout.contains("1x1x9x9 k8 3x3 p1") && stdout.contains("1.50"), "{stdout}");
    assert_eq!(stderr, "");
    let (_, stdout, _) = bench(&["--json", "--compare", paths[0], paths[1]]);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [a, b, row, summary] = lines.as_slice() else { panic!("{stdout}") };
    assert_eq!((&a["file"], &b["file"]), (&"A".into(), &"B".into()));
    assert_eq!(
        (&row["ms"]["A"], &row["ms"]["B"], &row["ratio"]["B"]),
        (&2.0.into(), &3.0.into(), &1.5.into())
    );
    assert_eq!((&summary["summary"], &summary["geometric_mean_ratio"]), (&"forward".into(), &1.5.into()));
}

#[test]
fn wrong_use_is_refused_in_one_line() {
    let refused = [
        ("--suite small -n 3", "no --in-channels, "),
        ("-n 2 -c 4 -H 9 -W 8 -k 6 -y 3", "no --kernel-width"),
        (&format!("--suite small {TINY}"), "found several"),
        ("--suite small --cases missing.csv", "found several"),
        (&format!("{TINY} --batch 0"), "batch_size of at least 1"),
        (
            &format!("{TINY} --implementation fastest"),
            "--implementation: expected direct, patches, found fastest",
        ),
        ("-n 2 -c 4 -H 1 -W 1 -k 6 -y 3 -x 3", "padded input height"),
        ("--device reference", "--device"),
    ];
    for (arguments, culprit) in refused {
        let (code, stdout, stderr) = bench(&arguments.split_whitespace().collect::<Vec<_>>());
        let line = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(code == 2 && line.contains(culprit), "{arguments}: {code} {stderr}");
        assert!(!stdout.contains("GFLOP/s"), "{arguments}: {stdout}");
    }
    for arguments in ["--suite large", "--budget -1", "--budget nan", "--pass backward", "--compare one.json"]
    {
        let (code, ..) = bench(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(code, 2, "{arguments}");
    }
    let (code, _, stderr) = bench(&["--cases", "missing.csv"]);
    assert!(code == 1 && stderr.contains("missing.csv"), "{stderr}");
}
