//! Writing files completely or not at all.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Writes a file under a temporary name beside `path` and renames it: a reader sees either the old content or the
/// new, never a part.
///
/// Only a regular file is replaced, or a missing file created. A symbolic link stays, and the file that it leads to
/// is replaced. The new file has the permissions of the old one, and its owner if that is allowed; without an old
/// one, the permissions of any new file. A device, a pipe or this program's own standard output is written to
/// directly.
///
/// Unfinished temporary files that a killed process has left in the same folder are removed.
///
/// # Errors
/// [`Error::Io`] when the folder, the existing file, or the device or pipe cannot be written; for a symbolic link
/// that leads nowhere; for a folder.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, Durability::AsItComes).map_err(Error::io("write", path))
}

/// As [`write_atomically`], but the content and the name are on the disk when it returns, as far as the system
/// guarantees it: after a power cut, either the old file or the new one is there.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_durably(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content, Durability::OnDisk).map_err(Error::io("write", path))
}

/// Adds `content` to the end of a regular file, which is created if it is not there. The content is on the disk when this
/// returns, as far as the system guarantees it; a process that is killed, or a power cut, may leave a part of it.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; it then ends as before, as far as the system allows.
pub fn append_durably(path: &Path, content: &[u8]) -> Result<()> {
    append(path, content).map_err(Error::io("write", path))
}

fn append(path: &Path, content: &[u8]) -> io::Result<()> {
    let is_new = fs::symlink_metadata(path).is_err();
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    if let Err(error) = file.write_all(content).and_then(|()| file.sync_all()) {
        let _ = file.set_len(length);
        return Err(error);
    }
    if is_new { sync_folder(folder_of(path)) } else { Ok(()) }
}

/// Checks that [`write_atomically`] can write a file, before work is done for it, without leaving anything behind.
///
/// # Errors
/// Those of [`write_atomically`], as far as they can be found without writing to a device or a pipe.
pub fn check_writable(path: &Path) -> Result<()> {
    let check = || match Place::at(path)? {
        Place::File { path, old: _ } => check_folder(folder_of(&path)),
        Place::Stream | Place::StandardOutput => Ok(()),
    };
    check().map_err(Error::io("write", path))
}

/// Checks that files can be created in a folder, without leaving anything behind.
pub(crate) fn check_folder(folder: &Path) -> io::Result<()> {
    temporary_file(folder, Readers::Owner).map(drop)
}

/// Whether writing to `path` writes to this program's standard output, as with `/dev/stdout`.
pub fn is_standard_output(path: &Path) -> bool {
    matches!(Place::at(path), Ok(Place::StandardOutput))
}

/// Makes changes to the names in a folder survive a power cut, if the system can sync folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    // The folder may be writable but not readable, or the file system may not support this: the error is ignored.
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    match folder.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Durability {
    AsItComes,
    OnDisk,
}

/// What a path leads to.
enum Place {
    /// A regular file, or a path that does not exist yet; symbolic links are resolved.
    File { path: PathBuf, old: Option<Metadata> },
    /// A device, a pipe, or anything else without content to replace.
    Stream,
    /// The file or pipe of standard output: printing and writing share one position.
    StandardOutput,
}

impl Place {
    fn at(path: &Path) -> io::Result<Place> {
        let old = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::free(path),
            old => old?,
        };
        if old.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if is_stdout(&old) {
            return Ok(Place::StandardOutput);
        }
        if !old.is_file() {
            return Ok(Place::Stream);
        }
        // Renaming requires permission for the folder only, so this checks that the file is not write-protected.
        OpenOptions::new().write(true).open(path)?;
        Ok(Place::File { path: fs::canonicalize(path)?, old: Some(old) })
    }

    /// A path that does not exist.
    fn free(path: &Path) -> io::Result<Place> {
        if let Ok(target) = fs::read_link(path) {
            let reason = format!("a symbolic link to {}, where nothing is", target.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        if !ends_in_a_name(path) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a name"));
        }
        Ok(Place::File { path: path.into(), old: None })
    }
}

/// Whether a path ends in the name of a file or folder, not in `..`, `.`, a slash or nothing.
fn ends_in_a_name(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.file_name().is_some_and(|name| bytes.ends_with(name.as_encoded_bytes()))
}

fn write(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    match Place::at(path)? {
        Place::File { path, old } => replace(&path, old, content, durability),
        Place::Stream => OpenOptions::new().write(true).open(path)?.write_all(content),
        Place::StandardOutput => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(content)?;
            stdout.flush()
        }
    }
}

