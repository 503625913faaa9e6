//! Dense layers: sizes below, at and beyond a tile, and sums long enough to be cut into slices.

use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};

use super::Case;

/// Sizes, each with the reason it is here.
pub fn sizes() -> Vec<(&'static str, DenseSize)> {
    // name, batch_size, in_features, out_features
    let rows: [(&str, usize, usize, usize); 12] = [
        ("one value", 1, 1, 1),
        ("batch of one", 1, 131, 67),
        ("one result", 17, 100, 1),
        ("one feature", 33, 1, 12),
        ("fewer than a tile", 8, 9, 10),
        ("exactly a tile", 32, 32, 32),
        ("one more than a tile", 65, 65, 65),
        ("primes", 13, 101, 37),
        ("classifier", 64, 784, 10),
        ("several tiles, ragged", 70, 129, 200),
        ("long sum over features", 9, 5003, 11),
        ("long sums over samples and results", 2051, 19, 1031),
    ];
    rows.into_iter()
        .map(|(name, batch_size, in_features, out_features)| {
            let size = DenseSize::new(batch_size, in_features, out_features);
            (name, size.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect()
}

pub(super) fn cases() -> Vec<Case> {
    sizes()
        .into_iter()
        .flat_map(|(name, size)| {
            [
                Case::new(name, DenseForward(size)),
                Case::new(name, DenseGradWeight(size)),
                Case::new(name, DenseGradInput(size)),
            ]
        })
        .collect()
}
