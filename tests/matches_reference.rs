//! Every operation, case and implementation, on the GPU and on the CPU, gives the definition's answer:
//! exactly on small integers, within a bound that grows with the summed length on reals.

mod common;

use wgconv::cpu::CpuExecutor;
use wgconv::gpu::{Preference, ShaderChecks};
use wgconv::ops::HostBuffer;
use wgconv::plan::Executor;
use wgconv::verify::cases::{self, Case};
use wgconv::verify::{Data, Trial};

const DATA: [Data; 2] = [Data::Integers, Data::Reals];

fn trial(case: Case, data: Data) -> Option<(String, Trial)> {
    let name = format!("{} ({}, {data:?})", case.op.name(), case.name);
    Some((name, Trial::new(case.op, data, 7)?))
}

/// Runs every case on `executor`, in each of the implementations that `names` lists for it.
fn run_all<E: Executor>(
    executor: &mut E,
    names: impl Fn(&mut E, &Trial) -> Vec<String>,
    choose: impl Fn(&mut E, &str),
) {
    let mut failures = Vec::new();
    let mut trials = 0;
    for data in DATA {
        for (name, trial) in cases::all().into_iter().filter_map(|case| trial(case, data)) {
            for implementation in names(executor, &trial) {
                executor.clear();
                choose(executor, &implementation);
                trials += 1;
                match trial.run(executor) {
                    Ok(Ok(_)) => {}
                    Ok(Err(mismatch)) => failures.push(format!("{name}, {implementation}: {mismatch}")),
                    Err(error) => failures.push(format!("{name}, {implementation}: {error}")),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {trials} trials failed:\n{}", failures.len(), failures.join("\n"));
    println!("{trials} trials passed on {}", executor.device_name());
}

#[test]
fn the_cpu_matches_the_definitions() {
    run_all(&mut CpuExecutor::new(), |_, _| vec!["cpu".into()], |_, _| {});
}

fn gpu_matches(test: &str, checks: ShaderChecks) {
    let Some(mut gpu) = common::gpu(test, checks) else { return };
    run_all(
        &mut gpu,
        |gpu, trial| {
            let implementations = trial.plan().forward[0].op.implementations(gpu.profile());
            implementations.into_iter().map(|implementation| implementation.name.to_string()).collect()
        },
        |gpu, name| gpu.set_preference(Preference::Named(name.into())),
    );
}

#[test]
fn the_gpu_matches_the_definitions_without_shader_checks() {
    gpu_matches("the_gpu_matches_the_definitions_without_shader_checks", ShaderChecks::Off);
}

#[test]
fn the_gpu_matches_the_definitions_with_shader_checks() {
    gpu_matches("the_gpu_matches_the_definitions_with_shader_checks", ShaderChecks::On);
}

/// The check itself: a wrong element, a NaN, an infinity, an element left out and a changed input all fail.
#[test]
fn wrong_answers_are_caught() {
    for data in DATA {
        for (name, trial) in cases::all().into_iter().filter_map(|case| trial(case, data)) {
            let operands = trial.plan().forward[0].op.operands();
            assert!(trial.compare(&trial.expected()).is_ok(), "{name}: the right answer must pass");
            for (number, operand) in operands.iter().enumerate() {
                let spoilt = |spoil: &dyn Fn(&mut HostBuffer<f32>)| {
                    let mut answer = trial.expected();
                    spoil(&mut answer[number]);
                    trial.compare(&answer).is_err()
                };
                match operand.element {
                    wgconv::ops::Element::Real => {
                        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                            assert!(
                                spoilt(&|buffer| *buffer.reals_mut().last_mut().unwrap() = wrong),
                                "{name}"
                            );
                        }
                        assert!(spoilt(&|buffer| buffer.reals_mut()[0] += 1.0), "{name}: {}", operand.name);
                    }
                    wgconv::ops::Element::Index => {
                        assert!(spoilt(&|buffer| buffer.indices_mut()[0] ^= 1), "{name}: {}", operand.name);
                    }
                    wgconv::ops::Element::Byte => {}
                }
            }
        }
    }
}
