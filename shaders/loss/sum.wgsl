// Sums over the invocations of a workgroup, as a tree, in a fixed order; appended to the kernels of losses.
// sum_over_workgroup(value) = sum over invocations of value.
// An invocation owns one value; a workgroup owns the sum, which is returned to all its invocations.
// Defined in src/ops/loss/softmax_cross_entropy.rs.

var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

fn sum_over_workgroup(value: f32, invocation: u32) -> f32 {
    // The sum before this one may still be read.
    workgroupBarrier();
    sums[invocation] = value;
    workgroupBarrier();
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        if (invocation < width) {
            sums[invocation] += sums[invocation + width];
        }
        workgroupBarrier();
    }
    return sums[0];
}
