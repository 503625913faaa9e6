//! Variations of the images of a batch, so that a network never sees the same image twice.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cpu::with_scratch;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::op::{CpuForm, Op, Operand, Operands, Precision};
use crate::tensor::ImageShape;

/// What lies around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Black: bytes of 0.
    #[default]
    Zero,
    /// The image mirrored at its outermost pixels, which are not repeated: `c b | a b c | b a`.
    Reflect,
}

/// A rectangle of pixels (y, x) with `top <= y < bottom` and `left <= x < right`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rectangle {
    /// First row.
    pub top: f32,
    /// First column.
    pub left: f32,
    /// The row after the last one.
    pub bottom: f32,
    /// The column after the last one.
    pub right: f32,
}

impl Rectangle {
    fn contains(&self, y: usize, x: usize) -> bool {
        let (y, x) = (y as f32, x as f32);
        self.top <= y && y < self.bottom && self.left <= x && x < self.right
    }
}

/// How one image of a batch is varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move {
    /// The place in the image that is shown at (y, x): its row is `a*y + b*x + c`, for these `[a, b, c]`.
    pub row: [f32; 3],
    /// The same for its column.
    pub column: [f32; 3],
    /// Factor of the normalised values: contrast.
    pub gain: f32,
    /// What is added to them then: brightness.
    pub offset: f32,
    /// Pixels that are 0, the mean, instead.
    pub cut: Rectangle,
    /// Number in the batch of the image that is mixed in, with its own move.
    pub partner: f32,
    /// The pixels of which the partner has the share `inside`.
    pub patch: Rectangle,
    /// The partner's share of the pixels inside the patch.
    pub inside: f32,
    /// The partner's share of all other pixels.
    pub outside: f32,
    /// The share of the partner's label in the target.
    pub label_share: f32,
}

impl Move {
    /// Number of values of a move in the table.
    pub const SIZE: usize = 20;

    /// Shows the image as it is.
    pub const NONE: Move = Move {
        row: [1.0, 0.0, 0.0],
        column: [0.0, 1.0, 0.0],
        gain: 1.0,
        offset: 0.0,
        cut: Rectangle { top: 0.0, left: 0.0, bottom: 0.0, right: 0.0 },
        partner: 0.0,
        patch: Rectangle { top: 0.0, left: 0.0, bottom: 0.0, right: 0.0 },
        inside: 0.0,
        outside: 0.0,
        label_share: 0.0,
    };

    /// The move's row of the table.
    pub fn to_row(self) -> [f32; Move::SIZE] {
        let Move { row: [a, b, c], column: [d, e, f], gain, offset, cut, partner, patch, .. } = self;
        let Move { inside, outside, label_share, .. } = self;
        [
            a,
            b,
            c,
            d,
            e,
            f,
            gain,
            offset,
            cut.top,
            cut.left,
            cut.bottom,
            cut.right,
            patch.top,
            patch.left,
            patch.bottom,
            patch.right,
            partner,
            inside,
            outside,
            label_share,
        ]
    }

    /// The move of a row of the table.
    ///
    /// # Panics
    /// When the row has another length than [`Move::SIZE`].
    pub fn from_row(row: &[f32]) -> Move {
        let row: &[f32; Move::SIZE] = row.try_into().expect("a row of the table");
        let rectangle = |first: usize| {
            let [top, left, bottom, right] = [0, 1, 2, 3].map(|side| row[first + side]);
            Rectangle { top, left, bottom, right }
        };
        Move {
            row: [row[0], row[1], row[2]],
            column: [row[3], row[4], row[5]],
            gain: row[6],
            offset: row[7],
            cut: rectangle(8),
            patch: rectangle(12),
            partner: row[16],
            inside: row[17],
            outside: row[18],
            label_share: row[19],
        }
    }
}

