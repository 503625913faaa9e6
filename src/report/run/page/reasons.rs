//! Why: the parts of an image that speak for a class.

use maud::html;
use serde_json::{Value, json};

use super::maps::chooser;
use super::sheets::{diverging, scale, uri};
use super::{Part, signed_legend, text};
use crate::report::run::{MappedImage, Reason, Story};

/// The colour of the strongest heat.
const HOT: [f32; 3] = [255.0, 214.0, 64.0];
/// The colour of some heat.
const WARM: [f32; 3] = [226.0, 62.0, 42.0];

/// The part.
pub fn part(story: &Story) -> Part {
    let images = &story.maps.images;
    let has_reasons = images.iter().any(|image| !image.reasons.is_empty());
    let markup = html! {
        p.lead {
            "Why did the network say so? The heat (Grad-CAM) shows which parts of the image its last convolution counted for \
             a class; the gradient shows which single pixels would change the score, if they were brighter or darker."
        }
        @if !has_reasons {
            p.note { "There is no image to ask about, or the network has no convolution." }
        } @else {
            (chooser(story, "why-image"))
            div.player {
                label for="why-opacity" { "Heat" }
                input type="range" id="why-opacity" min="0" max="100" value="70" step="5" aria-label="Opacity of the heat";
                output id="why-opacity-name" for="why-opacity" {}
            }
            div.reasons id="why-reasons" {}
            p.hint {
                "Heat: from none over red to yellow, the most. Gradient: " (signed_legend())
                " brighter pixels would lower (orange) or raise (blue) the score of the class."
            }
        }
    };
    let data = if has_reasons { images.iter().map(|image| of(story, image)).collect() } else { Value::Null };
    Part { id: "why", heading: "Why", markup, data }
}

fn of(story: &Story, image: &MappedImage) -> Value {
    let [height, width] = image.picture.size;
    let reasons = image.reasons.iter().map(|reason| {
        json!({
            "class": text::class(&story.classes, reason.class),
            "predicted": image.top.first().map(|top| top.0 == reason.class),
            "true": image.class.map(|class| class == reason.class),
            "share": image.top.iter().find(|top| top.0 == reason.class).map(|top| text::percent(top.1)),
            "heat": heat(reason),
            "gradient": gradient(reason, [width, height]),
        })
    });
    json!({ "size": [width, height], "reasons": reasons.collect::<Vec<_>>() })
}

/// Heat over a picture that shows through where there is little.
fn heat(reason: &Reason) -> Value {
    let [height, width] = reason.heat_size;
    if reason.heat.is_empty() || height.checked_mul(width) != Some(reason.heat.len()) {
        return Value::Null;
    }
    let pixels = reason.heat.iter().flat_map(|&heat| {
        let heat = if heat.is_finite() { heat.clamp(0.0, 1.0) } else { 0.0 };
        let colour = [0, 1, 2].map(|channel| (WARM[channel] + heat * (HOT[channel] - WARM[channel])) as u8);
        [colour[0], colour[1], colour[2], (255.0 * heat.powf(0.8)) as u8]
    });
    uri([width, height], &pixels.collect::<Vec<u8>>()).into()
}

fn gradient(reason: &Reason, size: [usize; 2]) -> Value {
    if reason.gradient.is_empty() || size[0].checked_mul(size[1]) != Some(reason.gradient.len()) {
        return Value::Null;
    }
    let scale = scale(&reason.gradient);
    let pixels: Vec<u8> = reason.gradient.iter().flat_map(|value| diverging(value / scale)).collect();
    uri(size, &pixels).into()
}
