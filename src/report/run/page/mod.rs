//! The page: one self-contained HTML file, and pictures of its main parts for papers and slides.
//!
//! Each part of the page has a file here that makes its HTML and its data, and most have a script of the same name in
//! `script/`, which moves what is moved. Everything that comes from outside passes through `text`, and nothing but the
//! script and the style of this folder may run: the page carries their hashes.

mod answers;
mod bitmap;
mod cells;
mod chart;
mod filters;
mod health;
mod maps;
mod overview;
mod pictures;
mod reasons;
mod sheets;
mod text;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Story;

pub use cells::cells;
pub use pictures::pictures;
pub(super) use sheets::scale;

/// The style of the page.
pub(crate) const STYLE: &str = include_str!("style.css");
/// In the order in which they need each other.
const SCRIPT: &str = concat!(
    include_str!("script/base.js"),
    include_str!("script/curves.js"),
    include_str!("script/filters.js"),
    include_str!("script/maps.js"),
    include_str!("script/figure.js"),
    include_str!("script/answers.js"),
    include_str!("script/reasons.js"),
);

/// A part of the page.
struct Part {
    /// Its name in links and in the data.
    id: &'static str,
    /// Its heading.
    heading: &'static str,
    /// What stands below the heading.
    markup: Markup,
    /// What its script reads.
    data: Value,
}

/// The report as one HTML file that opens anywhere, offline.
pub fn page(story: &Story) -> String {
    let mut sheets = Map::new();
    let parts = [
        overview::part(story),
        filters::part(story, &mut sheets),
        maps::part(story, &mut sheets),
        answers::part(story, &mut sheets),
        reasons::part(story),
        health::part(story),
    ];
    let links = html! {
        nav aria-label="Parts of the report" {
            @for part in &parts { a href={ "#" (part.id) } { (part.heading) } }
        }
    };
    let title = format!("{} – a report of its training", text::name(&story.network));
    let body = html! {
        (overview::header(story))
        (links)
        main {
            noscript { p.note { "The pictures of this page need JavaScript; it loads nothing from anywhere." } }
            @for part in &parts {
                section id=(part.id) aria-labelledby={ (part.id) "-heading" } {
                    h2 id={ (part.id) "-heading" } { (part.heading) }
                    (part.markup)
                }
            }
        }
        dialog id="gallery" aria-labelledby="gallery-title" {
            div.dialog-head {
                h3 id="gallery-title" {}
                button type="button" id="gallery-close" { "Close" }
            }
            div.gallery id="gallery-images" {}
        }
        footer {
            p { "Made by wgconv. Everything on this page is in this file; filters, maps, rows and columns are counted from 0." }
        }
    };
    let mut data = Map::new();
    data.insert("sheets".into(), sheets.into());
    data.insert("classes".into(), class_names(story).into());
    for part in parts {
        data.insert(part.id.into(), part.data);
    }
    document(&title, &body, &Value::Object(data))
}

fn class_names(story: &Story) -> Vec<String> {
    (0..story.classes.len()).map(|number| text::class(&story.classes, number)).collect()
}

fn document(title: &str, body: &Markup, data: &Value) -> String {
    let policy = format!(
        "default-src 'none'; img-src data:; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        source(STYLE),
        source(SCRIPT)
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without it, browsers would ask for a file beside the page.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                script id="data" type="application/json" { (PreEscaped(in_html(data))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// The name of a script or style in a policy.
fn source(content: &str) -> String {
    format!("'sha256-{}'", sheets::base64(&Sha256::digest(content)))
}

/// JSON that no reader of HTML takes for the end of an element or for a comment.
fn in_html(data: &Value) -> String {
    data.to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// A picture of a sheet, painted by the script; without a label, one beside words that say all.
fn picture(sheet: &str, tile: usize, label: Option<&str>) -> Markup {
    let hidden = label.is_none().then_some("true");
    let role = label.map(|_| "img");
    html! {
        canvas.pixels data-sheet=(sheet) data-tile=(tile) role=[role] aria-label=[label] aria-hidden=[hidden] {}
    }
}

/// A scale of colours from the most negative over zero to the most positive number.
fn signed_legend() -> Markup {
    html! {
        span.legend {
            span.legend-end { "−" }
            svg.ramp viewBox="0 0 100 10" preserveAspectRatio="none" shape-rendering="crispEdges" aria-hidden="true" {
                @for place in 0..25 {
                    @let [red, green, blue] = sheets::diverging(place as f32 / 12.0 - 1.0);
                    rect x=(place * 4) y="0" width="4" height="10" fill=(format!("rgb({red},{green},{blue})")) {}
                }
            }
            span.legend-end { "+" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_element() {
        let name = "</script><!--<script>&]]>\u{2028}";
        let data = serde_json::json!({ "name": name });
        let escaped = in_html(&data);
        assert!(!escaped.contains(['<', '>', '&', '\u{2028}']), "{escaped}");
        assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), data);
    }

    #[test]
    fn neither_script_nor_style_can_end_its_element() {
        for content in [SCRIPT, STYLE] {
            assert!(!content.contains("</") && !content.contains("<!--"));
        }
    }
}
