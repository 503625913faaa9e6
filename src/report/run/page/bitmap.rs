//! A backend of plotters that draws on a picture in memory, with the letters that this crate carries: no font of the
//! system is needed, so that pictures are the same everywhere.

use std::convert::Infallible;

use image::{Rgb, RgbImage};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

use crate::report::letters;

/// Draws on a picture.
pub struct Bitmap<'a> {
    picture: &'a mut RgbImage,
}

impl<'a> Bitmap<'a> {
    /// Draws on this picture.
    pub fn on(picture: &'a mut RgbImage) -> Bitmap<'a> {
        Bitmap { picture }
    }
}

/// Writes a line of text whose first letter has this corner; what reaches beyond the picture is left out.
pub fn write(picture: &mut RgbImage, text: &str, [left, top]: [i64; 2], ink: [u8; 3]) {
    letters::each_point(text, |x, y, strength| {
        mix(picture, [left + x as i64, top + y as i64], ink, f64::from(strength) / 255.0);
    });
}

/// Writes a line of text upwards; its first letter has this lower left corner.
pub fn write_upwards(picture: &mut RgbImage, text: &str, [left, bottom]: [i64; 2], ink: [u8; 3]) {
    letters::each_point(text, |x, y, strength| {
        mix(picture, [left + y as i64, bottom - x as i64], ink, f64::from(strength) / 255.0);
    });
}

fn mix(picture: &mut RgbImage, [x, y]: [i64; 2], ink: [u8; 3], share: f64) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    if let Some(Rgb(pixel)) = picture.get_pixel_mut_checked(x, y) {
        for (value, ink) in pixel.iter_mut().zip(ink) {
            *value = (f64::from(*value) * (1.0 - share) + f64::from(ink) * share).round() as u8;
        }
    }
}

/// Draws a line of this width with round ends.
fn line(picture: &mut RgbImage, from: BackendCoord, to: BackendCoord, width: u32, colour: BackendColor) {
    let (red, green, blue) = colour.rgb;
    let half = f64::from(width) / 2.0;
    let reach = half.ceil() as i32 + 1;
    let [across, down] = [f64::from(to.0 - from.0), f64::from(to.1 - from.1)];
    let length = (across * across + down * down).max(f64::MIN_POSITIVE);
    for y in from.1.min(to.1) - reach..=from.1.max(to.1) + reach {
        for x in from.0.min(to.0) - reach..=from.0.max(to.0) + reach {
            let [right, below] = [f64::from(x - from.0), f64::from(y - from.1)];
            let along = ((right * across + below * down) / length).clamp(0.0, 1.0);
            let distance = (right - along * across).hypot(below - along * down);
            let share = (half + 0.5 - distance).clamp(0.0, 1.0) * colour.alpha;
            mix(picture, [x.into(), y.into()], [red, green, blue], share);
        }
    }
}

impl DrawingBackend for Bitmap<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.picture.dimensions()
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(
        &mut self,
        (x, y): BackendCoord,
        colour: BackendColor,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let (red, green, blue) = colour.rgb;
        mix(self.picture, [x.into(), y.into()], [red, green, blue], colour.alpha);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        line(self.picture, from, to, style.stroke_width(), style.color());
        Ok(())
    }

    // The default makes one polygon of all of a path, which has spikes where it turns sharply.
    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let points: Vec<BackendCoord> = path.into_iter().collect();
        for ends in points.windows(2) {
            line(self.picture, ends[0], ends[1], style.stroke_width(), style.color());
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let (width, height) = (letters::width(text) as i64, letters::HEIGHT as i64);
        let anchor = style.anchor();
        let left = match anchor.h_pos {
            HPos::Left => 0,
            HPos::Center => width / 2,
            HPos::Right => width,
        };
        let above = match anchor.v_pos {
            VPos::Top => 0,
            VPos::Center => height / 2,
            VPos::Bottom => height,
        };
        let (red, green, blue) = style.color().rgb;
        write(self.picture, text, [i64::from(x) - left, i64::from(y) - above], [red, green, blue]);
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok((letters::width(text) as u32, letters::HEIGHT as u32))
    }
}

#[cfg(test)]
mod tests {
    use plotters::style::{RGBColor, ShapeStyle};

    use super::*;

    #[test]
    fn a_sharp_turn_has_no_spike() {
        let mut picture = RgbImage::from_pixel(60, 60, Rgb([255; 3]));
        let style = ShapeStyle::from(&RGBColor(0, 0, 0)).stroke_width(2);
        Bitmap::on(&mut picture).draw_path([(20, 10), (21, 40), (22, 10), (200, -9)], &style).unwrap();
        let inked = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 != [255; 3]);
        let lowest = inked.map(|(_, y, _)| y).max();
        assert!(matches!(lowest, Some(40..=42)), "{lowest:?}");
    }

    #[test]
    fn letters_stay_on_the_picture() {
        let mut picture = RgbImage::from_pixel(20, 20, Rgb([255; 3]));
        write(&mut picture, "long words", [-9, 12], [0; 3]);
        write_upwards(&mut picture, "long words", [12, 30], [0; 3]);
        assert!(picture.pixels().any(|pixel| pixel.0[0] < 100));
    }
}
