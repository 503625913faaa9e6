//! Two-dimensional pooling and its gradient.

mod cpu;
mod forward;
mod geometry;
mod grad;
mod winners;

pub use forward::PoolForward;
pub use geometry::PoolGeometry;
pub use grad::PoolGrad;

/// The function that a pool computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest value, without the padding. A NaN counts as larger than any number.
    Max,
    /// The mean over all taps of the window, with zeros for the padding.
    Average,
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
        op.run_on_cpu(&mut on_cpu);
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
    fn infinities_are_values_like_others() {
        let geometry = row(2, &WindowOptions::new([1, 2]));
        let input = [f64::NEG_INFINITY; 2];
        assert_eq!(run(&PoolForward { kind: PoolKind::Max, geometry }, &[&input]), [f64::NEG_INFINITY]);
        let grad_input = run(&PoolGrad::new(PoolKind::Max, geometry), &[&input, &[3.0]]);
        assert_eq!(grad_input, [3.0, 0.0]);
    }
}
