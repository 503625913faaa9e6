//! `wgconv summary --pytorch`: the module that it writes loads exactly the weights that are saved, and computes what the
//! network computes. With PyTorch, where it is installed.

#[path = "common/python.rs"]
mod python;
#[path = "common/workplace.rs"]
mod workplace;

use std::process::Command;
use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use wgconv::data::{self, LoadOptions};
use wgconv::host::CpuExecutor;
use wgconv::network::{self, Initialiser, Kind, Network, PRESETS, Weights};
use wgconv::ops::HostBuffer;
use wgconv::plan::{Executor, predict_plan};
use wgconv::tensor::{Shape, Tensor};
use wgconv::train::{save_tensors, save_weights};
use workplace::{Run, Workplace, files};

/// Of the largest output: both sides compute in f32, and add in another order.
const TOLERANCE: f64 = 1e-5;

/// Images of each network.
const IMAGES: usize = 3;

/// Pools of a map of 6 channels, 11x9: what PyTorch's modules can do, and what they cannot.
const POOLS: [&str; 20] = [
    "type = \"max_pool\"; kernel_size = 2",
    "type = \"max_pool\"; kernel_size = [3, 2]; padding = 1; stride = [2, 1]",
    "type = \"max_pool\"; kernel_size = 2; stride = 3; ceil_mode = true",
    "type = \"max_pool\"; kernel_size = 3; padding = 1; dilation = 2; stride = 2; ceil_mode = true",
    "type = \"max_pool\"; kernel_size = 3; padding = [2, 0, 1, 2]; stride = 2",
    "type = \"max_pool\"; kernel_size = 3; padding = 2; stride = 1",
    "type = \"max_pool\"; kernel_size = 2; padding = \"same\"; dilation = [1, 3]",
    "type = \"max_pool\"; kernel_size = 3; padding = [0, 2, 1, 0]; stride = 4; ceil_mode = true",
    "type = \"average_pool\"; kernel_size = [2, 3]",
    "type = \"average_pool\"; kernel_size = 3; padding = 1; stride = 2; ceil_mode = true",
    "type = \"average_pool\"; kernel_size = 4; padding = [1, 2]; stride = [3, 2]; ceil_mode = true",
    "type = \"average_pool\"; kernel_size = 3; padding = 1; stride = 1; count_include_pad = false",
    "type = \"average_pool\"; kernel_size = 2; padding = \"same\"; stride = 1",
    "type = \"average_pool\"; kernel_size = 2; padding = \"same\"; stride = 1; count_include_pad = false",
    "type = \"average_pool\"; kernel_size = 3; padding = 2; stride = 2",
    "type = \"average_pool\"; kernel_size = [3, 2]; dilation = [2, 1]",
    "type = \"average_pool\"; kernel_size = 2; dilation = 3; padding = 1; stride = 1; count_include_pad = false",
    "type = \"average_pool\"; kernel_size = 3; padding = [1, 0, 2, 1]; stride = 4; ceil_mode = true",
    "type = \"average_pool\"; kernel_size = 3; padding = [0, 2, 1, 0]; stride = 4; ceil_mode = true; count_include_pad = false",
    "type = \"average_pool\"; kernel_size = 2; dilation = 2; padding = [1, 1, 0, 1]; stride = 3; ceil_mode = true",
];

