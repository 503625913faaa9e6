// gather_batch, direct: every value of the batch is computed from its byte in this part of the dataset.
// input[n,h,w,c] = images[row,h,w,c] * normalisation[0,c] + normalisation[1,c] and targets[n] = labels[row], with row = order[step*N + n] - first_row and step = counter.
// An invocation owns one input value, and that of an image's first value also owns its target, and the very first one the step; a
// workgroup owns 64 consecutive values.
// Defined in src/ops/batch/gather.rs.

// Four bytes per word, the first in the low bits.
@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> counter: array<u32>;
@group(0) @binding(4) var<storage, read> normalisation: array<f32>;
@group(0) @binding(5) var<storage, read_write> input: array<f32>;
@group(0) @binding(6) var<storage, read_write> targets: array<u32>;
@group(0) @binding(7) var<storage, read_write> step: array<u32>;

override BATCH_SIZE: u32;
override IMAGE_ELEMENTS: u32;
override CHANNELS: u32;
override STEPS: u32;
override ROWS: u32;
override FIRST_ROW: u32;
override NO_LABEL: u32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    let now = counter[0];
    if (index == 0u) {
        step[0] = now;
    }
    if (index >= BATCH_SIZE * IMAGE_ELEMENTS || now >= STEPS) {
        return;
    }
    let n = index / IMAGE_ELEMENTS;
    let element = index % IMAGE_ELEMENTS;
    let entry = order[now * BATCH_SIZE + n];
    // For a row of an earlier part, the subtraction wraps past the end of this part.
    let row = entry - FIRST_ROW;
    if (row >= ROWS && FIRST_ROW > 0u) {
        return;
    }
    var value = 0.0;
    var label = NO_LABEL;
    if (row < ROWS) {
        let position = row * IMAGE_ELEMENTS + element;
        let byte = (images[position / 4u] >> (position % 4u * 8u)) & 0xffu;
        let c = element % CHANNELS;
        value = f32(byte) * normalisation[c] + normalisation[CHANNELS + c];
        label = labels[row];
    }
    input[index] = value;
    if (element == 0u) {
        targets[n] = label;
    }
}
