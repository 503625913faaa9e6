// The factor that scales differences from the mean to variance 1.
// Appended by the operations of src/ops/norm.

override EPSILON: f32;

fn inverse_deviation(variance: f32) -> f32 {
    return inverseSqrt(variance + EPSILON);
}
