// batch_norm.running: moves the running statistics towards those of a batch, unless the step's loss is not finite.
// running_mean = (1 - momentum) * running_mean + momentum * mean; running_var likewise, with the unbiased variance.
// An invocation owns one channel; a workgroup owns 64 consecutive ones.
// Defined in src/ops/norm/running.rs.

@group(0) @binding(0) var<storage, read> mean: array<f32>;
@group(0) @binding(1) var<storage, read> variance: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<u32>;
@group(0) @binding(3) var<storage, read> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> running_var: array<f32>;

override CHANNELS: u32;
override STEPS: u32;
override MOMENTUM: f32;
// The factor that makes a variance unbiased: rows / (rows - 1).
override CORRECTION: f32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let k = global_index(workgroup, workgroups, invocation);
    let now = step[0];
    if (k >= CHANNELS || now >= STEPS) {
        return;
    }
    if (is_finite(loss[now])) {
        running_mean[k] = (1.0 - MOMENTUM) * running_mean[k] + MOMENTUM * mean[k];
        running_var[k] = (1.0 - MOMENTUM) * running_var[k] + MOMENTUM * (variance[k] * CORRECTION);
    }
}
