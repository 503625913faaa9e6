//! Dropout: setting values to zero at random.

mod philox;

use rayon::prelude::*;

use self::philox::{philox, philox_lanes};
use crate::cpu::vectorized;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};
use crate::{Error, Result};

/// Sets each value to zero with a given probability, and scales the others so that sums keep their expectation.
///
/// ```text
/// output[i] = input[i] / (1 - probability) where the random word of i is below (1 - probability) * 2^32, else 0
/// word of i = word i % 4 of Philox4x32-10, with the counter (i / 4, step, epoch, stream) and the key (seed)
/// ```
///
/// Nothing is stored: applied to the gradient of the output, with the same sizes, it is the gradient of the input. Chance is
/// a function of the seed, of the epoch and the step in it, of the layer and of the position alone, so that all executors
/// draw the same mask, and a training that is resumed draws what it would have drawn.
///
/// # Shapes
/// input `[elements]`, step `[1]`, chance `[3]` (the seed's low and high words, and the epoch) -> output `[elements]`.
///
/// # Source
/// Srivastava et al. 2014, scaled in training as in PyTorch. Philox: Salmon, Moraes, Dror and Shaw 2011.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    elements: usize,
    probability: f32,
    stream: u32,
}

/// Values that share a counter: the words that the generator gives for it.
const WORDS: usize = 4;

/// Counters that a loop on the CPU computes side by side.
const LANES: usize = 8;

/// Elements that a core of the CPU takes at a time.
const CHUNK: usize = 128 * WORDS * LANES;

/// The words that a step and its epoch give, beside those of the position and the stream.
struct Draw {
    step: u32,
    epoch: u32,
    seed: [u32; 2],
}

impl Dropout {
    /// Dropout of this many values. Layers have streams of their own, so that their masks differ.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the probability of zero is at least 0 and below 1.
    pub fn new(elements: usize, probability: f32, stream: u32) -> Result<Self> {
        if !(0.0..1.0).contains(&probability) {
            return Err(Error::invalid("dropout", "a probability of at least 0 and below 1", probability));
        }
        Ok(Dropout { elements, probability, stream })
    }

    /// Words below this keep their value.
    fn threshold(&self) -> u32 {
        // A probability that is not 0 and very small is rounded up to 2^-32.
        ((1.0 - f64::from(self.probability)) * 2f64.powi(32)).round().clamp(1.0, u32::MAX.into()) as u32
    }

    /// The factor of the values that are kept.
    fn factor(&self) -> f64 {
        1.0 / (1.0 - f64::from(self.probability))
    }

    /// The definition of the factor of value `index`.
    fn factor_at(&self, index: usize, draw: &Draw) -> f64 {
        let counter = [(index / WORDS) as u32, draw.step, draw.epoch, self.stream];
        let word = philox(counter, draw.seed)[index % WORDS];
        if word < self.threshold() { self.factor() } else { 0.0 }
    }
}

