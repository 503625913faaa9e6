// scale_gradient: the gradient of the logits, and with it all others, multiplied by the scale of the loss.
// gradient[i] *= max(1, loss_scale[0]).
// An invocation owns one value; a workgroup owns 64 consecutive ones.
// Defined in src/ops/loss/scale.rs.

@group(0) @binding(0) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(1) var<storage, read> loss_scale: array<f32>;

override ELEMENTS: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index < ELEMENTS) {
        gradient[index] *= max(1.0, loss_scale[0]);
    }
}
