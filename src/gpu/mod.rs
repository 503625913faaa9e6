//! How plans run on a GPU, through wgpu: adapters, pipelines, transfers, timing, tuning. No code here names an
//! operation.

mod adapter;
mod clock;
mod context;
mod executor;
mod late_sums;
mod multiprocessors;
mod pipeline;
mod pipeline_cache;
mod slice;
mod submission;
mod timestamps;
mod transfer;
mod tuning;

pub use adapter::{Adapter, adapters, install_advice};
pub use executor::{GpuExecutor, Preference};
pub use late_sums::LateSums;
pub use pipeline::ShaderChecks;
pub use tuning::{Tuning, TuningNotice};
