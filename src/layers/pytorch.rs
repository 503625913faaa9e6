//! How PyTorch writes a layer: the parts of Python source that the types of layers give.

use std::fmt::Display;

use crate::network::Features;
use crate::ops::window::Axis;
use crate::tensor::ImageShape;

/// A layer as the source of a PyTorch module writes it, with `torch`, `nn` (`torch.nn`) and `F` (`torch.nn.functional`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pytorch {
    /// The submodule that holds its variables and options, as an expression, if it needs one:
    /// `nn.Conv2d(1, 16, 5, padding=2)`.
    pub module: Option<String>,
    /// Its output, as an expression of its inputs: `self.conv1(x)`.
    pub output: String,
}

/// Where a layer stands in the source.
#[derive(Clone, Copy, Debug)]
pub struct PytorchSite<'a> {
    /// The expression that names its submodule: `self.conv1`.
    pub module: &'a str,
    /// The variable that holds each of its inputs, and the input's features: maps are `[N,C,H,W]`, others `[N,size]`.
    pub inputs: &'a [(&'a str, Features)],
}

impl PytorchSite<'_> {
    /// The variable that holds the first input.
    pub fn input(&self) -> &str {
        self.inputs[0].0
    }

    /// The features of the first input.
    pub fn features(&self) -> Features {
        self.inputs[0].1
    }

    /// A layer whose output is that of a submodule for its input.
    pub(super) fn module(&self, module: impl Display) -> Pytorch {
        self.module_of(module, self.input())
    }

    /// A layer whose output is that of a submodule for the value of an expression.
    pub(super) fn module_of(&self, module: impl Display, value: impl Display) -> Pytorch {
        Pytorch { module: Some(module.to_string()), output: format!("{}({value})", self.module) }
    }
}

impl Pytorch {
    /// A layer without a submodule.
    pub(super) fn expression(output: String) -> Self {
        Pytorch { module: None, output }
    }
}

/// A call: what it needs, then by name what differs from the default.
pub(super) struct Call {
    function: &'static str,
    arguments: Vec<String>,
}

impl Call {
    pub fn new(function: &'static str) -> Self {
        Call { function, arguments: Vec::new() }
    }

    /// Adds an argument.
    pub fn with(mut self, argument: impl Display) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// Adds an argument by name, unless it has its default.
    pub fn option<T: Display + PartialEq>(mut self, name: &str, value: T, default: T) -> Self {
        if value != default {
            self.arguments.push(format!("{name}={value}"));
        }
        self
    }

    /// Adds `name=False` or `name=True`, whichever is not the default.
    pub fn flag(self, name: &str, value: bool, default: bool) -> Self {
        let word = |value: bool| if value { "True" } else { "False" };
        self.option(name, word(value), word(default))
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.function, self.arguments.join(", "))
    }
}

/// `3`, or `(3, 5)` if the sizes of the two axes differ.
pub(super) fn pair([height, width]: [usize; 2]) -> String {
    if height == width { height.to_string() } else { format!("({height}, {width})") }
}

/// The shortest decimal that reads back as the same f32.
pub(super) fn number(value: f32) -> String {
    format!("{value:?}")
}

/// An expression with positions of a value added before and after each axis, height first.
pub(super) fn padded(input: &str, sides: [[usize; 2]; 2], value: Option<&str>) -> String {
    let [[top, bottom], [left, right]] = sides;
    match value {
        _ if sides == [[0, 0], [0, 0]] => input.into(),
        None => format!("F.pad({input}, ({left}, {right}, {top}, {bottom}))"),
        Some(value) => format!("F.pad({input}, ({left}, {right}, {top}, {bottom}), value={value})"),
    }
}

/// The padding that a module can add itself, which is the same on both sides of an axis.
pub(super) fn symmetric_padding(axes: [Axis; 2]) -> Option<[usize; 2]> {
    let is_symmetric = axes.iter().all(|axis| axis.padding_before == axis.padding_after);
    is_symmetric.then(|| axes.map(|axis| axis.padding_before))
}

/// Flat features in the order of PyTorch's `Flatten`, from an expression of them in the order height, width, channels.
pub(super) fn channels_first(features: &str, image: ImageShape) -> String {
    let ImageShape { height, width, channels } = image;
    format!("{features}.unflatten(1, ({height}, {width}, {channels})).permute(0, 3, 1, 2).flatten(1)")
}

/// Flat features in the order height, width, channels, from an expression of them in the order of PyTorch's `Flatten`.
pub(crate) fn channels_last(features: &str, image: ImageShape) -> String {
    let ImageShape { height, width, channels } = image;
    format!("{features}.unflatten(1, ({channels}, {height}, {width})).permute(0, 2, 3, 1).flatten(1)")
}
