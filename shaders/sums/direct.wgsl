// Sums of each channel over the rows of each segment, direct: from their definition.
// result[segment,k] = sum over the segment's rows of term[row,k].
// An invocation owns one result; a workgroup owns 64 consecutive ones.
// Appended by src/ops/sums.rs to a file that defines term, partial and store.

override SEGMENTS: u32;
override SEGMENT_ROWS: u32;
override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= SEGMENTS * CHANNELS) {
        return;
    }
    let first_row = index / CHANNELS * SEGMENT_ROWS;
    let k = index % CHANNELS;
    var sum = 0.0;
    if (!IS_FIRST_PART) {
        sum = partial(index);
    }
    for (var row = FIRST_TERM; row < END_TERM; row++) {
        sum += term((first_row + row) * CHANNELS + k);
    }
    store(index, sum);
}
