//! The targets of fuzzing: each reader of files from outside, with the folder that it reads.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use wgconv::bench::{compare, named_apart, read_cases};
use wgconv::data::{self, Fit, LoadOptions, Normalisation, Preprocessing};
use wgconv::executors::OpenOptions;
use wgconv::files::CacheFolder;
use wgconv::gpu::{GpuExecutor, Tuning};
use wgconv::network::{self, presets};
use wgconv::ops::dense::{DenseForward, DenseSize};
use wgconv::plan::{Executor, Plan, Workbench};
use wgconv::report::{pytorch, summary};
use wgconv::tensor::ImageShape;
use wgconv::train::{RunConfig, RunFolder, TrainSettings, load_weights, save_weights};
use wgconv::{Error, Result};

use crate::mutate::Files;
use crate::{common, seeds};

/// The outcome of reading an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read.
    Read,
    /// It was refused with this message.
    Refused(String),
    /// Something happened that must not.
    Wrong(String),
}

/// A reader to be fuzzed.
pub struct Target {
    pub name: &'static str,
    /// Valid inputs.
    pub seeds: Vec<Files>,
    /// The most memory that reading an input may take.
    pub most_bytes: usize,
    /// Reads the files of a folder.
    pub run: Box<dyn FnMut(&Path) -> Outcome>,
}

const MIB: usize = 1 << 20;

impl Target {
    fn new(
        name: &'static str,
        seeds: Vec<Files>,
        most_bytes: usize,
        mut read: impl FnMut(&Path) -> Result<()> + 'static,
    ) -> Self {
        let run = move |folder: &Path| match read(folder) {
            Ok(()) => Outcome::Read,
            Err(error) => Outcome::Refused(error.to_string()),
        };
        Target { name, seeds, most_bytes, run: Box::new(run) }
    }
}

fn read_data(folder: &Path) -> Result<()> {
    let splits = data::load(&folder.to_string_lossy(), &LoadOptions::seed(1))?;
    for set in [&splits.train, &splits.test] {
        let elements = set.len() * set.image.elements();
        if set.images.len() != elements || set.labels.iter().any(|&label| label as usize >= set.classes.len())
        {
            panic!("a dataset that does not fit together: {} bytes of {elements}", set.images.len());
        }
        Normalisation::measure(set);
    }
    Ok(())
}

pub fn idx() -> Target {
    Target::new("idx", seeds::idx(), 64 * MIB, read_data)
}

pub fn cifar() -> Target {
    Target::new("cifar", seeds::cifar(), 64 * MIB, read_data)
}

pub fn pictures() -> Target {
    // The memory of a decoder for the largest permitted image, and of the image itself.
    Target::new("pictures", seeds::pictures(), 1024 * MIB, read_data)
}

pub fn numpy() -> Target {
    Target::new("numpy", seeds::numpy(), 64 * MIB, read_data)
}

pub fn labels() -> Target {
    let read = |folder: &Path| {
        let options = LoadOptions { labels: Some(folder.join("labels.csv")), ..LoadOptions::seed(1) };
        data::load(&folder.to_string_lossy(), &options).map(drop)
    };
    Target::new("labels", seeds::labels(), 1024 * MIB, read)
}

/// One picture, brought to a size and to grey.
pub fn decoded() -> Target {
    let figures = Normalisation { mean: vec![0.0], deviation: vec![1.0] };
    let image = ImageShape { height: 3, width: 7, channels: 1 };
    let preprocessing = Preprocessing { fit: Fit::Pad, ..Preprocessing::new(image, figures) };
    let read = move |folder: &Path| {
        let pixels = preprocessing.open(&folder.join("picture"))?;
        assert_eq!(pixels.len(), image.elements());
        Ok(())
    };
    Target::new("decoded", seeds::every_picture(), 1024 * MIB, read)
}

pub fn models() -> Target {
    Target::new("models", seeds::models(), 64 * MIB, |folder| {
        let model = folder.join("model.toml").to_string_lossy().into_owned();
        let image = ImageShape { height: 12, width: 12, channels: 1 };
        let network = network::open(&model, Some(image), 3)?;
        let _ = summary(&network).to_string();
        let _ = pytorch(&network);
        // A model that was read must be readable again after writing.
        let again = network::NetworkFile::parse(&network.to_toml())?.build(Some(image))?;
        assert_eq!(again.to_toml(), network.to_toml());
        Ok(())
    })
}

fn small_network() -> wgconv::network::Network {
    presets::linear(ImageShape { height: 3, width: 2, channels: 1 }, 2).expect("a preset")
}

fn files_of(folder: &Path) -> Files {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file"))
        })
        .collect()
}

