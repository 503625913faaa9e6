// group_norm.statistics: the terms of its reduction, which the appended files do.
// mean[n,g] = sum of its input / count; variance[n,g] = sum of (input - mean[n,g])^2 / count, over the rows of sample n and the
// channels of group g.
// Defined in src/ops/norm/group/statistics.rs.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;

// Relative to one of them, values are close to zero.
fn origin(segment: u32) -> f32 {
    return input[index_of(segment, 0u)];
}

fn empty() -> Moments {
    return Moments(0.0, 0.0, 0.0);
}

fn term(segment: u32, index: u32) -> Moments {
    return of_value(input[index] - origin(segment));
}

// The moments of the first values, from an earlier part.
fn resumed(segment: u32, values: u32) -> Moments {
    let count = f32(values);
    return Moments(count, mean[segment] - origin(segment), variance[segment] * count);
}

fn store(segment: u32, moments: Moments) {
    mean[segment] = origin(segment) + moments.mean;
    variance[segment] = moments.squares / moments.count;
}
