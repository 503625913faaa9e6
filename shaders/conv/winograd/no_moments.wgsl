// No moments of the tiles of a result.
// Appended to conv/winograd/results.wgsl by src/ops/conv/gpu/winograd.rs.

const TAKES_MOMENTS: bool = false;

alias OwnMoments = u32;

fn with_value(own: OwnMoments, value: Packet, is_first: bool) -> OwnMoments {
    return own;
}

fn store_moments(own: OwnMoments, index: u32, invocation: u32) {}
