//! Pictures for the page: colours for numbers, many small pictures in one PNG file, and data URIs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use serde_json::{Value, json};

use crate::report::run::Picture;

/// A colour: red, green and blue.
pub type Colour = [u8; 3];

/// The colours from the most negative number over zero to the most positive one. Colour-blind people tell them apart.
const DIVERGING: [Colour; 5] =
    [[0xb3, 0x58, 0x06], [0xf1, 0xa3, 0x40], [0xf7, 0xf7, 0xf7], [0x67, 0xa9, 0xcf], [0x1b, 0x5f, 0xa8]];

/// The colour of a number from -1 to 1: orange, white at zero, blue. What is no number is grey.
pub fn diverging(value: f32) -> Colour {
    if value.is_nan() {
        return [0x99; 3];
    }
    let place = (value.clamp(-1.0, 1.0) + 1.0) * 2.0;
    let below = (place as usize).min(3);
    let share = place - below as f32;
    let mix = |channel: usize| {
        let [from, to] = [below, below + 1].map(|place| f32::from(DIVERGING[place][channel]));
        (from + share * (to - from)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

/// The brightness of a number from -1 to 1 in a channel of a colour: zero is the middle.
pub fn brightness(value: f32) -> u8 {
    if value.is_nan() { 128 } else { (127.5 + 127.5 * value.clamp(-1.0, 1.0)).round() as u8 }
}

/// What stands for 1 on the scale of these numbers: the smallest magnitude that at most one in 200 exceeds, so that a
/// single large one does not make all others pale. Never zero.
pub fn scale<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    let mut magnitudes: Vec<f32> =
        values.into_iter().map(|value| value.abs()).filter(|value| value.is_finite()).collect();
    if magnitudes.is_empty() {
        return 1.0;
    }
    let place = magnitudes.len() - 1 - magnitudes.len() / 200;
    let (_, scale, above) = magnitudes.select_nth_unstable_by(place, f32::total_cmp);
    let scale = if *scale > 0.0 { *scale } else { above.iter().copied().fold(0.0, f32::max) };
    if scale > 0.0 { scale } else { 1.0 }
}

/// Bytes as base64.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A PNG file of pixels with 1 (grey), 3 (colour) or 4 (and opacity) bytes; of pixels that are all grey, a grey one.
pub fn png([width, height]: [usize; 2], pixels: &[u8]) -> Vec<u8> {
    let channels = pixels.len() / (width * height).max(1);
    if channels == 3 && pixels.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]) {
        let grey: Vec<u8> = pixels.iter().step_by(3).copied().collect();
        return png([width, height], &grey);
    }
    let colour = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Default, PngFilter::Adaptive)
        .write_image(pixels, width as u32, height as u32, colour)
        .expect("a PNG in memory");
    file
}

/// A PNG file as a data URI; see [`png`].
pub fn uri(size: [usize; 2], pixels: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(&png(size, pixels)))
}

/// Colours in a rectangle.
#[derive(Clone)]
pub struct Tile {
    /// Width and height.
    pub size: [usize; 2],
    /// `[height, width, 3]`.
    pub pixels: Vec<u8>,
}

impl Tile {
    /// A tile of one colour.
    pub fn new(size: [usize; 2], colour: Colour) -> Tile {
        Tile { size, pixels: colour.repeat(size[0] * size[1]) }
    }

    /// A picture whose longer side is at most `most`; a black pixel if it is not whole.
    pub fn of(picture: &Picture, most: usize) -> Tile {
        let &Picture { size: [height, width], channels, ref pixels } = picture;
        let whole = height.checked_mul(width).and_then(|count| count.checked_mul(channels));
        if pixels.is_empty() || whole != Some(pixels.len()) {
            return Tile::new([1, 1], [0; 3]);
        }
        let colours: Vec<u8> = pixels
            .chunks_exact(channels)
            .flat_map(|pixel| match pixel {
                &[red, green, blue, ..] => [red, green, blue],
                _ => [pixel[0]; 3],
            })
            .collect();
        let longest = height.max(width);
        if longest <= most {
            return Tile { size: [width, height], pixels: colours };
        }
        let [small_width, small_height] = [width, height].map(|side| (side * most / longest).max(1));
        let image =
            RgbImage::from_raw(width as u32, height as u32, colours).expect("three bytes for every pixel");
        let small = imageops::resize(&image, small_width as u32, small_height as u32, FilterType::Triangle);
        Tile { size: [small_width, small_height], pixels: small.into_raw() }
    }

    /// Puts another tile on this one; what reaches beyond it is left out.
    pub fn put(&mut self, other: &Tile, [left, top]: [usize; 2]) {
        let [width, height] = self.size;
        let shown = other.size[0].min(width.saturating_sub(left));
        for line in 0..other.size[1].min(height.saturating_sub(top)) {
            let to = 3 * ((top + line) * width + left);
            let from = 3 * line * other.size[0];
            self.pixels[to..to + 3 * shown].copy_from_slice(&other.pixels[from..from + 3 * shown]);
        }
    }

