//! Writing a network as the text of a model file.

use ::toml::Value;

use super::{Layer, LayerInput, Network};

impl Network {
    /// The model file that [`NetworkFile`](super::NetworkFile) reads back as an equal network. Keys that hold their
    /// defaults are left out, and composite blocks appear as the layers that they were expanded to.
    pub fn to_toml(&self) -> String {
        let input = self.input();
        let mut text = format!(
            "name = {}\ninput = [{}, {}, {}]\n",
            Value::from(self.name()),
            input.channels,
            input.height,
            input.width
        );
        for (index, layer) in self.layers().iter().enumerate() {
            text.push_str("\n[[layers]]\n");
            for (key, value) in self.keys(index, layer) {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text
    }

    fn keys(&self, index: usize, layer: &Layer) -> Vec<(&'static str, Value)> {
        let mut keys = vec![("type", layer.kind.type_name().into()), ("name", layer.name.as_str().into())];
        keys.extend(layer.kind.keys());
        if layer.inputs != [LayerInput::before(index)] {
            let names: Vec<&str> = layer.inputs.iter().map(|input| self.input_name(*input)).collect();
            keys.push(("inputs", names.into()));
        }
        keys
    }
}
