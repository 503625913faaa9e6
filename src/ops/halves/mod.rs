//! Operations on tensors that are stored as halves, for training in mixed precision.

mod source;

pub(super) use source::in_halves;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::kernel::{Binding, Implementation};
use super::op::{Access, CpuForm, Element, Op, Operand, Operands, Precision, Read};
use crate::device::DeviceProfile;

/// The same operation with some of its tensors stored as halves (IEEE 754 binary16, f16): half the memory, and half the time
/// to move it.
///
/// It computes as before, with f32 or what the reference has: a value is widened as it is read, and rounded to the nearest
/// half as it is written, or to infinity above 65,504. So the answer differs from the definition's by that rounding alone:
/// see [`rounding`].
#[derive(Debug)]
pub struct InHalves {
    op: Box<dyn Op>,
    halves: Vec<bool>,
}

impl InHalves {
    /// The operation with those operands as halves for which `halves` says so, if there are any.
    ///
    /// # Panics
    /// If one of them holds no reals, or must lie beside others: a bug in the plan.
    pub fn wrap(op: Box<dyn Op>, halves: Vec<bool>) -> Box<dyn Op> {
        let operands = op.operands();
        assert_eq!(halves.len(), operands.len(), "{}", op.name());
        for (number, operand) in operands.iter().enumerate().filter(|&(number, _)| halves[number]) {
            assert!(is_real_alone(op.as_ref(), number), "{}: {} as halves", op.name(), operand.name);
        }
        if halves.contains(&true) { Box::new(InHalves { op, halves }) } else { op }
    }

    /// The operation with all operands as halves that can be.
    pub fn wrap_all(op: Box<dyn Op>) -> Box<dyn Op> {
        let can_be = |number| is_real_alone(op.as_ref(), number) && op.takes_halves(number);
        let halves = (0..op.operands().len()).map(can_be).collect();
        InHalves::wrap(op, halves)
    }

    fn is_half(&self, binding: Binding) -> bool {
        matches!(binding, Binding::Operand(number) if self.halves[number])
    }

    /// Whether several launches bind a half that the operation writes.
    fn reads_again(&self, implementation: &Implementation) -> bool {
        let mut operands = self.operands().into_iter().enumerate();
        let launches = |number| {
            let calls = implementation.calls.iter();
            calls.filter(|call| call.bindings.contains(&Binding::Operand(number))).count()
        };
        operands.any(|(number, operand)| {
            self.halves[number] && operand.access == Access::Write && launches(number) > 1
        })
    }

    fn complete(&self, mut implementation: Implementation) -> Implementation {
        for call in &mut implementation.calls {
            let bindings = (0..).zip(&call.bindings);
            call.source.halves =
                bindings.filter(|&(_, &binding)| self.is_half(binding)).map(|(number, _)| number).collect();
        }
        implementation
    }
}

/// Whether an operand holds reals, and need not lie beside others.
fn is_real_alone(op: &dyn Op, number: usize) -> bool {
    let is_beside = op.side_by_side().iter().any(|range| range.contains(&number));
    op.operands()[number].element == Element::Real && !is_beside
}

/// The value of the nearest half.
pub fn to_half(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Rounds values to the nearest halves, on all cores.
fn round_to_halves(values: &mut [f32]) {
    const CHUNK: usize = 1 << 12;
    values.par_chunks_mut(CHUNK).for_each(|values| {
        let mut halves = [f16::ZERO; CHUNK];
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        halves.convert_to_f32_slice(values);
    });
}

/// The largest difference of a value from the half to which it is rounded: half a unit in the last of 11 binary digits, or of
/// the smallest normal half.
pub fn rounding(value: f64) -> f64 {
    const LAST_DIGIT: f64 = 1.0 / (1 << 11) as f64;
    LAST_DIGIT * value.abs().max(f16::MIN_POSITIVE.to_f64())
}

/// The same for a value of `operand`, which is not rounded unless it is a half.
pub fn rounding_of(operand: &Operand, value: f64) -> f64 {
    if operand.element == Element::Half { rounding(value) } else { 0.0 }
}

/// The same form, which rounds what it has written to these operands.
fn rounded(form: CpuForm<'_>, written: Vec<usize>) -> CpuForm<'_> {
    let (name, exact_on_integers, amplification) = (form.name, form.exact_on_integers, form.amplification);
    let run = move |operands: &mut Operands<f32>| {
        form.run(operands);
        for &number in &written {
            round_to_halves(operands.as_mut_slice()[number].reals_mut());
        }
    };
    let mut rounded = CpuForm::rounding(name, amplification, run);
    rounded.exact_on_integers = exact_on_integers;
    rounded
}

impl Op for InHalves {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn operands(&self) -> Vec<Operand> {
        let operands = self.op.operands().into_iter().zip(&self.halves);
        operands
            .map(
                |(operand, &is_half)| {
                    if is_half { Operand { element: Element::Half, ..operand } } else { operand }
                },
            )
            .collect()
    }

    fn side_by_side(&self) -> Vec<std::ops::Range<usize>> {
        self.op.side_by_side()
    }

    fn define(&self, operands: &mut Operands<f64>) {
        self.op.define(operands);
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        self.op.define_at(read, index)
    }

    fn chosen(&self, read: &Read<'_>, operand: usize, position: usize, index: u32) -> Option<f64> {
        self.op.chosen(read, operand, position, index)
    }

    /// Host memory holds reals, of which these are those that are halves.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let written: Vec<usize> = (0..)
            .zip(self.operands())
            .filter(|(_, operand)| operand.element == Element::Half && operand.access.writes())
            .map(|(number, _)| number)
            .collect();
        self.op.cpu_forms().into_iter().map(|form| rounded(form, written.clone())).collect()
    }

    /// Without those that would read rounded results of their own again, unless all of them would.
    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let all: Vec<Implementation> =
            self.op.implementations(device).into_iter().map(|way| self.complete(way)).collect();
        let (reading_again, right): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|implementation| self.reads_again(implementation));
        if right.is_empty() { reading_again } else { right }
    }

    fn bytes(&self) -> u64 {
        let saved = |operand: Operand| {
            let [whole, half] =
                [Element::Real, Element::Half].map(|element| element.bytes(operand.shape.elements()));
            whole - half
        };
        let halves = self.operands().into_iter().filter(|operand| operand.element == Element::Half);
        self.op.bytes().saturating_sub(halves.map(saved).sum())
    }

    fn flops(&self) -> u64 {
        self.op.flops()
    }

    fn precision(&self) -> Precision {
        self.op.precision()
    }

    fn precision_of(&self, operand: usize) -> Precision {
        self.op.precision_of(operand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_half() {
        for (value, half) in [
            (1.0, 1.0),
            (-2049.0, -2048.0),
            (2051.0, 2052.0),
            (65519.0, 65504.0),
            (65520.0, f32::INFINITY),
            (2.0f32.powi(-24), 2.0f32.powi(-24)),
            (2.0f32.powi(-26), 0.0),
        ] {
            assert_eq!(to_half(value), half);
            let mut values = vec![value; 5000];
            round_to_halves(&mut values);
            assert!(values.iter().all(|&found| found == half), "{value}");
        }
        assert!(to_half(f32::NAN).is_nan());
        for value in [1.0, 0.1, 1000.3, 3e-5, 1e-7, -7.77] {
            let off = f64::from(to_half(value as f32)) - value;
            assert!(off.abs() <= rounding(value), "{value}: {off}");
        }
    }
}
