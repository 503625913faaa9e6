//! How a network learns its filters, told with the numbers of a training: as text, and as a page.

use std::fmt::Write;

use maud::{DOCTYPE, PreEscaped, html};

use super::{Explanation, backwards, forwards};
use crate::network::{Network, Weights};
use crate::report::run::{EpochFigures, STYLE};
use crate::report::summary;
use crate::train::TrainSettings;
use crate::{Error, Result};

/// Width of a line of prose on a terminal.
const WIDTH: usize = 100;

/// What a lesson is told with: a training of a network whose first layer is a convolution.
#[derive(Clone, Debug)]
pub struct Lesson<'a> {
    /// The network.
    pub network: &'a Network,
    /// How it was trained.
    pub settings: &'a TrainSettings,
    /// Images that it was trained on.
    pub images: usize,
    /// Its weights before the first step, and after the last.
    pub weights: [&'a Weights; 2],
    /// The same value of the same image before the first step, and after the last.
    pub explanations: [&'a Explanation; 2],
    /// The figures of each epoch.
    pub epochs: &'a [EpochFigures],
}

/// A chapter of a lesson.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    /// Its heading.
    pub heading: &'static str,
    /// What it says.
    pub parts: Vec<Part>,
}

/// A part of a chapter.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Sentences.
    Prose(String),
    /// Figures and tables, in letters of one width.
    Board(String),
}

/// The chapters.
///
/// # Errors
/// [`Error::Invalid`] for a network whose first layer is no convolution.
pub fn chapters(lesson: &Lesson<'_>) -> Result<Vec<Chapter>> {
    let Lesson { network, settings, images, weights, explanations: [first, last], epochs } = lesson;
    let found = network.layers().first().and_then(|layer| Some((layer, layer.filters()?)));
    let Some((conv, filters)) = found else {
        return Err(Error::invalid("lesson", "a network that begins with a convolution", network.name()));
    };
    let [count, height, width, channels] = *filters.shape.sizes() else {
        return Err(Error::invalid("lesson", "a convolution's filters", &filters.name));
    };
    let [before, after] = [weights[0].values(filters)?, weights[1].values(filters)?];
    let (taps, image) = (height * width * channels, network.input());
    let (rows, columns) = (first.map[0], first.map[1]);
    let name = &conv.name;
    let answer = |it: &Explanation| {
        it.answer
            .first()
            .map_or(String::new(), |(class, share)| format!("{class} with {:.1} %", 100.0 * share))
    };
    let [smallest, largest] =
        before.iter().fold([f32::MAX, f32::MIN], |[low, high], &value| [low.min(value), high.max(value)]);
    let bound = filters.initialiser.bound([filters.fan_in, filters.fan_out]);
    let drawn = bound.map_or(String::new(), |bound| {
        format!(
            " {} draws each weight with equal chance from -{bound:.4} to {bound:.4}, which is sqrt(6 / (fan_in + fan_out)) = \
             sqrt(6 / ({} + {})): fan_in is what one output value sums over, fan_out the number of output values that one \
             input value reaches. The bound keeps the size of values alike from layer to layer, so that neither they nor the \
             gradients explode or fade. The {} weights of {name} came out between {smallest:.4} and {largest:.4}; biases \
             start at 0.",
            filters.initialiser.name(),
            filters.fan_in,
            filters.fan_out,
            before.len(),
        )
    });
    let dense = (image.elements() as f64) * (rows * columns * count) as f64;
    let parameters: usize = conv.parameter_count();
    let filter = first.filter;
    let [of_before, of_after] =
        [&before, &after].map(|values| matrix(&values[filter * taps..][..taps], width * channels));
    let prose = |text: String| Part::Prose(text);
    Ok(vec![
        Chapter {
            heading: "What there is to learn",
            parts: vec![
                prose(format!(
                    "The network {} reads images of {image} and says which class each belongs to. What it learns are numbers: \
                     the filters and biases of its convolutions, and the weights and biases of its dense layers. Nobody \
                     designs a filter: all of them start as noise, and gradient descent makes them useful.",
                    network.name()
                )),
                Part::Board(summary(network)),
                prose(format!(
                    "A filter of {name} has {height}*{width}*{channels} = {taps} weights and one bias, and there are {count} \
                     filters: {taps}*{count} + {count} = {parameters} numbers. The filter is shared: the same {taps} weights are \
                     used at every one of the {rows}*{columns} places of its map, so that a stroke is found wherever it lies. A \
                     dense layer from the image to as many values would have {dense:.0} weights.",
                )),
            ],
        },
        Chapter {
            heading: "The start: noise of the right size",
            parts: vec![
                prose(format!("Before the first step nothing is known, so the filters are random.{drawn}")),
                prose(format!("Filter {filter} of {name}, row by row:")),
                Part::Board(of_before),
            ],
        },
        Chapter {
            heading: "Forwards: from pixels to an answer",
            parts: vec![
                prose(
                    "A filter lies on a patch of the image; each value is multiplied by the weight on top of it, and the products \
                     and the bias are added up. That is one value of the map; moving the filter over the image gives the whole \
                     map. The activation, ReLU, is then applied to every value of the map, not to the filter: what is below 0 \
                     becomes 0. The pool keeps the largest of each window, so that the map becomes smaller and a stroke may lie \
                     a little to the side. Here is one such value, with every number as it was computed, before any training:"
                        .into(),
                ),
                Part::Board(forwards(first)),
                prose(
                    "The next convolution reads all maps at once: each of its filters has as many channels as there are maps, so \
                     it finds arrangements of strokes. The dense layers at the end weigh what was found into one number for each \
                     class, and softmax turns these into probabilities."
                        .into(),
                ),
            ],
        },
        Chapter {
            heading: "Backwards: who is to blame, and how much",
            parts: vec![
                prose(
                    "The loss is small if the right class is probable. Backpropagation asks of every number in the network: how \
                     would the loss change if you grew a little? It starts at the loss and goes back layer by layer, each time \
                     multiplying by the layer's own derivative (the chain rule)."
                        .into(),
                ),
                Part::Board(backwards(first)),
                prose(format!(
                    "That was the gradient for one image. A step uses the mean over a batch of {} images, and changes all {} \
                     numbers at once, against their gradients.",
                    settings.batch_size,
                    network.parameter_count()
                )),
            ],
        },
        Chapter {
            heading: "Descent, again and again",
            parts: vec![
                prose(format!(
                    "An epoch shows each of the {images} images once, in a new order: {} steps.",
                    images / settings.batch_size
                )),
                Part::Board(table(epochs)),
            ],
        },
        Chapter {
            heading: "What was learnt",
            parts: vec![
                prose(format!("The same filter {filter} of {name}, after the last step:")),
                Part::Board(of_after),
                prose(format!(
                    "Before training, the network took {} for {}; now for {}. Its class is {}; the loss of this image went from \
                     {:.4} to {:.4}. The same place of the same map:",
                    first.image,
                    answer(first),
                    answer(last),
                    first.class,
                    first.loss,
                    last.loss
                )),
                Part::Board(forwards(last)),
            ],
        },
    ])
}