/// Varies the images of a batch, each as its row of a table of [`Move`]s says, and mixes pairs of them if it is asked to.
///
/// ```text
/// m = moves[step*N + n], (v, u) = (m.row . (y, x, 1), m.column . (y, x, 1))
/// shown[n,y,x,c] = m.gain * batch[n,v,u,c] + m.offset, 0 within m.cut
/// share = m.inside within m.patch, else m.outside
/// input[n,y,x,c] = (1 - share) * shown[n,y,x,c] + share * shown[m.partner,y,x,c]
/// mixed_targets[n] = targets[m.partner], mixed_shares[n] = m.label_share
/// ```
///
/// Between pixels, `batch` is interpolated linearly along both axes; a place whose coordinates are integers has its pixel's
/// value exactly. Beyond the border, it is as [`Padding`] says. Without mixing, shares count as 0, and there are no mixed
/// targets. A partner that is no number of the batch counts as the nearest one; places farther out than 2^24 pixels count as
/// being there. A step past the end changes nothing.
///
/// # Shapes
/// batch `[N,H,W,C]`, normalisation `[2,C]` (by which black is 0 * normalisation\[0\] + normalisation\[1\]), moves
/// `[steps*N,20]`, step `[1]` -> input `[N,H,W,C]`; with mixing also targets `[N]` -> mixed_targets `[N]`, mixed_shares
/// `[N]`.
///
/// # Sources
/// Cutout: DeVries and Taylor 2017. Mixup: Zhang et al. 2018. CutMix: Yun et al. 2019.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AugmentBatch {
    /// N: number of images in a batch.
    pub batch_size: usize,
    /// H, W and C.
    pub image: ImageShape,
    /// Number of batches in the table.
    pub steps: usize,
    /// Number of classes: labels are below this.
    pub classes: usize,
    /// What lies around an image.
    pub padding: Padding,
    /// Whether images are mixed.
    pub mixes: bool,
}

/// Coordinates farther out count as this.
const FARTHEST: f32 = (1 << 24) as f32;

/// The pixel that a coordinate stands for, on an axis of `size` pixels; `None` for black.
fn pixel(coordinate: i64, size: usize, padding: Padding) -> Option<usize> {
    let last = size as i64 - 1;
    match padding {
        Padding::Zero => (0..=last).contains(&coordinate).then_some(coordinate as usize),
        Padding::Reflect if last == 0 => Some(0),
        Padding::Reflect => {
            let folded = coordinate.abs() % (2 * last);
            Some(folded.min(2 * last - folded) as usize)
        }
    }
}

/// The image that a partner's number stands for.
fn partner(number: f32, batch_size: usize) -> usize {
    (number.max(0.0) as usize).min(batch_size - 1)
}

impl AugmentBatch {
    /// Calls `write` with the four pixels around a place, as indices of the first channel (`None` for black), and with the
    /// place's distances from the first of them along y and x.
    fn around(&self, m: &Move, y: usize, x: usize) -> ([Option<usize>; 4], [f32; 2]) {
        let (y, x) = (y as f32, x as f32);
        let place = |[a, b, c]: [f32; 3]| (a * y + b * x + c).clamp(-FARTHEST, FARTHEST);
        let [v, u] = [place(m.row), place(m.column)];
        let [top, left] = [v.floor(), u.floor()];
        let index = |down: i64, across: i64| {
            let y = pixel(top as i64 + down, self.image.height, self.padding)?;
            let x = pixel(left as i64 + across, self.image.width, self.padding)?;
            Some((y * self.image.width + x) * self.image.channels)
        };
        ([index(0, 0), index(0, 1), index(1, 0), index(1, 1)], [v - top, u - left])
    }