impl Draw {
    fn new(step: &[u32], chance: &[u32]) -> Self {
        Draw { step: step[0], epoch: chance[2], seed: [chance[0], chance[1]] }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn operands(&self) -> Vec<Operand> {
        vec![
            Operand::read("input", [self.elements]),
            Operand::read("step", [1]).indices(u32::MAX),
            Operand::read("chance", [3]).indices(u32::MAX),
            Operand::write("output", [self.elements]),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [input, step, chance, output] = operands.all();
        let draw = Draw::new(step.indices(), chance.indices());
        for (index, (output, input)) in output.reals_mut().iter_mut().zip(input.reals()).enumerate() {
            let factor = self.factor_at(index, &draw);
            // Not a product, which would keep a NaN.
            *output = if factor == 0.0 { 0.0 } else { input * factor };
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [input, step, chance, output] = operands.all();
            let draw = Draw::new(step.indices(), chance.indices());
            let (threshold, factor) = (self.threshold(), self.factor() as f32);
            let chunks = output.reals_mut().par_chunks_mut(CHUNK).zip(input.reals().par_chunks(CHUNK));
            chunks.enumerate().for_each(|(chunk, (output, input))| {
                vectorized(|| {
                    let mut block = (chunk * CHUNK / WORDS) as u32;
                    let parts = output.chunks_mut(WORDS * LANES).zip(input.chunks(WORDS * LANES));
                    for (output, input) in parts {
                        let positions = std::array::from_fn(|lane| block.wrapping_add(lane as u32));
                        let constants = [draw.step, draw.epoch, self.stream].map(|word| [word; LANES]);
                        let [step, epoch, stream] = constants;
                        let words = philox_lanes([positions, step, epoch, stream], draw.seed);
                        let mut kept = [[false; WORDS]; LANES];
                        for (word, words) in words.iter().enumerate() {
                            for (kept, &random) in kept.iter_mut().zip(words) {
                                kept[word] = random < threshold;
                            }
                        }
                        let values = output.iter_mut().zip(input).zip(kept.as_flattened());
                        for ((output, &input), &kept) in values {
                            *output = if kept { input * factor } else { 0.0 };
                        }
                        block = block.wrapping_add(LANES as u32);
                    }
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![
            ("ELEMENTS", self.elements.into()),
            ("STREAM", self.stream.into()),
            ("THRESHOLD", self.threshold().into()),
            ("FACTOR", (self.factor() as f32).into()),
        ];
        let source = shader!("dropout/direct.wgsl", "dropout/philox.wgsl", "grid.wgsl");
        let invocations = self.elements.div_ceil(WORDS);
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 4, invocations))]
    }

    /// A product for each value; the random words are not floating-point arithmetic.
    fn flops(&self) -> u64 {
        self.elements as u64
    }

    fn precision(&self) -> Precision {
        Precision::approximate(self.factor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::HostBuffer;

    const ELEMENTS: usize = 40_003;

    /// Which of a tensor of ones are kept, and the CPU's answer, which must be the definition's.
    fn kept(dropout: &Dropout, step: u32, chance: [u32; 3]) -> Vec<bool> {
        let buffers = |ones: HostBuffer<f64>| {
            let zeros = HostBuffer::real(vec![7.0; ones.len()]);
            vec![ones, HostBuffer::index(vec![step]), HostBuffer::index(chance.into()), zeros]
        };
        let given = buffers(HostBuffer::real(vec![1.0; dropout.elements]));
        let narrow = given.iter().map(|buffer| buffer.map_reals(|&value| value as f32)).collect();
        let (mut defined, mut on_cpu) = (Operands::new(given), Operands::new(narrow));
        dropout.define(&mut defined);
        dropout.cpu_forms()[0].run(&mut on_cpu);
        let defined = defined.into_buffers().pop().unwrap().into_reals();
        let on_cpu = on_cpu.into_buffers().pop().unwrap().into_reals();
        for (defined, on_cpu) in defined.iter().zip(on_cpu) {
            assert!(on_cpu == *defined as f32 && (*defined == 0.0 || *defined == dropout.factor()));
        }
        defined.into_iter().map(|value| value != 0.0).collect()
    }

    /// Five standard deviations of the number of values kept.
    fn assert_rate(count: usize, probability: f64, of: usize) {
        let (mean, deviation) =
            (probability * of as f64, (probability * (1.0 - probability) * of as f64).sqrt());
        assert!((count as f64 - mean).abs() <= 5.0 * deviation, "{count} of {of}, expected {mean}");
    }

    #[test]
    fn values_are_kept_at_their_rate() {
        for probability in [0.5, 0.1, 0.95, 0.25] {
            let dropout = Dropout::new(ELEMENTS, probability, 3).unwrap();
            let kept = kept(&dropout, 7, [1, 2, 3]);
            let count = kept.iter().filter(|&&kept| kept).count();
            assert_rate(count, 1.0 - f64::from(probability), ELEMENTS);
        }
        let never = Dropout::new(ELEMENTS, 0.0, 3).unwrap();
        assert_eq!(never.factor(), 1.0);
        assert!(kept(&never, 7, [1, 2, 3]).iter().filter(|&&kept| !kept).count() <= 1);
    }

    /// The same words give the same mask; another seed, epoch, step or stream a mask that agrees by chance alone.
    #[test]
    fn everything_that_the_mask_depends_on_changes_it() {
        let dropout = |stream| Dropout::new(ELEMENTS, 0.5, stream).unwrap();
        let first = kept(&dropout(0), 0, [0, 0, 0]);
        assert_eq!(first, kept(&dropout(0), 0, [0, 0, 0]));
        for (stream, step, chance) in
            [(1, 0, [0, 0, 0]), (0, 1, [0, 0, 0]), (0, 0, [1, 0, 0]), (0, 0, [0, 1, 0]), (0, 0, [0, 0, 1])]
        {
            let other = kept(&dropout(stream), step, chance);
            let same = first.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert_rate(same, 0.5, ELEMENTS);
        }
        // Neighbours agree by chance, too, whatever their distance.
        for distance in [1, 2, 3, 4, 64, 1024] {
            let pairs = first.iter().zip(&first[distance..]);
            assert_rate(pairs.filter(|(a, b)| a == b).count(), 0.5, ELEMENTS - distance);
        }
    }

    /// A mask is shorter or longer than another, but starts alike.
    #[test]
    fn positions_do_not_depend_on_the_length() {
        let all = kept(&Dropout::new(ELEMENTS, 0.5, 0).unwrap(), 5, [6, 7, 8]);
        for elements in [1, 2, 3, 4, 5, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1] {
            let part = kept(&Dropout::new(elements, 0.5, 0).unwrap(), 5, [6, 7, 8]);
            assert_eq!(part, all[..elements]);
        }
    }

    #[test]
    fn a_probability_out_of_range_is_refused() {
        for probability in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
            let error = Dropout::new(1, probability, 0).unwrap_err().to_string();
            assert!(error.starts_with("dropout: expected a probability of at least 0 and below 1, found "));
        }
        let thresholds = [1e-20, 0.5, 0.999_999_94].map(|p| Dropout::new(1, p, 0).unwrap().threshold());
        assert_eq!(thresholds, [u32::MAX, 1 << 31, 256]);
    }

    /// A value that is dropped is zero, whatever it was.
    #[test]
    fn what_is_dropped_leaves_nothing() {
        let dropout = Dropout::new(1000, 0.5, 0).unwrap();
        let buffers = vec![
            HostBuffer::real(vec![f32::NAN; 1000]),
            HostBuffer::index(vec![0]),
            HostBuffer::index(vec![0; 3]),
            HostBuffer::real(vec![7.0; 1000]),
        ];
        let mut operands = Operands::new(buffers);
        dropout.cpu_forms()[0].run(&mut operands);
        let output = operands.into_buffers().pop().unwrap();
        let zeros = output.reals().iter().filter(|&&value| value == 0.0).count();
        assert!(
            (400..600).contains(&zeros) && output.reals().iter().all(|value| *value == 0.0 || value.is_nan())
        );
    }
}
