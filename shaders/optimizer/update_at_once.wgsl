// The update of all parameters, of which an invocation owns four consecutive values; a workgroup owns 256.
// Appended to optimizer/update.wgsl by src/ops/optimizer/update.rs.

@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;

override QUADS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index < QUADS) {
        update_quad(index, gradient[index]);
    }
}
