//! What a network took images for: counts, and the images worth a look.

use std::collections::BTreeMap;

use super::shown;
use super::story::{Answer, Answers};
use crate::data::Dataset;
use crate::predict::Prediction;
use crate::train::Confusion;

/// Most images of a cell, and of all cells together.
const MOST_OF_CELL: usize = 12;
const MOST_OF_CELLS: usize = 400;

/// Most images that are listed as the most wrong, and as the least certain.
const MOST_LISTED: usize = 24;

/// Classes of an image that are shown with their probabilities.
pub const TOP: usize = 3;

/// The answers, from logits [images, classes].
pub fn answers(data: &Dataset, logits: &[f32]) -> Answers {
    let classes = data.classes.len();
    let predictions: Vec<Prediction> = logits
        .chunks_exact(classes)
        .map(|logits| {
            Prediction::of_logits(&logits.iter().map(|&logit| f64::from(logit)).collect::<Vec<_>>())
        })
        .collect();
    let mut confusion = Confusion::new(classes);
    let mut cells: Vec<Vec<usize>> = vec![Vec::new(); classes * classes];
    for (row, (prediction, &label)) in predictions.iter().zip(&data.labels).enumerate() {
        confusion.add(label as usize, prediction.class());
        cells[label as usize * classes + prediction.class()].push(row);
    }
    let sure = |row: &usize| predictions[*row].probabilities()[predictions[*row].class()];
    let by = |rows: &mut Vec<usize>, merit: &dyn Fn(&usize) -> f64| {
        rows.sort_by(|a, b| merit(b).total_cmp(&merit(a)));
    };
    let mut wrong: Vec<usize> =
        (0..predictions.len()).filter(|&row| predictions[row].class() != data.labels[row] as usize).collect();
    by(&mut wrong, &sure);
    wrong.truncate(MOST_LISTED);
    let margin = |row: &usize| match predictions[*row].top(2)[..] {
        [(_, first), (_, second)] => second - first,
        _ => -1.0,
    };
    let mut uncertain: Vec<usize> = (0..predictions.len()).collect();
    by(&mut uncertain, &margin);
    uncertain.truncate(MOST_LISTED);
    // As many of each cell as fit: the surest of them.
    let fits = |&most: &usize| cells.iter().map(|cell| cell.len().min(most)).sum::<usize>() <= MOST_OF_CELLS;
    let most = (1..=MOST_OF_CELL).rev().find(fits).unwrap_or(0);
    for cell in &mut cells {
        by(cell, &sure);
        cell.truncate(most);
    }
    // Each image is shown once, wherever it is listed.
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    let all = wrong.iter().chain(&uncertain).chain(cells.iter().flatten());
    all.for_each(|&row| _ = places.insert(row, 0));
    places.values_mut().enumerate().for_each(|(number, place)| *place = number);
    let answer = |&row: &usize| Answer {
        row,
        picture: shown::image(data, row),
        class: data.labels[row] as usize,
        top: predictions[row].top(TOP),
    };
    let placed = |rows: &[usize]| rows.iter().map(|row| places[row]).collect::<Vec<usize>>();
    Answers {
        counts: (0..classes * classes).map(|cell| confusion.count(cell / classes, cell % classes)).collect(),
        figures: confusion.figures().iter().map(|of| (of.precision, of.recall, of.support)).collect(),
        images: places.keys().map(answer).collect(),
        most_wrong: placed(&wrong),
        least_certain: placed(&uncertain),
        cells: cells.iter().map(|cell| placed(cell)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::ImageShape;

    #[test]
    fn images_are_counted_listed_and_shown_once() {
        let image = ImageShape { height: 1, width: 2, channels: 1 };
        let classes = ["a", "b"].map(String::from).to_vec();
        let data = Dataset::new(image, classes, (0..8).collect(), vec![0, 0, 1, 1]).unwrap();
        // Right and sure, wrong and sure, right and unsure, wrong and unsure.
        let found = answers(&data, &[5.0, 0.0, 0.0, 9.0, 0.0, 0.1, 0.2, 0.0]);
        assert_eq!(found.counts, [1, 1, 1, 1]);
        assert_eq!(found.figures[0], (Some(0.5), Some(0.5), 2));
        assert_eq!(found.most_wrong, [1, 3]);
        assert_eq!(found.least_certain, [2, 3, 0, 1]);
        assert_eq!(found.cells, [vec![0], vec![1], vec![3], vec![2]]);
        assert_eq!(found.images.len(), 4);
        assert_eq!(found.images[1].picture.pixels, [2, 3]);
        assert_eq!((found.images[1].class, found.images[1].top[0].0), (0, 1));
    }
}
