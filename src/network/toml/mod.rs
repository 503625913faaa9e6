//! Networks as TOML files.

mod keys;
mod write;

use ::toml::Table;

use self::keys::{Keys, describe};
use super::builder::{Draft, Source};
use super::{Conv2d, Dense, LayerKind, Network, NetworkBuilder, Pool};
use crate::ops::activation::Activation;
use crate::ops::pool::PoolKind;
use crate::ops::window::WindowOptions;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// A network as a model file tells it; its input may be left to the data.
///
/// ```toml
/// name = "mine"
/// input = [1, 28, 28]           # channels, height, width; optional: the data's where it is missing
///
/// [[layers]]
/// type = "conv2d"               # dense relu leaky_relu elu sigmoid tanh gelu silu
///                               # max_pool average_pool flatten add
/// filters = 16
/// kernel_size = 5               # or [height, width]; likewise stride and dilation
/// padding = "same"              # "valid", n, [height, width] or [top, bottom, left, right]
/// stride = 1
/// dilation = 1
/// groups = 1
/// bias = true
/// initializer = "he_normal"     # glorot_uniform glorot_normal he_uniform zeros, or a number
/// name = "stem"                 # every layer may have one
/// inputs = ["input"]            # by default the layer before; `input` is the image
///
/// [[layers]]
/// type = "leaky_relu"
/// slope = 0.01                  # elu: alpha = 1.0
///
/// [[layers]]
/// type = "max_pool"
/// kernel_size = 2               # padding and dilation as above; stride is the kernel size by default
///
/// [[layers]]
/// type = "flatten"
///
/// [[layers]]
/// type = "dense"
/// units = 10                    # bias and initializer as above
/// ```
///
/// Only `type`, and what names a size (`filters`, `kernel_size`, `units`), must be there; `add` needs two
/// `inputs`.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkFile {
    name: String,
    input: Option<ImageShape>,
    layers: Vec<Draft>,
}

impl NetworkFile {
    /// Reads a model file's text.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is not TOML, with the line; [`Error::Layer`] for a layer with unknown,
    /// missing or wrong keys, with its position, counted from 1. Every message is one line.
    pub fn parse(text: &str) -> Result<NetworkFile> {
        let table: Table = text.parse().map_err(|error| syntax_error(text, &error))?;
        let mut keys = Keys::of_model(table, &["name", "input", "layers"])?;
        let name = keys.required("name", Keys::text)?;
        let input = keys.optional("input", Keys::image)?;
        let layers = keys.required("layers", Keys::tables)?;
        let layers = layers.into_iter().zip(1..).map(|(table, position)| draft(position, table));
        Ok(NetworkFile { name, input, layers: layers.collect::<Result<_>>()? })
    }

