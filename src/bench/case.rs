//! The convolutions to time: their sizes, and files that list them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::files::{MOST_TEXT, read_text};
use crate::ops::conv::ConvGeometry;
use crate::ops::window::{Padding, WindowOptions};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// Sizes of a convolution, under their names in files and JSON rows; not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvSizes {
    /// N: number of images.
    #[serde(rename = "batch")]
    pub batch_size: usize,
    /// C: number of input channels.
    pub in_channels: usize,
    /// H: height of the input.
    pub in_height: usize,
    /// W: width of the input.
    pub in_width: usize,
    /// K: number of output channels.
    pub out_channels: usize,
    /// R: height of a filter.
    pub kernel_height: usize,
    /// S: width of a filter.
    pub kernel_width: usize,
    /// Rows of padding above and below the input.
    #[serde(rename = "pad_height")]
    pub padding_height: usize,
    /// Columns of padding to the left and right of the input.
    #[serde(rename = "pad_width")]
    pub padding_width: usize,
    /// Vertical stride.
    pub stride_height: usize,
    /// Horizontal stride.
    pub stride_width: usize,
    /// Vertical dilation; 1 if a file has no such column.
    #[serde(default = "one")]
    pub dilation_height: usize,
    /// Horizontal dilation; 1 if a file has no such column.
    #[serde(default = "one")]
    pub dilation_width: usize,
    /// Number of groups; 1 if a file has no such column.
    #[serde(default = "one")]
    pub groups: usize,
}

fn one() -> usize {
    1
}

/// The columns that a file must have, as messages list them.
const COLUMNS: &str = "batch, in_channels, in_height, in_width, out_channels, kernel_height, kernel_width, \
                       pad_height, pad_width, stride_height, stride_width, and at will name, dilation_height, \
                       dilation_width, groups";

impl ConvSizes {
    /// The sizes in an object, as numbers or as text; a `name` is ignored.
    ///
    /// # Errors
    /// Says what is missing, unknown or not a number.
    pub fn from_columns(columns: &Map<String, Value>) -> Result<ConvSizes, String> {
        let number = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::String(text) => match text.parse::<usize>() {
                    Ok(number) => number.into(),
                    Err(_) => return Err(format!("{name} {text:?}")),
                },
                other => other.clone(),
            };
            Ok((name.clone(), value))
        };
        let numbers: Result<Map<_, _>, String> =
            columns.iter().filter(|(name, _)| *name != "name").map(number).collect();
        serde_json::from_value(numbers?.into()).map_err(|error| error.to_string())
    }

    /// The sizes, checked.
    ///
    /// # Errors
    /// Those of [`ConvGeometry::new`].
    pub fn geometry(&self) -> Result<ConvGeometry> {
        let image = ImageShape { height: self.in_height, width: self.in_width, channels: self.in_channels };
        let window = WindowOptions {
            kernel_size: [self.kernel_height, self.kernel_width],
            stride: [self.stride_height, self.stride_width],
            dilation: [self.dilation_height, self.dilation_width],
            padding: Padding::Symmetric([self.padding_height, self.padding_width]),
        };
        ConvGeometry::new(self.batch_size, image, self.out_channels, self.groups, &window)
    }
}

/// `16x64x28x28 k64 3x3 p1`: the input as NxCxHxW, the filters, then the options that differ from the default.
impl fmt::Display for ConvSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}x{}", self.batch_size, self.in_channels, self.in_height, self.in_width)?;
        write!(f, " k{} {}x{}", self.out_channels, self.kernel_height, self.kernel_width)?;
        for (letter, height, width, usual) in [
            ("p", self.padding_height, self.padding_width, 0),
            ("s", self.stride_height, self.stride_width, 1),
            ("d", self.dilation_height, self.dilation_width, 1),
        ] {
            match (height == width, height == usual) {
                (true, true) => {}
                (true, false) => write!(f, " {letter}{height}")?,
                (false, _) => write!(f, " {letter}{height},{width}")?,
            }
        }
        if self.groups == 1 { Ok(()) } else { write!(f, " g{}", self.groups) }
    }
}

