// concatenate.grad_input: copies the gradient of one of the tensors that lie side by side.
// grad_input[row,k] = grad_output[row,first+k].
// An invocation owns one element of grad_input; a workgroup owns 64 consecutive ones.
// Defined in src/ops/concatenate/grad.rs.

@group(0) @binding(0) var<storage, read> grad_output: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad_input: array<f32>;

override ELEMENTS: u32;
override CHANNELS: u32;
override FIRST_CHANNEL: u32;
override ALL_CHANNELS: u32;

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
    let place = index / CHANNELS * ALL_CHANNELS + FIRST_CHANNEL + index % CHANNELS;
    grad_input[index] = grad_output[place];
}
