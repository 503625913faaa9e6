// The gradient of a max-pool's output where it is stored at the pool's input: unchanged.
// Appended by src/ops/pool/store.rs with pool/store_unpooled.wgsl.

fn unpooled(index: u32, value: ResultPacket) -> ResultPacket {
    return value;
}
