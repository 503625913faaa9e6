//! How the layers fared, epoch by epoch.

use maud::{Markup, html};
use serde_json::Value;

use super::{Part, text};
use crate::report::run::{LayerHealth, Story};

/// Width and height of a small curve, in its own units.
const SMALL: [f64; 2] = [96.0, 24.0];
/// The most names of dead filters in a line.
const MOST_NAMES: usize = 24;

/// The part.
pub fn part(story: &Story) -> Part {
    let health = &story.health;
    let markup = html! {
        p.lead {
            "Whether every layer learns: how strong its gradient is, how far a step moves its weights, and whether its units \
             answer at all."
        }
        @if !story.advice.is_empty() {
            ul.advice { @for advice in &story.advice { li { (text::sentence(advice)) } } }
        } @else if !health.epochs.is_empty() {
            p.well { "Nothing looks off." }
        }
        @if health.layers.is_empty() || health.epochs.is_empty() {
            p.note { "There are no figures yet: no epoch has ended." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Health of the layers" {
                table.health {
                    thead { tr {
                        th scope="col" { "Layer" }
                        th scope="col" { "Gradient norm" }
                        th scope="col" { "Update / weight" }
                        th scope="col" { "Never active" }
                        th scope="col" { "Mean activation" }
                        th scope="col" { "Deviation" }
                    } }
                    tbody {
                        @for layer in &health.layers {
                            tr {
                                th scope="row" { bdi { (text::name(&layer.name)) } }
                                (cell(story, &layer.gradient, text::figure, true))
                                (cell(story, &layer.update, text::figure, true))
                                (cell(story, &layer.inactive, text::percent, false))
                                (cell(story, &layer.mean, text::figure, false))
                                (cell(story, &layer.deviation, text::figure, false))
                            }
                        }
                    }
                }
            }
            p.hint {
                "Each number is that of the last epoch, each curve goes from the first epoch to it; gradients and updates on \
                 a logarithmic scale. An update of about a thousandth of the weights is usual; far more is restless, far \
                 less is standing still."
            }
            @for layer in health.layers.iter().filter(|layer| !layer.dead.is_empty()) { (dead(layer)) }
        }
    };
    Part { id: "health", heading: "Health", markup, data: Value::Null }
}

fn dead(layer: &LayerHealth) -> Markup {
    let names: Vec<String> = layer.dead.iter().take(MOST_NAMES).map(usize::to_string).collect();
    let more = layer.dead.len().saturating_sub(MOST_NAMES);
    html! {
        p {
            strong { bdi { (text::name(&layer.name)) } }
            " has " (layer.dead.len()) @if layer.dead.len() == 1 { " unit that is" } @else { " units that are" }
            " not active for any image: " (names.join(", "))
            @if more > 0 { " and " (more) " more" }
            "."
        }
    }
}

fn cell(story: &Story, values: &[f64], written: fn(f64) -> String, is_logarithmic: bool) -> Markup {
    let last = values.last().copied().unwrap_or(f64::NAN);
    let by_epoch: Vec<String> = story
        .health
        .epochs
        .iter()
        .zip(values)
        .map(|(epoch, &value)| format!("epoch {epoch}: {}", written(value)))
        .collect();
    html! {
        td title=(by_epoch.join("\n")) {
            span.value { (written(last)) }
            (small_curve(values, is_logarithmic))
        }
    }
}

/// A curve the size of a word, with gaps where nothing is known.
fn small_curve(values: &[f64], is_logarithmic: bool) -> Markup {
    let place = |value: f64| if is_logarithmic { value.log10() } else { value };
    let places: Vec<f64> = values.iter().map(|&value| place(value)).collect();
    let known = || places.iter().copied().filter(|place| place.is_finite());
    let (low, high) =
        known().fold((f64::MAX, f64::MIN), |(low, high), place| (low.min(place), high.max(place)));
    let [width, height] = SMALL;
    let span = if high > low { high - low } else { 1.0 };
    let x = |number: usize| 3.0 + number as f64 * (width - 6.0) / (places.len().max(2) - 1) as f64;
    let y = |place: f64| if high > low { 3.0 + (high - place) / span * (height - 6.0) } else { height / 2.0 };
    let mut path = String::new();
    let mut is_down = false;
    for (number, &place) in places.iter().enumerate() {
        if place.is_finite() {
            path += &format!("{}{:.1} {:.1}", if is_down { "L" } else { "M" }, x(number), y(place));
        }
        is_down = place.is_finite();
    }
    let last = places.iter().enumerate().rev().find(|(_, place)| place.is_finite());
    html! {
        svg.small viewBox=(format!("0 0 {width} {height}")) aria-hidden="true" {
            path d=(path) {}
            @if let Some((number, &place)) = last { circle cx=(format!("{:.1}", x(number))) cy=(format!("{:.1}", y(place))) r="2" {} }
        }
    }
}
