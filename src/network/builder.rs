//! Building a network: names, inputs, shape inference and parameters are all checked here.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::layer::title;
use super::{Features, Layer, LayerInput, Network};
use crate::layers::{Inferred, LayerType};
use crate::tensor::{ImageShape, Shape};
use crate::{Error, Result};

/// Collects layers; [`build`](NetworkBuilder::build) expands composite blocks and checks everything.
///
/// Each layer reads the one before it unless told otherwise. Layers without a name are named after their type, with a
/// number: conv1, conv2, relu1, pool1, flatten1, dense1, add1. The types in [`layers`](crate::layers) define the
/// methods that add them.
#[derive(Clone, Debug)]
#[must_use = "a network is made by `build`"]
pub struct NetworkBuilder {
    name: String,
    input: ImageShape,
    layers: Vec<Draft>,
    error: Option<String>,
}

/// A layer or a block as the caller asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub name: Option<String>,
    pub content: Content,
    pub inputs: Vec<Source>,
}

impl Draft {
    /// A draft without a name that reads the layer before it.
    pub fn after_the_previous(content: Content) -> Self {
        Draft { name: None, content, inputs: vec![Source::Previous] }
    }
}

/// The content of a draft: a layer, or a block of layers whose last layer gives the block's output.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Layer(Arc<dyn LayerType>),
    /// The layers of a block read each other; the name [`LayerInput::INPUT_NAME`] stands for the block's own input.
    Block {
        stem: &'static str,
        layers: Vec<Draft>,
    },
}

impl Content {
    /// A layer of this type.
    pub fn layer(layer: impl LayerType) -> Self {
        Content::Layer(Arc::new(layer))
    }

    /// The numbers of layers that it can read.
    pub fn input_counts(&self) -> RangeInclusive<usize> {
        match self {
            Content::Layer(layer) => layer.input_counts(),
            Content::Block { .. } => 1..=1,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Content::Layer(layer) => layer.type_name(),
            Content::Block { stem, .. } => stem,
        }
    }

    fn stem(&self) -> &'static str {
        match self {
            Content::Layer(layer) => layer.stem(),
            Content::Block { stem, .. } => stem,
        }
    }
}

/// Number of layers that drafts expand to.
pub(crate) fn layer_count(drafts: &[Draft]) -> usize {
    let count = |draft: &Draft| match &draft.content {
        Content::Layer(_) => 1,
        Content::Block { layers, .. } => layer_count(layers),
    };
    drafts.iter().map(count).sum()
}

/// The input that the caller asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// The layer before it; for the first layer of a block, the block's input.
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

    /// Adds a layer that reads the previous one, or the image if it is the first.
    pub fn layer(self, layer: impl LayerType) -> Self {
        self.layer_of(layer, [None])
    }

    /// Adds a layer that reads the layers with these names; without names, it reads the previous one.
    pub fn layer_of(
        mut self,
        layer: impl LayerType,
        inputs: impl IntoIterator<Item = Option<String>>,
    ) -> Self {
        let inputs = inputs.into_iter().map(|name| name.map_or(Source::Previous, Source::Named)).collect();
        self.layers.push(Draft { name: None, content: Content::layer(layer), inputs });
        self
    }

    /// The layers that `add` adds, for use in a block; an error if it names an input where it cannot.
    pub(crate) fn inner(
        &self,
        add: impl FnOnce(NetworkBuilder) -> NetworkBuilder,
    ) -> Result<Vec<Draft>, String> {
        let inner = add(NetworkBuilder::new(self.name.clone(), self.input));
        inner.error.map_or(Ok(inner.layers), Err)
    }

    /// Adds the block that `make` makes of the result of [`NetworkBuilder::inner`].
    pub(crate) fn block<T>(mut self, parts: Result<T, String>, make: impl FnOnce(T) -> Content) -> Self {
        match parts {
            Ok(parts) => self.layers.push(Draft::after_the_previous(make(parts))),
            Err(error) => self.error = self.error.or(Some(error)),
        }
        self
    }

    /// Names the last added layer or block.
    pub fn named(self, name: impl Into<String>) -> Self {
        self.on_last("a layer to name", |layer| layer.name = Some(name.into()))
    }

    /// Makes the last added layer or block read layer `name` instead of the previous one; `input` is the image or,
    /// inside a block, the block's input.
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
    /// [`Error::Layer`] names the first invalid layer, with what it expects and what was found;
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
        let mut taken = HashSet::from([LayerInput::INPUT_NAME.to_owned()]);
        let names = named(&drafts, "", &mut taken)?;
        let mut expansion = Expansion { input, taken, outputs: HashMap::new(), layers: Vec::new() };
        expansion.expand(&names, &[("", LayerInput::Image)])?;
        check_readers(&expansion.layers)?;
        Ok(Network { name, input, layers: expansion.layers })
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

