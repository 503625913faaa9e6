//! Networks: what the builder infers and refuses, and round trips through model files.

use wgconv::layers::{Conv2d, Dense, Pool};
use wgconv::network::presets::{lenet, linear, vgg_mini};
use wgconv::network::*;
use wgconv::ops::activation::Activation;
use wgconv::ops::pool::PoolKind;
use wgconv::ops::window::Padding;
use wgconv::tensor::ImageShape;

const DIGITS: ImageShape = ImageShape { height: 28, width: 28, channels: 1 };
const COLOURS: ImageShape = ImageShape { height: 32, width: 30, channels: 3 };

fn image(height: usize, width: usize, channels: usize) -> Features {
    Features::Image(ImageShape { height, width, channels })
}

fn start() -> NetworkBuilder {
    Network::builder("test", COLOURS)
}

fn conv(filters: usize, size: usize) -> Conv2d {
    Conv2d::new(filters, [size; 2])
}

/// A network with a branch, every kind of layer and values far from the defaults.
fn residual() -> Network {
    start()
        .conv2d(conv(8, 3).same().initialiser(Initialiser::HeNormal))
        .named("stem")
        .relu()
        .conv2d(Conv2d::new(8, [3, 1]).padding(Padding::Symmetric([2, 0])).dilation([2, 1]).groups(4))
        .add("stem")
        .activation(Activation::LeakyRelu { slope: 0.1 })
        .conv2d(conv(4, 2).stride([2, 1]).padding(Padding::Symmetric([0, 0])).without_bias())
        .activation(Activation::Elu { alpha: 1.5 })
        .pool(Pool::new(PoolKind::Average, [3, 2]).stride([2, 2]).padding(Padding::Sides {
            top: 1,
            bottom: 0,
            left: 0,
            right: 1,
        }))
        .pool(Pool::new(PoolKind::Average, [2, 2]).padding(Padding::Same).count_include_pad(false))
        .pool(Pool::new(PoolKind::Max, [2, 2]).ceil_mode())
        .flatten()
        .dense(Dense::new(6).initialiser(Initialiser::Constant(0.1)))
        .activation(Activation::Tanh)
        .dense(6)
        .from("dense1")
        .add("tanh1")
        .dense(Dense::new(3).without_bias().initialiser(Initialiser::Zeros))
        .build()
        .unwrap()
}

#[test]
fn lenet_has_the_shapes_and_parameters_that_arithmetic_gives() {
    let network = lenet(DIGITS, 10).unwrap();
    let layers: Vec<_> =
        network.layers().iter().map(|l| (l.title(), l.output, l.parameter_count())).collect();
    let map = ImageShape { height: 7, width: 7, channels: 32 };
    let flat = |size| Features::Flat { size, image: None };
    let expected = [
        ("conv1 (conv2d)", image(28, 28, 16), 5 * 5 * 16 + 16),
        ("relu1 (relu)", image(28, 28, 16), 0),
        ("pool1 (max_pool)", image(14, 14, 16), 0),
        ("conv2 (conv2d)", image(14, 14, 32), 5 * 5 * 16 * 32 + 32),
        ("relu2 (relu)", image(14, 14, 32), 0),
        ("pool2 (max_pool)", image(7, 7, 32), 0),
        ("flatten1 (flatten)", Features::Flat { size: 1568, image: Some(map) }, 0),
        ("dense1 (dense)", flat(128), 1568 * 128 + 128),
        ("relu3 (relu)", flat(128), 0),
        ("dense2 (dense)", flat(10), 128 * 10 + 10),
    ];
    assert_eq!(layers, expected.map(|(title, output, count)| (title.to_owned(), output, count)));
    assert_eq!(network.parameter_count(), 215_370);
    let names: Vec<_> = network.variables().map(|parameter| parameter.name.as_str()).collect();
    assert_eq!(names[..3], ["conv1.weight", "conv1.bias", "conv2.weight"]);
    let dense: Vec<_> = network.variables().skip(4).step_by(2).map(|parameter| parameter.layout).collect();
    assert_eq!(dense, [Layout::Dense { image: Some(map) }, Layout::Dense { image: None }]);
}

