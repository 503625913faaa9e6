// Numbering of invocations in kernels that own one element an invocation.
// Workgroups are folded into x and y, since an axis takes 65,535 at most; the last row may run past the end.
// A launch that would take long is done in pieces, each from a workgroup of its own on.

const WORKGROUP_SIZE: u32 = 64u;

override FIRST_WORKGROUP: u32;

fn workgroup_number(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return FIRST_WORKGROUP + workgroup.y * workgroups.x + workgroup.x;
}

fn global_index(workgroup: vec3<u32>, workgroups: vec3<u32>, invocation: u32) -> u32 {
    return workgroup_number(workgroup, workgroups) * WORKGROUP_SIZE + invocation;
}
