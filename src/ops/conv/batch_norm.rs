//! A convolution and the normalisation of its output with the statistics of the batch, in one.

use super::{ConvForward, OPERANDS};
use crate::device::DeviceProfile;
use crate::ops::cost::{LAUNCH, travel};
use crate::ops::kernel::{Implementation, best_first};
use crate::ops::norm::{BatchNormTrain, train};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision, Read};

/// A [`ConvForward`], and the [`BatchNormTrain`] of its output.
///
/// Both answers are written, since the gradients need them. Kernels that hold results of the convolution in registers can sum up
/// the statistics before they store them, so that the normalisation reads the tensor once and not twice.
///
/// # Shapes
/// The operands of the convolution, of which the output is called convolved, then those of the normalisation but for its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvBatchNorm {
    conv: ConvForward,
    norm: BatchNormTrain,
}

/// The number of the operand convolved.
const CONVOLVED: usize = OPERANDS - 1;

/// Times that the normalisation's kernels read or write a whole tensor: for the statistics, and to normalise it.
const FOR_STATISTICS: usize = 1;
const TO_NORMALISE: usize = 2;

impl ConvBatchNorm {
    /// Both; `None` if the normalisation is not one of the convolution's output, or if each group is a product of its own, whose
    /// columns would be too few to fill a tile.
    pub fn new(conv: ConvForward, norm: BatchNormTrain) -> Option<Self> {
        let geometry = &conv.geometry;
        let rows = geometry.batch_size * geometry.positions();
        let fits = norm.shape() == [rows, geometry.out_channels] && geometry.groups == 1;
        fits.then_some(ConvBatchNorm { conv, norm })
    }

    /// Numbers of the convolution's operands.
    fn of_conv(&self) -> Vec<usize> {
        (0..self.conv.operands().len()).collect()
    }

    /// Numbers of the normalisation's operands: first its input.
    fn of_norm(&self) -> Vec<usize> {
        let first = self.conv.operands().len();
        [CONVOLVED].into_iter().chain(first..first + self.norm.operands().len() - 1).collect()
    }

    /// The elements of the operand convolved.
    fn elements(&self) -> usize {
        self.conv.geometry.output_shape().elements()
    }

    /// A way to convolve, and then the normalisation: in `simplest` kernels, or in the best ones.
    fn complete(&self, mut way: Implementation, simplest: bool, device: &DeviceProfile) -> Implementation {
        let of_norm = self.of_norm();
        let after_tiles = way.moments.and_then(|moments| self.norm.after_tiles(moments.rows, device));
        let (passes, launches) = match after_tiles {
            Some(reader) => {
                let launches = reader.calls.len();
                way = way.followed_by_reader(reader, &of_norm);
                (TO_NORMALISE, launches)
            }
            None => {
                let norm = match simplest {
                    true => self.norm.reference_implementation(device),
                    false => self.norm.implementations(device).swap_remove(0),
                };
                let launches = norm.calls.len();
                way = way.followed_by(norm, &of_norm);
                (FOR_STATISTICS + TO_NORMALISE, launches)
            }
        };
        way.cost.time += launches as f64 * LAUNCH + travel(passes * self.elements(), device);
        way
    }
}

impl Op for ConvBatchNorm {
    fn name(&self) -> &'static str {
        "conv2d.batch_norm"
    }

    fn operands(&self) -> Vec<Operand> {
        let mut operands = self.conv.operands();
        operands[CONVOLVED].name = "convolved";
        operands.extend(self.norm.operands().into_iter().skip(1));
        operands
    }

    /// The statistics are not those of rounded values.
    fn takes_halves(&self, operand: usize) -> bool {
        let of_norm = self.of_norm().iter().position(|&of_norm| of_norm == operand);
        operand != CONVOLVED && of_norm.is_none_or(|operand| self.norm.takes_halves(operand))
    }

    fn define(&self, operands: &mut Operands<f64>) {
        operands.with(&self.of_conv(), |operands| self.conv.define(operands));
        operands.with(&self.of_norm(), |operands| self.norm.define(operands));
    }

    fn define_at(&self, read: &Read<'_>, index: usize) -> Option<f64> {
        match index.checked_sub(self.elements()) {
            None => self.conv.define_at(read, index),
            Some(index) => {
                let of_norm = self.of_norm();
                self.norm.define_at(&|operand, position| read(of_norm[operand], position), index)
            }
        }
    }

    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        let forms = self.conv.cpu_forms().into_iter().map(|conv| {
            let norm = self.norm.cpu_forms().swap_remove(0);
            CpuForm::rounding(conv.name, conv.amplification, move |operands| {
                operands.with(&self.of_conv(), |operands| conv.run(operands));
                operands.with(&self.of_norm(), |operands| norm.run(operands));
            })
        });
        forms.collect()
    }

    fn implementations(&self, device: &DeviceProfile) -> Vec<Implementation> {
        let ways = self.conv.ways(device, true);
        // The last one is the simplest.
        let last = ways.len().saturating_sub(1);
        let complete = |(number, way)| self.complete(way, number == last, device);
        best_first(ways.into_iter().enumerate().map(complete).collect())
    }

    fn flops(&self) -> u64 {
        self.conv.flops() + self.norm.flops()
    }

    /// The convolution's errors as the normalisation enlarges them.
    fn precision(&self) -> Precision {
        let (conv, norm) = (self.conv.precision(), self.norm.precision());
        Precision { summed: conv.summed, term_error: conv.term_error * norm.term_error, ..norm }
    }

    /// The convolution's output is as accurate as without the normalisation. Statistics have the errors of both, of which a
    /// variance has not more than a mean: of values with random signs, it is not larger than the number of their terms.
    fn precision_of(&self, operand: usize) -> Precision {
        let conv = self.conv.precision();
        let number = self.of_norm().iter().position(|&number| number == operand);
        let times = match number {
            None | Some(train::INPUT) => 1.0,
            Some(number) => self.norm.precision_of(number).term_error,
        };
        Precision { term_error: times * conv.term_error, exact_on_integers: false, ..conv }
    }
}
