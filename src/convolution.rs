//! Convolution of host tensors, one call a pass, on any executor.
//!
//! Layouts are those of the inside: input `[N,H,W,C]`, filters `[K,R,S,C/groups]`, output `[N,P,Q,K]`;
//! [`Tensor::permuted`] goes from and to PyTorch's.

use std::sync::Arc;

use crate::ops::bias::{BiasForward, BiasGrad};
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::{HostBuffer, Op};
use crate::plan::{Executor, Plan};
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};

/// The output of a convolution, plus a bias an output channel where there is one.
///
/// `output[n,p,q,k] = bias[k] + sum over r,s,c of input[n,h,w,c] * filters[k,r,s,c]`, with
/// `h = p*stride - padding + r*dilation`; terms outside the input are zero.
///
/// # Errors
/// [`Error::Invalid`] for a tensor of another shape than `geometry`'s; [`Error::Device`] when the device failed.
pub fn forward(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    input: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let output = run(executor, ConvForward(*geometry), &[input, filters])?;
    match bias {
        Some(bias) => run(executor, bias_forward(geometry), &[bias, &output]),
        None => Ok(output),
    }
}

/// Gradient of the loss with respect to the filters; see [`ConvGradFilters`].
///
/// # Errors
/// As [`forward`].
pub fn grad_filters(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    input: &Tensor,
    grad_output: &Tensor,
) -> Result<Tensor> {
    run(executor, ConvGradFilters(*geometry), &[input, grad_output])
}

/// Gradient of the loss with respect to the input; see [`ConvGradInput`].
///
/// # Errors
/// As [`forward`].
pub fn grad_input(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    filters: &Tensor,
    grad_output: &Tensor,
) -> Result<Tensor> {
    run(executor, ConvGradInput(*geometry), &[filters, grad_output])
}

/// Gradient of the loss with respect to the bias: `grad_bias[k] = sum over n,p,q of grad_output[n,p,q,k]`.
///
/// # Errors
/// As [`forward`].
pub fn grad_bias(
    executor: &mut dyn Executor,
    geometry: &ConvGeometry,
    grad_output: &Tensor,
) -> Result<Tensor> {
    let BiasForward { rows, channels } = bias_forward(geometry);
    let matrix = Tensor::new([rows, channels], grad_output.data().to_vec())?;
    expect_shape("grad_bias: grad_output", &geometry.output_shape(), grad_output.shape())?;
    run(executor, BiasGrad { rows, channels }, &[&matrix])
}

fn bias_forward(geometry: &ConvGeometry) -> BiasForward {
    BiasForward { rows: geometry.batch_size * geometry.positions(), channels: geometry.out_channels }
}

fn expect_shape(what: &str, expected: &Shape, found: &Shape) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::invalid(what, expected.to_string(), found)) }
}

/// Runs one operation: `given` are its operands that are read, in order; the answer is the one it writes.
fn run(executor: &mut dyn Executor, op: impl Op + 'static, given: &[&Tensor]) -> Result<Tensor> {
    let operands = op.operands();
    let name = op.name();
    let plan = Arc::new(Plan::of_op(Box::new(op)));
    let buffers = &plan.forward[0].operands;
    let read = operands.iter().zip(buffers).filter(|(operand, _)| operand.access.reads());
    for ((operand, _), tensor) in read.clone().zip(given) {
        // A bias sees the output as a matrix.
        if operand.shape.elements() != tensor.data().len() || !operand.access.writes() {
            expect_shape(&format!("{name}: {}", operand.name), &operand.shape, tensor.shape())?;
        }
    }
    executor.clear();
    let prepared = executor.prepare(plan.clone())?;
    for ((_, &buffer), tensor) in read.zip(given) {
        executor.write(prepared, buffer, &HostBuffer::real(tensor.data().to_vec()))?;
    }
    executor.run(prepared, 1)?;
    let written = operands.iter().zip(buffers).find(|(operand, _)| operand.access.writes());
    let (operand, &buffer) = written.expect("an operation writes something");
    let answer = executor.read(prepared, buffer)?.reals().to_vec();
    // In place: the answer has the shape that was given.
    let shape =
        if operand.access.reads() { given[given.len() - 1].shape().clone() } else { operand.shape.clone() };
    Tensor::new(shape, answer)
}
