//! Tells the crate which commit it is built from, in `WGCONV_COMMIT`; not at all without git or outside a checkout.

use std::env;
use std::process::Command;

fn main() {
    // Only what goes into the build: a change there recompiles the crate anyway.
    for path in ["build.rs", "Cargo.toml", "Cargo.lock", "src", "shaders"] {
        println!("cargo:rerun-if-changed={path}");
    }
    // A checkout of something else may lie around an unpacked package.
    if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("") {
        return;
    }
    if let Some(commit) = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]) {
        println!("cargo:rustc-env=WGCONV_COMMIT={commit}");
    }
    // A commit recompiles release builds, which measure, but not the builds that developers test.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && std::path::Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
}

/// What git answers in the package's folder.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
