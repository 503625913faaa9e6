//! Helpers shared by tests on a GPU.

use wgconv::gpu::{Adapter, GpuExecutor, ShaderChecks, adapters};

/// The best adapter, software rasterisers included. Without one, prints that the test is skipped, or fails if
/// WGCONV_REQUIRE_GPU=1.
pub fn adapter(test: &str) -> Option<Adapter> {
    let adapter = adapters().into_iter().next();
    if adapter.is_none() {
        let required = std::env::var("WGCONV_REQUIRE_GPU").is_ok_and(|value| value == "1");
        assert!(!required, "{test}: WGCONV_REQUIRE_GPU=1, and there is no adapter");
        eprintln!("SKIPPED {test}: there is no adapter");
    }
    adapter
}

/// An executor on the best adapter.
#[allow(dead_code, reason = "not every test starts from an executor")]
pub fn gpu(test: &str, checks: ShaderChecks) -> Option<GpuExecutor> {
    Some(GpuExecutor::open(&adapter(test)?).expect("an adapter that opens").with_checks(checks))
}
