// Sizes of a dense layer, set by name from DenseSize::constants.
// Layouts: input [N,I], weight [O,I], output [N,O].
// Loop letters: n for samples, i for values of a sample, o for values of a result.
// Defined in src/ops/dense/mod.rs.

override BATCH_SIZE: u32;
override IN_FEATURES: u32;
override OUT_FEATURES: u32;
