//! Operations, each with its definition, its kernels and its fast CPU forms.

pub mod activation;
pub mod add;
pub mod batch;
pub mod bias;
pub mod ceilings;
pub mod concatenate;
pub mod conv;
pub(crate) mod cost;
pub mod dense;
pub mod dropout;
mod epilogue;
pub(crate) mod gemm;
pub mod halves;
pub mod kernel;
pub mod loss;
pub mod multiply;
pub mod norm;
pub mod op;
pub mod optimizer;
mod parts;
pub mod pool;
pub mod prelu;
mod prologue;
mod rows;
pub mod span;
mod sums;
pub mod window;

pub use epilogue::{Epilogue, Normalise};
pub use gemm::{LateSum, SumTable};
pub use op::{
    Access, Beside, CpuForm, Element, HostBuffer, Op, Operand, Operands, Precision, Read, Recomputing,
    Valuewise, WithPrologue,
};
pub use prologue::Prologue;