/// Model files that together have a layer of every type, with unusual options.
fn models() -> Vec<(&'static str, String)> {
    let mut pools = vec!["type = \"conv2d\"; filters = 6; kernel_size = 1; name = \"stem\"".to_string()];
    for (index, pool) in POOLS.iter().enumerate() {
        pools.push(format!("{pool}; inputs = [\"stem\"]"));
        pools.extend([
            "type = \"flatten\"".into(),
            format!("type = \"dense\"; units = 2; name = \"seen{index}\""),
        ]);
    }
    let seen: Vec<String> = (0..POOLS.len()).map(|index| format!("\"seen{index}\"")).collect();
    pools.push(format!("type = \"concatenate\"; inputs = [{}]", seen.join(", ")));
    let pools: Vec<&str> = pools.iter().map(String::as_str).collect();
    let convolutions = [
        "type = \"whitening\"; kernel_size = [2, 3]; eps = 0.01",
        "type = \"conv2d\"; filters = 6; kernel_size = [3, 2]; padding = [1, 0, 2, 1]; stride = [2, 1]; groups = 3; bias = false",
        "type = \"conv2d\"; filters = 8; kernel_size = 2; padding = \"same\"; initializer = 0.1",
        "type = \"conv2d\"; filters = 4; kernel_size = 3; padding = \"same\"; stride = 2; dilation = [1, 2]",
        "type = \"depthwise_conv2d\"; kernel_size = [2, 3]; multiplier = 2; padding = [2, 1]; dilation = [2, 1]",
        "type = \"conv_block\"; filters = 6; kernel_size = 3; padding = \"same\"; norm = \"batch_norm\"; activation = \"gelu\"",
        "type = \"depthwise_separable\"; filters = 6; kernel_size = 3; padding = 1; norm = \"layer_norm\"; activation = \"silu\"",
        "type = \"squeeze_excite\"; channels = 6; squeeze_channels = 3",
        "type = \"residual\"; [[layers.layers]]; type = \"conv2d\"; filters = 5; kernel_size = 1; [[layers.layers]]; type = \"tanh\"; \
         [[layers.shortcut]]; type = \"conv2d\"; filters = 5; kernel_size = 1; bias = false",
        "type = \"sequence\"; repeat = 2; [[layers.layers]]; type = \"conv2d\"; filters = 3; kernel_size = 2; [[layers.layers]]; type = \"hard_swish\"",
        "type = \"conv2d\"; filters = 3; kernel_size = 1; name = \"path\"",
        "type = \"add\"; inputs = [\"path\", \"sequence1\"]",
        "type = \"conv2d\"; filters = 2; kernel_size = 1",
    ];
    let values = [
        "type = \"batch_norm\"; eps = 0.01; momentum = 0.3",
        "type = \"batch_norm\"; affine = false",
        "type = \"batch_norm\"; scale = false; name = \"shifted\"",
        "type = \"prelu\"; slope = 0.5",
        "type = \"group_norm\"; groups = 2; eps = 1e-3",
        "type = \"group_norm\"; groups = 4; affine = false",
        "type = \"layer_norm\"; eps = 1e-6; name = \"pixels\"",
        "type = \"layer_norm\"; affine = false",
        "type = \"leaky_relu\"; slope = 0.1",
        "type = \"elu\"; alpha = 0.5",
        "type = \"dropout\"; p = 0.9",
        "type = \"scale\"; factor = -0.125; name = \"map\"",
        "type = \"global_max_pool\"; name = \"largest\"",
        "type = \"global_average_pool\"; inputs = [\"map\"]; name = \"mean\"",
        "type = \"multiply\"; inputs = [\"map\", \"largest\"]",
        "type = \"flatten\"; name = \"flat\"",
        "type = \"batch_norm\"",
        "type = \"prelu\"",
        "type = \"layer_norm\"",
        "type = \"relu\"",
        "type = \"dense\"; units = 80; bias = false",
        "type = \"sigmoid\"; name = \"gate\"",
        // Factors of the features of a flattened map, which PyTorch has in another order.
        "type = \"multiply\"; inputs = [\"flat\", \"gate\"]",
        "type = \"dense\"; units = 8; bias = false",
        "type = \"group_norm\"; groups = 2",
        "type = \"batch_norm\"; scale = false",
        "type = \"prelu\"",
        "type = \"dense\"; units = 4; name = \"few\"",
        "type = \"multiply\"; inputs = [\"few\", \"mean\"]",
        "type = \"concatenate\"; inputs = [\"multiply3\", \"few\"]",
        "type = \"layer_norm\"",
    ];
    let flattened =
        ["type = \"conv2d\"; filters = 3; kernel_size = 2", "type = \"flatten\"", "type = \"elu\""];
    vec![
        ("pools", files::model("input = [2, 11, 9]", &pools)),
        ("convolutions", files::model("input = [3, 13, 10]", &convolutions)),
        ("values", files::model("input = [4, 4, 5]", &values)),
        ("flattened", files::model("input = [2, 3, 4]", &flattened)),
    ]
}

