//! Training a network: the device runs an epoch's steps while the losses are read back asynchronously.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evaluate::{Evaluation, Evaluator};
use super::settings::{Precision, TrainSettings};
use super::snapshots::{Requests, Snapshot, Watch};
use super::state::TrainState;
use super::{feed, nonfinite};
use crate::data::{DataSplits, Dataset, HeldOut, Normalisation};
use crate::network::{Network, Variable, Weights};
use crate::ops::loss::{FIRST_LOSS_SCALE, LOSS_SCALE};
use crate::ops::optimizer::{AVERAGE, UpdateOptions};
use crate::ops::{Element, HostBuffer};
use crate::plan::{
    BufferId, CHANCE, EvaluateOptions, Executor, Memory, Mode, Pending, Plan, Prepared, Prologues,
    TrainOptions, train_plan,
};
use crate::{Error, Result, host_memory};

/// Progress of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps of this epoch whose losses are known.
    pub done: usize,
    /// Steps of this epoch.
    pub steps: usize,
    /// Loss of the last known step.
    pub loss: f32,
    /// Images trained per second, in this epoch so far.
    pub images_per_s: f64,
}

/// The result of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Steps trained since the start.
    pub step: u64,
    /// Loss of each step of this epoch.
    pub losses: Vec<f32>,
    /// What the epoch was measured on.
    pub held_out: HeldOut,
    /// The figures on that; `None` after an interruption.
    pub evaluation: Option<Evaluation>,
    /// Images trained per second, without the time of the evaluation.
    pub images_per_s: f64,
    /// Duration of the epoch with its evaluation.
    pub time: Duration,
    /// Learning rate of the last step.
    pub learning_rate: f64,
}

impl EpochReport {
    /// Mean loss of the epoch's steps.
    pub fn train_loss(&self) -> f64 {
        self.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / self.losses.len().max(1) as f64
    }
}

/// Trains a network on an executor.
pub struct Trainer {
    executor: Box<dyn Executor>,
    network: Network,
    settings: TrainSettings,
    normalisation: Normalisation,
    plan: Arc<Plan>,
    prepared: Prepared,
    options: TrainOptions,
    rows: usize,
    held_out: HeldOut,
    evaluator: Evaluator,
    // Of the test set, if each epoch is measured on a validation set.
    test: Option<Evaluator>,
    // Number of whole epochs, and the losses of the epoch under way.
    epochs_done: usize,
    losses: Vec<f32>,
    // Duration of a step on this device, once known.
    step_time: Option<Duration>,
    // What is read back beside the losses, and what was of the last epoch.
    watch: Option<Watch>,
    snapshots: Vec<Snapshot>,
    answers: Vec<f32>,
}

/// Intended duration of one submission: short enough to show progress and to avoid a reset by drivers that allow two
/// seconds, long enough not to wait for the host.
const SUBMISSION_TIME: Duration = Duration::from_millis(200);

/// Advice in the message about losses that are not finite.
const ADVICE: &str = "try a smaller learning rate";

/// Number of submissions under way at once.
const SUBMISSIONS: usize = 2;

impl Trainer {
    /// Initialises `network` from the settings' seed and brings it and the data to the executor's device.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings out of range, and for data that do not fit the network; any error of the
    /// device.
    pub fn new(
        mut executor: Box<dyn Executor>,
        network: Network,
        data: &DataSplits,
        settings: TrainSettings,
    ) -> Result<Self> {
        let network = settings.frozen(network)?;
        let options = Self::options(executor.as_ref(), &network, data, &settings)?;
        let plan = Arc::new(Self::training_plan(executor.as_ref(), &network, &options)?);
        Self::check_memory(executor.as_ref(), &network, data, &settings, &plan)?;
        let normalisation = data.preprocessing.normalisation.clone();
        let prepared = executor.prepare(plan.clone())?;
        feed::upload(executor.as_mut(), &plan, prepared, &options.data, &data.train, &normalisation)?;
        let mut evaluators = Self::evaluated(data)
            .map(|set| Evaluator::new(executor.as_mut(), &network, set, &normalisation, settings.batch_size));
        let evaluator = evaluators.next().expect("data that were checked")?;
        let test = evaluators.next().transpose()?;
        drop(evaluators);
        let mut trainer = Trainer {
            executor,
            network,
            normalisation,
            plan,
            prepared,
            options,
            rows: data.train.len(),
            held_out: data.held_out().0,
            evaluator,
            test,
            epochs_done: 0,
            losses: Vec::new(),
            step_time: None,
            watch: None,
            snapshots: Vec::new(),
            answers: Vec::new(),
            settings,
        };
        if let Some(weights) = &trainer.settings.class_weights {
            let weights = weights.of(&data.train)?;
            trainer.write("train/class_weights", HostBuffer::real(weights))?;
        }
        if trainer.options.loss.scaled {
            trainer.write(LOSS_SCALE, HostBuffer::real(FIRST_LOSS_SCALE.into()))?;
        }
        let mut initial = trainer.network.initial_weights(trainer.settings.seed)?;
        feed::fit(&trainer.network, &mut initial, &data.train, &trainer.normalisation)?;
        trainer.set_weights(&initial)?;
        Ok(trainer)
    }

