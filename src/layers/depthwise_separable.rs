//! A convolution of each channel by itself, and one of each pixel by itself, as one entry of a model file: the block of
//! MobileNets.
//!
//! # Source
//! Howard et al. 2017, "MobileNets". In Rust, [`NetworkBuilder::sequence`](crate::network::NetworkBuilder::sequence) of a
//! [`DepthwiseConv2d`](super::DepthwiseConv2d) and a 1x1 [`Conv2d`] does the same.

use super::conv_block::{FOLLOWERS, followers};
use super::depthwise_conv2d::{self, read_filter};
use super::{Conv2d, Registered};
use crate::Result;
use crate::network::{Content, Draft, Keys};

pub(super) const TYPES: &[Registered] = &[Registered {
    name: "depthwise_separable",
    keys: &[&["filters"], depthwise_conv2d::KEYS, FOLLOWERS],
    read,
}];

/// The keys of a depthwise convolution, `filters` for the number of output channels, then `norm` and `activation`, which
/// follow each of the two convolutions. `bias` and `initializer` are those of both.
fn read(keys: &mut Keys) -> Result<Content> {
    let filters = keys.required("filters", Keys::size)?;
    let depthwise = read_filter(keys)?;
    let (bias, initialiser) = (depthwise.bias, depthwise.initialiser);
    let pointwise = Conv2d { bias, initialiser, ..Conv2d::new(filters, [1, 1]) };
    let followers = followers(keys)?;
    let mut layers = vec![Draft::after_the_previous(Content::layer(depthwise))];
    layers.extend(followers.clone());
    layers.push(Draft::after_the_previous(Content::layer(pointwise)));
    layers.extend(followers);
    Ok(Content::Block { stem: "separable", layers })
}
