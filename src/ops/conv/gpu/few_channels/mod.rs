//! Convolutions with few channels, of the whole image or of each group: a matrix product would read them in crumbs, and
//! fill no tile.
//!
//! One family: an invocation owns a strip of neighbouring positions (`strip`) in a few channels, which it moves in packets
//! (`packet`); gradients of filters are summed over all strips (`tap_groups`). What differs is who shares what: in `stem`
//! all channels of an image meet all filters, in `grouped` each packet meets its own group.

mod grouped;
mod packet;
mod stem;
mod strip;
mod tap_groups;
mod workgroups;

use super::FusedPass;
use crate::device::DeviceProfile;
use crate::ops::conv::ConvGeometry;
use crate::ops::epilogue::Epilogue;
use crate::ops::kernel::Implementation;

/// The way to convolve images of few channels of which only the largest results of windows are stored, as
/// [`ConvMaxPool`](crate::ops::conv::ConvMaxPool) needs them; `None` for others.
pub fn max_pooled(
    geometry: &ConvGeometry,
    epilogue: &Epilogue,
    winners: usize,
    device: &DeviceProfile,
) -> Option<Implementation> {
    stem::forward(geometry, epilogue, Some(winners), device).map(Implementation::tailored)
}

/// The ways to do a pass whose channels are few; none for others, or where windows are too large.
pub fn implementations(
    geometry: &ConvGeometry,
    pass: FusedPass,
    device: &DeviceProfile,
) -> impl Iterator<Item = Implementation> {
    let ways = match &pass {
        FusedPass::Forward(epilogue) => {
            [grouped::forward(geometry, epilogue, device), stem::forward(geometry, epilogue, None, device)]
        }
        FusedPass::GradFilters { prologue, bias } => [
            grouped::grad_filters(geometry, prologue, device),
            stem::grad_filters(geometry, prologue, *bias, device),
        ],
        FusedPass::GradInput { prologue, .. } => {
            [grouped::grad_input(geometry, prologue, device), stem::grad_input(geometry, prologue, device)]
        }
    };
    let of_one = match &pass {
        FusedPass::GradFilters { prologue, .. } => grouped::grad_filters_of_one(geometry, prologue, device),
        _ => None,
    };
    ways.into_iter().flatten().map(Implementation::tailored).chain(of_one)
}