/// A draft with its full name: `residual1.conv1` for a layer in a block.
struct Named<'a> {
    name: String,
    draft: &'a Draft,
    // The layers of a block.
    layers: Vec<Named<'a>>,
}

impl Named<'_> {
    fn title(&self) -> String {
        title(&self.name, self.draft.content.type_name())
    }
}

/// Gives every layer a name: its own, or its type's with the first free number. Names start with `prefix`, the name
/// of the block.
fn named<'a>(drafts: &'a [Draft], prefix: &str, taken: &mut HashSet<String>) -> Result<Vec<Named<'a>>> {
    for Draft { name, content, .. } in drafts {
        let Some(name) = name else { continue };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let full = format!("{prefix}{name}");
        let title = || title(&full.escape_debug().to_string(), content.type_name());
        if !name.split('.').all(|word| !word.is_empty() && word.chars().all(valid)) {
            let expected = "a name of letters, digits and _";
            return Err(Error::layer(title(), expected, format!("{name:?}")));
        }
        if !taken.insert(full.clone()) {
            return Err(Error::layer(title(), "a name that nothing else has", format!("{name:?} twice")));
        }
    }
    let mut counters: HashMap<&str, usize> = HashMap::new();
    let mut free_name = |stem, taken: &mut HashSet<String>| {
        let counter = counters.entry(stem).or_default();
        loop {
            *counter += 1;
            let name = format!("{prefix}{stem}{counter}");
            if !taken.contains(&name) {
                return name;
            }
        }
    };
    let mut names = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let name = match &draft.name {
            Some(name) => format!("{prefix}{name}"),
            None => free_name(draft.content.stem(), taken),
        };
        names.push(Named { name, draft, layers: Vec::new() });
    }
    taken.extend(names.iter().map(|named| named.name.clone()));
    for named_draft in &mut names {
        if let Content::Block { layers, .. } = &named_draft.draft.content {
            if layers.is_empty() {
                return Err(Error::layer(named_draft.title(), "at least one layer", "none"));
            }
            named_draft.layers = named(layers, &format!("{}.", named_draft.name), taken)?;
        }
    }
    Ok(names)
}

/// The layers expanded so far, in the order in which they run.
struct Expansion {
    input: ImageShape,
    // All names, including those of layers not yet expanded.
    taken: HashSet<String>,
    // The layer that each known name stands for.
    outputs: HashMap<String, LayerInput>,
    layers: Vec<Layer>,
}

