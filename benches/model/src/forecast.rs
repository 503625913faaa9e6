//! pending
use crate::compile::Compiled;
use crate::kernels::Call;
pub fn print(_calls: &[Call], _compiled: &[Compiled]) {}
