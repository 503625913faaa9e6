//! What the network took the held-out images for: the confusion matrix, its figures, and the images behind them.

use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::sheets::{Sheet, Tile};
use super::{Part, picture, text};
use crate::report::run::{Answer, Answers, Story};

/// The most classes whose matrix is shown; of more, the most frequent confusions are listed.
pub const MOST_IN_MATRIX: usize = 30;
/// The most confusions in that list.
const MOST_CONFUSIONS: usize = 40;
/// The longest side of an image, in pixels.
const IMAGE_SIDE: usize = 96;
/// The most images, as far as the page would be too large with more.
const MOST_PIXELS: usize = 2_000_000;

/// The part.
pub fn part(story: &Story, sheets: &mut Map<String, Value>) -> Part {
    let classes = story.classes.len();
    let answers = story
        .answers
        .as_ref()
        .filter(|answers| classes > 0 && Some(answers.counts.len()) == classes.checked_mul(classes));
    let shown = answers.map_or(0, |answers| shown(answers, sheets));
    let markup = html! {
        p.lead {
            "What the network took each held-out image for. A line of the matrix is what the images are, a column is what \
             they were taken for: the diagonal is right, all else is a confusion."
        }
        @if let Some(answers) = answers { (all(story, answers, shown)) } @else {
            p.note { "There are no answers to show: the held-out images could not be read, or no epoch has ended." }
        }
    };
    let data = answers.map_or(Value::Null, |answers| data(story, answers, shown));
    Part { id: "answers", heading: "Right and wrong", markup, data }
}

fn all(story: &Story, answers: &Answers, shown: usize) -> Markup {
    let classes = story.classes.len();
    let is_matrix = classes <= MOST_IN_MATRIX;
    html! {
        @if is_matrix { (matrix(story, answers, shown)) } @else { (confusions(story, answers, shown)) }
        h3 { "Class by class" }
        p {
            "Precision: of the images taken for this class, the share that are of it. Recall: of the images of this \
             class, the share that were found. Support: how many there are."
        }
        @if is_matrix { (figures(story, answers)) } @else {
            details { summary { "All " (classes) " classes" } (figures(story, answers)) }
        }
        (gallery(story, answers, &answers.most_wrong, shown, "The most wrong",
            "Where the network was surest of a class that is not the image's."))
        (gallery(story, answers, &answers.least_certain, shown, "The least certain",
            "Where its two most probable classes are closest."))
    }
}

/// Puts the images on their sheet, and says how many there was room for.
fn shown(answers: &Answers, sheets: &mut Map<String, Value>) -> usize {
    let mut sheet = Sheet::default();
    let mut pixels = 0;
    let mut shown = 0;
    for answer in &answers.images {
        let tile = Tile::of(&answer.picture, IMAGE_SIDE);
        pixels += tile.pixels.len();
        if pixels > MOST_PIXELS {
            break;
        }
        sheet.add(tile);
        shown += 1;
    }
    sheets.insert("answers".into(), sheet.data());
    shown
}

fn data(story: &Story, answers: &Answers, shown: usize) -> Value {
    let images = answers.images.iter().take(shown).map(|answer| {
        let top = answer.top.iter().map(|&(class, share)| json!([class, text::rounded(share)]));
        json!({ "row": answer.row, "class": answer.class, "top": top.collect::<Vec<_>>() })
    });
    let classes = story.classes.len();
    let cells: Map<String, Value> = answers
        .cells
        .iter()
        .enumerate()
        .filter(|(_, images)| !images.is_empty())
        .map(|(cell, images)| {
            let images: Vec<usize> = images.iter().copied().filter(|&image| image < shown).collect();
            (cell.to_string(), images.into())
        })
        .collect();
    json!({ "classes": classes, "images": images.collect::<Vec<_>>(), "cells": cells, "counts": nonzero(answers) })
}

/// The counts of the cells that are not empty.
fn nonzero(answers: &Answers) -> Map<String, Value> {
    let cells = answers.counts.iter().enumerate().filter(|&(_, &count)| count > 0);
    cells.map(|(cell, &count)| (cell.to_string(), count.into())).collect()
}

fn has_images(answers: &Answers, cell: usize, shown: usize) -> bool {
    answers.cells.get(cell).is_some_and(|images| images.iter().any(|&image| image < shown))
}

fn share(answers: &Answers, classes: usize, cell: usize) -> f64 {
    let row = cell / classes * classes;
    let all: u64 = answers.counts[row..row + classes].iter().sum();
    if all == 0 { 0.0 } else { answers.counts[cell] as f64 / all as f64 }
}

