//! The options of a moving window, as keys of a model file.

use ::toml::Value;

use super::keys::{Keys, pair};
use crate::Result;
use crate::ops::window::{Padding, WindowOptions};

/// Reads `stride`, `dilation` and `padding`; each is that of `default` if it is missing.
pub(crate) fn read(keys: &mut Keys, default: WindowOptions) -> Result<WindowOptions> {
    Ok(WindowOptions {
        stride: keys.optional("stride", Keys::pair)?.unwrap_or(default.stride),
        dilation: keys.optional("dilation", Keys::pair)?.unwrap_or(default.dilation),
        padding: keys.optional("padding", Keys::padding)?.unwrap_or(default.padding),
        ..default
    })
}

/// The keys for the kernel size and for the options that are not the default ones.
pub(crate) fn keys(options: &WindowOptions, default_stride: [usize; 2]) -> Vec<(&'static str, Value)> {
    let WindowOptions { kernel_size, stride, dilation, padding } = *options;
    let mut keys = vec![("kernel_size", pair(kernel_size))];
    keys.extend((stride != default_stride).then(|| ("stride", pair(stride))));
    keys.extend((dilation != [1, 1]).then(|| ("dilation", pair(dilation))));
    let padding = match padding {
        Padding::Valid => None,
        Padding::Same => Some(Value::from("same")),
        Padding::Symmetric(sizes) => Some(pair(sizes)),
        Padding::Sides { top, bottom, left, right } => {
            Some([top, bottom, left, right].map(|size| size as i64).to_vec().into())
        }
    };
    keys.extend(padding.map(|padding| ("padding", padding)));
    keys
}
