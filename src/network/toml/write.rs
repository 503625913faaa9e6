//! A network as the text of a model file.

use ::toml::Value;

use crate::network::{Initialiser, Layer, LayerInput, LayerKind, Network, Pool};
use crate::ops::activation::Activation;
use crate::ops::window::{Padding, WindowOptions};

impl Network {
    /// The model file that [`NetworkFile`](super::NetworkFile) reads back as an equal network; keys that
    /// hold their defaults are left out.
    pub fn to_toml(&self) -> String {
        let input = self.input();
        let mut text = format!(
            "name = {}\ninput = [{}, {}, {}]\n",
            quoted(self.name()),
            input.channels,
            input.height,
            input.width
        );
        for (index, layer) in self.layers().iter().enumerate() {
            text.push_str("\n[[layers]]\n");
            for (key, value) in self.keys(index, layer) {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text
    }

    fn keys(&self, index: usize, layer: &Layer) -> Vec<(&'static str, String)> {
        let mut keys = vec![("type", quoted(layer.kind.type_name())), ("name", quoted(&layer.name))];
        match &layer.kind {
            LayerKind::Conv2d(conv) => {
                keys.push(("filters", conv.out_channels.to_string()));
                keys.extend(window(&conv.window, [1, 1]));
                keys.extend((conv.groups != 1).then(|| ("groups", conv.groups.to_string())));
                keys.extend(trained(conv.bias, conv.initialiser));
            }
            LayerKind::Dense(dense) => {
                keys.push(("units", dense.units.to_string()));
                keys.extend(trained(dense.bias, dense.initialiser));
            }
            LayerKind::Activation(Activation::LeakyRelu { slope }) => keys.push(("slope", number(*slope))),
            LayerKind::Activation(Activation::Elu { alpha }) => keys.push(("alpha", number(*alpha))),
            LayerKind::Pool(Pool { window: options, .. }) => {
                keys.extend(window(options, options.kernel_size));
            }
            LayerKind::Activation(_) | LayerKind::Flatten | LayerKind::Add => {}
        }
        if layer.inputs != [LayerInput::before(index)] {
            let names: Vec<String> =
                layer.inputs.iter().map(|input| quoted(self.input_name(*input))).collect();
            keys.push(("inputs", format!("[{}]", names.join(", "))));
        }
        keys
    }
}

fn window(options: &WindowOptions, default_stride: [usize; 2]) -> Vec<(&'static str, String)> {
    let WindowOptions { kernel_size, stride, dilation, padding } = *options;
    let mut keys = vec![("kernel_size", pair(kernel_size))];
    keys.extend((stride != default_stride).then(|| ("stride", pair(stride))));
    keys.extend((dilation != [1, 1]).then(|| ("dilation", pair(dilation))));
    let padding = match padding {
        Padding::Valid => None,
        Padding::Same => Some(quoted("same")),
        Padding::Symmetric(sizes) => Some(pair(sizes)),
        Padding::Sides { top, bottom, left, right } => Some(format!("[{top}, {bottom}, {left}, {right}]")),
    };
    keys.extend(padding.map(|padding| ("padding", padding)));
    keys
}

fn trained(bias: bool, initialiser: Initialiser) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    keys.extend((!bias).then(|| ("bias", bias.to_string())));
    if initialiser != Initialiser::default() {
        let value = match initialiser {
            Initialiser::Constant(value) => number(value),
            named => quoted(named.name()),
        };
        keys.push(("initializer", value));
    }
    keys
}

fn pair([height, width]: [usize; 2]) -> String {
    if height == width { height.to_string() } else { format!("[{height}, {width}]") }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The shortest decimal that reads back as the same f32.
fn number(value: f32) -> String {
    format!("{value:?}")
}
