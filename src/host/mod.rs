//! How plans run in host memory: on the CPU in f32, and by the definitions in f64. No code here names an operation.

mod cpu;
mod executor;
mod reference;

pub use cpu::CpuExecutor;
pub use executor::{Arithmetic, HostExecutor};
pub use reference::ReferenceExecutor;
