//! Winograd's convolution, F(height x width, 3x3): a tile of outputs from a patch that is larger by two, with one
//! product per element of the patch.
//!
//! `output = A'((B' patch B) * (G filter G'))A`, element by element inside, with matrices A, B and G that follow from a
//! choice of points for each axis (the Toom-Cook construction).
//!
//! # Errors of the answer
//! The inverse transforms amplify the rounding errors of the sums over channels. For an axis, and outputs `i` of it,
//! the variance grows by `sum over u of A[u,i]^2 |B[u]|^2 |G[u]|^2`, compared to `3^2` for the definition; for the
//! filters' gradient and its taps `s` by `sum over u of G[u,s]^2 |A[u]|^2 |B[u]|^2` compared to `m^2` for m outputs.
//! The errors, relative to those of the definition summed in f32, in the worst corner of a tile, for the points of
//! `shaders/conv/winograd/lines.wgsl`:
//!
//! | tile | points beside infinity | error | of the filters' gradient |
//! | --- | --- | --- | --- |
//! | 2x2 | 0, 1, -1 | 0.56 | 1.00 |
//! | 3x3 | 3/8, -3/8, 5/4, -5/4 | 1.12 | 1.12 |
//! | 4x3 | | 1.67 | 1.31 |
//! | 4x4 | 0, 11/16, -11/16, 3/2, -3/2 | 2.49 | 1.53 |
//!
//! The usual points of 4x4, 0, 1, -1, 2 and -2, give 10.5, above the bound of every operation here; a search over all
//! real points finds no error below 2.36.
//!
//! # Source
//! A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks (arXiv 1509.09308); on points and errors
//! B. Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution (arXiv 1803.10986).

use crate::ops::window::Axis;

/// The smallest number of positions of grad_output that the filter gradient sums: shorter sums leave no room for the
/// rounding errors of the transforms within the operation's bound, and there is nothing to gain.
pub const SHORTEST_SUM: usize = 128;

/// Errors of answers in tiles of 4x4, relative to those of the definition's sums, and of the filters' gradient.
pub const AMPLIFICATION_OF_4X4: [f64; 2] = [2.49, 1.53];

/// Whether Winograd's convolution supports the windows along an axis.
pub fn is_in_reach(axis: &Axis) -> bool {
    (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1)
}
