//! How kernels store the results of a gradient.

use super::MaxUnpool;
use crate::ops::kernel::{Binding, KernelCall, shader};

/// How a kernel stores the results that it passes to `store_result`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store {
    /// As they are.
    AsItIs,
    /// As the gradient of a max-pool's output: what is stored is that of the pool's input.
    Unpooled {
        /// How the one becomes the other.
        unpool: MaxUnpool,
        /// The number of the operand winners; what the prologue reads comes after it.
        winners: usize,
    },
}

impl Store {
    /// Whether results can be stored four at a time if four neighbours along the last axis can.
    pub(in crate::ops) fn takes_quads(&self) -> bool {
        match self {
            Store::AsItIs => true,
            Store::Unpooled { unpool, .. } => unpool.geometry().channels.is_multiple_of(4),
        }
    }

    /// Adds the function `store_result` to a kernel that calls it with an index and a result, or with quads of them, and its
    /// bindings; grad_input, which is what is stored, is that of number `grad_input`.
    pub(in crate::ops) fn complete(&self, call: &mut KernelCall, grad_input: u32, quads: bool) {
        call.source.sizes.push(("GRAD_INPUT_BINDING", grad_input));
        let Store::Unpooled { unpool, winners } = self else {
            call.source.files.extend(shader!("pool/store_as_it_is.wgsl").files);
            return;
        };
        let geometry = unpool.geometry();
        call.source.files.extend(shader!("pool/store_unpooled.wgsl").files);
        call.bind("WINNERS_BINDING", Binding::Operand(*winners));
        call.constants.extend([
            ("POOLED_HEIGHT", geometry.height.output.into()),
            ("POOLED_WIDTH", geometry.width.output.into()),
            ("POOLED_CHANNELS", geometry.channels.into()),
            ("UNPOOLED_HEIGHT", geometry.height.input.into()),
            ("UNPOOLED_WIDTH", geometry.width.input.into()),
        ]);
        let Some(activation) = unpool.prologue().activation() else {
            call.source.files.extend(shader!("pool/unpooled_as_it_is.wgsl").files);
            return;
        };
        call.source.files.extend(shader!("pool/unpooled_times_derivative.wgsl").files);
        call.source.files.extend(match quads {
            true => shader!("prologue/derivative_quads.wgsl").files,
            false => shader!("prologue/derivative_scalars.wgsl").files,
        });
        call.bind("POOLED_BINDING", Binding::Operand(winners + 1));
        // A kernel that reads a gradient through the same activation has the formula.
        let formula = activation.formula();
        if !formula.files.iter().all(|file| call.source.files.contains(file)) {
            call.source.files.extend(formula.files);
            call.constants.extend(activation.constants());
        }
    }
}
