//! Built-in lists of convolutions, in the format of `--cases`.

use std::path::Path;

use super::ConvCase;
use super::case::parse_cases;
use crate::{Error, Result};

/// The names of the built-in suites.
///
/// - `small`: six convolutions of the kinds in small networks, which take milliseconds on any device.
/// - `resnet50`: every shape of convolution in ResNet-50 with the stride in its 3x3 layers, as torchvision builds it,
///   16 images.
/// - `deepbench`: the 94 convolutions of DeepBench's training set, four of which are listed twice.
pub const SUITES: [&str; 3] = ["small", "resnet50", "deepbench"];

/// The convolutions of a built-in suite.
///
/// # Errors
/// [`Error::Invalid`] for a name that is none of [`SUITES`].
///
/// # Source
/// `deepbench`: <https://github.com/baidu-research/DeepBench>, `code/kernels/conv_problems.h`, `training_set`.
pub fn suite(name: &str) -> Result<Vec<ConvCase>> {
    let text = match name {
        "small" => include_str!("suites/small.csv"),
        "resnet50" => include_str!("suites/resnet50.csv"),
        "deepbench" => include_str!("suites/deepbench.csv"),
        _ => return Err(Error::invalid("suite", SUITES.join(" or "), name)),
    };
    parse_cases(Path::new(name), text)
}
