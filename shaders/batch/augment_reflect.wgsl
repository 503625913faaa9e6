// The pixel that a coordinate stands for if an image is mirrored at its outermost pixels.
// Appended to batch/augment.wgsl by src/ops/batch/augment.rs.

fn pixel(coordinate: i32, size: i32) -> i32 {
    let period = max(2 * (size - 1), 1);
    let folded = abs(coordinate) % period;
    return min(folded, period - folded) % size;
}
