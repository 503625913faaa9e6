//! Resized pictures kept between starts of the program, since decoding large ones takes most of the time of a load.
//!
//! A picture is known again by the hash of its file's content. One cache file holds the pictures of a folder in one
//! preprocessing:
//!
//! ```text
//! the preprocessing, as a line | hash of a file (16 bytes), whether it is transparent (1), its pixels | .. | checksum (8)
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::Preprocessing;
use crate::files::CacheFolder;
use crate::host_memory;

/// What the names of cache files begin with.
const PREFIX: &str = "pictures-";
/// A longer file is neither read nor written; nor is one that takes more than a share of the memory that is left, since it
/// is in memory beside the images themselves, and twice while it is written.
const MOST_BYTES: u64 = 1 << 30;
const SHARE_OF_MEMORY: u64 = 8;
/// What the cache files of all folders and preprocessings may take together.
const MOST_OF_ALL: u64 = 4 << 30;

const HASH: usize = 16;
const CHECKSUM: usize = 8;

/// The pictures of a folder that were resized before.
///
/// No problem with the cache is an error: pictures are then decoded again.
pub(super) struct Resized {
    folder: CacheFolder,
    name: String,
    head: Vec<u8>,
    /// The longest file, in bytes.
    most: u64,
    /// Bytes of an entry: hash, transparency, pixels.
    entry: usize,
    /// Entries of the file.
    kept: Vec<u8>,
    /// Where each picture's entry begins.
    places: HashMap<u128, usize>,
    /// How many pictures were found in it.
    used: AtomicUsize,
    news: Mutex<Vec<u8>>,
}

impl Resized {
    /// What `folder` keeps of the pictures in `source`; `None` if there is no such source.
    pub fn open(folder: &CacheFolder, source: &Path, preprocessing: &Preprocessing) -> Option<Resized> {
        let Preprocessing { image_size: [height, width], channels, fit, background, .. } = preprocessing;
        let version = env!("CARGO_PKG_VERSION");
        let head =
            format!("wgconv {version} pictures {height}x{width}x{channels} --fit {fit} on {background}\n");
        let path = fs::canonicalize(source).ok()?;
        let file = [path.as_os_str().as_encoded_bytes(), head.as_bytes()].concat();
        let available = host_memory::available().unwrap_or(u64::MAX);
        let mut resized = Resized {
            folder: folder.clone(),
            name: format!("{PREFIX}{:032x}.bin", xxh3_128(&file)),
            head: head.into_bytes(),
            most: MOST_BYTES.min(available / SHARE_OF_MEMORY),
            entry: HASH + 1 + preprocessing.image().elements(),
            kept: Vec::new(),
            places: HashMap::new(),
            used: AtomicUsize::new(0),
            news: Mutex::default(),
        };
        if let Some(file) = resized.folder.read(&resized.name, resized.most)
            && let Some(entries) = resized.entries(&file)
        {
            resized.kept = entries.to_vec();
            let places = resized.kept.chunks_exact(resized.entry).enumerate();
            resized.places = places.map(|(number, entry)| (hash_of(entry), number * resized.entry)).collect();
        }
        Some(resized)
    }

    /// The entries of a file that is sound and of this preprocessing.
    fn entries<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let (content, checksum) = file.split_last_chunk::<CHECKSUM>()?;
        let entries = content.strip_prefix(self.head.as_slice())?;
        let is_sound = u64::from_le_bytes(*checksum) == xxh3_64(content);
        (is_sound && entries.len().is_multiple_of(self.entry)).then_some(entries)
    }

    /// The pixels that the picture file of this content became before, and whether it was transparent.
    pub fn get(&self, file: &[u8]) -> Option<(&[u8], bool)> {
        let place = *self.places.get(&xxh3_128(file))?;
        self.used.fetch_add(1, Ordering::Relaxed);
        let entry = &self.kept[place..place + self.entry];
        Some((&entry[HASH + 1..], entry[HASH] != 0))
    }

    /// Keeps what the picture file of this content became.
    pub fn add(&self, file: &[u8], pixels: &[u8], was_transparent: bool) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if ((self.head.len() + news.len() + self.entry + CHECKSUM) as u64) <= self.most {
            news.extend_from_slice(&xxh3_128(file).to_le_bytes());
            news.push(was_transparent.into());
            news.extend_from_slice(pixels);
        }
    }

    /// Writes the cache file, if there is anything new.
    pub fn save(self) {
        let Resized { folder, name, head, most, entry, kept, used, news, .. } = self;
        let news = news.into_inner().unwrap_or_else(PoisonError::into_inner);
        if news.is_empty() {
            return;
        }
        let has_room = ((head.len() + kept.len() + news.len() + CHECKSUM) as u64) <= most;
        // A full file stays as it is, unless most of what it holds is of pictures that are gone.
        let entries = match has_room {
            true => kept,
            false if used.into_inner() >= kept.len() / entry / 2 => return,
            false => Vec::new(),
        };
        let mut file = [head, entries, news].concat();
        file.extend_from_slice(&xxh3_64(&file).to_le_bytes());
        // The folder may be read-only or the disk full; the next load decodes again.
        let _ = folder.write(&name, &file);
        folder.remove_oldest(PREFIX, MOST_OF_ALL);
    }
}

fn hash_of(entry: &[u8]) -> u128 {
    u128::from_le_bytes(*entry.first_chunk().expect("an entry begins with a hash"))
}
