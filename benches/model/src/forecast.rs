//! What to expect of convolutions on a GPU of 132 multiprocessors, from the machine code of another.
//!
//! A model: it knows of instructions, rounds of workgroups and traffic, not of caches, banks and clocks under load. The
//! first run on such a GPU tests it.

use std::collections::HashMap;

use crate::compile::Compiled;
use crate::kernels::Call;

/// An NVIDIA H200, by its data sheet; the bandwidth is what copies reach there.
const MULTIPROCESSORS: f64 = 132.0;
const MULTIPLY_ADDS_PER_CLOCK: f64 = 128.0;
const CLOCK: f64 = 1.98e9;
pub const BYTES_PER_S: f64 = 4.3e12;
pub const FLOPS_PER_S: f64 = 2.0 * MULTIPROCESSORS * MULTIPLY_ADDS_PER_CLOCK * CLOCK;
const REGISTERS: u32 = 64 << 10;
const WORKGROUP_BYTES: u32 = 227 << 10;
const MOST_SUBGROUPS: u32 = 64;
const SUBGROUP: u32 = 32;

/// Subgroups of a multiprocessor that hide each other's waits, by rule of thumb.
const ENOUGH_SUBGROUPS: f64 = 8.0;

/// Between the end of a launch and the start of the next, in seconds.
const LAUNCH: f64 = 2e-6;

/// Prints the expected time of each pass of DeepBench's convolutions, by the implementation that rules put first.
pub fn print(calls: &[Call], compiled: &[Compiled]) {
    let programs: HashMap<&str, &Compiled> =
        compiled.iter().map(|compiled| (compiled.program.as_str(), compiled)).collect();
    let passes = ["conv2d.forward", "conv2d.grad_filters", "conv2d.grad_input"];
    let chosen = calls.iter().filter(|call| call.suite == "deepbench" && call.rank == 0);
    let mut cases: Vec<&str> = Vec::new();
    let mut expected: HashMap<(&str, &str), Expected> = HashMap::new();
    for call in chosen {
        if !cases.contains(&call.case.as_str()) {
            cases.push(&call.case);
        }
        let pass = expected.entry((&call.case, &call.op)).or_insert(Expected {
            first: call,
            seconds: Vec::new(),
            listed: 0,
        });
        pass.listed += usize::from(call.call == 0);
        // A convolution may be listed more than once.
        if pass.listed == 1 {
            pass.seconds.push(seconds(call, programs[call.program().as_str()]));
        }
    }
    println!("| case | forward | ms | TFLOP/s | grad_filters | ms | TFLOP/s | grad_input | ms | TFLOP/s |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for case in &cases {
        let cells: Vec<String> = passes
            .iter()
            .map(|pass| {
                let expected = &expected[&(*case, *pass)];
                let (time, name) = (expected.time(), &expected.first.implementation);
                format!("{name} | {:.3} | {:.1}", 1e3 * time, expected.tflop() / time)
            })
            .collect();
        println!("| {case} | {} |", cells.join(" | "));
    }
    println!();
    println!("| pass | all cases, ms | TFLOP/s over all | geometric mean, TFLOP/s |");
    println!("| --- | --- | --- | --- |");
    for pass in passes {
        let rows = || {
            let passes = cases.iter().map(|case| &expected[&(*case, pass)]);
            passes.flat_map(|pass| std::iter::repeat_n((pass.time(), pass.tflop()), pass.listed))
        };
        let (time, work) = rows().fold((0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        let logarithms: f64 = rows().map(|(time, work): (f64, f64)| (work / time).ln()).sum();
        let mean = (logarithms / rows().count() as f64).exp();
        println!("| {} | {:.1} | {:.1} | {mean:.1} |", &pass["conv2d.".len()..], 1e3 * time, work / time);
    }
}

/// What is expected of a pass.
struct Expected<'a> {
    first: &'a Call,
    /// Of each launch.
    seconds: Vec<f64>,
    /// How often the suite lists the convolution.
    listed: usize,
}

impl Expected<'_> {
    fn time(&self) -> f64 {
        self.seconds.iter().sum()
    }

    fn tflop(&self) -> f64 {
        self.first.flops as f64 / 1e12
    }
}

/// Expected time of a launch.
fn seconds(call: &Call, compiled: &Compiled) -> f64 {
    let traffic = call.bytes as f64 / BYTES_PER_S;
    LAUNCH + traffic.max(computing(call, compiled).unwrap_or(0.0))
}

/// How long the sums of a product's parts are on average, of the longest: phases of a strided convolution's input meet
/// different numbers of taps.
fn filled(call: &Call) -> f64 {
    if call.kernel != "conv/grad_input_tiled.wgsl" {
        return 1.0;
    }
    let sizes: f64 = ["GEMM_M", "GEMM_N", "GEMM_K", "PRODUCTS"].iter().map(|name| call.constants[*name]).product();
    (call.flops as f64 / 2.0 / sizes).min(1.0)
}

/// Time of the multiply-adds, in rounds of one workgroup a multiprocessor; none for a kernel that moves data.
fn computing(call: &Call, compiled: &Compiled) -> Option<f64> {
    let inner = compiled.inner.filter(|inner| inner.multiply_adds > 0)?;
    let workgroups = call.workgroups.iter().map(|&count| f64::from(count)).product::<f64>();
    let (in_workgroup, share) = match call.tile() {
        Some([m, n]) => {
            let share = call.step().and_then(|step| compiled.step_share(step)).unwrap_or(inner.share());
            (f64::from(m) * f64::from(n) * call.constants["SLICE_K"] * filled(call), share)
        }
        // Winograd's transforms move data; elsewhere the first launch does all multiply-adds of the operation.
        None if call.kernel.contains("winograd") || call.call > 0 => return None,
        None => (call.flops as f64 / 2.0 / workgroups, inner.share()),
    };
    let rounds = (workgroups / MULTIPROCESSORS).ceil();
    let subgroups = compiled.invocations.div_ceil(SUBGROUP);
    let resident = (REGISTERS / (compiled.registers * SUBGROUP * subgroups))
        .min(WORKGROUP_BYTES / (compiled.workgroup_bytes + 1024))
        .min(MOST_SUBGROUPS / subgroups)
        .max(1);
    let busy = f64::from(subgroups) * rounds.min(f64::from(resident));
    let rate = MULTIPLY_ADDS_PER_CLOCK * CLOCK * share * (busy / ENOUGH_SUBGROUPS).min(1.0);
    Some(rounds * in_workgroup / rate)
}
