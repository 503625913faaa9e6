// The best of windows, four channels at a time: the channels are a multiple of four.
// Appended by src/ops/pool/places.rs to kernels that call store_best, whose array `output` has packets of four, with the const
// line WINNERS_BINDING.

// The place of the largest in its window, below 4.
@group(0) @binding(WINNERS_BINDING) var<storage, read_write> winners: array<vec4<u32>>;

// Stores those of a window from the element `index` on, of which so many are there.
fn store_best(index: u32, count: u32, best: Best) {
    output[index / 4u] = best.values;
    winners[index / 4u] = best.places;
}
