// The pixel that a coordinate stands for if an image lies on black.
// Appended to batch/augment.wgsl by src/ops/batch/augment.rs.

fn pixel(coordinate: i32, size: i32) -> i32 {
    return select(BLACK, coordinate, coordinate >= 0 && coordinate < size);
}
