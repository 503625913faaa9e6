//! The kernel that finds the positions of the largest values in a max pool's windows.

use super::PoolGeometry;
use crate::device::DeviceProfile;
use crate::ops::kernel::{Binding, KernelCall, shader};
use crate::ops::parts::Loops;

/// Launches that write the index in `input`, operand 0, of every window's first largest value to the scratch buffer 0,
/// which has one element per window and channel.
pub fn winners(geometry: &PoolGeometry, device: &DeviceProfile) -> Vec<KernelCall> {
    let source =
        shader!("pool/max_winners.wgsl", "conv/geometry.wgsl", "float_bits.wgsl", "part.wgsl", "grid.wgsl");
    let elements = geometry.output_shape().elements();
    let mut call = KernelCall::elementwise(source, geometry.constants(), 0, elements);
    call.bindings = vec![Binding::Operand(0), Binding::Workspace(0)];
    window_loops(geometry).launches(&call, device)
}

/// The loops over the taps of a window, or over the windows that contain an input value.
pub fn window_loops(geometry: &PoolGeometry) -> Loops {
    Loops::over_window(geometry.height.kernel, geometry.width.kernel)
}
