//! Loss and accuracy over a whole dataset, exactly.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::feed;
use super::tta::TestAugmentation;
use crate::data::{Dataset, HeldOut, Normalisation};
use crate::network::{Network, Weights};
use crate::ops::HostBuffer;
use crate::ops::batch::NO_ROW;
use crate::plan::{
    AugmentOptions, BufferId, DataParts, EvaluateOptions, Executor, Memory, Pending, Plan, Prepared,
    Prologues, evaluate_plan,
};
use crate::predict::winner;
use crate::{Error, Result, host_memory};

/// Loss and accuracy over a whole dataset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy of all images.
    pub loss: f64,
    /// Images whose largest logit is their class.
    pub correct: u64,
    /// Number of all images.
    pub images: u64,
}

impl Evaluation {
    /// The figures of logits [images, classes] and the class of each image.
    ///
    /// # Panics
    /// When there are not as many logits as images times classes.
    pub fn of_logits(logits: &[f64], labels: &[u32], classes: usize) -> Evaluation {
        assert_eq!(logits.len(), labels.len() * classes, "logits of {} images", labels.len());
        let (mut sum, mut correct) = (0.0, 0);
        for (logits, &label) in logits.chunks_exact(classes).zip(labels) {
            let winner = winner(logits);
            let largest = logits[winner];
            let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            sum += total.ln() + (largest - logits[label as usize]);
            correct += u64::from(winner == label as usize);
        }
        Evaluation { loss: sum / labels.len() as f64, correct, images: labels.len() as u64 }
    }

    /// Share of the images that are classified correctly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }
}

/// An evaluation plan, ready to run on an executor that holds the parameters.
#[derive(Debug)]
pub struct Evaluator {
    plan: Arc<Plan>,
    prepared: Prepared,
    held_out: HeldOut,
    data: DataParts,
    normalisation: Normalisation,
    classes: usize,
    batch_size: usize,
    // Batches and images in use, and the number of images that there is room for.
    steps: usize,
    images: usize,
    room: usize,
}

/// Batches between two reads, so that an interruption is noticed soon on a slow device too.
const BATCHES_AT_ONCE: usize = 16;

impl Evaluator {
    /// The same, for images that are shown in several ways: [`Evaluator::classify_augmented`].
    ///
    /// # Errors
    /// Those of [`Evaluator::new`].
    pub fn augmented(
        executor: &mut dyn Executor,
        network: &Network,
        set: (HeldOut, &Dataset),
        normalisation: &Normalisation,
        batch_size: usize,
        way: TestAugmentation,
    ) -> Result<Self> {
        Self::prepare(executor, network, set, normalisation, batch_size, Some(way.options()))
    }

    /// Prepares `executor` to evaluate `network` on `data`, and uploads the data. The last batch is padded and its
    /// padding is masked, so that every image counts exactly once. An executor has room for one evaluator of each
    /// [`HeldOut`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch size of 0; any error of the device.
    pub fn new(
        executor: &mut dyn Executor,
        network: &Network,
        (held_out, data): (HeldOut, &Dataset),
        normalisation: &Normalisation,
        batch_size: usize,
    ) -> Result<Self> {
        Self::prepare(executor, network, (held_out, data), normalisation, batch_size, None)
    }

    fn prepare(
        executor: &mut dyn Executor,
        network: &Network,
        (held_out, data): (HeldOut, &Dataset),
        normalisation: &Normalisation,
        batch_size: usize,
        augment: Option<AugmentOptions>,
    ) -> Result<Self> {
        let options = EvaluateOptions { augment, ..Self::options(executor, (held_out, data), batch_size)? };
        let plan = Arc::new(Self::plan(network, &options)?);
        let prepared = executor.prepare(plan.clone())?;
        feed::upload(executor, &plan, prepared, &options.data, data, normalisation)?;
        let (steps, images) = (options.steps, data.len());
        let evaluator = Evaluator {
            plan,
            prepared,
            held_out,
            data: options.data,
            normalisation: normalisation.clone(),
            classes: data.classes.len(),
            batch_size,
            steps,
            images,
            room: images,
        };
        let order = feed::in_order(images, batch_size);
        evaluator.write(executor, "order", HostBuffer::index(order))?;
        Ok(evaluator)
    }

