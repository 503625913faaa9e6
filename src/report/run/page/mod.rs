//! The page: one self-contained HTML file.

use super::Story;

/// The report as one HTML file that opens anywhere, offline.
pub fn page(_story: &Story) -> String {
    String::new()
}