    /// The network, for images of shape `image`; none takes the file's own shape.
    ///
    /// # Errors
    /// [`Error::Invalid`] where both tell a shape and they differ, or neither does; as [`NetworkBuilder::build`],
    /// otherwise.
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

/// A type of layer: its name, its keys besides [`COMMON_KEYS`], and how to read them.
type LayerType = (&'static str, &'static [&'static str], fn(&mut Keys) -> Result<LayerKind>);

const COMMON_KEYS: [&str; 3] = ["type", "name", "inputs"];
const POOL_KEYS: &[&str] = &["kernel_size", "padding", "stride", "dilation"];
const CONV2D_KEYS: &[&str] =
    &["filters", "kernel_size", "padding", "stride", "dilation", "groups", "bias", "initializer"];

const LAYER_TYPES: [LayerType; 13] = [
    ("conv2d", CONV2D_KEYS, conv2d),
    ("dense", &["units", "bias", "initializer"], dense),
    ("relu", &[], |_| Ok(LayerKind::Activation(Activation::Relu))),
    ("leaky_relu", &["slope"], |keys| {
        let slope = keys.optional("slope", Keys::number)?.unwrap_or(0.01);
        Ok(LayerKind::Activation(Activation::LeakyRelu { slope }))
    }),
    ("elu", &["alpha"], |keys| {
        let alpha = keys.optional("alpha", Keys::number)?.unwrap_or(1.0);
        Ok(LayerKind::Activation(Activation::Elu { alpha }))
    }),
    ("sigmoid", &[], |_| Ok(LayerKind::Activation(Activation::Sigmoid))),
    ("tanh", &[], |_| Ok(LayerKind::Activation(Activation::Tanh))),
    ("gelu", &[], |_| Ok(LayerKind::Activation(Activation::Gelu))),
    ("silu", &[], |_| Ok(LayerKind::Activation(Activation::Silu))),
    ("max_pool", POOL_KEYS, |keys| pool(keys, PoolKind::Max)),
    ("average_pool", POOL_KEYS, |keys| pool(keys, PoolKind::Average)),
    ("flatten", &[], |_| Ok(LayerKind::Flatten)),
    ("add", &[], |_| Ok(LayerKind::Add)),
];

/// The layer of `position`, counted from 1.
fn draft(position: usize, table: Table) -> Result<Draft> {
    let wrong = |expected: &str, found| Err(Error::layer(position.to_string(), expected, found));
    let (name, allowed, read) = match table.get("type") {
        None => return wrong("key `type`", "none".into()),
        Some(value) => match LAYER_TYPES.iter().find(|(name, ..)| value.as_str() == Some(name)) {
            None => {
                let known = LAYER_TYPES.map(|(name, ..)| name).join(", ");
                return wrong(&format!("type {known}"), describe(value));
            }
            Some(layer_type) => layer_type,
        },
    };
    let allowed = [&COMMON_KEYS[..], allowed].concat();
    let mut keys = Keys::of_layer(position, name, table, &allowed)?;
    let kind = read(&mut keys)?;
    let inputs = match kind {
        LayerKind::Add => Some(keys.required("inputs", Keys::texts)?),
        _ => keys.optional("inputs", Keys::texts)?,
    };
    let inputs =
        inputs.map_or(vec![Source::Previous], |names| names.into_iter().map(Source::Named).collect());
    Ok(Draft { name: keys.optional("name", Keys::text)?, kind, inputs })
}

fn conv2d(keys: &mut Keys) -> Result<LayerKind> {
    let out_channels = keys.required("filters", Keys::size)?;
    let kernel_size = keys.required("kernel_size", Keys::pair)?;
    let default = Conv2d::new(out_channels, kernel_size);
    Ok(LayerKind::Conv2d(Conv2d {
        window: window(keys, default.window)?,
        groups: keys.optional("groups", Keys::size)?.unwrap_or(default.groups),
        bias: keys.optional("bias", Keys::boolean)?.unwrap_or(default.bias),
        initialiser: keys.optional("initializer", Keys::initialiser)?.unwrap_or_default(),
        ..default
    }))
}

fn dense(keys: &mut Keys) -> Result<LayerKind> {
    let default = Dense::new(keys.required("units", Keys::size)?);
    Ok(LayerKind::Dense(Dense {
        bias: keys.optional("bias", Keys::boolean)?.unwrap_or(default.bias),
        initialiser: keys.optional("initializer", Keys::initialiser)?.unwrap_or_default(),
        ..default
    }))
}

fn pool(keys: &mut Keys, kind: PoolKind) -> Result<LayerKind> {
    let default = Pool::new(kind, keys.required("kernel_size", Keys::pair)?);
    Ok(LayerKind::Pool(Pool { window: window(keys, default.window)?, ..default }))
}

fn window(keys: &mut Keys, default: WindowOptions) -> Result<WindowOptions> {
    Ok(WindowOptions {
        stride: keys.optional("stride", Keys::pair)?.unwrap_or(default.stride),
        dilation: keys.optional("dilation", Keys::pair)?.unwrap_or(default.dilation),
        padding: keys.optional("padding", Keys::padding)?.unwrap_or(default.padding),
        ..default
    })
}

/// What the parser complains of, on one line and with its place.
fn syntax_error(text: &str, error: &::toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start].iter().filter(|&&byte| byte == b'\n').count();
    let message = error.message().lines().collect::<Vec<_>>().join("; ");
    Error::invalid(format!("model, line {line}"), "TOML", message)
}
