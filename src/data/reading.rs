//! What the readers of arrays share.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, Result, host_memory};

/// Whether an error says that a file's content is damaged, as opposed to that it cannot be read.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput | Other)
}

/// The next `wanted` bytes of `all` that a header promises; if all are wanted, no more may follow.
///
/// The buffer grows as data arrive, and reading stops one byte after the promised size, so that neither a header nor a
/// compressed file decides how much memory is taken. `what` says what the file should be, and `expected` what was
/// promised.
pub(super) fn read_exactly(
    path: &Path,
    reader: &mut dyn Read,
    wanted: u64,
    all: u64,
    what: &str,
    expected: &str,
) -> Result<Vec<u8>> {
    host_memory::check(&format!("reading {}", path.display()), wanted, "fewer images (--limit)")?;
    let mut data = Vec::new();
    let most = if wanted < all { wanted } else { all + 1 };
    reader.take(most).read_to_end(&mut data).map_err(|error| match is_damage(&error) {
        true => Error::file(path, what, format!("one that is cut off or damaged: {error}")),
        false => Error::io("read", path)(error),
    })?;
    match data.len() as u64 {
        found if found < wanted => Err(Error::file(path, expected, found)),
        found if found > wanted => Err(Error::file(path, expected, "more")),
        _ => Ok(data),
    }
}

/// The set called `named` of several sets of files in a folder, or the only one; `None` if there is none. The sets are
/// given by what the names of their files begin with.
///
/// # Errors
/// [`Error::File`] when there are several and none is named, listing them.
pub(super) fn one_set<T>(
    folder: &Path,
    mut sets: BTreeMap<String, T>,
    named: Option<&str>,
) -> Result<Option<(String, T)>> {
    let name = |prefix: &str| prefix.trim_end_matches(['-', '_', '.']).to_owned();
    if let Some(named) = named {
        return Ok(sets.into_iter().find(|(prefix, _)| name(prefix) == named));
    }
    if sets.len() > 1 {
        let names: Vec<String> = sets.keys().map(|prefix| format!("{:?}", name(prefix))).collect();
        let example =
            sets.keys().map(|prefix| name(prefix)).find(|name| !name.is_empty()).unwrap_or_default();
        let expected = format!("one dataset, named as in --data {}", folder.join(example).display());
        return Err(Error::file(folder, expected, format!("{}: {}", names.len(), names.join(", "))));
    }
    Ok(sets.pop_first())
}
