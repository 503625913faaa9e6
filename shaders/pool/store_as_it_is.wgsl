// Results of a gradient, stored as they are.
// Appended by src/ops/pool/store.rs to kernels that pass results to store_result, with the const line GRAD_INPUT_BINDING.

@group(0) @binding(GRAD_INPUT_BINDING) var<storage, read_write> grad_input: array<ResultPacket>;

fn store_result(index: u32, value: ResultPacket) {
    grad_input[index] = value;
}
