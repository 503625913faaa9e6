// The moving average of all parameters after a step: of statistics, and of those of an optimizer in steps that bind as many buffers as
// devices must allow.
// average += share * (parameter - average), as the appended file defines it; nothing if loss[step] is not finite.
// An invocation owns four consecutive values; a workgroup owns 256.
// Defined in src/ops/optimizer/average.rs.

@group(0) @binding(0) var<storage, read_write> parameter: array<vec4<f32>>;
// Rows of two quads.
@group(0) @binding(1) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> step: array<u32>;
@group(0) @binding(3) var<storage, read> loss: array<f32>;

override QUADS: u32;
override STEPS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    let now = step[0];
    if (index >= QUADS || now >= STEPS) {
        return;
    }
    if (!is_finite(loss[now])) {
        return;
    }
    parameter[index] = averaged(index, parameter[index], schedule[2u * now + 1u]);
}
