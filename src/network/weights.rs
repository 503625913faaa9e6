//! The values of a network's variables, by name.

use std::collections::BTreeMap;

use super::{Network, Variable};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Values of variables under their names, in PyTorch's layouts: the content of a file of weights.
///
/// Filters are `[out, in/groups, kh, kw]`, the weight of a dense layer `[out, in]`, vectors `[out]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// The tensor with this name, for changing it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        self.0.get_mut(name)
    }

    /// Stores a tensor under a name, and returns the one that it replaces.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.0.insert(name.into(), tensor)
    }

    /// All tensors with their names, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies the values of `other` whose names and shapes also occur here, except for names that match a pattern of
    /// `kept` (`*` stands for any characters).
    pub fn adopt(&mut self, other: &Weights, kept: &[String]) -> Adopted {
        let mut adopted = Adopted::default();
        for (name, tensor) in &mut self.0 {
            match other.get(name) {
                _ if kept.iter().any(|pattern| matches(pattern, name)) => adopted.kept.push(name.clone()),
                Some(found) if found.shape() == tensor.shape() => {
                    tensor.clone_from(found);
                    adopted.taken.push(name.clone());
                }
                Some(found) => adopted.kept.push(format!("{name} ({} there)", found.shape())),
                None => adopted.kept.push(name.clone()),
            }
        }
        let others = other.0.keys().filter(|name| !self.0.contains_key(*name));
        adopted.left = others.cloned().collect();
        adopted
    }

    /// The values of a variable, in the internal layout.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no tensor of its name, or its shape differs.
    pub fn values(&self, variable: &Variable) -> Result<Vec<f32>> {
        let expected = || format!("a tensor of shape {}", variable.pytorch_shape());
        let tensor =
            self.get(&variable.name).ok_or_else(|| Error::invalid(&variable.name, expected(), "none"))?;
        variable.from_pytorch(tensor)
    }
}

/// The result of [`Weights::adopt`], as names of variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Copied from the other weights.
    pub taken: Vec<String>,
    /// Kept as they were; with the other shape, if that is the reason.
    pub kept: Vec<String>,
    /// Names in the other weights that do not occur here.
    pub left: Vec<String>,
}

impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(tensors: I) -> Self {
        Weights(tensors.into_iter().collect())
    }
}

impl Network {
    /// The values that training starts from; the same seed gives the same values on every platform.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is too little memory.
    pub fn initial_weights(&self, seed: u64) -> Result<Weights> {
        let streams = 0..;
        let initial = self.variables().zip(streams).map(|(variable, stream)| {
            let values = variable.initial_values(seed, stream);
            Ok((variable.name.clone(), variable.to_pytorch(&values)?))
        });
        initial.collect()
    }

    /// Checks that `weights` hold every variable in its shape, and no others.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first that is missing, has another shape, or belongs to no layer.
    pub fn check_weights(&self, weights: &Weights) -> Result<()> {
        for variable in self.variables() {
            let shape = variable.pytorch_shape();
            match weights.get(&variable.name) {
                Some(tensor) if *tensor.shape() == shape => {}
                found => {
                    let found = found.map_or("none".into(), |tensor| tensor.shape().to_string());
                    return Err(Error::invalid(&variable.name, format!("a tensor of shape {shape}"), found));
                }
            }
        }
        let belongs = |name: &str| self.variables().any(|variable| variable.name == name);
        match weights.iter().find(|(name, _)| weights.len() > self.variables().count() && !belongs(name)) {
            Some((stranger, _)) => Err(Error::invalid("weights", "the network's variables alone", stranger)),
            None => Ok(()),
        }
    }
}

/// Whether a name matches a pattern in which `*` stands for any characters, or none.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    // Taking the first occurrence of each part leaves the most text for the parts after it.
    let rest = middle.iter().try_fold(rest, |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]));
    rest.is_some_and(|rest| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("conv1.weight", "conv1.weight", true),
            ("conv1.weight", "conv1.weights", false),
            ("conv1.*", "conv1.bias", true),
            ("conv1.*", "conv10.bias", false),
            ("*.bias", "a.conv1.bias", true),
            ("*.bias", "bias", false),
            ("*", "anything", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("", "a", false),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
