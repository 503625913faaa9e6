//! Where in its window the largest value is, for a max-pool of windows of 2x2 side by side.

use rayon::prelude::*;

use super::{PoolForward, PoolGeometry, PoolKind, winner};
use crate::ops::kernel::{Binding, KernelCall, shader};
use crate::ops::window::Axis;
use crate::tensor::position;

/// Number of places in a window, which are numbered row by row.
pub const PLACES: u32 = 4;

/// A max-pool of windows of 2x2 side by side. Rows and columns past the last whole window are in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowsOfFour {
    /// The sizes.
    pub geometry: PoolGeometry,
}

impl WindowsOfFour {
    /// The windows of a pool; `None` if they are others.
    pub fn new(pool: &PoolForward) -> Option<Self> {
        let PoolForward { kind, geometry } = *pool;
        let is_halved = |axis: &Axis| {
            let Axis { input, output, kernel, stride, dilation, padding_before, .. } = *axis;
            [kernel, stride, dilation, padding_before] == [2, 2, 1, 0] && 2 * output <= input
        };
        let fits = kind == PoolKind::Max && is_halved(&geometry.height) && is_halved(&geometry.width);
        fits.then_some(WindowsOfFour { geometry })
    }

    /// Number of windows of one channel, in all images.
    pub fn windows(&self) -> usize {
        let PoolGeometry { batch_size, height, width, .. } = self.geometry;
        batch_size * height.output * width.output
    }

    /// By definition, the index of a value in the input: that at a place of the window and channel to which `index` belongs in
    /// the output.
    pub fn input_index(&self, index: usize, place: u32) -> usize {
        let PoolGeometry { batch_size, channels, height, width } = self.geometry;
        let [n, p, q, c] = position([batch_size, height.output, width.output, channels], index);
        let place = place as usize;
        self.geometry.input_index(n, 2 * p + place / 2, 2 * q + place % 2, c)
    }

    /// By definition, the window and channel of the value at `index` of the input, as an index in the output, and its place in the
    /// window; `None` past the last whole window.
    pub fn window_of(&self, index: usize) -> Option<(usize, u32)> {
        let PoolGeometry { batch_size, channels, height, width } = self.geometry;
        let [n, h, w, c] = position([batch_size, height.input, width.input, channels], index);
        let (p, q) = (h / 2, w / 2);
        let window = ((n * height.output + p) * width.output + q) * channels + c;
        (p < height.output && q < width.output).then_some((window, (h % 2 * 2 + w % 2) as u32))
    }

    /// By definition, the place of the largest value of the window and channel at `index` of the output: the first of equal
    /// ones, or the first NaN if there is one.
    pub fn place(&self, index: usize, input: impl Fn(usize) -> f64) -> u32 {
        let PoolGeometry { batch_size, channels, height, width } = self.geometry;
        let of_output = position([batch_size, height.output, width.output, channels], index);
        let largest = winner(&self.geometry, input, of_output);
        let place = (0..PLACES).find(|&place| self.input_index(index, place) == largest);
        place.expect("a place in the window")
    }

    /// Writes the largest values and their places, an image at a time.
    pub fn run_on_cpu(&self, input: &[f32], output: &mut [f32], winners: &mut [u32]) {
        let PoolGeometry { batch_size, channels, .. } = self.geometry;
        let [of_input, of_output] = [input.len(), output.len()].map(|elements| elements / batch_size);
        let images = output.par_chunks_mut(of_output).zip(winners.par_chunks_mut(of_output));
        images.zip(input.par_chunks(of_input)).for_each(|((output, winners), input)| {
            self.geometry.for_each_window(|window, pixels| {
                for c in 0..channels {
                    let (mut best, mut winner) = (f32::NEG_INFINITY, None);
                    for (place, pixel) in (0..PLACES).zip(pixels.iter()) {
                        let value = input[pixel * channels + c];
                        if winner.is_none() || value > best || value.is_nan() && !best.is_nan() {
                            (best, winner) = (value, Some(place));
                        }
                    }
                    output[window * channels + c] = best;
                    winners[window * channels + c] = winner.expect("a window that meets the input");
                }
            });
        });
    }

    /// The launch that writes the largest values and their places: it binds input, output and winners.
    pub fn call(&self) -> KernelCall {
        let source =
            shader!("pool/max_and_places.wgsl", "conv/geometry.wgsl", "float_bits.wgsl", "grid.wgsl");
        let elements = self.geometry.output_shape().elements();
        KernelCall::elementwise(source, self.geometry.constants(), 3, elements)
    }
}

/// Adds what a call needs that has the values of [`WindowsOfFour`] in registers: `best_of`, which finds the largest of a window
/// and their places, and `store_best`, for the array `output` and the winners, the operand of this number. Where channels are
/// a multiple of four, they are stored in quads.
pub fn store_best(call: &mut KernelCall, winners: usize, in_quads: bool) {
    call.source.files.extend(shader!("pool/best_of_four.wgsl", "float_bits.wgsl").files);
    call.source.files.extend(match in_quads {
        true => shader!("pool/best_quads.wgsl").files,
        false => shader!("pool/best_scalars.wgsl").files,
    });
    call.bind("WINNERS_BINDING", Binding::Operand(winners));
}
