//! Biases, activations and sums: numbers of elements around the size of a workgroup, and of rows around that of a
//! slice.

use crate::ops::Prologue;
use crate::ops::activation::{Activation, ActivationForward, ActivationGrad};
use crate::ops::add::Add;
use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::concatenate::{Concatenate, ConcatenateGrad};
use crate::ops::dropout::Dropout;
use crate::ops::multiply::{Multiply, MultiplyGradFactors};
use crate::ops::prelu::{PreluForward, PreluGradInput, PreluGradWeight};

use super::Case;

/// Every activation, with parameters that are not the defaults.
pub const ACTIVATIONS: [Activation; 9] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.03 },
    Activation::Elu { alpha: 1.3 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Gelu,
    Activation::Silu,
    Activation::HardSwish,
    Activation::Scale { factor: -0.7 },
];

/// Numbers of elements, each with a name that says what it tests; the last one is several chunks on the CPU.
const ELEMENTS: [(&str, usize); 5] = [
    ("one element", 1),
    ("one less than a workgroup", 63),
    ("exactly a workgroup", 64),
    ("a prime number", 1009),
    ("many elements", 40_009),
];

/// Numbers of rows and channels, each with a name that says what the pair tests.
const ROWS_AND_CHANNELS: [(&str, usize, usize); 11] = [
    ("one value", 1, 1),
    ("one row", 1, 77),
    ("one channel", 613, 1),
    ("a short batch", 7, 10),
    ("a batch", 64, 10),
    ("lanes that do not fill a workgroup", 131, 100),
    ("more channels than a workgroup", 97, 300),
    ("rows that do not fill the last slice", 5003, 16),
    ("long sum, few channels", 60_013, 3),
    ("long sum, odd channels", 20_011, 17),
    ("long sum, many channels", 1021, 257),
];

/// Numbers of rows and channels for gradients after an activation: summed directly, in one slice, and in several.
const AFTER_ACTIVATIONS: [(&str, usize, usize); 3] =
    [("a short batch", 7, 10), ("a batch", 64, 10), ("rows that do not fill the last slice", 5003, 16)];

pub(super) fn cases() -> Vec<Case> {
    let biases = ROWS_AND_CHANNELS.into_iter().flat_map(|(name, rows, channels)| {
        [Case::new(name, BiasForward { rows, channels }), Case::new(name, BiasGrad::new(rows, channels))]
    });
    let after_activations = ACTIVATIONS.into_iter().filter_map(Prologue::of).flat_map(|prologue| {
        AFTER_ACTIVATIONS.map(|(name, rows, channels)| {
            let activation = prologue.activation().map_or("", |activation| activation.name());
            let name = format!("{name}, after {activation}");
            Case::new(name, BiasGrad::new(rows, channels).with_prologue(prologue))
        })
    });
    let activations = ACTIVATIONS.into_iter().flat_map(|activation| {
        ELEMENTS.into_iter().flat_map(move |(name, elements)| {
            let name = format!("{}, {name}", activation.name());
            [
                Case::new(name.clone(), ActivationForward { activation, elements }),
                Case::new(name, ActivationGrad { activation, elements }),
            ]
        })
    });
    let prelus = ROWS_AND_CHANNELS.into_iter().flat_map(|(name, rows, channels)| {
        [
            Case::new(name, PreluForward { rows, channels }),
            Case::new(name, PreluGradInput { rows, channels }),
            Case::new(name, PreluGradWeight { rows, channels }),
        ]
    });
    let dropouts = ELEMENTS.into_iter().flat_map(|(name, elements)| {
        [(0.5, 0), (0.1, 1), (0.9, 70_000)].map(|(probability, stream)| {
            let op = Dropout::new(elements, probability, stream).expect("a probability");
            Case::new(format!("{name}, {probability}"), op)
        })
    });
    let products = [
        ("one value", 1, 1, 1),
        ("one image", 1, 35, 7),
        ("flat features", 13, 1, 10),
        ("few pixels", 5, 9, 33),
        ("images", 3, 49, 20),
        ("more pixels than lanes", 2, 300, 3),
        ("more channels than a workgroup", 2, 64, 300),
        ("many images", 131, 33, 16),
    ];
    let products = products.into_iter().flat_map(|(name, samples, rows, channels)| {
        [
            Case::new(name, Multiply { samples, rows, channels }),
            Case::new(name, MultiplyGradFactors { samples, rows, channels }),
        ]
    });
    let concatenations = [
        ("one tensor", 5, vec![7]),
        ("two values", 1, vec![1, 1]),
        ("two tensors", 33, vec![3, 64]),
        ("several tensors", 131, vec![16, 1, 17, 300, 5]),
        ("more tensors than a kernel can bind", 3, vec![2; 11]),
        ("many rows", 20_011, vec![8, 9]),
    ];
    let concatenations = concatenations.into_iter().flat_map(|(name, rows, channels)| {
        let all = channels.iter().sum();
        let grad = move |(number, first, channels)| {
            let name = format!("{name}, number {number}");
            Case::new(name, ConcatenateGrad { rows, all, first, channels })
        };
        let last = channels[channels.len() - 1];
        let ends = [(1, 0, channels[0]), (channels.len(), all - last, last)];
        let grads = ends.into_iter().take(channels.len()).map(grad).collect::<Vec<_>>();
        [Case::new(name, Concatenate { rows, channels })].into_iter().chain(grads)
    });
    let sums = ELEMENTS.map(|(name, elements)| Case::new(name, Add { elements }));
    biases
        .chain(after_activations)
        .chain(activations)
        .chain(prelus)
        .chain(dropouts)
        .chain(products)
        .chain(concatenations)
        .chain(sums)
        .collect()
}
