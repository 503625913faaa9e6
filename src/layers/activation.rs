//! Activations: elementwise functions.

use ::toml::Value;

use super::pytorch::{self, Call};
use super::{Inferred, LayerType, Pytorch, PytorchSite, Registered};
use crate::Result;
use crate::network::{Content, Features, Keys, NetworkBuilder, number};
use crate::ops::activation::{Activation, ActivationForward, ActivationGrad, Saved};
use crate::plan::{BufferId, Site};

const fn without_keys(name: &'static str, read: fn(&mut Keys) -> Result<Content>) -> Registered {
    Registered { name, keys: &[], read }
}

pub(super) const TYPES: &[Registered] = &[
    without_keys("relu", |_| Ok(Content::layer(Activation::Relu))),
    Registered {
        name: "leaky_relu",
        keys: &[&["slope"]],
        read: |keys| {
            let slope = keys.optional("slope", Keys::number)?.unwrap_or(0.01);
            Ok(Content::layer(Activation::LeakyRelu { slope }))
        },
    },
    Registered {
        name: "elu",
        keys: &[&["alpha"]],
        read: |keys| {
            let alpha = keys.optional("alpha", Keys::number)?.unwrap_or(1.0);
            Ok(Content::layer(Activation::Elu { alpha }))
        },
    },
    without_keys("sigmoid", |_| Ok(Content::layer(Activation::Sigmoid))),
    without_keys("tanh", |_| Ok(Content::layer(Activation::Tanh))),
    without_keys("gelu", |_| Ok(Content::layer(Activation::Gelu))),
    without_keys("silu", |_| Ok(Content::layer(Activation::Silu))),
    without_keys("hard_swish", |_| Ok(Content::layer(Activation::HardSwish))),
    Registered {
        name: "scale",
        keys: &[&["factor"]],
        read: |keys| Ok(Content::layer(Activation::Scale { factor: keys.required("factor", Keys::number)? })),
    },
];

impl LayerType for Activation {
    fn type_name(&self) -> &'static str {
        self.name()
    }

    fn keys(&self) -> Vec<(&'static str, Value)> {
        match *self {
            Activation::LeakyRelu { slope } => vec![("slope", number(slope))],
            Activation::Elu { alpha } => vec![("alpha", number(alpha))],
            Activation::Scale { factor } => vec![("factor", number(factor))],
            _ => Vec::new(),
        }
    }

    fn infer(&self, inputs: &[Features]) -> Result<Inferred> {
        self.checked()?;
        Ok(Inferred::without_variables(inputs[0]))
    }

    fn pytorch(&self, site: &PytorchSite<'_>) -> Result<Pytorch> {
        let module = match *self {
            Activation::Relu => Call::new("nn.ReLU"),
            Activation::LeakyRelu { slope } => Call::new("nn.LeakyReLU").with(pytorch::number(slope)),
            Activation::Elu { alpha } => Call::new("nn.ELU").with(pytorch::number(alpha)),
            Activation::Sigmoid => Call::new("nn.Sigmoid"),
            Activation::Tanh => Call::new("nn.Tanh"),
            Activation::Gelu => Call::new("nn.GELU"),
            Activation::Silu => Call::new("nn.SiLU"),
            Activation::HardSwish => Call::new("nn.Hardswish"),
            Activation::Scale { factor } => {
                return Ok(Pytorch::expression(format!("{} * {}", pytorch::number(factor), site.input())));
            }
        };
        Ok(site.module(module))
    }

    fn forward(&self, site: &mut Site<'_>) -> Result<BufferId> {
        let shape = site.shape(site.input());
        let op = ActivationForward { activation: *self, elements: shape.elements() };
        let output = site.output(shape);
        site.push(op, &[site.input(), output]);
        Ok(output)
    }

    fn backward(&self, site: &mut Site<'_>, grad_output: BufferId) -> Result<Vec<Option<BufferId>>> {
        let saved = match self.saves() {
            Saved::Input => site.input(),
            Saved::Output => site.forward_output(),
        };
        let op = ActivationGrad { activation: *self, elements: site.shape(saved).elements() };
        let grad_input = site.grad_input(0);
        if let Some(grad_input) = grad_input {
            site.push(op, &[saved, grad_output, grad_input]);
        }
        Ok(vec![grad_input])
    }
}

impl NetworkBuilder {
    /// Adds an activation.
    pub fn activation(self, activation: Activation) -> Self {
        self.layer(activation)
    }

    /// Adds a layer that multiplies everything by a constant, such as logits.
    pub fn scale(self, factor: f32) -> Self {
        self.activation(Activation::Scale { factor })
    }

    /// Adds a ReLU.
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }
}
