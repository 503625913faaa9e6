//! Input that is too large is refused in one line, before memory or time is spent on it.

mod common;
#[path = "common/workplace.rs"]
mod workplace;

use std::fs;
use std::process::Command;

use wgconv::bench::{named_apart, suite};
use wgconv::gpu::ShaderChecks;
use wgconv::plan::Executor;

use workplace::{Run, Workplace};

mod sizes {
    use super::*;

    /// Two pools and a convolution over the longest possible image.
    const LONGEST: &str = r#"
name = "longest"
input = [1, 1, 2147483647]
[[layers]]
type = "max_pool"
kernel_size = 1
[[layers]]
type = "average_pool"
kernel_size = 1
[[layers]]
type = "conv2d"
filters = 1
kernel_size = 1
stride = [1, 2147483647]
dilation = [1, 2147483646]
[[layers]]
type = "flatten"
"#;

    #[test]
    fn the_longest_axes_are_summarised_at_once() {
        let workplace = Workplace::new();
        workplace.write("longest.toml", LONGEST);
        let run = workplace.run("summary longest.toml");
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.contains("pool2 (average_pool)  (1, 2147483647, 1)"), "{run:?}");
    }

    #[test]
    fn cases_are_drawn_up_to_a_number() {
        let run = Workplace::new().run("verify --device cpu --random 4000000000");
        assert!(run.code == 2 && run.stderr.contains("4000000000 is not in 0..=100000"), "{run:?}");
    }

    #[test]
    fn many_equal_names_are_told_apart() {
        const CASES: usize = 100_000;
        let case = suite("small").unwrap().remove(0).named("same");
        let names: Vec<String> = named_apart(vec![case; CASES]).into_iter().map(|case| case.name).collect();
        assert_eq!((names[0].as_str(), names[1].as_str()), ("same", "same #2"));
        assert_eq!(names[CASES - 1], format!("same #{CASES}"));
    }
}

mod data {
    use flate2::{Compression, write::GzEncoder};
    use image::{GrayImage, Luma, Rgb, RgbImage};
    use std::io::Write;
    use wgconv::data::{DataSplits, LoadOptions, load};

    use super::*;

    /// Asserts that loading the first rows gives the first rows of all data, for more and fewer rows than there are.
    #[track_caller]
    fn assert_same_rows(source: &str) {
        let all = load(source, &LoadOptions::seed(3)).unwrap();
        for rows in [1, 2, 3, 4, 7, 100] {
            let first = first(source, 3, rows).unwrap();
            let head = all.clone().head(rows);
            assert_eq!((first.train, first.test), (head.train, head.test), "{source}, {rows}");
            assert_eq!(first.preprocessing, head.preprocessing, "{source}, {rows}");
        }
    }

    fn first(source: &str, seed: u64, rows: usize) -> wgconv::Result<DataSplits> {
        load(source, &LoadOptions { limit: Some(rows), ..LoadOptions::seed(seed) })
    }

    fn idx(magic: u32, sizes: &[u32], values: impl Iterator<Item = u8>) -> Vec<u8> {
        let header = std::iter::once(&magic).chain(sizes).flat_map(|word| word.to_be_bytes());
        header.chain(values).collect()
    }

