//! Weights in files, as safetensors with PyTorch's names and layouts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView, serialize};

use crate::files::{self, write_durably};
use crate::network::{Network, Weights};
use crate::ops::Element;
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result, host_memory};

/// Writes weights under their own names: `conv1.weight` `[out, in/groups, kh, kw]`, `dense1.weight` `[out, in]`,
/// `conv1.bias` `[out]`. PyTorch loads them as they are into a module whose layers have these names. `about` is what the
/// file's header says of them, by name, such as [`RunConfig::about_weights`](super::RunConfig::about_weights).
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; a file that was there before is then as it was.
pub fn save_weights(path: &Path, weights: &Weights, about: &[(String, String)]) -> Result<()> {
    save_tensors(path, weights.iter(), about)
}

/// Writes tensors under their names as a safetensors file whose header says `format: pt`, as PyTorch's users expect, and
/// what is in `about`, by name.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; a file that was there before is then as it was.
///
/// # Panics
/// When two tensors have the same name.
pub fn save_tensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    about: &[(String, String)],
) -> Result<()> {
    let views = tensors.into_iter().map(|(name, tensor)| {
        let bytes = bytemuck::cast_slice(tensor.data());
        let view = TensorView::new(Dtype::F32, tensor.shape().sizes().to_vec(), bytes);
        (name, view.expect("a tensor's data fit its shape"))
    });
    let mut metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    metadata.extend(about.iter().cloned());
    let unordered = HashMap::from_iter(metadata.clone());
    let mut bytes = serialize(views, Some(unordered)).expect("names are unique and data fit their shapes");
    put_in_order(&mut bytes, &metadata);
    write_durably(path, &bytes)
}

/// Sorts the metadata in the header of a safetensors file, which come in any order, so that the same content gives the same
/// bytes.
fn put_in_order(file: &mut [u8], metadata: &BTreeMap<String, String>) {
    const START: &str = "{\"__metadata__\":";
    let sorted = START.to_owned() + &serde_json::to_string(metadata).expect("plain text");
    let header = &mut file[size_of::<u64>()..];
    assert!(header.starts_with(START.as_bytes()), "a header that begins with the metadata");
    header[..sorted.len()].copy_from_slice(sorted.as_bytes());
}

/// The content of a safetensors file, unparsed. The file's tensors hold at most `most` bytes; messages say so with
/// `expected`.
///
/// The header says how long the file is, so that a file of another kind, or one without an end, is refused before it
/// is read.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] when it is damaged or too long; [`Error::Memory`] when there
/// is too little memory for it.
pub fn read_safetensors(path: &Path, most: u64, expected: &str) -> Result<Vec<u8>> {
    const LENGTH: usize = size_of::<u64>();
    let damaged = |found: &dyn ToString| Error::file(path, "a safetensors file", found.to_string());
    let mut file = files::open(path)?;
    let mut read = |content: &mut Vec<u8>, bytes: u64| {
        let found = (&mut file).take(bytes).read_to_end(content).map_err(Error::io("read", path))?;
        if (found as u64) < bytes { Err(damaged(&"one that is cut off")) } else { Ok(()) }
    };
    let mut content = Vec::new();
    read(&mut content, LENGTH as u64)?;
    let header_length = u64::from_le_bytes(content[..].try_into().expect("as many bytes as were read"));
    if header_length > files::MOST_TEXT {
        return Err(damaged(&format!("a header of {header_length} bytes")));
    }
    read(&mut content, header_length)?;
    let header: Metadata = serde_json::from_slice(&content[LENGTH..]).map_err(|error| damaged(&error))?;
    let bytes = header.data_len() as u64;
    if bytes > most {
        return Err(Error::file(path, expected, format!("{bytes} bytes")));
    }
    let what = format!("reading {}", path.display());
    host_memory::check(&what, bytes, "a smaller file")?;
    let mut whole = host_memory::reserved(&what, content.len() + header.data_len(), "a smaller file")?;
    whole.append(&mut content);
    read(&mut whole, bytes)?;
    match (&file).take(1).read_to_end(&mut content).map_err(Error::io("read", path))? {
        0 => Ok(whole),
        _ => Err(damaged(&"more than its header tells")),
    }
}