#[test]
fn fans_are_those_of_keras_and_pytorch() {
    // PyTorch: torch.nn.init._calculate_fan_in_and_fan_out(torch.nn.Conv2d(6, 8, (3, 5), groups=2).weight)
    let input = ImageShape { height: 9, width: 9, channels: 6 };
    let network = Network::builder("fans", input).conv2d(Conv2d::new(8, [3, 5]).groups(2)).build().unwrap();
    let fans: Vec<_> = network.variables().map(|parameter| (parameter.fan_in, parameter.fan_out)).collect();
    assert_eq!(fans, [(45, 120); 2]);
}

#[test]
fn initial_weights_fill_every_shape_and_repeat() {
    let network = residual();
    let initial = |seed| network.initial_weights(seed).unwrap();
    let weights = initial(3);
    assert_eq!(weights, initial(3));
    assert_ne!(weights, initial(4));
    assert_eq!(weights.len(), network.variables().count());
    for variable in network.variables() {
        let tensor = weights.get(&variable.name).unwrap();
        assert_eq!(tensor.shape(), &variable.pytorch_shape(), "{}", variable.name);
        assert!(!variable.name.ends_with("bias") || tensor.data().iter().all(|&value| value == 0.0));
    }
    network.check_weights(&weights).unwrap();
    let pair = start().conv2d(conv(8, 1)).conv2d(conv(8, 1)).conv2d(conv(8, 1)).build().unwrap();
    let weights = pair.initial_weights(3).unwrap();
    let (second, third) = (weights.get("conv2.weight"), weights.get("conv3.weight"));
    assert!(second.is_some() && second != third, "equal layers start from different values");
}

#[test]
fn layers_read_what_they_are_told_to() {
    let network = residual();
    let add = &network.layers()[3];
    assert_eq!(add.inputs, [LayerInput::Layer(2), LayerInput::Layer(0)]);
    assert_eq!(network.input_name(network.layers()[0].inputs[0]), "input");
    let again = start().conv2d(conv(3, 3).same()).add("input").build().unwrap();
    assert_eq!(again.layers()[1].inputs, [LayerInput::Layer(0), LayerInput::Image]);
}

#[test]
fn names_are_unique_whatever_the_user_chose() {
    let network =
        start().conv2d(conv(2, 1)).conv2d(conv(2, 1)).named("conv1").conv2d(conv(2, 1)).build().unwrap();
    let names: Vec<_> = network.layers().iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["conv2", "conv1", "conv3"]);
}