    /// Replaces the images that are evaluated by as many others, or by fewer.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more images than there is room for, for none, or for images of another size;
    /// [`Error::Device`] when the device failed.
    pub fn replace_data(&mut self, executor: &mut dyn Executor, mut data: Dataset) -> Result<()> {
        if !(1..=self.room).contains(&data.len()) {
            return Err(Error::invalid("evaluation", format!("1 to {} images", self.room), data.len()));
        }
        if data.image != self.data.image {
            return Err(Error::invalid("evaluation", format!("images of {}", self.data.image), data.image));
        }
        self.images = data.len();
        Arc::make_mut(&mut data.images).resize(self.room * data.image.elements(), 0);
        data.labels.resize(self.room, 0);
        feed::upload(executor, &self.plan, self.prepared, &self.data, &data, &self.normalisation)?;
        self.steps = self.images.div_ceil(self.batch_size);
        let mut order = feed::in_order(self.images, self.batch_size);
        order.resize(self.room.next_multiple_of(self.batch_size), NO_ROW);
        self.write(executor, "order", HostBuffer::index(order))
    }

    /// What the evaluation plan for `data` needs to know.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch size of 0.
    pub(super) fn options(
        executor: &dyn Executor,
        (held_out, data): (HeldOut, &Dataset),
        batch_size: usize,
    ) -> Result<EvaluateOptions> {
        if batch_size == 0 {
            return Err(Error::invalid("evaluation", "a batch size of at least 1", 0));
        }
        let parts = feed::split(held_out.prefix(), data, executor.max_buffer_bytes());
        Ok(EvaluateOptions { batch_size, steps: data.len().div_ceil(batch_size), data: parts, augment: None })
    }

    /// The plan that [`Evaluator::new`] prepares.
    pub(super) fn plan(network: &Network, options: &EvaluateOptions) -> Result<Plan> {
        Ok(evaluate_plan(network, options)?.fused(Prologues::WhereTheyPay))
    }

    /// The memory that an evaluation takes on `executor`, beside the parameters.
    ///
    /// # Errors
    /// As [`Evaluator::new`].
    pub fn memory(
        executor: &dyn Executor,
        network: &Network,
        data: (HeldOut, &Dataset),
        batch_size: usize,
    ) -> Result<Memory> {
        let plan = Self::plan(network, &Self::options(executor, data, batch_size)?)?;
        Ok(executor.memory(&plan))
    }

    fn buffer(&self, name: &str) -> BufferId {
        self.plan.expect(&format!("{}/{name}", self.held_out.prefix()))
    }

    fn write(&self, executor: &mut dyn Executor, name: &str, content: HostBuffer<f32>) -> Result<()> {
        executor.write(self.prepared, self.buffer(name), &content)
    }

    /// Uploads weights to the executor's device, where all plans of the network share them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for weights that are not the network's; [`Error::Device`] when the device failed.
    pub fn set_weights(
        &self,
        executor: &mut dyn Executor,
        network: &Network,
        weights: &Weights,
    ) -> Result<()> {
        feed::write_weights(executor, &self.plan, self.prepared, network, weights)
    }

    /// The prepared plan, which shares its parameters with every other plan of the executor.
    pub fn prepared(&self) -> (&Plan, Prepared) {
        (&self.plan, self.prepared)
    }

    /// Evaluates the parameters that the executor holds now.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a loss is NaN or infinite; [`Error::Device`] when the device failed.
    pub fn evaluate(&self, executor: &mut dyn Executor) -> Result<Evaluation> {
        self.write(executor, "step", HostBuffer::index(vec![0]))?;
        let mut done = 0;
        while done < self.steps {
            let batches = BATCHES_AT_ONCE.min(self.steps - done);
            executor.run(self.prepared, batches)?;
            done += batches;
        }
        self.figures(executor)
    }