/// The chapters as text for a terminal.
pub fn text(chapters: &[Chapter]) -> String {
    let mut text = String::new();
    for (number, Chapter { heading, parts }) in chapters.iter().enumerate() {
        let heading = format!("{}. {heading}", number + 1);
        _ = writeln!(text, "{heading}\n{}\n", "=".repeat(heading.chars().count()));
        for part in parts {
            match part {
                Part::Prose(prose) => text.push_str(&wrapped(prose)),
                Part::Board(board) => text.push_str(board.trim_end()),
            }
            text.push_str("\n\n");
        }
    }
    text
}

/// The chapters as one HTML file that opens anywhere, offline, with a link to the report beside it.
pub fn page(chapters: &[Chapter], title: &str) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(BOARD_STYLE)) }
            }
            body {
                header { h1 { (title) } p { "Every number on this page was computed by the training that it tells of." } }
                main {
                    @for (number, chapter) in chapters.iter().enumerate() {
                        section {
                            h2 { (number + 1) ". " (chapter.heading) }
                            @for part in &chapter.parts {
                                @match part {
                                    Part::Prose(prose) => p.lesson { (prose) },
                                    Part::Board(board) => pre.board tabindex="0" { (board.trim_end()) },
                                }
                            }
                        }
                    }
                    section { h2 { "Further" } p {
                        a href="report.html" { "The report of this training" }
                        " films all filters from step to step, and shows the maps, the mistakes and the reasons."
                    } }
                }
            }
        }
    }
    .into_string()
}

/// What the page needs beside the report's style.
const BOARD_STYLE: &str =
    "pre.board { overflow-x: auto; padding: 1rem; border-radius: .5rem; font-size: .8rem; line-height: 1.45;
    border: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
p.lesson { max-width: 44rem }
@media print { pre.board { white-space: pre-wrap } }";

/// Values in rows of `width`.
fn matrix(values: &[f32], width: usize) -> String {
    let row = |row: &[f32]| row.iter().map(|value| format!("{value:8.4}")).collect::<String>() + "\n";
    values.chunks(width).map(row).collect()
}

fn table(epochs: &[EpochFigures]) -> String {
    let mut table = "epoch   mean training loss   held-out loss   held-out accuracy\n".to_string();
    for EpochFigures { epoch, train_loss, loss, accuracy, .. } in epochs {
        _ = writeln!(table, "{epoch:5}   {train_loss:18.4}   {loss:13.4}   {:15.2} %", 100.0 * accuracy);
    }
    table
}

/// Sentences in lines of at most [`WIDTH`] characters.
fn wrapped(prose: &str) -> String {
    let mut text = String::new();
    let mut length = 0;
    for word in prose.split(' ') {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > WIDTH {
            text.push('\n');
            length = 0;
        } else if length > 0 {
            text.push(' ');
            length += 1;
        }
        text.push_str(word);
        length += letters;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_wrapped_between_words() {
        let text = wrapped(&"word ".repeat(60));
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= WIDTH && line.chars().count() > 90 || line.len() < WIDTH)
        );
        assert_eq!(text.split_whitespace().count(), 60);
        assert_eq!(wrapped(&"x".repeat(200)), "x".repeat(200));
    }
}
