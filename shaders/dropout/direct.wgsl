// dropout: sets values to zero at random; the appended file defines philox(counter, key).
// output[i] = input[i] * FACTOR where word i % 4 of the counter (i / 4, step, epoch, STREAM) is below THRESHOLD, else 0.
// An invocation owns the four consecutive elements that share a counter; a workgroup owns 256 of them.
// Defined in src/ops/dropout/mod.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> step: array<u32>;
// The seed's low and high words, and the epoch.
@group(0) @binding(2) var<storage, read> chance: array<u32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

override ELEMENTS: u32;
override STREAM: u32;
override THRESHOLD: u32;
override FACTOR: f32;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = global_index(workgroup, workgroups, invocation);
    let first = block * 4u;
    if (first >= ELEMENTS) {
        return;
    }
    let words = philox(vec4(block, step[0], chance[2], STREAM), vec2(chance[0], chance[1]));
    for (var i = 0u; i < min(4u, ELEMENTS - first); i++) {
        // Not a product with zero, which would keep a NaN.
        output[first + i] = select(0.0, input[first + i] * FACTOR, words[i] < THRESHOLD);
    }
}
