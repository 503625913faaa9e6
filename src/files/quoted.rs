//! Text as a shell reads it, for commands that messages show.

use std::ffi::OsStr;
use std::path::Path;

use os_display::Quotable;

/// `text`, quoted where it must be so that a shell reads it as one argument; what is not visible is escaped.
pub fn quoted(text: impl AsRef<OsStr>) -> String {
    text.as_ref().maybe_quote().to_string()
}

/// A path, quoted likewise; one that would be read as an option begins with `./`.
pub fn quoted_path(path: &Path) -> String {
    match path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        true => quoted(Path::new(".").join(path)),
        false => quoted(path),
    }
}
