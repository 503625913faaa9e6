// Winograd's transforms of one line, F(m,3): m outputs of a 3-tap filter from m + 2 inputs, with m + 2 products.
// output = output_line(m, input_line(m, x) * filters_line(m, g)), for m = 2, 3 and 4; a line may be shorter than its array.
// Gradients use the transposes: grad_g = grad_filters_line(m, input_line(m, x) * grad_output_line(m, grad_output)).
// The Toom-Cook construction for the points 0, 1, -1 (m = 2), B, -B, A, -A (m = 3) or 0, B, -B, A, -A (m = 4), and
// infinity.
// Appended to the transforms of src/ops/conv/gpu/winograd.rs; src/ops/conv/winograd.rs gives the error for each choice
// of points.

// Length of the longest line of inputs.
const LINE: u32 = 6u;

// Squares and products of the points are exact in f32, so that the transforms of inputs and outputs are exact; only the
// divisors of the filters are rounded.
const A3 = 1.25;
const B3 = 0.375;
const AA3 = A3 * A3;
const BB3 = B3 * B3;
const A4 = 1.5;
const B4 = 0.6875;
const AA4 = A4 * A4;
const BB4 = B4 * B4;

fn input_line(m: u32, x: array<Packet, LINE>) -> array<Packet, LINE> {
    if (m == 2u) {
        return array(x[0] - x[2], x[2] + x[1], x[2] - x[1], x[3] - x[1], Packet(), Packet());
    }
    if (m == 3u) {
        let a_odd = x[3] - BB3 * x[1];
        let a_even = A3 * (x[2] - BB3 * x[0]);
        let b_odd = x[3] - AA3 * x[1];
        let b_even = B3 * (x[2] - AA3 * x[0]);
        let infinity = (AA3 * BB3) * x[0] - (AA3 + BB3) * x[2] + x[4];
        return array(b_odd + b_even, b_odd - b_even, a_odd + a_even, a_odd - a_even, infinity, Packet());
    }
    let a_even = x[4] - BB4 * x[2];
    let a_odd = A4 * (x[3] - BB4 * x[1]);
    let b_even = x[4] - AA4 * x[2];
    let b_odd = B4 * (x[3] - AA4 * x[1]);
    let zero = (AA4 * BB4) * x[0] - (AA4 + BB4) * x[2] + x[4];
    let infinity = (AA4 * BB4) * x[1] - (AA4 + BB4) * x[3] + x[5];
    return array(zero, b_even + b_odd, b_even - b_odd, a_even + a_odd, a_even - a_odd, infinity);
}

fn filters_line(m: u32, g: array<Packet, 3>) -> array<Packet, LINE> {
    if (m == 2u) {
        let even = 0.5 * (g[0] + g[2]);
        let odd = 0.5 * g[1];
        return array(g[0], even + odd, even - odd, g[2], Packet(), Packet());
    }
    if (m == 3u) {
        let a_odd = (1.0 / (2.0 * (AA3 - BB3))) * g[1];
        let a_even = (1.0 / (2.0 * A3 * (AA3 - BB3))) * (g[0] + AA3 * g[2]);
        let b_odd = (1.0 / (2.0 * (BB3 - AA3))) * g[1];
        let b_even = (1.0 / (2.0 * B3 * (BB3 - AA3))) * (g[0] + BB3 * g[2]);
        return array(b_odd + b_even, b_odd - b_even, a_odd + a_even, a_odd - a_even, g[2], Packet());
    }
    let a_even = (1.0 / (2.0 * AA4 * (AA4 - BB4))) * (g[0] + AA4 * g[2]);
    let a_odd = (1.0 / (2.0 * A4 * (AA4 - BB4))) * g[1];
    let b_even = (1.0 / (2.0 * BB4 * (BB4 - AA4))) * (g[0] + BB4 * g[2]);
    let b_odd = (1.0 / (2.0 * B4 * (BB4 - AA4))) * g[1];
    let zero = (1.0 / (AA4 * BB4)) * g[0];
    return array(zero, b_even + b_odd, b_even - b_odd, a_even + a_odd, a_even - a_odd, g[2]);
}

