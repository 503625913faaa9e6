//! Whether a device's matrix units compute right.

use super::{Data, Trial};
use crate::Result;
use crate::ops::conv::{ConvForward, ConvGeometry, ConvGradFilters, ConvGradInput};
use crate::ops::gemm::MATRIX_UNITS;
use crate::ops::window::{Padding, WindowOptions};
use crate::ops::{HostBuffer, Op};
use crate::plan::Workbench;
use crate::tensor::ImageShape;

/// How often each kernel runs: an answer that depends on which invocation comes first differs now and then.
const RUNS: usize = 4;

/// Runs convolutions of a few shapes on the device's matrix units, several times each, and compares the answers with the
/// definitions': exactly on small integers, within the bound that the implementation states on reals, and with the same bits
/// every time.
///
/// An executor whose matrix units have not passed should not use them. They are reached through an experimental feature of
/// wgpu, whose shaders lack some of the marks by which a driver orders accesses to memory.
///
/// # Errors
/// The first wrong answer, how the device failed, or that no kernel uses the units.
pub fn matrix_units_compute_right(executor: &mut dyn Workbench) -> Result<(), String> {
    let verdict = try_all(executor);
    // Whatever comes next, it begins as if nothing had been tried.
    executor.clear();
    executor.prefer("");
    verdict
}

fn try_all(executor: &mut dyn Workbench) -> Result<(), String> {
    let mut tried = 0;
    for geometry in geometries().map_err(|error| error.to_string())? {
        let ops = || -> [Box<dyn Op>; 3] {
            [
                Box::new(ConvForward::new(geometry)),
                Box::new(ConvGradFilters::new(geometry)),
                Box::new(ConvGradInput::new(geometry)),
            ]
        };
        for data in Data::ALL {
            for op in ops() {
                let mut names = executor.implementations(op.as_ref());
                names.retain(|name| name.starts_with(MATRIX_UNITS));
                executor.compile_ahead(&[(op.as_ref(), &names)]);
                let trial = Trial::new(op, data, 1).expect("a convolution suits all data");
                for name in names {
                    tried += 1;
                    repeat(&trial, executor, name).map_err(|wrong| format!("{name}: {wrong}"))?;
                }
            }
        }
    }
    if tried == 0 { Err("no kernel suits them".into()) } else { Ok(()) }
}

/// Sizes that fill tiles, and sizes that end within one, so that sums are both short and long.
fn geometries() -> Result<[ConvGeometry; 2]> {
    let image = |side, channels| ImageShape { height: side, width: side, channels };
    let window = WindowOptions { padding: Padding::Same, ..WindowOptions::new([3, 3]) };
    Ok([
        ConvGeometry::new(2, image(16, 32), 64, 1, &window)?,
        ConvGeometry::new(3, image(9, 17), 35, 1, &window)?,
    ])
}

/// Runs a trial several times.
fn repeat(trial: &Trial, executor: &mut dyn Workbench, name: &'static str) -> Result<(), String> {
    let mut first: Option<Vec<HostBuffer<f32>>> = None;
    for _ in 0..RUNS {
        let answer = trial.answer_as(executor, name).map_err(|error| error.to_string())?;
        let amplification = trial.amplification_of(executor, name);
        trial.compare_within(&answer, amplification).map_err(|mismatch| mismatch.to_string())?;
        if first.as_ref().is_some_and(|first| *first != answer) {
            return Err("another run gave other bits".into());
        }
        first = Some(answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::CpuExecutor;
    use crate::plan::{BufferId, Executor, Memory, Pending, Plan, Prepared};

    /// The CPU in the place of matrix units, whose answers go wrong.
    struct Units {
        cpu: CpuExecutor,
        /// What is written by the operation at hand.
        written: Option<BufferId>,
        answers: usize,
        /// Changes the answer of this number.
        spoil: fn(&mut [f32], usize),
    }

    impl Executor for Units {
        fn device_name(&self) -> String {
            self.cpu.device_name()
        }
        fn max_buffer_bytes(&self) -> u64 {
            self.cpu.max_buffer_bytes()
        }
        fn prepare(&mut self, plan: Arc<Plan>) -> Result<Prepared> {
            let step = &plan.forward[0];
            let written = step.op.operands().iter().position(|operand| operand.access.writes());
            self.written = written.map(|number| step.operands[number]);
            let mut forms = self.cpu.implementations(step.op.as_ref()).into_iter();
            let exact = forms.find(|form| self.cpu.is_exact_on_integers(step.op.as_ref(), form));
            self.cpu.prefer(exact.expect("a form that is exact"));
            self.cpu.prepare(plan)
        }
        fn memory(&self, plan: &Plan) -> Memory {
            self.cpu.memory(plan)
        }
        fn write(&mut self, prepared: Prepared, buffer: BufferId, data: &HostBuffer<f32>) -> Result<()> {
            self.cpu.write(prepared, buffer, data)
        }
        fn run(&mut self, prepared: Prepared, times: usize) -> Result<()> {
            self.cpu.run(prepared, times)
        }
        fn read_later(&mut self, prepared: Prepared, buffer: BufferId) -> Result<Box<dyn Pending>> {
            self.cpu.read_later(prepared, buffer)
        }
        fn read(&mut self, prepared: Prepared, buffer: BufferId) -> Result<HostBuffer<f32>> {
            let mut content = self.cpu.read(prepared, buffer)?;
            if self.written == Some(buffer) {
                (self.spoil)(content.reals_mut(), self.answers);
                self.answers += 1;
            }
            Ok(content)
        }
        fn wait(&mut self) -> Result<()> {
            self.cpu.wait()
        }
        fn clear(&mut self) {
            self.cpu.clear();
        }
    }

    impl Workbench for Units {
        fn implementations(&self, _: &dyn Op) -> Vec<&'static str> {
            vec!["matrix_units_of_a_test"]
        }
        fn is_exact_on_integers(&self, _: &dyn Op, _: &str) -> bool {
            true
        }
        fn amplification(&self, _: &dyn Op, _: &str) -> f64 {
            1.0
        }
        fn prefer(&mut self, _: &str) {}
    }

    fn verdict(spoil: fn(&mut [f32], usize)) -> Result<(), String> {
        matrix_units_compute_right(&mut Units { cpu: CpuExecutor::new(), written: None, answers: 0, spoil })
    }

    #[test]
    fn right_answers_pass_and_wrong_ones_do_not() {
        assert_eq!(verdict(|_, _| ()), Ok(()));
        let wrong = verdict(|values, _| *values.last_mut().unwrap() += 1.0).unwrap_err();
        assert!(wrong.starts_with("matrix_units_of_a_test: ") && wrong.contains("expected"), "{wrong}");
        // Halves in the place of reals: nothing shows on small integers.
        let halves = |values: &mut [f32], _| {
            values.iter_mut().for_each(|value| *value = half::f16::from_f32(*value).to_f32());
        };
        assert!(verdict(halves).unwrap_err().contains("expected"));
        // A bit that is right most of the time.
        let race = |values: &mut [f32], answer| {
            let inexact = values.iter_mut().find(|value| value.fract() != 0.0);
            if let Some(value) = inexact.filter(|_| answer % RUNS == RUNS - 1) {
                *value = f32::from_bits(value.to_bits() ^ 1);
            }
        };
        assert!(verdict(race).unwrap_err().ends_with("another run gave other bits"));
    }

    #[test]
    fn units_that_no_kernel_suits_do_not_pass() {
        assert_eq!(matrix_units_compute_right(&mut CpuExecutor::new()), Err("no kernel suits them".into()));
    }
}
