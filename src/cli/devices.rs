//! `wgconv devices`: every device, its properties, and whether it computes correctly.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use wgconv::Result;
use wgconv::device::DeviceKind;
use wgconv::gpu::{Adapter, GpuExecutor, adapters, install_advice};
use wgconv::host::CpuExecutor;
use wgconv::plan::Executor;
use wgconv::verify::{SelfTest, matrix_units_compute_right, self_test};

use super::Outcome;
use super::options::{OutputOptions, start_threads};

/// List the GPUs and the CPU, test that each computes correctly, and say what to install
#[derive(Args)]
pub struct Devices {
    #[command(flatten)]
    output: OutputOptions,
}

/// Maximum duration of a self-test.
const BUDGET: Duration = Duration::from_secs(2);

impl Devices {
    pub fn run(self) -> Result<Outcome> {
        start_threads(None)?;
        let adapters = adapters();
        let mut all_passed = true;
        for (index, adapter) in adapters.iter().enumerate() {
            let result = match GpuExecutor::open(adapter) {
                Ok(mut executor) => self_test(&mut executor, BUDGET)?,
                Err(error) => SelfTest { failures: vec![error.to_string()], ..SelfTest::default() },
            };
            all_passed &= result.failures.is_empty();
            self.show_adapter(index, adapter, &result)?;
        }
        if adapters.is_empty() {
            self.output.say(format_args!("no GPU driver found: {}", install_advice()))?;
            self.output.say("")?;
        } else if adapters.iter().all(|adapter| adapter.profile().kind == DeviceKind::Software) {
            self.output.say(format_args!("only a software rasteriser found: {}", install_advice()))?;
            self.output.say("")?;
        }
        let mut cpu = CpuExecutor::new();
        let result = self_test(&mut cpu, BUDGET)?;
        all_passed &= result.failures.is_empty();
        self.output.say(format_args!("cpu: {}", cpu.device_name()))?;
        self.output.say(format_args!("  self-test  {}", verdict(&result)))?;
        self.output.json(&json!({
            "device": "cpu", "name": cpu.device_name(), "self_test": self_test_json(&result),
        }))?;
        Ok(if all_passed { Outcome::Done } else { Outcome::Failed })
    }

    fn show_adapter(&self, index: usize, adapter: &Adapter, result: &SelfTest) -> Result<()> {
        let profile = adapter.profile();
        let mib = |bytes: u64| bytes >> 20;
        let features: Vec<String> = adapter
            .features()
            .into_iter()
            .map(|(name, there)| format!("{}{name}", if there { "" } else { "no " }))
            .collect();
        let multiprocessors =
            profile.multiprocessors.map_or(String::new(), |count| format!(", {count} multiprocessors"));
        let limits = format!(
            "buffer {} MiB, binding {} MiB, workgroup {} invocations and {} KiB{multiprocessors}",
            mib(profile.max_buffer_bytes),
            mib(profile.max_binding_bytes),
            profile.max_workgroup_invocations,
            profile.max_workgroup_bytes >> 10,
        );
        self.output.say(format_args!("{index}: {}", profile.name))?;
        for (what, text) in [
            ("kind", profile.kind.to_string()),
            ("backend", format!("{}, driver {}", adapter.backend(), adapter.driver())),
            ("limits", limits),
            ("features", features.join(", ")),
            ("self-test", verdict(result)),
        ] {
            self.output.say(format_args!("  {what:<9}  {text}"))?;
        }
        let of_matrix_units = profile.matrix_units.map(|units| (units.lines, matrix_units_verdict(adapter)));
        if let Some((lines, verdict)) = &of_matrix_units {
            self.output.say(format_args!("  matrix units, {lines} x {lines} halves  {verdict}"))?;
        }
        self.output.say("")?;
        self.output.json(&json!({
            "device": index,
            "backend": adapter.backend(),
            "driver": adapter.driver(),
            "profile": profile,
            "features": adapter.features().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "self_test": self_test_json(result),
            "matrix_units": of_matrix_units.map(|(_, verdict)| verdict),
        }))
    }
}

/// Whether tuning would try implementations on the adapter's matrix units.
fn matrix_units_verdict(adapter: &Adapter) -> String {
    let opened = GpuExecutor::open_with_matrix_units(adapter).map_err(|error| error.to_string());
    match opened.and_then(|mut executor| matrix_units_compute_right(&mut executor)) {
        Ok(()) => "PASSED".into(),
        Err(reason) => format!("FAILED, and not used: {reason}"),
    }
}

fn verdict(result: &SelfTest) -> String {
    let seconds = result.time.as_secs_f64();
    let left_out = match result.left_out {
        0 => String::new(),
        count => format!(", {count} left out for lack of time"),
    };
    match result.failures.first() {
        None => format!("PASSED, {} operations in {seconds:.1} s{left_out}", result.passed),
        Some(first) => {
            format!("FAILED, {} of {}: {first}", result.failures.len(), result.passed + result.failures.len())
        }
    }
}

fn self_test_json(result: &SelfTest) -> serde_json::Value {
    json!({
        "status": if result.failures.is_empty() { "PASSED" } else { "FAILED" },
        "passed": result.passed,
        "left_out": result.left_out,
        "failures": result.failures,
        "seconds": result.time.as_secs_f64(),
    })
}
