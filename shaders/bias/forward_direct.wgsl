// bias.forward, direct: every element from its definition, in place.
// output[row,k] += bias[k].
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/bias/forward.rs.

@group(0) @binding(0) var<storage, read> bias: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

override ROWS: u32;
override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= ROWS * CHANNELS) {
        return;
    }
    output[index] += bias[index % CHANNELS];
}
