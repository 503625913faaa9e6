//! The vocabulary: operations, each with its definition, its kernels and its fast CPU form.

pub mod batch;
pub mod conv;
mod gemm;
pub mod kernel;
pub mod loss;
pub mod op;
pub mod optimizer;
pub mod pool;
pub mod window;

pub use op::{Access, Element, HostBuffer, Op, Operand, Operands, Precision};
