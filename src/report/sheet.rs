//! A contact sheet: some images of each class in one picture.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};

use super::letters;
use super::visible::shortened;
use crate::Result;
use crate::data::{Dataset, Normalisation};
use crate::tensor::ImageShape;
use crate::train::Augmentation;

/// The longer side of an image on the sheet, in pixels, at most.
const SIDE: usize = 96;
/// The space between two images of a class, and round everything.
const GAP: usize = 6;
/// The space between two classes.
const SPACE: usize = 20;
/// The width that classes stand side by side in, if they have room there.
const WIDTH: usize = 1600;
/// The width of a name that is not shortened: 24 letters.
const NAME_WIDTH: usize = 168;
/// The most images of a class.
const MOST_OF_CLASS: usize = 10;
/// The most images, unless there are more classes.
const MOST_IMAGES: usize = 400;
/// The most classes.
const MOST_CLASSES: usize = 1000;

const PAPER: Rgb<u8> = Rgb([0xe4, 0xe4, 0xe4]);
const INK: Rgb<u8> = Rgb([0x18, 0x18, 0x18]);

/// The most images on a sheet of variations, unless there are more classes.
const MOST_VARIED: usize = 200;
/// The most images of a class that are shown with their variations, each in a line of its own.
const MOST_LINES: usize = 4;
/// The fewest images in such a line: one as it is, and its variations.
const FEWEST_IN_LINE: usize = 4;

/// Some images of each class, below its name.
pub struct ContactSheet {
    /// The picture, as a PNG file.
    pub png: Vec<u8>,
    /// How many classes are on it: all, or the first thousand.
    pub classes: usize,
}

impl ContactSheet {
    /// Up to ten images of each class, taken at equal distances from all of that class. Small images are enlarged by a
    /// whole factor, large ones are shrunk. Of images with two channels, or more than three, the first or the first three
    /// are shown.
    pub fn of(data: &Dataset) -> ContactSheet {
        let rows = rows_of_classes(data);
        let of_class = (MOST_IMAGES / rows.len().max(1)).clamp(1, MOST_OF_CLASS).min(most(&rows));
        let lines = rows.iter().map(|rows| vec![spread(rows, of_class).map(|row| (data, row)).collect()]);
        ContactSheet::drawn(data, &lines.collect::<Vec<_>>(), [of_class, 1])
    }

    /// Up to four images of each class, each in a line of its own: as it is, and then as training with this augmentation
    /// would show it in the first epochs, up to nine. Images are mixed with those in the same column.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) when there is too little memory for them.
    pub fn varied(data: &Dataset, augmentation: &Augmentation, seed: u64) -> Result<ContactSheet> {
        let rows = rows_of_classes(data);
        let classes = rows.len().max(1);
        let in_line = (MOST_VARIED / classes).clamp(FEWEST_IN_LINE, MOST_OF_CLASS);
        let count = (MOST_VARIED / (classes * in_line)).clamp(1, MOST_LINES).min(most(&rows));
        let chosen: Vec<Vec<usize>> = rows.iter().map(|rows| spread(rows, count).collect()).collect();
        let batch: Vec<u32> = chosen.iter().flatten().map(|&row| row as u32).collect();
        let normalisation = Normalisation::measure(data);
        let epochs =
            (0..in_line - 1).map(|epoch| augmentation.shown(data, &normalisation, &batch, seed, epoch));
        let epochs = epochs.collect::<Result<Vec<Dataset>>>()?;
        let mut place = 0;
        let mut line = |&row: &usize| {
            let varied = epochs.iter().map(|epoch| (epoch, place));
            let line = [(data, row)].into_iter().chain(varied).collect();
            place += 1;
            line
        };
        let lines = chosen.iter().map(|rows| rows.iter().map(&mut line).collect());
        Ok(ContactSheet::drawn(data, &lines.collect::<Vec<_>>(), [in_line, count]))
    }

    /// The lines of images of each class, at most so many in a line and so many lines.
    fn drawn(data: &Dataset, classes: &[Vec<Line<'_>>], grid: [usize; 2]) -> ContactSheet {
        let layout = Layout::new(data.image, classes.len(), grid);
        let mut sheet = layout.paper();
        for (number, (name, lines)) in data.classes.iter().zip(classes).enumerate() {
            let [left, top] = layout.class(number);
            write(&mut sheet, name, [left, top], layout.class_width);
            for (line, images) in lines.iter().enumerate() {
                let top = top + letters::HEIGHT + line * (layout.image[1] + GAP);
                for (place, (data, row)) in images.iter().enumerate() {
                    let image = shown(data, *row, layout.image);
                    let left = left + place * (layout.image[0] + GAP);
                    imageops::replace(&mut sheet, &image, left as i64, top as i64);
                }
            }
        }
        let mut png = Cursor::new(Vec::new());
        sheet.write_to(&mut png, ImageFormat::Png).expect("an RGB image fits a PNG file in memory");
        ContactSheet { png: png.into_inner(), classes: classes.len() }
    }
}

/// Images side by side: rows of datasets.
type Line<'a> = Vec<(&'a Dataset, usize)>;

