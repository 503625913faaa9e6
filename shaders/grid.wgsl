// Numbering of invocations in kernels in which an invocation owns one element, or a few.
// Workgroups are folded into x and y, since an axis has at most 65,535; the last row may extend past the end.
// A launch that would take long is split into pieces, each of which starts at its FIRST_WORKGROUP.

const WORKGROUP_SIZE: u32 = 64u;

override FIRST_WORKGROUP: u32;

fn workgroup_number(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return FIRST_WORKGROUP + workgroup.y * workgroups.x + workgroup.x;
}

// Elements of an invocation in kernels in which it owns several, WORKGROUP_SIZE apart: their loads wait together.
const TOGETHER: u32 = 4u;

fn first_index(workgroup: vec3<u32>, workgroups: vec3<u32>, invocation: u32) -> u32 {
    return workgroup_number(workgroup, workgroups) * (TOGETHER * WORKGROUP_SIZE) + invocation;
}

fn global_index(workgroup: vec3<u32>, workgroups: vec3<u32>, invocation: u32) -> u32 {
    return workgroup_number(workgroup, workgroups) * WORKGROUP_SIZE + invocation;
}
