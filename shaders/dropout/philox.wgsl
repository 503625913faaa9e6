// Philox4x32-10: four random words for a counter and a key. Salmon, Moraes, Dror and Shaw 2011.
// Appended by src/ops/dropout/mod.rs; the same function in Rust is src/ops/dropout/philox.rs.

// The high word of a product, from products of halves, none of which overflows.
fn high_word(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var words = counter;
    var round_key = key;
    for (var round = 0u; round < 10u; round++) {
        let first_high = high_word(words.x, 0xd2511f53u);
        let first_low = words.x * 0xd2511f53u;
        let second_high = high_word(words.z, 0xcd9e8d57u);
        let second_low = words.z * 0xcd9e8d57u;
        words = vec4(
            second_high ^ words.y ^ round_key.x,
            second_low,
            first_high ^ words.w ^ round_key.y,
            first_low,
        );
        round_key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return words;
}
