//! The GPU kernels of convolutions besides the direct and tiled ones: for few channels, in strips, and with Winograd's
//! convolution.

pub mod grouped;
mod partial_sums;
pub mod stem;
mod strip;
pub mod winograd;
mod workgroups;
