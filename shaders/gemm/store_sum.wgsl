// Sums of slices, stored as they are finished.
// Appended to gemm/sum_slices.wgsl by src/ops/gemm/slices.rs.

@group(0) @binding(1) var<storage, read_write> result: array<ResultPacket>;

fn store_result(index: u32, value: ResultPacket) {
    result[index] = value;
}
