//! Small damage to files, which turns a valid input into one that a reader does not expect.

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// An input: files and their paths below a folder.
pub type Files = Vec<(String, Vec<u8>)>;

/// Longer files are cut, since small ones are enough.
const LONGEST_FILE: usize = 64 << 10;

/// Numbers at which sizes overflow, wrap or vanish.
const NUMBERS: [u64; 12] = [
    0,
    1,
    127,
    255,
    4096,
    65_535,
    (1 << 24) + 1,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

/// Text that means something to a parser, to a terminal or to a file system.
const TEXTS: [&str; 22] = [
    "-1",
    "1e999",
    "NaN",
    "inf",
    "0.0",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\n",
    "\r",
    "\0",
    "\u{1b}[2J",
    "../",
    "/dev/null",
    "=",
    "[[layers]]\n",
    "\u{202e}",
    "999999999999999999999",
];

/// `files` with some damage; parts of the input `other` may be copied into them.
pub fn mutated(files: &Files, other: &Files, rng: &mut ChaCha8Rng) -> Files {
    let mut files = files.clone();
    // Most readers stop at the first fault, so that a single fault gets furthest.
    let faults = if rng.random() { 1 } else { rng.random_range(1..=8) };
    for _ in 0..faults {
        if files.is_empty() {
            break;
        }
        let number = rng.random_range(0..files.len());
        match rng.random_range(0..40) {
            0 => drop(files.remove(number)),
            1 => {
                let copy = files[number].1.clone();
                let name = &files.choose(rng).expect("a file").0;
                files.push((format!("{name}.more"), copy));
            }
            2 => {
                let content = other.choose(rng).map_or_else(Vec::new, |(_, content)| content.clone());
                files[number].1 = content;
            }
            _ => damage(&mut files[number].1, other, rng),
        }
    }
    files
}

/// Damages one file.
fn damage(content: &mut Vec<u8>, other: &Files, rng: &mut ChaCha8Rng) {
    // Headers matter most, and are at the start.
    let near_start = rng.random_bool(0.5);
    let place = |content: &[u8], rng: &mut ChaCha8Rng| {
        let length = if near_start { content.len().min(64) } else { content.len() };
        rng.random_range(0..=length)
    };
    let first = place(content, rng);
    match rng.random_range(0..10) {
        0 => content.truncate(first),
        1 => {
            if let Some(byte) = content.get_mut(first) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
        2 => {
            if let Some(byte) = content.get_mut(first) {
                *byte = rng.random();
            }
        }
        3 => {
            let number = *NUMBERS.choose(rng).expect("a number");
            let width = 1usize << rng.random_range(0..4u32);
            let bytes = if rng.random() {
                number.to_le_bytes()[..width].to_vec()
            } else {
                number.to_be_bytes()[8 - width..].to_vec()
            };
            let end = (first + width).min(content.len());
            content.splice(first..end, bytes);
        }
        4 => {
            let end = (first + rng.random_range(1..32)).min(content.len());
            content.drain(first..end);
        }
        5 => {
            let end = (first + rng.random_range(1..64)).min(content.len());
            let copy = content[first..end].to_vec();
            let to = place(content, rng);
            content.splice(to..to, copy);
        }
        6 => {
            let text = *TEXTS.choose(rng).expect("a text");
            content.splice(first..first, text.bytes());
        }
        7 => replace_number(content, rng),
        8 => {
            let source = other.choose(rng).map_or(&[][..], |(_, content)| content);
            let from = rng.random_range(0..=source.len());
            let end = (from + rng.random_range(0..256)).min(source.len());
            content.splice(first..first, source[from..end].iter().copied());
        }
        _ => {
            let mut noise = vec![0; rng.random_range(1..16)];
            rng.fill_bytes(&mut noise);
            let end = (first + noise.len()).min(content.len());
            content.splice(first..end, noise);
        }
    }
    content.truncate(LONGEST_FILE);
}

/// Replaces a number in a text by another.
fn replace_number(content: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let starts: Vec<usize> = (0..content.len())
        .filter(|&i| content[i].is_ascii_digit() && (i == 0 || !content[i - 1].is_ascii_digit()))
        .collect();
    let Some(&first) = starts.choose(rng) else { return };
    let digits = content[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = match rng.random_range(0..4) {
        0 => TEXTS.choose(rng).expect("a text").to_string(),
        1 => rng.random_range(0..300u32).to_string(),
        _ => NUMBERS.choose(rng).expect("a number").to_string(),
    };
    content.splice(first..first + digits, number.bytes());
}
