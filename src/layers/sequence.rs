//! Layers one after the other, once or repeated.

use super::Registered;
use crate::Result;
use crate::network::{Content, Keys, MOST_LAYERS, NetworkBuilder, expected_layers, layer_count};

const NAME: &str = "sequence";

pub(super) const TYPES: &[Registered] = &[Registered { name: NAME, keys: &[&["layers", "repeat"]], read }];

fn read(keys: &mut Keys) -> Result<Content> {
    let layers = keys.required("layers", Keys::tables)?;
    let layers = keys.drafts(layers)?;
    let times = keys.optional("repeat", Keys::repeats)?.unwrap_or(1);
    // The number of layers grows fast when blocks that repeat are nested.
    let once = layer_count(&layers);
    if once.saturating_mul(times) > MOST_LAYERS {
        return Err(keys.error(expected_layers(), format!("{once} layers, {times} times")));
    }
    let layers = std::iter::repeat_n(layers, times).flatten().collect();
    Ok(Content::Block { stem: NAME, layers })
}

impl NetworkBuilder {
    /// Adds layers as a block of their own, so that their names start with the block's: `sequence1.conv1`.
    ///
    /// Inside, `input` names the block's input.
    pub fn sequence(self, layers: impl FnOnce(NetworkBuilder) -> NetworkBuilder) -> Self {
        let layers = self.inner(layers);
        self.block(layers, |layers| Content::Block { stem: NAME, layers })
    }
}
