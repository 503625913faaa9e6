//! A convolution, a normalisation and an activation as one entry of a model file.
//!
//! In Rust, [`NetworkBuilder::sequence`](crate::network::NetworkBuilder::sequence) does the same.

use ::toml::{Table, Value};

use super::{Registered, conv2d};
use crate::Result;
use crate::network::{Content, Draft, Keys};

pub(super) const TYPES: &[Registered] =
    &[Registered { name: "conv_block", keys: &[conv2d::KEYS, FOLLOWERS], read }];

/// What may follow a convolution in a block.
pub(super) const FOLLOWERS: &[&str] = &["norm", "activation"];

/// The keys of a convolution, then `norm` and `activation`, each the type of a layer that requires no keys.
fn read(keys: &mut Keys) -> Result<Content> {
    let conv = conv2d::read(keys)?;
    let mut layers = vec![Draft::after_the_previous(Content::layer(conv))];
    layers.extend(followers(keys)?);
    Ok(Content::Block { stem: "block", layers })
}

/// Reads [`FOLLOWERS`].
pub(super) fn followers(keys: &mut Keys) -> Result<Vec<Draft>> {
    let mut tables = Vec::new();
    for key in FOLLOWERS {
        let name = keys.optional(key, Keys::text)?;
        tables.extend(name.map(|name| Table::from_iter([("type".to_string(), Value::from(name))])));
    }
    keys.drafts(tables)
}
