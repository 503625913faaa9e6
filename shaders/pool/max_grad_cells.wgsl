// max_pool2d.grad_input, by cells: for windows that do not overlap; a cell is a window with the positions up to the
// next one.
// grad_input[n,h,w,c] = grad_output[n,p,q,c] if h,w holds the first largest value of window p,q, otherwise zero,
// multiplied as the appended file says.
// An invocation owns one channel of a cell: one window's part of the input, or a remainder that no window contains.
// Defined in src/ops/pool/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

// Size of a cell, and number of cells that cover the input.
override CELL_HEIGHT: u32;
override CELL_WIDTH: u32;
override CELLS_DOWN: u32;
override CELLS_ACROSS: u32;

const NOWHERE: u32 = 0xffffffffu;

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
    let first_row = p * CELL_HEIGHT - PADDING_TOP;
    let first_column = q * CELL_WIDTH - PADDING_LEFT;
    var winner = NOWHERE;
    var best = 0.0;
    for (var r = 0u; r < KERNEL_HEIGHT; r++) {
        for (var s = 0u; s < KERNEL_WIDTH; s++) {
            let h = first_row + r;
            let w = first_column + s;
            let inside = has_window & (h < IN_HEIGHT) & (w < IN_WIDTH);
            let rival = select(0u, input_index(n, h, w, c), inside);
            let value = input[rival];
            let wins = inside & ((winner == NOWHERE) | exceeds(value, best));
            winner = select(winner, rival, wins);
            best = select(best, value, wins);
        }
    }
    let grad = finished(grad_output[select(0u, output_index(n, p, q, c), has_window)], best);
    for (var r = 0u; r < CELL_HEIGHT; r++) {
        for (var s = 0u; s < CELL_WIDTH; s++) {
            let h = first_row + r;
            let w = first_column + s;
            if ((h < IN_HEIGHT) & (w < IN_WIDTH)) {
                let position = input_index(n, h, w, c);
                grad_input[position] = select(0.0, grad, position == winner);
            }
        }
    }
}
