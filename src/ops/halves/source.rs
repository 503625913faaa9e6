//! Kernels on arrays of halves: WGSL that is written for f32, with some of its arrays in f16.
//!
//! A kernel computes in f32 whatever its arrays hold: a value is widened where it is read, and rounded where it is written.

use std::ops::Range;

/// The line that lets a module use f16. It stays in front of the first line, so that line numbers are those of the file.
const ENABLE: &str = "enable f16; ";

/// The module in which the arrays of these `bindings` hold halves. `number` returns the value of a name that stands for a
/// number, such as `MOMENTS_BINDING`.
///
/// # Panics
/// If the module declares no array of reals at one of the bindings: a bug in the kernel or in its call.
pub fn in_halves(module: &str, bindings: &[u32], number: impl Fn(&str) -> Option<u32>) -> String {
    let mut arrays: Vec<Array> = Vec::new();
    let declared = declarations(module);
    for &binding in bindings {
        let of_binding = |declaration: &&Declaration| {
            let text = declaration.binding;
            text.parse().ok().or_else(|| number(text)) == Some(binding)
        };
        let Declaration { name, element, place, .. } =
            declared.iter().find(of_binding).unwrap_or_else(|| panic!("no array at binding {binding}"));
        let half = match meaning(module, element) {
            "f32" => "f16",
            "vec4<f32>" => "vec4<f16>",
            other => panic!("{name} at binding {binding} holds {other}"),
        };
        arrays.push(Array { name, element, half, place: place.clone() });
    }
    let mut text = String::with_capacity(2 * module.len());
    text.push_str(ENABLE);
    Rewriter { module, arrays: &arrays }.rewrite(0..module.len(), &mut text);
    text
}

/// An array that holds halves.
struct Array<'a> {
    name: &'a str,
    /// The type of its elements in the kernel, and that in which they are stored.
    element: &'a str,
    half: &'static str,
    /// Where the module names the type.
    place: Range<usize>,
}

struct Declaration<'a> {
    binding: &'a str,
    name: &'a str,
    element: &'a str,
    place: Range<usize>,
}

/// All arrays in storage that a module declares.
fn declarations(module: &str) -> Vec<Declaration<'_>> {
    const START: &str = "@group(0) @binding(";
    let of_place = |(start, _): (usize, &str)| {
        let text = &module[start + START.len()..];
        let (binding, text) = text.split_once(')')?;
        let text = text.trim_start().strip_prefix("var<storage,")?;
        let (_, text) = text.split_once('>')?;
        let (name, text) = text.split_once(':')?;
        let text = text.trim_start().strip_prefix("array<")?;
        let element = text.split(">;").next()?;
        let first = module.len() - text.len();
        Some(Declaration { binding, name: name.trim(), element, place: first..first + element.len() })
    };
    module.match_indices(START).filter_map(of_place).collect()
}

/// The type that an alias stands for, which may be one itself, or the type itself.
fn meaning<'a>(module: &'a str, mut name: &'a str) -> &'a str {
    let definition = |name: &str| {
        let (_, text) = module.split_once(&format!("alias {name} ="))?;
        text.split(';').next()
    };
    while let Some(defined) = definition(name) {
        name = defined.trim();
    }
    name
}

struct Rewriter<'a> {
    module: &'a str,
    arrays: &'a [Array<'a>],
}

impl<'a> Rewriter<'a> {
    /// Appends a part of the module to `text`, with each use of the arrays converted.
    fn rewrite(&self, part: Range<usize>, text: &mut String) {
        let mut at = part.start;
        while at < part.end {
            let rest = &self.module[at..part.end];
            if rest.starts_with("//") {
                let length = rest.find('\n').unwrap_or(rest.len());
                text.push_str(&rest[..length]);
                at += length;
                continue;
            }
            let word = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let array = self.arrays.iter().find(|array| array.name == word);
            if let Some(array) = self.arrays.iter().find(|array| array.place.start == at) {
                text.push_str(array.half);
                at = array.place.end;
            } else if let Some(array) = array.filter(|_| rest[word.len()..].starts_with('[')) {
                at = self.use_of(array, at, text);
            } else {
                let length = word.len().max(rest.chars().next().map_or(1, char::len_utf8));
                text.push_str(&rest[..length]);
                at += length;
            }
        }
    }

