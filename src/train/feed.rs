//! Uploading a dataset to the device, and the order in which its rows are used.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::data::{Dataset, Normalisation};
use crate::network::{Network, Weights};
use crate::ops::HostBuffer;
use crate::ops::batch::NO_ROW;
use crate::plan::{DataParts, Executor, Plan, Prepared};
use crate::tensor::Shape;
use crate::{Result, host_memory};

/// How `data` is split over buffers of at most `max_bytes`.
pub fn split(name: &'static str, data: &Dataset, max_bytes: u64) -> DataParts {
    let image_bytes = data.image.elements();
    let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(Shape::MAX_ELEMENTS);
    let rows_in_part = (most / image_bytes).clamp(1, data.len());
    let mut rows = vec![rows_in_part; data.len() / rows_in_part];
    rows.extend(Some(data.len() % rows_in_part).filter(|&rest| rest > 0));
    DataParts { name, image: data.image, classes: data.classes.len(), rows }
}

/// Writes images, labels and their normalisation into the buffers of a plan that was made for `parts`.
pub fn upload(
    executor: &mut dyn Executor,
    plan: &Plan,
    prepared: Prepared,
    parts: &DataParts,
    data: &Dataset,
    normalisation: &Normalisation,
) -> Result<()> {
    let mut write =
        |name: &str, content: HostBuffer<f32>| executor.write(prepared, plan.expect(name), &content);
    let image_bytes = data.image.elements();
    let mut first = 0;
    for (part, rows) in parts.rows.iter().enumerate() {
        let images = match *rows == data.len() {
            true => data.images.clone(),
            false => {
                let part = &data.images[first * image_bytes..(first + rows) * image_bytes];
                let (what, advice) = ("a part of the images", "fewer images");
                host_memory::check(what, part.len() as u64, advice)?;
                let mut copy = host_memory::reserved(what, part.len(), advice)?;
                copy.extend_from_slice(part);
                copy.into()
            }
        };
        write(&format!("{}/images.{part}", parts.name), HostBuffer::shared_bytes(images))?;
        write(
            &format!("{}/labels.{part}", parts.name),
            HostBuffer::index(data.labels[first..first + rows].to_vec()),
        )?;
        first += rows;
    }
    write("normalisation", HostBuffer::real(normalisation.scale_and_shift()))
}

/// Writes the value of every variable of `network` to the device.
pub fn write_weights(
    executor: &mut dyn Executor,
    plan: &Plan,
    prepared: Prepared,
    network: &Network,
    weights: &Weights,
) -> Result<()> {
    network.check_weights(weights)?;
    network.variables().try_for_each(|variable| {
        let values = HostBuffer::real(weights.values(variable)?);
        executor.write(prepared, plan.expect(&variable.name), &values)
    })
}

/// The value of every variable of `network`, from the device.
pub fn read_weights(
    executor: &mut dyn Executor,
    plan: &Plan,
    prepared: Prepared,
    network: &Network,
) -> Result<Weights> {
    let read = network.variables().map(|variable| {
        let values = executor.read(prepared, plan.expect(&variable.name))?;
        Ok((variable.name.clone(), variable.to_pytorch(values.reals())?))
    });
    read.collect()
}

/// The rows of one epoch of training, shuffled; rows that do not fill a last batch are dropped.
pub fn shuffled(rows: usize, batch_size: usize, seed: u64, epoch: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Each epoch has a random stream of its own, distinct from those of the initial parameters.
    rng.set_stream((1 << 32) + epoch as u64);
    let mut order: Vec<u32> = (0..rows as u32).collect();
    order.shuffle(&mut rng);
    order.truncate(rows / batch_size * batch_size);
    order
}

/// All rows once, in their own order; the last batch is filled up with [`NO_ROW`].
pub fn in_order(rows: usize, batch_size: usize) -> Vec<u32> {
    let padded = rows.next_multiple_of(batch_size);
    (0..padded).map(|row| if row < rows { row as u32 } else { NO_ROW }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ImageShape;

    #[test]
    fn parts_hold_every_row_within_the_limit() {
        let image = ImageShape { height: 2, width: 3, channels: 1 };
        let data =
            Dataset { image, classes: vec!["a".into()], images: vec![0; 60].into(), labels: vec![0; 10] };
        assert_eq!(split("train", &data, u64::MAX).rows, [10]);
        assert_eq!(split("train", &data, 24).rows, [4, 4, 2]);
        assert_eq!(split("train", &data, 30).rows, [5, 5]);
    }

    #[test]
    fn an_epoch_shows_each_row_at_most_once_and_differs_from_the_next() {
        let (first, second) = (shuffled(100, 8, 1, 0), shuffled(100, 8, 1, 1));
        assert_eq!(first.len(), 96);
        assert_ne!(first, second);
        assert_eq!(first, shuffled(100, 8, 1, 0));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 96);
    }

    #[test]
    fn evaluation_shows_every_row_and_pads() {
        assert_eq!(in_order(5, 2), [0, 1, 2, 3, 4, NO_ROW]);
        assert_eq!(in_order(4, 2), [0, 1, 2, 3]);
    }
}