    /// The pixels of one image as its move shows them.
    fn show(&self, m: &Move, image: &[f32], black: &[f32], shown: &mut [f32]) {
        let ImageShape { width, channels, .. } = self.image;
        for (number, shown) in shown.chunks_exact_mut(channels).enumerate() {
            let (y, x) = (number / width, number % width);
            if m.cut.contains(y, x) {
                shown.fill(0.0);
                continue;
            }
            let (corners, [down, across]) = self.around(m, y, x);
            let [a, b, c, d] =
                corners.map(|corner| corner.map_or(black, |first| &image[first..first + channels]));
            if down == 0.0 && across == 0.0 {
                for (shown, a) in shown.iter_mut().zip(a) {
                    *shown = m.gain * a + m.offset;
                }
                continue;
            }
            for (channel, shown) in shown.iter_mut().enumerate() {
                let upper = (1.0 - across) * a[channel] + across * b[channel];
                let lower = (1.0 - across) * c[channel] + across * d[channel];
                *shown = m.gain * ((1.0 - down) * upper + down * lower) + m.offset;
            }
        }
    }
}

impl AugmentBatch {
    /// Mixes what a partner shows into what an image shows.
    fn mix(&self, m: &Move, partner: &[f32], image: &mut [f32]) {
        let ImageShape { width, channels, .. } = self.image;
        let pixels = image.chunks_exact_mut(channels).zip(partner.chunks_exact(channels));
        for (number, (pixel, other)) in pixels.enumerate() {
            let share = if m.patch.contains(number / width, number % width) { m.inside } else { m.outside };
            if share != 0.0 {
                for (value, other) in pixel.iter_mut().zip(other) {
                    *value = (1.0 - share) * *value + share * other;
                }
            }
        }
    }
}

