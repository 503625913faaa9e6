//! Writing files completely or not at all, adding to them, reading whole files, the cache folder, and paths in messages.

mod quoted;
mod slug;
mod write;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use quoted::{quoted, quoted_path};
pub(crate) use slug::slug;
pub use write::{append_durably, check_writable, is_standard_output, write_atomically, write_durably};
pub(crate) use write::{check_folder, sync_folder};

use crate::{Error, Result};

/// The largest text that people write by hand, in bytes.
pub const MOST_TEXT: u64 = 16 << 20;

/// Opens a file for reading. A named pipe without a writer reads as empty instead of blocking.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    #[cfg(unix)]
    let opened = {
        use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let waiting = |file: &File| fcntl_setfl(file, fcntl_getfl(file)? - OFlags::NONBLOCK);
        let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
        file.and_then(|file| waiting(&file).map(|()| file)).map_err(io::Error::from)
    };
    #[cfg(not(unix))]
    let opened = File::open(path);
    opened.map_err(Error::io("read", path))
}

/// The content of a file of at most `most` bytes. The file need not be a regular one, nor have an end.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] when it holds more.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = open(path)?.take(most.saturating_add(1));
    file.read_to_end(&mut content).map_err(Error::io("read", path))?;
    if content.len() as u64 > most {
        return Err(Error::file(path, format!("at most {most} bytes"), "more"));
    }
    Ok(content)
}

/// The content of a text file of at most `most` bytes.
///
/// # Errors
/// Those of [`read`]; [`Error::Io`] for text that is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let text = String::from_utf8(read(path, most)?).map_err(|error| error.utf8_error());
    text.map_err(|error| Error::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// A folder for files that can be computed again: any of them may vanish at any time.
///
/// Its content is trusted: compiled kernels are passed to the driver, and its files determine which kernels run.
/// Anyone who may write to the folder can therefore change what this program computes, and what its driver executes.
/// Checksums detect damage, but not malice: share a folder only with people whom you would let run programs under
/// your account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder(PathBuf);

impl CacheFolder {
    /// The environment variable that names the folder; empty, it turns caches off.
    pub const VARIABLE: &str = "WGCONV_CACHE";

    /// The folder at `path`, which is created when a file is written.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CacheFolder(path.into())
    }

    /// The folder that WGCONV_CACHE names, otherwise `wgconv` in the user's cache folder: `$XDG_CACHE_HOME`,
    /// `~/.cache`, on Windows `%LOCALAPPDATA%`. `None` if the variable is empty, or if the user has no home.
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

    /// The path of the file with this name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The content of a file; `None` if there is no such file, or if it is longer than `most` bytes.
    pub fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        read(&self.path(name), most).ok()
    }

    /// Writes a file, completely or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be created or written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(Error::io("create", &self.0))?;
        write_atomically(&self.path(name), content)
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`Error::Io`] when it exists and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", self.path(name))(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the files whose names begin with `prefix`, those that were written first, until the others take at most
    /// `most` bytes. What cannot be removed stays.
    pub fn remove_oldest(&self, prefix: &str, most: u64) {
        let files = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let ours = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
        let mut ours: Vec<_> = ours
            .filter_map(|file| {
                let metadata = file.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), file.path()))
            })
            .collect();
        ours.sort();
        let mut all: u64 = ours.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in ours {
            if all <= most {
                break;
            }
            if fs::remove_file(path).is_ok() {
                all -= bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_of_a_kind_make_room() {
        let place = tempfile::tempdir().unwrap();
        let folder = CacheFolder::new(place.path());
        let start = std::time::SystemTime::now();
        for (number, name) in ["a-2", "a-1", "b-0", "a-3"].into_iter().enumerate() {
            folder.write(name, b"four").unwrap();
            let file = File::options().write(true).open(folder.path(name)).unwrap();
            file.set_modified(start + std::time::Duration::from_secs(number as u64)).unwrap();
        }
        folder.remove_oldest("a-", 12);
        assert!(folder.read("a-2", 4).is_some());
        folder.remove_oldest("a-", 7);
        let left = ["a-1", "a-2", "a-3", "b-0"].map(|name| folder.read(name, 4).is_some());
        assert_eq!(left, [false, false, true, true]);
        CacheFolder::new(place.path().join("none")).remove_oldest("a-", 0);
    }

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
    fn a_file_is_read_up_to_its_most_and_refused_beyond() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read_text(&path, u64::MAX).unwrap(), "four");
        let error = read(&path, 3).unwrap_err().to_string();
        assert_eq!(error, format!("{}: expected at most 3 bytes, found more", path.display()));
        fs::write(&path, [b'a', 0xff]).unwrap();
        let error = read_text(&path, 4).unwrap_err().to_string();
        assert!(error.starts_with("cannot read ") && error.contains("invalid utf-8 sequence"), "{error}");
        assert!(matches!(read(place.path(), 4), Err(Error::Io { .. })));
        assert!(matches!(read(&place.path().join("none"), 4), Err(Error::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_without_a_writer() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read(&path, 4).unwrap(), b"");
        // The writer opens the pipe before the reader, as in a shell, but has not written yet.
        let both = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            io::Write::write_all(&mut &both, b"four").unwrap();
        });
        assert_eq!(read(&path, 4).unwrap(), b"four");
        writer.join().unwrap();
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
