//! Two-dimensional pooling and its gradient.

mod cpu;
mod forward;
mod geometry;
mod grad;
mod places;
mod store;
mod unpool;
mod unpooled;
mod whole;
mod winners;

pub use forward::PoolForward;
pub use geometry::PoolGeometry;
pub use grad::PoolGrad;
pub(super) use places::{PLACES, WindowsOfFour, store_best};
pub use store::Store;
pub use unpool::MaxUnpool;
pub use unpooled::{InputGrad, UnpooledGrad};

use std::ops::Range;

use super::window::Axis;
use crate::ops::kernel::{KernelCall, shader};

/// The function that a pool computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest value, without the padding. A NaN counts as larger than any number.
    Max,
    /// The mean over the taps of the window within the padded input, with zeros for the padding: PyTorch's `avg_pool2d` by
    /// default.
    Average,
    /// The mean over the taps of the window inside the input; the padding does not count. PyTorch's with
    /// `count_include_pad=False`, and Keras's and TensorFlow's.
    AverageInside,
}

impl PoolKind {
    /// The positions that count in a mean, along an axis, counted from where its padding begins.
    fn counted(self, axis: &Axis) -> Range<usize> {
        match self {
            PoolKind::Average => axis.padded(),
            PoolKind::Max | PoolKind::AverageInside => axis.inside(),
        }
    }
}

/// By definition, the number of taps that an average of window p,q divides by.
fn divisor(geometry: &PoolGeometry, kind: PoolKind, [p, q]: [usize; 2]) -> f64 {
    let count = |axis: &Axis, position: usize| {
        let counts = |tap: &usize| match kind {
            PoolKind::Average => position * axis.stride + tap * axis.dilation < axis.padded().end,
            PoolKind::Max | PoolKind::AverageInside => axis.input_at(position, *tap).is_some(),
        };
        (0..axis.kernel).filter(counts).count()
    };
    count(&geometry.height, p) as f64 * count(&geometry.width, q) as f64
}

/// Gives the kernel of an average the file that says what it divides by.
fn complete_average(call: &mut KernelCall, geometry: &PoolGeometry, kind: PoolKind) {
    if geometry.counts_all_taps(kind) {
        call.source.files.extend(shader!("pool/mean_of_all_taps.wgsl").files);
        return;
    }
    call.source.files.extend(shader!("pool/mean_of_counted_taps.wgsl").files);
    let [rows, columns] = [geometry.height, geometry.width].map(|axis| kind.counted(&axis));
    call.constants.extend([
        ("FIRST_COUNTED_ROW", rows.start.into()),
        ("END_COUNTED_ROW", rows.end.into()),
        ("FIRST_COUNTED_COLUMN", columns.start.into()),
        ("END_COUNTED_COLUMN", columns.end.into()),
    ]);
}

