//! A convolution, a normalisation and an activation as one entry of a model file.
//!
//! In Rust, [`NetworkBuilder::sequence`](crate::network::NetworkBuilder::sequence) does the same.

use ::toml::{Table, Value};

use super::{Registered, conv2d};
use crate::Result;
use crate::network::{Content, Draft, Keys};

pub(super) const TYPES: &[Registered] =
    &[Registered { name: "conv_block", keys: &[conv2d::KEYS, &["norm", "activation"]], read }];

/// The keys of a convolution, then `norm` and `activation`, each the type of a layer that requires no keys.
fn read(keys: &mut Keys) -> Result<Content> {
    let conv = conv2d::read(keys)?;
    let followers = [keys.optional("norm", Keys::text)?, keys.optional("activation", Keys::text)?];
    let followers = followers.into_iter().flatten();
    let followers =
        followers.map(|name| Table::from_iter([("type".to_string(), Value::from(name))])).collect();
    let mut layers = vec![Draft::after_the_previous(Content::layer(conv))];
    layers.extend(keys.drafts(followers)?);
    Ok(Content::Block { stem: "block", layers })
}