/// Reads the weights of any network: the f32 tensors of a safetensors file. Other tensors, such as integer counters,
/// are left out.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::File`] when it is damaged or holds no tensor of f32;
/// [`Error::Memory`] when there is too little memory for it.
pub fn load_any_weights(path: &Path) -> Result<Weights> {
    const EXPECTED: &str = "a safetensors file with weights of f32";
    let bytes = read_safetensors(path, u64::MAX, EXPECTED)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::file(path, EXPECTED, error))?;
    let tensors = file.tensors().into_iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    // A scalar has no axes, and no layer has a scalar.
    let tensors = tensors.filter(|(_, view)| !view.shape().is_empty() && !view.shape().contains(&0));
    let weights: Weights = tensors
        .map(|(name, view)| {
            let values = bytemuck::pod_collect_to_vec(view.data());
            Ok((name, Tensor::new(Shape::checked("weights", view.shape())?, values)?))
        })
        .collect::<Result<_>>()?;
    match weights.is_empty() {
        true => Err(Error::file(path, EXPECTED, "none")),
        false => Ok(weights),
    }
}

/// Reads the weights of `network`.
///
/// # Errors
/// [`Error::File`] when the file is damaged, or its tensors are not exactly the network's variables.
pub fn load_weights(path: &Path, network: &Network) -> Result<Weights> {
    // A file with a superfluous tensor may pass this check, so that the error can name the tensor.
    const ALLOWANCE: u64 = 1 << 20;
    let elements = network.variables().map(|variable| variable.shape.elements()).sum();
    let most = Element::Real.bytes(elements) + ALLOWANCE;
    let bytes =
        read_safetensors(path, most, &format!("weights of {}, at most {most} bytes", network.name()))?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|error| Error::file(path, "a safetensors file", error))?;
    let names = || network.variables().map(|variable| variable.name.as_str());
    let known: HashSet<&str> = names().collect();
    if let Some(stranger) = file.names().into_iter().find(|name| !known.contains(name)) {
        let expected = format!("the tensors {}", names().collect::<Vec<_>>().join(", "));
        return Err(Error::file(path, expected, stranger));
    }
    network
        .variables()
        .map(|variable| {
            let what = format!("tensor {} of f32 {}", variable.name, variable.pytorch_shape());
            let view = file.tensor(&variable.name).map_err(|_| Error::file(path, &what, "none"))?;
            if view.dtype() != Dtype::F32 || view.shape() != variable.pytorch_shape().sizes() {
                let found = format!("{:?} {:?}", view.dtype(), view.shape());
                return Err(Error::file(path, what, found));
            }
            let values = bytemuck::pod_collect_to_vec(view.data());
            let tensor = Tensor::new(Shape::checked("weights", view.shape())?, values)?;
            Ok((variable.name.clone(), tensor))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_weights_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensor = Tensor::new([2], vec![1.0, 2.0]).unwrap();
        let about: Vec<(String, String)> =
            (0..9).map(|number| (format!("about {number}"), format!("\"{number}\""))).collect();
        let save = || {
            save_tensors(&path, [("a.weight", &tensor), ("b.weight", &tensor)], &about).unwrap();
            std::fs::read(&path).unwrap()
        };
        let first = save();
        assert!((0..20).all(|_| save() == first));
        let (_, header) = SafeTensors::read_metadata(&first).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        assert_eq!((metadata.len(), metadata["format"].as_str()), (10, "pt"));
        assert!(about.iter().all(|(name, value)| metadata[name] == *value));
        let file = SafeTensors::deserialize(&first).unwrap();
        assert_eq!(file.tensor("b.weight").unwrap().shape(), [2]);
    }
}
