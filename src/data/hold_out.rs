//! Which images are held out of training: chance that depends on each image alone.
//!
//! An image is held out if the hash of its name and the seed, as a number from 0 to 1, is below the share. What is added
//! to the data or taken away later therefore never moves another image from one side to the other.

use std::collections::HashMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What images are held out for; one image's chance for one is independent of that for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Test,
    Validation,
}

/// The number from 0 to below 1 that decides whether an image is held out. `key` is the image's path within its class,
/// or its pixels if it has no name.
fn chance(key: &[u8], purpose: Purpose, seed: u64) -> f64 {
    let purpose: &[u8] = match purpose {
        Purpose::Test => b"test",
        Purpose::Validation => b"validation",
    };
    let hash = xxh3_64_with_seed(key, xxh3_64_with_seed(purpose, seed));
    // The upper 53 bits: as many as a double holds exactly.
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Whether each image is held out; images are given by their class and key.
///
/// Of each class that has two images or more, at least one is held out, the one with the smallest number, and at least
/// one is not, the one with the largest.
pub(super) fn held_out<'a>(
    images: impl Iterator<Item = (u32, &'a [u8])>,
    share: f64,
    purpose: Purpose,
    seed: u64,
) -> Vec<bool> {
    let chances: Vec<(u32, f64)> = images.map(|(class, key)| (class, chance(key, purpose, seed))).collect();
    let mut is_held_out: Vec<bool> = chances.iter().map(|(_, chance)| *chance < share).collect();
    let mut classes = HashMap::<u32, [usize; 2]>::new();
    for (row, &(class, chance)) in chances.iter().enumerate() {
        let [least, most] = classes.entry(class).or_insert([row; 2]);
        // Of equal ones, the first is the least and the last the most.
        if chance < chances[*least].1 {
            *least = row;
        }
        if chance >= chances[*most].1 {
            *most = row;
        }
    }
    for [least, most] in classes.into_values() {
        is_held_out[least] = true;
        is_held_out[most] = false;
    }
    is_held_out
}

/// A number for an image's pixels, for finding equal ones.
pub(super) fn fingerprint(pixels: &[u8]) -> u64 {
    xxh3_64(pixels)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(class: usize, count: usize) -> Vec<(u32, String)> {
        (0..count).map(|number| (class as u32, format!("{class}/{number:04}.png"))).collect()
    }

    fn split(names: &[(u32, String)], seed: u64) -> BTreeSet<&str> {
        let keys = names.iter().map(|(class, name)| (*class, name.as_bytes()));
        let held_out = held_out(keys, 1.0 / 6.0, Purpose::Test, seed);
        names.iter().zip(held_out).filter(|(_, out)| *out).map(|((_, name), _)| name.as_str()).collect()
    }

    #[test]
    fn a_share_of_each_class_is_held_out() {
        let all: Vec<_> = (0..3).flat_map(|class| names(class, 1200)).collect();
        for class in 0..3 {
            let prefix = format!("{class}/");
            let count = split(&all, 0).iter().filter(|name| name.starts_with(&prefix)).count();
            // Five deviations on either side of 200.
            assert!((135..=265).contains(&count), "{count}");
        }
        assert_ne!(split(&all, 0), split(&all, 1));
    }

    #[test]
    fn images_that_are_added_never_move_a_training_image_into_the_test() {
        for seed in 0..20 {
            let all = names(0, 60);
            // A few at first, in any order, then more.
            let first: Vec<_> = all.iter().rev().step_by(7).cloned().collect();
            let test = split(&first, seed);
            let later = split(&all, seed);
            let moved = first.iter().map(|(_, name)| name.as_str()).filter(|name| later.contains(name));
            let moved: Vec<_> = moved.filter(|name| !test.contains(name)).collect();
            assert_eq!(moved, [""; 0], "seed {seed}");
        }
    }

    #[test]
    fn a_small_class_has_images_on_both_sides() {
        for seed in 0..200 {
            for count in 2..6 {
                let out = split(&names(0, count), seed).len();
                assert!((1..count).contains(&out), "{out} of {count}");
            }
        }
        // Equal images too.
        let equal = held_out([(0, &b"same"[..]); 4].into_iter(), 0.5, Purpose::Validation, 0);
        assert!(equal.contains(&true) && equal.contains(&false));
    }

    /// The numbers that runs depend on: they must be the same in every version and on every machine.
    #[test]
    fn the_choice_is_fixed_for_ever() {
        let chances: Vec<String> =
            ["a.png", "b.png"].map(|name| format!("{:.6}", chance(name.as_bytes(), Purpose::Test, 7))).into();
        assert_eq!(chances, ["0.687359", "0.601775"]);
    }
}
