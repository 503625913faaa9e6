//! Multiply-adds in registers, which measure a device's peak arithmetic rate.

use crate::cpu::map;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};

/// Multiplies and adds in registers, which keeps the device's arithmetic units busy and nothing else.
///
/// `result[i]` is the mean over 16 chains of `x`, where `x` starts as the chain's number, 0 to 15, and `x = x/2 +
/// input[i]` is repeated `4*rounds` times.
///
/// # Shapes
/// input -> result, both `[elements]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FmaRate {
    /// Number of elements of each tensor.
    pub elements: usize,
    /// A quarter of the length of a chain.
    pub rounds: usize,
}

impl FmaRate {
    const CHAINS: usize = 16;
    const STEPS: usize = 4;
}

impl Op for FmaRate {
    fn name(&self) -> &'static str {
        "bench.fma"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::read("input", [self.elements]), Operand::write("result", [self.elements])]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, result] = operands.all();
        for (result, input) in result.reals_mut().iter_mut().zip(input.reals()) {
            let mut sum = 0.0;
            for chain in 0..Self::CHAINS {
                let mut x = chain as f64;
                for _ in 0..Self::STEPS * self.rounds {
                    x = x / 2.0 + input;
                }
                sum += x;
            }
            *result = sum / Self::CHAINS as f64;
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, result] = operands.all();
            map(result.reals_mut(), input.reals(), |input| {
                let mut chains: [f32; Self::CHAINS] = std::array::from_fn(|chain| chain as f32);
                for _ in 0..Self::STEPS * self.rounds {
                    chains = chains.map(|x| x * 0.5 + input);
                }
                chains.iter().sum::<f32>() / Self::CHAINS as f32
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![("ELEMENTS", self.elements.into()), ("ROUNDS", self.rounds.into())];
        let source = shader!("ceilings/fma.wgsl", "grid.wgsl");
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 2, self.elements))]
    }

    fn flops(&self) -> u64 {
        (2 * Self::CHAINS * Self::STEPS * self.rounds * self.elements) as u64
    }

    fn precision(&self) -> Precision {
        // Halving makes earlier rounding errors vanish, however long the chain is: only the last few steps and the sum
        // over the chains contribute to the error.
        Precision { exact_on_integers: false, ..Precision::sum_of_products(2 * Self::CHAINS) }
    }
}
