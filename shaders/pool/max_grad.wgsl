// max_pool2d.grad_input, direct: every input value's gradient, gathered from the windows that it won.
// grad_input[n,h,w,c] = sum over p,q of grad_output[n,p,q,c], over the windows whose first largest value is at h,w,
// as finished by the file behind this one.
// An invocation owns one input value; a workgroup owns 64 that follow one another in memory.
// Defined in src/ops/pool/grad.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_input: array<f32>;

// Whether no earlier value of window p,q is as large as the value at index, and no later one is larger.
fn wins(n: u32, p: u32, q: u32, c: u32, index: u32) -> bool {
    let value = input[index];
    for (var r = 0u; r < KERNEL_HEIGHT; r++) {
        let h = input_row(p, r);
        if (h >= IN_HEIGHT) {
            continue;
        }
        for (var s = 0u; s < KERNEL_WIDTH; s++) {
            let w = input_column(q, s);
            if (w >= IN_WIDTH) {
                continue;
            }
            let rival_index = input_index(n, h, w, c);
            let rival = input[rival_index];
            if ((rival_index < index && !exceeds(value, rival)) || exceeds(rival, value)) {
                return false;
            }
        }
    }
    return true;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = global_index(workgroup, workgroups, invocation);
    if (index >= BATCH_SIZE * IN_HEIGHT * IN_WIDTH * IN_CHANNELS) {
        return;
    }
    let c = index % IN_CHANNELS;
    let w = index / IN_CHANNELS % IN_WIDTH;
    let h = index / (IN_CHANNELS * IN_WIDTH) % IN_HEIGHT;
    let n = index / (IN_CHANNELS * IN_WIDTH * IN_HEIGHT);
    var sum = 0.0;
    for (var r = 0u; r < KERNEL_HEIGHT; r++) {
        let p = output_row(h, r);
        if (p >= OUT_HEIGHT) {
            continue;
        }
        for (var s = 0u; s < KERNEL_WIDTH; s++) {
            let q = output_column(w, s);
            if (q >= OUT_WIDTH) {
                continue;
            }
            if (wins(n, p, q, c, index)) {
                sum += grad_output[output_index(n, p, q, c)];
            }
        }
    }
    grad_input[index] = finished(sum, input[index]);
}
