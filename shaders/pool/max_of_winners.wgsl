// max_pool2d.forward, the last pass for windows too large for one launch: the values of the winners.
// output[n,p,q,c] = input[winners[n,p,q,c]].
// An invocation owns one output value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/pool/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;
@group(0) @binding(2) var<storage, read> winners: array<u32>;

override ELEMENTS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index < ELEMENTS) {
        output[index] = input[winners[index]];
    }
}