fn output_line(m: u32, x: array<Packet, LINE>) -> array<Packet, 4> {
    if (m == 2u) {
        return array(x[0] + x[1] + x[2], x[1] - x[2] + x[3], Packet(), Packet());
    }
    if (m == 3u) {
        let b_sum = x[0] + x[1];
        let b_difference = x[0] - x[1];
        let a_sum = x[2] + x[3];
        let a_difference = x[2] - x[3];
        return array(
            b_sum + a_sum,
            B3 * b_difference + A3 * a_difference,
            BB3 * b_sum + AA3 * a_sum + x[4],
            Packet(),
        );
    }
    let b_sum = x[1] + x[2];
    let b_difference = x[1] - x[2];
    let a_sum = x[3] + x[4];
    let a_difference = x[3] - x[4];
    return array(
        x[0] + b_sum + a_sum,
        B4 * b_difference + A4 * a_difference,
        BB4 * b_sum + AA4 * a_sum,
        (BB4 * B4) * b_difference + (AA4 * A4) * a_difference + x[5],
    );
}

// The transpose of output_line.
fn grad_output_line(m: u32, y: array<Packet, 4>) -> array<Packet, LINE> {
    if (m == 2u) {
        return array(y[0], y[0] + y[1], y[0] - y[1], y[1], Packet(), Packet());
    }
    if (m == 3u) {
        let b_even = y[0] + BB3 * y[2];
        let b_odd = B3 * y[1];
        let a_even = y[0] + AA3 * y[2];
        let a_odd = A3 * y[1];
        return array(b_even + b_odd, b_even - b_odd, a_even + a_odd, a_even - a_odd, y[2], Packet());
    }
    let b_even = y[0] + BB4 * y[2];
    let b_odd = B4 * (y[1] + BB4 * y[3]);
    let a_even = y[0] + AA4 * y[2];
    let a_odd = A4 * (y[1] + AA4 * y[3]);
    return array(y[0], b_even + b_odd, b_even - b_odd, a_even + a_odd, a_even - a_odd, y[3]);
}

// The transpose of filters_line.
fn grad_filters_line(m: u32, x: array<Packet, LINE>) -> array<Packet, 3> {
    if (m == 2u) {
        let even = 0.5 * (x[1] + x[2]);
        return array(x[0] + even, 0.5 * (x[1] - x[2]), even + x[3]);
    }
    if (m == 3u) {
        let a_odd = (1.0 / (2.0 * (AA3 - BB3))) * (x[2] + x[3]);
        let a_even = (1.0 / (2.0 * A3 * (AA3 - BB3))) * (x[2] - x[3]);
        let b_odd = (1.0 / (2.0 * (BB3 - AA3))) * (x[0] + x[1]);
        let b_even = (1.0 / (2.0 * B3 * (BB3 - AA3))) * (x[0] - x[1]);
        return array(b_even + a_even, b_odd + a_odd, BB3 * b_even + AA3 * a_even + x[4]);
    }
    let a_even = (1.0 / (2.0 * AA4 * (AA4 - BB4))) * (x[3] + x[4]);
    let a_odd = (1.0 / (2.0 * A4 * (AA4 - BB4))) * (x[3] - x[4]);
    let b_even = (1.0 / (2.0 * BB4 * (BB4 - AA4))) * (x[1] + x[2]);
    let b_odd = (1.0 / (2.0 * B4 * (BB4 - AA4))) * (x[1] - x[2]);
    let zero = (1.0 / (AA4 * BB4)) * x[0];
    return array(zero + b_even + a_even, b_odd + a_odd, BB4 * b_even + AA4 * a_even + x[5]);
}
