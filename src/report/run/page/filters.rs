//! The filters of the first convolution, filmed, and what excites those of deeper ones.

use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::sheets::{Colour, Sheet, Tile, brightness, diverging, scale, uri};
use super::{Part, picture, signed_legend, text};
use crate::report::run::{Film, LayerPatches, Moment, Story};
use crate::tensor::ImageShape;

/// The longest side of a patch, in pixels.
const PATCH_SIDE: usize = 48;
/// The most bytes of patches: if there are more, fewer are shown of each filter.
const MOST_PATCHES: usize = 1_600_000;
/// Channels side by side in the picture of a filter that is not in colour.
const CHANNELS_ACROSS: usize = 8;
/// What parts such channels.
const SEAM: Colour = [0x80; 3];

/// The part.
pub fn part(story: &Story, sheets: &mut Map<String, Value>) -> Part {
    let pictures = story.film.as_ref().and_then(Pictures::of);
    let markup = html! {
        p.lead {
            "A filter is what a layer has learnt to look for: a small pattern of weights that is laid over every place of \
             the image. It is not what the layer makes of an image; that is a map, and comes in the next part."
        }
        @match (&story.film, &pictures) {
            (Some(film), Some(pictures)) => (filmed(film, pictures)),
            _ => p.note { "There is no film: the network has no convolution, or its filters were not kept." },
        }
        @if !story.patches.is_empty() {
            h3 { "What excites the deeper filters" }
            p {
                "Filters of deeper layers read maps, not pixels, and look like nothing; but one can ask which parts of \
                 images they answer to most. Each line shows such patches for a filter, the most exciting first."
            }
            @let share = share_of_patches(&story.patches);
            @for (number, layer) in story.patches.iter().enumerate() {
                (patches(story, number, layer, share, sheets))
            }
        }
    };
    let data = pictures.map_or(Value::Null, |pictures| pictures.data);
    Part { id: "filters", heading: "The filters", markup, data }
}

/// How the filters of a film are drawn.
pub struct Drawing {
    shape: ImageShape,
    /// What stands for the end of the scale of weights, the same for the whole film.
    pub scale: f32,
}

impl Drawing {
    /// Nothing if the film's filters have no size.
    pub fn of(film: &Film) -> Option<Drawing> {
        let shape = film.size.filter(|size| size.elements() > 0 && film.filters > 0)?;
        let whole = |moment: &&Moment| moment.values.len() == film.filters * shape.elements();
        let scale = scale(film.moments.iter().filter(whole).flat_map(|moment| &moment.values));
        Some(Drawing { shape, scale })
    }

    /// Whether filters are shown in colour.
    pub fn is_coloured(&self) -> bool {
        self.shape.channels == 3
    }

    /// One filter, `[height, width, channels]`.
    pub fn tile(&self, values: &[f32], scale: f32) -> Tile {
        let ImageShape { height, width, channels } = self.shape;
        if self.is_coloured() {
            let pixels = values.iter().map(|value| brightness(value / scale)).collect();
            return Tile { size: [width, height], pixels };
        }
        let across = channels.min(CHANNELS_ACROSS);
        let size = [across * (width + 1) - 1, channels.div_ceil(across) * (height + 1) - 1];
        let mut tile = Tile::new(size, SEAM);
        for channel in 0..channels {
            let values = values.iter().skip(channel).step_by(channels);
            let pixels = values.flat_map(|value| diverging(value / scale)).collect();
            let corner = [channel % across * (width + 1), channel / across * (height + 1)];
            tile.put(&Tile { size: [width, height], pixels }, corner);
        }
        tile
    }

    /// The filter of this number at a moment.
    pub fn filter(&self, moment: &Moment, filter: usize) -> Tile {
        let elements = self.shape.elements();
        self.tile(&moment.values[filter * elements..][..elements], self.scale)
    }
}

/// The film as pictures: for each moment one, in which a line is a filter, its gradient and its change.
struct Pictures {
    is_coloured: bool,
    scale: f32,
    data: Value,
}