    /// What is evaluated: after each epoch, and what is left for the end.
    fn evaluated(data: &DataSplits) -> impl Iterator<Item = (HeldOut, &Dataset)> {
        let (held_out, each_epoch) = data.held_out();
        let is_left = held_out == HeldOut::Validation && !data.test.is_empty();
        let at_the_end = is_left.then_some((HeldOut::Test, &data.test));
        [(held_out, each_epoch)].into_iter().chain(at_the_end)
    }

    fn options(
        executor: &dyn Executor,
        network: &Network,
        data: &DataSplits,
        settings: &TrainSettings,
    ) -> Result<TrainOptions> {
        settings.check(data.train.len())?;
        if !network.variables().any(Variable::is_trained) {
            return Err(Error::invalid("freeze", "a variable that is left to be trained", "none"));
        }
        network.check_data(data.train.image, data.train.classes.len())?;
        if data.held_out().1.is_empty() {
            return Err(Error::invalid("data", "test or validation images", "none"));
        }
        let batch_size = settings.batch_size;
        let mut loss = settings.loss();
        loss.scaled &= executor.stores_halves();
        Ok(TrainOptions {
            batch_size,
            steps: data.train.len() / batch_size,
            data: feed::split("train", &data.train, executor.max_buffer_bytes()),
            loss,
            update: settings.update(),
            augment: settings.augment.options(),
        })
    }

    /// The plan of a step, with halves if their gradients are scaled, as is best for the executor.
    fn training_plan(executor: &dyn Executor, network: &Network, options: &TrainOptions) -> Result<Plan> {
        let plan = train_plan(network, options)?;
        let prologues = Prologues::WhereTheyPayAt(executor.elements_per_launch());
        let plan = match options.loss.scaled {
            true => plan.fused_for_halves(prologues),
            false => plan.fused(prologues),
        };
        let plan = if executor.condenses() { plan.condensed() } else { plan };
        Ok(if options.loss.scaled { plan.in_halves() } else { plan })
    }

    /// Checks that training and evaluation fit into the memory of the device and the host, before either is prepared.
    fn check_memory(
        executor: &dyn Executor,
        network: &Network,
        data: &DataSplits,
        settings: &TrainSettings,
        training: &Plan,
    ) -> Result<()> {
        let evaluations = Self::evaluated(data)
            .map(|set| Evaluator::plan(network, &Evaluator::options(executor, set, settings.batch_size)?));
        let evaluations: Vec<Plan> = evaluations.collect::<Result<_>>()?;
        let plans: Vec<&Plan> = [training].into_iter().chain(&evaluations).collect();
        plans.iter().try_for_each(|plan| executor.check(plan))?;
        // Host copies at the start and for saving: the variables as read back, in PyTorch's layout and as a file; the
        // exact state, in memory and as a file.
        let copies = 10 * Element::Real.bytes(network.parameter_count());
        let bytes = executor.host_bytes(&plans) + copies;
        host_memory::check(&format!("training {}", network.name()), bytes, "a smaller batch or model")
    }

