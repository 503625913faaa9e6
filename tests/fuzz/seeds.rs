//! Small valid inputs for the fuzzer to damage.

use std::collections::HashMap;
use std::io::{Cursor, Write};

use image::{DynamicImage, ImageFormat};
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::mutate::Files;

/// One file.
pub fn file(name: &str, content: impl Into<Vec<u8>>) -> Files {
    vec![(name.into(), content.into())]
}

fn idx_bytes(sizes: &[u32], length: usize) -> Vec<u8> {
    let mut bytes = (0x800 + sizes.len() as u32).to_be_bytes().to_vec();
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend((0..length).map(|i| (i % 3) as u8));
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// IDX files, plain and gzipped.
pub fn idx() -> Vec<Files> {
    let files = |prefix: &str, zipped: bool| -> Files {
        let parts = [("train", 6), ("t10k", 3)];
        parts
            .into_iter()
            .flat_map(|(part, rows)| {
                [
                    (
                        format!("{prefix}{part}-images-idx3-ubyte"),
                        idx_bytes(&[rows, 4, 3], rows as usize * 12),
                    ),
                    (format!("{prefix}{part}-labels-idx1-ubyte"), idx_bytes(&[rows], rows as usize)),
                ]
            })
            .map(|(name, bytes)| if zipped { (name + ".gz", gzipped(&bytes)) } else { (name, bytes) })
            .collect()
    };
    vec![files("", false), files("", true), files("emnist-letters-", false)]
}

/// CIFAR-10 and CIFAR-100, one row per file.
pub fn cifar() -> Vec<Files> {
    let row = |labels: usize| -> Vec<u8> { (0..labels + 3072).map(|i| (i % 5) as u8).collect() };
    let mut ten: Files = (1..=5).map(|number| (format!("data_batch_{number}.bin"), row(1))).collect();
    ten.push(("test_batch.bin".into(), row(1)));
    ten.push(("batches.meta.txt".into(), b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n".to_vec()));
    let hundred = ["train.bin", "test.bin"].map(|name| (format!("cifar-100-binary/{name}"), row(2))).to_vec();
    vec![ten, hundred]
}

fn picture(format: ImageFormat, gray: bool) -> Vec<u8> {
    let image = DynamicImage::new_rgb8(5, 4);
    let image = if gray { DynamicImage::ImageLuma8(image.into_luma8()) } else { image };
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("writing to memory");
    bytes.into_inner()
}

/// Folders of pictures, with and without splits.
pub fn pictures() -> Vec<Files> {
    let png = || picture(ImageFormat::Png, false);
    let jpeg = || picture(ImageFormat::Jpeg, false);
    let paths = |folders: &[&str]| -> Files {
        folders
            .iter()
            .flat_map(|folder| [(format!("{folder}/1.png"), png()), (format!("{folder}/2.jpg"), jpeg())])
            .collect()
    };
    vec![
        paths(&["cat", "dog"]),
        paths(&["train/cat", "train/dog", "test/cat", "test/dog"]),
        vec![
            ("a/1.png".into(), picture(ImageFormat::Png, true)),
            ("a/2.png".into(), picture(ImageFormat::Png, true)),
            ("b/1.jpeg".into(), picture(ImageFormat::Jpeg, true)),
            ("b/2.jpeg".into(), picture(ImageFormat::Jpeg, true)),
        ],
    ]
}

/// A picture in each format.
pub fn every_picture() -> Vec<Files> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures.json");
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex"));
        digits.collect()
    };
    let cases = golden["cases"].as_array().expect("cases").iter();
    cases.map(|case| file("picture", bytes(case["file"].as_str().expect("a file")))).collect()
}

fn npy(shape: &str, length: usize) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let data = (0..length).map(|i| (i % 3) as u8);
    let length = (header.len() as u16).to_le_bytes();
    let start = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
    start.into_iter().chain(data).collect()
}