    /// Evaluates the parameters that the executor holds now, and returns the logits of every image too,
    /// [images, classes], exactly as the executor computed them.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn classify(&self, executor: &mut dyn Executor) -> Result<(Evaluation, Vec<f64>)> {
        self.write(executor, "step", HostBuffer::index(vec![0]))?;
        let logits = self.plan.kept().next().expect("the logits, which an evaluation plan keeps");
        let what = format!("the logits of {} images", self.images);
        let mut all = host_memory::reserved(&what, self.images * self.classes, "fewer images")?;
        for _ in 0..self.steps {
            executor.run(self.prepared, 1)?;
            all.extend(executor.read_exact(self.prepared, logits)?);
            // The last batch is padded.
            all.truncate(self.images * self.classes);
        }
        Ok((self.figures(executor)?, all))
    }

    /// As [`Evaluator::classify`], with the logits in f32, which are read back while the next batches run.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn answers(&self, executor: &mut dyn Executor) -> Result<(Evaluation, Vec<f32>)> {
        self.write(executor, "step", HostBuffer::index(vec![0]))?;
        let logits = self.plan.kept().next().expect("the logits, which an evaluation plan keeps");
        let what = format!("the logits of {} images", self.images);
        let mut all = host_memory::reserved(&what, self.images * self.classes, "fewer images")?;
        let mut under_way: VecDeque<Box<dyn Pending>> = VecDeque::new();
        for step in 0..self.steps + BATCHES_AT_ONCE {
            if step < self.steps {
                executor.run(self.prepared, 1)?;
                under_way.push_back(executor.read_later(self.prepared, logits)?);
            }
            if under_way.len() > BATCHES_AT_ONCE || step >= self.steps {
                let Some(batch) = under_way.pop_front() else { break };
                all.extend(batch.wait()?.into_reals());
            }
        }
        // The last batch is padded.
        all.truncate(self.images * self.classes);
        Ok((self.figures(executor)?, all))
    }

    /// The logits of every image, averaged over the ways in which it is shown, [images, classes]. Only for an evaluator that
    /// was prepared by [`Evaluator::augmented`].
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    ///
    /// # Panics
    /// When the evaluator was not prepared for it.
    pub fn classify_augmented(&self, executor: &mut dyn Executor, way: TestAugmentation) -> Result<Vec<f64>> {
        let rows = self.room.next_multiple_of(self.batch_size);
        let mut averages = vec![0.0; self.images * self.classes];
        for (share, view) in way.views(self.data.image) {
            self.write(executor, "moves", HostBuffer::real(view.to_row().repeat(rows)))?;
            let (_, logits) = self.classify(executor)?;
            averages.iter_mut().zip(logits).for_each(|(average, logit)| *average += share * logit);
        }
        Ok(averages)
    }

    /// The figures, when all batches have been run.
    fn figures(&self, executor: &mut dyn Executor) -> Result<Evaluation> {
        let loss = executor.read(self.prepared, self.buffer("loss"))?;
        let correct = executor.read(self.prepared, self.buffer("correct"))?;
        let (loss, correct) = (&loss.reals()[..self.steps], &correct.indices()[..self.steps]);
        if let Some((step, &loss)) = loss.iter().enumerate().find(|(_, loss)| !loss.is_finite()) {
            let set = self.held_out.name();
            let place = format!("the weights give no sound numbers on the {set} set");
            return Err(Error::NotFinite { what: format!("{set} batch {step}"), loss, place });
        }
        let sum: f64 = loss.iter().map(|&loss| f64::from(loss) * self.batch_size as f64).sum();
        Ok(Evaluation {
            loss: sum / self.images as f64,
            correct: correct.iter().map(|&correct| u64::from(correct)).sum(),
            images: self.images as u64,
        })
    }
}
