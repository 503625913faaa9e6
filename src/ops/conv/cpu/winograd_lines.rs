//! Winograd's transforms of one line, F(4,3): four outputs of a 3-tap filter from six inputs, with six products.
//!
//! `output = output_line(input_line(x) * filter_line(g))`, by the Toom-Cook construction for the points 0, B, -B, A, -A
//! and infinity. [`winograd`](super::super::winograd) gives the error that this choice of points leads to.

use pulp::Simd;

/// Squares and products of the points are exact in f32, so that the transforms of inputs and outputs are exact; only
/// the divisors of the filters are rounded.
const A: f32 = 1.5;
const B: f32 = 0.6875;
const AA: f32 = A * A;
const BB: f32 = B * B;

/// Number of inputs of a line.
pub const INPUTS: usize = 6;

/// Number of outputs of a line.
pub const OUTPUTS: usize = 4;

/// The values at all points, from the even and odd parts of the values at B and at A.
#[inline(always)]
fn at_points<S: Simd>(
    simd: S,
    zero: S::f32s,
    [b_even, b_odd]: [S::f32s; 2],
    [a_even, a_odd]: [S::f32s; 2],
    infinity: S::f32s,
) -> [S::f32s; INPUTS] {
    [
        zero,
        simd.add_f32s(b_even, b_odd),
        simd.sub_f32s(b_even, b_odd),
        simd.add_f32s(a_even, a_odd),
        simd.sub_f32s(a_even, a_odd),
        infinity,
    ]
}

/// Transforms a line of inputs.
#[inline(always)]
pub fn input_line<S: Simd>(simd: S, x: [S::f32s; INPUTS]) -> [S::f32s; INPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let a_even = fma(-BB, x[2], x[4]);
    let a_odd = times(A, fma(-BB, x[1], x[3]));
    let b_even = fma(-AA, x[2], x[4]);
    let b_odd = times(B, fma(-AA, x[1], x[3]));
    let zero = fma(AA * BB, x[0], fma(-(AA + BB), x[2], x[4]));
    let infinity = fma(AA * BB, x[1], fma(-(AA + BB), x[3], x[5]));
    at_points(simd, zero, [b_even, b_odd], [a_even, a_odd], infinity)
}

/// Transforms a line of a filter.
#[inline(always)]
pub fn filter_line<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; INPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let a_even = times(1.0 / (2.0 * AA * (AA - BB)), fma(AA, g[2], g[0]));
    let a_odd = times(1.0 / (2.0 * A * (AA - BB)), g[1]);
    let b_even = times(1.0 / (2.0 * BB * (BB - AA)), fma(BB, g[2], g[0]));
    let b_odd = times(1.0 / (2.0 * B * (BB - AA)), g[1]);
    at_points(simd, times(1.0 / (AA * BB), g[0]), [b_even, b_odd], [a_even, a_odd], g[2])
}

/// Computes the outputs from a line of products.
#[inline(always)]
pub fn output_line<S: Simd>(simd: S, x: [S::f32s; INPUTS]) -> [S::f32s; OUTPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let b_sum = simd.add_f32s(x[1], x[2]);
    let b_difference = simd.sub_f32s(x[1], x[2]);
    let a_sum = simd.add_f32s(x[3], x[4]);
    let a_difference = simd.sub_f32s(x[3], x[4]);
    [
        simd.add_f32s(x[0], simd.add_f32s(b_sum, a_sum)),
        fma(B, b_difference, times(A, a_difference)),
        fma(BB, b_sum, times(AA, a_sum)),
        fma(BB * B, b_difference, fma(AA * A, a_difference, x[5])),
    ]
}

/// The gradients of a line's products from those of its outputs: the transpose of [`output_line`].
#[inline(always)]
pub fn grad_line<S: Simd>(simd: S, y: [S::f32s; OUTPUTS]) -> [S::f32s; INPUTS] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let b_even = fma(BB, y[2], y[0]);
    let b_odd = fma(BB * B, y[3], times(B, y[1]));
    let a_even = fma(AA, y[2], y[0]);
    let a_odd = fma(AA * A, y[3], times(A, y[1]));
    at_points(simd, y[0], [b_even, b_odd], [a_even, a_odd], y[3])
}

/// The gradient of a line of a filter from those of its transform: the transpose of [`filter_line`].
#[inline(always)]
pub fn filter_grad_line<S: Simd>(simd: S, u: [S::f32s; INPUTS]) -> [S::f32s; 3] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let b_sum = times(1.0 / (2.0 * BB * (BB - AA)), simd.add_f32s(u[1], u[2]));
    let b_difference = simd.sub_f32s(u[1], u[2]);
    let a_sum = times(1.0 / (2.0 * AA * (AA - BB)), simd.add_f32s(u[3], u[4]));
    let a_difference = simd.sub_f32s(u[3], u[4]);
    [
        fma(1.0 / (AA * BB), u[0], simd.add_f32s(b_sum, a_sum)),
        fma(1.0 / (2.0 * B * (BB - AA)), b_difference, times(1.0 / (2.0 * A * (AA - BB)), a_difference)),
        fma(BB, b_sum, fma(AA, a_sum, u[5])),
    ]
}
