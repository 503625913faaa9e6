//! Files that are there whole or not at all, and the folder of caches.

mod slug;
mod write;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

pub(crate) use slug::slug;
pub(crate) use write::{check_folder, sync_folder};
pub use write::{check_writable, is_standard_output, write_atomically, write_durably};

use crate::{Error, Result};

/// A folder for what can be worked out again: a file in it may vanish at any time.
///
/// What it holds is trusted: compiled kernels are handed to the driver, and which kernels run is read from it. Whoever
/// may write to the folder may therefore change what this program computes, and what its driver executes. Damage is
/// found by check sums, malice is not: share a folder only with those whom you would let run programs as yourself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder(PathBuf);

impl CacheFolder {
    /// The environment variable that names the folder; empty, it turns caches off.
    pub const VARIABLE: &str = "WGCONV_CACHE";

    /// The folder at `path`, which is made when something is written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CacheFolder(path.into())
    }

    /// The folder that WGCONV_CACHE names, else `wgconv` in the user's cache folder: `$XDG_CACHE_HOME`,
    /// `~/.cache`, on Windows `%LOCALAPPDATA%`. None where the variable is empty, or the user has no home.
    pub fn of_user() -> Option<Self> {
        let users = || {
            use etcetera::BaseStrategy;
            Some(etcetera::choose_base_strategy().ok()?.cache_dir())
        };
        Self::choose(std::env::var_os(Self::VARIABLE).as_deref(), users)
    }

    fn choose(named: Option<&OsStr>, users: impl FnOnce() -> Option<PathBuf>) -> Option<Self> {
        match named {
            Some(named) if named.is_empty() => None,
            Some(named) => Some(CacheFolder::new(named)),
            None => Some(CacheFolder::new(users()?.join("wgconv"))),
        }
    }

    /// Where the file of that name lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file's content; none where there is no such file, or one of more than `most` bytes.
    pub fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        File::open(self.path(name)).ok()?.take(most + 1).read_to_end(&mut content).ok()?;
        (content.len() as u64 <= most).then_some(content)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made or written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(Error::io("create", &self.0))?;
        write_atomically(&self.path(name), content)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there and stays.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", self.path(name))(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_folder_of_caches_or_turns_them_off() {
        let home = || Some(PathBuf::from("/home/me/.cache"));
        let choose = |named: Option<&str>| CacheFolder::choose(named.map(OsStr::new), home);
        assert_eq!(choose(None), Some(CacheFolder::new("/home/me/.cache/wgconv")));
        assert_eq!(choose(Some("elsewhere")), Some(CacheFolder::new("elsewhere")));
        assert_eq!(choose(Some("")), None);
        assert_eq!(CacheFolder::choose(None, || None), None);
    }

    #[test]
    fn a_cache_holds_what_was_written_unless_it_is_too_long_or_gone() {
        let place = tempfile::tempdir().unwrap();
        let folder = CacheFolder::new(place.path().join("new/folder"));
        assert_eq!(folder.read("a", 10), None);
        folder.remove("a").unwrap();
        folder.write("a", b"four").unwrap();
        assert_eq!(folder.read("a", 4).as_deref(), Some(&b"four"[..]));
        assert_eq!(folder.read("a", 3), None);
        folder.remove("a").unwrap();
        assert_eq!(folder.read("a", 10), None);
        fs::write(place.path().join("file"), "").unwrap();
        assert!(CacheFolder::new(place.path().join("file")).write("a", b"").is_err());
    }
}