/// A convolution to time.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvCase {
    /// Its name, or its sizes.
    pub name: String,
    /// Its sizes, by name.
    pub sizes: ConvSizes,
    /// Its sizes, checked.
    pub geometry: ConvGeometry,
}

impl ConvCase {
    /// A case named after its sizes.
    ///
    /// # Errors
    /// Those of [`ConvGeometry::new`].
    pub fn new(sizes: ConvSizes) -> Result<ConvCase> {
        Ok(ConvCase { name: sizes.to_string(), sizes, geometry: sizes.geometry()? })
    }

    /// The same case with another name.
    pub fn named(self, name: impl Into<String>) -> ConvCase {
        ConvCase { name: name.into(), ..self }
    }

    /// The same case with another number of images; a name that consists of the sizes is updated.
    ///
    /// # Errors
    /// Those of [`ConvGeometry::new`].
    pub fn with_batch_size(self, batch_size: usize) -> Result<ConvCase> {
        let case = ConvCase::new(ConvSizes { batch_size, ..self.sizes })?;
        Ok(if self.name == self.sizes.to_string() { case } else { case.named(self.name) })
    }
}

/// The convolutions of a CSV file: a line of column names, then one line per convolution.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read; [`Error::File`], with the line, for one in another format, or with
/// sizes that are not valid for a convolution.
pub fn read_cases(path: &Path) -> Result<Vec<ConvCase>> {
    parse_cases(path, &read_text(path, MOST_TEXT)?)
}

/// The same for the text of a file.
pub(super) fn parse_cases(path: &Path, text: &str) -> Result<Vec<ConvCase>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let cells = |line: &str| -> Vec<String> { line.split(',').map(|cell| cell.trim().to_owned()).collect() };
    let (_, header) = lines.next().ok_or_else(|| Error::file(path, "a line of column names", "nothing"))?;
    let header = cells(header);
    let cases: Vec<ConvCase> =
        lines.map(|(number, line)| case(path, number, &header, cells(line))).collect::<Result<_>>()?;
    if cases.is_empty() {
        return Err(Error::file(path, "one line per convolution below the column names", "none"));
    }
    Ok(cases)
}

/// The same cases with distinct names: if several have the same name, the second becomes `NAME #2`, and so on.
pub fn named_apart(cases: Vec<ConvCase>) -> Vec<ConvCase> {
    let mut taken: HashSet<String> = HashSet::new();
    // The number to try next for each name; lower numbers are taken.
    let mut next: HashMap<String, usize> = HashMap::new();
    let apart = |case: ConvCase| {
        if taken.insert(case.name.clone()) {
            return case;
        }
        let next = next.entry(case.name.clone()).or_insert(2);
        let name = loop {
            let name = format!("{} #{next}", case.name);
            *next += 1;
            if taken.insert(name.clone()) {
                break name;
            }
        };
        case.named(name)
    };
    cases.into_iter().map(apart).collect()
}

fn case(path: &Path, number: usize, header: &[String], cells: Vec<String>) -> Result<ConvCase> {
    let wrong = |expected: String, found: String| {
        Error::file(format!("{}: line {number}", path.display()), expected, found)
    };
    if cells.len() != header.len() {
        return Err(wrong(format!("{} values, one per column", header.len()), cells.len().to_string()));
    }
    let count = header.len();
    let columns: Map<String, Value> =
        header.iter().cloned().zip(cells.into_iter().map(Value::String)).collect();
    if columns.len() != count {
        return Err(wrong("columns that differ".into(), header.join(",")));
    }
    let sizes = ConvSizes::from_columns(&columns)
        .map_err(|found| wrong(format!("numbers in the columns {COLUMNS}"), found))?;
    let case = ConvCase::new(sizes).map_err(|error| match error {
        Error::Invalid { operation, expected, found } => {
            wrong(format!("sizes of a convolution ({operation}: {expected})"), found)
        }
        other => other,
    })?;
    Ok(match columns.get("name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => case.named(name),
        _ => case,
    })
}
