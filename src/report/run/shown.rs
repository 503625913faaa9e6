//! Images of a dataset as pictures for people.

use super::story::Picture;
use crate::data::Dataset;
use crate::tensor::ImageShape;

/// An image of a dataset.
pub fn image(data: &Dataset, row: usize) -> Picture {
    let ImageShape { height, width, .. } = data.image;
    patch(data, row, [0, 0], [height, width])
}

/// The part of an image from a corner on. Of two channels the first is shown, of more than three the first three.
pub fn patch(data: &Dataset, row: usize, corner: [usize; 2], size: [usize; 2]) -> Picture {
    let ImageShape { width, channels, .. } = data.image;
    let shown = if channels >= 3 { 3 } else { 1 };
    let pixels = data.image(row);
    let rows = corner[0]..corner[0] + size[0];
    let pixel = |row: usize, column: usize| &pixels[(row * width + column) * channels..][..shown];
    let of_row =
        |row: usize| (corner[1]..corner[1] + size[1]).flat_map(move |column| pixel(row, column).to_vec());
    Picture { size, channels: shown, pixels: rows.flat_map(of_row).collect() }
}

/// Rows of a dataset in which every class is as frequent as it can be, at most `count`: the first of each class, then the
/// second of each, ...
pub fn of_all_classes(data: &Dataset, count: usize) -> Vec<usize> {
    let mut rows = vec![Vec::new(); data.classes.len()];
    for (row, &label) in data.labels.iter().enumerate() {
        rows[label as usize].push(row);
    }
    let most = rows.iter().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .flat_map(|place| rows.iter().filter_map(move |rows| rows.get(place)).copied())
        .take(count)
        .collect()
}

/// These rows of a dataset.
pub fn rows(data: &Dataset, rows: &[usize]) -> Dataset {
    Dataset {
        image: data.image,
        classes: data.classes.clone(),
        images: rows.iter().flat_map(|&row| data.image(row).to_vec()).collect::<Vec<u8>>().into(),
        labels: rows.iter().map(|&row| data.labels[row]).collect(),
    }
}
