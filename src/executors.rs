//! From the device that a person asked for to an executor.

use crate::cpu::CpuExecutor;
use crate::device::{DeviceChoice, DeviceKind};
use crate::gpu::{Adapter, GpuExecutor, ShaderChecks, adapters, install_advice};
use crate::plan::Executor;
use crate::reference::ReferenceExecutor;
use crate::{Error, Result};

/// An executor, and why it was taken.
pub struct Opened {
    /// The executor.
    pub executor: Box<dyn Executor>,
    /// One line: the device, and the reason for it.
    pub reason: String,
}

/// [`open_with`], and kernels that do not check their indices.
///
/// # Errors
/// Those of [`open_with`].
pub fn open(choice: &DeviceChoice, allow_software: bool) -> Result<Opened> {
    open_with(choice, allow_software, ShaderChecks::Off)
}

/// Opens the executor for `choice`.
///
/// `auto` takes a real GPU, else the CPU executor. A software rasteriser is taken only by name or number,
/// or for `gpu` with `allow_software`.
///
/// # Errors
/// [`Error::NoDevice`] when nothing fits, with what is there and what to install; [`Error::Device`] when
/// the driver refuses.
pub fn open_with(choice: &DeviceChoice, allow_software: bool, checks: ShaderChecks) -> Result<Opened> {
    let cpu = |reason: &str| {
        let executor = CpuExecutor::new();
        let reason = format!("{} ({reason})", executor.device_name());
        Ok(Opened { executor: Box::new(executor), reason })
    };
    match choice {
        DeviceChoice::Cpu => return cpu("as asked"),
        DeviceChoice::Reference => {
            let executor = ReferenceExecutor::new();
            let reason = format!("{} (as asked)", executor.device_name());
            return Ok(Opened { executor: Box::new(executor), reason });
        }
        _ => {}
    }
    let adapters = adapters();
    let (adapter, reason) = match choice {
        DeviceChoice::Auto => match real(&adapters) {
            Some(adapter) => (adapter, "the first real GPU; --device cpu takes the CPU"),
            None => return cpu("no GPU found; `wgconv devices` says what to install"),
        },
        DeviceChoice::Index(index) => (
            adapters.get(*index).ok_or_else(|| no_device(choice, &adapters, "there is no such number"))?,
            "by number, as asked",
        ),
        DeviceChoice::Name(name) => {
            let name = name.to_lowercase();
            let named = adapters.iter().find(|adapter| adapter.profile().name.to_lowercase().contains(&name));
            (named.ok_or_else(|| no_device(choice, &adapters, "there is no such name"))?, "by name, as asked")
        }
        _ => match real(&adapters) {
            Some(adapter) => (adapter, "the first real GPU, as asked"),
            None if allow_software && !adapters.is_empty() => {
                (&adapters[0], "a software rasteriser, as allowed; --device cpu is much faster")
            }
            None if !adapters.is_empty() => {
                let why =
                    "only a software rasteriser is here: pass --allow-software to use it, or --device cpu";
                return Err(no_device(choice, &adapters, why));
            }
            None => return Err(no_device(choice, &adapters, "there is no GPU driver")),
        },
    };
    let executor = GpuExecutor::open(adapter)?.with_checks(checks);
    let profile = adapter.profile();
    let reason = format!("{}, {}, {} ({reason})", profile.name, profile.kind, adapter.backend());
    Ok(Opened { executor: Box::new(executor), reason })
}

fn real(adapters: &[Adapter]) -> Option<&Adapter> {
    adapters.iter().find(|adapter| adapter.profile().kind != DeviceKind::Software)
}

fn no_device(wanted: &DeviceChoice, adapters: &[Adapter], why: &str) -> Error {
    let advice = if adapters.is_empty() {
        format!("{why}; {}", install_advice())
    } else {
        let names: Vec<String> = adapters
            .iter()
            .enumerate()
            .map(|(index, adapter)| format!("{index}: {}", adapter.profile().name))
            .collect();
        format!("{why}; found {}", names.join(", "))
    };
    Error::NoDevice { wanted: wanted.to_string(), advice }
}