impl Expansion {
    /// Adds the layers of a block. `scopes` holds the prefix of its layers' names and the block's input, after those
    /// of the enclosing blocks.
    fn expand(&mut self, drafts: &[Named<'_>], scopes: &[(&str, LayerInput)]) -> Result<()> {
        let mut previous = scopes.last().expect("a scope at least").1;
        for named in drafts {
            let inputs = self.resolve(named, previous, scopes)?;
            previous = match &named.draft.content {
                Content::Layer(kind) => self.push(named, kind.clone(), inputs)?,
                Content::Block { .. } => {
                    let prefix = format!("{}.", named.name);
                    let scopes = [scopes, &[(prefix.as_str(), inputs[0])]].concat();
                    self.expand(&named.layers, &scopes)?;
                    LayerInput::before(self.layers.len())
                }
            };
            self.outputs.insert(named.name.clone(), previous);
        }
        Ok(())
    }

    fn push(
        &mut self,
        named: &Named<'_>,
        kind: Arc<dyn LayerType>,
        inputs: Vec<LayerInput>,
    ) -> Result<LayerInput> {
        let features: Vec<Features> = inputs
            .iter()
            .map(|source| match *source {
                LayerInput::Image => Features::Image(self.input),
                LayerInput::Layer(index) => self.layers[index].output,
            })
            .collect();
        if kind.is_fitted() && inputs != [LayerInput::Image] {
            let expected = "to read the images that the network is trained on";
            let found = inputs.iter().find_map(|source| match *source {
                LayerInput::Image => None,
                LayerInput::Layer(index) => Some(self.layers[index].name.as_str()),
            });
            return Err(Error::layer(named.title(), expected, found.unwrap_or("none")));
        }
        let inferred = kind.infer(&features).map_err(|error| of_layer(named.title(), error))?;
        let Inferred { output, mut variables } = inferred;
        for variable in &mut variables {
            variable.name = format!("{}.{}", named.name, variable.name);
        }
        self.layers.push(Layer { name: named.name.clone(), kind, inputs, output, variables });
        Ok(LayerInput::Layer(self.layers.len() - 1))
    }

    /// The inputs of a layer or a block.
    fn resolve(
        &self,
        named: &Named<'_>,
        previous: LayerInput,
        scopes: &[(&str, LayerInput)],
    ) -> Result<Vec<LayerInput>> {
        let draft = named.draft;
        let counts = draft.content.input_counts();
        if !counts.contains(&draft.inputs.len()) {
            let least = counts.start();
            let plural = if *least == 1 { "" } else { "s" };
            let more = if counts.end() > least { " or more" } else { "" };
            let expected = format!("{least} input{plural}{more}");
            return Err(Error::layer(named.title(), expected, draft.inputs.len()));
        }
        let inputs = draft.inputs.iter().map(|source| match source {
            Source::Previous => Ok(previous),
            Source::Named(name) => self
                .find(name, scopes)
                .map_err(|expected| Error::layer(named.title(), expected, format!("{name:?}"))),
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        if inputs.iter().enumerate().any(|(number, input)| inputs[..number].contains(input)) {
            let two = if inputs.len() == 2 { "two " } else { "" };
            return Err(Error::layer(named.title(), format!("{two}different inputs"), "one of them twice"));
        }
        Ok(inputs)
    }

    /// The layer that a name stands for in the innermost block that defines it; otherwise, the names that were
    /// expected.
    fn find(&self, name: &str, scopes: &[(&str, LayerInput)]) -> Result<LayerInput, &'static str> {
        if name == LayerInput::INPUT_NAME {
            return Ok(scopes.last().expect("a scope at least").1);
        }
        for (prefix, _) in scopes.iter().rev() {
            let full = format!("{prefix}{name}");
            if let Some(&output) = self.outputs.get(&full) {
                return Ok(output);
            }
            if self.taken.contains(&full) {
                return Err("to read layers before it");
            }
        }
        Err("the name of a layer to read")
    }
}

fn check_readers(layers: &[Layer]) -> Result<()> {
    let read: HashSet<LayerInput> = layers.iter().flat_map(|layer| layer.inputs.iter().copied()).collect();
    let unread = (0..layers.len() - 1).find(|&index| !read.contains(&LayerInput::Layer(index)));
    unread.map_or(Ok(()), |index| {
        Err(Error::layer(layers[index].title(), "a later layer that reads its output", "none"))
    })
}

/// Turns an operation's error into an error of its layer.
fn of_layer(title: String, error: Error) -> Error {
    match error {
        Error::Invalid { expected, found, .. } => Error::layer(title, expected, found),
        error => error,
    }
}
