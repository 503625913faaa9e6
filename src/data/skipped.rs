//! Files that were passed over, for one line that says so.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

/// Whether a file or folder is nobody's data: hidden, or left by a system or a tool.
pub(super) fn is_junk(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let systems = ["thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "icon\r"];
    name.starts_with('.') || systems.iter().any(|system| name.eq_ignore_ascii_case(system))
}

/// Counts files by their extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped(BTreeMap<String, usize>);

impl Skipped {
    pub fn add(&mut self, path: &Path) {
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
        let kind = extension.map_or("without extension".into(), |extension| format!(".{extension}"));
        *self.0.entry(kind).or_default() += 1;
    }

    /// `36 files skipped, no pictures that can be read: 30 .txt, 6 .mp4`, the most frequent kind first.
    pub fn note(&self) -> Option<String> {
        let all: usize = self.0.values().sum();
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let kinds: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let files = if all == 1 { "file" } else { "files" };
        (all > 0)
            .then(|| format!("{all} {files} skipped, no pictures that can be read: {}", kinds.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_kind() {
        let mut skipped = Skipped::default();
        assert_eq!(skipped.note(), None);
        skipped.add(Path::new("a/LICENCE"));
        let one = "1 file skipped, no pictures that can be read: 1 without extension";
        assert_eq!(skipped.note().as_deref(), Some(one));
        for name in ["a.mp4", "b.MP4", "c.txt"] {
            skipped.add(Path::new(name));
        }
        let all = "4 files skipped, no pictures that can be read: 2 .mp4, 1 .txt, 1 without extension";
        assert_eq!(skipped.note().as_deref(), Some(all));
    }

    #[test]
    fn what_systems_leave_is_nobodys_data() {
        for name in [".DS_Store", "Thumbs.db", "__MACOSX", ".ipynb_checkpoints", "@eaDir", "._1.png"] {
            assert!(is_junk(OsStr::new(name)), "{name}");
        }
        for name in ["cat", "1.png", "thumbs"] {
            assert!(!is_junk(OsStr::new(name)), "{name}");
        }
    }
}
