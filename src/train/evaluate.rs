//! Loss and accuracy over a whole dataset, exactly.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::feed;
use crate::data::{Dataset, Normalisation};
use crate::network::{Network, Weights};
use crate::ops::HostBuffer;
use crate::plan::{EvaluateOptions, Executor, Memory, Plan, Prepared, Prologues, evaluate_plan};
use crate::{Error, Result};

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
    batch_size: usize,
    steps: usize,
    images: usize,
}

/// Batches between two reads, so that an interruption is noticed soon on a slow device too.
const BATCHES_AT_ONCE: usize = 16;

impl Evaluator {
    /// Prepares `executor` to evaluate `network` on `data`, and uploads the data. The last batch is padded and its
    /// padding is masked, so that every image counts exactly once.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch size of 0; any error of the device.
    pub fn new(
        executor: &mut dyn Executor,
        network: &Network,
        data: &Dataset,
        normalisation: &Normalisation,
        batch_size: usize,
    ) -> Result<Self> {
        let options = Self::options(executor, data, batch_size)?;
        let plan = Arc::new(Self::plan(network, &options)?);
        let prepared = executor.prepare(plan.clone())?;
        feed::upload(executor, &plan, prepared, &options.data, data, normalisation)?;
        let evaluator = Evaluator { plan, prepared, batch_size, steps: options.steps, images: data.len() };
        let order = feed::in_order(data.len(), batch_size);
        evaluator.write(executor, "test/order", HostBuffer::index(order))?;
        Ok(evaluator)
    }

    /// What the evaluation plan for `data` needs to know.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a batch size of 0.
    pub(super) fn options(
        executor: &dyn Executor,
        data: &Dataset,
        batch_size: usize,
    ) -> Result<EvaluateOptions> {
        if batch_size == 0 {
            return Err(Error::invalid("evaluation", "a batch size of at least 1", 0));
        }
        let parts = feed::split("test", data, executor.max_buffer_bytes());
        Ok(EvaluateOptions { batch_size, steps: data.len().div_ceil(batch_size), data: parts })
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
        data: &Dataset,
        batch_size: usize,
    ) -> Result<Memory> {
        let plan = Self::plan(network, &Self::options(executor, data, batch_size)?)?;
        Ok(executor.memory(&plan))
    }

    fn write(&self, executor: &mut dyn Executor, name: &str, content: HostBuffer<f32>) -> Result<()> {
        executor.write(self.prepared, self.plan.expect(name), &content)
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
        self.write(executor, "test/step", HostBuffer::index(vec![0]))?;
        let mut done = 0;
        while done < self.steps {
            let batches = BATCHES_AT_ONCE.min(self.steps - done);
            executor.run(self.prepared, batches)?;
            done += batches;
        }
        let loss = executor.read(self.prepared, self.plan.expect("test/loss"))?;
        let correct = executor.read(self.prepared, self.plan.expect("test/correct"))?;
        if let Some((step, &loss)) = loss.reals().iter().enumerate().find(|(_, loss)| !loss.is_finite()) {
            let place = "the weights give no sound numbers on the test set".into();
            return Err(Error::NotFinite { what: format!("test batch {step}"), loss, place });
        }
        let sum: f64 = loss.reals().iter().map(|&loss| f64::from(loss) * self.batch_size as f64).sum();
        Ok(Evaluation {
            loss: sum / self.images as f64,
            correct: correct.indices().iter().map(|&correct| u64::from(correct)).sum(),
            images: self.images as u64,
        })
    }
}
