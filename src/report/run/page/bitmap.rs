//! A backend of plotters that draws on a picture in memory, with the letters that this crate carries: no font of the
//! system is needed, so that pictures are the same everywhere.

use std::convert::Infallible;

use image::{Rgb, RgbImage};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind};

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
