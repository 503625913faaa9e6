// gradient_norm, first pass: the sum of squares of each part of all gradients, which lie side by side.
// parts[FIRST_PART + part] = sum over the part's i of gradient[i]^2, as a tree over strided sums, in a fixed order.
// An invocation owns every 64th quad of a part; a workgroup owns a part of PART_QUADS.
// Defined in src/ops/optimizer/gradient_norm.rs.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> parts: array<f32>;

override QUADS: u32;
override FIRST_PART: u32;

var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let part = workgroup_number(workgroup, workgroups);
    var sum = 0.0;
    for (var quad = invocation; quad < PART_QUADS; quad += WORKGROUP_SIZE) {
        let index = part * PART_QUADS + quad;
        if (index < QUADS) {
            sum += dot(gradient[index], gradient[index]);
        }
    }
    sums[invocation] = sum;
    workgroupBarrier();
    for (var width = WORKGROUP_SIZE / 2u; width > 0u; width /= 2u) {
        if (invocation < width) {
            sums[invocation] += sums[invocation + width];
        }
        workgroupBarrier();
    }
    // The last row of workgroups may extend past the end.
    if (invocation == 0u && part * PART_QUADS < QUADS) {
        parts[FIRST_PART + part] = sums[0];
    }
}
