// A reduction of each group of each sample, in which a workgroup shares the values and combines its results as a tree, in a
// fixed order.
// An invocation owns every INVOCATIONS-th value; a workgroup owns one group of a sample.
// Appended by src/ops/norm/group/reduction.rs, with INVOCATIONS as a const line, to a file that defines empty, term and store,
// and to one that defines a Lane and how two are combined.

var<workgroup> lanes: array<Lane, INVOCATIONS>;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let segment = workgroup_number(workgroup, workgroups);
    if (segment >= SEGMENTS) {
        return;
    }
    var lane = empty();
    for (var number = invocation; number < COUNT; number += INVOCATIONS) {
        lane = together(lane, term(segment, index_of(segment, number)));
    }
    lanes[invocation] = lane;
    for (var span = INVOCATIONS / 2u; span > 0u; span /= 2u) {
        workgroupBarrier();
        if (invocation < span) {
            lanes[invocation] = together(lanes[invocation], lanes[invocation + span]);
        }
    }
    if (invocation == 0u) {
        store(segment, lanes[0]);
    }
}
