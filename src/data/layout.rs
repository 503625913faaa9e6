//! Folders of pictures as they lie: which folder is a part, which is a class, which files are pictures.
//!
//! - `train`, `val` and `test` (or `training`, `valid`, `validation`, `testing`, `.._set`, in any case) are parts, if they
//!   hold folders; the folders in them are classes. Without such folders, the folders at the top are the classes.
//! - A class's pictures lie in its folder or below it, at any depth.
//! - An archive's only folder, and a folder in one of the same name, are looked into.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::found::{Found, Images, Part, PictureFile, in_turns};
use super::picture;
use super::skipped::{Skipped, is_junk};
use crate::{Error, Result};

/// The deepest folder that is looked into.
const MOST_FOLDERS: usize = 32;

/// Names of parts, in lower case and without `_set` at the end.
const PARTS: [(&str, Part); 7] = [
    ("train", Part::Train),
    ("training", Part::Train),
    ("val", Part::Validation),
    ("valid", Part::Validation),
    ("validation", Part::Validation),
    ("test", Part::Test),
    ("testing", Part::Test),
];

/// The part that a folder's or an array's name stands for.
pub(super) fn part_of(name: &str) -> Option<Part> {
    let name = name.to_lowercase();
    let name = name.strip_suffix("set").map_or(name.as_str(), |name| name.trim_end_matches(['_', '-', ' ']));
    PARTS.iter().find(|(part, _)| *part == name).map(|(_, part)| *part)
}

/// A class in one part.
struct Class {
    name: String,
    files: Vec<PictureFile>,
}

/// What was passed over.
#[derive(Default)]
struct PassedOver {
    files: Skipped,
    /// Pictures that lie in no class.
    loose: usize,
    /// Folders without a picture, and folders beside the parts.
    folders: Vec<PathBuf>,
}

/// The pictures below a folder, or `None` if no class has any. A folder that is called as one of the classes in `known` is
/// a class.
pub(super) fn load(top: &Path, known: &[String]) -> Result<Option<Found>> {
    let folder = without_wrapper(top, known)?;
    let mut passed_over = PassedOver::default();
    let (parts, others) = parts_in(&folder)?;
    let mut found: Vec<(Part, Vec<Class>)> = Vec::new();
    if parts.is_empty() {
        found.push((Part::All, classes_in(&folder, &mut passed_over)?));
    } else {
        passed_over.folders.extend(others);
        for (part, folder) in parts {
            // A doubled folder: train/train/CLASS.
            let inner = entries(&folder)?;
            let folder = match inner.as_slice() {
                [inner] if inner.file_name() == folder.file_name() && holds_folders(inner)? => inner,
                _ => &folder,
            };
            found.push((part, classes_in(folder, &mut passed_over)?));
        }
    }
    found.retain(|(_, classes)| !classes.is_empty());
    if found.is_empty() {
        return Ok(None);
    }
    let notes = passed_over.notes(top);
    let names: BTreeSet<&String> =
        found.iter().flat_map(|(_, classes)| classes).map(|class| &class.name).collect();
    let classes: Vec<String> = names.into_iter().cloned().collect();
    let label = |name: &String| classes.binary_search(name).expect("one of the classes") as u32;
    let parts = found.into_iter().map(|(part, found)| {
        let labelled = found.into_iter().flat_map(|Class { name, files }| {
            let label = label(&name);
            files.into_iter().map(move |file| PictureFile { label, ..file })
        });
        (part, Images::Files(in_turns(labelled.collect())))
    });
    Ok(Some(Found { parts: parts.collect(), classes: classes.clone(), notes }))
}

impl PassedOver {
    fn notes(&self, top: &Path) -> Vec<String> {
        let mut notes = Vec::from_iter(self.files.note());
        if self.loose > 0 {
            notes.push(format!("pictures in no class's folder, which are not used: {}", self.loose));
        }
        if !self.folders.is_empty() {
            let name = |path: &PathBuf| path.strip_prefix(top).unwrap_or(path).display().to_string();
            let names: Vec<String> = self.folders.iter().map(name).collect();
            notes.push(format!("not used, since they are no classes: {}", names.join(", ")));
        }
        notes
    }
}

/// Paths in a folder, sorted, without junk.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if !is_junk(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn holds_folders(folder: &Path) -> Result<bool> {
    Ok(folder.is_dir() && entries(folder)?.iter().any(|path| path.is_dir()))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder that an archive's only folder leads to.
