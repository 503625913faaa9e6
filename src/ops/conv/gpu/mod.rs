//! The GPU kernels of convolutions beside the plain ones: for few channels, in strips, and by Winograd's convolution.

pub mod grouped;
mod partial_sums;
pub mod stem;
mod strip;
pub mod winograd;
mod workgroups;
