//! Reading the files written by tests/golden/make.py.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use wgconv::ops::{Element, HostBuffer};

/// A tensor in PyTorch's layout.
#[derive(Clone)]
pub struct Stored {
    pub sizes: Vec<usize>,
    pub values: HostBuffer<f64>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Stored>;

/// A file of tensors for PyTorch and of its results.
pub struct File {
    description: serde_json::Value,
    /// The tensors that PyTorch was given: float32 or integers.
    pub given: Tensors,
    /// The tensors that it computed: float64.
    pub computed: Tensors,
}

impl Stored {
    /// The values in wgconv's layout: images and filters with their channels last.
    pub fn inside(&self) -> HostBuffer<f64> {
        let &[_, channels, height, width] = self.sizes.as_slice() else { return self.values.clone() };
        let positions = height * width;
        // [outer, channels, positions] -> [outer, positions, channels]
        let order = (0..self.values.len()).map(|index| {
            let (outer, position, channel) =
                (index / channels / positions, index / channels % positions, index % channels);
            (outer * channels + channel) * positions + position
        });
        match self.values.element() {
            Element::Real | Element::Half => {
                HostBuffer::real(order.map(|index| self.values.reals()[index]).collect())
            }
            Element::Index => HostBuffer::index(order.map(|index| self.values.indices()[index]).collect()),
            Element::Byte => HostBuffer::byte(order.map(|index| self.values.bytes()[index]).collect()),
        }
    }
}

impl File {
    /// Reads a file of tests/golden.
    pub fn read(name: &str) -> File {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let metadata = header.metadata().as_ref().expect("metadata");
        let description = serde_json::from_str(&metadata["description"]).expect("JSON");
        let mut file = File { description, given: Tensors::new(), computed: Tensors::new() };
        for (name, view) in SafeTensors::deserialize(&bytes).expect("a safetensors file").iter() {
            let values = content(view.dtype(), view.data());
            let tensors = if view.dtype() == Dtype::F64 { &mut file.computed } else { &mut file.given };
            tensors.insert(name.to_string(), Stored { sizes: view.shape().to_vec(), values });
        }
        file
    }

    /// The file's description of its tensors.
    pub fn described<T: DeserializeOwned>(&self) -> T {
        T::deserialize(&self.description).unwrap_or_else(|error| panic!("description: {error}"))
    }
}

fn content(dtype: Dtype, bytes: &[u8]) -> HostBuffer<f64> {
    match dtype {
        Dtype::F64 => HostBuffer::real(bytemuck::pod_collect_to_vec(bytes)),
        Dtype::F32 => {
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
            HostBuffer::real(values.into_iter().map(f64::from).collect())
        }
        Dtype::I64 => {
            let values: Vec<i64> = bytemuck::pod_collect_to_vec(bytes);
            HostBuffer::index(values.into_iter().map(|value| value.try_into().expect("an index")).collect())
        }
        Dtype::U8 => HostBuffer::byte(bytes.to_vec()),
        other => panic!("expected f32, f64, i64 or u8, found {other:?}"),
    }
}
