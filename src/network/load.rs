//! Loading a network by the name or path that a user types.

use std::path::Path;

use super::{Features, Network, NetworkFile, presets};
use crate::tensor::ImageShape;
use crate::{Error, Result, files};

/// The network that `model` names, a preset or a path that ends in `.toml`, for images of shape `image` in `classes`
/// classes.
///
/// # Errors
/// [`Error::Invalid`] for an unknown model, or one for images of another shape; [`Error::Io`] for a file that cannot
/// be read; [`Error::Layer`] for layers that do not fit, the last of which must give `classes` flat features. For a
/// model file, [`Error::Model`] wraps the error.
pub fn load(model: &str, image: ImageShape, classes: usize) -> Result<Network> {
    let network = open(model, Some(image), classes)?;
    network.check_data(image, classes).map_err(naming_the_file(model))?;
    Ok(network)
}

/// The network that `model` names, without data that it must fit: if `image` is not given, the model's own image
/// shape is used, and a model file keeps its own number of classes.
///
/// # Errors
/// Those of [`load`]; a model file without an image shape needs `image`.
pub fn open(model: &str, image: Option<ImageShape>, classes: usize) -> Result<Network> {
    if is_file(model) {
        let text = files::read_text(Path::new(model), files::MOST_TEXT)?;
        NetworkFile::parse(&text).and_then(|file| file.build(image)).map_err(naming_the_file(model))
    } else if let Some(preset) = presets::preset(model) {
        (preset.build)(image.unwrap_or(preset.image), classes)
    } else {
        let expected = format!("{} or the path of a .toml file", presets::names());
        Err(Error::invalid("model", expected, format!("{model:?}")))
    }
}

fn is_file(model: &str) -> bool {
    Path::new(model).extension().is_some_and(|extension| extension == "toml")
}

fn naming_the_file(model: &str) -> impl FnOnce(Error) -> Error {
    move |error| match is_file(model) {
        true => Error::Model { path: model.into(), reason: Box::new(error) },
        false => error,
    }
}

impl Network {
    /// Checks that the network takes images of shape `image`, and has one output for each of `classes`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for images of another shape; [`Error::Layer`] for another output.
    pub fn check_data(&self, image: ImageShape, classes: usize) -> Result<()> {
        if self.input() != image {
            let expected = format!("images of {}, which {} was made for", self.input(), self.name());
            return Err(Error::invalid("data", expected, image));
        }
        match self.output() {
            Features::Flat { size, .. } if size == classes => Ok(()),
            found => {
                let layer = self.output_layer().title();
                Err(Error::layer(layer, format!("{classes} flat features, one per class"), found))
            }
        }
    }
}
