//! Names and numbers as the page writes them.

use maud::{Markup, html};

use crate::report::short_name;
use crate::report::visible::shortened;

/// The most letters of a sentence.
const LONGEST_SENTENCE: usize = 300;

/// A name from outside: visible, in one line, and short.
pub fn name(name: &str) -> String {
    if name.trim().is_empty() { "(no name)".into() } else { short_name(name) }
}

/// A sentence that may hold names from outside: visible, in one line, and not endless.
pub fn sentence(text: &str) -> String {
    shortened(text, LONGEST_SENTENCE)
}

/// Text in which a line may break behind dots and underscores, as names of layers have them.
pub fn breakable(text: &str) -> Markup {
    html! { @for part in text.split_inclusive(['.', '_']) { (part) wbr; } }
}

/// The name of a class, of one without a name its number.
pub fn class(classes: &[String], class: usize) -> String {
    match classes.get(class) {
        Some(given) if !given.trim().is_empty() => short_name(given),
        _ => format!("class {class}"),
    }
}

/// A whole number in groups of three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number with about three digits that count: `0.0123`, `1.46`, `3.1e-5`; a dash for what is not known.
pub fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "–".into()
    } else if value.is_infinite() {
        if value > 0.0 { "∞".into() } else { "−∞".into() }
    } else if magnitude == 0.0 {
        "0".into()
    } else if !(1e-3..1e5).contains(&magnitude) {
        format!("{value:.1e}").replace('-', "−")
    } else {
        let before = magnitude.log10().floor() as i32 + 1;
        let decimals = (3 - before).clamp(0, 5) as usize;
        format!("{value:.decimals$}").replace('-', "−")
    }
}

/// A share as a percentage: `98.9 %`; a dash for what is not known.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", 100.0 * share) } else { "–".into() }
}

/// A number with five digits that count, and nothing for what is no number: for data that is drawn.
pub fn rounded(value: f64) -> Option<f64> {
    value.is_finite().then(|| format!("{value:.4e}").parse().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1.00"),
            (-0.01234, "−0.0123"),
            (0.98765, "0.988"),
            (12.345, "12.3"),
            (1234.5, "1234"),
            (3.14e-5, "3.1e−5"),
            (-2e9, "−2.0e9"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(figure(value), expected);
        }
        assert_eq!([count(0), count(999), count(1234567)], ["0", "999", "1,234,567"]);
        assert_eq!([percent(0.98913), percent(f64::NAN)], ["98.9 %", "–"]);
        assert_eq!([rounded(0.123456789), rounded(f64::INFINITY)], [Some(0.12346), None]);
    }

    #[test]
    fn names_are_visible_and_never_empty() {
        assert_eq!(name("a\u{202e}b\n"), "a\\u{202e}b\\n");
        assert_eq!(name(" "), "(no name)");
        let classes = ["cat".to_string(), String::new()];
        assert_eq!([0, 1, 7].map(|number| class(&classes, number)), ["cat", "class 1", "class 7"]);
    }
}
