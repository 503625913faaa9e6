//! Whitening: its filters are PyTorch's, they decorrelate what they see, and they come from the training images.

#[path = "golden/file.rs"]
mod file;

use std::ops::ControlFlow;

use file::{File, Stored};
use serde::Deserialize;
use wgconv::Result;
use wgconv::data::{DataSplits, synthetic};
use wgconv::host::CpuExecutor;
use wgconv::layers::Whitening;
use wgconv::network::{Network, NetworkFile, Sample, Weights};
use wgconv::tensor::ImageShape;
use wgconv::train::{TrainSettings, Trainer};

/// The description of whitening.safetensors.
#[derive(Deserialize)]
struct Described {
    whitening: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    eps: f32,
}

fn network(image: ImageShape, whitening: Whitening) -> Network {
    Network::builder("whitened", image).layer(whitening).flatten().dense(10).build().unwrap()
}

/// The filters `[K,C,R,S]` that a sample gives.
fn fitted(network: &Network, images: &[Vec<f32>]) -> Weights {
    let mut weights = network.initial_weights(0).unwrap();
    let pixels = |number: usize| images[number].clone();
    network.fit(&mut weights, &Sample::new(network.input(), images.len(), &pixels)).unwrap();
    weights
}

/// Images with their channels last.
fn images(stored: &Stored) -> (ImageShape, Vec<Vec<f32>>) {
    let &[_, channels, height, width] = stored.sizes.as_slice() else { panic!("images have four axes") };
    let image = ImageShape { height, width, channels };
    let values: Vec<f32> = stored.inside().reals().iter().map(|&value| value as f32).collect();
    (image, values.chunks(image.elements()).map(<[f32]>::to_vec).collect())
}

#[test]
fn filters_are_those_of_pytorch() {
    let file = File::read("whitening.safetensors");
    for Case { name, eps } in file.described::<Described>().whitening {
        let (image, images) = images(&file.given[&format!("whitening/{name}/images")]);
        let weight = &file.computed[&format!("whitening/{name}/weight")];
        let kernel_size = [weight.sizes[2], weight.sizes[3]];
        let network = network(image, Whitening { epsilon: eps, ..Whitening::new(kernel_size) });
        let weights = fitted(&network, &images);
        let found = weights.get("whitening1.weight").unwrap();
        assert_eq!(found.shape().sizes(), weight.sizes, "{name}");
        let worst = found
            .data()
            .iter()
            .zip(weight.values.reals())
            .map(|(&found, expected)| (f64::from(found) - expected).abs() / expected.abs().max(1.0));
        let worst = worst.fold(0.0, f64::max);
        println!("{name}: within {worst:.1e}");
        assert!(worst < 1e-6, "{name}: off by {worst:e}");
        assert!(weights.get("whitening1.bias").unwrap().data().iter().all(|&bias| bias == 0.0), "{name}");
    }
}

/// What the first filters see of the sample is uncorrelated, of mean square 1 where epsilon is small against it.
#[test]
fn what_filters_see_is_white() {
    let file = File::read("whitening.safetensors");
    let (image, images) = images(&file.given["whitening/square/images"]);
    let whitening = Whitening { epsilon: 1e-9, ..Whitening::new([2, 2]) };
    let network = network(image, whitening);
    let weights = fitted(&network, &images);
    let filters: Vec<&[f32]> = weights.get("whitening1.weight").unwrap().data().chunks(12).take(12).collect();
    let mut products = vec![0.0; 144];
    let mut patches = 0.0;
    for pixels in &images {
        for (row, column) in (0..image.height - 1).flat_map(|row| (0..image.width - 1).map(move |c| (row, c)))
        {
            let at = |index: usize| {
                let (channel, r, s) = (index / 4, index % 4 / 2, index % 2);
                f64::from(pixels[((row + r) * image.width + column + s) * 3 + channel])
            };
            let seen: Vec<f64> = filters
                .iter()
                .map(|filter| filter.iter().enumerate().map(|(i, &w)| f64::from(w) * at(i)).sum())
                .collect();
            for (index, product) in products.iter_mut().enumerate() {
                *product += seen[index / 12] * seen[index % 12];
            }
            patches += 1.0;
        }
    }
    for (index, product) in products.into_iter().enumerate() {
        let expected = f64::from(u8::from(index / 12 == index % 12));
        assert!((product / patches - expected).abs() < 1e-5, "{index}: {}", product / patches);
    }
}

/// The filters of a run come from its images, and stay as they are; the bias is trained.
#[test]
fn a_training_begins_with_filters_of_its_images_and_keeps_them() {
    let data: DataSplits = synthetic(3, 64, 16);
    let network = network(data.train.image, Whitening::new([2, 2]));
    let settings = TrainSettings { batch_size: 16, ..TrainSettings::default() };
    let start = |data: &DataSplits| {
        Trainer::new(Box::new(CpuExecutor::new()), network.clone(), data, settings.clone()).unwrap()
    };
    let mut trainer = start(&data);
    let before = trainer.weights().unwrap();
    assert_ne!(before.get("whitening1.weight"), network.initial_weights(0).unwrap().get("whitening1.weight"));
    trainer.run_epoch(|_| ControlFlow::Continue(())).unwrap();
    let after = trainer.weights().unwrap();
    assert_eq!(before.get("whitening1.weight"), after.get("whitening1.weight"));
    assert_ne!(before.get("whitening1.bias"), after.get("whitening1.bias"));
    let other = start(&synthetic(4, 64, 16)).weights().unwrap();
    assert_ne!(before.get("whitening1.weight"), other.get("whitening1.weight"));
}

fn parsed(layers: &str) -> Result<Network> {
    let image = ImageShape { height: 40, width: 40, channels: 3 };
    NetworkFile::parse(&format!("name = \"test\"\n{layers}"))?.build(Some(image))
}

#[test]
fn it_is_a_first_layer_of_patches_that_are_not_too_large() {
    let whitening = |keys: &str| parsed(&format!("[[layers]]\ntype = \"whitening\"\n{keys}"));
    let network = whitening("kernel_size = [2, 3]\neps = 0.1\nbias = false").unwrap();
    assert_eq!(network.parameter_count(), 2 * 18 * 18);
    let again = NetworkFile::parse(&network.to_toml()).unwrap().build(Some(network.input())).unwrap();
    assert_eq!(again, network);
    let refused = |result: Result<Network>| result.unwrap_err().to_string();
    assert_eq!(
        refused(whitening("kernel_size = 20")),
        "layer whitening1 (whitening): expected patches of at most 1024 values, found 1200"
    );
    assert!(
        refused(whitening("kernel_size = 2\neps = 0.0")).contains("expected a finite eps above 0, found 0")
    );
    let second = "[[layers]]\ntype = \"relu\"\n[[layers]]\ntype = \"whitening\"\nkernel_size = 2";
    assert_eq!(
        refused(parsed(second)),
        "layer whitening1 (whitening): expected to read the images that the network is trained on, found relu1"
    );
}
