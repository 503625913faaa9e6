//! What each layer makes of an image, and where every number of it comes from.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use maud::{Markup, html};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::sheets::{Sheet, Tile, base64, square_columns, uri};
use super::{Part, picture, text};
use crate::report::run::maps::spread;
use crate::report::run::{MapConvolution, MapLayer, MapNumbers, MappedImage, Story};
use crate::tensor::ImageShape;

/// The longest side of an image, in pixels.
const IMAGE_SIDE: usize = 224;
/// The most characters of pictures of maps: if there are more, epochs are left out.
const MOST_PICTURES: usize = 7_000_000;
/// The most characters of numbers: what is more is left out, the last images first.
const MOST_NUMBERS: usize = 3_000_000;

/// The part.
pub fn part(story: &Story, sheets: &mut Map<String, Value>) -> Part {
    let mut images = Sheet::default();
    for image in &story.maps.images {
        images.add(Tile::of(&image.picture, IMAGE_SIDE));
    }
    sheets.insert("images".into(), images.data());
    let data = data(story);
    let layers = story.maps.layers.len();
    let epochs = data["epochs"].as_array().cloned().unwrap_or_default();
    let markup = html! {
        p.lead {
            "A map is what a filter makes of one image: at each place, how well the image there fits the filter, after the \
             activation. Bright is much, black is none. Maps change with the image; filters do not."
        }
        p.hint { "Beside each layer stands what its white means; that is the same for all images and epochs." }
        @if story.maps.images.is_empty() || layers == 0 || epochs.is_empty() {
            p.note { "There are no maps: the network has no convolution, or there was no image to show it." }
        } @else {
            (chooser(story, "maps-image"))
            @if epochs.len() > 1 {
                div.player {
                    label for="maps-epoch" { "Epoch" }
                    input type="range" id="maps-epoch" min="0" max=(epochs.len() - 1) value=(epochs.len() - 1) step="1";
                    output id="maps-epoch-name" for="maps-epoch" {}
                }
            }
            p.hint id="maps-hint" {
                "Point at a map, or focus a layer and use the arrow keys (page up and down for another map): the figure below \
                 shows how that one number is made. A click holds the place."
            }
            div.map-layers id="maps-layers" {
                @for (number, layer) in story.maps.layers.iter().enumerate() { (line(number, layer)) }
            }
            div.figure id="figure" hidden {
                div.figure-head {
                    p id="figure-words" aria-live="polite" {}
                    div.steps role="group" aria-label="Another place" {
                        @for (name, across, down) in [("←", -1, 0), ("↑", 0, -1), ("↓", 0, 1), ("→", 1, 0)] {
                            button type="button" data-across=(across) data-down=(down) { (name) }
                        }
                    }
                    button type="button" id="figure-close" aria-label="Close the figure" { "×" }
                }
                div.figure-body id="figure-body" {}
            }
        }
    };
    Part { id: "maps", heading: "The maps", markup, data }
}

/// The images to choose from, as buttons of which one is pressed.
pub fn chooser(story: &Story, group: &str) -> Markup {
    html! {
        fieldset.chooser data-chooser=(group) {
            legend { "Image" }
            @for (number, image) in story.maps.images.iter().enumerate() {
                @let name = text::name(&image.name);
                label title=(name) {
                    input type="radio" name=(group) value=(number) checked[number == 0];
                    (picture("images", number, None))
                    span.said-of { (said(story, image)) }
                    span.name { bdi { (name) } }
                }
            }
        }
    }
}

/// What the network says about an image, in a few words.
fn said(story: &Story, image: &MappedImage) -> Markup {
    let class = |class| text::class(&story.classes, class);
    html! {
        @match (image.top.first(), image.class) {
            (Some(&(taken, _)), Some(is)) if taken == is => { bdi { (class(is)) } " ✓" },
            (Some(&(taken, _)), Some(is)) => { bdi { (class(is)) } ", taken for " bdi { (class(taken)) } },
            (Some(&(taken, share)), None) => { bdi { (class(taken)) } " " (text::percent(share)) },
            (None, Some(is)) => bdi { (class(is)) },
            (None, None) => {}
        }
    }
}

fn line(number: usize, layer: &MapLayer) -> Markup {
    html! {
        div.map-layer {
            div.map-name {
                strong { bdi { (text::breakable(&text::name(&layer.name))) } }
                @if let Some(size) = layer.size {
                    span.quiet {
                        @if size.channels < layer.count { (size.channels) " of " }
                        (layer.count) " maps of " (size.height) "×" (size.width)
                    }
                }
                @if !layer.followed_by.is_empty() {
                    span.quiet { "after " bdi { (text::breakable(&text::sentence(&layer.followed_by))) } }
                }
                @let [black, white] = layer.range.map(|end| text::figure(end.into()));
                @if layer.range[0] < 0.0 {
                    span.quiet { "black: " (black) " or less, grey: 0, white: " (white) " or more" }
                } @else {
                    span.quiet { "white: " (white) " or more" }
                }
            }
            canvas.maps data-layer=(number) tabindex="0" role="img"
                aria-label={ "Maps of " (text::name(&layer.name)) } aria-describedby="maps-hint" {}
        }
    }
}

