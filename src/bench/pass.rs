//! The three passes of a convolution.

use std::fmt;

use crate::ops::Op;
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};

/// A pass of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradient with respect to the filters.
    GradFilters,
    /// The gradient with respect to the input.
    GradInput,
}

impl Pass {
    /// All passes, in the order of a training step.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::GradFilters, Pass::GradInput];

    /// `forward`, `grad_filters` or `grad_input`.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::GradFilters => "grad_filters",
            Pass::GradInput => "grad_input",
        }
    }

    /// The pass with this name.
    pub fn find(name: &str) -> Option<Pass> {
        Pass::ALL.into_iter().find(|pass| pass.name() == name)
    }

    /// The operation that computes this pass.
    pub fn op(self, geometry: ConvGeometry) -> Box<dyn Op> {
        match self {
            Pass::Forward => Box::new(ConvForward::new(geometry)),
            Pass::GradFilters => Box::new(ConvGradFilters::new(geometry)),
            Pass::GradInput => Box::new(ConvGradInput::new(geometry)),
        }
    }
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
