// gradient_norm, second pass: the norm of all gradients, and the factor that scales them.
// clip_scale[0] = min(1, MAX_NORM / (norm + 1e-6)), norm = sqrt(sum of parts), and what follows from it, as the appended file
// says.
// An invocation owns every 64th part; the one workgroup owns them all.
// Defined in src/ops/optimizer/gradient_norm.rs; another appended file defines count_step.

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> clip_scale: array<f32>;

override PARTS: u32;
override STEPS: u32;
override MAX_NORM: f32;

var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    var sum = 0.0;
    for (var part = invocation; part < PARTS; part += WORKGROUP_SIZE) {
        sum += parts[part];
    }
    sums[invocation] = sum;
    workgroupBarrier();
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        if (invocation < width) {
            sums[invocation] += sums[invocation + width];
        }
        workgroupBarrier();
    }
    if (invocation != 0u) {
        return;
    }
    conclude(sqrt(sums[0]));
    count_step();
}

fn clipping(norm: f32) -> f32 {
    return min(1.0, MAX_NORM / (norm + 1e-6));
}
