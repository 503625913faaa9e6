// multiply.forward, direct: every element from its definition.
// output[n,row,k] = input[n,row,k] * factors[n,k].
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/multiply/forward.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> factors: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

override ELEMENTS: u32;
override ROWS: u32;
override CHANNELS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= ELEMENTS) {
        return;
    }
    let k = index % CHANNELS;
    output[index] = input[index] * factors[index / CHANNELS / ROWS * CHANNELS + k];
}
