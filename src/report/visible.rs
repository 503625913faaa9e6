//! Making text from outside safe for a terminal.

/// The longest line that may hold such text.
const LONGEST_LINE: usize = 2000;

/// The longest name in a table or a list.
const LONGEST_NAME: usize = 60;

/// `text` as one visible line: characters that a terminal would interpret instead of show (control characters, line
/// breaks, marks that reverse the order of letters) are escaped, as `\n` or `\u{1b}`; of a very long text, the middle
/// is left out.
///
/// Text that was escaped before stays as it is.
pub fn one_line(text: &str) -> String {
    visible(text, LONGEST_LINE)
}

/// A name from outside, for a table or a list: escaped as by [`one_line`], and at most 60 characters long.
pub fn short_name(name: &str) -> String {
    visible(name, LONGEST_NAME)
}

/// A name from outside in so few characters: escaped as by [`one_line`], with two dots for what is left out in the middle.
pub(super) fn shortened(name: &str, most: usize) -> String {
    let short = visible(name, most);
    if short == visible(name, usize::MAX) { short } else { visible(name, most - 1).replacen('…', "..", 1) }
}

fn visible(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len());
    // Quotes and backslashes are visible and need no escape.
    for part in text.split_inclusive(['"', '\'', '\\']) {
        let rest = part.trim_end_matches(['"', '\'', '\\']);
        line.extend(rest.escape_debug());
        line.push_str(&part[rest.len()..]);
    }
    let length = line.chars().count();
    if length <= most {
        return line;
    }
    let start = most * 2 / 3;
    let end = most - start - 1;
    let mut short: String = line.chars().take(start).collect();
    short.push('…');
    short.extend(line.chars().skip(length - end));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_the_rest_is_kept() {
        for (text, expected) in [
            ("conv1.weight [8, 1, 5, 5]", "conv1.weight [8, 1, 5, 5]"),
            ("it's \"a\" C:\\b", "it's \"a\" C:\\b"),
            ("Größe 大きさ \u{1f600} e\u{301}", "Größe 大きさ \u{1f600} e\u{301}"),
            ("\u{1b}[2Ja\nb\r\tc\0", "\\u{1b}[2Ja\\nb\\r\\tc\\0"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("a\u{2028}b\u{2029}c\u{85}d", "a\\u{2028}b\\u{2029}c\\u{85}d"),
            ("\u{202e}txt.exe\u{2066}\u{200f}\u{feff}", "\\u{202e}txt.exe\\u{2066}\\u{200f}\\u{feff}"),
            ("  indented", "  indented"),
            ("", ""),
        ] {
            let line = one_line(text);
            assert_eq!(line, expected);
            assert_eq!(one_line(&line), line, "twice is once");
        }
    }

    #[test]
    fn of_a_long_text_the_middle_is_left_out() {
        let name = format!("start{}end", "x".repeat(70_000));
        let short = short_name(&name);
        assert_eq!(short.chars().count(), 60);
        assert!(short.starts_with("startx") && short.ends_with("xend") && short.contains('…'), "{short}");
        assert_eq!(short_name(&"x".repeat(60)), "x".repeat(60));
        assert_eq!(one_line(&"\n".repeat(5000)).chars().count(), 2000);
    }
}
