// A reduction of each group of each sample, value by value.
// An invocation owns one group of a sample; a workgroup owns 64 consecutive ones.
// Appended by src/ops/norm/group/reduction.rs to a file that defines empty, term, resumed and store, and to one that defines
// a Lane and how two are combined.

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let segment = global_index(workgroup, workgroups, invocation);
    if (segment >= SEGMENTS) {
        return;
    }
    var lane = empty();
    if (!IS_FIRST_PART) {
        lane = resumed(segment, FIRST_TERM);
    }
    for (var number = FIRST_TERM; number < END_TERM; number++) {
        lane = together(lane, term(segment, index_of(segment, number)));
    }
    store(segment, lane);
}
