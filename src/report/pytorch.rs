//! A network as the source of a PyTorch module.

use std::collections::{HashMap, HashSet};

use super::short_name;
use crate::layers::{Pytorch, PytorchSite, channels_last};
use crate::network::{Features, Kind, Layer, LayerInput, Network};
use crate::{Error, Result};

/// The source of a PyTorch module, `Net`, that computes what the network does, from images `[N,C,H,W]`. Its `state_dict` has
/// the names and the shapes of the weights that are saved; it needs PyTorch alone.
///
/// ```python
/// class Net(nn.Module):  # tiny
///     """Logits [N, 10] of images [N, 1, 28, 28], normalised as the weights' header says."""
///
///     def __init__(self):
///         super().__init__()
///         self.flatten1 = nn.Flatten()
///         self.dense1 = nn.Linear(784, 10)
///
///     def forward(self, input):
///         x = self.flatten1(input)
///         x = self.dense1(x)
///         return x
/// ```
///
/// # Errors
/// [`Error::Layer`] for a layer whose name no PyTorch module can hold: one with the word `training`, or of more than a
/// hundred words.
pub fn pytorch(network: &Network) -> Result<String> {
    let layers = network.layers();
    let names = layers.iter().zip(0..).map(|(layer, index)| (layer.name.as_str(), index)).collect();
    let variables = variables(network);
    let written = layers.iter().map(|layer| {
        let inputs: Vec<(&str, Features)> = layer
            .inputs
            .iter()
            .map(|&input| match input {
                LayerInput::Image => (LayerInput::INPUT_NAME, network.features(input)),
                LayerInput::Layer(index) => (variables[index].as_str(), network.features(input)),
            })
            .collect();
        check_name(layer)?;
        layer.kind.pytorch(&PytorchSite { module: &path(&layer.name, &names), inputs: &inputs })
    });
    let written = written.collect::<Result<Vec<Pytorch>>>()?;

    let mut lines = vec![LOADING.to_owned(), String::new()];
    let uses = |module: &str| written.iter().any(|layer| layer.output.contains(module));
    lines.extend(uses("torch.").then(|| "import torch".into()));
    lines.extend(uses("F.").then(|| "import torch.nn.functional as F".into()));
    lines.extend(["from torch import nn", "", ""].map(String::from));
    lines.push(format!("class Net(nn.Module):  # {}", short_name(network.name())));
    lines.push(format!("    \"\"\"{}\"\"\"", description(network)));
    lines.extend(["", "    def __init__(self):", "        super().__init__()"].map(String::from));
    lines.extend(modules(network, &names, &written).into_iter().map(|line| format!("        {line}")));
    lines.push(String::new());
    lines.push(format!("    def forward(self, {}):", LayerInput::INPUT_NAME));
    let steps = variables.iter().zip(&written);
    lines.extend(steps.map(|(variable, layer)| format!("        {variable} = {}", layer.output)));
    lines.push(format!("        return {}", result(network, &variables)));
    Ok(lines.join("\n") + "\n")
}

/// How the module is loaded. The first two lines of a Python file may say its encoding: no name from outside belongs there.
const LOADING: &str =
    "# net = Net(); net.load_state_dict(safetensors.torch.load_file(\"RUN/best.safetensors\")); net.eval()";

/// Checks that submodules can have the words of a layer's name.
fn check_name(layer: &Layer) -> Result<()> {
    // `Module.train` assigns to this one.
    const UNUSABLE: &str = "training";
    // Each word before the last is a block, and Python's parser takes so many in one expression.
    const MOST_WORDS: usize = 100;
    let count = layer.name.split('.').count();
    if count > MOST_WORDS {
        let expected = format!("a name of at most {MOST_WORDS} words, for PyTorch");
        return Err(Error::layer(layer.title(), expected, count));
    }
    if layer.name.split('.').any(|word| word == UNUSABLE) {
        let expected = format!("a name without {UNUSABLE:?}, which PyTorch keeps for itself");
        return Err(Error::layer(layer.title(), expected, format!("{:?}", layer.name)));
    }
    Ok(())
}

fn description(network: &Network) -> String {
    let images = |features| match features {
        Features::Image(map) => format!("[N, {}, {}, {}]", map.channels, map.height, map.width),
        Features::Flat { size, .. } => format!("[N, {size}]"),
    };
    let output = match network.output() {
        Features::Image(_) => "Maps",
        Features::Flat { .. } => "Logits",
    };
    let input = images(network.features(LayerInput::Image));
    format!(
        "{output} {} of images {input}, normalised as the weights' header says.",
        images(network.output())
    )
}