/// The rows of each class, of as many classes as a sheet may show.
fn rows_of_classes(data: &Dataset) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); data.classes.len()];
    for (row, &label) in data.labels.iter().enumerate() {
        rows[label as usize].push(row);
    }
    rows.truncate(MOST_CLASSES);
    rows
}

/// Number of images of the largest class, at least 1.
fn most(rows: &[Vec<usize>]) -> usize {
    rows.iter().map(Vec::len).max().unwrap_or(0).max(1)
}

/// Up to `count` rows at equal distances.
fn spread(rows: &[usize], count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(rows.len());
    (0..count).map(move |place| rows[place * rows.len() / count])
}

/// Where everything is on the sheet. Sizes are width and height in pixels.
struct Layout {
    /// Of an image.
    image: [usize; 2],
    class_width: usize,
    class_height: usize,
    columns: usize,
    lines: usize,
}

impl Layout {
    /// For this many images side by side, and one below the other, in each class.
    fn new(image: ImageShape, classes: usize, [of_line, of_column]: [usize; 2]) -> Layout {
        let ImageShape { height, width, .. } = image;
        let longest = height.max(width);
        let image = match SIDE / longest {
            0 => [width, height].map(|side| (side * SIDE).div_ceil(longest)),
            factor => [width, height].map(|side| side * factor),
        };
        let class_width = (of_line * (image[0] + GAP) - GAP).max(NAME_WIDTH);
        let class_height = letters::HEIGHT + of_column * (image[1] + GAP) - GAP;
        let columns = ((WIDTH + SPACE) / (class_width + SPACE)).clamp(1, classes.max(1));
        Layout { image, class_width, class_height, columns, lines: classes.div_ceil(columns) }
    }

    /// The sheet, empty.
    fn paper(&self) -> RgbImage {
        let side =
            |count: usize, size: usize| (count * (size + SPACE) + 2 * GAP).saturating_sub(SPACE) as u32;
        let width = side(self.columns, self.class_width);
        RgbImage::from_pixel(width, side(self.lines, self.class_height), PAPER)
    }

    /// The first corner of a class.
    fn class(&self, number: usize) -> [usize; 2] {
        let (column, line) = (number % self.columns, number / self.columns);
        [GAP + column * (self.class_width + SPACE), GAP + line * (self.class_height + SPACE)]
    }
}

/// An image of the data in this width and height.
fn shown(data: &Dataset, row: usize, [width, height]: [usize; 2]) -> RgbImage {
    let ImageShape { height: own_height, width: own_width, channels } = data.image;
    let pixels = data.image(row).chunks_exact(channels).flat_map(|pixel| match pixel {
        &[red, green, blue, ..] => [red, green, blue],
        _ => [pixel[0]; 3],
    });
    let image = RgbImage::from_raw(own_width as u32, own_height as u32, pixels.collect());
    let filter =
        if width < own_width || height < own_height { FilterType::Triangle } else { FilterType::Nearest };
    imageops::resize(&image.expect("all pixels"), width as u32, height as u32, filter)
}

