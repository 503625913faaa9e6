//! Properties of every registered type, and the expansion of composite blocks.

use super::{Conv2d, registered};
use crate::network::{Network, NetworkFile};
use crate::tensor::ImageShape;

const IMAGE: ImageShape = ImageShape { height: 8, width: 8, channels: 4 };

fn parsed(layers: &str) -> Network {
    let text = format!("name = \"test\"\n{layers}");
    NetworkFile::parse(&text)
        .and_then(|file| file.build(Some(IMAGE)))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn refused(layers: &str) -> String {
    let text = format!("name = \"test\"\n{layers}");
    NetworkFile::parse(&text).and_then(|file| file.build(Some(IMAGE))).unwrap_err().to_string()
}

fn names(network: &Network) -> Vec<&str> {
    network.layers().iter().map(|layer| layer.name.as_str()).collect()
}

#[test]
fn types_have_names_of_their_own() {
    let mut names: Vec<&str> = registered().map(|layer_type| layer_type.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_residual_block_is_the_same_in_a_file_and_in_rust() {
    let conv = Conv2d::new(4, [3, 3]).same();
    let built = Network::builder("test", IMAGE)
        .residual(|path| path.conv2d(conv).relu().conv2d(conv))
        .residual_with(
            |path| path.conv2d(Conv2d::new(6, [3, 3]).same().stride([2, 2])),
            |shortcut| shortcut.conv2d(Conv2d::new(6, [1, 1]).stride([2, 2])),
        )
        .named("down")
        .relu()
        .build()
        .unwrap();
    let expected = [
        "residual1.conv1",
        "residual1.relu1",
        "residual1.conv2",
        "residual1.add1",
        "down.shortcut.conv1",
        "down.conv1",
        "down.add1",
        "relu1",
    ];
    assert_eq!(names(&built), expected);
    let read = |name: &str| {
        let layer = built.layers().iter().find(|layer| layer.name == name).unwrap();
        layer.inputs.iter().map(|&input| built.input_name(input)).collect::<Vec<_>>()
    };
    assert_eq!(read("residual1.conv1"), ["input"]);
    assert_eq!(read("residual1.add1"), ["residual1.conv2", "input"]);
    assert_eq!(read("down.shortcut.conv1"), ["residual1.add1"]);
    assert_eq!(read("down.conv1"), ["residual1.add1"]);
    assert_eq!(read("down.add1"), ["down.conv1", "down.shortcut.conv1"]);
    assert_eq!(read("relu1"), ["down.add1"]);

    let file = parsed(
        r#"
        [[layers]]
        type = "residual"
        [[layers.layers]]
        type = "conv2d"
        filters = 4
        kernel_size = 3
        padding = "same"
        [[layers.layers]]
        type = "relu"
        [[layers.layers]]
        type = "conv2d"
        filters = 4
        kernel_size = 3
        padding = "same"
        [[layers]]
        type = "residual"
        name = "down"
        [[layers.layers]]
        type = "conv2d"
        filters = 6
        kernel_size = 3
        padding = "same"
        stride = 2
        [[layers.shortcut]]
        type = "conv2d"
        filters = 6
        kernel_size = 1
        stride = 2
        [[layers]]
        type = "relu"
        "#,
    );
    assert_eq!(file, built);
    let written = NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap();
    assert_eq!(written, built);
}

#[test]
fn blocks_hold_blocks_and_repeat() {
    let network = parsed(
        r#"
        [[layers]]
        type = "sequence"
        repeat = 2
        [[layers.layers]]
        type = "residual"
        [[layers.layers.layers]]
        type = "conv_block"
        filters = 4
        kernel_size = 3
        padding = "same"
        activation = "relu"
        [[layers]]
        type = "relu"
        inputs = ["sequence1.residual2.block1"]
        [[layers]]
        type = "add"
        inputs = ["relu1", "sequence1"]
        "#,
    );
    let expected = [
        "sequence1.residual1.block1.conv1",
        "sequence1.residual1.block1.relu1",
        "sequence1.residual1.add1",
        "sequence1.residual2.block1.conv1",
        "sequence1.residual2.block1.relu1",
        "sequence1.residual2.add1",
        "relu1",
        "add1",
    ];
    assert_eq!(names(&network), expected);
    let variables: Vec<&str> = network.variables().map(|variable| variable.name.as_str()).collect();
    assert_eq!(
        variables[..2],
        expected.map(|name| name.to_owned() + ".weight")[..1]
            .iter()
            .map(String::as_str)
            .chain(["sequence1.residual1.block1.conv1.bias"])
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_is_wrong_in_a_block_is_named_with_its_place() {
    for (layers, expected) in [
        ("[[layers]]\ntype = \"residual\"", "layer 1 (residual): expected key `layers`, found none"),
        (
            "[[layers]]\ntype = \"sequence\"\n[[layers.layers]]\ntype = \"relu\"\n[[layers.layers]]\ntype = \"conv2d\"",
            "layer 1.2 (conv2d): expected key `filters`, found none",
        ),
        (
            "[[layers]]\ntype = \"sequence\"\nlayers = []",
            "layer sequence1 (sequence): expected at least one layer, found none",
        ),
        (
            "[[layers]]\ntype = \"sequence\"\nrepeat = 0\n[[layers.layers]]\ntype = \"relu\"",
            "layer 1 (sequence): expected `repeat` to be an integer from 1 to 1000, found 0",
        ),
        (
            "[[layers]]\ntype = \"residual\"\n[[layers.layers]]\ntype = \"conv2d\"\nfilters = 2\nkernel_size = 1",
            "layer residual1.add1 (add): expected two inputs of the same shape, \
             found an image of 8x8x2 and an image of 8x8x4",
        ),
        (
            "[[layers]]\ntype = \"sequence\"\n[[layers.layers]]\ntype = \"relu\"\ninputs = [\"relu2\"]\n\
             [[layers.layers]]\ntype = \"relu\"",
            "layer sequence1.relu1 (relu): expected to read layers before it, found \"relu2\"",
        ),
        (
            "[[layers]]\ntype = \"conv_block\"\nfilters = 2\nkernel_size = 1\nactivation = \"leaky\"",
            "layer 1.1: expected type conv2d, dense",
        ),
    ] {
        let found = refused(layers);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn repeated_blocks_of_repeated_blocks_have_a_limit() {
    let block = |inner: &str, depth: usize| {
        format!("[[{0}]]\ntype = \"sequence\"\nrepeat = 100\n{inner}", vec!["layers"; depth].join("."))
    };
    let relu = "[[layers.layers.layers.layers]]\ntype = \"relu\"";
    let text = format!("{}\n{}\n{}", block("", 1), block("", 2), block(relu, 3));
    let found = refused(&text);
    assert_eq!(
        found,
        "layer 1 (sequence): expected at most 10000 layers in all, found 10000 layers, 100 times"
    );
}

#[test]
fn frozen_variables_are_those_that_match() {
    let network = parsed(
        "[[layers]]\ntype = \"conv2d\"\nfilters = 2\nkernel_size = 1\n[[layers]]\ntype = \"flatten\"\n\
         [[layers]]\ntype = \"dense\"\nunits = 3",
    );
    let frozen = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.into()).collect();
        let network = network.clone().freeze(&patterns)?;
        let frozen = network.variables().filter(|variable| !variable.is_trained());
        Ok::<Vec<String>, crate::Error>(frozen.map(|variable| variable.name.clone()).collect())
    };
    assert_eq!(frozen(&["conv1.*"]).unwrap(), ["conv1.weight", "conv1.bias"]);
    assert_eq!(frozen(&["*.bias"]).unwrap(), ["conv1.bias", "dense1.bias"]);
    let error = frozen(&["conv2.*"]).unwrap_err().to_string();
    let expected = "freeze: expected a pattern that matches one of conv1.weight, conv1.bias, dense1.weight, dense1.bias, \
                    found \"conv2.*\"";
    assert_eq!(error, expected);
}
