//! The lowering of an update: statistics that follow those of the batch, the optimizer, averages, and the next step's number.

use super::{Lowering, TrainOptions};
use crate::Result;
use crate::network::Kind;
use crate::ops::Element;
use crate::ops::batch::Advance;
use crate::ops::loss::{LOSS_SCALE, RestoreLoss};
use crate::ops::norm::RunningStatistics;
use crate::ops::optimizer::{AVERAGE, Average, GradientNorm, Group, Now, Parameter, Update};
use crate::plan::site::{Followed, Guard};
use crate::plan::{BufferId, BufferSpec, Role, Step};

/// The buffer of the factor that scales all gradients.
pub(crate) const CLIP_SCALE: &str = "clip_scale";

/// A variable that the optimizer changes.
pub(super) struct Trained {
    at_first: bool,
    group: Group,
    pub(super) parameter: BufferId,
    // `None` before backward.
    gradient: Option<BufferId>,
}

impl Lowering<'_> {
    pub(super) fn update(&mut self, options: &TrainOptions, guard: Guard) -> Result<()> {
        let TrainOptions { steps, update, data, .. } = options;
        update.check()?;
        self.follow(guard);
        let trained = self.trained();
        if trained.is_empty() {
            self.advance(guard);
            return Ok(());
        }
        let parameters: Vec<BufferId> = trained.iter().map(|trained| trained.parameter).collect();
        let gradients: Vec<BufferId> = trained
            .iter()
            .map(|trained| trained.gradient.expect("backward reaches every trained variable"))
            .collect();
        self.plan.lay_side_by_side("gradients", gradients.clone());
        let sizes: Vec<Parameter> = trained
            .iter()
            .map(|&Trained { at_first, group, parameter, .. }| {
                let elements = self.plan.buffer(parameter).shape.elements();
                Parameter { at_first, group, elements }
            })
            .collect();
        let mut operands = [parameters.clone(), gradients.clone()].concat();
        let averages = update.averages.then_some(&AVERAGE);
        for state in update.optimizer.states().iter().chain(averages) {
            operands.extend(self.states(state, &parameters, state));
        }
        let name = format!("{}/schedule", data.name);
        let schedule = self.plan.add_buffer(name, Role::State, [*steps, Now::<f32>::SIZE], Element::Real);
        if update.averages {
            self.average_statistics([schedule, guard.step, guard.loss], *steps);
        }
        operands.extend([schedule, guard.step, guard.loss]);
        let loss_scale = self.plan.find(LOSS_SCALE);
        if loss_scale.is_some() || update.clip_norm.is_some() {
            let scale = self.plan.add_buffer(CLIP_SCALE, Role::Gradient, [1], Element::Real);
            operands.push(scale);
            let elements = sizes.iter().map(|parameter| parameter.elements).collect();
            let max_norm = update.clip_norm.unwrap_or(GradientNorm::NO_LIMIT);
            let mut op = GradientNorm::new(elements, max_norm, *steps);
            let mut operands = [gradients, vec![guard.step, guard.loss, scale]].concat();
            if let Some(loss_scale) = loss_scale {
                self.plan.keep(scale);
                op = op.with_loss_scale();
                operands.push(loss_scale);
            }
            // Before the layers' own updates too: it may find that the step is a bad one.
            self.plan.update.insert(0, Step { op: Box::new(op), operands });
        }
        let mut op = Update::new(*update, sizes, *steps)?;
        if loss_scale.is_some() {
            op = op.with_scaled_gradients();
        }
        self.plan.update.push(Step { op: Box::new(op), operands });
        if let Some(loss_scale) = loss_scale {
            let op = RestoreLoss::new(*steps);
            self.plan
                .update
                .push(Step { op: Box::new(op), operands: vec![guard.step, guard.loss, loss_scale] });
        }
        self.advance(guard);
        Ok(())
    }

    /// A state beside each of these buffers, all of them side by side.
    fn states(&mut self, state: &str, of: &[BufferId], arena: &str) -> Vec<BufferId> {
        let of_each = |&id: &BufferId| {
            let BufferSpec { name, shape, .. } = self.plan.buffer(id).clone();
            self.plan.add_buffer(format!("{name}.{state}"), Role::State, shape, Element::Real)
        };
        let states: Vec<BufferId> = of.iter().map(of_each).collect();
        self.plan.lay_side_by_side(arena, states.clone());
        states
    }

    /// Keeps averages of the statistics, after the layers have changed them.
    fn average_statistics(&mut self, schedule: [BufferId; 3], steps: usize) {
        let statistics = self.statistics();
        if statistics.is_empty() {
            return;
        }
        let elements = statistics.iter().map(|&id| self.plan.buffer(id).shape.elements()).collect();
        let averages = self.states(AVERAGE, &statistics, "averages of statistics");
        let operands = [statistics, averages, schedule.to_vec()].concat();
        self.plan.update.push(Step { op: Box::new(Average { elements, steps }), operands });
    }

    /// All variables that layers change themselves.
    pub(super) fn statistics(&self) -> Vec<BufferId> {
        let layers = self.network.layers().iter().zip(&self.layers);
        let all = layers.flat_map(|(layer, lowered)| layer.variables.iter().zip(&lowered.variables));
        all.filter(|(variable, _)| variable.kind == Kind::Statistic).map(|(_, &buffer)| buffer).collect()
    }

    /// Lets the statistics of the batches move the running ones: one step for all that lie side by side and have the same
    /// momentum.
    fn follow(&mut self, Guard { loss, step, steps, .. }: Guard) {
        let order = self.statistics();
        let place = |followed: &Followed| order.iter().position(|&buffer| buffer == followed.running);
        let mut followed = std::mem::take(&mut self.followed);
        followed.sort_by_key(place);
        let together = |a: &Followed, b: &Followed| {
            place(a).map(|place| place + 1) == place(b) && a.momentum == b.momentum
        };
        for (number, followed) in followed.chunk_by(together).enumerate() {
            let [running, batch] = [|it: &Followed| it.running, |it: &Followed| it.batch]
                .map(|buffer| followed.iter().map(buffer).collect::<Vec<BufferId>>());
            self.plan.lay_side_by_side(format!("statistics of the batch {number}"), batch.clone());
            let elements = running.iter().map(|&id| self.plan.buffer(id).shape.elements()).collect();
            let op = RunningStatistics { elements, momentum: followed[0].momentum, steps };
            let operands = [running, batch, vec![step, loss]].concat();
            self.plan.update.push(Step { op: Box::new(op), operands });
        }
    }

    /// All trained variables, sorted by group, which is their order in memory; those that are trained at first alone come
    /// last.
    pub(super) fn trained(&self) -> Vec<Trained> {
        let mut trained = Vec::new();
        for (layer, lowered) in self.network.layers().iter().zip(&self.layers) {
            let buffers = lowered.variables.iter().zip(&lowered.gradients);
            for (variable, (&parameter, &gradient)) in layer.variables.iter().zip(buffers) {
                let (at_first, group) = match variable.kind {
                    Kind::Trained(group) => (false, group),
                    Kind::TrainedAtFirst(group) => (true, group),
                    Kind::Frozen | Kind::Statistic => continue,
                };
                trained.push(Trained { at_first, group, parameter, gradient });
            }
        }
        trained.sort_by_key(|trained| (trained.at_first, trained.group));
        trained
    }

    pub(super) fn advance(&mut self, Guard { loss, counter, steps, .. }: Guard) {
        self.plan.update.push(Step { op: Box::new(Advance { steps }), operands: vec![loss, counter] });
    }
}
