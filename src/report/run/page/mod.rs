//! The page: one self-contained HTML file.

use super::Story;

/// The report as one HTML file that opens anywhere, offline.
pub fn page(_story: &Story) -> String {
    String::new()
}

/// The main pictures as PNG files, with their names.
pub fn pictures(_story: &Story) -> Vec<(&'static str, Vec<u8>)> {
    Vec::new()
}
