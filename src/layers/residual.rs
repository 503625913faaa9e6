//! A residual block: the sum of a path of layers and of the block's input, unchanged or through a shortcut.
//!
//! # Source
//! He et al. 2015, "Deep Residual Learning for Image Recognition".

use super::{Add, Registered};
use crate::Result;
use crate::network::{Content, Draft, Keys, LayerInput, NetworkBuilder, Source};

const NAME: &str = "residual";
const SHORTCUT: &str = "shortcut";

pub(super) const TYPES: &[Registered] = &[Registered { name: NAME, keys: &[&["layers", SHORTCUT]], read }];

fn read(keys: &mut Keys) -> Result<Content> {
    let path = keys.required("layers", Keys::tables)?;
    let path = keys.drafts(path)?;
    let shortcut = keys.optional(SHORTCUT, Keys::tables)?;
    let shortcut = shortcut.map(|tables| keys.drafts(tables)).transpose()?;
    Ok(residual(path, shortcut))
}

/// The shortcut, if there is one, then the path, then their sum.
fn residual(mut path: Vec<Draft>, shortcut: Option<Vec<Draft>>) -> Content {
    let input = || Source::Named(LayerInput::INPUT_NAME.into());
    // With a shortcut, the path's first layer does not follow the layer that it reads.
    if let Some(first) = path.first_mut() {
        first
            .inputs
            .iter_mut()
            .filter(|source| **source == Source::Previous)
            .for_each(|source| *source = input());
    }
    let mut drafts = Vec::new();
    let mut other = input();
    if let Some(layers) = shortcut {
        let content = Content::Block { stem: SHORTCUT, layers };
        drafts.push(Draft { name: Some(SHORTCUT.into()), content, inputs: vec![input()] });
        other = Source::Named(SHORTCUT.into());
    }
    drafts.extend(path);
    drafts.push(Draft { name: None, content: Content::layer(Add), inputs: vec![Source::Previous, other] });
    Content::Block { stem: NAME, layers: drafts }
}

impl NetworkBuilder {
    /// Adds a residual block: the sum of its input and of the output of `path` for that input. Its layers are named
    /// after the block: `residual1.conv1`.
    ///
    /// Inside, `input` names the block's input.
    pub fn residual(self, path: impl FnOnce(NetworkBuilder) -> NetworkBuilder) -> Self {
        let path = self.inner(path);
        self.block(path, |path| residual(path, None))
    }

    /// Adds a residual block whose path changes the shape, so that its input passes through `shortcut` before the
    /// sum.
    pub fn residual_with(
        self,
        path: impl FnOnce(NetworkBuilder) -> NetworkBuilder,
        shortcut: impl FnOnce(NetworkBuilder) -> NetworkBuilder,
    ) -> Self {
        let (path, shortcut) = (self.inner(path), self.inner(shortcut));
        let both = path.and_then(|path| Ok((path, shortcut?)));
        self.block(both, |(path, shortcut)| residual(path, Some(shortcut)))
    }
}
