//! The gradient of a pool's input.

use rayon::prelude::*;

use super::cpu::GradToLargest;
use super::whole;
use super::winners::{window_loops, winners};
use super::{MaxUnpool, PoolForward, PoolGeometry, PoolKind, complete_average, divisor, winner};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::activation::{Activation, Saved};
use crate::ops::kernel::{Binding, Implementation, KernelCall, best_first, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};
use crate::ops::prologue::Prologue;
use crate::ops::window::Axis;
use crate::tensor::position;

/// Gradient of the loss with respect to the input of a pool.
///
/// Max: `grad_input[n,h,w,c] = sum over p,q of grad_output[n,p,q,c]`, over the windows whose winner is h,w. The winner
/// is determined again from the input: the first of equal values in row-major order, or the first NaN if there is one.
/// Average: `grad_input[n,h,w,c] = sum over p,q of grad_output[n,p,q,c] / taps`, over the windows that contain h,w, with
/// each window's number of taps as in [`PoolForward`].
///
/// The gradient of a maximum reads its input anyway; if that is an activation's output, the result may be the gradient
/// of the activation's input instead: `grad_input[n,h,w,c] * derivative(input[n,h,w,c])`.
///
/// # Shapes
/// input `[N,H,W,C]` (max only), grad_output `[N,P,Q,C]` -> grad_input `[N,H,W,C]`; see [`PoolGeometry`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolGrad {
    /// Maximum or average.
    pub kind: PoolKind,
    /// The sizes.
    pub geometry: PoolGeometry,
    activation: Option<Activation>,
}

/// Number of a maximum's input among the operands.
const INPUT: usize = 0;

impl PoolGrad {
    /// The gradient of the pool's input.
    pub fn new(kind: PoolKind, geometry: PoolGeometry) -> Self {
        PoolGrad { kind, geometry, activation: None }
    }

    /// The gradient of the input of an activation whose output is the pool's input; `None` if the activation saves
    /// something else, if there is an activation already, or if the pool does not read its input.
    pub fn through(self, activation: Activation) -> Option<Self> {
        let fits = self.kind == PoolKind::Max && self.activation.is_none();
        (fits && activation.saves() == Saved::Output)
            .then_some(PoolGrad { activation: Some(activation), ..self })
    }

    /// Adds the function for each gradient to the kernel's source.
    fn finish(&self, call: &mut KernelCall) {
        let Some(activation) = self.activation else {
            call.source.files.extend(shader!("pool/grad_as_it_is.wgsl").files);
            return;
        };
        call.source.files.extend(shader!("pool/grad_times_derivative.wgsl").files);
        call.source.files.extend(activation.formula().files);
        call.constants.extend(activation.constants());
    }
}

