//! The one error type of the library. Every variant carries what was expected and what was found.

use std::path::{Path, PathBuf};

/// Everything that can go wrong in wgconv, apart from its own bugs, which panic.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a size that the operation does not accept.
    #[error("{operation}: expected {expected}, found {found}")]
    Invalid {
        /// The operation or option that refused.
        operation: String,
        /// What it accepts.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A layer that does not fit its input, or whose description is wrong.
    #[error("layer {layer}: expected {expected}, found {found}")]
    Layer {
        /// Name (or position) and type of the layer.
        layer: String,
        /// What the layer needs.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A model file that describes no network, or one that does not fit the data.
    #[error("{}: {reason}", path.display())]
    Model {
        /// The model file.
        path: PathBuf,
        /// What is wrong with the network in it.
        reason: Box<Error>,
    },
    /// A file whose content does not match its name, format or header.
    #[error("{}: expected {expected}, found {found}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the format requires.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A file or folder that the operating system could not read or write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// No device matches the request.
    #[error("no device {wanted:?}: {advice}")]
    NoDevice {
        /// The device that was asked for.
        wanted: String,
        /// The devices found, and what to install or to pass instead.
        advice: String,
    },
    /// The device failed during work: it ran out of memory, was lost, or refused a kernel.
    #[error("{device}: {operation} failed: {cause}")]
    Device {
        /// Name of the device.
        device: String,
        /// What it was doing.
        operation: String,
        /// The device's message, and what to try.
        cause: String,
    },
    /// Work that takes more host memory than is available; nothing was begun.
    #[error("{what} needs {} of memory, {}; try {advice}", mebibytes(*needed), left(*available))]
    Memory {
        /// What the memory is for.
        what: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are available; `None` if that is not known, and an allocation failed.
        available: Option<u64>,
        /// What needs less memory.
        advice: String,
    },
    /// Training or an evaluation met NaN or infinity.
    #[error("the loss of {what} is {loss}: {place}")]
    NotFinite {
        /// `step 12`, counted from 0 over the whole run, or `test batch 3 after step 12`.
        what: String,
        /// The loss that was read.
        loss: f32,
        /// The first place that holds a value that is not finite, and what to try.
        place: String,
    },
    /// Weights with NaN or infinity were not saved; files saved before are unchanged.
    #[error("{what} are not finite, and were not saved: {place}")]
    WeightsNotFinite {
        /// `the weights`, or `the weights after step 12`.
        what: String,
        /// The first parameter that holds a value that is not finite, and what to try.
        place: String,
    },
}

/// Whole MiB, rounded up.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn left(available: Option<u64>) -> String {
    match available {
        Some(bytes) => format!("and {} MiB are left for it", bytes >> 20),
        None => "which the system refuses".into(),
    }
}

/// Result of a library function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An argument that `operation` refuses.
    pub fn invalid(operation: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> Self {
        Error::Invalid { operation: operation.into(), expected: expected.into(), found: found.to_string() }
    }

    /// A layer that does not fit.
    pub fn layer(layer: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> Self {
        Error::Layer { layer: layer.into(), expected: expected.into(), found: found.to_string() }
    }

    /// A file with the wrong content.
    pub fn file(path: impl AsRef<Path>, expected: impl Into<String>, found: impl ToString) -> Self {
        Error::File { path: path.as_ref().into(), expected: expected.into(), found: found.to_string() }
    }

    /// A closure that turns an [`std::io::Error`] into an [`Error::Io`]; made for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// Whether the caller asked for something impossible, as opposed to something that failed.
    pub fn is_wrong_use(&self) -> bool {
        use Error::{Invalid, Layer, Model, NoDevice};
        matches!(self, Invalid { .. } | Layer { .. } | Model { .. } | NoDevice { .. })
    }
}
