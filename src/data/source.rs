//! What a source's name stands for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::found::{Found, Images, Part};
use super::layout::entries;
use super::skipped::Skipped;
use super::{LoadOptions, TEST_ROWS, TRAIN_ROWS, cifar, idx, labels, layout, numpy, synthetic};
use crate::{Error, Result};

/// The source that needs no file.
const SYNTHETIC: &str = "synthetic";

/// The most folders in one another that are looked into for arrays.
const MOST_FOLDERS: usize = 4;

/// The name of the data, and what they hold. Folders that are called as a class in `known` are classes.
pub(super) fn find(source: &str, options: &LoadOptions, known: &[String]) -> Result<(String, Found)> {
    let path = Path::new(source);
    let is_named = |extension: &str| path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension));
    let name = |stem: bool| -> Result<String> {
        let full_path = fs::canonicalize(path).map_err(Error::io("read", path))?;
        let name = if stem { full_path.file_stem() } else { full_path.file_name() };
        Ok(name.map_or_else(|| source.into(), |name| name.to_string_lossy().into_owned()))
    };
    if options.labels.is_some() && !(path.is_dir() && source != SYNTHETIC) {
        return Err(Error::invalid("data", "a folder of pictures, for --labels", format!("{source:?}")));
    }
    if source == SYNTHETIC {
        return Ok((SYNTHETIC.into(), synthetic_digits(options)));
    }
    if path.is_dir() {
        let found = match &options.labels {
            Some(labels) => labels::load(path, &labels::locate(path, labels))?,
            None => match arrays_within(path, options)? {
                Some(found) => found,
                None => match layout::load(path, known)? {
                    Some(found) => found,
                    None => return Err(nothing_in(path)),
                },
            },
        };
        return Ok((name(false)?, found));
    }
    if path.is_file() && is_named("npz") {
        return Ok((name(true)?, numpy::load_file(path, options)?));
    }
    if let (Some(folder), Some(set)) = (parent(path), path.file_name().and_then(|name| name.to_str()))
        && !path.exists()
        && folder.is_dir()
        && let Some(found) = arrays(folder, Some(set), options)?
    {
        return Ok((set.into(), found));
    }
    let what = if path.exists() { "which is neither" } else { "which is no folder" };
    Err(Error::invalid("data", "`synthetic`, a folder or an .npz file", format!("{source:?}, {what}")))
}

fn synthetic_digits(options: &LoadOptions) -> Found {
    let training = TRAIN_ROWS.min(options.training_rows());
    let digits = synthetic(options.seed, training, TEST_ROWS.min(options.rows()));
    let classes = digits.train.classes.clone();
    let parts = vec![(Part::Train, Images::from(digits.train)), (Part::Test, Images::from(digits.test))];
    Found { classes, parts, notes: Vec::new() }
}

/// The arrays in a folder, of the set called `named` if there are several.
fn arrays(folder: &Path, named: Option<&str>, options: &LoadOptions) -> Result<Option<Found>> {
    if let Some(found) = idx::load(folder, named, options)? {
        return Ok(Some(found));
    }
    if let Some(found) = numpy::load(folder, named, options)? {
        return Ok(Some(found));
    }
    if named.is_some() { Ok(None) } else { cifar::load(folder, options) }
}

/// The arrays in a folder, in `raw` within it (as torchvision's `MNIST/raw`), or in its only folder.
fn arrays_within(folder: &Path, options: &LoadOptions) -> Result<Option<Found>> {
    let mut folder: PathBuf = folder.into();
    for _ in 0..MOST_FOLDERS {
        if let Some(found) = arrays(&folder, None, options)? {
            return Ok(Some(found));
        }
        let mut folders = entries(&folder)?.into_iter().filter(|path| path.is_dir());
        let raw = folder.join("raw");
        folder = match (folders.next(), folders.next()) {
            _ if raw.is_dir() => raw,
            (Some(only), None) => only,
            _ => return Ok(None),
        };
    }
    Ok(None)
}

/// The error for a folder that holds neither arrays nor classes of pictures; it names the arrays further below.
fn nothing_in(folder: &Path) -> Error {
    let is_array = |entry: &DirEntry| {
        let name = entry.file_name().to_str().unwrap_or_default();
        idx::is_idx(name) || name.ends_with(".npz") || cifar::is_cifar(name)
    };
    let below = WalkDir::new(folder).max_depth(MOST_FOLDERS).sort_by_file_name().into_iter().flatten();
    let arrays = below.filter(|entry| entry.file_type().is_file() && is_array(entry));
    let folders: BTreeSet<String> =
        arrays.filter_map(|entry| Some(entry.path().parent()?.display().to_string())).collect();
    if !folders.is_empty() {
        let found = Vec::from_iter(folders).join(", ");
        return Error::file(folder, "one dataset, by the folder that holds it", format!("files in {found}"));
    }
    let mut skipped = Skipped::default();
    let pictures = layout::pictures_below(folder, &mut skipped).map_or(0, |pictures| pictures.len());
    let found = match pictures {
        0 => "none of them".into(),
        count => format!("pictures ({count}) in no folder of a class"),
    };
    let expected =
        "pictures in one folder a class (or --labels FILE.csv), IDX files, NumPy files or CIFAR binaries";
    Error::file(folder, expected, found)
}

/// The same source, as a name that is valid from any working directory.
///
/// # Errors
/// [`Error::Io`] when there is no such folder or file.
pub fn absolute(source: &str) -> Result<String> {
    if source == SYNTHETIC {
        return Ok(source.into());
    }
    let path = Path::new(source);
    let full_path = match (path.exists(), parent(path), path.file_name()) {
        // The name of a set in a folder.
        (false, Some(parent), Some(set)) => fs::canonicalize(parent).map(|parent| parent.join(set)),
        _ => fs::canonicalize(path),
    };
    Ok(full_path.map_err(Error::io("read", source))?.to_string_lossy().into_owned())
}

/// The path of a file of labels for the pictures in `source`, as [`LoadOptions::labels`] names it, valid from any working
/// directory.
///
/// # Errors
/// [`Error::Io`] when there is no such file.
pub fn absolute_labels(source: &str, labels: &Path) -> Result<PathBuf> {
    fs::canonicalize(labels::locate(Path::new(source), labels)).map_err(Error::io("read", labels))
}

/// The folder that a path lies in.
fn parent(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}
