//! Built-in lists of convolutions.

use super::{ConvCase, ConvSizes};
use crate::{Error, Result};

/// Names that [`suite`] knows.
pub const SUITES: [&str; 2] = ["small", "resnet50"];

/// [batch, channels, height and width], filters, kernel, padding, stride; all square.
type Square = ([usize; 3], usize, usize, usize, usize);

/// Six of the kinds that small networks are made of: milliseconds each on any device.
const SMALL: [Square; 6] = [
    ([16, 64, 28], 64, 3, 1, 1),
    ([32, 1, 28], 16, 5, 2, 1),
    ([32, 16, 14], 32, 5, 2, 1),
    ([8, 3, 64], 32, 7, 3, 2),
    ([8, 128, 14], 128, 3, 1, 1),
    ([8, 256, 14], 64, 1, 0, 1),
];

/// Every shape of convolution in ResNet-50 with the stride in its 3x3 layers, as torchvision builds it.
const RESNET50: [Square; 23] = [
    ([16, 3, 224], 64, 7, 3, 2),
    ([16, 64, 56], 64, 1, 0, 1),
    ([16, 64, 56], 64, 3, 1, 1),
    ([16, 64, 56], 256, 1, 0, 1),
    ([16, 256, 56], 64, 1, 0, 1),
    ([16, 256, 56], 128, 1, 0, 1),
    ([16, 128, 56], 128, 3, 1, 2),
    ([16, 128, 28], 512, 1, 0, 1),
    ([16, 256, 56], 512, 1, 0, 2),
    ([16, 512, 28], 128, 1, 0, 1),
    ([16, 128, 28], 128, 3, 1, 1),
    ([16, 512, 28], 256, 1, 0, 1),
    ([16, 256, 28], 256, 3, 1, 2),
    ([16, 256, 14], 1024, 1, 0, 1),
    ([16, 512, 28], 1024, 1, 0, 2),
    ([16, 1024, 14], 256, 1, 0, 1),
    ([16, 256, 14], 256, 3, 1, 1),
    ([16, 1024, 14], 512, 1, 0, 1),
    ([16, 512, 14], 512, 3, 1, 2),
    ([16, 512, 7], 2048, 1, 0, 1),
    ([16, 1024, 14], 2048, 1, 0, 2),
    ([16, 2048, 7], 512, 1, 0, 1),
    ([16, 512, 7], 512, 3, 1, 1),
];

/// The convolutions of a built-in suite.
///
/// # Errors
/// [`Error::Invalid`] for a name that is none of [`SUITES`].
pub fn suite(name: &str) -> Result<Vec<ConvCase>> {
    let rows: &[Square] = match name {
        "small" => &SMALL,
        "resnet50" => &RESNET50,
        _ => return Err(Error::invalid("suite", SUITES.join(" or "), name)),
    };
    rows.iter().map(|&row| ConvCase::new(square(row))).collect()
}

fn square(([batch_size, in_channels, size], out_channels, kernel, padding, stride): Square) -> ConvSizes {
    ConvSizes {
        batch_size,
        in_channels,
        in_height: size,
        in_width: size,
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        padding_height: padding,
        padding_width: padding,
        stride_height: stride,
        stride_width: stride,
        dilation_height: 1,
        dilation_width: 1,
        groups: 1,
    }
}
