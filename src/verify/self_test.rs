//! A test of a few seconds of whether a device computes correctly.

use std::time::{Duration, Instant};

use super::cases::long_sums;
use super::{Data, Trial};
use crate::Result;
use crate::network::presets;
use crate::ops::optimizer::{Optimizer, Sgd, UpdateOptions};
use crate::plan::{DataParts, LossOptions, Prologues, TrainOptions, Workbench, train_plan};
use crate::tensor::ImageShape;

/// The result of a self-test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelfTest {
    /// Number of trials that gave the definition's answer.
    pub passed: usize,
    /// Wrong answers, and failures of the device.
    pub failures: Vec<String>,
    /// Number of operations that were left out because the time was up.
    pub left_out: usize,
    /// The time it took.
    pub time: Duration,
}

/// Runs every operation of a small network's training step, and a long sum of each operation that sums, on `executor`:
/// each in the implementation that is the best guess and in the simplest one. Compares the answers with the
/// definitions', until `budget` is spent.
///
/// # Errors
/// If the network cannot be planned. Errors of the device are listed as failures.
pub fn self_test(executor: &mut dyn Workbench, budget: Duration) -> Result<SelfTest> {
    let start = Instant::now();
    let image = ImageShape { height: 12, width: 12, channels: 1 };
    let network = presets::lenet(image, 10)?;
    let data = DataParts { name: "train", image, classes: 10, rows: vec![16] };
    let optimizer = Optimizer::Sgd(Sgd { momentum: 0.5, nesterov: false });
    let update = UpdateOptions { optimizer, ..UpdateOptions::default() };
    let plan = train_plan(
        &network,
        &TrainOptions { batch_size: 4, steps: 4, data, loss: LossOptions::default(), update, augment: None },
    )?
    .fused(Prologues::WhereTheyPay);
    let plan = if executor.condenses() { plan.condensed() } else { plan };
    let steps = plan.forward.into_iter().chain(plan.backward).chain(plan.update);
    let long_sums = long_sums::one_an_op().into_iter().map(|case| case.op);
    let mut result = SelfTest::default();
    for op in steps.map(|step| step.op).chain(long_sums) {
        let implementations = executor.implementations(op.as_ref());
        if start.elapsed() > budget {
            result.left_out += 1;
            continue;
        }
        let Some(trial) = Trial::new(op, Data::Reals, 1) else { continue };
        let (first, last) = (implementations[0], implementations[implementations.len() - 1]);
        for implementation in if first == last { vec![first] } else { vec![first, last] } {
            match trial.run_as(executor, implementation) {
                Ok(Ok(_)) => result.passed += 1,
                Ok(Err(mismatch)) => result.failures.push(format!("{implementation}: {mismatch}")),
                Err(error) => result.failures.push(format!("{implementation}: {error}")),
            }
        }
    }
    result.time = start.elapsed();
    Ok(result)
}
