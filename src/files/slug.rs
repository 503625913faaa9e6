//! Safe file names from arbitrary names.

/// Most letters of a name: a file system allows 255 bytes, and the file name has other parts too.
const LONGEST: usize = 64;

/// `text` as a part of a file's name, safe on any system: words of ASCII letters and digits in lower case, joined by
/// hyphens, at most 64 characters; `unnamed` if there is no such word.
///
/// Windows reserves some whole names, such as `con` and `nul`, so the result must not be used as the whole name.
pub(crate) fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-").to_lowercase();
    slug.truncate(LONGEST);
    match slug.trim_end_matches('-') {
        "" => "unnamed".into(),
        slug => slug.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_parts_of_names_of_files() {
        for (name, expected) in [
            ("lenet", "lenet"),
            ("NVIDIA GeForce RTX 4090", "nvidia-geforce-rtx-4090"),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", "llvmpipe-llvm-15-0-6-256-bits"),
            ("../../etc/passwd", "etc-passwd"),
            ("/abs/path", "abs-path"),
            (r"C:\temp\x", "c-temp-x"),
            ("a\u{1b}[2J\nb", "a-2j-b"),
            ("..", "unnamed"),
            ("", "unnamed"),
            ("\u{7f51}", "unnamed"),
        ] {
            assert_eq!(slug(name), expected, "{name:?}");
        }
        assert_eq!(slug(&"x".repeat(70_000)), "x".repeat(64));
        assert_eq!(slug(&format!("{} y", "x".repeat(63))), "x".repeat(63));
    }
}
