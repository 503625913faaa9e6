// Shared by all implementations of a matrix product: its sizes, and the places of its values.
// result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// Appended to gemm/tiled.wgsl and to gemm/subgroup.wgsl, with a file that defines where the values are (a_line, a_step,
// a_present, a_packet, likewise b, and store).
// Launched by src/ops/gemm/product.rs.

override GEMM_M: u32;
override GEMM_N: u32;
override GEMM_K: u32;
// Number of slices of k, each summed by its own workgroups, and their length.
override SLICES: u32;
override SLICE_K: u32;

// Where a row of a or a column of b (a line), or a k (a step), starts: a value's place is the sum of those of its line
// and its step. Rows and columns are those of an image, for checks of its borders. All three may wrap.
struct Place {
    offset: u32,
    row: u32,
    column: u32,
}
