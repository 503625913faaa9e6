// Multiply-adds, direct: nothing else, in independent chains.
// result[i] = mean over 16 chains of x, where x starts as the chain's number and x = x/2 + input[i] is repeated
// 4*ROUNDS times.
// An invocation owns one element; a workgroup owns 64 consecutive ones.
// Defined in src/ops/ceilings/fma.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;

override ELEMENTS: u32;
override ROUNDS: u32;

struct Chains {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn step_all(x: Chains, value: vec4<f32>) -> Chains {
    let half = vec4<f32>(0.5);
    return Chains(
        fma(x.a, half, value),
        fma(x.b, half, value),
        fma(x.c, half, value),
        fma(x.d, half, value),
    );
}

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
    let value = vec4<f32>(input[index]);
    let first = vec4<f32>(0.0, 1.0, 2.0, 3.0);
    var x = Chains(first, first + 4.0, first + 8.0, first + 12.0);
    for (var round = 0u; round < ROUNDS; round++) {
        // Four steps per round, so that the loop itself costs little.
        x = step_all(step_all(step_all(step_all(x, value), value), value), value);
    }
    let sums = x.a + x.b + x.c + x.d;
    result[index] = (sums.x + sums.y + sums.z + sums.w) / 16.0;
}
