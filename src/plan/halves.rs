//! Mixed precision: a plan whose large tensors are stored as halves.

use super::{BufferSpec, Plan, Role};
use crate::ops::Element;
use crate::ops::halves::InHalves;

impl Plan {
    /// The same plan with the outputs of its layers and their gradients stored as halves, in half the memory. Parameters,
    /// their gradients, statistics, the loss and what it reads and writes stay reals, and so does what is
    /// [kept](Plan::keep).
    ///
    /// Gradients below 6e-8 become zero, unless the loss is [scaled](super::LossOptions::scaled).
    pub fn in_halves(mut self) -> Plan {
        let arena_of = self.arena_of_buffers();
        let can_be = |(buffer, arena): (&BufferSpec, &Option<usize>)| {
            let is_of_layers = matches!(buffer.role, Role::Activation | Role::Gradient);
            // Tensors of one axis are statistics and the like.
            let is_large = buffer.element == Element::Real && buffer.shape.sizes().len() > 1;
            is_of_layers && is_large && arena.is_none() && !buffer.kept
        };
        let mut halves: Vec<bool> = self.buffers.iter().zip(&arena_of).map(can_be).collect();
        for step in self.steps() {
            for (operand, id) in step.operands.iter().enumerate() {
                halves[id.index()] &= step.op.takes_halves(operand);
            }
        }
        for (buffer, _) in self.buffers.iter_mut().zip(&halves).filter(|(_, is_half)| **is_half) {
            buffer.element = Element::Half;
        }
        for pass in [&mut self.forward, &mut self.backward, &mut self.update] {
            for mut step in std::mem::take(pass) {
                let of_step = step.operands.iter().map(|id| halves[id.index()]).collect();
                step.op = InHalves::wrap(step.op, of_step);
                pass.push(step);
            }
        }
        self
    }
}
