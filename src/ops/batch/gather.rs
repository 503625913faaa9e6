//! The next batch of a dataset that is on the device.

use rayon::prelude::*;

use crate::device::DeviceProfile;
use crate::ops::kernel::{Implementation, KernelCall, shader};
use crate::ops::loss::NO_LABEL;
use crate::ops::op::{Access, CpuForm, Element, Op, Operand, Operands, Precision};
use crate::tensor::ImageShape;

/// Entry of the order that belongs to no part: the padding of an evaluation's last batch.
pub const NO_ROW: u32 = u32::MAX;

/// Reads the images and labels of one training step from a part of the dataset.
///
/// ```text
/// step = counter
/// row = order[step*N + n] - first_row
/// input[n,h,w,c] = images[row,h,w,c] * normalisation[0,c] + normalisation[1,c]
/// targets[n] = labels[row]
/// ```
///
/// A dataset larger than one binding is split into several parts, each with an operation of its own. That of the first
/// part writes the whole batch, with zeros and [`NO_LABEL`] for rows that it does not hold, including [`NO_ROW`]; those
/// of the other parts then fill in their rows. A step past the end changes nothing but `step`.
///
/// The operations after it read the number of the step from `step`, so that the last one that writes the loss can
/// [count](super::Advance) while others still read it.
///
/// # Shapes
/// images `[rows,H,W,C]` (bytes), labels `[rows]`, order `[steps*N]`, counter `[1]`, normalisation `[2,C]`
/// -> input `[N,H,W,C]`, targets `[N]`, step `[1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherBatch {
    /// N: number of images in a batch.
    pub batch_size: usize,
    /// H, W and C.
    pub image: ImageShape,
    /// Number of classes: labels are below this.
    pub classes: usize,
    /// Number of batches in the order.
    pub steps: usize,
    /// Number of rows in this part of the dataset.
    pub rows: usize,
    /// Number of this part's first row in the dataset; 0 for the first part.
    pub first_row: usize,
}

/// The content of a row of the batch, as far as one part of the dataset decides it.
enum Shown {
    /// This row of the part.
    Row(usize),
    /// An image of zeros without a label.
    Nothing,
    /// A row of another part, which is left unchanged.
    Earlier,
}

impl GatherBatch {
    /// The content of this part's row for `entry` of the order.
    fn shown(&self, entry: u32) -> Shown {
        match (entry as usize).checked_sub(self.first_row) {
            Some(row) if row < self.rows => Shown::Row(row),
            _ if self.first_row == 0 => Shown::Nothing,
            _ => Shown::Earlier,
        }
    }
}

