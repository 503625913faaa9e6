//! The device whose speed is measured.

use serde_json::{Map, Value, json};

use crate::device::{DeviceChoice, DeviceKind};
use crate::executors::{Chosen, OpenOptions, choose};
use crate::gpu::{Adapter, GpuExecutor};
use crate::host::CpuExecutor;
use crate::plan::Workbench;
use crate::{Error, Result};

/// The device whose speed is measured.
pub enum BenchDevice {
    /// All cores of the CPU.
    Cpu(CpuExecutor),
    /// A GPU, or a program that emulates one.
    Gpu(Adapter, Box<GpuExecutor>),
}

impl BenchDevice {
    /// Opens the device for `choice`, and returns a line that names it and the reason for it.
    ///
    /// # Errors
    /// Those of [`executors::open_with`](crate::executors::open_with); [`Error::Invalid`] for the reference.
    pub fn open(choice: &DeviceChoice, options: &OpenOptions) -> Result<(BenchDevice, String)> {
        let (chosen, reason) = choose(choice, options.allow_software)?;
        let device = match chosen {
            Chosen::Cpu => BenchDevice::Cpu(CpuExecutor::new()),
            Chosen::Gpu(adapter) => {
                let executor = Box::new(options.open_gpu(&adapter)?);
                BenchDevice::Gpu(adapter, executor)
            }
            Chosen::Reference => {
                return Err(Error::invalid("--device", "auto, cpu, or a GPU to be timed", "reference"));
            }
        };
        Ok((device, reason))
    }

    /// The executor that runs plans on it.
    pub fn executor(&mut self) -> &mut dyn Workbench {
        match self {
            BenchDevice::Cpu(executor) => executor,
            BenchDevice::Gpu(_, executor) => executor.as_mut(),
        }
    }

    /// More bytes than its last-level cache holds: 128 MiB on a CPU, 256 MiB on a GPU. No driver reports the size.
    pub fn cache_bytes(&self) -> u64 {
        match self {
            BenchDevice::Gpu(adapter, _) if adapter.profile().kind != DeviceKind::Software => 256 << 20,
            _ => 128 << 20,
        }
    }

    /// The device's properties that belong to every figure: `adapter`, `backend` and `driver`, or `threads`.
    pub fn describe(&self) -> Map<String, Value> {
        let description = match self {
            BenchDevice::Cpu(_) => {
                json!({ "adapter": "cpu", "backend": "cpu", "threads": rayon::current_num_threads() })
            }
            BenchDevice::Gpu(adapter, _) => json!({
                "adapter": adapter.profile().name,
                "backend": adapter.backend(),
                "driver": adapter.driver(),
            }),
        };
        description.as_object().cloned().expect("an object, as written above")
    }
}
