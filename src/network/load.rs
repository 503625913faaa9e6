//! A network from what a person types.

use std::fs;
use std::path::Path;

use super::{Features, Network, NetworkFile, presets};
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// The network that `model` names: a preset, or a path that ends in `.toml`.
///
/// `input` is the data's image shape; a model file that tells its own does without.
///
/// # Errors
/// [`Error::Invalid`] for an unknown model, or one without an input; [`Error::Io`] for a file that cannot be
/// read; [`Error::Layer`] for layers that do not fit, the last of which must give `classes` flat features.
pub fn load(model: &str, input: Option<ImageShape>, classes: usize) -> Result<Network> {
    let network = if Path::new(model).extension().is_some_and(|extension| extension == "toml") {
        let text = fs::read_to_string(model).map_err(Error::io("read", model))?;
        NetworkFile::parse(&text)?.build(input)?
    } else if presets::PRESETS.iter().any(|(name, _)| *name == model) {
        let input = input.ok_or_else(|| Error::invalid("model", "the shape of the input images", "none"))?;
        presets::preset(model, input, classes)?
    } else {
        let expected = format!("{} or the path of a .toml file", presets::names());
        return Err(Error::invalid("model", expected, format!("{model:?}")));
    };
    match network.output() {
        Features::Flat { size, .. } if size == classes => Ok(network),
        found => {
            let layer = network.output_layer().title();
            Err(Error::layer(layer, format!("{classes} flat features, one a class"), found))
        }
    }
}
