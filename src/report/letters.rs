//! Letters for pictures, the same on every computer.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const SIZE: RasterHeight = RasterHeight::Size16;
/// What stands for a letter that the font lacks.
const UNKNOWN: char = '\u{fffd}';

/// The height of a line, in pixels.
pub(super) const HEIGHT: usize = SIZE.val();
/// The width of every letter, in pixels.
pub(super) const ADVANCE: usize = get_raster_width(FontWeight::Regular, SIZE);

/// The width of a line of text, in pixels.
pub(super) fn width(text: &str) -> usize {
    text.chars().count() * ADVANCE
}

/// Calls `draw` with the place, across and down, and the strength of the ink, of every point of a line of text.
pub(super) fn each_point(text: &str, mut draw: impl FnMut(usize, usize, u8)) {
    for (place, letter) in text.chars().enumerate() {
        let glyph = |letter| get_raster(letter, FontWeight::Regular, SIZE);
        let Some(glyph) = glyph(letter).or_else(|| glyph(UNKNOWN)) else { continue };
        for (y, line) in glyph.rows().enumerate() {
            for (x, &ink) in line.iter().enumerate() {
                draw(place * ADVANCE + x, y, ink);
            }
        }
    }
}
