// Matrix product, tiled: result[m,n] = sum over k of a(m,k) * b(k,n), for matrices that need not exist in memory.
// The file it is appended to says what the matrices are: load_a, load_b and store, for one part (group) of the work.
// An invocation owns THREAD_M x THREAD_N results; a workgroup owns TILE_M x TILE_N of them in one slice of k.
// Launched by src/ops/gemm.rs, which also appends the tile sizes as const lines.

override GEMM_M: u32;
override GEMM_N: u32;
override GEMM_K: u32;
// Slices of k, each summed by workgroups of its own, and their length.
override SLICES: u32;
override SLICE_K: u32;

const THREADS_M: u32 = TILE_M / THREAD_M;
const THREADS_N: u32 = TILE_N / THREAD_N;
const INVOCATIONS: u32 = THREADS_M * THREADS_N;
// One more than the tile, so that stores down a column meet different banks.
const A_PITCH: u32 = TILE_M + 1u;
const B_PITCH: u32 = TILE_N + 1u;

var<workgroup> a_tile: array<f32, TILE_K * A_PITCH>;
var<workgroup> b_tile: array<f32, TILE_K * B_PITCH>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let tile = workgroup.y * workgroups.x + workgroup.x;
    let tiles_n = (GEMM_N + TILE_N - 1u) / TILE_N;
    let first_m = tile / tiles_n * TILE_M;
    let first_n = tile % tiles_n * TILE_N;
    if (first_m >= GEMM_M) {
        return;
    }
    let part = workgroup.z / SLICES;
    let slice = workgroup.z % SLICES;
    let end_k = min((slice + 1u) * SLICE_K, GEMM_K);

    // Results are strided over the tile, so that neighbours in a workgroup read and write neighbours in memory.
    let thread_m = invocation / THREADS_N;
    let thread_n = invocation % THREADS_N;
    var sums: array<f32, THREAD_M * THREAD_N>;
    for (var first_k = slice * SLICE_K; first_k < end_k; first_k += TILE_K) {
        for (var i = invocation; i < TILE_M * TILE_K; i += INVOCATIONS) {
            // The index that is contiguous in memory runs fastest.
            let tile_m = select(i % TILE_M, i / TILE_K, A_CONTIGUOUS_IN_K);
            let tile_k = select(i / TILE_M, i % TILE_K, A_CONTIGUOUS_IN_K);
            var value = 0.0;
            if (first_m + tile_m < GEMM_M && first_k + tile_k < end_k) {
                value = load_a(part, first_m + tile_m, first_k + tile_k);
            }
            a_tile[tile_k * A_PITCH + tile_m] = value;
        }
        for (var i = invocation; i < TILE_N * TILE_K; i += INVOCATIONS) {
            let tile_n = select(i % TILE_N, i / TILE_K, B_CONTIGUOUS_IN_K);
            let tile_k = select(i / TILE_N, i % TILE_K, B_CONTIGUOUS_IN_K);
            var value = 0.0;
            if (first_n + tile_n < GEMM_N && first_k + tile_k < end_k) {
                value = load_b(part, first_k + tile_k, first_n + tile_n);
            }
            b_tile[tile_k * B_PITCH + tile_n] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k++) {
            var b: array<f32, THREAD_N>;
            for (var j = 0u; j < THREAD_N; j++) {
                b[j] = b_tile[k * B_PITCH + thread_n + j * THREADS_N];
            }
            for (var i = 0u; i < THREAD_M; i++) {
                let a = a_tile[k * A_PITCH + thread_m + i * THREADS_M];
                for (var j = 0u; j < THREAD_N; j++) {
                    sums[i * THREAD_N + j] = fma(a, b[j], sums[i * THREAD_N + j]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < THREAD_M; i++) {
        let m = first_m + thread_m + i * THREADS_M;
        for (var j = 0u; j < THREAD_N; j++) {
            let n = first_n + thread_n + j * THREADS_N;
            if (m < GEMM_M && n < GEMM_N) {
                store(part, slice, m, n, sums[i * THREAD_N + j]);
            }
        }
    }
}
