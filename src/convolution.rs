//! Convolution of host tensors on any executor, with one function for each pass.
//!
//! Layouts are the internal ones: input `[N,H,W,C]`, filters `[K,R,S,C/groups]`, output `[N,P,Q,K]`;
//! [`Tensor::permuted`] converts from and to PyTorch's.
//!
//! Infinities and NaN have the definition's effect, in each of the tensors and on every device: they reach the results
//! whose terms they are in, and no others. For that the tensors are looked through once, and where a value is not finite
//! the pass takes an implementation that is slower. The steps of a [`Plan`] do without: there the zeros of the padding
//! may meet an infinite filter and give NaN at the edge, and neighbours of a value that is not finite may be NaN. A training
//! stops at a loss that is not finite.

mod literal;

use std::sync::Arc;

use self::literal::Literal;
use crate::ops::bias::BiasGrad;
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::{Element, Epilogue, HostBuffer, Op};
use crate::plan::{Executor, Plan};
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result, host_memory};

/// The output of a convolution, plus a bias for each output channel if there is one.
///
/// `output[n,p,q,k] = bias[k] + sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c]`, with
/// `h = p*stride - padding + r*dilation`; terms outside the input are zero.
///
/// # Errors
/// [`Error::Invalid`] for a tensor whose shape does not match `geometry`; [`Error::Device`] when the device failed.
pub fn forward(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    input: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let epilogue = Epilogue { bias: bias.is_some(), ..Epilogue::NONE };
    let given: Vec<&Tensor> = [input, filters].into_iter().chain(bias).collect();
    convolve(executor, ConvForward::new(*geometry).with_epilogue(epilogue), &given, filters)
}

/// Gradient of the loss with respect to the filters; see [`ConvGradFilters`].
///
/// # Errors
/// Those of [`forward`].
pub fn grad_filters(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    input: &Tensor,
    grad_output: &Tensor,
) -> Result<Tensor> {
    convolve(executor, ConvGradFilters::new(*geometry), &[input, grad_output], grad_output)
}

/// Gradient of the loss with respect to the input; see [`ConvGradInput`].
///
/// # Errors
/// Those of [`forward`].
pub fn grad_input(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    filters: &Tensor,
    grad_output: &Tensor,
) -> Result<Tensor> {
    convolve(executor, ConvGradInput::new(*geometry), &[filters, grad_output], filters)
}

/// Gradient of the loss with respect to the bias: `grad_bias[k] = sum over n,p,q of grad_output[n,p,q,k]`.
///
/// # Errors
/// Those of [`forward`].
pub fn grad_bias(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    grad_output: &Tensor,
) -> Result<Tensor> {
    expect_shape("grad_bias: grad_output", &geometry.output_shape(), grad_output.shape())?;
    let (rows, channels) = matrix(geometry);
    let grad_output = grad_output.try_clone()?.reshaped([rows, channels])?;
    run(executor, BiasGrad::new(rows, channels), &[&grad_output])
}

/// Checks that a convolution, with its gradients if `gradients` is set, fits `executor`'s device and the host's
/// memory, before anything is copied.
///
/// Besides the device's buffers, host tensors count: the given ones, in the internal layout, and the answers, each of
/// which is held twice while its layout changes or it is written to a file.
///
/// # Errors
/// [`Error::Device`] for a tensor that the device cannot hold; [`Error::Memory`] when the host has too little memory.
pub fn check(executor: &dyn Executor, geometry: &ConvGeometry, gradients: bool) -> Result<()> {
    let bytes = |shape: Shape| Element::Real.bytes(shape.elements());
    let [input, filters, output] =
        [geometry.input_shape(), geometry.filters_shape(), geometry.output_shape()].map(bytes);
    let mut ops: Vec<Box<dyn Op>> = vec![Box::new(ConvForward::new(*geometry))];
    let mut tensors = input + filters + 2 * output;
    if gradients {
        ops.push(Box::new(ConvGradFilters::new(*geometry)));
        ops.push(Box::new(ConvGradInput::new(*geometry)));
        tensors += output + 2 * (input + filters);
    }
    let mut largest = 0;
    for op in ops {
        let plan = Plan::of_op(op);
        executor.check(&plan)?;
        // Only one tensor at a time is copied to the executor or back.
        let copy = plan.buffers.iter().map(|buffer| buffer.bytes()).max().unwrap_or(0);
        largest = largest.max(executor.host_bytes(&[&plan]) + copy);
    }
    host_memory::check("the convolution", tensors + largest, "fewer images or less padding")
}

fn matrix(geometry: &ConvGeometry) -> (usize, usize) {
    (geometry.batch_size * geometry.positions(), geometry.out_channels)
}

fn expect_shape(what: &str, expected: &Shape, found: &Shape) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::invalid(what, expected.to_string(), found)) }
}

/// Runs a pass of a convolution: to the letter where a value is not finite. `at_padding` is the one of the `given` factors
/// that an implementation may multiply by zeros which stand for the padding of the other.
fn convolve(
    executor: &mut dyn Executor,
    op: impl Op + 'static,
    given: &[&Tensor],
    at_padding: &Tensor,
) -> Result<Tensor> {
    let is_finite = |tensor: &Tensor| tensor.data().iter().all(|value| value.is_finite());
    match given.iter().all(|tensor| is_finite(tensor)) {
        true => run(executor, op, given),
        false => run(executor, Literal { op, is_finite_at_padding: is_finite(at_padding) }, given),
    }
}

/// Runs one operation: `given` are the operands that it reads, in order; the result is the one that it writes.
fn run(executor: &mut dyn Executor, op: impl Op + 'static, given: &[&Tensor]) -> Result<Tensor> {
    let operands = op.operands();
    let name = op.name();
    let plan = Arc::new(Plan::of_op(Box::new(op)));
    let buffers = &plan.forward[0].operands;
    let read = operands.iter().zip(buffers).filter(|(operand, _)| operand.access.reads());
    for ((operand, _), tensor) in read.clone().zip(given) {
        expect_shape(&format!("{name}: {}", operand.name), &operand.shape, tensor.shape())?;
    }
    executor.clear();
    let prepared = executor.prepare(plan.clone())?;
    for ((_, &buffer), tensor) in read.zip(given) {
        executor.write(prepared, buffer, &HostBuffer::real(tensor.try_clone()?.into_data()))?;
    }
    executor.run(prepared, 1)?;
    let written = operands.iter().zip(buffers).find(|(operand, _)| operand.access.writes());
    let (operand, &buffer) = written.expect("an operation writes something");
    Tensor::new(operand.shape.clone(), executor.read(prepared, buffer)?.into_reals())
}
