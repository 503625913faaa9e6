//! A network as a table: shapes and parameters, layer by layer.

use serde_json::{Value, json};

use super::short_name;
use crate::network::{Features, Layer, LayerInput, Network};

/// The network as Keras prints it, with the arithmetic of the parameters, and with a layer's inputs if these are not
/// just the previous layer. Names are escaped, and shortened if they are very long.
///
/// ```text
/// Layer (type)     Output Shape  Param #
/// ---------------------------------------------------
/// input (image)    (28, 28, 1)         0
/// conv1 (conv2d)   (28, 28, 16)      416 = 5*5*1*16 + 16
/// ```
pub fn summary(network: &Network) -> String {
    let mut rows = vec![Row::new("Layer (type)", "Output Shape", "Param #")];
    let image = Features::Image(network.input());
    rows.push(Row::new(format!("{} (image)", LayerInput::INPUT_NAME), tuple(&image), "0"));
    for (index, layer) in network.layers().iter().enumerate() {
        let arithmetic = layer
            .kind
            .arithmetic(&layer.variables)
            .map_or(String::new(), |arithmetic| format!("= {arithmetic}"));
        let reads = if layer.inputs == [LayerInput::before(index)] {
            String::new()
        } else {
            let names: Vec<String> = input_names(network, layer).into_iter().map(short_name).collect();
            format!("reads {}", names.join(", "))
        };
        rows.push(Row {
            arithmetic,
            reads,
            ..Row::new(short_name(&layer.title()), tuple(&layer.output), thousands(layer.parameter_count()))
        });
    }
    let total = network.parameter_count();
    let total = format!("Total params: {} ({})", thousands(total), bytes(4 * total as u64));
    format!("Model: {}\n\n{}\n{total}\n", short_name(network.name()), table(&rows))
}

/// The network as a JSON object: `name`, `input_shape`, `layers` and `parameters`, the total.
///
/// A layer has `name`, `type`, `inputs` (names), `output_shape`, `parameters` (their number), `arithmetic`
/// (or null) and `tensors`, each with `name` and `shape`. Shapes are `[height, width, channels]` or `[size]`;
/// those of tensors are PyTorch's.
pub fn summary_json(network: &Network) -> Value {
    let layer = |layer: &Layer| {
        let tensors = layer
            .variables
            .iter()
            .map(|variable| json!({ "name": variable.name, "shape": variable.pytorch_shape().sizes() }));
        json!({
            "name": layer.name,
            "type": layer.kind.type_name(),
            "inputs": input_names(network, layer),
            "output_shape": layer.output.sizes(),
            "parameters": layer.parameter_count(),
            "arithmetic": layer.kind.arithmetic(&layer.variables),
            "tensors": tensors.collect::<Vec<_>>(),
        })
    };
    json!({
        "name": network.name(),
        "input_shape": Features::Image(network.input()).sizes(),
        "layers": network.layers().iter().map(layer).collect::<Vec<_>>(),
        "parameters": network.parameter_count(),
    })
}

fn input_names<'a>(network: &'a Network, layer: &Layer) -> Vec<&'a str> {
    layer.inputs.iter().map(|input| network.input_name(*input)).collect()
}

/// One line of the table.
struct Row {
    title: String,
    shape: String,
    count: String,
    arithmetic: String,
    reads: String,
}

impl Row {
    fn new(title: impl Into<String>, shape: impl Into<String>, count: impl Into<String>) -> Self {
        let (arithmetic, reads) = Default::default();
        Row { title: title.into(), shape: shape.into(), count: count.into(), arithmetic, reads }
    }
}

