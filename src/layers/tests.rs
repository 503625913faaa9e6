//! Properties of every registered type, and the expansion of composite blocks.

use super::{Conv2d, DepthwiseConv2d, registered};
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
fn layers_of_several_inputs_are_the_same_in_a_file_and_in_rust() {
    let built = Network::builder("test", IMAGE)
        .conv2d(Conv2d::new(3, [1, 1]))
        .concatenate(["input"])
        .global_average_pool()
        .multiply("concatenate1")
        .concatenate(["conv1", "concatenate1"])
        .build()
        .unwrap();
    let channels: Vec<usize> = built.layers().iter().map(|layer| layer.output.channels()).collect();
    assert_eq!(channels, [3, 7, 7, 7, 17]);
    let file = parsed(
        r#"
        [[layers]]
        type = "conv2d"
        filters = 3
        kernel_size = 1
        [[layers]]
        type = "concatenate"
        inputs = ["conv1", "input"]
        [[layers]]
        type = "global_average_pool"
        [[layers]]
        type = "multiply"
        inputs = ["concatenate1", "pool1"]
        [[layers]]
        type = "concatenate"
        inputs = ["multiply1", "conv1", "concatenate1"]
        "#,
    );
    assert_eq!(file, built);
    assert_eq!(NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap(), built);
}

#[test]
fn layers_of_several_inputs_say_what_they_expect() {
    let conv = "[[layers]]\ntype = \"conv2d\"\nfilters = 4\nkernel_size = 3\n";
    let flat = "[[layers]]\ntype = \"flatten\"\ninputs = [\"input\"]\n";
    let of =
        |name: &str, inputs: &str| format!("{conv}{flat}[[layers]]\ntype = \"{name}\"\ninputs = {inputs}");
    for (layers, expected) in [
        (
            of("concatenate", "[\"conv1\"]"),
            "layer concatenate1 (concatenate): expected 2 inputs or more, found 1",
        ),
        (
            of("concatenate", "[\"conv1\", \"input\", \"conv1\"]"),
            "layer concatenate1 (concatenate): expected different inputs, found one of them twice",
        ),
        (
            of("concatenate", "[\"conv1\", \"input\"]"),
            "layer concatenate1 (concatenate): expected images of the same height and width, \
             found an image of 6x6x4 and an image of 8x8x4",
        ),
        (
            of("concatenate", "[\"conv1\", \"flatten1\"]"),
            "layer concatenate1 (concatenate): expected images alone, or flat features alone, \
             found an image of 6x6x4 and 256 features flattened from 8x8x4",
        ),
        (
            of("multiply", "[\"conv1\", \"flatten1\"]"),
            "layer multiply1 (multiply): expected 4 flat features as its second input, one for each channel, \
             found 256 features flattened from 8x8x4",
        ),
        (of("multiply", "[\"conv1\"]"), "layer multiply1 (multiply): expected 2 inputs, found 1"),
        (
            format!("{conv}[[layers]]\ntype = \"add\"\ninputs = [\"conv1\", \"conv1\"]"),
            "layer add1 (add): expected two different inputs, found one of them twice",
        ),
    ] {
        assert_eq!(refused(&layers), expected);
    }
}

#[test]
fn a_depthwise_convolution_has_as_many_groups_as_its_input_has_channels() {
    let depthwise = DepthwiseConv2d { multiplier: 2, ..DepthwiseConv2d::new([3, 5]).same().stride([2, 1]) };
    let built = Network::builder("test", IMAGE).depthwise_conv2d(depthwise.without_bias()).build().unwrap();
    let file = parsed(
        "[[layers]]\ntype = \"depthwise_conv2d\"\nmultiplier = 2\nkernel_size = [3, 5]\nstride = [2, 1]\n\
         padding = \"same\"\nbias = false",
    );
    assert_eq!(file, built);
    assert_eq!(NetworkFile::parse(&built.to_toml()).unwrap().build(None).unwrap(), built);
    let conv = Conv2d::new(8, [3, 5]).groups(4).same().stride([2, 1]).without_bias();
    let conv = Network::builder("test", IMAGE).conv2d(conv).build().unwrap();
    assert_eq!(built.layers()[0].output, conv.layers()[0].output);
    assert_eq!(built.layers()[0].variables, conv.layers()[0].variables);
    let found = refused("[[layers]]\ntype = \"depthwise_conv2d\"\nkernel_size = 3\nmultiplier = 2147483647");
    assert!(found.starts_with("layer conv1 (depthwise_conv2d): expected "), "{found}");
}

#[test]
fn the_blocks_of_mobile_nets_are_made_of_plain_layers() {
    let network = parsed(
        r#"
        [[layers]]
        type = "depthwise_separable"
        filters = 6
        kernel_size = 3
        padding = "same"
        stride = 2
        bias = false
        norm = "batch_norm"
        activation = "relu"
        [[layers]]
        type = "squeeze_excite"
        channels = 6
        squeeze_channels = 2
        "#,
    );
    let built = Network::builder("test", IMAGE)
        .sequence(|block| {
            block
                .depthwise_conv2d(DepthwiseConv2d::new([3, 3]).same().stride([2, 2]).without_bias())
                .batch_norm()
                .relu()
                .conv2d(Conv2d::new(6, [1, 1]).without_bias())
                .batch_norm()
                .relu()
        })
        .named("separable1")
        .squeeze_excite(6, 2)
        .build()
        .unwrap();
    assert_eq!(network, built);
    let expected = [
        "separable1.conv1",
        "separable1.batch_norm1",
        "separable1.relu1",
        "separable1.conv2",
        "separable1.batch_norm2",
        "separable1.relu2",
        "squeeze_excite1.pool1",
        "squeeze_excite1.dense1",
        "squeeze_excite1.relu1",
        "squeeze_excite1.dense2",
        "squeeze_excite1.sigmoid1",
        "squeeze_excite1.multiply1",
    ];
    assert_eq!(names(&network), expected);
    assert_eq!(NetworkFile::parse(&network.to_toml()).unwrap().build(None).unwrap(), network);
    assert_eq!(
        refused("[[layers]]\ntype = \"squeeze_excite\"\nchannels = 3\nsqueeze_channels = 2"),
        "layer squeeze_excite1.multiply1 (multiply): expected 4 flat features as its second input, one for each \
         channel, found 3 flat features"
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
