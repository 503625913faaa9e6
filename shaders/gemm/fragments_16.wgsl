// Fragments of a matrix product that a subgroup multiplies together, 16 x 16 at a time.
// Appended to gemm/matrix_units.wgsl by src/ops/gemm/matrix_units.rs.

const FRAGMENT: u32 = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
