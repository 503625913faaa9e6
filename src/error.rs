//! The one error type of the library. Every variant carries what was expected and what was found.

use std::path::{Path, PathBuf};

/// Everything that can go wrong in wgconv, apart from its own bugs, which panic.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a size that the operation cannot take.
    #[error("{operation}: expected {expected}, found {found}")]
    Invalid {
        /// The operation or option that refused.
        operation: String,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A layer that does not fit its input, or is described wrongly.
    #[error("layer {layer}: expected {expected}, found {found}")]
    Layer {
        /// Name (or position) and type of the layer.
        layer: String,
        /// What the layer needs.
        expected: String,
        /// What it got.
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
    /// A file whose content is not what its name, format or header promises.
    #[error("{}: expected {expected}, found {found}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the format demands.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// A file or folder that the operating system would not read or write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// No device fits what was asked for.
    #[error("no device {wanted:?}: {advice}")]
    NoDevice {
        /// The device that was asked for.
        wanted: String,
        /// What is there, and what to install or to pass instead.
        advice: String,
    },
    /// The device failed while it worked: out of memory, lost, or a kernel that it refuses.
    #[error("{device}: {operation} failed: {cause}")]
    Device {
        /// Name of the device.
        device: String,
        /// What it was asked to do.
        operation: String,
        /// What it answered, and what to try.
        cause: String,
    },
    /// Work that takes more of the host's memory than there is; nothing was begun.
    #[error("{what} needs {} of memory, {}; try {advice}", mebibytes(*needed), left(*available))]
    Memory {
        /// What the memory is for.
        what: String,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are left for it; none where that is not known, and an allocation failed.
        available: Option<u64>,
        /// What takes less.
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
    /// Weights that hold NaN or infinity were to be saved; what was saved before them is as it was.
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

    /// Whether the caller asked for something that cannot be, as opposed to something that failed.
    pub fn is_wrong_use(&self) -> bool {
        use Error::{Invalid, Layer, Model, NoDevice};
        matches!(self, Invalid { .. } | Layer { .. } | Model { .. } | NoDevice { .. })
    }
}
