//! The run: its result, its curves, what it was made with, and the network.

use maud::{Markup, PreEscaped, html};

use super::chart::Chart;
use super::{Part, text};
use crate::report::run::Story;

/// The most layers whose table is open from the start.
const MOST_LAYERS: usize = 32;

/// What stands above all parts.
pub fn header(story: &Story) -> Markup {
    html! {
        header {
            p.kicker {
                "How a network learnt"
                @if story.is_under_way { span.badge { "training goes on" } }
            }
            h1 dir="auto" { (text::name(&story.network)) }
            @if !story.result.is_empty() { p.result { (text::sentence(&story.result)) } }
        }
    }
}

/// The part.
pub fn part(story: &Story) -> Part {
    let drawn: Vec<_> = Chart::all(&story.curves)
        .into_iter()
        .filter_map(|chart| chart.svg().map(|(svg, data)| (chart, svg, data)))
        .collect();
    let markup = html! {
        p.lead {
            "The loss falls as the network learns from batches of training images; the held-out images, which it never \
             learns from, show what that is worth."
        }
        @if drawn.is_empty() {
            p.note { "There are no curves yet: no step of the training has ended." }
        } @else {
            div.charts {
                @for (number, (chart, svg, data)) in drawn.iter().enumerate() { (figure(number, chart, svg, data)) }
            }
            p.hint { "Point at a curve, or focus it and use the arrow keys, for its numbers." }
        }
        @if !story.facts.is_empty() {
            h3 { "What it was made with" }
            dl.facts {
                @for [name, value] in &story.facts {
                    div { dt { (text::name(name)) } dd { bdi { (text::sentence(value)) } } }
                }
            }
        }
        h3 { "The network, from the image to the output" }
        @if story.layers.is_empty() { p.note { "Nothing is known of its layers." } } @else { (layers(story)) }
    };
    let data = drawn.into_iter().map(|(_, _, data)| data).collect();
    Part { id: "run", heading: "The run", markup, data }
}

fn figure(number: usize, chart: &Chart, svg: &str, data: &serde_json::Value) -> Markup {
    let size = format!("0 0 {} {}", data["size"][0], data["size"][1]);
    html! {
        figure.chart data-chart=(number) {
            figcaption {
                strong { (chart.title) }
                @if chart.lines.len() > 1 {
                    @for line in &chart.lines {
                        span.key.second[line.colour == super::chart::colours::SECOND] { (line.name) }
                    }
                }
            }
            div.plot tabindex="0" role="img" aria-label=(chart.in_words()) {
                svg viewBox=(size) aria-hidden="true" { (PreEscaped(svg)) }
            }
            output.reading aria-live="polite" { "\u{a0}" }
        }
    }
}

fn layers(story: &Story) -> Markup {
    let parameters: usize = story.layers.iter().map(|layer| layer.parameters).sum();
    let total = text::count(parameters as u64);
    html! {
        p {
            "What a layer learns are its parameters. A convolution's are its filters and one bias for each: every filter is \
             as deep as the image that it reads, and is used at every place, so that their number does not depend on the \
             image's size."
        }
        @if story.layers.len() > MOST_LAYERS {
            details {
                summary { "All " (story.layers.len()) " layers, " (total) " parameters" }
                (table(story, &total))
            }
        } @else {
            (table(story, &total))
        }
    }
}

fn table(story: &Story, total: &str) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Table of layers" {
            table.layers {
                thead { tr {
                    th scope="col" { "Layer" } th scope="col" { "Type" } th scope="col" { "Output" }
                    th.number scope="col" { "Parameters" } th scope="col" { "which are" }
                } }
                tbody {
                    @for layer in &story.layers {
                        tr.learns[layer.parameters > 0] {
                            th scope="row" { bdi { (text::name(&layer.name)) } }
                            td { (text::name(&layer.kind)) }
                            td { (text::sentence(&layer.output)) }
                            td.number { (text::count(layer.parameters as u64)) }
                            td.arithmetic {
                                @if !layer.arithmetic.is_empty() { "= " (text::sentence(&layer.arithmetic)) }
                            }
                        }
                    }
                }
                tfoot { tr {
                    th scope="row" { "All" } td {} td {} td.number { (total) } td {}
                } }
            }
        }
    }
}