    /// Every pixel as a square of so many.
    pub fn enlarged(&self, factor: usize) -> Tile {
        let [width, height] = self.size.map(|side| side * factor);
        let pixels = (0..height).flat_map(|y| {
            (0..width).flat_map(move |x| {
                let at = 3 * (y / factor * self.size[0] + x / factor);
                [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
            })
        });
        Tile { size: [width, height], pixels: pixels.collect() }
    }
}

/// Many small pictures in one PNG file: `{ src, tiles: [[left, top, width, height], ..] }`.
#[derive(Default)]
pub struct Sheet {
    tiles: Vec<Tile>,
}

impl Sheet {
    /// Adds a picture, and says its place.
    pub fn add(&mut self, tile: Tile) -> usize {
        self.tiles.push(tile);
        self.tiles.len() - 1
    }

    /// The sheet for the page's data; nothing if there is no picture.
    pub fn data(&self) -> Value {
        if self.tiles.is_empty() {
            return Value::Null;
        }
        let side = |axis: usize| self.tiles.iter().map(|tile| tile.size[axis]).max().unwrap_or(1);
        let cell = [side(0), side(1)];
        let columns = square_columns(self.tiles.len(), cell);
        let mut sheet = Tile::new([columns * cell[0], self.tiles.len().div_ceil(columns) * cell[1]], [0; 3]);
        let mut places = Vec::with_capacity(self.tiles.len());
        for (number, tile) in self.tiles.iter().enumerate() {
            let corner = [number % columns * cell[0], number / columns * cell[1]];
            sheet.put(tile, corner);
            places.push(json!([corner[0], corner[1], tile.size[0], tile.size[1]]));
        }
        json!({ "src": uri(sheet.size, &sheet.pixels), "tiles": places })
    }
}

/// How many cells of this width and height stand side by side, so that all of them make about a square.
pub fn square_columns(count: usize, [width, height]: [usize; 2]) -> usize {
    let side = (count as f64 * height as f64 / width.max(1) as f64).sqrt().ceil() as usize;
    side.clamp(1, count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(file: &[u8]) -> RgbImage {
        image::load_from_memory(file).unwrap().into_rgb8()
    }

    #[test]
    fn zero_is_neutral_and_signs_differ() {
        assert_eq!(diverging(0.0), DIVERGING[2]);
        assert_eq!([diverging(-7.0), diverging(7.0)], [DIVERGING[0], DIVERGING[4]]);
        assert_eq!(diverging(f32::NAN), [0x99; 3]);
        assert_eq!([-1.0, 0.0, 1.0, f32::NAN].map(brightness), [0, 128, 255, 128]);
    }

    #[test]
    fn a_scale_ignores_a_lone_giant_and_what_is_no_number() {
        let mut values = vec![0.5; 1000];
        values[3] = 1e9;
        values[4] = f32::NAN;
        assert_eq!(scale(&values), 0.5);
        assert_eq!(scale(&[0.0; 8]), 1.0);
        assert_eq!(scale(&[]), 1.0);
        let mut lonely = vec![0.0; 1000];
        lonely[9] = -2.0;
        assert_eq!(scale(&lonely), 2.0);
    }

    #[test]
    fn every_tile_is_where_the_sheet_says() {
        let mut sheet = Sheet::default();
        for number in 0..5u8 {
            sheet.add(Tile::new([2 + usize::from(number % 2), 3], [number * 40, 1, 2]));
        }
        let data = sheet.data();
        let file = data["src"].as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
        let picture = pixels(&STANDARD.decode(file).unwrap());
        for (number, place) in data["tiles"].as_array().unwrap().iter().enumerate() {
            let [left, top, width, height] = [0, 1, 2, 3].map(|at| place[at].as_u64().unwrap() as u32);
            assert_eq!((width, height), (2 + number as u32 % 2, 3));
            assert_eq!(picture.get_pixel(left + width - 1, top + 2).0, [number as u8 * 40, 1, 2]);
        }
        assert_eq!(Sheet::default().data(), Value::Null);
    }

    #[test]
    fn pictures_of_every_kind_become_tiles() {
        let picture = |size: [usize; 2], channels, count| Picture { size, channels, pixels: vec![9; count] };
        assert_eq!(Tile::of(&picture([2, 3], 1, 6), 96).size, [3, 2]);
        assert_eq!(Tile::of(&picture([2, 3], 2, 12), 96).pixels, vec![9; 18]);
        assert_eq!(Tile::of(&picture([200, 1], 3, 600), 96).size, [1, 96]);
        for broken in [picture([2, 3], 1, 5), picture([0, 3], 1, 0), picture([usize::MAX, 3], 1, 5)] {
            assert_eq!(Tile::of(&broken, 96).size, [1, 1]);
        }
        let grey = png([2, 1], &[5, 5, 5, 6, 6, 6]);
        assert_eq!(image::load_from_memory(&grey).unwrap().color(), image::ColorType::L8);
    }

    #[test]
    fn enlarging_keeps_colours() {
        let tile = Tile { size: [2, 1], pixels: vec![1, 2, 3, 4, 5, 6] };
        let large = tile.enlarged(2);
        assert_eq!(large.size, [4, 2]);
        assert_eq!(large.pixels[..12], [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6]);
    }
}
