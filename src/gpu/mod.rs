//! How plans run on a GPU, through wgpu: adapters, pipelines, transfers. Names no op.

mod adapter;
mod executor;
mod pipeline;
mod transfer;

pub use adapter::{Adapter, adapters, install_advice};
pub use executor::{GpuExecutor, Preference, ShaderChecks};
