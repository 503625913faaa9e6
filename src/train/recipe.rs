//! Recipes: everything that decides a training, but for its data, in one file.

use std::path::Path;

use serde::Deserialize;

use super::settings::TrainSettings;
use crate::files::{MOST_TEXT, read_text};
use crate::{Error, Result};

/// A network and how it is trained.
///
/// ```
/// use wgconv::train::Recipe;
///
/// let recipe = Recipe::open("mnist-fast")?;
/// assert_eq!((recipe.model.as_deref(), recipe.training.epochs), (Some("mnist-fast"), 1));
/// # Ok::<(), wgconv::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The network: the name of a preset, or the path of a model file.
    pub model: Option<String>,
    /// How it is trained.
    pub training: TrainSettings,
}

/// The built-in recipes: their names and their files.
pub const RECIPES: [(&str, &str); 4] = [
    ("mnist-fast", include_str!("recipes/mnist-fast.toml")),
    ("mnist-best", include_str!("recipes/mnist-best.toml")),
    ("cifar-fast-small", include_str!("recipes/cifar-fast-small.toml")),
    ("cifar-fast", include_str!("recipes/cifar-fast.toml")),
];

/// A recipe's file. A run's `config.toml` is one too, and says more.
#[derive(Deserialize)]
struct File {
    model: Option<String>,
    training: TrainSettings,
    #[serde(flatten)]
    others: toml::Table,
}

/// What a run's `config.toml` says beside how it was trained.
const OF_A_RUN: [&str; 11] = [
    "version",
    "data",
    "device",
    "limit",
    "validation",
    "labels",
    "skip_broken",
    "classes",
    "preprocessing",
    "image",
    "normalisation",
];

impl Recipe {
    /// A built-in recipe by its name, or that of a file: one of the built-in ones' form, or a run's `config.toml`, whose network
    /// is the `model.toml` beside it. A model file that a recipe names lies beside it too, unless its path is absolute.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is neither; [`Error::Io`] or [`Error::File`] for a file that cannot be read or is
    /// damaged.
    pub fn open(name: &str) -> Result<Recipe> {
        if let Some((name, text)) = RECIPES.iter().find(|(known, _)| *known == name) {
            return Recipe::parse(Path::new(name), text);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            let names: Vec<&str> = RECIPES.iter().map(|(name, _)| *name).collect();
            let expected = format!("{} or the path of a .toml file", names.join(", "));
            return Err(Error::invalid("recipe", expected, format!("{name:?}")));
        }
        let mut recipe = Recipe::parse(path, &read_text(path, MOST_TEXT)?)?;
        let beside = |name: &str| path.with_file_name(name).to_string_lossy().into_owned();
        recipe.model = match recipe.model {
            Some(model) if model.ends_with(".toml") => Some(beside(&model)),
            None if path.with_file_name("model.toml").is_file() => Some(beside("model.toml")),
            model => model,
        };
        Ok(recipe)
    }

    fn parse(path: &Path, text: &str) -> Result<Recipe> {
        const EXPECTED: &str = "a recipe";
        let File { model, training, others } =
            toml::from_str(text).map_err(|error| Error::file(path, EXPECTED, error.message()))?;
        if let Some(stranger) = others.keys().find(|key| !OF_A_RUN.contains(&key.as_str())) {
            return Err(Error::file(path, "the keys model and training", format!("{stranger:?}")));
        }
        training.check_alone().map_err(|error| Error::file(path, "a sound recipe", error))?;
        Ok(Recipe { model, training })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network;

    #[test]
    fn every_built_in_recipe_is_sound_and_has_a_network() {
        for (name, _) in RECIPES {
            let recipe = Recipe::open(name).unwrap();
            let network = network::open(recipe.model.as_deref().unwrap(), None, 10).unwrap();
            recipe.training.frozen(network).unwrap();
        }
    }

    #[test]
    fn files_that_are_no_recipes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let message = Recipe::open(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(!message.contains('\n'), "{message}");
            message.replace(path.to_str().unwrap(), "PATH")
        };
        assert!(refused("").contains("missing field `training`"));
        assert!(refused("[training]\nepoch = 3").contains("unknown field `epoch`"));
        assert_eq!(
            refused("augment = 1\n[training]"),
            "PATH: expected the keys model and training, found \"augment\""
        );
        let epochs = "PATH: expected a sound recipe, found epochs: expected at least 1, found 0";
        assert_eq!(refused("[training]\nepochs = 0"), epochs);
        let error = Recipe::open("mnist-slow").unwrap_err().to_string();
        let expected = "mnist-fast, mnist-best, cifar-fast-small, cifar-fast or the path of a .toml file";
        assert_eq!(error, format!("recipe: expected {expected}, found \"mnist-slow\""));

        std::fs::write(&path, "model = \"net.toml\"\n[training]\nepochs = 7").unwrap();
        let recipe = Recipe::open(path.to_str().unwrap()).unwrap();
        assert_eq!(recipe.model, Some(folder.path().join("net.toml").to_str().unwrap().to_owned()));
        assert_eq!(recipe.training, TrainSettings { epochs: 7, ..TrainSettings::default() });
    }
}
