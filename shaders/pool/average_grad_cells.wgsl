// average_pool2d.grad_input, by cells: for windows that do not overlap; a cell is a window with the positions up to the
// next one.
// grad_input[n,h,w,c] = grad_output[n,p,q,c] / taps of the window p,q that contains h,w, the number of taps as the appended
// file counts them; zero if there is none.
// An invocation owns one input value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/pool/grad.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad_input: array<f32>;

override CELL_HEIGHT: u32;
override CELL_WIDTH: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * IN_HEIGHT * IN_WIDTH * IN_CHANNELS) {
        return;
    }
    let c = index % IN_CHANNELS;
    let column = index / IN_CHANNELS % IN_WIDTH + PADDING_LEFT;
    let row = index / (IN_CHANNELS * IN_WIDTH) % IN_HEIGHT + PADDING_TOP;
    let n = index / (IN_CHANNELS * IN_WIDTH * IN_HEIGHT);
    let p = row / CELL_HEIGHT;
    let q = column / CELL_WIDTH;
    let has_window = (p < OUT_HEIGHT) & (q < OUT_WIDTH)
        & (row % CELL_HEIGHT < KERNEL_HEIGHT) & (column % CELL_WIDTH < KERNEL_WIDTH);
    let grad = grad_output[select(0u, output_index(n, p, q, c), has_window)];
    grad_input[index] = select(0.0, total(share(grad, p, q)), has_window);
}