    #[test]
    fn loading_a_few_rows_gives_the_first_of_all_rows() {
        let workplace = Workplace::new();
        for (prefix, folder) in [("", "idx"), ("emnist-letters-", "emnist")] {
            for (set, rows) in [("train", 5u32), ("test", 3)] {
                let images = idx(0x803, &[rows, 2, 3], (0..rows * 6).map(|value| value as u8));
                workplace.write(&format!("{folder}/{prefix}{set}-images-idx3-ubyte"), images);
                // The largest label comes last: its class must exist however few rows are used.
                let labels = idx(0x801, &[rows], 0..rows as u8);
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                gzip.write_all(&labels).unwrap();
                let path = format!("{folder}/{prefix}{set}-labels-idx1-ubyte.gz");
                workplace.write(&path, gzip.finish().unwrap());
            }
        }
        let rows = |labels: &[u8]| -> Vec<u8> {
            labels.iter().flat_map(|&label| [vec![label], vec![label * 9; 3072]].concat()).collect()
        };
        for batch in 1..=5 {
            workplace.write(&format!("cifar/data_batch_{batch}.bin"), rows(&[batch, 0]));
        }
        workplace.write("cifar/test_batch.bin", rows(&[1, 2, 3]));
        for (class, colour) in [("a", 10), ("b", 20), ("c", 30)] {
            for number in 0..7 {
                let path = workplace.path(&format!("folder/{class}/{number}.png"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                GrayImage::from_pixel(3, 2, Luma([colour + number])).save(path).unwrap();
            }
        }
        for source in ["idx", "emnist", "cifar", "folder"] {
            assert_same_rows(workplace.path(source).to_str().unwrap());
        }
        assert_same_rows("synthetic");
    }

    #[test]
    fn images_beyond_the_limit_are_not_decoded() {
        let workplace = Workplace::new();
        for set in ["train", "test"] {
            let path = |name: &str| workplace.path(&format!("{set}/{name}"));
            for class in ["a", "b"] {
                fs::create_dir_all(path(class)).unwrap();
                GrayImage::from_pixel(3, 2, Luma([7])).save(path(&format!("{class}/1.png"))).unwrap();
                RgbImage::from_pixel(3, 2, Rgb([1, 2, 3])).save(path(&format!("{class}/2.png"))).unwrap();
                fs::write(path(&format!("{class}/3.png")), "no image").unwrap();
            }
        }
        let source = workplace.path("");
        let first = |rows| first(source.to_str().unwrap(), 0, rows);
        // The images that are used decide whether the dataset is in colour.
        assert_eq!(first(2).unwrap().train.image.channels, 1);
        assert_eq!(*first(2).unwrap().test.images, [7; 12]);
        assert_eq!(first(3).unwrap().train.image.channels, 3);
        assert_eq!(
            first(3).unwrap().train.images[33..],
            [7, 7, 7, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]
        );
        assert!(first(5).unwrap_err().to_string().contains("cannot be decoded"));
    }

    #[test]
    fn image_formats_are_converted_to_a_common_one() {
        use image::{DynamicImage, ImageBuffer};
        let workplace = Workplace::new();
        fs::create_dir_all(workplace.path("gray/a")).unwrap();
        let deep = ImageBuffer::from_pixel(2, 1, Luma([0x1234u16]));
        let clear = ImageBuffer::from_pixel(2, 1, image::LumaA([0x56u8, 0x00]));
        let save = |image: DynamicImage, name: &str| image.save(workplace.path(name)).unwrap();
        save(deep.clone().into(), "gray/a/1.png");
        save(clear.clone().into(), "gray/a/2.png");
        let data = load(workplace.path("gray").to_str().unwrap(), &LoadOptions::default()).unwrap();
        let mut pixels = [data.train.images.to_vec(), data.test.images.to_vec()].concat();
        pixels.sort_unstable();
        assert_eq!((data.train.image.channels, pixels), (1, vec![0x12, 0x12, 0xff, 0xff]));
        // Beside a colour image, grey values are repeated three times.
        let colour = ImageBuffer::from_pixel(2, 1, image::Rgba([0x01u8, 0x02, 0x03, 0x80]));
        save(colour.into(), "gray/a/3.png");
        let data = load(workplace.path("gray").to_str().unwrap(), &LoadOptions::default()).unwrap();
        let mut pixels = [data.train.images.to_vec(), data.test.images.to_vec()].concat();
        pixels.sort_unstable();
        let expected = [vec![0x12; 6], vec![0x80, 0x80, 0x80, 0x80, 0x81, 0x81], vec![0xff; 6]].concat();
        assert_eq!((data.train.image.channels, pixels), (3, expected));
    }
}

/// Devices that never end stand in for files that are too long.
#[cfg(unix)]
mod files {
    use super::*;

    #[test]
    fn files_without_an_end_are_refused_in_one_line() {
        let workplace = Workplace::new();
        for link in ["zero.toml", "zero.safetensors", "cifar/batches.meta.txt", "run/config.toml"] {
            workplace.write(link, "");
            fs::remove_file(workplace.path(link)).unwrap();
            std::os::unix::fs::symlink("/dev/zero", workplace.path(link)).unwrap();
        }
        for batch in ["data_batch_1.bin", "test_batch.bin"] {
            workplace.write(&format!("cifar/{batch}"), [0; 3073]);
        }
        let run = "train --device cpu --epochs 1 --limit 10 --batch-size 5 --out new";
        for (arguments, culprit, code) in [
            (
                "bench --device cpu --cases /dev/zero",
                "/dev/zero: expected at most 16777216 bytes, found more",
                1,
            ),
            (
                "bench --compare /dev/zero /dev/zero",
                "/dev/zero: expected at most 268435456 bytes, found more",
                1,
            ),
            ("summary zero.toml", "zero.toml: expected at most 16777216 bytes, found more", 1),
            ("conv zero.safetensors --out out", "zero.safetensors: expected a safetensors file", 1),
            ("evaluate run", "run/config.toml: expected at most 16777216 bytes, found more", 1),
            (
                &format!("{run} --data cifar"),
                "batches.meta.txt: expected at most 16777216 bytes, found more",
                1,
            ),
        ] {
            let run = workplace.run(arguments);
            assert_eq!(run.stderr.lines().count(), 1, "{arguments}: {run:?}");
            assert!(run.stderr.contains(culprit) && run.code == code, "{arguments}: {run:?}");
        }
    }

    #[test]
    fn pipes_without_a_writer_are_not_waited_for() {
        let workplace = Workplace::new();
        let pipe = workplace.path("pipe.toml");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (arguments, culprit) in [
            ("bench --device cpu --cases pipe.toml", "expected a line of column names, found nothing"),
            ("bench --compare pipe.toml pipe.toml", "found 0 and 0 rows, none in common"),
            ("summary pipe.toml", "pipe.toml: model: expected key `name`, found none"),
            ("conv pipe.toml --out out", "expected a safetensors file, found one that is cut off"),
        ] {
            let run = workplace.run(arguments);
            assert!(run.stderr.lines().count() == 1 && run.stderr.contains(culprit), "{arguments}: {run:?}");
        }
    }
}

/// The address space is limited through the shell, which macOS ignores and Windows does not support.
#[cfg(target_os = "linux")]
mod memory {
    use std::sync::Arc;

    use wgconv::host::{CpuExecutor, ReferenceExecutor};
    use wgconv::ops::add::Add;
    use wgconv::plan::Plan;
    use wgconv::tensor::Tensor;
    use wgconv::train::save_tensors;

    use super::*;

    /// 64 feature maps of the image's size.
    const WIDE: &str = r#"
name = "wide"
[[layers]]
type = "conv2d"
filters = 64
kernel_size = 1
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
units = 10
"#;

    impl Workplace {
        /// Runs the binary in `mebibytes` of address space.
        fn run_in(&self, mebibytes: u64, arguments: &str) -> Run {
            Run::of(&mut self.shell(&format!("ulimit -v {}; exec $wgconv {arguments}", mebibytes << 10)))
        }

        /// Asserts that the command exits with 1 and one line on stderr: `start`, the memory needed and the memory
        /// left.
        #[track_caller]
        fn assert_too_large(&self, mebibytes: u64, arguments: &str, start: &str, advice: &str) {
            let run = self.run_in(mebibytes, arguments);
            let whole = run.stderr.lines().count() == 1
                && run.stderr.starts_with(start)
                && run.stderr.contains(" MiB of memory, and ")
                && run.stderr.trim_end().ends_with(&format!(" MiB are left for it; try {advice}"));
            assert!(run.code == 1 && whole, "{start}: {run:?}");
        }
    }

    #[test]
    fn training_that_does_not_fit_is_refused_before_it_begins() {
        let workplace = Workplace::new();
        workplace.write("wide.toml", WIDE);
        for device in ["cpu", "reference"] {
            let arguments = format!("train --model wide.toml --device {device} --batch-size 10000 --out run");
            let advice = "a smaller batch or model";
            workplace.assert_too_large(1500, &arguments, "error: training wide needs ", advice);
            assert!(!workplace.path("run").exists());
        }
        let run = workplace.run_in(1500, "train --device cpu --limit 64 --epochs 1 --out run");
        assert_eq!(run.code, 0, "{run:?}");
    }

    #[test]
    fn a_convolution_that_does_not_fit_is_refused_before_it_begins() {
        let workplace = Workplace::new();
        let tensors = |shape: [usize; 4]| Tensor::new(shape, vec![1.0; shape.iter().product()]).unwrap();
        let case =
            [("input".to_owned(), tensors([1, 1, 2, 2])), ("filters".to_owned(), tensors([1, 1, 1, 1]))];
        save_tensors(
            &workplace.path("case.safetensors"),
            case.iter().map(|(name, tensor)| (name.as_str(), tensor)),
            &[],
        )
        .unwrap();
        workplace.assert_too_large(
            1500,
            "conv case.safetensors --out out.safetensors --device cpu --padding 20000",
            "error: the convolution needs 24417 MiB of memory",
            "fewer images or less padding",
        );
        assert!(!workplace.path("out.safetensors").exists());
        let run = workplace.run_in(1500, "conv case.safetensors --out out.safetensors --device cpu");
        assert_eq!(run.code, 0, "{run:?}");
    }

    #[test]
    fn a_benchmark_that_does_not_fit_is_left_out() {
        let workplace = Workplace::new();
        let common = "bench --device cpu --threads 2 --budget 0 --pass forward -k 1 -y 1 -x 1 -H 256 -W 256";
        workplace.assert_too_large(
            1000,
            &format!("{common} -n 64 -c 64"),
            "64x64x256x256 k1 1x1, forward: conv2d.forward needs ",
            "a smaller batch",
        );
        // Timing it fits, but the definition needs several times as much memory.
        let arguments = format!("{common} -n 16 -c 16 --verify");
        let start = "16x16x256x256 k1 1x1, forward: the definition of conv2d.forward needs ";
        workplace.assert_too_large(1000, &arguments, start, "a smaller batch");
    }

    #[test]
    fn scratch_memory_that_does_not_fit_is_refused_while_a_plan_runs() {
        let workplace = Workplace::new();
        // The filters fit; the scratch memory for transforming them, four times as large, does not.
        let run = workplace.run_in(
            1550,
            "bench --device cpu --threads 2 --budget 0 --warm-cache --pass forward --implementation winograd_4x4 \
             -n 1 -c 4096 -H 8 -W 8 -k 4096 -y 3 -x 3 -p 1 -q 1",
        );
        let refused = run.stderr.lines().count() == 1
            && run.stderr.contains(", forward: scratch memory needs ")
            && run.stderr.contains(" MiB are left for it; try a smaller batch or layer");
        assert!(refused && run.code == 1, "{run:?}");
    }

    #[test]
    fn images_that_do_not_fit_are_refused_by_their_headers() {
        let workplace = Workplace::new();
        let path = workplace.path("large.png");
        image::GrayImage::new(4096, 4096).save(&path).unwrap();
        // Only the header: a decoder would report a damaged file.
        let header = fs::read(path).unwrap()[..64].to_vec();
        for number in 0..100 {
            workplace.write(&format!("data/a/{number}.png"), &header);
        }
        let train = "train --device cpu --threads 2 --data data --out run";
        let start = "error: decoding 100 images of 4096x4096x1 needs ";
        workplace.assert_too_large(1000, train, start, "fewer of them (--limit)");
        let run = workplace.run_in(1000, &format!("{train} --limit 2"));
        assert!(run.code == 1 && run.stderr.contains("cannot be decoded"), "{run:?}");
    }

    #[test]
    fn a_plan_that_does_not_fit_leaves_the_executor_as_it_was() {
        let mut executor = CpuExecutor::new();
        let add = |elements| Arc::new(Plan::of_op(Box::new(Add { elements })));
        let most = i32::MAX as usize;
        // A machine with enough memory skips this check.
        if wgconv::host_memory::available().is_some_and(|available| available < 3 * 4 * most as u64) {
            let error = executor.prepare(add(most)).unwrap_err().to_string();
            assert!(error.starts_with("a plan needs 24576 MiB of memory, and "), "{error}");
        }
        assert_eq!(executor.host_bytes(&[&add(1000)]), 3 * 4 * 1000);
        let prepared = executor.prepare(add(1000)).unwrap();
        executor.run(prepared, 1).unwrap();
        assert_eq!(executor.host_bytes(&[&add(1000)]), 4 * 1000);
    }

    #[test]
    fn the_reference_counts_twice_the_bytes() {
        let plan = Plan::of_op(Box::new(Add { elements: 1000 }));
        assert_eq!(CpuExecutor::new().memory(&plan).total(), 3 * 4 * 1000);
        assert_eq!(ReferenceExecutor::new().memory(&plan).total(), 3 * 8 * 1000);
        assert_eq!(CpuExecutor::new().host_bytes(&[&plan, &plan]), (2 + 2) * 4 * 1000);
        assert_eq!(ReferenceExecutor::new().host_bytes(&[&plan]), 3 * 8 * 1000);
    }
}

#[test]
fn a_gpus_limits_are_checked_before_anything_is_measured() {
    /// More values than any buffer holds, but few enough for 32-bit counts.
    const WIDEST: &str = r#"
name = "widest"
[[layers]]
type = "conv2d"
filters = 270
kernel_size = 1
[[layers]]
type = "max_pool"
kernel_size = 28
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
units = 10
"#;
    let Some(gpu) = common::gpu("a_gpus_limits_are_checked", ShaderChecks::Off) else { return };
    if gpu.max_buffer_bytes() > 8_000_000_000 {
        return eprintln!("SKIPPED a_gpus_limits_are_checked: {} holds everything", gpu.device_name());
    }
    let workplace = Workplace::new();
    workplace.write("widest.toml", WIDEST);
    let train = "train --device gpu --allow-software --model widest.toml --batch-size 10000 --out run";
    let bench = "bench --device gpu --allow-software --budget 0 --pass forward \
                 -n 10000 -c 1 -H 28 -W 28 -k 270 -y 1 -x 1";
    for arguments in [train, bench] {
        let run = workplace.run(arguments);
        // Notices of tuning would be additional lines.
        let lines: Vec<&str> = run.stderr.lines().collect();
        let refused = lines.len() == 1 && lines[0].contains(" needs 8075 MiB, and a buffer holds at most ");
        assert!(refused && run.code == 1, "{arguments}: {run:?}");
    }
}