/// By definition, the index in the input of a window's largest value: the first one in row-major order, or the first
/// NaN if there is one.
fn winner(geometry: &PoolGeometry, input: impl Fn(usize) -> f64, [n, p, q, c]: [usize; 4]) -> usize {
    let mut winner = None;
    for r in 0..geometry.height.kernel {
        let Some(h) = geometry.height.input_at(p, r) else { continue };
        for s in 0..geometry.width.kernel {
            let Some(w) = geometry.width.input_at(q, s) else { continue };
            let index = geometry.input_index(n, h, w, c);
            let larger =
                |best: usize| input(index) > input(best) || input(index).is_nan() && !input(best).is_nan();
            if winner.is_none_or(larger) {
                winner = Some(index);
            }
        }
    }
    winner.expect("a window that meets the input")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::{HostBuffer, Op, Operands};
    use crate::ops::window::{Padding, WindowOptions};
    use crate::tensor::ImageShape;

    const NAN: f64 = f64::NAN;

    fn row(width: usize, window: &WindowOptions) -> PoolGeometry {
        PoolGeometry::new(1, ImageShape { height: 1, width, channels: 1 }, window).unwrap()
    }

    /// The last operand after the definition has run; the CPU form must give the same.
    fn run(op: &dyn Op, operands: &[&[f64]]) -> Vec<f64> {
        let written = op.operands().last().unwrap().shape.elements();
        let mut given: Vec<_> = operands.iter().map(|values| HostBuffer::real(values.to_vec())).collect();
        given.push(HostBuffer::real(vec![7.0; written]));
        let mut on_cpu =
            Operands::new(given.iter().map(|buffer| buffer.map_reals(|&value| value as f32)).collect());
        let mut defined = Operands::new(given);
        op.define(&mut defined);
        op.cpu_forms()[0].run(&mut on_cpu);
        let defined = defined.into_buffers().pop().unwrap();
        let on_cpu = on_cpu.into_buffers().pop().unwrap();
        for (&expected, &found) in defined.reals().iter().zip(on_cpu.reals()) {
            assert!(expected == f64::from(found) || expected.is_nan() && found.is_nan());
        }
        defined.reals().to_vec()
    }

    #[test]
    fn the_first_winner_takes_the_gradient_and_a_nan_wins() {
        let window = WindowOptions { stride: [1, 2], ..WindowOptions::new([1, 3]) };
        let geometry = row(7, &window);
        let input = [5.0, 1.0, 5.0, NAN, NAN, 2.0, 9.0];
        let output = run(&PoolForward { kind: PoolKind::Max, geometry }, &[&input]);
        assert!(output[0] == 5.0 && output[1].is_nan() && output[2].is_nan());
        let grad_input = run(&PoolGrad::new(PoolKind::Max, geometry), &[&input, &[1.0, 10.0, 100.0]]);
        assert_eq!(grad_input, [1.0, 0.0, 0.0, 10.0, 100.0, 0.0, 0.0]);
    }

    #[test]
    fn max_ignores_the_padding_and_average_counts_it() {
        let padding = Padding::Symmetric([0, 1]);
        let geometry = row(3, &WindowOptions { stride: [1, 3], padding, ..WindowOptions::new([1, 2]) });
        let input = [-4.0, -2.0, -6.0];
        assert_eq!(run(&PoolForward { kind: PoolKind::Max, geometry }, &[&input]), [-4.0, -6.0]);
        assert_eq!(run(&PoolForward { kind: PoolKind::Average, geometry }, &[&input]), [-2.0, -3.0]);
        let grad_input = run(&PoolGrad::new(PoolKind::Average, geometry), &[&[2.0, 8.0]]);
        assert_eq!(grad_input, [1.0, 0.0, 4.0]);
    }

    #[test]
    fn an_average_inside_counts_no_padding_and_none_counts_what_lies_beyond_it() {
        let padding = Padding::Symmetric([0, 1]);
        let window = WindowOptions { stride: [1, 3], padding, ..WindowOptions::new([1, 4]) };
        let image = ImageShape { height: 1, width: 5, channels: 1 };
        // Windows at -1, 2 and, in ceil mode, none at 5, behind the input.
        let geometry = PoolGeometry::in_ceil_mode(1, image, &window).unwrap();
        assert_eq!(geometry, PoolGeometry::new(1, image, &window).unwrap());
        let input = [12.0, 24.0, 36.0, 48.0, 96.0];
        let average = |kind, geometry| run(&PoolForward { kind, geometry }, &[&input]);
        assert_eq!(average(PoolKind::Average, geometry), [18.0, 45.0]);
        assert_eq!(average(PoolKind::AverageInside, geometry), [24.0, 60.0]);
        // Windows at -1 and 3: of the second's four taps two lie inside, one in the padding and one beyond it.
        let window = WindowOptions { stride: [1, 4], ..window };
        let geometry = PoolGeometry::in_ceil_mode(1, image, &window).unwrap();
        assert_eq!(average(PoolKind::Average, geometry), [18.0, 48.0]);
        assert_eq!(average(PoolKind::AverageInside, geometry), [24.0, 72.0]);
        let grad = |kind| run(&PoolGrad::new(kind, geometry), &[&[12.0, 24.0]]);
        assert_eq!(grad(PoolKind::Average), [3.0, 3.0, 3.0, 8.0, 8.0]);
        assert_eq!(grad(PoolKind::AverageInside), [4.0, 4.0, 4.0, 12.0, 12.0]);
    }

    #[test]
    fn infinities_are_values_like_others() {
        let geometry = row(2, &WindowOptions::new([1, 2]));
        let input = [f64::NEG_INFINITY; 2];
        assert_eq!(run(&PoolForward { kind: PoolKind::Max, geometry }, &[&input]), [f64::NEG_INFINITY]);
        let grad_input = run(&PoolGrad::new(PoolKind::Max, geometry), &[&input, &[3.0]]);
        assert_eq!(grad_input, [3.0, 0.0]);
    }
}