impl Op for GatherBatch {
    fn name(&self) -> &'static str {
        "gather_batch"
    }

    fn operands(&self) -> Vec<Operand> {
        let ImageShape { height, width, channels } = self.image;
        let access = if self.first_row == 0 { Access::Write } else { Access::ReadWrite };
        let classes = self.classes as u32;
        vec![
            Operand::read("images", [self.rows, height, width, channels]).bytes(),
            Operand::read("labels", [self.rows]).indices(classes),
            Operand::read("order", [self.steps * self.batch_size])
                .indices((self.first_row + self.rows) as u32),
            Operand::read("counter", [1]).indices(self.steps as u32),
            Operand::read("normalisation", [2, channels]),
            Operand { access, ..Operand::write("input", [self.batch_size, height, width, channels]) },
            Operand { access, ..Operand::write("targets", [self.batch_size]).indices(classes) },
            Operand::write("step", [1]).indices(self.steps as u32),
        ]
    }

    fn define(&self, operands: &mut Operands<f64>) {
        let [images, labels, order, counter, normalisation, input, targets, step] = operands.all();
        let (scale, shift) = normalisation.reals().split_at(self.image.channels);
        step.indices_mut()[0] = counter.indices()[0];
        let step = counter.indices()[0] as usize;
        if step >= self.steps {
            return;
        }
        for n in 0..self.batch_size {
            let shown = self.shown(order.indices()[step * self.batch_size + n]);
            for i in 0..self.image.elements() {
                let c = i % self.image.channels;
                let value = &mut input.reals_mut()[n * self.image.elements() + i];
                match shown {
                    Shown::Row(row) => {
                        let byte = images.bytes()[row * self.image.elements() + i];
                        *value = f64::from(byte) * scale[c] + shift[c];
                    }
                    Shown::Nothing => *value = 0.0,
                    Shown::Earlier => {}
                }
            }
            match shown {
                Shown::Row(row) => targets.indices_mut()[n] = labels.indices()[row],
                Shown::Nothing => targets.indices_mut()[n] = NO_LABEL,
                Shown::Earlier => {}
            }
        }
    }

    /// Of the dataset, only the rows of the batch.
    fn bytes(&self) -> u64 {
        let elements = self.batch_size * self.image.elements();
        let [images, input] = [Element::Byte, Element::Real].map(|element| element.bytes(elements));
        images + input + 3 * Element::Index.bytes(self.batch_size)
    }

    /// The images of the batch side by side.
    fn cpu_forms(&self) -> Vec<CpuForm<'_>> {
        CpuForm::only(|operands| {
            let [images, labels, order, counter, normalisation, input, targets, step] = operands.all();
            let (scale, shift) = normalisation.reals().split_at(self.image.channels);
            step.indices_mut()[0] = counter.indices()[0];
            let step = counter.indices()[0] as usize;
            if step >= self.steps {
                return;
            }
            let order = &order.indices()[step * self.batch_size..][..self.batch_size];
            let image_elements = self.image.elements();
            let (images, labels) = (images.bytes(), labels.indices());
            let batch =
                input.reals_mut().par_chunks_mut(image_elements).zip(targets.indices_mut()).zip(order);
            batch.for_each(|((input, target), &entry)| match self.shown(entry) {
                Shown::Row(row) => {
                    let image = &images[row * image_elements..][..image_elements];
                    let pixels = image.chunks_exact(self.image.channels);
                    for (values, pixel) in input.chunks_exact_mut(self.image.channels).zip(pixels) {
                        for (((value, &byte), scale), shift) in
                            values.iter_mut().zip(pixel).zip(scale).zip(shift)
                        {
                            *value = f32::from(byte) * scale + shift;
                        }
                    }
                    *target = labels[row];
                }
                Shown::Nothing => {
                    input.fill(0.0);
                    *target = NO_LABEL;
                }
                Shown::Earlier => {}
            });
        })
    }

    fn implementations(&self, _: &DeviceProfile) -> Vec<Implementation> {
        let constants = vec![
            ("BATCH_SIZE", self.batch_size.into()),
            ("IMAGE_ELEMENTS", self.image.elements().into()),
            ("CHANNELS", self.image.channels.into()),
            ("STEPS", self.steps.into()),
            ("ROWS", self.rows.into()),
            ("FIRST_ROW", self.first_row.into()),
            ("NO_LABEL", NO_LABEL.into()),
        ];
        let source = shader!("batch/gather.wgsl", "grid.wgsl");
        let elements = self.batch_size * self.image.elements();
        vec![Implementation::of("direct", KernelCall::elementwise(source, constants, 8, elements))]
    }

    /// One fused multiply-add per value.
    fn flops(&self) -> u64 {
        2 * self.batch_size as u64 * self.image.elements() as u64
    }

    /// One product of a byte and a real, up to 255 times as large as a product of two reals.
    fn precision(&self) -> Precision {
        Precision { term_error: 256.0, ..Precision::sum_of_products(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::op::HostBuffer;

    #[test]
    fn the_first_part_writes_every_row_and_the_others_their_own() {
        let image = ImageShape { height: 1, width: 1, channels: 3 };
        let part =
            |rows, first_row| GatherBatch { batch_size: 3, image, classes: 10, steps: 2, rows, first_row };
        let operands = |bytes: Vec<u8>, labels: Vec<u32>, input, targets| {
            let order = HostBuffer::index(vec![0, 0, 0, 2, NO_ROW, 0]);
            let normalisation = HostBuffer::real(vec![1.0f32, 2.0, 3.0, 10.0, 20.0, 30.0]);
            Operands::new(vec![
                HostBuffer::byte(bytes),
                HostBuffer::index(labels),
                order,
                HostBuffer::index(vec![1]),
                normalisation,
                input,
                targets,
                HostBuffer::index(vec![7]),
            ])
        };
        let mut first = operands(
            vec![1, 2, 3, 4, 5, 6],
            vec![7, 8],
            HostBuffer::real(vec![-1.0; 9]),
            HostBuffer::index(vec![9; 3]),
        );
        part(2, 0).cpu_forms()[0].run(&mut first);
        let [.., input, targets, step] = first.all::<8>();
        assert_eq!(input.reals(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 11.0, 24.0, 39.0]);
        assert_eq!(targets.indices(), [NO_LABEL, NO_LABEL, 7]);
        assert_eq!(step.indices(), [1]);
        let mut second = operands(vec![255, 0, 1], vec![5], input.clone(), targets.clone());
        part(1, 2).cpu_forms()[0].run(&mut second);
        let [.., input, targets, _] = second.all::<8>();
        assert_eq!(input.reals(), [265.0, 20.0, 33.0, 0.0, 0.0, 0.0, 11.0, 24.0, 39.0]);
        assert_eq!(targets.indices(), [5, NO_LABEL, 7]);
    }
}