/// Aligned columns, with a rule below the first row and one below the last.
fn table(rows: &[Row]) -> String {
    let width =
        |column: fn(&Row) -> &String| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let title = width(|row| &row.title);
    let shape = width(|row| &row.shape);
    let count = width(|row| &row.count);
    let arithmetic = width(|row| &row.arithmetic);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let Row { title: t, shape: s, count: c, arithmetic: a, reads } = row;
            let line = format!("{t:title$}  {s:shape$}  {c:>count$} {a:arithmetic$}  {reads}");
            line.trim_end().to_owned()
        })
        .collect();
    let rule = "-".repeat(lines.iter().map(|line| line.chars().count()).max().unwrap_or(0));
    format!("{}\n{rule}\n{}\n{rule}", lines[0], lines[1..].join("\n"))
}

/// `(28, 28, 16)`.
fn tuple(features: &Features) -> String {
    format!("({})", features.sizes().iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// `215,370`.
pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `841.3 KiB`.
fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = "bytes";
    for larger in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "bytes" { format!("{size} {unit}") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Conv2d;
    use crate::network::presets::lenet;
    use crate::tensor::ImageShape;

    const DIGITS: ImageShape = ImageShape { height: 28, width: 28, channels: 1 };

    #[test]
    fn lenet_is_printed_as_keras_prints_it() {
        let expected = "\
Model: lenet

Layer (type)        Output Shape  Param #
----------------------------------------------------------
input (image)       (28, 28, 1)         0
conv1 (conv2d)      (28, 28, 16)      416 = 5*5*1*16 + 16
relu1 (relu)        (28, 28, 16)        0
pool1 (max_pool)    (14, 14, 16)        0
conv2 (conv2d)      (14, 14, 32)   12,832 = 5*5*16*32 + 32
relu2 (relu)        (14, 14, 32)        0
pool2 (max_pool)    (7, 7, 32)          0
flatten1 (flatten)  (1568)              0
dense1 (dense)      (128)         200,832 = 1568*128 + 128
relu3 (relu)        (128)               0
dense2 (dense)      (10)            1,290 = 128*10 + 10
----------------------------------------------------------
Total params: 215,370 (841.3 KiB)
";
        assert_eq!(summary(&lenet(DIGITS, 10).unwrap()), expected);
    }

    #[test]
    fn branches_show_what_is_read() {
        let network = Network::builder("residual", DIGITS)
            .conv2d(Conv2d::new(4, [3, 3]).same())
            .conv2d(Conv2d::new(4, [3, 3]).same().groups(2).without_bias())
            .add("conv1")
            .build()
            .unwrap();
        let expected = "\
Model: residual

Layer (type)    Output Shape  Param #
-----------------------------------------------------------------------
input (image)   (28, 28, 1)         0
conv1 (conv2d)  (28, 28, 4)        40 = 3*3*1*4 + 4
conv2 (conv2d)  (28, 28, 4)        72 = 3*3*2*4
add1 (add)      (28, 28, 4)         0                reads conv2, conv1
-----------------------------------------------------------------------
Total params: 112 (448 bytes)
";
        assert_eq!(summary(&network), expected);
    }

    #[test]
    fn json_holds_the_same() {
        let json = summary_json(&lenet(DIGITS, 10).unwrap());
        assert_eq!(json["parameters"], 215_370);
        assert_eq!(json["input_shape"], json!([28, 28, 1]));
        let expected = json!({
            "name": "conv1",
            "type": "conv2d",
            "inputs": ["input"],
            "output_shape": [28, 28, 16],
            "parameters": 416,
            "arithmetic": "5*5*1*16 + 16",
            "tensors": [
                { "name": "conv1.weight", "shape": [16, 1, 5, 5] },
                { "name": "conv1.bias", "shape": [16] },
            ],
        });
        assert_eq!(json["layers"][0], expected);
        assert_eq!(json["layers"][2]["arithmetic"], Value::Null);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1000, 215_370, 1_234_567].map(thousands),
            ["0", "999", "1,000", "215,370", "1,234,567"]
        );
        assert_eq!([0, 1023, 1024, 861_480].map(bytes), ["0 bytes", "1023 bytes", "1.0 KiB", "841.3 KiB"]);
    }
}