/// Initial weights, in which what starts as a constant, statistics too, has got other values.
fn weights(network: &Network) -> Weights {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut weights = network.initial_weights(1).unwrap();
    let is_constant = |initialiser| matches!(initialiser, Initialiser::Zeros | Initialiser::Constant(_));
    for variable in network.variables().filter(|variable| is_constant(variable.initialiser)) {
        let tensor = weights.get(&variable.name).unwrap();
        let values = tensor.data().iter().map(|value| value + random.random_range(-0.5..0.5f32)).collect();
        weights.insert(&variable.name, Tensor::new(tensor.shape().clone(), values).unwrap());
    }
    weights
}

/// Images `[N,H,W,C]` and what the network makes of them on the CPU.
fn seen(network: &Network, weights: &Weights) -> [(&'static str, Tensor); 2] {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let plan = Arc::new(predict_plan(network, IMAGES).unwrap());
    let mut executor = CpuExecutor::new();
    let prepared = executor.prepare(plan.clone()).unwrap();
    let mut write = |name: &str, values: Vec<f32>| {
        executor.write(prepared, plan.expect(name), &HostBuffer::real(values)).unwrap();
    };
    let image = network.input();
    let images: Vec<f32> =
        (0..IMAGES * image.elements()).map(|_| random.random_range(-2.0..2.0f32)).collect();
    write("input", images.clone());
    for variable in network.variables() {
        write(&variable.name, weights.values(variable).unwrap());
    }
    executor.run(prepared, 1).unwrap();
    let output = plan.buffers.iter().find(|buffer| buffer.kept).unwrap();
    let found = executor.read(prepared, plan.expect(&output.name)).unwrap().into_reals();
    let shape = |sizes: Vec<usize>| Shape::new([vec![IMAGES], sizes].concat());
    [
        ("input", Tensor::new([IMAGES, image.height, image.width, image.channels], images).unwrap()),
        ("output", Tensor::new(shape(network.output().sizes()), found).unwrap()),
    ]
}

const COMPARE: &str = r#"
import importlib, json, sys

import torch
from safetensors.torch import load_file

for name in sys.argv[1:]:
    net = importlib.import_module(name).Net()
    net.load_state_dict(load_file(f"{name}.safetensors"), strict=True)
    net.eval()
    seen = load_file(f"{name}.seen.safetensors")
    images, expected = seen["input"].permute(0, 3, 1, 2), seen["output"]

    def difference(images):
        with torch.no_grad():
            output = net(images)
        output = output.permute(0, 2, 3, 1) if output.dim() == 4 else output
        assert output.shape == expected.shape, (name, output.shape)
        return ((output - expected).abs().max() / expected.abs().max()).item()

    frozen = [name for name, parameter in net.named_parameters() if not parameter.requires_grad]
    mirrored = difference(images.flip(3))
    print(json.dumps({"difference": difference(images), "mirrored": mirrored, "frozen": frozen}))
"#;

/// Asserts that PyTorch's modules of the models that these arguments of `summary` name compute the same.
#[track_caller]
fn assert_the_same_in_pytorch(place: &Workplace, python: &str, models: &[(&str, Network)]) {
    let names: Vec<String> = (0..models.len()).map(|number| format!("net{number}")).collect();
    for (name, (arguments, network)) in names.iter().zip(models) {
        let source = place.run(&format!("summary {arguments} --pytorch"));
        assert_eq!((source.code, source.stderr.as_str()), (0, ""), "{arguments}");
        place.write(&format!("{name}.py"), source.stdout);
        let weights = weights(network);
        save_weights(&place.path(&format!("{name}.safetensors")), &weights, &[]).unwrap();
        let seen = seen(network, &weights);
        let seen = seen.iter().map(|(name, tensor)| (*name, tensor));
        save_tensors(&place.path(&format!("{name}.seen.safetensors")), seen, &[]).unwrap();
    }
    place.write("compare.py", COMPARE);
    let run = Run::of(Command::new(python).arg("compare.py").args(&names).current_dir(place.path("")));
    assert_eq!(run.code, 0, "{run:?}");
    let lines = run.json();
    assert_eq!(lines.len(), models.len(), "{run:?}");
    for (line, (arguments, network)) in lines.iter().zip(models) {
        println!("{arguments}: {line}");
        let frozen = network.variables().filter(|variable| variable.kind == Kind::Frozen);
        let frozen: Vec<Value> = frozen.map(|variable| variable.name.as_str().into()).collect();
        assert_eq!(line["frozen"], Value::Array(frozen), "{arguments}");
        let number = |key: &str| line[key].as_f64().expect("a number, not NaN");
        assert!(number("difference") < TOLERANCE, "{arguments}: {line}");
        // Of other images, the outputs are others.
        assert!(number("mirrored") > 100.0 * TOLERANCE, "{arguments}: {line}");
    }
}

#[test]
fn presets_compute_the_same_in_pytorch() {
    let Some(python) = python::with_torch() else { return };
    let models = PRESETS.map(|preset| (preset.name, (preset.build)(preset.image, 10).unwrap()));
    assert_the_same_in_pytorch(&Workplace::new(), &python, &models);
}

#[test]
fn layers_of_every_type_compute_the_same_in_pytorch() {
    let models = models();
    let unknown =
        network::NetworkFile::parse("name = \"a\"\n[[layers]]\ntype = \"\"").unwrap_err().to_string();
    let (_, types) = unknown.split_once("expected type ").unwrap();
    let types: Vec<&str> = types.split(", found").next().unwrap().split(", ").collect();
    assert!(types.len() > 20, "{unknown}");
    for name in types {
        let is_there = |(_, text): &(_, String)| text.contains(&format!("\"{name}\""));
        assert!(models.iter().any(is_there), "no layer of type {name}");
    }
    let Some(python) = python::with_torch() else { return };
    let place = Workplace::new();
    let models = models.iter().map(|(name, text)| {
        place.write(&format!("{name}.toml"), text);
        place.path(&format!("{name}.toml")).to_str().unwrap().to_owned()
    });
    let paths: Vec<String> = models.collect();
    let opened = |path: &String| network::open(path, None, 10).unwrap();
    let models: Vec<(&str, Network)> = paths.iter().map(|path| (path.as_str(), opened(path))).collect();
    assert_the_same_in_pytorch(&place, &python, &models);
}

/// Also if it is a keyword of Python, or what a module calls something else.
#[test]
fn any_name_of_a_layer_is_kept() {
    let Some(python) = python::with_torch() else { return };
    let names = "import keyword; from torch import nn; print(*dir(nn.Module()), *dir(nn.ModuleDict()), *keyword.kwlist)";
    let run = Run::of(Command::new(python.as_str()).args(["-c", names]));
    let mut names: Vec<&str> = run.stdout.split_whitespace().filter(|name| *name != "training").collect();
    assert!(names.len() > 150, "{run:?}");
    names.extend([
        "self",
        "x",
        "torch",
        "nn",
        "F",
        "Net",
        "super",
        "0",
        "_0",
        "__a",
        "a.b",
        "a_b",
        "a_b_",
        "features.0",
        "features.1.class",
        // Continuing the names of other layers, and what these need themselves.
        "q",
        "q.in_features",
        "q.weight",
        "q.bias.bias",
        "q.forward",
        "z.y",
        "z",
        "tanh_0.w",
    ]);
    names.sort_unstable();
    names.dedup();
    let mut layers = vec!["type = \"flatten\"".to_string()];
    for (number, name) in names.iter().rev().enumerate() {
        layers.push(format!("type = \"dense\"; units = 3; name = \"{name}\""));
        layers.push(format!("type = \"tanh\"; name = \"tanh_{number}\""));
        layers.push(format!(
            "type = \"add\"; inputs = [\"tanh_{number}\", \"{name}\"]; name = \"add_{number}\""
        ));
        layers.push(format!("type = \"tanh\"; name = \"more_{number}\""));
    }
    // Everything is seen.
    let all: Vec<String> = (0..names.len()).map(|number| format!("\"add_{number}\"")).collect();
    layers.push(format!("type = \"concatenate\"; inputs = [{}, \"more_{}\"]", all.join(", "), all.len() - 1));
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    let place = Workplace::new();
    place.write("names.toml", files::model("input = [1, 1, 3]", &layers));
    let network = network::open(place.path("names.toml").to_str().unwrap(), None, 10).unwrap();
    assert_the_same_in_pytorch(&place, &python, &[("names.toml", network)]);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let place = Workplace::new();
    place.write(
        "training.toml",
        files::model(
            "input = [1, 1, 3]",
            &["type = \"flatten\"", "type = \"dense\"; units = 2; name = \"a.training.b\""],
        ),
    );
    for (arguments, culprit) in [
        (
            "training.toml --pytorch",
            "layer a.training.b (dense): expected a name without \"training\", which PyTorch keeps for itself, found \"a.training.b\"",
        ),
        ("lenet --pytorch --json", "--pytorch: expected standard output for the source alone, found --json"),
    ] {
        place.assert_refused(&format!("summary {arguments}"), 2, culprit);
    }
}

const COUNT: &str = r#"
import json
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from net import Net

with safe_open("run/best.safetensors", framework="pt") as file:
    mean, deviation = (torch.tensor(json.loads(file.metadata()[name])) for name in ("mean", "deviation"))
net = Net()
net.load_state_dict(load_file("run/best.safetensors"), strict=True)
net.eval()
read = lambda name: torch.frombuffer(bytearray(open(name, "rb").read()), dtype=torch.uint8)
images = read("pixels").reshape(-1, 28, 28, 1).permute(0, 3, 1, 2).float() / 255
with torch.no_grad():
    found = net((images - mean.reshape(1, -1, 1, 1)) / deviation.reshape(1, -1, 1, 1)).argmax(1)
print((found == read("labels")).sum().item())
"#;

/// Trained too little to be always right, so that there is something to count.
#[test]
fn a_trained_run_is_right_as_often_in_pytorch() {
    let Some(python) = python::with_torch() else { return };
    let place = Workplace::new();
    place.train("--model resnet8 --epochs 1 --limit 1000 --batch-size 16 --augment crop=2 --out run");
    let measured = place.run("evaluate run --device cpu --json").json().remove(0);
    let options = LoadOptions { limit: Some(1000), ..LoadOptions::default() };
    let test = data::load("synthetic", &options).unwrap().test;
    place.write("pixels", test.images.as_slice());
    place.write("labels", test.labels.iter().map(|&label| label as u8).collect::<Vec<_>>());
    let source = place.run("summary run/model.toml --pytorch");
    place.write("net.py", source.stdout);
    place.write("count.py", COUNT);
    let run = Run::of(Command::new(python).arg("count.py").current_dir(place.path("")));
    let correct: usize = run.stdout.trim().parse().unwrap_or_else(|_| panic!("{run:?}"));
    println!("{correct} of {} correct", test.len());
    assert!(0 < correct && correct < test.len(), "{correct} of {}", test.len());
    assert_eq!(measured["images"], test.len());
    assert_eq!(measured["test/accuracy"], correct as f64 / test.len() as f64);
}
