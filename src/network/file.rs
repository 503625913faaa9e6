//! Networks as TOML files.

use ::toml::Table;

use super::builder::{Draft, Source, layer_count};
use super::keys::{Keys, Position, describe};
use super::{Network, NetworkBuilder};
use crate::layers::registered;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// A network as read from a model file, which may leave the input shape to the data.
///
/// ```toml
/// name = "mine"
/// input = [1, 28, 28]           # channels, height, width; optional: by default that of the data
///
/// [[layers]]
/// type = "conv2d"               # dense depthwise_conv2d relu leaky_relu elu sigmoid tanh gelu silu hard_swish prelu
///                               # batch_norm group_norm layer_norm max_pool average_pool global_max_pool
///                               # global_average_pool flatten add concatenate multiply scale dropout
/// filters = 16
/// kernel_size = 5               # or [height, width]; likewise stride and dilation
/// padding = "same"              # "valid", n, [height, width] or [top, bottom, left, right]
/// stride = 1
/// dilation = 1
/// groups = 1
/// bias = true
/// initializer = "he_normal"     # glorot_uniform glorot_normal he_uniform pytorch_default dirac zeros, or a number
/// name = "stem"                 # every layer may have one
/// inputs = ["input"]            # by default the layer before; `input` is the image
///
/// [[layers]]
/// type = "leaky_relu"
/// slope = 0.01                  # elu: alpha = 1.0
///
/// [[layers]]
/// type = "prelu"                # a slope for each channel, which is learnt
/// slope = 0.25                  # where they start
///
/// [[layers]]
/// type = "batch_norm"
/// eps = 1e-5
/// momentum = 0.1
/// scale = true                  # false: the weight stays one, and the bias alone is learnt
/// affine = true                 # false: there is neither
///
/// [[layers]]
/// type = "group_norm"           # of each image by itself; eps and affine as above
/// groups = 8                    # into which the channels are divided; layer_norm, of each pixel's channels, has none
///
/// [[layers]]
/// type = "max_pool"
/// kernel_size = 2               # padding and dilation as above; stride is the kernel size by default
/// ceil_mode = false             # true: a rest too short for another window gets one, as in PyTorch
///
/// [[layers]]
/// type = "average_pool"         # the same keys, and
/// kernel_size = 2
/// count_include_pad = true      # the padding's zeros count, as in PyTorch; false: they do not, as in Keras
///
/// [[layers]]
/// type = "dropout"
/// p = 0.5                       # the probability that a value is set to zero in training
///
/// [[layers]]
/// type = "flatten"
///
/// [[layers]]
/// type = "dense"
/// units = 10                    # bias and initializer as above
/// ```
///
/// Only `type`, and what names a size (`filters`, `kernel_size`, `units`, `groups` of
/// `group_norm`) or the constant of `scale` (`factor`), must be there; `add` and `multiply` need two `inputs`, and
/// `concatenate` two or more.
///
/// Composite blocks hold layers of their own, which are named after the block (`residual1.conv1`); inside, `input` is
/// what the block reads:
///
/// ```toml
/// [[layers]]
/// type = "residual"             # the sum of these layers and of what they read
/// [[layers.layers]]
/// type = "conv2d"
/// filters = 32
/// kernel_size = 3
/// padding = "same"
/// [[layers.layers]]
/// type = "relu"
/// [[layers.shortcut]]           # optional: what the input goes through before the sum
/// type = "conv2d"
/// filters = 32
/// kernel_size = 1
///
/// [[layers]]
/// type = "conv_block"           # a convolution with its keys, then
/// filters = 32
/// kernel_size = 3
/// norm = "batch_norm"           # types of layers that need no keys; norm comes before activation
/// activation = "relu"
///
/// [[layers]]
/// type = "depthwise_separable"  # a convolution of each channel, then a 1x1 convolution of all, each with what follows
/// filters = 32
/// kernel_size = 3               # padding, stride and dilation are those of the first; bias and initializer of both
/// norm = "batch_norm"
/// activation = "relu"
///
/// [[layers]]
/// type = "squeeze_excite"       # channels weighted by what two dense layers make of their means
/// channels = 32                 # those of what it reads
/// squeeze_channels = 8          # units of the first dense layer
///
/// [[layers]]
/// type = "sequence"             # layers one after the other
/// repeat = 3                    # number of repetitions
/// [[layers.layers]]
/// type = "relu"
/// ```
#[derive(Clone, Debug)]
pub struct NetworkFile {
    name: String,
    input: Option<ImageShape>,
    layers: Vec<Draft>,
}