/// The lines that make the submodules: one for each layer that has one, and one for each block around it.
fn modules(network: &Network, names: &HashMap<&str, usize>, written: &[Pytorch]) -> Vec<String> {
    let (mut lines, mut made) = (Vec::new(), HashSet::new());
    for (layer, _) in network.layers().iter().zip(written).filter(|(_, written)| written.module.is_some()) {
        // A name may continue that of a block, or that of a layer, which may be a later one.
        for name in prefixes(&layer.name).filter(|name| made.insert(*name)) {
            let path = path(name, names);
            let layer = names.get(name).map(|&index| (&network.layers()[index], &written[index]));
            let Some((layer, Pytorch { module: Some(module), .. })) = layer else {
                lines.push(format!("{path} = nn.Module()"));
                continue;
            };
            lines.push(format!("{path} = {module}"));
            let frozen = layer.variables.iter().filter(|variable| variable.kind == Kind::Frozen);
            lines.extend(
                frozen
                    .map(|variable| format!("{path}{}.requires_grad_(False)", &variable.name[name.len()..])),
            );
        }
    }
    lines
}

/// The expression of the output; the features of a flattened map are in the network's own order, as labels are.
fn result(network: &Network, variables: &[String]) -> String {
    let variable = variables.last().expect("a built network has a layer");
    match network.output() {
        Features::Flat { image: Some(image), .. } => channels_last(variable, image),
        Features::Flat { image: None, .. } | Features::Image(_) => variable.clone(),
    }
}

/// The variable that holds each layer's output: one for all that only the next layer reads, and one of its own, named after
/// the layer, for each other.
fn variables(network: &Network) -> Vec<String> {
    const NEXT: &str = "x";
    let layers = network.layers();
    let mut is_kept = vec![false; layers.len()];
    for (reader, layer) in layers.iter().enumerate() {
        for &input in &layer.inputs {
            if let LayerInput::Layer(index) = input {
                is_kept[index] |= index + 1 != reader;
            }
        }
    }
    let mut taken: HashSet<String> =
        ["self", LayerInput::INPUT_NAME, NEXT, "torch", "nn", "F"].map(String::from).into();
    let variables = layers.iter().zip(is_kept).enumerate().map(|(index, (layer, is_kept))| {
        if !is_kept {
            return NEXT.to_owned();
        }
        let mut variable = layer.name.replace('.', "_");
        if variable.starts_with(|c: char| c.is_ascii_digit()) {
            variable.insert(0, '_');
        }
        if KEYWORDS.contains(&variable.as_str()) {
            variable.push('_');
        }
        while !taken.insert(variable.clone()) {
            variable += &format!("_{index}");
        }
        variable
    });
    variables.collect()
}

/// The expression of the submodule with this name.
fn path(name: &str, layers: &HashMap<&str, usize>) -> String {
    prefixes(name).fold("self".into(), |path, prefix| {
        let (around, word) = prefix.rsplit_once('.').unwrap_or(("", prefix));
        // An attribute would hide one that the module needs itself.
        match is_attribute(word) && !layers.contains_key(around) {
            true => format!("{path}.{word}"),
            false => format!("{path}._modules[\"{word}\"]"),
        }
    })
}

/// `a`, `a.b` and `a.b.c` for `a.b.c`.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(end, _)| end).chain([name.len()]).map(|end| &name[..end])
}

/// Whether a word of a layer's name can be an attribute of a module.
fn is_attribute(word: &str) -> bool {
    let is_ordinary = word.starts_with(|c: char| c.is_ascii_alphabetic());
    is_ordinary && !KEYWORDS.contains(&word) && !OF_MODULES.contains(&word)
}

