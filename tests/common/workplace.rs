//! A temporary folder in which the binary runs, its output there, and small files for it.

#![allow(dead_code, reason = "not every kind of proof needs all of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder in which the binary runs.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> Self {
        Workplace(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wgconv"));
        command.args(arguments.split_whitespace());
        self.at_home(command)
    }

    /// A command line for the shell, with `$wgconv` for the binary.
    #[cfg(unix)]
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("wgconv", env!("CARGO_BIN_EXE_wgconv"));
        self.at_home(command)
    }

    fn at_home(&self, mut command: Command) -> Command {
        command.current_dir(&self.0).stdin(Stdio::null());
        // Nothing may be left in the cache folder of the user who runs the tests.
        command.env("WGCONV_CACHE", "");
        command
    }

    pub fn run(&self, arguments: &str) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Trains on the CPU, which must succeed.
    #[track_caller]
    pub fn train(&self, arguments: &str) -> Run {
        let run = self.run(&format!("train --device cpu {arguments}"));
        assert_eq!(run.code, 0, "{run:?}");
        run
    }

    /// Every path below the folder.
    pub fn everything(&self) -> Vec<PathBuf> {
        let (mut paths, mut folders) = (Vec::new(), vec![self.0.path().to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                folders.extend(path.is_dir().then(|| path.clone()));
                paths.push(path);
            }
        }
        paths.sort();
        paths
    }

    /// Asserts that the command exits with `code` and one line that contains `culprit`, and writes no file.
    #[track_caller]
    pub fn assert_refused(&self, arguments: &str, code: i32, culprit: &str) {
        let before = self.everything();
        let run = self.run(arguments);
        run.assert_error(code, culprit);
        assert_eq!(self.everything(), before, "{arguments}");
    }
}

/// The output and the exit code of the binary.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Run {
        Run::from(command.output().unwrap())
    }

    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    #[track_caller]
    pub fn assert_error(&self, code: i32, culprit: &str) {
        let one_line = self.stderr.lines().count() == 1 && self.stderr.starts_with("error: ");
        assert!(
            one_line && self.stderr.contains(culprit) && self.code == code,
            "{code}, {culprit}: {self:?}"
        );
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let stderr = text(output.stderr);
        assert!(!stderr.contains("panicked"), "{stderr}");
        Run {
            code: output.status.code().expect("an exit code, not a signal"),
            stderr,
            stdout: text(output.stdout),
        }
    }
}

/// The shape and the values of each tensor of a safetensors file.
pub fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        (name, (view.shape().to_vec(), bytemuck::pod_collect_to_vec(view.data())))
    };
    file.tensors().into_iter().map(tensor).collect()
}

pub mod files {
    //! Small datasets and model files.

    use super::Workplace;

    pub fn idx_header(magic: u32, sizes: &[u32]) -> Vec<u8> {
        [magic].iter().chain(sizes).flat_map(|word| word.to_be_bytes()).collect()
    }

    /// 80 training and 20 test images of 8x8 pixels in 10 classes; `bright` shifts every pixel.
    pub fn idx(workplace: &Workplace, folder: &str, bright: u8) {
        for (set, rows) in [("train", 80u32), ("t10k", 20)] {
            let images = (0..rows * 64).map(|value| (value * 7 % 101) as u8 + bright);
            let images: Vec<u8> = idx_header(0x803, &[rows, 8, 8]).into_iter().chain(images).collect();
            let labels = (0..rows).map(|row| (row % 10) as u8);
            let labels: Vec<u8> = idx_header(0x801, &[rows]).into_iter().chain(labels).collect();
            workplace.write(&format!("{folder}/{set}-images-idx3-ubyte"), images);
            workplace.write(&format!("{folder}/{set}-labels-idx1-ubyte"), labels);
        }
    }

    /// A file for `wgconv conv`: an image of 1x1 pixel and a filter that doubles it.
    pub fn doubling_conv(workplace: &Workplace, name: &str) {
        let [input, filters] = [[3f32], [2.0]].map(|values| bytemuck::cast_slice(&values).to_vec());
        let view = |bytes| {
            safetensors::tensor::TensorView::new(safetensors::tensor::Dtype::F32, vec![1; 4], bytes).unwrap()
        };
        let tensors = [("input", view(&input)), ("filters", view(&filters))];
        workplace.write(name, safetensors::tensor::serialize(tensors, None).unwrap());
    }

    /// A model file, from one line per layer.
    pub fn model(head: &str, layers: &[&str]) -> String {
        let layers = layers.iter().map(|layer| format!("\n[[layers]]\n{}\n", layer.replace("; ", "\n")));
        format!("name = \"mine\"\n{head}\n{}", layers.collect::<String>())
    }
}
