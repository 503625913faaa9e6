// Shared by all implementations of a matrix product: its sizes, and the places of its values.
// result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// Appended to gemm/tiled.wgsl and to gemm/subgroup.wgsl, with a file that defines where the values are (a_line, a_step,
// a_present, a_packet, likewise b, and store).
// Launched by src/ops/gemm/product.rs.

override GEMM_M: u32;
override GEMM_N: u32;
override GEMM_K: u32;
// Number of independent products side by side.
override PRODUCTS: u32;
// Number of slices of k, each summed by its own workgroups, and their length.
override SLICES: u32;
override SLICE_K: u32;

// Where a row of a or a column of b (a line), or a k (a step), starts: a value's place is the sum of those of its line
// and its step. Rows and columns are those of an image, for checks of its borders. All three may wrap. Where a line is a window
// of few taps and a step is one of them, row holds bits instead: in a line, those of its taps that lie inside the image; in a
// step, that of its tap.
struct Place {
    offset: u32,
    row: u32,
    column: u32,
}

// What a workgroup owns: a block of results from a row and a column on, in one slice of one product. Blocks of the same
// slice are neighbours.
struct Share {
    first_m: u32,
    first_n: u32,
    part: u32,
    slice: u32,
}

// The share of a workgroup; past the last product behind the last workgroup.
fn share_of(number: u32, tile_m: u32, tile_n: u32) -> Share {
    let tiles_m = (GEMM_M + tile_m - 1u) / tile_m;
    let tiles_n = (GEMM_N + tile_n - 1u) / tile_n;
    let tile = number % (tiles_m * tiles_n);
    let sum = number / (tiles_m * tiles_n);
    return Share(tile / tiles_n * tile_m, tile % tiles_n * tile_n, sum / SLICES, sum % SLICES);
}
