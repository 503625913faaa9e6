// The largest of the four values of a window of 2 x 2, row by row, and their places, for four channels at a time.
// A NaN is the largest, and the first of equals wins.
// Appended by src/ops/pool/places.rs to kernels that have the values of windows in registers, with float_bits.wgsl.

struct Best {
    values: vec4<f32>,
    places: vec4<u32>,
}

fn best_of(first: vec4<f32>, second: vec4<f32>, third: vec4<f32>, fourth: vec4<f32>) -> Best {
    var best = Best(first, vec4<u32>());
    best = better_of(best, second, 1u);
    best = better_of(best, third, 2u);
    return better_of(best, fourth, 3u);
}

fn better_of(best: Best, rival: vec4<f32>, place: u32) -> Best {
    let wins = vec4(
        exceeds(rival.x, best.values.x),
        exceeds(rival.y, best.values.y),
        exceeds(rival.z, best.values.z),
        exceeds(rival.w, best.values.w),
    );
    return Best(select(best.values, rival, wins), select(best.places, vec4(place), wins));
}
