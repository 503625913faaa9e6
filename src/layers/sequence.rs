//! Layers one after the other, once or repeated.

use super::Registered;
use crate::Result;
use crate::network::{Content, Keys, NetworkBuilder};

const NAME: &str = "sequence";

pub(super) const TYPES: &[Registered] = &[Registered { name: NAME, keys: &["layers", "repeat"], read }];

const MOST_LAYERS: usize = 10_000;

fn read(keys: &mut Keys) -> Result<Content> {
    let layers = keys.required("layers", Keys::tables)?;
    let layers = keys.drafts(layers)?;
    let times = keys.optional("repeat", Keys::repeats)?.unwrap_or(1);
    let once = Content::Block { stem: NAME, layers };
    // The number of layers grows fast when blocks that repeat are nested.
    if once.layer_count().saturating_mul(times) > MOST_LAYERS {
        let found = format!("{} layers, {times} times", once.layer_count());
        return Err(keys.error(format!("at most {MOST_LAYERS} layers in all"), found));
    }
    let Content::Block { layers, .. } = once else { unreachable!("it was made a block") };
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
