//! The kernels that reduce each group of each sample to two values.

use super::GroupSize;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, Implementation, KernelCall, Source, best_first, shader};
use crate::ops::parts::Loops;

/// With fewer values in each group, one invocation reduces them as fast as a workgroup.
const FEWEST_VALUES: usize = 128;

/// The implementations of a reduction that binds this number of operands. `source` declares them, and a `Lane` and its
/// `term`, `resumed` and `store`; `combine` says how two lanes are combined; `complete` adds what else they need.
pub fn implementations(
    size: &GroupSize,
    source: &Source,
    combine: &Source,
    operands: usize,
    complete: impl Fn(&mut KernelCall),
    device: &DeviceProfile,
) -> Vec<Implementation> {
    let with = |more: Source| {
        let mut source = source.clone();
        source.files.extend(combine.files.iter().chain(&more.files));
        source.files.extend(shader!("norm/group/size.wgsl", "grid.wgsl").files);
        source
    };
    let direct = with(shader!("norm/group/direct.wgsl", "part.wgsl"));
    let mut direct = KernelCall::elementwise(direct, size.constants(), operands, size.segments());
    complete(&mut direct);
    let direct = Loops::over(size.count()).direct(&direct, device);
    let most = device.max_workgroup_invocations as usize;
    let invocations = if size.count() < 2048 { 64 } else { 256.min(most) };
    let shares = size.count() >= FEWEST_VALUES && size.count().div_ceil(invocations) <= device.loop_trips();
    let shared = shares.then(|| {
        let source = with(shader!("norm/group/shared.wgsl"));
        let source = source.with_sizes(&[("INVOCATIONS", invocations as u32)]);
        let bindings = Binding::operands(operands);
        let mut call = KernelCall::new(source, size.constants(), bindings, size.segments());
        complete(&mut call);
        Implementation::of("shared", call).tailored()
    });
    best_first(shared.into_iter().chain([direct]).collect())
}
