//! Pictures for papers and slides: curves, filters and the confusion matrix as PNG files, on white paper.

use image::{Rgb, RgbImage};
use plotters::prelude::{DrawingBackend, IntoDrawingArea};

use super::answers::MOST_IN_MATRIX;
use super::bitmap::{Bitmap, write, write_upwards};
use super::chart::Chart;
use super::filters::Drawing;
use super::sheets::{Colour, Tile, png};
use super::text;
use crate::report::letters::{ADVANCE, HEIGHT};
use crate::report::run::{Answers, Film, Moment, Story};
use crate::report::visible::shortened;

const PAPER: Colour = [0xff; 3];
const INK: Colour = [0x22; 3];
const QUIET: Colour = [0x66, 0x6c, 0x76];
const MARGIN: usize = 24;

/// The most filters side by side.
const MOST_FILTERS: usize = 24;
/// The most moments one below the other.
const MOST_MOMENTS: usize = 10;
/// The side that a filter is enlarged to, at least about.
const FILTER_SIDE: usize = 48;
/// The most letters of a class's name.
const MOST_LETTERS: usize = 14;

/// The pictures, each with the name of its file; those for which the story has nothing are left out.
pub fn pictures(story: &Story) -> Vec<(&'static str, Vec<u8>)> {
    let curves = curves(&Chart::all(&story.curves));
    let filters = story.film.as_ref().and_then(filters);
    let confusion = story.answers.as_ref().and_then(|answers| confusion(answers, &story.classes));
    let pictures = [("curves.png", curves), ("filters.png", filters), ("confusion.png", confusion)];
    pictures
        .into_iter()
        .filter_map(|(name, picture)| {
            let picture = picture?;
            let size = [picture.width() as usize, picture.height() as usize];
            Some((name, png(size, picture.as_raw())))
        })
        .collect()
}

fn paper(width: usize, height: usize) -> RgbImage {
    RgbImage::from_pixel(width as u32, height as u32, Rgb(PAPER))
}

fn put(picture: &mut RgbImage, tile: &Tile, [left, top]: [usize; 2]) {
    for (number, pixel) in tile.pixels.chunks_exact(3).enumerate() {
        let [x, y] = [left + number % tile.size[0], top + number / tile.size[0]];
        if let Some(place) = picture.get_pixel_mut_checked(x as u32, y as u32) {
            *place = Rgb([pixel[0], pixel[1], pixel[2]]);
        }
    }
}

/// The charts side by side.
fn curves(charts: &[Chart]) -> Option<RgbImage> {
    const SIZE: [usize; 2] = [640, 420];
    const SCALE: u32 = 2;
    const HEAD: usize = 28;
    if charts.is_empty() {
        return None;
    }
    let mut picture = paper(charts.len() * (SIZE[0] + MARGIN) + MARGIN, SIZE[1] + 2 * HEAD + 2 * MARGIN);
    for (number, chart) in charts.iter().enumerate() {
        let left = MARGIN + number * (SIZE[0] + MARGIN);
        let mut drawn = paper(SIZE[0], SIZE[1]);
        {
            let mut backend = Bitmap::on(&mut drawn);
            backend.ensure_prepared().ok()?;
            chart.draw(&backend.into_drawing_area(), SCALE)?;
        }
        put(&mut picture, &Tile { size: SIZE, pixels: drawn.into_raw() }, [left, MARGIN + 2 * HEAD]);
        write(&mut picture, chart.title, [left as i64, MARGIN as i64], INK);
        let mut at = left;
        for line in chart.lines.iter().filter(|_| chart.lines.len() > 1) {
            let colour = [line.colour.0, line.colour.1, line.colour.2];
            let top = MARGIN + HEAD;
            put(&mut picture, &Tile::new([18, 3], colour), [at, top + HEIGHT / 2 - 1]);
            write(&mut picture, &line.name, [at as i64 + 24, top as i64], QUIET);
            at += 24 + (line.name.chars().count() + 3) * ADVANCE;
        }
    }
    Some(picture)
}

