//! Resized pictures are kept in the cache: the same pixels come from it as from the files, and from nothing that is damaged,
//! foreign or of other pictures.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wgconv::data::{Colour, DataSplits, Fit, LoadOptions, load};
use wgconv::files::CacheFolder;
use xxhash_rust::xxh3::xxh3_64;

/// A folder of pictures and a folder of caches.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Place(tempfile::tempdir().unwrap());
        for class in ["a", "b"] {
            for number in 0..4u8 {
                place.write(&format!("{class}/{number}.png"), 10 + 3 * number, class == "b");
            }
        }
        place
    }

    /// A picture of 20x16 pixels, transparent or not.
    fn write(&self, name: &str, value: u8, is_transparent: bool) {
        let path = self.0.path().join("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let alpha = if is_transparent { 90 } else { 255 };
        image::RgbaImage::from_fn(16, 20, |x, y| image::Rgba([value, 11 * x as u8, 9 * y as u8, alpha]))
            .save(path)
            .unwrap();
    }

    fn load(&self, options: LoadOptions) -> DataSplits {
        load(self.0.path().join("data").to_str().unwrap(), &options).unwrap()
    }

    /// As it is loaded with the cache, which must be as without.
    #[track_caller]
    fn load_both(&self, options: LoadOptions) -> DataSplits {
        let cache = Some(CacheFolder::new(self.0.path().join("cache")));
        let data = self.load(LoadOptions { cache, ..options.clone() });
        assert_eq!(data, self.load(options));
        data
    }

    fn caches(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.0.path().join("cache")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn cache(&self) -> PathBuf {
        let caches = self.caches();
        assert_eq!(caches.len(), 1, "{caches:?}");
        caches.into_iter().next().unwrap()
    }
}

fn small() -> LoadOptions {
    LoadOptions { image_size: Some([5, 5]), ..LoadOptions::default() }
}

/// The content with a checksum that is right.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &xxh3_64(content).to_le_bytes()].concat()
}

#[test]
fn what_was_resized_once_is_taken_from_the_cache() {
    let place = Place::new();
    let first = place.load_both(small());
    assert!(first.notes.iter().any(|note| note.starts_with("4 of 8 pictures are transparent")), "{first:?}");
    let file = fs::read(place.cache()).unwrap();
    assert_eq!(place.load_both(small()), first);
    assert_eq!(fs::read(place.cache()).unwrap(), file);

    // That the cache is read shows in pixels that are in it alone.
    let content = &file[..file.len() - 8];
    let first_entry = content.len() - 8 * (16 + 1 + 75);
    let mut planted = content.to_vec();
    planted[first_entry + 17..].chunks_mut(16 + 1 + 75).for_each(|entry| {
        let length = entry.len().min(75);
        entry[..length].fill(77);
    });
    fs::write(place.cache(), sealed(&planted)).unwrap();
    let cache = Some(CacheFolder::new(place.0.path().join("cache")));
    let data = place.load(LoadOptions { cache, ..small() });
    assert!(data.train.images.iter().chain(data.test.images.iter()).all(|&value| value == 77));
}

#[test]
fn a_damaged_cache_is_written_anew() {
    let place = Place::new();
    let first = place.load_both(small());
    let file = fs::read(place.cache()).unwrap();
    let content = &file[..file.len() - 8];
    let damaged = (0..file.len()).step_by(7).map(|place| {
        let mut damaged = file.clone();
        damaged[place] ^= 1;
        damaged
    });
    let others = [
        Vec::new(),
        file[..file.len() / 2].to_vec(),
        [&file[..], b"more"].concat(),
        // Of another version, and cut off, with checksums that are right.
        sealed(&[b"x", content].concat()),
        sealed(&content[..content.len() - 1]),
        sealed(b""),
    ];
    for damaged in damaged.chain(others) {
        fs::write(place.cache(), &damaged).unwrap();
        assert_eq!(place.load_both(small()), first);
        // Entries are in no order.
        assert_eq!(fs::metadata(place.cache()).unwrap().len(), file.len() as u64);
    }
}

#[test]
fn pictures_are_known_by_their_content() {
    let place = Place::new();
    place.load_both(small());
    let before = fs::metadata(place.cache()).unwrap().len();
    // The same name with another content, and another name with the same content.
    place.write("a/1.png", 200, false);
    fs::rename(place.0.path().join("data/b/1.png"), place.0.path().join("data/b/9.png")).unwrap();
    place.load_both(small());
    // One picture more.
    assert_eq!(fs::metadata(place.cache()).unwrap().len(), before + 16 + 1 + 75);
    // Another choice of test images needs no new picture.
    place.load_both(LoadOptions { seed: 5, ..small() });
    assert_eq!(fs::metadata(place.cache()).unwrap().len(), before + 16 + 1 + 75);
}

#[test]
fn each_preprocessing_has_a_cache_of_its_own() {
    let place = Place::new();
    let all = [
        small(),
        LoadOptions { image_size: Some([5, 6]), ..small() },
        LoadOptions { channels: Some(1), ..small() },
        LoadOptions { fit: Fit::Pad, ..small() },
        LoadOptions { background: Colour::BLACK, ..small() },
    ];
    for round in 0..2 {
        for (number, options) in all.iter().enumerate() {
            place.load_both(options.clone());
            assert_eq!(place.caches().len(), if round == 0 { number + 1 } else { all.len() });
        }
    }
}

#[test]
fn what_is_not_resized_is_not_kept() {
    let place = Place::new();
    place.load_both(LoadOptions::default());
    place.load_both(LoadOptions { image_size: Some([20, 16]), ..small() });
    assert_eq!(place.caches(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let place = Place::new();
    fs::write(place.0.path().join("cache"), "a file").unwrap();
    place.load_both(small());
}
