// Sums of slices, stored as they are added by gemm/slice_lanes.wgsl, for kernels that declare `result`.
// Appended by src/ops/gemm/slices.rs.

fn add_slices(sum: SliceSum, invocation: u32) {
    add_lanes(sum, invocation);
    let index = sum.first + invocation;
    if (invocation < INVOCATIONS / sum.lanes && index < sum.elements) {
        result[sum.first_result + index] = lane_sums[invocation];
    }
}
