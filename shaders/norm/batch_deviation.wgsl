// The factor that scales differences from the mean to variance 1, from the variance that is an operand.
// Appended by the operations of src/ops/norm, with norm/deviation.wgsl.

// What makes the variance the mean of squared differences: (rows - 1) / rows for the unbiased one of a batch, else 1.
override BIASED: f32;

fn inverse_of_batch(variance: f32) -> f32 {
    return inverse_deviation(variance * BIASED);
}
