//! Building a network: names, inputs, shape inference, parameters; everything is checked here.

use std::collections::{HashMap, HashSet};

use super::layer::title;
use super::{
    Conv2d, Dense, Features, Initialiser, Layer, LayerInput, LayerKind, Layout, Network, Parameter, Pool,
};
use crate::ops::activation::Activation;
use crate::ops::pool::PoolKind;
use crate::tensor::{ImageShape, Shape};
use crate::{Error, Result};

/// Collects layers; [`build`](NetworkBuilder::build) checks them.
///
/// Each layer reads the one before it unless told otherwise. Layers without a name get their type's and a
/// number: conv1, conv2, relu1, pool1, flatten1, dense1, add1.
#[derive(Clone, Debug)]
#[must_use = "a network is made by `build`"]
pub struct NetworkBuilder {
    name: String,
    input: ImageShape,
    layers: Vec<Draft>,
    error: Option<String>,
}

/// A layer as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    pub name: Option<String>,
    pub kind: LayerKind,
    pub inputs: Vec<Source>,
}

/// What a layer was asked to read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    Previous,
    Named(String),
}

impl NetworkBuilder {
    pub(super) fn new(name: impl Into<String>, input: ImageShape) -> Self {
        Self::from_drafts(name, input, Vec::new())
    }

    pub(super) fn from_drafts(name: impl Into<String>, input: ImageShape, layers: Vec<Draft>) -> Self {
        NetworkBuilder { name: name.into(), input, layers, error: None }
    }

    /// Adds a layer that reads the previous one, or the image where it is the first.
    pub fn layer(mut self, kind: LayerKind) -> Self {
        self.layers.push(Draft { name: None, kind, inputs: vec![Source::Previous] });
        self
    }

    /// Adds a convolution.
    pub fn conv2d(self, conv: Conv2d) -> Self {
        self.layer(LayerKind::Conv2d(conv))
    }

    /// Adds a dense layer, given as a number of units or as a [`Dense`].
    pub fn dense(self, dense: impl Into<Dense>) -> Self {
        self.layer(LayerKind::Dense(dense.into()))
    }

    /// Adds an activation.
    pub fn activation(self, activation: Activation) -> Self {
        self.layer(LayerKind::Activation(activation))
    }

    /// Adds a ReLU.
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// Adds a pool.
    pub fn pool(self, pool: Pool) -> Self {
        self.layer(LayerKind::Pool(pool))
    }

    /// Adds a max-pool of square windows that touch.
    pub fn max_pool(self, kernel_size: usize) -> Self {
        self.pool(Pool::new(PoolKind::Max, [kernel_size; 2]))
    }

    /// Adds an average-pool of square windows that touch.
    pub fn average_pool(self, kernel_size: usize) -> Self {
        self.pool(Pool::new(PoolKind::Average, [kernel_size; 2]))
    }

    /// Adds a layer that lays an image flat.
    pub fn flatten(self) -> Self {
        self.layer(LayerKind::Flatten)
    }

    /// Adds a layer that sums the previous one and layer `other`: the end of a residual block.
    #[expect(clippy::should_implement_trait, reason = "named like every other layer's type")]
    pub fn add(mut self, other: impl Into<String>) -> Self {
        let inputs = vec![Source::Previous, Source::Named(other.into())];
        self.layers.push(Draft { name: None, kind: LayerKind::Add, inputs });
        self
    }