/// Archives of arrays, plain and compressed, and single arrays.
pub fn numpy() -> Vec<Files> {
    let arrays = [
        ("x_train", npy("6, 4, 3", 72)),
        ("y_train", npy("6, 1", 6)),
        ("x_test", npy("3, 4, 3", 36)),
        ("y_test", npy("3,", 3)),
    ];
    let archive = |method: zip::CompressionMethod| -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, array) in &arrays {
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            archive.start_file(format!("{name}.npy"), options).expect("writing to memory");
            archive.write_all(array).expect("writing to memory");
        }
        archive.finish().expect("writing to memory").into_inner()
    };
    let files = arrays.iter().map(|(name, array)| (format!("{name}.npy"), array.clone())).collect();
    vec![
        file("a.npz", archive(zip::CompressionMethod::Stored)),
        file("a.npz", archive(zip::CompressionMethod::Deflated)),
        files,
    ]
}

/// Pictures with a CSV file of their classes.
pub fn labels() -> Vec<Files> {
    let pictures = (0..4).map(|number| (format!("images/{number}.png"), picture(ImageFormat::Png, true)));
    let mut files: Files = pictures.collect();
    files.push((
        "labels.csv".into(),
        b"file,label,more\n0,a,1\n1.png,b,2\nimages/2.png,a,3\n\"3\",b,4\n".to_vec(),
    ));
    vec![files]
}

fn tensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let data: Vec<Vec<u8>> =
        tensors.iter().map(|(_, shape)| vec![0x3c; 4 * shape.iter().product::<usize>()]).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), data).expect("data that fit"))
    });
    serialize(views, Some(HashMap::from([("format".into(), "pt".into())]))).expect("tensors")
}

/// Cases for `wgconv conv`.
pub fn conv() -> Vec<Files> {
    let all: [(&str, &[usize]); 4] = [
        ("input", &[1, 2, 5, 4]),
        ("filters", &[3, 2, 3, 3]),
        ("bias", &[3]),
        ("grad_output", &[1, 3, 3, 2]),
    ];
    vec![file("case.safetensors", tensors(&all)), file("case.safetensors", tensors(&all[..2]))]
}

/// Model files.
pub fn models() -> Vec<Files> {
    let all = r#"
name = "all"
input = [1, 12, 12]

[[layers]]
type = "conv2d"
filters = 4
kernel_size = [3, 3]
padding = "same"

[[layers]]
type = "relu"

[[layers]]
type = "conv2d"
name = "again"
filters = 4
kernel_size = 3
padding = [1, 1]
groups = 2
bias = false
initializer = "he_normal"

[[layers]]
type = "add"
inputs = ["again", "relu1"]

[[layers]]
type = "leaky_relu"
slope = 0.1

[[layers]]
type = "max_pool"
kernel_size = 2
stride = 2

[[layers]]
type = "average_pool"
kernel_size = [2, 3]
ceil_mode = true
count_include_pad = false

[[layers]]
type = "flatten"

[[layers]]
type = "dense"
units = 3
"#;
    let small =
        wgconv::network::presets::lenet(wgconv::tensor::ImageShape { height: 12, width: 12, channels: 1 }, 3);
    vec![file("model.toml", all), file("model.toml", small.expect("a preset").to_toml())]
}

/// Lists of convolutions.
pub fn cases() -> Vec<Files> {
    let header = "name,batch,in_channels,in_height,in_width,out_channels,kernel_height,kernel_width,pad_height,\
                  pad_width,stride_height,stride_width,dilation_height,dilation_width,groups\n";
    let rows = "first,1,2,8,8,4,3,3,1,1,1,1,1,1,1\nsecond,2,4,9,7,6,1,1,0,0,2,2,1,1,2\n";
    vec![file("cases.csv", format!("{header}{rows}")), file("cases.csv", format!("{header}{rows}{rows}"))]
}

/// Results to compare.
pub fn results() -> Vec<Files> {
    let row = |ms: f64| {
        format!(
            r#"{{"case":{{"batch":1,"in_channels":2,"in_height":8,"in_width":8,"out_channels":4,"kernel_height":3,"kernel_width":3,"pad_height":1,"pad_width":1,"stride_height":1,"stride_width":1}},"pass":"forward","ms":{ms},"program":"p","version":"1","adapter":"a","backend":"vulkan","warm_cache":false}}
"#
        )
    };
    vec![vec![
        ("a.json".into(), format!("{}{}", row(1.0), row(2.5)).into_bytes()),
        ("b.json".into(), row(2.0).into_bytes()),
    ]]
}
