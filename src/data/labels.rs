//! Picture files whose classes are in a CSV file: `--labels train.csv`.
//!
//! The columns are found by their names in the first line, in any case: one of [`FILES`] and one of [`LABELS`]; in a file
//! of two columns, whatever they are called. Further columns are ignored. A file's name may be a path below the folder of
//! pictures or a name alone, with or without its extension; it must mean one picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::found::{Found, Images, Part, PictureFile, in_turns};
use super::layout::pictures_below;
use super::skipped::Skipped;
use crate::{Error, Result, files};

/// The largest CSV file, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// Names of the column of files.
const FILES: [&str; 14] = [
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "path",
    "image",
    "image_name",
    "image_path",
    "image_id",
    "img",
    "name",
    "id",
    "id_code",
];

/// Names of the column of classes.
const LABELS: [&str; 7] = ["label", "class", "category", "target", "label_name", "class_name", "species"];

/// The pictures below `folder` that the file at `labels` names.
pub(super) fn load(folder: &Path, labels: &Path) -> Result<Found> {
    let rows = read(labels)?;
    let names: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let mut classes: Vec<String> = names.into_iter().map(String::from).collect();
    // Numbers in their order, so that class 10 comes after class 9.
    if classes.iter().all(|name| name.parse::<u64>().is_ok()) {
        classes.sort_by_key(|name| (name.parse::<u64>().ok(), name.clone()));
    }
    let label_of: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();

    let mut skipped = Skipped::default();
    let pictures = pictures_below(folder, &mut skipped)?;
    let index = Index::new(&pictures, labels);
    let mut taken = BTreeMap::<usize, &Row>::new();
    for row in &rows {
        let wrong = |expected: String, found: String| {
            Err(Error::file(labels, format!("{expected} in line {}", row.line), found))
        };
        let picture = match index.find(&row.file) {
            Some(&[only]) => only,
            None => {
                let expected = format!("the name of a picture below {}", folder.display());
                return wrong(expected, format!("{:?}", row.file));
            }
            Some(several) => {
                let paths = several.iter().map(|&picture| pictures[picture].path.display().to_string());
                let paths: Vec<String> = paths.take(3).collect();
                let found = format!("{:?}, which may be {}", row.file, paths.join(" or "));
                return wrong("the name of one picture".into(), found);
            }
        };
        if let Some(first) = taken.insert(picture, row)
            && first.label != row.label
        {
            let expected = format!("class {:?} of {:?}, as in line {},", first.label, row.file, first.line);
            return wrong(expected, format!("{:?}", row.label));
        }
    }
    let unnamed = pictures.len() - taken.len();
    let labelled = taken.into_iter().map(|(picture, row)| {
        let label = label_of[row.label.as_str()];
        PictureFile { label, ..pictures[picture].clone() }
    });
    let labelled = in_turns(labelled.collect());
    let mut notes = Vec::new();
    if unnamed > 0 {
        notes.push(format!("pictures without a line in {}, which are not used: {unnamed}", labels.display()));
    }
    Ok(Found { classes, parts: vec![(Part::All, Images::Files(labelled))], notes })
}

/// A line of the file.
struct Row {
    file: String,
    label: String,
    line: u64,
}

fn read(path: &Path) -> Result<Vec<Row>> {
    let content = files::read(path, MOST_BYTES)?;
    // Excel begins a file with a byte-order mark.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let wrong = |error: csv::Error| Error::file(path, "a CSV file with a line of names", error);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let header: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_lowercase).collect();
    let column = |names: &[&str], other: usize| {
        let named = names.iter().find_map(|name| header.iter().position(|column| column == name));
        named.or((header.len() == 2).then_some(other))
    };
    let (file, label) = match (column(&FILES, 0), column(&LABELS, 1)) {
        (Some(file), Some(label)) if file != label => (file, label),
        _ => {
            let expected = "a first line that names the columns, such as file,label";
            return Err(Error::file(path, expected, header.join(",")));
        }
    };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |column: usize| record.get(column).unwrap_or_default().to_owned();
        let row = Row { file: text(file), label: text(label), line };
        if row.file.is_empty() || row.label.is_empty() {
            return Err(Error::file(path, format!("a file and its class in line {line}"), "an empty one"));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Error::file(path, "lines of files and their classes", "none"));
    }
    Ok(rows)
}

/// Pictures by everything that may stand for them.
struct Index {
    /// By path, by path without extension, by name, by name without extension: an earlier kind goes first.
    kinds: [HashMap<String, Vec<usize>>; 4],
}

impl Index {
    /// Of several pictures of one name, those in a folder called as the labels are count alone: `train/1.png` for
    /// `train.csv`, beside `test/1.png`.
    fn new(pictures: &[PictureFile], labels: &Path) -> Index {
        let stem = labels.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut kinds: [HashMap<String, Vec<usize>>; 4] = Default::default();
        for (number, picture) in pictures.iter().enumerate() {
            let path = String::from_utf8_lossy(&picture.key).into_owned();
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let keys = [path.clone(), without_extension(&path), name.clone(), without_extension(&name)];
            for (kind, key) in kinds.iter_mut().zip(keys) {
                kind.entry(key).or_default().push(number);
            }
        }
        let prefix = format!("{stem}/").into_bytes();
        for several in kinds.iter_mut().flat_map(HashMap::values_mut).filter(|several| several.len() > 1) {
            let preferred =
                several.iter().copied().filter(|&number| pictures[number].key.starts_with(&prefix));
            let preferred: Vec<usize> = preferred.collect();
            if !preferred.is_empty() {
                *several = preferred;
            }
        }
        Index { kinds }
    }

    fn find(&self, name: &str) -> Option<&[usize]> {
        let name = name.replace('\\', "/");
        let name = name.trim_start_matches("./");
        self.kinds.iter().find_map(|kind| kind.get(name)).map(Vec::as_slice)
    }
}

fn without_extension(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    if folder.is_empty() { stem.into() } else { format!("{folder}/{stem}") }
}

/// The file of labels, as the user named it: from the working directory, or in the folder of the pictures.
pub(super) fn locate(folder: &Path, labels: &Path) -> PathBuf {
    let inside = folder.join(labels);
    if !labels.exists() && inside.exists() { inside } else { labels.into() }
}
