// One step of an optimizer on all parameters, which lie side by side: weights, then biases, then those of norm layers; and
// behind them those that are trained at first alone, in the same order.
// g = gradient, clipped, with coupled decay; parameter = keep * parameter - rate * direction(g); nothing changes if
// loss[step] is not finite.
// Values are updated four at a time, by one of two files beside this one, which also declares the gradient.
// Defined in src/ops/optimizer/update.rs; the optimizer's file defines direction.

@group(0) @binding(0) var<storage, read_write> parameter: array<vec4<f32>>;
// Rows of two quads: learning rate, momentum and two corrections; the factor of the rate at first, and two of averages.
@group(0) @binding(2) var<storage, read> schedule: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read> loss: array<f32>;

// Where the groups after the weights start, in quads.
override FIRST_BIAS: u32;
override FIRST_NORM: u32;
override FIRST_AT_FIRST: u32;
override FIRST_BIAS_AT_FIRST: u32;
override FIRST_NORM_AT_FIRST: u32;
override STEPS: u32;
// For each group, its factor of the learning rate, and its weight decay, coupled or decoupled.
override WEIGHT_RATE_FACTOR: f32;
override BIAS_RATE_FACTOR: f32;
override NORM_RATE_FACTOR: f32;
override WEIGHT_DECAY: f32;
override BIAS_DECAY: f32;
override NORM_DECAY: f32;
override IS_COUPLED: u32;

fn of_group(index: u32, weight: f32, bias: f32, norm: f32) -> f32 {
    let is_at_first = index >= FIRST_AT_FIRST;
    let first_bias = select(FIRST_BIAS, FIRST_BIAS_AT_FIRST, is_at_first);
    let first_norm = select(FIRST_NORM, FIRST_NORM_AT_FIRST, is_at_first);
    return select(select(norm, bias, index < first_norm), weight, index < first_bias);
}

fn update_quad(index: u32, unclipped: vec4<f32>) {
    let now = step[0];
    if (now >= STEPS) {
        return;
    }
    if (!is_finite(loss[now])) {
        return;
    }
    let row = schedule[2u * now];
    let more = schedule[2u * now + 1u];
    let rate = row.x * select(1.0, more.x, index >= FIRST_AT_FIRST)
        * of_group(index, WEIGHT_RATE_FACTOR, BIAS_RATE_FACTOR, NORM_RATE_FACTOR);
    let decay = of_group(index, WEIGHT_DECAY, BIAS_DECAY, NORM_DECAY);
    let before = parameter[index];
    var g = clipped(unclipped);
    var kept = before;
    if (IS_COUPLED != 0u) {
        g += decay * before;
    } else {
        kept *= 1.0 - rate * decay;
    }
    let after = kept - rate * direction(index, g, row.y, row.zw);
    parameter[index] = averaged(index, after, more);
}
