//! PyTorch, where it is installed: `WGCONV_PYTHON` names the interpreter.

use std::process::Command;

/// The Python interpreter, if it has PyTorch and safetensors; otherwise prints that the test is skipped.
pub fn with_torch() -> Option<String> {
    let python = std::env::var("WGCONV_PYTHON").unwrap_or("python3".into());
    let output = Command::new(&python).args(["-c", "import torch, safetensors"]).output();
    let has_torch = output.is_ok_and(|output| output.status.success());
    if !has_torch {
        println!("skipped: {python} has no torch and safetensors");
    }
    has_torch.then_some(python)
}