impl Op for AugmentBatch {
    fn name(&self) -> &'static str {
        "augment_batch"
    }

    fn operands(&self) -> Vec<Operand> {
        let ImageShape { height, width, channels } = self.image;
        let (batch_size, classes) = (self.batch_size, self.classes as u32);
        let mut operands = vec![
            Operand::read("batch", [batch_size, height, width, channels]),
            Operand::read("normalisation", [2, channels]),
            Operand::read("moves", [self.steps * batch_size, Move::SIZE]),
            Operand::read("step", [1]).indices(self.steps as u32),
            Operand::write("input", [batch_size, height, width, channels]),
        ];
        if self.mixes {
            operands.push(Operand::read("targets", [batch_size]).indices(classes));
            operands.push(Operand::write("mixed_targets", [batch_size]).indices(classes));
            operands.push(Operand::write("mixed_shares", [batch_size]));
        }
        operands
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let ([batch, normalisation, moves, step, input], mixing) = operands.split();
        let step = step.indices()[0] as usize;
        if step >= self.steps {
            return;
        }
        let ImageShape { height, width, channels } = self.image;
        let (batch, black) = (batch.reals(), &normalisation.reals()[channels..]);
        let move_of = |n: usize| {
            let row = &moves.reals()[(step * self.batch_size + n) * Move::SIZE..][..Move::SIZE];
            Move::from_row(&row.iter().map(|&value| value as f32).collect::<Vec<_>>())
        };
        let at = |n: usize, y: f64, x: f64, c: usize| {
            let rows = pixel(y as i64, height, self.padding);
            let columns = pixel(x as i64, width, self.padding);
            match (rows, columns) {
                (Some(y), Some(x)) => batch[((n * height + y) * width + x) * channels + c],
                _ => black[c],
            }
        };
        let shown = |n: usize, y: usize, x: usize, c: usize| {
            let m = move_of(n);
            if m.cut.contains(y, x) {
                return 0.0;
            }
            let place = |[a, b, c]: [f32; 3]| {
                let sum = f64::from(a) * y as f64 + f64::from(b) * x as f64 + f64::from(c);
                sum.clamp(-f64::from(FARTHEST), f64::from(FARTHEST))
            };
            let [v, u] = [place(m.row), place(m.column)];
            let mut sum = 0.0;
            // A pixel counts as much as its distance is below 1, along each axis.
            for y in [v.floor(), v.floor() + 1.0] {
                for x in [u.floor(), u.floor() + 1.0] {
                    let weight = (1.0 - (v - y).abs()) * (1.0 - (u - x).abs());
                    if weight != 0.0 {
                        sum += weight * at(n, y, x, c);
                    }
                }
            }
            f64::from(m.gain) * sum + f64::from(m.offset)
        };
        for n in 0..self.batch_size {
            let m = move_of(n);
            let other = partner(m.partner, self.batch_size);
            for y in 0..height {
                for x in 0..width {
                    let share = if m.patch.contains(y, x) { m.inside } else { m.outside };
                    for c in 0..channels {
                        let value = &mut input.reals_mut()[((n * height + y) * width + x) * channels + c];
                        *value = shown(n, y, x, c);
                        if self.mixes && share != 0.0 {
                            let share = f64::from(share);
                            *value = (1.0 - share) * *value + share * shown(other, y, x, c);
                        }
                    }
                }
            }
        }
        let [targets, mixed_targets, mixed_shares] = mixing else { return };
        for n in 0..self.batch_size {
            let m = move_of(n);
            mixed_targets.indices_mut()[n] = targets.indices()[partner(m.partner, self.batch_size)];
            mixed_shares.reals_mut()[n] = f64::from(m.label_share);
        }
    }

    /// The images of the batch side by side.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let ([batch, normalisation, moves, step, input], mixing) = operands.split();
            let step = step.indices()[0] as usize;
            if step >= self.steps {
                return;
            }
            let elements = self.image.elements();
            let image = |n: usize| &batch.reals()[n * elements..(n + 1) * elements];
            let black = &normalisation.reals()[self.image.channels..];
            let moves = &moves.reals()[step * self.batch_size * Move::SIZE..];
            let move_of = |n: usize| Move::from_row(&moves[n * Move::SIZE..][..Move::SIZE]);
            let input = input.reals_mut();
            input.par_chunks_mut(elements).enumerate().for_each(|(n, input)| {
                self.show(&move_of(n), image(n), black, input);
            });
            let [targets, mixed_targets, mixed_shares] = mixing else { return };
            for (n, label) in mixed_targets.indices_mut().iter_mut().enumerate() {
                *label = targets.indices()[partner(move_of(n).partner, self.batch_size)];
            }
            for (n, share) in mixed_shares.reals_mut().iter_mut().enumerate() {
                *share = move_of(n).label_share;
            }
            // A partner's pixels are those that it shows before it is mixed itself.
            with_scratch(input.len(), |shown| {
                shown.copy_from_slice(input);
                input.par_chunks_mut(elements).enumerate().for_each(|(n, input)| {
                    let m = move_of(n);
                    let other = partner(m.partner, self.batch_size);
                    self.mix(&m, &shown[other * elements..][..elements], input);
                });
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let ImageShape { height, width, channels } = self.image;
        let constants = vec![
            ("BATCH_SIZE", self.batch_size.into()),
            ("HEIGHT", height.into()),
            ("WIDTH", width.into()),
            ("CHANNELS", channels.into()),
            ("STEPS", self.steps.into()),
        ];
        let mut source = shader!("batch/augment.wgsl", "grid.wgsl");
        let padding = match self.padding {
            Padding::Zero => shader!("batch/augment_zero.wgsl"),
            Padding::Reflect => shader!("batch/augment_reflect.wgsl"),
        };
        let mixing = match self.mixes {
            true => shader!("batch/augment_mixed.wgsl"),
            false => shader!("batch/augment_alone.wgsl"),
        };
        source.files.extend(padding.files.into_iter().chain(mixing.files));
        let operands = if self.mixes { 8 } else { 5 };
        let elements = self.batch_size * self.image.elements();
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, operands, elements))]
    }

    /// Seven multiply-adds for a value between pixels, and two for what is done with it.
    fn flops(&self) -> u64 {
        let each = if self.mixes { 2 * (2 * 9) } else { 2 * 9 };
        each * self.batch_size as u64 * self.image.elements() as u64
    }

    /// A place is a sum of three products of sizes up to the image's; its error weighs as much as the difference between
    /// neighbouring pixels.
    fn precision(&self) -> Precision {
        let side = self.image.height.max(self.image.width) as f64;
        Precision { term_error: 16.0 * side, ..Precision::sum_of_products(8) }
    }
}
