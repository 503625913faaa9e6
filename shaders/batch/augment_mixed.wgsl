// Images that are mixed with a partner of the same batch, and the partner's labels.
// Appended to batch/augment.wgsl by src/ops/batch/augment.rs.

@group(0) @binding(5) var<storage, read> targets: array<u32>;
@group(0) @binding(6) var<storage, read_write> mixed_targets: array<u32>;
@group(0) @binding(7) var<storage, read_write> mixed_shares: array<f32>;

const PATCH: u32 = 12u;
const PARTNER: u32 = 16u;
const INSIDE: u32 = 17u;
const OUTSIDE: u32 = 18u;
const LABEL_SHARE: u32 = 19u;

fn partner_of(first: u32) -> u32 {
    return u32(clamp(moves[first + PARTNER], 0.0, f32(BATCH_SIZE - 1u)));
}

fn mixed(first_move: u32, n: u32, y: u32, x: u32, c: u32) -> f32 {
    let first = first_move + n * MOVE;
    let own = shown(n, first, y, x, c);
    var share = moves[first + OUTSIDE];
    if (is_within(first + PATCH, y, x)) {
        share = moves[first + INSIDE];
    }
    if (share == 0.0) {
        return own;
    }
    let partner = partner_of(first);
    return (1.0 - share) * own + share * shown(partner, first_move + partner * MOVE, y, x, c);
}

fn mix_labels(first_move: u32, n: u32) {
    let first = first_move + n * MOVE;
    mixed_targets[n] = targets[partner_of(first)];
    mixed_shares[n] = moves[first + LABEL_SHARE];
}