fn matrix(story: &Story, answers: &Answers, shown: usize) -> Markup {
    let classes = story.classes.len();
    let name = |class| text::class(&story.classes, class);
    html! {
        div.switch role="group" aria-label="What the cells show" {
            button type="button" data-matrix="counts" aria-pressed="true" { "Counts" }
            button type="button" data-matrix="shares" aria-pressed="false" { "Shares of the line" }
        }
        div.scroll tabindex="0" role="region" aria-label="Confusion matrix" {
            table.matrix.many[classes > 12] id="matrix" {
                thead { tr {
                    th.corner scope="col" { "is ↓ · taken for →" }
                    @for column in 0..classes { th scope="col" title=(name(column)) { span.cut { bdi { (name(column)) } } } }
                } }
                tbody {
                    @for row in 0..classes {
                        tr {
                            th scope="row" title=(name(row)) { span.cut { bdi { (name(row)) } } }
                            @for column in 0..classes {
                                @let cell = row * classes + column;
                                @let tone = tone(share(answers, classes, cell));
                                td class={ "t" (tone) @if row == column { " right" } } { (button(story, answers, cell, shown)) }
                            }
                        }
                    }
                }
            }
        }
        p.hint { "Choose a number to see its images. The colour is the share of the line." }
    }
}

/// How strongly a cell is coloured, from 0 to 10: a share of 1 % is seen already.
fn tone(share: f64) -> u32 {
    if share > 0.0 { (share.sqrt() * 10.0).round().clamp(1.0, 10.0) as u32 } else { 0 }
}

/// A count, and if there are images, a button that opens them.
fn button(story: &Story, answers: &Answers, cell: usize, shown: usize) -> Markup {
    let classes = story.classes.len();
    let count = answers.counts[cell];
    let label = || {
        let [is, taken] = [cell / classes, cell % classes].map(|class| text::class(&story.classes, class));
        format!("{count} of {is} taken for {taken}")
    };
    let shares = text::percent(share(answers, classes, cell)).replace(" %", "");
    html! {
        @if count == 0 { span.none { "·" } }
        @else if has_images(answers, cell, shown) {
            button type="button" data-cell=(cell) data-share=(shares) aria-label=(label()) { (text::count(count)) }
        } @else {
            span data-share=(shares) title=(label()) { (text::count(count)) }
        }
    }
}

fn confusions(story: &Story, answers: &Answers, shown: usize) -> Markup {
    let classes = story.classes.len();
    let mut cells: Vec<usize> = (0..answers.counts.len())
        .filter(|&cell| cell / classes != cell % classes && answers.counts[cell] > 0)
        .collect();
    cells.sort_by_key(|&cell| std::cmp::Reverse(answers.counts[cell]));
    let all = cells.len();
    cells.truncate(MOST_CONFUSIONS);
    html! {
        p {
            "There are " (classes) " classes, too many for a matrix to be read; these are the "
            @if all > cells.len() { (cells.len()) " most frequent of " (text::count(all as u64)) " confusions." }
            @else { "confusions." }
        }
        @if cells.is_empty() { p.well { "No image was taken for another class." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Confusions" {
                table.confusions {
                    thead { tr {
                        th scope="col" { "is" } th scope="col" { "taken for" }
                        th.number scope="col" { "images" } th.number scope="col" { "of the class" }
                    } }
                    tbody {
                        @for &cell in &cells {
                            tr {
                                td { bdi { (text::class(&story.classes, cell / classes)) } }
                                td { bdi { (text::class(&story.classes, cell % classes)) } }
                                td.number { (button(story, answers, cell, shown)) }
                                td.number { (text::percent(share(answers, classes, cell))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figures(story: &Story, answers: &Answers) -> Markup {
    let written = |share: Option<f64>| share.map_or("–".into(), text::percent);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Figures of the classes" {
            table.figures {
                thead { tr {
                    th scope="col" { "Class" } th.number scope="col" { "Precision" }
                    th.number scope="col" { "Recall" } th.number scope="col" { "Support" }
                } }
                tbody {
                    @for (class, &(precision, recall, support)) in answers.figures.iter().enumerate() {
                        tr {
                            th scope="row" { bdi { (text::class(&story.classes, class)) } }
                            td.number { (written(precision)) }
                            td.number { (written(recall)) }
                            td.number { (text::count(support)) }
                        }
                    }
                }
            }
        }
    }
}

fn gallery(
    story: &Story,
    answers: &Answers,
    places: &[usize],
    shown: usize,
    title: &str,
    words: &str,
) -> Markup {
    let places = places
        .iter()
        .filter(|&&place| place < shown)
        .filter_map(|&place| Some((place, answers.images.get(place)?)));
    let places: Vec<(usize, &Answer)> = places.collect();
    html! {
        h3 { (title) }
        @if places.is_empty() { p.note { "There is none." } } @else {
            p { (words) }
            div.gallery { @for (place, answer) in places { (card(story, place, answer)) } }
        }
    }
}

/// An image and what the network took it for; as the script makes them, too.
fn card(story: &Story, place: usize, answer: &Answer) -> Markup {
    let class = |class| text::class(&story.classes, class);
    html! {
        figure.card {
            (picture("answers", place, None))
            figcaption {
                span.is { "is " bdi { (class(answer.class)) } }
                @for &(taken, share) in answer.top.iter().take(3) {
                    span.said.right[taken == answer.class] { bdi { (class(taken)) } span { (text::percent(share)) } }
                }
                span.quiet { "image " (answer.row) }
            }
        }
    }
}
