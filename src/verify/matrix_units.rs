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
/// The first wrong answer, or how the device failed.
pub fn matrix_units_compute_right(executor: &mut dyn Workbench) -> Result<(), String> {
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
                    repeat(&trial, executor, name).map_err(|wrong| format!("{name}: {wrong}"))?;
                }
            }
        }
    }
    executor.clear();
    executor.prefer("");
    Ok(())
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