/// The filters at some moments of the film: a line for each moment.
fn filters(film: &Film) -> Option<RgbImage> {
    const GAP: usize = 6;
    let drawing = Drawing::of(film)?;
    let values = film.filters.checked_mul(film.size?.elements())?;
    let whole: Vec<&Moment> = film.moments.iter().filter(|moment| moment.values.len() == values).collect();
    let last = whole.len().checked_sub(1)?;
    let count = whole.len().min(MOST_MOMENTS);
    let moments: Vec<&Moment> =
        (0..count).map(|place| whole[(place * last).div_ceil(count.max(2) - 1).min(last)]).collect();
    let shown = film.filters.min(MOST_FILTERS);
    let size = drawing.filter(moments[0], 0).size;
    let factor = FILTER_SIDE.div_ceil(size[0].min(size[1])).max(1);
    let cell = size.map(|side| side * factor + GAP);
    let names: Vec<String> = moments.iter().map(|moment| shortened(&moment.name, MOST_LETTERS)).collect();
    let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = MARGIN + (letters + 2) * ADVANCE;
    let foot = HEIGHT + 12;
    let width = (left + shown * cell[0] + MARGIN).max(MARGIN * 2 + 70 * ADVANCE);
    let mut picture = paper(width, 2 * MARGIN + moments.len() * cell[1] + foot);
    for (line, (moment, name)) in moments.iter().zip(&names).enumerate() {
        let top = MARGIN + line * cell[1];
        write(
            &mut picture,
            name,
            [MARGIN as i64, (top + (cell[1] - GAP - HEIGHT.min(cell[1] - GAP)) / 2) as i64],
            INK,
        );
        for filter in 0..shown {
            let tile = drawing.filter(moment, filter).enlarged(factor);
            put(&mut picture, &tile, [left + filter * cell[0], top]);
        }
    }
    let scale = text::figure(drawing.scale.into()).replace('−', "-");
    let colours =
        if drawing.is_coloured() { "grey is zero" } else { "white is zero, blue more, orange less" };
    let words = format!(
        "{shown} of {} filters of {}; {colours}, to {scale}",
        film.filters,
        shortened(&film.layer, 16)
    );
    let top = MARGIN + moments.len() * cell[1] + 12;
    write(&mut picture, &words, [MARGIN as i64, top as i64], QUIET);
    Some(picture)
}

/// The confusion matrix with its counts; nothing if there are too many classes to be read.
fn confusion(answers: &Answers, names: &[String]) -> Option<RgbImage> {
    let classes = names.len();
    if classes == 0 || classes > MOST_IN_MATRIX || answers.counts.len() != classes * classes {
        return None;
    }
    let words = "a line: what images are; a column: what they were taken for";
    let names: Vec<String> =
        (0..classes).map(|class| shortened(&text::class(names, class), MOST_LETTERS)).collect();
    let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let digits = answers.counts.iter().max().map_or(1, |count| count.to_string().len());
    let cell = ((digits + 2) * ADVANCE).max(40);
    let head = letters * ADVANCE + 10;
    let caption = HEIGHT + 12;
    let corner = [MARGIN + head, MARGIN + head];
    let mut picture = paper(
        (corner[0] + classes * cell + MARGIN).max(2 * MARGIN + words.len() * ADVANCE),
        corner[1] + classes * cell + caption + MARGIN,
    );
    for (row, name) in names.iter().enumerate() {
        let length = name.chars().count() * ADVANCE;
        let middle = row * cell + (cell - HEIGHT) / 2;
        write(&mut picture, name, [(corner[0] - 10 - length) as i64, (corner[1] + middle) as i64], INK);
        write_upwards(&mut picture, name, [(corner[0] + middle) as i64, corner[1] as i64 - 10], INK);
        let counts = &answers.counts[row * classes..][..classes];
        let all = counts.iter().sum::<u64>().max(1);
        for (column, &count) in counts.iter().enumerate() {
            let strength = (count as f64 / all as f64).sqrt();
            let full = if row == column { [0x1b, 0x5f, 0xa8] } else { [0xb3, 0x58, 0x06] };
            let colour = full.map(|full: u8| (247.0 + strength * (f64::from(full) - 247.0)) as u8);
            let at = [corner[0] + column * cell, corner[1] + row * cell];
            put(&mut picture, &Tile::new([cell - 2, cell - 2], colour), at);
            let written = count.to_string();
            let ink = if strength > 0.6 {
                PAPER
            } else if count == 0 {
                [0xbb; 3]
            } else {
                INK
            };
            let left = at[0] + (cell - 2 - written.len() * ADVANCE) / 2;
            write(&mut picture, &written, [left as i64, (at[1] + (cell - 2 - HEIGHT) / 2) as i64], ink);
        }
    }
    let top = corner[1] + classes * cell + 12;
    write(&mut picture, words, [MARGIN as i64, top as i64], QUIET);
    Some(picture)
}
