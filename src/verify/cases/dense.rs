//! Dense layers: sizes below, at and above that of a tile, and sums that are long enough to be split into slices.

use crate::ops::activation::Activation;
use crate::ops::dense::{DenseForward, DenseGradInput, DenseGradWeight, DenseSize};
use crate::ops::pool::UnpooledGrad;
use crate::ops::{Epilogue, Normalise, Prologue};
use crate::tensor::ImageShape;

use super::Case;

/// Sizes, each with a name that says what it tests.
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

fn size_of(name: &str) -> DenseSize {
    let size = sizes().into_iter().find(|(found, _)| *found == name);
    size.unwrap_or_else(|| panic!("no size {name}")).1
}

/// Dense layers with an epilogue, and with the prologue of its activation in their gradients, on sizes whose kernels
/// store their results in different ways.
pub fn fused() -> Vec<(String, DenseSize, Epilogue, Prologue)> {
    let rows = [
        ("fewer than a tile", Activation::Tanh),
        ("primes", Activation::Relu),
        ("classifier", Activation::Relu),
        ("several tiles, ragged", Activation::Sigmoid),
        ("long sum over features", Activation::Elu { alpha: 0.7 }),
    ];
    rows.map(|(name, activation)| {
        let size = size_of(name);
        let epilogue = Epilogue { bias: true, activation: Some(activation), ..Epilogue::NONE };
        let prologue = Prologue::of(activation).unwrap_or_else(|| panic!("{name}: no prologue"));
        (format!("{name}, bias, {}", activation.name()), size, epilogue, prologue)
    })
    .into()
}

/// Gradients of a max-pool's output, and their unpooling: with channels that can be stored four at a time, and with others.
pub fn unpooled() -> Vec<(String, UnpooledGrad<DenseGradInput>)> {
    let relu = Some(Activation::Relu);
    // name, images before the pool, results of the layer, the activations behind the layer and in front of the pool
    let rows = [
        ("one value", 1, [2, 2, 1], 1, None, None),
        ("a row and a column past the windows", 9, [7, 5, 3], 10, None, relu),
        ("quads", 33, [6, 8, 8], 20, relu, relu),
        ("features in fours, channels not", 17, [4, 8, 6], 12, relu, relu),
        ("two activations", 12, [5, 4, 4], 9, Some(Activation::Tanh), relu),
        ("long sum over results", 12, [4, 6, 16], 2051, relu, relu),
    ];
    rows.map(|(name, batch_size, [height, width, channels], out_features, behind, before)| {
        let image = ImageShape { height, width, channels };
        let unpool = super::conv::unpooling(batch_size, image, before);
        let size = DenseSize::new(batch_size, height / 2 * (width / 2) * channels, out_features);
        let size = size.unwrap_or_else(|error| panic!("{name}: {error}"));
        let prologue = behind.map_or(Some(Prologue::NONE), Prologue::of).expect("a derivative of the output");
        let grad = DenseGradInput::new(size).with_prologue(prologue);
        let name = format!("{name}, of {image} before the pool");
        (name, UnpooledGrad::new(grad, unpool).expect("the gradient of the pool's output"))
    })
    .into()
}

pub(super) fn cases() -> Vec<Case> {
    let alone = sizes().into_iter().flat_map(|(name, size)| {
        [
            Case::new(name, DenseForward::new(size)),
            Case::new(name, DenseGradWeight::new(size)),
            Case::new(format!("{name}, and the bias's"), DenseGradWeight::new(size).with_bias()),
            Case::new(name, DenseGradInput::new(size)),
        ]
    });
    let fused = fused().into_iter().flat_map(|(name, size, epilogue, prologue)| {
        [
            Case::new(name.clone(), DenseForward::new(size).with_epilogue(epilogue)),
            Case::new(name.clone(), DenseGradWeight::new(size).with_prologue(prologue)),
            Case::new(
                format!("{name}, and the bias's"),
                DenseGradWeight::new(size).with_prologue(prologue).with_bias(),
            ),
            Case::new(name, DenseGradInput::new(size).with_prologue(prologue)),
        ]
    });
    let normalised = ["primes", "classifier", "long sum over features"].map(|name| {
        let normalise = Some(Normalise { epsilon: super::norm::EPSILON });
        let epilogue = Epilogue { normalise, activation: Some(Activation::Relu), ..Epilogue::NONE };
        let op = DenseForward::new(size_of(name)).with_epilogue(epilogue);
        Case::new(format!("{name}, normalised, relu"), op)
    });
    let unpooled = unpooled().into_iter().map(|(name, op)| Case::new(name, op));
    alone.chain(fused).chain(normalised).chain(unpooled).collect()
}
