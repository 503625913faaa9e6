//! The convolutions to be timed, from a CSV file.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// Sizes of a convolution.
#[derive(Clone, Debug)]
pub struct Case {
    pub batch: usize,
    pub in_channels: usize,
    pub input: [usize; 2],
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub padding: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub groups: usize,
}

impl Case {
    fn new(mut columns: HashMap<&str, usize>, batch: Option<usize>) -> Result<Case, String> {
        let mut take = |name: &str, missing: Option<usize>| {
            columns.remove(name).or(missing).ok_or_else(|| format!("no column {name}"))
        };
        let mut pair = |name: &str, missing: Option<usize>| -> Result<[usize; 2], String> {
            Ok([take(&format!("{name}_height"), missing)?, take(&format!("{name}_width"), missing)?])
        };
        let (input, kernel, padding) = (pair("in", None)?, pair("kernel", None)?, pair("pad", None)?);
        let (stride, dilation) = (pair("stride", None)?, pair("dilation", Some(1))?);
        let listed = take("batch", None)?;
        let case = Case {
            batch: batch.unwrap_or(listed),
            in_channels: take("in_channels", None)?,
            input,
            out_channels: take("out_channels", None)?,
            kernel,
            padding,
            stride,
            dilation,
            groups: take("groups", Some(1))?,
        };
        if let Some(name) = columns.keys().next() {
            return Err(format!("unknown column {name}"));
        }
        let divides = |channels: usize| case.groups > 0 && channels % case.groups == 0;
        let positive = [case.batch, case.in_channels, case.out_channels, case.kernel[0], case.kernel[1]];
        let steps = [case.stride, case.dilation].concat();
        let fits = (0..2).all(|axis| {
            case.input[axis] + 2 * case.padding[axis]
                > case.dilation[axis] * case.kernel[axis].saturating_sub(1)
        });
        let sound = fits && !positive.contains(&0) && !steps.contains(&0);
        match sound && divides(case.in_channels) && divides(case.out_channels) {
            true => Ok(case),
            false => Err(format!("{case} is no convolution")),
        }
    }

    /// P and Q: rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let window = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            (self.input[axis] + 2 * self.padding[axis] - window) / self.stride[axis] + 1
        })
    }

    /// Floating-point operations of each pass, those on padding included.
    pub fn flops(&self) -> f64 {
        let output = self.batch * self.out_channels * self.output().iter().product::<usize>();
        let window = self.in_channels / self.groups * self.kernel.iter().product::<usize>();
        2.0 * output as f64 * window as f64
    }

    /// The sizes by name.
    pub fn to_json(&self) -> Map<String, Value> {
        let pairs = [
            ("in", self.input),
            ("kernel", self.kernel),
            ("pad", self.padding),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ];
        let pairs = pairs.into_iter().flat_map(|(name, [height, width])| {
            [(format!("{name}_height"), height), (format!("{name}_width"), width)]
        });
        let single = [
            ("batch", self.batch),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("groups", self.groups),
        ];
        let single = single.into_iter().map(|(name, size)| (name.to_string(), size));
        single.chain(pairs).map(|(name, size)| (name, size.into())).collect()
    }
}

/// `16x64x28x28 k64 3x3`, enough to know it by.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            batch, in_channels, input: [height, width], out_channels, kernel: [rows, columns], ..
        } = self;
        write!(f, "{batch}x{in_channels}x{height}x{width} k{out_channels} {rows}x{columns}")
    }
}

/// The convolutions of a file, with another batch size if one is given.
pub fn read_cases(path: &Path, batch: Option<usize>) -> Result<Vec<Case>, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().ok_or("no line of column names")?;
    let header: Vec<&str> = header.split(',').map(str::trim).collect();
    let case = |line: &str| {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != header.len() {
            return Err(format!("{} values for {} columns", cells.len(), header.len()));
        }
        let sizes = header.iter().zip(cells).filter(|(name, _)| **name != "name");
        let sizes = sizes.map(|(&name, cell)| match cell.parse() {
            Ok(size) => Ok((name, size)),
            Err(_) => Err(format!("{name} {cell:?}")),
        });
        Case::new(sizes.collect::<Result<_, _>>()?, batch)
    };
    lines.map(|(number, line)| case(line).map_err(|message| format!("line {number}: {message}"))).collect()
}