    /// The memory that training and evaluation will take on `executor`, computed without allocating any.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn memory(
        executor: &dyn Executor,
        network: &Network,
        data: &DataSplits,
        settings: &TrainSettings,
    ) -> Result<Memory> {
        let network = &settings.frozen(network.clone())?;
        let options = Self::options(executor, network, data, settings)?;
        let training = executor.memory(&Self::training_plan(executor, network, &options)?);
        Self::evaluated(data).try_fold(training, |sum, set| {
            let evaluation = Evaluator::memory(executor, network, set, settings.batch_size)?;
            // Training and evaluation share the parameters.
            Ok(sum + Memory { parameters: 0, ..evaluation })
        })
    }

    /// How the network is trained.
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// The precision of the training: that of its settings, if the device supports it.
    pub fn precision(&self) -> Precision {
        if self.options.loss.scaled { Precision::Mixed } else { Precision::F32 }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The executor, for running other plans beside the training.
    pub fn executor(&mut self) -> &mut dyn Executor {
        self.executor.as_mut()
    }

    /// The training plan, as it was prepared.
    pub fn plan(&self) -> (&Plan, Prepared) {
        (&self.plan, self.prepared)
    }

    /// Mean and deviation of the training set's channels.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// The current value of every variable.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn weights(&mut self) -> Result<Weights> {
        feed::read_weights(self.executor.as_mut(), &self.plan, self.prepared, &self.network)
    }

    /// Replaces the value of every variable, from which its moving average, if one is kept, goes on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for weights that are not the network's.
    pub fn set_weights(&mut self, weights: &Weights) -> Result<()> {
        let executor = self.executor.as_mut();
        feed::write_weights(executor, &self.plan, self.prepared, &self.network, weights)?;
        self.network.variables().try_for_each(|variable| {
            let Some(average) = self.plan.find(&format!("{}.{AVERAGE}", variable.name)) else {
                return Ok(());
            };
            executor.write(self.prepared, average, &HostBuffer::real(weights.values(variable)?))
        })
    }

    pub(super) fn write(&mut self, name: &str, content: HostBuffer<f32>) -> Result<()> {
        self.executor.write(self.prepared, self.plan.expect(name), &content)
    }

    /// Trains on every batch of the training set once, in a new order, and evaluates the validation set, or the
    /// test set if there is no validation set. If the last epoch was interrupted, trains on the rest of its batches
    /// instead.
    ///
    /// `watch` is called whenever losses have arrived; when it breaks, training stops after the steps under way,
    /// without an evaluation.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a loss is NaN or infinite; the parameters are then those before the bad step, which
    /// may themselves not be finite if the step before it spoilt them. [`Error::Device`] when the device failed.
    pub fn run_epoch(&mut self, mut watch: impl FnMut(&Progress) -> ControlFlow<()>) -> Result<EpochReport> {
        let start = Instant::now();
        let steps = self.options.steps;
        self.start_epoch()?;

        let mut under_way: VecDeque<(usize, Box<dyn Pending>)> = VecDeque::new();
        let first = self.losses.len();
        let before = (self.epochs_done * steps) as u64;
        let mut requests = Requests::default();
        let (mut submitted, mut stopped) = (first, false);
        while self.losses.len() < steps && !(stopped && under_way.is_empty()) {
            if submitted < steps && !stopped && under_way.len() < SUBMISSIONS {
                let next = self.watch.as_ref().map_or(steps, |watch| watch.next(before, submitted, steps));
                let now = self.steps_to_submit().min(next - submitted);
                self.executor.run(self.prepared, now)?;
                submitted += now;
                if let Some(watch) = self.watch.as_ref().filter(|_| submitted == next) {
                    let (executor, at) = (self.executor.as_mut(), [before, submitted as u64, steps as u64]);
                    watch.request(&mut requests, executor, (&self.plan, self.prepared), at)?;
                }
                let loss = self.executor.read_later(self.prepared, self.plan.expect("train/loss"))?;
                under_way.push_back((submitted, loss));
                continue;
            }
            let (end, pending) = under_way.pop_front().expect("steps under way");
            let read = pending.wait()?;
            for &loss in &read.reals()[self.losses.len()..end] {
                if !loss.is_finite() {
                    return Err(self.not_finite(loss)?);
                }
                self.losses.push(loss);
            }
            let (elapsed, done) = (start.elapsed(), self.losses.len() - first);
            self.step_time = Some(elapsed / done as u32);
            let progress = Progress {
                done: self.losses.len(),
                steps,
                loss: *self.losses.last().expect("a step was done"),
                images_per_s: (done * self.settings.batch_size) as f64 / elapsed.as_secs_f64(),
            };
            stopped |= watch(&progress).is_break();
        }
        let done = self.losses.len() - first;
        let images_per_s = (done * self.settings.batch_size) as f64 / start.elapsed().as_secs_f64();
        let (epoch, step, losses) = (self.epochs_done + 1, self.steps_done(), self.losses.clone());
        let learning_rate = self.settings.rate(step.saturating_sub(1), steps);
        self.snapshots = requests.wait()?;
        let evaluation = match losses.len() == steps {
            true => {
                let evaluation = self.evaluate_epoch()?;
                self.epochs_done += 1;
                self.losses.clear();
                Some(evaluation)
            }
            false => None,
        };
        let (held_out, time) = (self.held_out, start.elapsed());
        Ok(EpochReport { epoch, step, losses, held_out, evaluation, images_per_s, time, learning_rate })
    }

    /// The state from which the training can be resumed by [`Trainer::restore`].
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn state(&mut self) -> Result<TrainState> {
        let variables = self
            .lasting_buffers()
            .into_iter()
            .map(|(name, buffer)| Ok((name, self.executor.read_exact(self.prepared, buffer)?)));
        let variables = variables.collect::<Result<_>>()?;
        let losses = self.losses.clone();
        Ok(TrainState { epochs: self.epochs_done, losses, variables })
    }

    /// From now on, reads weights and gradients back at some moments of each epoch, and the logits of each evaluation. The
    /// training stays the same, bit for bit.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// What was [watched](Trainer::watch) in the last epoch, in order.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// The logits of the last epoch's evaluation, [images, classes], if the training is [watched](Trainer::watch); otherwise
    /// none.
    pub fn answers(&self) -> &[f32] {
        &self.answers
    }

    /// Continues from a state of this training. The steps that follow are those that would have followed originally,
    /// bit for bit if the device is the same.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the state of another network or optimizer, or of longer epochs.
    pub fn restore(&mut self, state: &TrainState) -> Result<()> {
        const WHAT: &str = "state of a training";
        let steps = self.options.steps;
        if state.losses.len() >= steps {
            let expected = format!("fewer than {steps} steps of an epoch");
            return Err(Error::invalid(WHAT, expected, state.losses.len()));
        }
        let buffers = self.lasting_buffers();
        for (name, buffer) in &buffers {
            let expected = self.plan.buffer(*buffer).shape.elements();
            let found = state.variables.get(name).map(Vec::len);
            if found != Some(expected) {
                let found = found.map_or("none".into(), |values| values.to_string());
                return Err(Error::invalid(WHAT, format!("{expected} values of {name}"), found));
            }
        }
        for (name, buffer) in buffers {
            self.executor.write_exact(self.prepared, buffer, &state.variables[&name])?;
        }
        self.epochs_done = state.epochs;
        self.losses = state.losses.clone();
        Ok(())
    }

    /// The buffers whose content lasts from step to step: the variables and the optimizer's state.
    fn lasting_buffers(&self) -> Vec<(String, BufferId)> {
        let variables = self.network.variables().map(|variable| variable.name.clone());
        let UpdateOptions { optimizer, averages, .. } = &self.options.update;
        let of_variable = |variable: &Variable| {
            let states = optimizer.states().iter().chain(averages.then_some(&AVERAGE));
            states.map(|state| format!("{}.{state}", variable.name)).collect::<Vec<_>>()
        };
        let names = variables.chain(self.network.variables().flat_map(of_variable));
        let names = names.chain([LOSS_SCALE.into()]);
        names.filter_map(|name| self.plan.find(&name).map(|buffer| (name, buffer))).collect()
    }

    /// Writes the order and the learning rates of the epoch under way, and the number of its next step: from then on,
    /// each run of the plan is one step. [`Trainer::run_epoch`] calls this itself.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn start_epoch(&mut self) -> Result<()> {
        self.write_order(self.epochs_done)?;
        let steps = self.options.steps;
        let schedule = self.settings.schedule_rows((self.epochs_done * steps) as u64, steps);
        self.write("train/schedule", HostBuffer::real(schedule))?;
        self.write("train/step", HostBuffer::index(vec![self.losses.len() as u32]))
    }

    /// Writes the order of the images in an epoch, counted from 0, how they are varied, and what all other chance in it is a
    /// function of.
    pub(super) fn write_order(&mut self, epoch: usize) -> Result<()> {
        let TrainSettings { batch_size, seed, ref augment, .. } = self.settings;
        let order = feed::shuffled(self.rows, batch_size, seed, epoch);
        if self.options.augment.is_some() {
            let image = self.options.data.image;
            let moves = augment.moves(&order, self.rows, batch_size, image, seed, epoch);
            self.write("train/moves", HostBuffer::real(moves))?;
        }
        if self.plan.find(CHANCE).is_some() {
            let words = [seed as u32, (seed >> 32) as u32, epoch as u32];
            self.write(CHANCE, HostBuffer::index(words.into()))?;
        }
        self.write("train/order", HostBuffer::index(order))
    }

    /// Runs some steps and returns the losses of the epoch under way.
    pub(super) fn run_steps(&mut self, steps: usize) -> Result<HostBuffer<f32>> {
        self.executor.run(self.prepared, steps)?;
        self.executor.read(self.prepared, self.plan.expect("train/loss"))
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.options.steps
    }

    /// The executor, with everything on its device, and the training plan, for callers that run each step themselves.
    pub fn into_parts(self) -> (Box<dyn Executor>, Arc<Plan>, Prepared) {
        (self.executor, self.plan, self.prepared)
    }

    /// Figures of the current parameters on what each epoch is measured on.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn evaluate(&mut self) -> Result<Evaluation> {
        self.evaluator.evaluate(self.executor.as_mut())
    }

    /// What each epoch is measured on.
    pub fn held_out(&self) -> HeldOut {
        self.held_out
    }

    /// Figures of the current parameters on the test set, which is left for the end if there is a validation set; `None`
    /// if there are no test images.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn test(&mut self) -> Result<Option<Evaluation>> {
        match (self.held_out, &self.test) {
            (HeldOut::Test, _) => self.evaluate().map(Some),
            (HeldOut::Validation, test) => {
                test.as_ref().map(|test| test.evaluate(self.executor.as_mut())).transpose()
            }
        }
    }

    /// Steps trained since the start.
    pub fn steps_done(&self) -> u64 {
        (self.epochs_done * self.options.steps + self.losses.len()) as u64
    }

    /// Whole epochs trained since the start.
    pub fn epochs_done(&self) -> usize {
        self.epochs_done
    }

    /// Evaluates after the last step of an epoch. No training loss has checked that step's update yet.
    fn evaluate_epoch(&mut self) -> Result<Evaluation> {
        let evaluation = match self.watch {
            Some(_) => self.evaluator.answers(self.executor.as_mut()).map(|(evaluation, answers)| {
                self.answers = answers;
                evaluation
            }),
            None => self.evaluate(),
        };
        match evaluation {
            Err(Error::NotFinite { what, loss, place }) => {
                let what = format!("{what} after step {}", self.steps_done() - 1);
                let weights = self.weights()?;
                let place = nonfinite::in_weights(&self.network, &weights).unwrap_or(place);
                Err(Error::NotFinite { what, loss, place: format!("{place}; {ADVICE}") })
            }
            result => result,
        }
    }

    fn steps_to_submit(&self) -> usize {
        match self.step_time {
            None => 1,
            Some(time) => {
                (SUBMISSION_TIME.as_secs_f64() / time.as_secs_f64().max(1e-6)).clamp(1.0, 10_000.0) as usize
            }
        }
    }

    fn not_finite(&mut self, loss: f32) -> Result<Error> {
        let TrainOptions { batch_size, steps, data, .. } = self.options.clone();
        let options = EvaluateOptions { batch_size, steps, data, augment: None };
        let place = match nonfinite::find(self.executor.as_mut(), &self.network, &options, Mode::Train) {
            // The information known already matters more.
            Err(error @ Error::Memory { .. }) => format!("its place is not known, since {error}"),
            place => place?,
        };
        let what = format!("step {}", self.steps_done());
        let more = match self.precision() {
            Precision::F32 => "",
            Precision::Mixed => " in f32 (f16 ends at 65504: --precision f32 may help)",
        };
        Ok(Error::NotFinite { what, loss, place: format!("{place}{more}; {ADVICE}") })
    }
}
