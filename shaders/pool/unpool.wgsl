// max_pool2d.unpool: gradients of windows of 2 x 2 side by side, each where the largest value of its window was.
// grad_input[n,h,w,c] = grad_output[n,p,q,c] as the appended file reads it if winners[n,p,q,c] = 2r + s, with h = 2p + r and
// w = 2q + s; zero elsewhere.
// An invocation owns one channel of a window, or what there is of one at the edge; a workgroup owns 64 consecutive ones.
// Defined in src/ops/pool/unpool.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad_input: array<f32>;
@group(0) @binding(2) var<storage, read> winners: array<u32>;

override CELLS_DOWN: u32 = (IN_HEIGHT + 1u) / 2u;
override CELLS_ACROSS: u32 = (IN_WIDTH + 1u) / 2u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * CELLS_DOWN * CELLS_ACROSS * OUT_CHANNELS) {
        return;
    }
    let c = index % OUT_CHANNELS;
    let q = index / OUT_CHANNELS % CELLS_ACROSS;
    let p = index / (OUT_CHANNELS * CELLS_ACROSS) % CELLS_DOWN;
    let n = index / (OUT_CHANNELS * CELLS_ACROSS * CELLS_DOWN);
    let has_window = (p < OUT_HEIGHT) & (q < OUT_WIDTH);
    let window = select(0u, output_index(n, p, q, c), has_window);
    let grad = select(0.0, grad_output_at(window), has_window);
    let winner = winners[window];
    for (var place = 0u; place < 4u; place++) {
        let h = 2u * p + place / 2u;
        let w = 2u * q + place % 2u;
        if ((h < IN_HEIGHT) & (w < IN_WIDTH)) {
            grad_input[input_index(n, h, w, c)] = select(0.0, grad, place == winner);
        }
    }
}