/// Python's keywords.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// The public attributes of `nn.Module`.
const OF_MODULES: [&str; 54] = [
    "T_destination",
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "call_super_init",
    "children",
    "compile",
    "cpu",
    "cuda",
    "double",
    "dump_patches",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_extra_state",
    "get_parameter",
    "get_submodule",
    "half",
    "ipu",
    "load_state_dict",
    "modules",
    "mtia",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "register_backward_hook",
    "register_buffer",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook",
    "register_load_state_dict_pre_hook",
    "register_module",
    "register_parameter",
    "register_state_dict_post_hook",
    "register_state_dict_pre_hook",
    "requires_grad_",
    "set_extra_state",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "xpu",
    "zero_grad",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Affine, BatchNorm, Conv2d};
    use crate::network::NetworkFile;
    use crate::network::presets::lenet;
    use crate::tensor::ImageShape;

    #[test]
    fn lenet_is_written_as_one_writes_it() {
        let digits = ImageShape { height: 28, width: 28, channels: 1 };
        let expected = r#"# net = Net(); net.load_state_dict(safetensors.torch.load_file("RUN/best.safetensors")); net.eval()

from torch import nn


class Net(nn.Module):  # lenet
    """Logits [N, 10] of images [N, 1, 28, 28], normalised as the weights' header says."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten1 = nn.Flatten()
        self.dense1 = nn.Linear(1568, 128)
        self.relu3 = nn.ReLU()
        self.dense2 = nn.Linear(128, 10)

    def forward(self, input):
        x = self.conv1(input)
        x = self.relu1(x)
        x = self.pool1(x)
        x = self.conv2(x)
        x = self.relu2(x)
        x = self.pool2(x)
        x = self.flatten1(x)
        x = self.dense1(x)
        x = self.relu3(x)
        x = self.dense2(x)
        return x
"#;
        assert_eq!(pytorch(&lenet(digits, 10).unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_another_layer_reads_later_has_a_name() {
        let image = ImageShape { height: 8, width: 6, channels: 3 };
        let conv = Conv2d::new(4, [3, 3]).same().without_bias();
        let network = Network::builder("small", image)
            .residual_with(
                |path| {
                    let shifted = BatchNorm::new().epsilon(1e-3).affine(Affine::Shift);
                    path.conv2d(conv.stride([2, 2])).layer(shifted).relu().conv2d(conv)
                },
                |shortcut| shortcut.conv2d(Conv2d::new(4, [1, 1]).stride([2, 2])),
            )
            .named("class")
            .relu()
            .squeeze_excite(4, 2)
            .concatenate(["relu1", "class"])
            .global_max_pool()
            .scale(0.5)
            .dense(2)
            .build()
            .unwrap();
        let source = pytorch(&network).unwrap();
        let (_, source) = source.split_once("\n\n").unwrap();
        let expected = r#"import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):  # small
    """Logits [N, 2] of images [N, 3, 8, 6], normalised as the weights' header says."""

    def __init__(self):
        super().__init__()
        self._modules["class"] = nn.Module()
        self._modules["class"].shortcut = nn.Module()
        self._modules["class"].shortcut.conv1 = nn.Conv2d(3, 4, 1, stride=2)
        self._modules["class"].conv1 = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self._modules["class"].batch_norm1 = nn.BatchNorm2d(4, eps=0.001)
        self._modules["class"].batch_norm1.weight.requires_grad_(False)
        self._modules["class"].relu1 = nn.ReLU()
        self._modules["class"].conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.relu1 = nn.ReLU()
        self.squeeze_excite1 = nn.Module()
        self.squeeze_excite1.dense1 = nn.Linear(4, 2)
        self.squeeze_excite1.relu1 = nn.ReLU()
        self.squeeze_excite1.dense2 = nn.Linear(2, 4)
        self.squeeze_excite1.sigmoid1 = nn.Sigmoid()
        self.dense1 = nn.Linear(12, 2)

    def forward(self, input):
        class_shortcut_conv1 = self._modules["class"].shortcut.conv1(input)
        x = self._modules["class"].conv1(F.pad(input, (0, 1, 0, 1)))
        x = self._modules["class"].batch_norm1(x)
        x = self._modules["class"].relu1(x)
        x = self._modules["class"].conv2(x)
        class_add1 = x + class_shortcut_conv1
        relu1 = self.relu1(class_add1)
        x = relu1.mean((2, 3))
        x = self.squeeze_excite1.dense1(x)
        x = self.squeeze_excite1.relu1(x)
        x = self.squeeze_excite1.dense2(x)
        x = self.squeeze_excite1.sigmoid1(x)
        x = relu1 * x[:, :, None, None]
        x = torch.cat([x, relu1, class_add1], 1)
        x = x.amax((2, 3))
        x = 0.5 * x
        x = self.dense1(x)
        return x
"#;
        assert_eq!(source, expected);
    }

    #[test]
    fn a_name_of_countless_words_is_refused() {
        let name = vec!["a"; 101].join(".");
        let network = Network::builder("deep", ImageShape { height: 1, width: 1, channels: 2 });
        let network = network.relu().named(&name).build().unwrap();
        let expected =
            format!("layer {name} (relu): expected a name of at most 100 words, for PyTorch, found 101");
        assert_eq!(pytorch(&network).unwrap_err().to_string(), expected);
    }

    /// A file's name for a network may be anything visible; in the first two lines, it could choose the source's encoding.
    #[test]
    fn a_networks_name_stays_in_its_comment() {
        for name in ["\\\"\\\"\\\"", "-*- coding: utf-7 -*-", "a\\u2028import os\\u2028", "\\\\", "\\u202Ea"]
        {
            let text = format!("name = \"{name}\"\ninput = [1, 1, 2]\n[[layers]]\ntype = \"flatten\"");
            let source = pytorch(&NetworkFile::parse(&text).unwrap().build(None).unwrap()).unwrap();
            let lines: Vec<&str> = source.split(|c: char| c != ' ' && c.is_whitespace()).collect();
            assert_eq!((lines.len(), lines[1], lines[2]), (16, "", "from torch import nn"), "{source}");
            assert!(lines[5].starts_with("class Net(nn.Module):  # "), "{source}");
            assert!(!source.contains('\u{202e}') && source.is_ascii(), "{source}");
        }
    }
}