/// Writes a name in one line of this width, shortened if it is longer.
fn write(sheet: &mut RgbImage, name: &str, [left, top]: [usize; 2], width: usize) {
    letters::each_point(&shortened(name, width / letters::ADVANCE), |x, y, ink| {
        let pixel = sheet.get_pixel_mut((left + x) as u32, (top + y) as u32);
        let mixed = |channel: usize| {
            let ink = u32::from(ink);
            let sum = ink * u32::from(INK.0[channel]) + (255 - ink) * u32::from(PAPER.0[channel]);
            (sum / 255) as u8
        };
        *pixel = Rgb([mixed(0), mixed(1), mixed(2)]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(image: ImageShape, names: &[String], of_class: usize) -> Dataset {
        let labels: Vec<u32> = (0..names.len() as u32).flat_map(|label| vec![label; of_class]).collect();
        let pixels = labels.iter().flat_map(|&label| vec![10 + label as u8; image.elements()]);
        Dataset::new(image, names.to_vec(), pixels.collect(), labels).unwrap()
    }

    fn sheet(data: &Dataset) -> RgbImage {
        image::load_from_memory_with_format(&ContactSheet::of(data).png, ImageFormat::Png)
            .unwrap()
            .into_rgb8()
    }

    /// Number of pixels of each image's value, and of those that are neither paper nor an image.
    fn counts(sheet: &RgbImage, classes: usize) -> (Vec<usize>, usize) {
        let mut counts = vec![0; classes];
        let mut others = 0;
        for pixel in sheet.pixels().filter(|pixel| **pixel != PAPER) {
            // Letters are grey.
            match pixel.0 {
                [value, 0, 0] => counts[usize::from(value - 10)] += 1,
                _ => others += 1,
            }
        }
        (counts, others)
    }

    /// Images whose first channel tells their class, and whose others are zero.
    fn red(height: usize, width: usize, names: &[String], of_class: usize) -> Dataset {
        let mut data = data(ImageShape { height, width, channels: 3 }, names, of_class);
        let pixels = std::sync::Arc::make_mut(&mut data.images);
        pixels.chunks_exact_mut(3).for_each(|pixel| pixel[1..].fill(0));
        data
    }

    #[test]
    fn every_image_is_whole_and_beside_the_others_whatever_its_size() {
        let names: Vec<String> = (0..7).map(|number| format!("class {number}")).collect();
        for ([height, width], shown) in [
            ([1, 1], 96 * 96),
            ([28, 28], 84 * 84),
            ([40, 20], 80 * 40),
            ([96, 97], 96 * 96),
            ([300, 150], 96 * 48),
            ([1, 4096], 96),
            ([4096, 1], 96),
        ] {
            let (counts, letters) = counts(&sheet(&red(height, width, &names, 3)), 7);
            assert_eq!(counts, [3 * shown; 7], "{height}x{width}");
            assert!(letters > 100);
        }
    }

    #[test]
    fn no_name_reaches_another_class() {
        let plain: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        let size = sheet(&red(8, 8, &plain, 1)).dimensions();
        let odd =
            ["", "\n\n\n", "\u{1b}[2J", "猫", "e\u{301}", "\u{202e}abc", &"x".repeat(70_000), "😀😀😀😀"];
        for name in odd {
            let mut names = plain.clone();
            names[0] = name.into();
            names[11] = name.into();
            let sheet = sheet(&red(8, 8, &names, 1));
            assert_eq!(sheet.dimensions(), size, "{name:?}");
            let (counts, _) = counts(&sheet, 12);
            assert_eq!(counts, [96 * 96; 12], "{name:?}");
        }
    }

    #[test]
    fn images_are_taken_from_all_of_a_class_and_a_class_may_have_none() {
        let image = ImageShape { height: 96, width: 96, channels: 1 };
        let pixels = (0..40).flat_map(|value| vec![5 * value; image.elements()]).collect();
        let names = ["many", "none"].map(String::from).to_vec();
        let sheet = sheet(&Dataset::new(image, names, pixels, vec![0; 40]).unwrap());
        let across: Vec<u8> =
            (0..10).map(|place| sheet.get_pixel((GAP + 50 + place * (SIDE + GAP)) as u32, 60).0[1]).collect();
        assert_eq!(across, [0, 20, 40, 60, 80, 100, 120, 140, 160, 180]);
    }

    #[test]
    fn many_classes_are_shown_up_to_a_thousand() {
        let names: Vec<String> = (0..1200).map(|number| number.to_string()).collect();
        let image = ImageShape { height: 2, width: 2, channels: 2 };
        let data = Dataset::new(image, names, vec![7; 1200 * 8], (0..1200).collect()).unwrap();
        let ContactSheet { png, classes } = ContactSheet::of(&data);
        assert_eq!(classes, 1000);
        let sheet = image::load_from_memory(&png).unwrap();
        assert!(sheet.width() < 1700 && sheet.height() < 20_000, "{}x{}", sheet.height(), sheet.width());
        let flip = "flip".parse().unwrap();
        assert_eq!(ContactSheet::varied(&data, &flip, 0).unwrap().classes, 1000);
        // All images are in classes that are not shown.
        let names = data.classes.clone();
        let data = Dataset::new(image, names, vec![7; 8], vec![1100]).unwrap();
        assert_eq!(ContactSheet::varied(&data, &flip, 0).unwrap().classes, 1000);
    }
}
