// batch_norm.running: moves all running statistics towards those of a batch, unless the step's loss is not finite.
// running = (1 - momentum) * running + momentum * batch.
// An invocation owns one value, or one of the zeros between tensors that lie side by side; a workgroup owns 64 consecutive
// ones.
// Defined in src/ops/norm/running.rs.

@group(0) @binding(0) var<storage, read_write> running: array<f32>;
@group(0) @binding(1) var<storage, read> batch: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<u32>;
@group(0) @binding(3) var<storage, read> loss: array<f32>;

override ELEMENTS: u32;
override STEPS: u32;
override MOMENTUM: f32;

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
    if (is_finite(loss[now])) {
        running[index] = (1.0 - MOMENTUM) * running[index] + MOMENTUM * batch[index];
    }
}
