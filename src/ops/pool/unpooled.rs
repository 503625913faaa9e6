//! A gradient of a max-pool's output, and from it that of the pool's input, in one.

use std::any::Any;
use std::mem;

use super::{MaxUnpool, Store};
use crate::device::DeviceProfile;
use crate::ops::cost::{LAUNCH, travel};
use crate::ops::kernel::{Binding, Implementation, best_first};
use crate::ops::op::{CpuForm, Element, HostBuffer, Op, Operand, Operands, Precision, Read};
use crate::ops::prologue::Prologue;

/// A gradient with respect to the input of a layer, which may be a max-pool's output. Its third operand is that gradient.
pub trait InputGrad: Op + Copy + PartialEq {
    /// The name of the operation that also unpools the gradient.
    const UNPOOLED: &'static str;

    /// The function applied to each value of grad_output as it is read.
    fn prologue(&self) -> Prologue;

    /// The ways to compute the gradient, best guess first. Some store it as `store` says, and bind what that reads; others as
    /// it is.
    fn ways(&self, store: Store, device: &DeviceProfile) -> Vec<Implementation>;
}

/// A gradient `G` of the output of a max-pool, and the [`MaxUnpool`] of it.
///
/// `grad_input[n,2p+r,2q+s,c] = grad[n,p,q,c]` if `winners[n,p,q,c] = 2r + s`, otherwise zero, where grad is what `G` computes,
/// times the derivative of the prologue if there is one. Where kernels have grad in registers, it is never in memory.
///
/// # Shapes
/// The operands of `G`, of which the result is grad_input `[N,H,W,C]`, then winners `[N,P,Q,C]`, then, if the unpooling has a
/// [`Prologue`], pooled `[N,P,Q,C]`: the pool's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnpooledGrad<G> {
    grad: G,
    unpool: MaxUnpool,
}

/// The number of the operand grad_input.
const GRAD_INPUT: usize = 2;

impl<G: InputGrad> UnpooledGrad<G> {
    /// Both; `None` if the gradient is not one of the pool's output.
    pub fn new(grad: G, unpool: MaxUnpool) -> Option<Self> {
        let elements = grad.operands()[GRAD_INPUT].shape.elements();
        (elements == unpool.geometry().output_shape().elements()).then_some(UnpooledGrad { grad, unpool })
    }

    /// The gradient of the pool's output.
    pub fn grad(&self) -> &G {
        &self.grad
    }

    /// What becomes of it.
    pub fn unpool(&self) -> &MaxUnpool {
        &self.unpool
    }

    /// Both as an operation, if `next` is the unpooling of this `operand` of the gradient.
    pub(in crate::ops) fn fused(grad: G, operand: usize, next: &dyn Op) -> Option<Box<dyn Op>> {
        let unpool = (next as &dyn Any).downcast_ref::<MaxUnpool>().filter(|_| operand == GRAD_INPUT)?;
        Some(Box::new(UnpooledGrad::new(grad, *unpool)?))
    }

    /// The number of the operand winners, and of those before it.
    fn winners(&self) -> usize {
        self.grad.operands().len()
    }

    fn pooled_elements(&self) -> usize {
        self.unpool.geometry().output_shape().elements()
    }

    /// Runs the gradient, and then the unpooling, each on its operands.
    fn run<T: Clone + Default>(
        &self,
        operands: &mut Operands<T>,
        grad: impl FnOnce(&mut Operands<T>),
        unpool: impl FnOnce(&mut Operands<T>),
    ) {
        let memory = HostBuffer::zeros(Element::Real, self.pooled_elements());
        let grad_input = mem::replace(&mut operands.as_mut_slice()[GRAD_INPUT], memory);
        let own: Vec<usize> = (0..self.winners()).collect();
        operands.with(&own, grad);
        let buffers = operands.as_mut_slice();
        let grad = mem::take(&mut buffers[GRAD_INPUT]);
        let mut of_unpool = vec![mem::take(&mut buffers[self.winners()]), grad, grad_input];
        of_unpool.extend(buffers.get_mut(self.winners() + 1).map(mem::take));
        let mut of_unpool = Operands::new(of_unpool);
        unpool(&mut of_unpool);
        let mut of_unpool = of_unpool.into_buffers().into_iter();
        let mut next = || of_unpool.next().expect("an operand of the unpooling");
        (buffers[self.winners()], _, buffers[GRAD_INPUT]) = (next(), next(), next());
        buffers.iter_mut().skip(self.winners() + 1).zip(of_unpool).for_each(|(to, from)| *to = from);
    }

    /// The same way, and then the unpooling.
    fn followed_by_unpool(&self, mut way: Implementation, device: &DeviceProfile) -> Implementation {
        let mut unpool = self.unpool.call();
        for (number, binding) in unpool.bindings.iter_mut().skip(2).enumerate() {
            *binding = Binding::Operand(self.winners() + number);
        }
        let [of_input, of_output] =
            [self.unpool.geometry().input_shape(), self.unpool.geometry().output_shape()]
                .map(|shape| shape.elements());
        way.cost.time += LAUNCH + travel(of_input + 2 * of_output, device);
        way.added_by(unpool, GRAD_INPUT, self.pooled_elements())
    }
}

impl<G: InputGrad> Op for UnpooledGrad<G> {
    fn name(&self) -> &'static str {
        G::UNPOOLED
    }

    fn operands(&self) -> Vec<Operand> {
        let of_output = self.unpool.geometry().output_shape();
        let mut operands = self.grad.operands();
        operands[GRAD_INPUT].shape = self.unpool.geometry().input_shape();
        operands.push(self.unpool.winners());
        operands.extend(
            self.unpool.prologue().operand(of_output).map(|operand| Operand { name: "pooled", ..operand }),
        );
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        self.run(operands, |operands| self.grad.define(operands), |operands| self.unpool.define(operands));
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let Some((window, place)) = self.unpool.window_of(index) else { return Some(0.0) };
        if read(self.winners(), window) != f64::from(place) {
            return Some(0.0);
        }
        let grad = self.grad.define_at(read, window)?;
        Some(self.unpool.prologue().define_at(grad, || read(self.winners() + 1, window)))
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let forms = self.grad.cpu_forms().into_iter().map(|grad| {
            let (name, exact_on_integers, amplification) =
                (grad.name, grad.exact_on_integers, grad.amplification);
            let run = move |operands: &mut Operands<f32>| {
                let unpool = self.unpool.cpu_forms().swap_remove(0);
                self.run(operands, |operands| grad.run(operands), |operands| unpool.run(operands));
            };
            let mut form = CpuForm::rounding(name, amplification, run);
            form.exact_on_integers = exact_on_integers;
            form
        });
        forms.collect()
    }

    /// Those that store the gradient as it is are followed by the unpooling.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let (read, stored) = (self.grad.prologue().activation(), self.unpool.prologue().activation());
        // A kernel has one function `derivative`.
        let agree = read.is_none() || stored.is_none() || read == stored;
        let store = match agree {
            true => Store::Unpooled { unpool: self.unpool, winners: self.winners() },
            false => Store::AsItIs,
        };
        let ways = self.grad.ways(store, device).into_iter();
        let ways = ways.map(|way| match way.binds(self.winners()) {
            true => way,
            false => self.followed_by_unpool(way, device),
        });
        best_first(ways.collect())
    }

    fn flops(&self) -> u64 {
        self.grad.flops() + self.unpool.flops()
    }

    fn precision(&self) -> Precision {
        self.unpool.prologue().precision(self.grad.precision())
    }
}