fn without_wrapper(top: &Path, known: &[String]) -> Result<PathBuf> {
    let mut folder = top.to_path_buf();
    for _ in 0..MOST_FOLDERS {
        let inside = entries(&folder)?;
        let mut folders = inside.iter().filter(|path| path.is_dir());
        let (Some(only), None) = (folders.next(), folders.next()) else { break };
        let is_class = part_of(&name_of(only)).is_some() || known.contains(&name_of(only));
        let holds_pictures = |paths: &[PathBuf]| paths.iter().any(|path| path.is_file() && is_picture(path));
        let within = entries(only)?;
        let leads_on = within.iter().any(|path| path.is_dir()) && !holds_pictures(&within);
        if is_class || !leads_on || holds_pictures(&inside) {
            break;
        }
        folder = only.clone();
    }
    Ok(folder)
}

/// Parts of the data and their folders.
type Parts = Vec<(Part, PathBuf)>;

/// The parts in a folder, and the folders beside them; no parts if its folders are classes.
fn parts_in(folder: &Path) -> Result<(Parts, Vec<PathBuf>)> {
    let (mut parts, mut others) = (Parts::new(), Vec::new());
    for path in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        // A class may also be called "train"; that folder then holds pictures, not folders.
        match part_of(&name_of(&path)) {
            Some(part) if holds_folders(&path)? => {
                if let Some((_, first)) = parts.iter().find(|(other, _)| *other == part) {
                    let [first, second] = [first, &path].map(|path| name_of(path));
                    let expected = "one folder for each part of the data";
                    return Err(Error::file(folder, expected, format!("{first} and {second}")));
                }
                parts.push((part, path));
            }
            _ => others.push(path),
        }
    }
    // A class may be called "test" too.
    let are_parts = others.is_empty() || parts.iter().any(|(part, _)| *part == Part::Train);
    Ok(if are_parts { (parts, others) } else { (Vec::new(), Vec::new()) })
}

/// The classes below a folder, sorted by name; each holds at least one picture.
fn classes_in(folder: &Path, passed_over: &mut PassedOver) -> Result<Vec<Class>> {
    let mut classes = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            let files = pictures_below(&path, &mut passed_over.files)?;
            let name = name_of(&path);
            match files.is_empty() {
                true => passed_over.folders.push(path),
                false => classes.push(Class { name, files }),
            }
        } else if path.is_file() && is_picture(&path) {
            passed_over.loose += 1;
        } else {
            passed_over.files.add(&path);
        }
    }
    Ok(classes)
}

/// The pictures in a folder and below it, sorted by their paths.
pub(super) fn pictures_below(folder: &Path, skipped: &mut Skipped) -> Result<Vec<PictureFile>> {
    let walk = WalkDir::new(folder).follow_links(true).max_depth(MOST_FOLDERS).sort_by_file_name();
    let mut pictures = Vec::new();
    let full_path = fs::canonicalize(folder).map_err(Error::io("read", folder))?;
    // A link to the folder itself or to one that it lies in.
    let leads_up = |entry: &DirEntry| {
        let target = entry.path_is_symlink().then(|| fs::canonicalize(entry.path()).ok()).flatten();
        target.is_some_and(|target| full_path.starts_with(target))
    };
    let walk = walk.into_iter();
    let walk =
        walk.filter_entry(|entry| entry.depth() == 0 || !is_junk(entry.file_name()) && !leads_up(entry));
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            // A link to a folder above it adds nothing.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                return Err(Error::io("read", path)(error.into()));
            }
        };
        let path = entry.path();
        if entry.file_type().is_dir() {
            continue;
        }
        if entry.file_type().is_file() && is_picture(path) {
            let relative = path.strip_prefix(folder).expect("a path below the folder").to_path_buf();
            pictures.push(PictureFile::new(entry.into_path(), &relative, 0));
        } else {
            skipped.add(path);
        }
    }
    pictures.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(pictures)
}

/// The picture files in a folder and below it, sorted by their paths, and a line about the files that are none.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read.
pub fn picture_files(folder: &Path) -> Result<(Vec<PathBuf>, Option<String>)> {
    let mut skipped = Skipped::default();
    let pictures = pictures_below(folder, &mut skipped)?;
    Ok((pictures.into_iter().map(|picture| picture.path).collect(), skipped.note()))
}

/// Whether a file is a picture: by its name, otherwise by its content.
fn is_picture(path: &Path) -> bool {
    const NAMES: [&str; 15] = [
        "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff", "pbm", "pgm", "ppm",
        "pnm",
    ];
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if NAMES.iter().any(|name| extension.eq_ignore_ascii_case(name)) {
        return true;
    }
    let mut start = Vec::new();
    // What cannot be read is not a picture; if it has to be one, it is named when it is decoded.
    let read = File::open(path).and_then(|file| file.take(32).read_to_end(&mut start));
    read.is_ok() && picture::is_picture(&start)
}