fn replace(path: &Path, old: Option<Metadata>, content: &[u8], durability: Durability) -> io::Result<()> {
    let folder = folder_of(path);
    remove_leftovers(folder);
    let readers = if old.is_some() { Readers::Owner } else { Readers::AsUsual };
    let mut file = temporary_file(folder, readers)?;
    file.write_all(content)?;
    if let Some(old) = &old {
        give_permissions(file.as_file(), old)?;
    }
    if durability == Durability::OnDisk {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if durability == Durability::OnDisk {
        sync_folder(folder)?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Temporary files are called `.wgconv-XXXXXX.tmp`: short, since the file's own name may be as long as the system
/// allows.
const PREFIX: &str = ".wgconv-";
const SUFFIX: &str = ".tmp";

/// Who may read a temporary file.
#[derive(Clone, Copy, PartialEq)]
enum Readers {
    Owner,
    /// The same users as for any new file.
    AsUsual,
}

/// A temporary file, locked while it is open, so that [`remove_leftovers`] in another process can tell it from a file
/// that a killed process has left.
fn temporary_file(folder: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        if readers == Readers::Owner { 0o600 } else { 0o666 },
    );
    #[cfg(not(unix))]
    let _ = readers;
    loop {
        let file = builder.make_in(folder, |path| options.open(path))?;
        // On a file system without locks, no other process can lock this file either, and leftovers stay.
        let _ = file.as_file().lock();
        // Another process may have locked the file first, and removed it as a leftover.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes temporary files that no running process has open, as far as this is known and possible.
fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_ours = name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes());
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives a new file the owner and the permissions of the old one.
#[cfg(unix)]
fn give_permissions(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        // Only the superuser may change the owner; otherwise the user who writes the file becomes its owner.
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn give_permissions(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_stdout(metadata: &Metadata) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    // Devices have no position that could be shared.
    if metadata.file_type().is_char_device() {
        return false;
    }
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| File::from(stdout).metadata());
    stdout.is_ok_and(|stdout| (stdout.dev(), stdout.ino()) == (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn is_stdout(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a folder, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for content in ["the first", "2nd"] {
            check_writable(&path).unwrap();
            write_atomically(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            write_durably(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn what_is_added_comes_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for (content, whole) in [("one\n", "one\n"), ("", "one\n"), ("two\n", "one\ntwo\n")] {
            append_durably(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        }
        assert_eq!(names(folder.path()), ["a"]);
        let error = append_durably(folder.path(), b"a").unwrap_err().to_string();
        assert!(error.starts_with("cannot write "), "{error}");
    }

    #[test]
    fn what_cannot_be_written_is_known_before_and_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        fs::write(folder.path().join("file"), "kept").unwrap();
        let before = names(folder.path());
        let too_long = "x".repeat(256);
        for name in ["folder", "folder/", "nowhere/a", "file/a", "a/", "a/.", "nowhere/..", &too_long] {
            let path = folder.path().join(name);
            let [check, write] =
                [check_writable(&path), write_atomically(&path, b"new")].map(Result::unwrap_err);
            assert_eq!(check.to_string(), write.to_string(), "{name}");
        }
        assert!(check_writable(Path::new("")).is_err());
        assert_eq!(names(folder.path()), before);
        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "kept");

        let longest = folder.path().join("x".repeat(255));
        check_writable(&longest).unwrap();
        write_atomically(&longest, b"fits").unwrap();
        assert_eq!(fs::read(longest).unwrap(), b"fits");
    }

    #[test]
    fn leftovers_of_the_dead_go_and_files_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (_, left) = temporary_file(folder.path(), Readers::Owner).unwrap().keep().unwrap();
        let living = temporary_file(folder.path(), Readers::Owner).unwrap();
        for name in [".wgconv-notes", "wgconv-abcdef.tmp", ".tmpabcdef"] {
            fs::write(folder.path().join(name), "somebody's").unwrap();
        }
        fs::create_dir(folder.path().join(".wgconv-folder.tmp")).unwrap();
        write_atomically(&folder.path().join("a"), b"").unwrap();
        assert!(!left.exists());
        assert!(living.path().exists());
        assert_eq!(names(folder.path()).len(), 6, "{:?}", names(folder.path()));
        drop(living);
        assert_eq!(names(folder.path()).len(), 5, "{:?}", names(folder.path()));
    }

    #[test]
    fn threads_that_write_one_folder_at_once_take_nothing_from_each_other() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = folder.path().join(format!("{}", writer % 2));
                scope.spawn(move || (0..200).for_each(|_| write_atomically(&path, b"whole").unwrap()));
            }
        });
        assert_eq!(names(folder.path()), ["0", "1"]);
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        use std::process::Command;

        use super::*;

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o7777
        }

        #[test]
        fn permissions_are_kept_and_those_of_a_new_file_are_the_usual_ones() {
            let folder = tempfile::tempdir().unwrap();
            let [usual, ours] = ["usual", "ours"].map(|name| folder.path().join(name));
            fs::write(&usual, "").unwrap();
            write_atomically(&ours, b"").unwrap();
            assert_eq!(mode(&ours), mode(&usual));
            for permissions in [0o600, 0o640, 0o666, 0o755] {
                fs::set_permissions(&ours, fs::Permissions::from_mode(permissions)).unwrap();
                write_atomically(&ours, b"new").unwrap();
                assert_eq!(mode(&ours), permissions);
            }
        }

        #[test]
        fn a_link_stays_and_its_target_is_replaced() {
            let folder = tempfile::tempdir().unwrap();
            let [target, link, dangling] =
                ["elsewhere/target", "link", "dangling"].map(|name| folder.path().join(name));
            fs::create_dir(folder.path().join("elsewhere")).unwrap();
            fs::write(&target, "old").unwrap();
            symlink("elsewhere/target", &link).unwrap();
            check_writable(&link).unwrap();
            write_atomically(&link, b"new").unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("elsewhere/target"));
            assert_eq!(fs::read(&target).unwrap(), b"new");

            symlink("nowhere", &dangling).unwrap();
            for result in [check_writable(&dangling), write_atomically(&dangling, b"new")] {
                let message = result.unwrap_err().to_string();
                assert!(message.ends_with("a symbolic link to nowhere, where nothing is"), "{message}");
            }
        }

        #[test]
        fn pipes_and_devices_are_written_to() {
            let folder = tempfile::tempdir().unwrap();
            let pipe = folder.path().join("pipe");
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            check_writable(&pipe).unwrap();
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::read(pipe).unwrap()
            });
            write_atomically(&pipe, b"through").unwrap();
            assert_eq!(reader.join().unwrap(), b"through");
            assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

            // Through a link, so that a bug does not destroy a device.
            let null = folder.path().join("null");
            symlink("/dev/null", &null).unwrap();
            check_writable(&null).unwrap();
            write_durably(&null, b"gone").unwrap();
            assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
            assert_eq!(fs::read_link(&null).unwrap(), Path::new("/dev/null"));
        }
    }
}
