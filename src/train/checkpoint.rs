//! Weights in files, as safetensors with PyTorch's names and layouts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::files::write_durably;
use crate::network::Network;
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};

/// Writes parameters, given in the order of [`Network::parameters`], under their own names: `conv1.weight`
/// `[out, in/groups, kh, kw]`, `dense1.weight` `[out, in]`, `conv1.bias` `[out]`. PyTorch loads them as they
/// are into a module whose layers have these names.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; a file that was there before is then as it was.
pub fn save_weights(path: &Path, network: &Network, parameters: &[Vec<f32>]) -> Result<()> {
    let tensors: Vec<(String, Tensor)> = network
        .parameters()
        .zip(parameters)
        .map(|(parameter, values)| (parameter.name.clone(), parameter.to_pytorch(values)))
        .collect();
    save_tensors(path, &tensors)
}

/// Writes tensors under their names as a safetensors file that says `format: pt`, as PyTorch's users expect.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written; a file that was there before is then as it was.
///
/// # Panics
/// When two tensors have the same name.
pub fn save_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let views = tensors.iter().map(|(name, tensor)| {
        let bytes = bytemuck::cast_slice(tensor.data());
        let view = TensorView::new(Dtype::F32, tensor.shape().sizes().to_vec(), bytes);
        (name.as_str(), view.expect("a tensor's data fit its shape"))
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = serialize(views, Some(metadata)).expect("names are unique and data fit their shapes");
    write_durably(path, &bytes)
}

/// Reads parameters for `network`, in the order of [`Network::parameters`].
///
/// # Errors
/// [`Error::File`] when the file is damaged, or its tensors are not exactly the network's.
pub fn load_weights(path: &Path, network: &Network) -> Result<Vec<Vec<f32>>> {
    const HEADER_ALLOWANCE: u64 = 1 << 20;
    let most = 4 * network.parameter_count() as u64 + HEADER_ALLOWANCE;
    let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size > most {
        return Err(Error::file(path, format!("weights of {}, at most {most} bytes", network.name()), size));
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let file =
        SafeTensors::deserialize(&bytes).map_err(|error| Error::file(path, "a safetensors file", error))?;
    let names: Vec<&str> = network.parameters().map(|parameter| parameter.name.as_str()).collect();
    if let Some(stranger) = file.names().into_iter().find(|name| !names.contains(name)) {
        return Err(Error::file(path, format!("the tensors {}", names.join(", ")), stranger));
    }
    network
        .parameters()
        .map(|parameter| {
            let what = format!("tensor {} of f32 {}", parameter.name, parameter.pytorch_shape());
            let view = file.tensor(&parameter.name).map_err(|_| Error::file(path, &what, "none"))?;
            if view.dtype() != Dtype::F32 || view.shape() != parameter.pytorch_shape().sizes() {
                let found = format!("{:?} {:?}", view.dtype(), view.shape());
                return Err(Error::file(path, what, found));
            }
            let values = bytemuck::pod_collect_to_vec(view.data());
            parameter.from_pytorch(&Tensor::new(Shape::checked("weights", view.shape())?, values)?)
        })
        .collect()
}
