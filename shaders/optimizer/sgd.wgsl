// sgd without momentum, elementwise.
// parameter -= learning_rate[step] * (gradient + weight_decay * parameter); nothing if loss[step] is not finite.
// An invocation owns one value; a workgroup owns 64 that follow one another in memory.
// Defined in src/ops/optimizer/sgd.rs.

@group(0) @binding(0) var<storage, read_write> parameter: array<f32>;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> learning_rate: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read> loss: array<f32>;

override ELEMENTS: u32;
override STEPS: u32;
override WEIGHT_DECAY: f32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    let now = step[0];
    if (index >= ELEMENTS || now >= STEPS) {
        return;
    }
    if (!is_finite(loss[now])) {
        return;
    }
    parameter[index] -= learning_rate[now] * (gradient[index] + WEIGHT_DECAY * parameter[index]);
}