impl NetworkFile {
    /// Reads a model file's text.
    ///
    /// # Errors
    /// [`Error::Invalid`] for text that is not TOML, with the line; [`Error::Layer`] for a layer with unknown,
    /// missing or wrong keys, with its position, counted from 1. Every message is one line.
    pub fn parse(text: &str) -> Result<NetworkFile> {
        let table: Table = text.parse().map_err(|error| syntax_error(text, &error))?;
        let mut keys = Keys::of_model(table, &["name", "input", "layers"])?;
        let name = keys.required("name", Keys::text)?;
        let input = keys.optional("input", Keys::image)?;
        let layers = keys.required("layers", Keys::tables)?;
        Ok(NetworkFile { name, input, layers: drafts(&Position::default(), layers)? })
    }

    /// The network, for images of shape `image`; with `None`, for those of the file's own shape.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the shapes of `image` and of the file differ, or if neither is given; otherwise those of
    /// [`NetworkBuilder::build`].
    pub fn build(self, image: Option<ImageShape>) -> Result<Network> {
        let NetworkFile { name, input, layers } = self;
        let input = match (input, image) {
            (Some(input), Some(image)) if input != image => {
                return Err(Error::invalid("model", format!("an input of {image} as in the data"), input));
            }
            (Some(input), _) | (None, Some(input)) => input,
            (None, None) => return Err(Error::invalid("model", "key `input`", "none")),
        };
        NetworkBuilder::from_drafts(name, input, layers).build()
    }
}

const COMMON_KEYS: [&str; 3] = ["type", "name", "inputs"];

/// The layers that `tables` describe, in the block at `position`.
pub(super) fn drafts(position: &Position, tables: Vec<Table>) -> Result<Vec<Draft>> {
    // A file may list as many layers as it likes, but not let blocks multiply them without end.
    let most = MOST_LAYERS.max(tables.len());
    let mut drafts: Vec<Draft> = Vec::new();
    let mut layers = 0;
    for (table, number) in tables.into_iter().zip(1..) {
        let position = position.inner(number);
        let draft = draft(position.clone(), table)?;
        layers += layer_count(std::slice::from_ref(&draft));
        if layers > most {
            return Err(Error::layer(
                position.to_string(),
                expected_layers(),
                format!("{layers} up to here"),
            ));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

/// Number of layers that a file's blocks may expand to.
pub(crate) const MOST_LAYERS: usize = 10_000;

/// What messages expect of the number of layers.
pub(crate) fn expected_layers() -> String {
    format!("at most {MOST_LAYERS} layers in all")
}

fn draft(position: Position, table: Table) -> Result<Draft> {
    let wrong = |expected: &str, found| Err(Error::layer(position.to_string(), expected, found));
    let layer_type = match table.get("type") {
        None => return wrong("key `type`", "none".into()),
        Some(value) => match registered().find(|layer_type| value.as_str() == Some(layer_type.name)) {
            None => {
                let known: Vec<&str> = registered().map(|layer_type| layer_type.name).collect();
                return wrong(&format!("type {}", known.join(", ")), describe(value));
            }
            Some(layer_type) => layer_type,
        },
    };
    let allowed = [&COMMON_KEYS[..], &layer_type.keys.concat()].concat();
    let mut keys = Keys::of_layer(position, layer_type.name, table, &allowed)?;
    let content = (layer_type.read)(&mut keys)?;
    let inputs = match *content.input_counts().start() {
        1 => keys.optional("inputs", Keys::texts)?,
        _ => Some(keys.required("inputs", Keys::texts)?),
    };
    let inputs =
        inputs.map_or(vec![Source::Previous], |names| names.into_iter().map(Source::Named).collect());
    Ok(Draft { name: keys.optional("name", Keys::text)?, content, inputs })
}

/// The parser's message and its place, on one line.
fn syntax_error(text: &str, error: &::toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    Error::invalid(format!("model, line {line}"), "TOML", message)
}