pub fn runs() -> Target {
    let place = tempfile::tempdir().expect("a folder");
    let network = small_network();
    let config = RunConfig {
        version: "0".into(),
        data: "synthetic".into(),
        device: "cpu".into(),
        limit: Some(3),
        validation: None,
        labels: None,
        skip_broken: false,
        classes: vec!["a".into(), "b".into()],
        preprocessing: Preprocessing::new(
            ImageShape { height: 3, width: 2, channels: 1 },
            Normalisation { mean: vec![1.0], deviation: vec![2.0] },
        ),
        training: TrainSettings::default(),
    };
    let path = place.path().join("run");
    let run = RunFolder::create(&path, &config, &network).expect("a new folder");
    run.save("best", &network, &network.initial_weights(0).expect("weights")).expect("weights");
    let seeds = vec![files_of(&path)];
    Target::new("runs", seeds, 64 * MIB, |folder| {
        let (run, _, network) = RunFolder::open(folder)?;
        run.load("best", &network).map(drop)
    })
}

pub fn weights() -> Target {
    let place = tempfile::tempdir().expect("a folder");
    let network = small_network();
    let path = place.path().join("best.safetensors");
    save_weights(&path, &network.initial_weights(0).expect("weights"), &[]).expect("weights");
    let seeds = vec![files_of(place.path())];
    Target::new("weights", seeds, 64 * MIB, move |folder| {
        load_weights(&folder.join("best.safetensors"), &network).map(drop)
    })
}

pub fn cases() -> Target {
    Target::new("cases", seeds::cases(), 64 * MIB, |folder| {
        let cases = read_cases(&folder.join("cases.csv"))?;
        let count = cases.len();
        assert_eq!(named_apart(cases).len(), count);
        Ok(())
    })
}

pub fn comparisons() -> Target {
    Target::new("comparisons", seeds::results(), 64 * MIB, |folder| {
        let comparison = compare(&[folder.join("a.json"), folder.join("b.json")])?;
        for pass in comparison.passes() {
            comparison.geometric_mean(pass, 1);
        }
        for work in &comparison.work {
            let _ = (work.ratio(1), work.gflops(1));
        }
        Ok(())
    })
}

/// The command as a whole, since its tensors decide what it computes: it may refuse, in one line.
pub fn conv() -> Target {
    let run = |folder: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgconv"));
        command.args([
            "conv",
            "case.safetensors",
            "--out",
            "out.safetensors",
            "--device",
            "cpu",
            "--threads",
            "1",
        ]);
        command.current_dir(folder).env("WGCONV_CACHE", "").stdin(Stdio::null());
        let output = command.output().expect("the program");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_there = folder.join("out.safetensors").exists();
        match output.status.code() {
            Some(0) if is_there => Outcome::Read,
            Some(1 | 2) if !is_there && text.lines().count() == 1 => Outcome::Refused(text),
            code => Outcome::Wrong(format!("exit {code:?}, answer written: {is_there}, said {text:?}")),
        }
    };
    Target { name: "conv", seeds: seeds::conv(), most_bytes: 64 * MIB, run: Box::new(run) }
}

/// An operation with a choice of implementations.
fn choice() -> DenseForward {
    DenseForward::new(DenseSize::new(64, 128, 64).expect("sizes that fit"))
}

fn gpu(test: &str) -> Option<GpuExecutor> {
    let adapter = common::adapter(test)?;
    Some(OpenOptions::default().open_gpu(&adapter).expect("a device that opens"))
}

fn one_file(folder: &Path) -> Files {
    let files = files_of(folder);
    assert_eq!(files.len(), 1, "a cache is one file");
    files
}

pub fn tuning_caches() -> Option<Target> {
    let place = tempfile::tempdir().expect("a folder");
    let tuning =
        |folder: &Path, budget| Tuning { budget, cache: Some(CacheFolder::new(folder)), ..Tuning::default() };
    let mut executor = gpu("tuning_caches")?.with_tuning(tuning(place.path(), Duration::from_secs(60)));
    executor.choose(&choice());
    let seeds = vec![one_file(place.path())];
    let mut executor = Some(executor);
    Some(Target::new("tuning caches", seeds, 256 * MIB, move |folder| {
        // Without time, only the file is used.
        let mut tuned = executor.take().expect("an executor").with_tuning(tuning(folder, Duration::ZERO));
        let (name, _) = tuned.choose(&choice());
        let known = tuned.implementations(&choice());
        executor = Some(tuned);
        match known.contains(&name) {
            true => Ok(()),
            false => Err(Error::invalid("choice", known.join(", "), name)),
        }
    }))
}

pub fn pipeline_caches() -> Option<Target> {
    let place = tempfile::tempdir().expect("a folder");
    let prepared = |executor: GpuExecutor, folder: &Path| {
        let mut executor = executor.with_pipeline_cache(CacheFolder::new(folder));
        executor.clear();
        executor.prepare(Arc::new(Plan::of_op(Box::new(choice())))).map(|_| executor)
    };
    let executor = prepared(gpu("pipeline_caches")?, place.path()).expect("a plan that is prepared");
    // A driver that does not keep compiled kernels leaves nothing to read.
    if files_of(place.path()).is_empty() {
        return None;
    }
    let seeds = vec![one_file(place.path())];
    let mut executor = Some(executor);
    Some(Target::new("pipeline caches", seeds, 512 * MIB, move |folder| {
        executor = Some(prepared(executor.take().expect("an executor"), folder)?);
        Ok(())
    }))
}
