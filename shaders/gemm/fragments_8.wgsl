// Fragments of a matrix product that a subgroup multiplies together, 8 x 8 at a time.
// Appended to gemm/matrix_units.wgsl by src/ops/gemm/matrix_units.rs.

const FRAGMENT: u32 = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