    /// Names the last added layer.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.on_last("a layer to name", |layer| layer.name = Some(name.into()))
    }

    /// Makes the last added layer read layer `name` in place of the previous one; `input` is the image.
    pub fn from(self, name: impl Into<String>) -> Self {
        self.on_last("a layer to read from another", |layer| layer.inputs[0] = Source::Named(name.into()))
    }

    fn on_last(mut self, wanted: &str, change: impl FnOnce(&mut Draft)) -> Self {
        match self.layers.last_mut() {
            Some(layer) => change(layer),
            None => self.error = self.error.or(Some(wanted.into())),
        }
        self
    }

    /// The network.
    ///
    /// # Errors
    /// [`Error::Layer`] names the first layer that cannot be, with what it needs and what it got;
    /// [`Error::Invalid`] for a network without layers, name or input.
    pub fn build(self) -> Result<Network> {
        let NetworkBuilder { name, input, layers: drafts, error } = self;
        check_network(&name, input)?;
        if let Some(expected) = error {
            return Err(Error::invalid("network", expected, "none"));
        }
        if drafts.is_empty() {
            return Err(Error::invalid("network", "at least one layer", "none"));
        }
        let names = unique_names(&drafts)?;
        let indices: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        let mut layers: Vec<Layer> = Vec::with_capacity(drafts.len());
        for (draft, name) in drafts.iter().zip(&names) {
            let title = title(name, &draft.kind);
            let inputs = resolve(draft, &title, layers.len(), &indices)?;
            let features: Vec<Features> = inputs
                .iter()
                .map(|source| match *source {
                    LayerInput::Image => Features::Image(input),
                    LayerInput::Layer(index) => layers[index].output,
                })
                .collect();
            let (output, parameters) = infer(name, &title, &draft.kind, &features)?;
            layers.push(Layer { name: name.clone(), kind: draft.kind, inputs, output, parameters });
        }
        check_readers(&layers)?;
        Ok(Network { name, input, layers })
    }
}

fn check_network(name: &str, input: ImageShape) -> Result<()> {
    if name.is_empty() || name.contains(char::is_control) {
        return Err(Error::invalid("network", "a name of visible characters", format!("{name:?}")));
    }
    let sizes = [input.height, input.width, input.channels];
    if sizes.contains(&0) {
        return Err(Error::invalid("network", "an input of at least 1x1x1", input));
    }
    Shape::checked("network input", sizes)?;
    Ok(())
}

/// A name for every layer: its own, or its type's with the first free number.
fn unique_names(drafts: &[Draft]) -> Result<Vec<String>> {
    let mut taken = HashSet::from([LayerInput::IMAGE_NAME]);
    for Draft { name, kind, .. } in drafts {
        let Some(name) = name else { continue };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let title = || title(&name.escape_debug().to_string(), kind);
        if name.is_empty() || !name.chars().all(valid) {
            return Err(Error::layer(title(), "a name of letters, digits and _", format!("{name:?}")));
        }
        if !taken.insert(name) {
            return Err(Error::layer(title(), "a name that nothing else has", format!("{name:?} twice")));
        }
    }
    let mut counters: HashMap<&str, usize> = HashMap::new();
    let mut free_name = |stem| {
        let counter = counters.entry(stem).or_default();
        loop {
            *counter += 1;
            let name = format!("{stem}{counter}");
            if !taken.contains(name.as_str()) {
                return name;
            }
        }
    };
    Ok(drafts
        .iter()
        .map(|draft| draft.name.clone().unwrap_or_else(|| free_name(draft.kind.stem())))
        .collect())
}

/// What the layer of index `index` reads.
fn resolve(
    draft: &Draft,
    title: &str,
    index: usize,
    indices: &HashMap<&str, usize>,
) -> Result<Vec<LayerInput>> {
    let expected = draft.kind.input_count();
    if draft.inputs.len() != expected {
        let plural = if expected == 1 { "" } else { "s" };
        return Err(Error::layer(title, format!("{expected} input{plural}"), draft.inputs.len()));
    }
    let find = |source: &Source| match source {
        Source::Previous => Ok(LayerInput::before(index)),
        Source::Named(name) if name == LayerInput::IMAGE_NAME => Ok(LayerInput::Image),
        Source::Named(name) => match indices.get(name.as_str()) {
            Some(&other) if other < index => Ok(LayerInput::Layer(other)),
            Some(_) => Err(Error::layer(title, "to read layers before it", format!("{name:?}"))),
            None => Err(Error::layer(title, "the name of a layer to read", format!("{name:?}"))),
        },
    };
    let inputs = draft.inputs.iter().map(find).collect::<Result<Vec<_>>>()?;
    if inputs[1..].contains(&inputs[0]) {
        return Err(Error::layer(title, "two different inputs", "one of them twice"));
    }
    Ok(inputs)
}

