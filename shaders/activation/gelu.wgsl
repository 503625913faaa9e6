// gelu: activate(x) = x*share(x), with the normal distribution's share(x) = (1 + erf(x/sqrt(2)))/2.
// derivative(x) = share(x) + x*density(x), from the input x, with density(x) = exp(-x*x/2)/sqrt(2*pi).
// Appended to activation/forward.wgsl and activation/grad_from_input.wgsl.
// Defined in src/ops/activation/mod.rs.

const DENSITY_AT_ZERO: f32 = 0.3989422804;

// Accurate to 7.5e-8: Abramowitz and Stegun, formula 7.1.26, written with the tail, so that nothing cancels.
fn share(x: f32) -> f32 {
    let z = abs(x) * 0.7071067812;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let tail = 0.5 * series * exp(-z * z);
    return select(1.0 - tail, tail, x < 0.0);
}

fn activate(x: f32) -> f32 {
    return x * share(x);
}

fn derivative(x: f32) -> f32 {
    return share(x) + x * DENSITY_AT_ZERO * exp(-0.5 * x * x);
}