#[test]
fn the_builder_says_which_layer_needs_what() {
    let nan = f32::NAN;
    let cases = [
        (start(), "network: expected at least one layer, found none"),
        (start().named("a").relu(), "network: expected a layer to name, found none"),
        (Network::builder("", COLOURS).relu(), r#"network: expected a name of visible characters, found """#),
        (
            Network::builder("a", ImageShape { height: 0, ..COLOURS }).relu(),
            "network: expected an input of at least 1x1x1, found 0x30x3",
        ),
        (
            start().conv2d(conv(8, 31)).conv2d(conv(4, 3)),
            "layer conv1 (conv2d): expected a kernel that spans at most the padded input width of 30, \
             found kernel 31, dilation 1: 31",
        ),
        (
            start().conv2d(conv(8, 3)).conv2d(conv(8, 3).groups(3)),
            "layer conv2 (conv2d): expected groups that divide in_channels 8 and out_channels 8, found 3",
        ),
        (start().conv2d(conv(0, 3)), "layer conv1 (conv2d): expected out_channels of at least 1, found 0"),
        (
            start().dense(3),
            "layer dense1 (dense): expected flat features (put a flatten before it), found an image of 32x30x3",
        ),
        (
            start().flatten().conv2d(conv(8, 3)),
            "layer conv1 (conv2d): expected an image, found 2880 features flattened from 32x30x3",
        ),
        (
            start().flatten().dense(9).max_pool(2),
            "layer pool1 (max_pool): expected an image, found 9 flat features",
        ),
        (start().flatten().dense(0), "layer dense1 (dense): expected units of at least 1, found 0"),
        (
            start().flatten().dense(1 << 30),
            "layer dense1 (dense): expected a tensor of fewer than 2^31 elements, found [1073741824, 2880]",
        ),
        (
            start().conv2d(conv(4, 3)).add("input"),
            "layer add1 (add): expected two inputs of the same shape, \
             found an image of 30x28x4 and an image of 32x30x3",
        ),
        (
            start().relu().add("relu1"),
            "layer add1 (add): expected two different inputs, found one of them twice",
        ),
        (
            start().relu().add("stem"),
            r#"layer add1 (add): expected the name of a layer to read, found "stem""#,
        ),
        (
            start().conv2d(conv(4, 3)).from("relu1").relu(),
            r#"layer conv1 (conv2d): expected to read layers before it, found "relu1""#,
        ),
        (
            start().conv2d(conv(4, 3)).relu().from("input"),
            "layer conv1 (conv2d): expected a later layer that reads its output, found none",
        ),
        (
            start().relu().named("a").relu().named("a"),
            r#"layer a (relu): expected a name that nothing else has, found "a" twice"#,
        ),
        (
            start().relu().named("input"),
            r#"layer input (relu): expected a name that nothing else has, found "input" twice"#,
        ),
        (
            start().relu().named("a\n.b"),
            r#"layer a\n.b (relu): expected a name of letters, digits and _, found "a\n.b""#,
        ),
        (
            start().activation(Activation::LeakyRelu { slope: 0.0 }),
            "layer leaky_relu1 (leaky_relu): expected a finite slope above 0, found 0",
        ),
        (
            start().activation(Activation::Elu { alpha: nan }),
            "layer elu1 (elu): expected a finite alpha above 0, found NaN",
        ),
        (
            start().conv2d(conv(1, 1).initialiser(Initialiser::Constant(nan))),
            "layer conv1 (conv2d): expected a finite initial value, found NaN",
        ),
    ];
    for (builder, expected) in cases {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    }
    assert!(start().max_pool(31).build().unwrap_err().to_string().starts_with("layer pool1 (max_pool): "));
}

#[test]
fn a_network_survives_a_round_trip_through_a_file() {
    let presets = PRESETS.iter().map(|preset| (preset.build)(COLOURS, 7).unwrap());
    for network in presets.chain([residual()]) {
        let text = network.to_toml();
        let read = NetworkFile::parse(&text).unwrap().build(None).unwrap();
        assert_eq!(read, network, "{text}");
    }
    let strange = Network::builder("a \"b\" \\ 'é'", DIGITS).relu().build().unwrap();
    assert_eq!(NetworkFile::parse(&strange.to_toml()).unwrap().build(None).unwrap(), strange);
}

#[test]
fn floats_survive_a_round_trip_through_a_file() {
    for alpha in [f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, 0.1, 1.0 / 3.0, 1e-7, 16777216.0] {
        let network = start().activation(Activation::Elu { alpha }).build().unwrap();
        assert_eq!(NetworkFile::parse(&network.to_toml()).unwrap().build(None).unwrap(), network);
    }
}

#[test]
fn a_model_file_may_use_every_key() {
    let text = r#"
        name = "mine"
        input = [1, 28, 28]
        [[layers]]
        type = "conv2d"
        name = "stem"
        filters = 4
        kernel_size = [3, 5]
        padding = [1, 1, 2, 2]
        stride = 1
        dilation = [1, 1]
        groups = 1
        bias = false
        initializer = 0.5
        inputs = ["input"]
        [[layers]]
        type = "elu"
        [[layers]]
        type = "add"
        inputs = ["elu1", "stem"]
        [[layers]]
        type = "average_pool"
        kernel_size = 2
        [[layers]]
        type = "average_pool"
        kernel_size = 2
        count_include_pad = false
        ceil_mode = true
        [[layers]]
        type = "max_pool"
        kernel_size = 3
        ceil_mode = true
        [[layers]]
        type = "flatten"
        [[layers]]
        type = "dense"
        units = 10
        initializer = "he_uniform"
    "#;
    let sides = Padding::Sides { top: 1, bottom: 1, left: 2, right: 2 };
    let stem = Conv2d::new(4, [3, 5]).padding(sides).without_bias().initialiser(Initialiser::Constant(0.5));
    let expected = Network::builder("mine", DIGITS)
        .conv2d(stem)
        .named("stem")
        .activation(Activation::Elu { alpha: 1.0 })
        .add("stem")
        .average_pool(2)
        .pool(Pool::new(PoolKind::Average, [2, 2]).count_include_pad(false).ceil_mode())
        .pool(Pool::new(PoolKind::Max, [3, 3]).ceil_mode())
        .flatten()
        .dense(Dense::new(10).initialiser(Initialiser::HeUniform))
        .build()
        .unwrap();
    assert_eq!(NetworkFile::parse(text).unwrap().build(Some(DIGITS)).unwrap(), expected);
}

#[test]
fn a_model_file_takes_its_input_from_the_data_unless_they_differ() {
    let flat = "name = \"a\"\n[[layers]]\ntype = \"flatten\"";
    let parse = |text: &str| NetworkFile::parse(text).unwrap();
    assert_eq!(parse(flat).build(Some(COLOURS)).unwrap().input(), COLOURS);
    let message = parse(flat).build(None).unwrap_err().to_string();
    assert_eq!(message, "model: expected key `input`, found none");
    let message =
        parse(&format!("input = [1, 28, 28]\n{flat}")).build(Some(COLOURS)).unwrap_err().to_string();
    assert_eq!(message, "model: expected an input of 32x30x3 as in the data, found 28x28x1");
}

#[test]
fn a_wrong_model_file_gives_one_line_that_says_where() {
    let layer = |keys: &str| format!("name = \"a\"\n[[layers]]\ntype = \"flatten\"\n[[layers]]\n{keys}");
    let conv = |keys: &str| layer(&format!("type = \"conv2d\"\nfilters = 4\n{keys}"));
    let cases = [
        (String::new(), "model: expected key `name`, found none"),
        ("name = 3".into(), "model: expected `name` to be a string, found 3"),
        (
            "name = \"a\"\ntitle = 1".into(),
            "model: expected keys among name, input, layers, found key `title`",
        ),
        ("name = \"a\"".into(), "model: expected key `layers`, found none"),
        (
            "name = \"a\"\nlayers = [1]".into(),
            "model: expected `layers` to be a list of tables, each starting with [[layers]], found [1]",
        ),
        (
            "name = \"a\"\ninput = [28, 28]".into(),
            "model: expected `input` to be [channels, height, width], integers from 1 to 2147483647, \
             found [28, 28]",
        ),
        (layer(""), "layer 2: expected key `type`, found none"),
        (conv(""), "layer 2 (conv2d): expected key `kernel_size`, found none"),
        (
            conv("kernel = 3"),
            "layer 2 (conv2d): expected keys among type, name, inputs, filters, kernel_size, padding, stride, \
             dilation, groups, bias, initializer, found key `kernel`",
        ),
        (
            conv("kernel_size = -3"),
            "layer 2 (conv2d): expected `kernel_size` to be an integer from 1 to 2147483647, or [height, width], \
             found -3",
        ),
        (
            conv("kernel_size = 3\nstride = 2147483648"),
            "layer 2 (conv2d): expected `stride` to be an integer from 1 to 2147483647, or [height, width], \
             found 2147483648",
        ),
        (
            conv("kernel_size = 3\npadding = \"full\""),
            "layer 2 (conv2d): expected `padding` to be \"same\", \"valid\", an integer from 0 to 2147483647, \
             [height, width] or [top, bottom, left, right], found \"full\"",
        ),
        (
            conv("kernel_size = 3\ngroups = 0"),
            "layer 2 (conv2d): expected `groups` to be an integer from 1 to 2147483647, found 0",
        ),
        (
            conv("kernel_size = 3\nbias = \"no\\n\""),
            r#"layer 2 (conv2d): expected `bias` to be true or false, found "no\n""#,
        ),
        (
            conv("kernel_size = 3\ninitializer = \"glorot\""),
            "layer 2 (conv2d): expected `initializer` to be glorot_uniform, glorot_normal, he_uniform, he_normal, pytorch_default, dirac, \
             zeros or a number, found \"glorot\"",
        ),
        (layer("type = \"add\""), "layer 2 (add): expected key `inputs`, found none"),
        (
            layer("type = \"relu\"\ninputs = [1, 2, 3, 4, 5]"),
            "layer 2 (relu): expected `inputs` to be a list of strings, found a list of 5",
        ),
        (layer("type = \"elu\"\nalpha = true"), "layer 2 (elu): expected `alpha` to be a number, found true"),
    ];
    for (text, expected) in cases {
        assert_eq!(NetworkFile::parse(&text).unwrap_err().to_string(), expected, "{text}");
    }
    // The message lists all types, from the first to the last.
    let message = NetworkFile::parse(&layer("type = \"convd\"")).unwrap_err().to_string();
    assert!(message.starts_with("layer 2: expected type conv2d, dense, "), "{message}");
    assert!(message.ends_with(", sequence, found \"convd\""), "{message}");
    for (text, line) in
        [("name = \"a\"\nb = \n", 2), ("a = 1\n\na = 2", 3), ("\n\"", 2), ("[", 1), ("é = 1", 1)]
    {
        let message = NetworkFile::parse(text).unwrap_err().to_string();
        assert!(message.starts_with(&format!("model, line {line}: expected TOML, found ")), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let two = layer("type = \"relu\"\ninputs = [\"input\", \"flatten1\"]");
    let message = NetworkFile::parse(&two).unwrap().build(Some(DIGITS)).unwrap_err().to_string();
    assert_eq!(message, "layer relu1 (relu): expected 1 input, found 2");
}

#[test]
fn models_load_by_name_or_path_and_must_fit_the_data() {
    for preset in PRESETS {
        assert_eq!(load(preset.name, DIGITS, 10).unwrap(), (preset.build)(DIGITS, 10).unwrap());
        assert_eq!(open(preset.name, None, 3).unwrap(), (preset.build)(preset.image, 3).unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, lenet(DIGITS, 10).unwrap().to_toml()).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(open(path, None, 7).unwrap(), lenet(DIGITS, 10).unwrap());
    let message = |model: &str, image| load(model, image, 7).unwrap_err().to_string();
    assert_eq!(
        message(path, DIGITS),
        format!(
            "{path}: layer dense2 (dense): expected 7 flat features, one per class, found 10 flat features"
        )
    );
    assert!(load(path, DIGITS, 7).unwrap_err().is_wrong_use());
    assert_eq!(
        message("resnet", DIGITS),
        "model: expected linear, lenet, mnist-fast, mnist-best, vgg-mini, resnet8, mobilenet-mini, resnet20, cifar-fast-small, cifar-fast or the path of a .toml file, found \"resnet\""
    );
    assert!(message("none/there.toml", DIGITS).starts_with("cannot read none/there.toml: "));
    std::fs::write(folder.path().join("wrong.toml"), [0xff]).unwrap();
    assert!(load(folder.path().join("wrong.toml").to_str().unwrap(), DIGITS, 7).is_err());
}

/// As published, or counted by hand.
#[test]
fn presets_have_as_many_parameters_as_their_papers_say() {
    let counts = PRESETS.map(|preset| (preset.name, open(preset.name, None, 10).unwrap().parameter_count()));
    let expected = [
        ("linear", 7_850),
        ("lenet", 215_370),
        ("mnist-fast", 215_194),
        ("mnist-best", 288_170),
        ("vgg-mini", 591_274),
        ("resnet8", 78_042),
        ("mobilenet-mini", 136_778),
        ("resnet20", 272_474),
        // 568,888 and 1,971,640 as published, which leaves out the scales of norms: they stay one.
        ("cifar-fast-small", 568_888 + 768),
        ("cifar-fast", 1_971_640 + 1_152),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn presets_need_classes_and_room_for_their_pools() {
    for Preset { name, build, .. } in PRESETS {
        assert!(build(DIGITS, 0).is_err(), "{name}");
        assert_eq!(build(COLOURS, 4).unwrap().output(), Features::Flat { size: 4, image: None }, "{name}");
    }
    let tiny = ImageShape { height: 3, width: 3, channels: 1 };
    assert!(lenet(tiny, 2).is_err() && vgg_mini(tiny, 2).is_err() && linear(tiny, 2).is_ok());
}
