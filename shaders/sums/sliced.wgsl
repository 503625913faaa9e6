// Sums of each channel over the rows of each slice, which is a segment, or a part of the only one; gemm/slice_lanes.wgsl
// adds the parts.
// result[slice,k] = sum over the slice's rows of term[row,k], in an order that depends on the sizes alone.
// An invocation owns one channel in one lane (every LANES-th row of the slice); a workgroup owns WIDTH channels of a
// slice.
// Appended by src/ops/sums.rs to a file that defines term and store, with INVOCATIONS as a const line.

override ROWS: u32;
override CHANNELS: u32;
override SLICES: u32;
override SLICE_ROWS: u32;
override WIDTH: u32;

// Rows side by side, so that a workgroup reads contiguous memory even with few channels.
override LANES: u32 = INVOCATIONS / WIDTH;

var<workgroup> lane_sums: array<f32, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let blocks = (CHANNELS + WIDTH - 1u) / WIDTH;
    let number = workgroup_number(workgroup, workgroups);
    let slice = number / blocks;
    if (slice >= SLICES) {
        return;
    }
    let k = number % blocks * WIDTH + invocation % WIDTH;
    let lane = invocation / WIDTH;
    var sum = 0.0;
    if (k < CHANNELS && lane < LANES) {
        let end_row = min((slice + 1u) * SLICE_ROWS, ROWS);
        for (var row = slice * SLICE_ROWS + lane; row < end_row; row += LANES) {
            sum += term(row * CHANNELS + k);
        }
    }
    lane_sums[invocation] = sum;
    workgroupBarrier();
    if (k < CHANNELS && lane == 0u) {
        for (var other = 1u; other < LANES; other++) {
            sum += lane_sums[other * WIDTH + invocation];
        }
        store(slice * CHANNELS + k, sum);
    }
}