    /// Appends the use of an array that begins `at` this place, and returns the place behind it.
    fn use_of(&self, array: &Array, at: usize, text: &mut String) -> usize {
        let open = at + array.name.len();
        let close = self.closing(open);
        let mut place = format!("{}[", array.name);
        self.rewrite(open + 1..close, &mut place);
        place.push(']');
        // A component of the element, if it is a vector.
        let mut end = close + 1;
        let of_component = self.module[end..].find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'));
        let mut component = &self.module[end..end + of_component.unwrap_or(0)];
        if self.module[end..].starts_with('[') {
            component = &self.module[end..=self.closing(end)];
        }
        let behind = &self.module[end + component.len()..];
        let written = behind.trim_start();
        let operator = ["=", "+=", "-=", "*=", "/="]
            .into_iter()
            .find(|operator| written.starts_with(operator) && !written.starts_with("=="));
        let Some(operator) = operator else {
            text.push_str(&format!("{}({place})", array.element));
            return end;
        };
        let (element, half) = if component.is_empty() { (array.element, array.half) } else { ("f32", "f16") };
        end += component.len() + (behind.len() - written.len()) + operator.len();
        let last = end + self.module[end..].find(';').expect("an assignment ends with a semicolon");
        let mut value = String::new();
        self.rewrite(end..last, &mut value);
        let value = value.trim_start();
        text.push_str(&match operator.strip_suffix('=') {
            None | Some("") => format!("{place}{component} = {half}({value})"),
            Some(sign) => {
                format!("{place}{component} = {half}({element}({place}{component}) {sign} ({value}))")
            }
        });
        last
    }

    /// The place of the bracket that closes the one that is `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for (offset, c) in self.module[open..].char_indices() {
            depth += match c {
                '[' => 1,
                ']' => -1,
                _ => 0,
            };
            if depth == 0 {
                return open + offset;
            }
        }
        panic!("a bracket that is not closed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "\
// output[i] = input[i]; comments stay as they are, input[ too.
@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<Packet>;
@group(0) @binding(OTHER) var<storage, read> rows: array<u32>;
alias Packet = Quad;
alias Quad = vec4<f32>;
fn at(my_input: u32) -> f32 {
    if (output[0].x == input[rows[input_row[0]]]) { return input[my_input]; }
    output[u32(input[1])] = Packet(input[2]);
    output[1].y = 2.0;
    output[2] += output[3] * 2.0;
    return f32(arrayLength(&input));
}
";

    #[test]
    fn reads_are_widened_and_writes_are_rounded() {
        let found = in_halves(MODULE, &[0, 1], |_| None);
        let expected = "\
enable f16; // output[i] = input[i]; comments stay as they are, input[ too.
@group(0) @binding(0) var<storage, read> input: array<f16>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f16>>;
@group(0) @binding(OTHER) var<storage, read> rows: array<u32>;
alias Packet = Quad;
alias Quad = vec4<f32>;
fn at(my_input: u32) -> f32 {
    if (Packet(output[0]).x == f32(input[rows[input_row[0]]])) { return f32(input[my_input]); }
    output[u32(f32(input[1]))] = vec4<f16>(Packet(f32(input[2])));
    output[1].y = f16(2.0);
    output[2] = vec4<f16>(Packet(output[2]) + (Packet(output[3]) * 2.0));
    return f32(arrayLength(&input));
}
";
        assert_eq!(found, expected);
        let one = in_halves(MODULE, &[0], |_| None);
        assert!(one.contains("output[1].y = 2.0;") && one.contains("return f32(input[my_input]);"), "{one}");
    }

    #[test]
    #[should_panic = "rows at binding 7 holds u32"]
    fn integers_are_never_halves() {
        in_halves(MODULE, &[7], |name| (name == "OTHER").then_some(7));
    }
}