impl Op for PoolGrad {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool2d.grad_input",
            PoolKind::Average | PoolKind::AverageInside => "average_pool2d.grad_input",
        }
    }

    fn operands(&self) -> Vec<Operand> {
        let input = Operand::read("input", self.geometry.input_shape());
        let grad_output = Operand::read("grad_output", self.geometry.output_shape());
        let grad_input = Operand::write("grad_input", self.geometry.input_shape());
        match self.kind {
            PoolKind::Max => vec![input, grad_output, grad_input],
            PoolKind::Average | PoolKind::AverageInside => vec![grad_output, grad_input],
        }
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let geometry = &self.geometry;
        match self.kind {
            PoolKind::Max => {
                let [input, grad_output, grad_input] = operands.all();
                let (input, grad_input) = (input.reals(), grad_input.reals_mut());
                grad_input.fill(0.0);
                let mut grad_output = grad_output.reals().iter();
                for n in 0..geometry.batch_size {
                    for p in 0..geometry.height.output {
                        for q in 0..geometry.width.output {
                            for c in 0..geometry.channels {
                                grad_input[winner(geometry, |i| input[i], [n, p, q, c])] +=
                                    grad_output.next().expect("a gradient for every output");
                            }
                        }
                    }
                }
                if let Some(activation) = self.activation {
                    for (grad, &y) in grad_input.iter_mut().zip(input) {
                        *grad *= activation.derivative(y);
                    }
                }
            }
            PoolKind::Average | PoolKind::AverageInside => {
                let [grad_output, grad_input] = operands.all();
                let grad_input = grad_input.reals_mut();
                grad_input.fill(0.0);
                let mut grad_output = grad_output.reals().iter();
                for n in 0..geometry.batch_size {
                    for p in 0..geometry.height.output {
                        for q in 0..geometry.width.output {
                            for c in 0..geometry.channels {
                                let grad = grad_output.next().expect("a gradient for every output");
                                let taps = divisor(geometry, self.kind, [p, q]);
                                for r in 0..geometry.height.kernel {
                                    let Some(h) = geometry.height.input_at(p, r) else { continue };
                                    for s in 0..geometry.width.kernel {
                                        let Some(w) = geometry.width.input_at(q, s) else { continue };
                                        grad_input[geometry.input_index(n, h, w, c)] += grad / taps;
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Gathers the gradients from the windows that contain the value, whereas [`Op::define`] scatters them.
    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        let geometry = &self.geometry;
        let PoolGeometry { batch_size, channels, height, width } = *geometry;
        let [n, h, w, c] = position([batch_size, height.input, width.input, channels], index);
        // A window has at most one tap at a position.
        let windows = height.meetings(h).flat_map(|(p, _)| width.meetings(w).map(move |(q, _)| [n, p, q, c]));
        let output_index =
            |[n, p, q, c]: [usize; 4]| ((n * height.output + p) * width.output + q) * channels + c;
        let grads = windows.map(|window| match self.kind {
            PoolKind::Max if winner(geometry, |i| read(0, i), window) != index => 0.0,
            PoolKind::Max => read(1, output_index(window)),
            PoolKind::Average | PoolKind::AverageInside => {
                read(0, output_index(window)) / divisor(geometry, self.kind, [window[1], window[2]])
            }
        });
        let grad: f64 = grads.sum();
        Some(self.activation.map_or(grad, |activation| grad * activation.derivative(read(0, index))))
    }

    /// An image at a time, window by window, as the definition has it.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let geometry = &self.geometry;
            let channels = geometry.channels;
            let [in_elements, out_elements] = [
                geometry.height.input * geometry.width.input,
                geometry.height.output * geometry.width.output,
            ]
            .map(|pixels| pixels * channels);
            match self.kind {
                PoolKind::Max => {
                    let [input, grad_output, grad_input] = operands.all();
                    let sources = input
                        .reals()
                        .par_chunks(in_elements)
                        .zip(grad_output.reals().par_chunks(out_elements));
                    let images = grad_input.reals_mut().par_chunks_mut(in_elements).zip(sources);
                    images.for_each(|(grad_input, (input, grad_output))| {
                        if !geometry.meets_each_pixel_once() {
                            grad_input.fill(0.0);
                        }
                        vectorized(GradToLargest { geometry, input, grad_output, grad_input });
                        if let Some(activation) = self.activation {
                            activation.multiply_by_derivative(grad_input, input);
                        }
                    });
                }
                PoolKind::Average | PoolKind::AverageInside => {
                    let [grad_output, grad_input] = operands.all();
                    let sources = grad_output.reals().par_chunks(out_elements);
                    let images = grad_input.reals_mut().par_chunks_mut(in_elements).zip(sources);
                    images.for_each(|(grad_input, grad_output)| {
                        grad_input.fill(0.0);
                        geometry.for_each_average(self.kind, |window, pixels, taps| {
                            let grad_output = &grad_output[window * channels..][..channels];
                            for pixel in pixels.iter() {
                                let grad_input = &mut grad_input[pixel * channels..][..channels];
                                for (sum, grad) in grad_input.iter_mut().zip(grad_output) {
                                    *sum += grad / taps as f32;
                                }
                            }
                        });
                    });
                }
            }
        })
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let geometry = &self.geometry;
        let elements = geometry.input_shape().elements();
        let operands = self.operands().len();
        let launches = |source, complete: &dyn Fn(&mut KernelCall)| {
            let mut call = KernelCall::elementwise(source, geometry.constants(), operands, elements);
            complete(&mut call);
            window_loops(geometry).launches(&call, device)
        };
        if self.kind != PoolKind::Max {
            let source = shader!("pool/average_grad.wgsl", "conv/geometry.wgsl", "part.wgsl", "grid.wgsl");
            let calls = launches(source, &|call| complete_average(call, geometry, self.kind));
            let cells = cells(geometry).map(|[cell_height, cell_width]| {
                let source = shader!("pool/average_grad_cells.wgsl", "conv/geometry.wgsl", "grid.wgsl");
                let mut constants = geometry.constants();
                constants.extend([("CELL_HEIGHT", cell_height.into()), ("CELL_WIDTH", cell_width.into())]);
                let mut call = KernelCall::elementwise(source, constants, operands, elements);
                complete_average(&mut call, geometry, self.kind);
                Implementation::of("cells", call).tailored()
            });
            let direct = Implementation::of_calls("direct", calls, Vec::new());
            return best_first(cells.into_iter().chain([direct]).collect());
        }
        let whole =
            whole::maximum(geometry, shader!("pool/max_grad_whole.wgsl"), 3, device).map(|mut call| {
                self.finish(&mut call);
                Implementation::of("whole", call).tailored()
            });
        let cells = max_by_cells(geometry, device).map(|mut call| {
            self.finish(&mut call);
            Implementation::of("cells", call).tailored()
        });
        let source = shader!("pool/max_grad.wgsl", "conv/geometry.wgsl", "part.wgsl", "grid.wgsl");
        let mut calls = winners(geometry, device);
        calls.extend(launches(source, &|call| {
            call.bindings.push(Binding::Workspace(0));
            self.finish(call);
        }));
        let direct = Implementation::of_calls("direct", calls, vec![geometry.output_shape().elements()]);
        best_first(whole.into_iter().chain(cells).chain([direct]).collect())
    }

    fn fuse_next_prologue(&self, next: Prologue, operands: &[usize]) -> Option<Box<dyn Op>> {
        let fits = self.kind == PoolKind::Max && operands == [INPUT];
        let op = fits.then(|| self.through(next.activation()?))??;
        Some(Box::new(op))
    }

    fn reading_winners(&self, operand: usize) -> Option<Box<dyn Op>> {
        let prologue = self.activation.map_or(Some(Prologue::NONE), Prologue::of)?;
        let pool = PoolForward { kind: self.kind, geometry: self.geometry };
        let unpool = MaxUnpool::new(&pool, prologue).filter(|_| operand == INPUT)?;
        Some(Box::new(unpool))
    }

    /// A comparison or an addition for each tap.
    fn flops(&self) -> u64 {
        self.geometry.output_shape().elements() as u64 * self.geometry.taps() as u64
    }

    fn precision(&self) -> Precision {
        match self.kind {
            PoolKind::Max => {
                let prologue = self.activation.and_then(Prologue::of).unwrap_or_default();
                prologue.precision(Precision::sum_of_products(self.geometry.taps()))
            }
            PoolKind::Average | PoolKind::AverageInside => self.geometry.average_precision(self.kind),
        }
    }
}

/// Length of the cells along an axis, each of which has all positions from the start of a window to that of the next;
/// `None` if windows overlap, are dilated, or are longer than a cell.
fn cell(axis: &Axis) -> Option<usize> {
    let length = if axis.output == 1 { axis.input + axis.padding_before } else { axis.stride };
    let meets_neighbours = axis.dilation == 1 || axis.kernel == 1;
    (meets_neighbours && axis.kernel <= length).then_some(length)
}

/// Height and width of the cells, if no two windows overlap.
fn cells(geometry: &PoolGeometry) -> Option<[usize; 2]> {
    Some([cell(&geometry.height)?, cell(&geometry.width)?])
}

/// The kernel that reads each input once, one cell at a time; `None` if windows overlap or are too large.
fn max_by_cells(geometry: &PoolGeometry, device: &DeviceProfile) -> Option<KernelCall> {
    let PoolGeometry { batch_size, channels, height, width } = geometry;
    let [cell_height, cell_width] = cells(geometry)?;
    let trips = height.kernel * (1 + width.kernel) + cell_height.saturating_mul(1 + cell_width);
    if trips > device.loop_trips() {
        return None;
    }
    let cells_down = (height.input + height.padding_before).div_ceil(cell_height);
    let cells_across = (width.input + width.padding_before).div_ceil(cell_width);
    let mut constants = geometry.constants();
    constants.extend([
        ("CELL_HEIGHT", cell_height.into()),
        ("CELL_WIDTH", cell_width.into()),
        ("CELLS_DOWN", cells_down.into()),
        ("CELLS_ACROSS", cells_across.into()),
    ]);
    let source = shader!("pool/max_grad_cells.wgsl", "conv/geometry.wgsl", "float_bits.wgsl", "grid.wgsl");
    let elements = batch_size * cells_down * cells_across * channels;
    Some(KernelCall::elementwise(source, constants, 3, elements))
}
