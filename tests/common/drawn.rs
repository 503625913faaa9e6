//! Pictures that tests draw, of classes that a small network tells apart at once.

#![allow(dead_code, reason = "not every kind of proof needs all of it")]

use image::{DynamicImage, GrayImage};

use super::workplace::Workplace;

/// A picture of a class, light with a dark half: a left, b right, c the upper one; every number gives another grain.
pub fn picture(class: char, number: u32, width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let is_dark = match class {
            'a' => 2 * x < width,
            'b' => 2 * x >= width,
            _ => 2 * y < height,
        };
        let grain = (x * 31 + y * 17 + number * 7 + x * y * number) % 24;
        image::Luma([if is_dark { 50 } else { 190 } + grain as u8])
    })
}

pub fn save(place: &Workplace, name: &str, image: impl Into<DynamicImage>) {
    place.write(name, "");
    image.into().save(place.path(name)).unwrap();
}

/// Pictures of the classes, by numbers from `first`.
pub fn folder(place: &Workplace, root: &str, classes: &str, first: u32, count: u32) {
    for class in classes.chars() {
        for number in first..first + count {
            save(place, &format!("{root}/{class}/{number:03}.png"), picture(class, number, 12, 12));
        }
    }
}
