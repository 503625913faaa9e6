//! Opening an executor for the device that a user asked for.

use crate::device::{DeviceChoice, DeviceKind};
use crate::files::CacheFolder;
use crate::gpu::{Adapter, GpuExecutor, ShaderChecks, Tuning, TuningNotice, adapters, install_advice};
use crate::host::{CpuExecutor, ReferenceExecutor};
use crate::plan::{Executor, Workbench};
use crate::verify::matrix_units_compute_right;
use crate::{Error, Result};

/// An executor, and why it was chosen.
pub struct Opened {
    /// The executor.
    pub executor: Box<dyn Workbench>,
    /// One line: the device, and the reason for it.
    pub reason: String,
}

/// A device that was chosen but is not open yet.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// All cores of the CPU.
    Cpu,
    /// The definitions in f64.
    Reference,
    /// A GPU, or a program that emulates one.
    Gpu(Adapter),
}

/// How a device is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Whether `gpu` may be a software rasteriser.
    pub allow_software: bool,
    /// On a GPU: whether kernels check their indices.
    pub checks: ShaderChecks,
    /// On a GPU: where compiled kernels are kept between starts; without it, each start compiles them again.
    pub kernels: Option<CacheFolder>,
    /// On a GPU: how the fastest implementations are found; without it, the operations' rules choose, and the same
    /// device, driver and seed give the same bits.
    pub tuning: Option<Tuning>,
    /// On a GPU: whether operations may run on its [matrix units](crate::device::MatrixUnits). Tuning takes them only if they
    /// [compute right](matrix_units_compute_right).
    pub matrix_units: bool,
}

impl OpenOptions {
    /// Opens a GPU.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver refuses.
    pub fn open_gpu(&self, adapter: &Adapter) -> Result<GpuExecutor> {
        let mut executor = match self.matrix_units {
            true => GpuExecutor::open_with_matrix_units(adapter)?,
            false => GpuExecutor::open(adapter)?,
        }
        .with_checks(self.checks);
        if let Some(folder) = &self.kernels {
            executor = executor.with_pipeline_cache(folder.clone());
        }
        let Some(tuning) = &self.tuning else { return Ok(executor) };
        if executor.profile().matrix_units.is_some()
            && let Err(reason) = matrix_units_compute_right(&mut executor)
        {
            (tuning.report)(&TuningNotice::WithoutMatrixUnits { reason });
            executor = executor.without_matrix_units();
        }
        Ok(executor.with_tuning(tuning.clone()))
    }
}

/// As [`open_with`], but without tuning or caches, and with kernels that do not check their indices.
///
/// # Errors
/// Those of [`open_with`].
pub fn open(choice: &DeviceChoice, allow_software: bool) -> Result<Opened> {
    open_with(choice, &OpenOptions { allow_software, ..OpenOptions::default() })
}

/// Opens the executor for `choice`.
///
/// # Errors
/// Those of [`choose`]; [`Error::Device`] when the driver refuses.
pub fn open_with(choice: &DeviceChoice, options: &OpenOptions) -> Result<Opened> {
    let (chosen, reason) = choose(choice, options.allow_software)?;
    let executor: Box<dyn Workbench> = match chosen {
        Chosen::Cpu => Box::new(CpuExecutor::new()),
        Chosen::Reference => Box::new(ReferenceExecutor::new()),
        Chosen::Gpu(adapter) => Box::new(options.open_gpu(&adapter)?),
    };
    Ok(Opened { executor, reason })
}

/// The device for `choice`, and a line that names it and the reason for it.
///
/// `auto` takes a real GPU, or otherwise the CPU executor. A software rasteriser is taken only by name or number, or
/// for `gpu` with `allow_software`.
///
/// # Errors
/// [`Error::NoDevice`] when no device fits; it lists the devices found and what to install.
pub fn choose(choice: &DeviceChoice, allow_software: bool) -> Result<(Chosen, String)> {
    let (chosen, why) = find(choice, allow_software)?;
    let device = match &chosen {
        Chosen::Cpu => CpuExecutor::new().device_name(),
        Chosen::Reference => ReferenceExecutor::new().device_name(),
        Chosen::Gpu(adapter) => {
            let profile = adapter.profile();
            format!("{}, {}, {}", profile.name, profile.kind, adapter.backend())
        }
    };
    Ok((chosen, format!("{device} ({why})")))
}

fn find(choice: &DeviceChoice, allow_software: bool) -> Result<(Chosen, &'static str)> {
    match choice {
        DeviceChoice::Cpu => return Ok((Chosen::Cpu, "as asked")),
        DeviceChoice::Reference => return Ok((Chosen::Reference, "as asked")),
        _ => {}
    }
    let adapters = adapters();
    let (adapter, reason) = match choice {
        DeviceChoice::Auto => match real(&adapters) {
            Some(adapter) => (adapter, "the first real GPU; --device cpu takes the CPU"),
            None => return Ok((Chosen::Cpu, "no GPU found; `wgconv devices` says what to install")),
        },
        DeviceChoice::Index(index) => (
            adapters.get(*index).ok_or_else(|| no_device(choice, &adapters, "there is no such number"))?,
            "by number, as asked",
        ),
        DeviceChoice::Name(name) => {
            let name = name.to_lowercase();
            let has_name = |adapter: &&Adapter| adapter.profile().name.to_lowercase().contains(&name);
            let named = adapters.iter().find(has_name).filter(|_| !name.trim().is_empty());
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
    Ok((Chosen::Gpu(adapter.clone()), reason))
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
