//! Random words as a function of a counter and a key.

/// Philox4x32-10: four random words for each counter and key, the same on every device, since it is made of products,
/// sums and exclusive ors of 32-bit words alone.
///
/// # Source
/// Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [a, b, c, d] = philox_lanes(counter.map(|word| [word]), key);
    [a[0], b[0], c[0], d[0]]
}

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
// The golden ratio and the square root of 3, less their integers.
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// [`philox`] for several counters at a time: word by word, each with a lane for every counter.
#[inline(always)]
pub fn philox_lanes<const LANES: usize>(counter: [[u32; LANES]; 4], key: [u32; 2]) -> [[u32; LANES]; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let mut key = key;
    for _ in 0..ROUNDS {
        for lane in 0..LANES {
            let products = [(a[lane], MULTIPLIERS[0]), (c[lane], MULTIPLIERS[1])];
            let [first, second] = products.map(|(word, multiplier)| u64::from(word) * u64::from(multiplier));
            let high = |product: u64| (product >> 32) as u32;
            a[lane] = high(second) ^ b[lane] ^ key[0];
            c[lane] = high(first) ^ d[lane] ^ key[1];
            b[lane] = second as u32;
            d[lane] = first as u32;
        }
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the authors publish with their library Random123 (`kat_vectors`).
    #[test]
    fn words_are_the_published_ones() {
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(philox(counter, key), expected);
        }
    }
}
