// The best of windows, one channel at a time: for channels that are not a multiple of four.
// Appended by src/ops/pool/places.rs to kernels that call store_best, with the const line WINNERS_BINDING.

// The place of the largest in its window, below 4.
@group(0) @binding(WINNERS_BINDING) var<storage, read_write> winners: array<u32>;

// Stores those of a window from the element `index` on, of which so many are there.
fn store_best(index: u32, count: u32, best: Best) {
    for (var j = 0u; j < 4u && j < count; j++) {
        output[index + j] = best.values[j];
        winners[index + j] = best.places[j];
    }
}
