// The normalised gradient of rmsprop, for both forms, with and without momentum.
// square_average = average of g^2; normalised = g / (sqrt(square_average) + EPSILON).

@group(0) @binding(5) var<storage, read_write> square_average: array<vec4<f32>>;

// Weight of g^2 in the new average.
override SHARE: f32;
override EPSILON: f32;

fn normalised(index: u32, g: vec4<f32>) -> vec4<f32> {
    let average = square_average[index] + SHARE * (g * g - square_average[index]);
    square_average[index] = average;
    return g / (sqrt(average) + EPSILON);
}