/// What a layer gives for what it reads, and its parameters.
fn infer(
    name: &str,
    title: &str,
    kind: &LayerKind,
    inputs: &[Features],
) -> Result<(Features, Vec<Parameter>)> {
    let input = inputs[0];
    let image = |expected: &str| match input {
        Features::Image(image) => Ok(image),
        Features::Flat { .. } => Err(Error::layer(title, expected, input)),
    };
    let refused = |error| of_layer(title, error);
    match kind {
        LayerKind::Conv2d(conv) => {
            check_initialiser(title, conv.initialiser)?;
            let geometry = conv.geometry(1, image("an image")?).map_err(refused)?;
            let [height, width] = [geometry.height, geometry.width].map(|axis| axis.output);
            let weight = Parameter {
                name: format!("{name}.weight"),
                shape: geometry.filters_shape(),
                initialiser: conv.initialiser,
                fan_in: geometry.taps(),
                fan_out: geometry.height.kernel * geometry.width.kernel * conv.out_channels,
                layout: Layout::Filters,
            };
            let output = ImageShape { height, width, channels: conv.out_channels };
            Ok((Features::Image(output), with_bias(name, weight, conv.bias)))
        }
        LayerKind::Dense(dense) => {
            check_initialiser(title, dense.initialiser)?;
            let Features::Flat { size, image } = input else {
                return Err(Error::layer(title, "flat features (put a flatten before it)", input));
            };
            if dense.units == 0 {
                return Err(Error::layer(title, "units of at least 1", dense.units));
            }
            let weight = Parameter {
                name: format!("{name}.weight"),
                shape: Shape::checked("dense", [dense.units, size]).map_err(refused)?,
                initialiser: dense.initialiser,
                fan_in: size,
                fan_out: dense.units,
                layout: Layout::Dense { image },
            };
            Ok((Features::Flat { size: dense.units, image: None }, with_bias(name, weight, dense.bias)))
        }
        LayerKind::Activation(activation) => {
            check_activation(title, *activation)?;
            Ok((input, Vec::new()))
        }
        LayerKind::Pool(pool) => {
            let image = image("an image")?;
            let geometry = pool.geometry(1, image).map_err(refused)?;
            let [height, width] = [geometry.height, geometry.width].map(|axis| axis.output);
            Ok((Features::Image(ImageShape { height, width, ..image }), Vec::new()))
        }
        LayerKind::Flatten => {
            let image = image("an image to lay flat")?;
            let ordered = image.height * image.width > 1;
            Ok((Features::Flat { size: image.elements(), image: ordered.then_some(image) }, Vec::new()))
        }
        // Two vectors of one size but of different maps would be added in another order in PyTorch.
        LayerKind::Add if inputs[1] == input => Ok((input, Vec::new())),
        LayerKind::Add => {
            Err(Error::layer(title, "two inputs of the same shape", format!("{input} and {}", inputs[1])))
        }
    }
}

fn with_bias(layer: &str, weight: Parameter, bias: bool) -> Vec<Parameter> {
    let bias = bias.then(|| Parameter {
        name: format!("{layer}.bias"),
        shape: Shape::new([weight.shape.size(0)]),
        initialiser: Initialiser::Zeros,
        layout: Layout::Vector,
        ..weight
    });
    std::iter::once(weight).chain(bias).collect()
}

fn check_initialiser(title: &str, initialiser: Initialiser) -> Result<()> {
    match initialiser {
        Initialiser::Constant(value) if !value.is_finite() => {
            Err(Error::layer(title, "a finite initial value", value))
        }
        _ => Ok(()),
    }
}

fn check_activation(title: &str, activation: Activation) -> Result<()> {
    let (word, value) = match activation {
        Activation::LeakyRelu { slope } => ("slope", slope),
        Activation::Elu { alpha } => ("alpha", alpha),
        _ => return Ok(()),
    };
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::layer(title, format!("a finite {word} above 0"), value))
}

fn check_readers(layers: &[Layer]) -> Result<()> {
    let read: HashSet<LayerInput> = layers.iter().flat_map(|layer| layer.inputs.iter().copied()).collect();
    let unread = (0..layers.len() - 1).find(|&index| !read.contains(&LayerInput::Layer(index)));
    unread.map_or(Ok(()), |index| {
        Err(Error::layer(layers[index].title(), "a later layer that reads its output", "none"))
    })
}

/// An operation's refusal, as the refusal of its layer.
fn of_layer(title: &str, error: Error) -> Error {
    match error {
        Error::Invalid { expected, found, .. } => Error::layer(title, expected, found),
        error => error,
    }
}