impl Pictures {
    /// Nothing if no moment is whole.
    fn of(film: &Film) -> Option<Pictures> {
        let drawing = Drawing::of(film)?;
        let elements = drawing.shape.elements();
        let values = film.filters.checked_mul(elements)?;
        let whole: Vec<&Moment> =
            film.moments.iter().filter(|moment| moment.values.len() == values).collect();
        let start = whole.first()?;
        let tile = drawing.tile(&vec![0.0; elements], 1.0).size;
        let moments = whole.iter().map(|moment| {
            let mut sheet = Tile::new([3 * tile[0], film.filters * tile[1]], SEAM);
            let gradient_scale = scale(&moment.gradient);
            for filter in 0..film.filters {
                let of = filter * elements..(filter + 1) * elements;
                let now = &moment.values[of.clone()];
                let changes: Vec<f32> =
                    now.iter().zip(&start.values[of.clone()]).map(|(now, start)| now - start).collect();
                sheet.put(&drawing.tile(now, drawing.scale), [0, filter * tile[1]]);
                if moment.gradient.len() == values {
                    sheet.put(
                        &drawing.tile(&moment.gradient[of], gradient_scale),
                        [tile[0], filter * tile[1]],
                    );
                }
                sheet.put(&drawing.tile(&changes, drawing.scale), [2 * tile[0], filter * tile[1]]);
            }
            let has_gradient = moment.gradient.len() == values;
            json!({
                "name": text::name(&moment.name),
                "step": moment.step,
                "gradient": has_gradient.then(|| text::figure(gradient_scale.into())),
                "src": uri(sheet.size, &sheet.pixels),
            })
        });
        let data = json!({ "tile": tile, "moments": moments.collect::<Vec<_>>() });
        Some(Pictures { is_coloured: drawing.is_coloured(), scale: drawing.scale, data })
    }
}

fn filmed(film: &Film, pictures: &Pictures) -> Markup {
    let moments = pictures.data["moments"].as_array().map_or(0, Vec::len);
    let shape = film.size.map(|size| format!("{}×{}×{}", size.height, size.width, size.channels));
    html! {
        p {
            "The " (film.filters) " filters of " bdi { (text::name(&film.layer)) } ", "
            @if let Some(shape) = shape { (shape) " weights each, " }
            "from their random start to the last step. Beside each: the gradient of the loss that the step before went \
             against, and how far the filter is from its start. "
            @if pictures.is_coloured {
                "Red, green and blue are the weights of the three colours; grey is zero, and the scale is the same for the \
                 whole film: ±" (text::figure(pictures.scale.into())) "."
            } @else {
                "White is zero, and the scale is the same for the whole film: ±" (text::figure(pictures.scale.into())) "."
            }
        }
        div.film id="film" {
            div.player {
                button.primary type="button" id="film-play" { "Play" }
                input type="range" id="film-moment" min="0" max=(moments - 1) value=(moments - 1) step="1"
                    aria-label="Moment of the training";
                output id="film-name" for="film-moment" {}
            }
            p.hint {
                @if !pictures.is_coloured { (signed_legend()) " " }
                span id="film-gradient" {}
            }
            div.tiles.wide[pictures.data["tile"][0].as_u64() > pictures.data["tile"][1].as_u64().map(|side| 2 * side)] {
                @for filter in 0..film.filters {
                    figure.tile role="group" aria-label={ "Filter " (filter) } {
                        canvas.pixels.large data-film=(filter) data-column="0" role="img" aria-label="weights" {}
                        div.beside {
                            canvas.pixels data-film=(filter) data-column="1" role="img" aria-label="gradient" {}
                            span { "gradient" }
                            canvas.pixels data-film=(filter) data-column="2" role="img" aria-label="change" {}
                            span { "change" }
                        }
                        figcaption { (filter) }
                    }
                }
            }
        }
    }
}

/// The share of the patches of a filter that there is room for.
fn share_of_patches(layers: &[LayerPatches]) -> f64 {
    let patches = layers.iter().flat_map(|layer| &layer.filters).flatten();
    let bytes: usize = patches.map(|patch| patch.picture.pixels.len().min(3 * PATCH_SIDE * PATCH_SIDE)).sum();
    (MOST_PATCHES as f64 / bytes.max(1) as f64).min(1.0)
}

fn patches(
    story: &Story,
    number: usize,
    layer: &LayerPatches,
    share: f64,
    sheets: &mut Map<String, Value>,
) -> Markup {
    let name = format!("patches-{number}");
    let mut sheet = Sheet::default();
    let [height, width] = layer.size;
    let markup = html! {
        details open[number == 0] {
            summary {
                bdi { (text::name(&layer.layer)) }
                span.quiet {
                    " " (layer.filters.len()) " of " (layer.of) " filters, patches of " (height) "×" (width) " pixels"
                }
            }
            div.patches {
                @for (filter, patches) in layer.filters.iter().enumerate() {
                    div.patch-line role="group" aria-label={ "Filter " (filter) } {
                        span.quiet { (filter) }
                        @if patches.is_empty() { span.quiet { "never active" } }
                        @for patch in patches.iter().take((share * patches.len() as f64).ceil() as usize) {
                            @let label = format!("{}, {}", text::figure(patch.value.into()), text::class(&story.classes, patch.class));
                            @let tile = sheet.add(Tile::of(&patch.picture, PATCH_SIDE));
                            span title=(label) { (picture(&name, tile, Some(&label))) }
                        }
                    }
                }
            }
        }
    };
    sheets.insert(name, sheet.data());
    markup
}