fn data(story: &Story) -> Value {
    let maps = &story.maps;
    let mut pictures: Vec<Vec<Vec<Value>>> = maps
        .images
        .par_iter()
        .map(|image| {
            (0..maps.epochs.len())
                .map(|epoch| {
                    maps.layers
                        .iter()
                        .enumerate()
                        .map(|(layer, of)| strip(image.maps.get(epoch).and_then(|maps| maps.get(layer)), of))
                        .collect()
                })
                .collect()
        })
        .collect();
    let length = |value: &Value| value.as_str().map_or(0, str::len);
    let of_epoch = |epoch: usize| -> usize {
        pictures.iter().filter_map(|image| image.get(epoch)).flatten().map(length).sum()
    };
    let all = maps.epochs.len();
    let fits = |&count: &usize| spread(all, count).map(of_epoch).sum::<usize>() <= MOST_PICTURES;
    let kept: Vec<usize> = spread(all, (1..=all).rev().find(fits).unwrap_or(all.min(1))).collect();
    for image in &mut pictures {
        *image = kept.iter().map(|&epoch| std::mem::take(&mut image[epoch])).collect();
    }
    let epochs: Vec<usize> = kept.iter().map(|&epoch| maps.epochs[epoch]).collect();
    let mut room = MOST_NUMBERS;
    let numbers: Vec<Vec<Value>> = maps
        .images
        .par_iter()
        .map(|image| {
            let of =
                |(layer, of)| image.numbers.get(layer).map_or(Value::Null, |numbers| packed(numbers, of));
            maps.layers.iter().enumerate().map(of).collect()
        })
        .collect();
    let images: Vec<Value> = pictures
        .into_iter()
        .zip(numbers)
        .map(|(maps, mut numbers)| {
            let size: usize = numbers.iter().map(length).sum();
            if size > room {
                numbers.clear();
            } else {
                room -= size;
            }
            json!({ "maps": maps, "numbers": numbers })
        })
        .collect();
    let layers: Vec<Value> = maps.layers.iter().map(layer_data).collect();
    json!({ "epochs": epochs, "layers": layers, "images": images })
}

/// The maps of a layer in one picture, in lines of [`square_columns`].
fn strip(maps: Option<&Vec<u8>>, layer: &MapLayer) -> Value {
    let (Some(maps), Some(ImageShape { height, width, channels })) = (maps, layer.size) else {
        return Value::Null;
    };
    if maps.is_empty() || maps.len() != height * width * channels {
        return Value::Null;
    }
    let columns = square_columns(channels, [width, height]);
    let size = [columns * width, channels.div_ceil(columns) * height];
    let mut pixels = vec![0; size[0] * size[1]];
    for (number, map) in maps.chunks_exact(height * width).enumerate() {
        for (y, line) in map.chunks_exact(width).enumerate() {
            let at = (number / columns * height + y) * size[0] + number % columns * width;
            pixels[at..at + width].copy_from_slice(line);
        }
    }
    uri(size, &pixels).into()
}

fn layer_data(layer: &MapLayer) -> Value {
    let Some(size) = layer.size else { return Value::Null };
    let convolution = layer.convolution.as_ref().and_then(|convolution| {
        let input = convolution.input?;
        Some(json!({
            "filters": floats(&convolution.filters),
            "kernel": convolution.kernel,
            "groupChannels": convolution.group_channels,
            "groups": convolution.groups,
            "bias": floats(&convolution.bias),
            "stride": convolution.stride,
            "padding": convolution.padding,
            "dilation": convolution.dilation,
            "input": [input.height, input.width, input.channels],
        }))
    });
    json!({
        "name": text::name(&layer.name),
        "followedBy": text::sentence(&layer.followed_by),
        "size": [size.height, size.width, size.channels],
        "columns": square_columns(size.channels, [size.width, size.height]),
        "range": layer.range.map(|end| text::rounded(end.into())),
        "convolution": convolution,
    })
}

/// The numbers of a layer, deflated: those that it reads, the sums, and the maps, one after the other. Nothing if they do
/// not fit the layer.
fn packed(numbers: &MapNumbers, layer: &MapLayer) -> Value {
    let (Some(size), Some(convolution)) = (layer.size, &layer.convolution) else { return Value::Null };
    if !fits(numbers, size, convolution) {
        return Value::Null;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let parts = [&numbers.input, &numbers.sums, &numbers.output];
    let bytes: Vec<u8> = parts.into_iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    match encoder.write_all(&bytes).and_then(|()| encoder.finish()) {
        Ok(deflated) => base64(&deflated).into(),
        Err(_) => Value::Null,
    }
}

/// Whether the sizes agree, so that the figure finds each number.
fn fits(numbers: &MapNumbers, size: ImageShape, convolution: &MapConvolution) -> bool {
    let Some(input) = convolution.input else { return false };
    let [down, across] = convolution.kernel;
    let filters = size.channels * down * across * convolution.group_channels;
    numbers.input.len() == input.elements()
        && numbers.sums.len() == size.elements()
        && numbers.output.len() == size.elements()
        && convolution.filters.len() == filters
        && (convolution.bias.is_empty() || convolution.bias.len() == size.channels)
        && convolution.groups > 0
        && size.channels.is_multiple_of(convolution.groups)
        && convolution.group_channels * convolution.groups == input.channels
}

fn floats(values: &[f32]) -> String {
    base64(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}
