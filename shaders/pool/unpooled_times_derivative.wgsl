// The gradient of a max-pool's output where it is stored at the pool's input, which is an activation's output: times the
// derivative, so that it is that of the activation's input.
// Appended by src/ops/pool/store.rs with pool/store_unpooled.wgsl, the files that define derivative and derivative_packet,
// and the const line POOLED_BINDING.

// The pool's output.
@group(0) @binding(POOLED_BINDING) var<storage, read> pooled: array<ResultPacket>;

fn unpooled(index: u32, value: ResultPacket) -> ResultPacket {
    return value * derivative_packet(pooled[index]);
}
