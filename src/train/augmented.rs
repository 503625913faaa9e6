//! Augmented images, to look at.

use super::Augmentation;
use crate::data::{Dataset, Normalisation};
use crate::ops::batch::{AugmentBatch, GatherBatch};
use crate::ops::{HostBuffer, Op, Operands};
use crate::{Result, host_memory};

impl Augmentation {
    /// The images of these `rows` of `data` as an epoch, counted from 0, would show them if they were its only batch: where
    /// images are mixed, they are mixed with each other. They are computed on the CPU by the operations of a training,
    /// which sees images through `normalisation`; here they are bytes again, in the order of `rows`, with the labels of the
    /// data.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) when there is too little memory; [`Error::Invalid`](crate::Error::Invalid)
    /// for numbers out of range.
    ///
    /// # Panics
    /// When a row is not in the data.
    pub fn shown(
        &self,
        data: &Dataset,
        normalisation: &Normalisation,
        rows: &[u32],
        seed: u64,
        epoch: usize,
    ) -> Result<Dataset> {
        self.check()?;
        let (image, batch_size, classes) = (data.image, rows.len(), data.classes.len());
        let labels: Vec<u32> = rows.iter().map(|&row| data.labels[row as usize]).collect();
        let values = batch_size * image.elements();
        // Twice as reals, and then as bytes.
        let bytes = values as u64 * (2 * size_of::<f32>() as u64 + 1);
        host_memory::check("varying images", bytes, "smaller images, by --image-size")?;

        let scale_and_shift = HostBuffer::real(normalisation.scale_and_shift().concat());
        let first = HostBuffer::index(vec![0]);
        let gather = GatherBatch { batch_size, image, classes, steps: 1, rows: data.len(), first_row: 0 };
        let mut gathered = run(
            &gather,
            vec![
                HostBuffer::shared_bytes(data.images.clone()),
                HostBuffer::index(data.labels.clone()),
                HostBuffer::index(rows.to_vec()),
                first.clone(),
                scale_and_shift.clone(),
                HostBuffer::real(vec![0.0; values]),
                HostBuffer::index(vec![0; batch_size]),
                first.clone(),
            ],
        )
        .into_iter()
        .skip(5);
        let (batch, targets) = gathered.next().zip(gathered.next()).expect("what the operation writes");
        let moves = self.moves(rows, data.len(), batch_size, image, seed, epoch);
        let (padding, mixes) = (self.padding, self.mixes());
        let augment = AugmentBatch { batch_size, image, steps: 1, classes, padding, mixes };
        let mut buffers =
            vec![batch, scale_and_shift, HostBuffer::real(moves), first, HostBuffer::real(vec![0.0; values])];
        if mixes {
            buffers.extend([
                targets,
                HostBuffer::index(vec![0; batch_size]),
                HostBuffer::real(vec![0.0; batch_size]),
            ]);
        }
        let mut shown = run(&augment, buffers).swap_remove(4).into_reals();
        let Normalisation { mean, deviation } = normalisation;
        for pixel in shown.chunks_exact_mut(image.channels) {
            for ((value, mean), deviation) in pixel.iter_mut().zip(mean).zip(deviation) {
                *value = ((*value * deviation + mean) / 255.0).clamp(0.0, 1.0);
            }
        }
        Dataset::from_floats(image, data.classes.clone(), &shown, labels)
    }
}

/// The operands of an operation after it ran.
fn run(op: &dyn Op, buffers: Vec<HostBuffer<f32>>) -> Vec<HostBuffer<f32>> {
    let mut operands = Operands::new(buffers);
    op.cpu_forms()[0].run(&mut operands);
    operands.into_buffers()
}
