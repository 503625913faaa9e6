//! What the layers make of some images, and what in the images speaks for a class.

use std::collections::BTreeMap;

use super::answers::TOP;
use super::lens::{Lens, Sight, Stage};
use super::page::scale;
use super::shown;
use super::story::{MapConvolution, MapLayer, MapNumbers, MappedImage, Maps, Reason};
use crate::Result;
use crate::data::{Dataset, Normalisation};
use crate::network::{Features, Network, Weights};
use crate::plan::Question;
use crate::predict::Prediction;
use crate::tensor::ImageShape;

/// Most bytes of all maps, and of all numbers under the pointer with the filters.
const MAPS_BYTES: usize = 8 << 20;
const NUMBERS_BYTES: usize = 5 << 19;
const FILTERS_BYTES: usize = 3 << 19;

/// Most maps of a layer that are shown, and fewest, where there are as many.
const MOST_MAPS: usize = 256;
const FEWEST_MAPS: usize = 16;

/// Fewest epochs whose maps are shown, where there are as many: maps are left out first.
const FEWEST_EPOCHS: usize = 4;

/// Images that are looked at in a batch.
const BATCH_SIZE: usize = 4;

/// An image that is looked at, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// What it is called.
    pub name: String,
    /// Whether its label is known to be its class.
    pub is_labelled: bool,
}

/// A network that looks at some images.
pub struct Looking {
    lens: Lens,
    // The convolutions.
    stages: Vec<Stage>,
    images: Dataset,
    names: Vec<Looked>,
}

/// The maps of an image, `[maps, height, width]` for each layer.
type OfImage = Vec<Vec<f32>>;

impl Looking {
    /// Prepares a network to look at images, with a name for each.
    ///
    /// # Errors
    /// Those of [`Lens::new`].
    pub fn new(
        network: &Network,
        images: Dataset,
        names: Vec<Looked>,
        normalisation: &Normalisation,
    ) -> Result<Looking> {
        let lens = Lens::new(network, &images, normalisation, BATCH_SIZE, Some(Question::Logits))?;
        let mut stages = Stage::all(network);
        stages.retain(|stage| network.layers()[stage.layer].filters().is_some());
        Ok(Looking { lens, stages, images, names })
    }

    /// The bytes of memory that looking at so many images takes, with their maps of so many epochs: as numbers, in shades and
    /// packed.
    ///
    /// # Errors
    /// Those of [`Lens::bytes`].
    pub fn bytes(
        network: &Network,
        image: ImageShape,
        classes: usize,
        images: usize,
        epochs: usize,
    ) -> Result<u64> {
        let stages = Stage::all(network);
        let convolutions = stages.iter().filter(|stage| network.layers()[stage.layer].filters().is_some());
        let shapes: Vec<ImageShape> = convolutions.filter_map(|stage| map_shape(network, stage)).collect();
        let (most, epochs) = shown(&shapes, images, epochs);
        // Of four bytes each as numbers; in shades; as pictures, as text, and in the page.
        let maps = map_bytes(&shapes, most, images * epochs) * (4 + 1 + 3);
        let numbers = 3 * (NUMBERS_BYTES + FILTERS_BYTES);
        Ok(Lens::bytes(network, image, classes, BATCH_SIZE, Some(Question::Logits))?
            + (maps + numbers) as u64)
    }

    /// What the layers make of the images with the weights of some epochs, of which the last counts most.
    ///
    /// # Errors
    /// Those of [`Lens::run`].
    pub fn maps(&mut self, network: &Network, weights: &BTreeMap<usize, Weights>) -> Result<Maps> {
        let Some((_, last)) = weights.last_key_value() else { return Ok(Maps::default()) };
        let shapes: Vec<ImageShape> =
            self.stages.iter().filter_map(|stage| map_shape(network, stage)).collect();
        let (most, count) = shown(&shapes, self.images.len(), weights.len());
        let epochs: Vec<usize> =
            spread(weights.len(), count).filter_map(|place| weights.keys().nth(place)).copied().collect();
        let mut by_epoch: Vec<Vec<OfImage>> = Vec::new();
        for weights in epochs.iter().map(|epoch| &weights[epoch]) {
            let mut images = Vec::new();
            self.lens.set_weights(weights)?;
            let stages = &self.stages;
            self.lens.run(|_, sight| {
                let layers = stages.iter().zip(&shapes);
                images.push(
                    layers.map(|(stage, shape)| planes(sight.output(stage.last()), *shape, most)).collect(),
                );
                Ok(())
            })?;
            by_epoch.push(images);
        }
        let of_last = by_epoch.last().map(Vec::as_slice).unwrap_or_default();
        let ranges: Vec<[f32; 2]> =
            (0..shapes.len()).map(|layer| range(of_last.iter().map(|of_image| &of_image[layer]))).collect();
        let mut maps = Maps { epochs, layers: Vec::new(), images: Vec::new() };
        let mut room = FILTERS_BYTES;
        for ((stage, shape), &range) in self.stages.iter().zip(&shapes).zip(&ranges) {
            let layers = network.layers();
            let name = |&number: &usize| layers[number].name.clone();
            maps.layers.push(MapLayer {
                name: name(&stage.layer),
                followed_by: stage.followed_by.iter().map(name).collect::<Vec<_>>().join(", "),
                size: Some(ImageShape { channels: shape.channels.min(most), ..*shape }),
                count: shape.channels,
                range,
                convolution: convolution(network, stage.layer, last, &mut room)?,
            });
        }
        self.describe(network, &shapes, &mut maps)?;
        for (image, mapped) in maps.images.iter_mut().enumerate() {
            let of_epoch = |images: &Vec<OfImage>| {
                let layers = images[image].iter().zip(&ranges);
                layers
                    .map(|(values, &range)| values.iter().map(|&value| shade(value, range)).collect())
                    .collect()
            };
            mapped.maps = by_epoch.iter().map(of_epoch).collect();
        }
        Ok(maps)
    }

    /// Adds the images, what the network says of them, the numbers of the convolutions and the reasons. The lens holds the
    /// weights of the last epoch.
    fn describe(&mut self, network: &Network, shapes: &[ImageShape], maps: &mut Maps) -> Result<()> {
        let mut room = NUMBERS_BYTES;
        let (images, names, stages) = (&self.images, &self.names, &self.stages);
        let mut predicted = Vec::new();
        self.lens.run(|row, sight| {
            let logits: Vec<f64> = sight.logits().iter().map(|&logit| f64::from(logit)).collect();
            let prediction = Prediction::of_logits(&logits);
            predicted.push(prediction.class());
            let numbers = numbers(network, stages, sight);
            let bytes =
                numbers.iter().map(|of| of.input.len() + of.sums.len() + of.output.len()).sum::<usize>() * 4;
            let fits = bytes <= room;
            room = if fits { room - bytes } else { 0 };
            maps.images.push(MappedImage {
                name: names[row].name.clone(),
                picture: shown::image(images, row),
                class: names[row].is_labelled.then_some(images.labels[row] as usize),
                top: prediction.top(TOP),
                maps: Vec::new(),
                numbers: if fits { numbers } else { Vec::new() },
                reasons: Vec::new(),
            });
            Ok(())
        })?;
        let known = |row: usize| names[row].is_labelled.then_some(images.labels[row] as usize);
        let truth: Vec<usize> = (0..images.len()).map(|row| known(row).unwrap_or(predicted[row])).collect();
        let mut asked = vec![predicted.clone()];
        asked.extend((truth != predicted).then_some(truth));
        for (number, classes) in asked.iter().enumerate() {
            self.lens.run_for(classes, |row, sight| {
                let class = classes[row];
                if number == 0 || class != predicted[row] {
                    maps.images[row].reasons.push(reason(class, sight, stages.last(), shapes, images.image));
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The size of a stage's maps.
fn map_shape(network: &Network, stage: &Stage) -> Option<ImageShape> {
    match network.layers()[stage.last()].output {
        Features::Image(shape) => Some(shape),
        Features::Flat { .. } => None,
    }
}

/// How many maps of each layer are shown, and of how many epochs, so that all fit.
fn shown(shapes: &[ImageShape], images: usize, epochs: usize) -> (usize, usize) {
    let fewest = epochs.min(FEWEST_EPOCHS);
    let mut most = MOST_MAPS;
    while most > FEWEST_MAPS && map_bytes(shapes, most, images * fewest) > MAPS_BYTES {
        most /= 2;
    }
    let fitting = MAPS_BYTES / map_bytes(shapes, most, images).max(1);
    (most, fitting.clamp(fewest, epochs))
}

/// `count` of the places from 0 to `all`, evenly spread: the last, and if there are several the first.
pub fn spread(all: usize, count: usize) -> impl Iterator<Item = usize> {
    let steps = count.saturating_sub(1).max(1);
    (0..count).map(move |number| all - 1 - (count - 1 - number) * (all - 1) / steps)
}

/// The bytes of at most so many maps of each layer in shades, so many times.
fn map_bytes(shapes: &[ImageShape], most: usize, times: usize) -> usize {
    shapes.iter().map(|shape| shape.height * shape.width * shape.channels.min(most)).sum::<usize>() * times
}

/// Reorders `[height, width, maps]` to `[maps, height, width]`, the first `most` maps.
fn planes(values: &[f32], shape: ImageShape, most: usize) -> Vec<f32> {
    let channels = shape.channels;
    (0..channels.min(most)).flat_map(|map| values.iter().skip(map).step_by(channels).copied()).collect()
}

/// The values that are black and white, by the [scale] of these: zero is always within; where there are negative values, it
/// lies in the middle.
fn range<'a>(values: impl Iterator<Item = &'a Vec<f32>> + Clone) -> [f32; 2] {
    let is_signed = values.clone().flatten().any(|value| value.is_finite() && *value < 0.0);
    let white = scale(values.flatten());
    if is_signed { [-white, white] } else { [0.0, white] }
}

/// A value's shade within a range, whose ends stand for what is beyond them too.
fn shade(value: f32, [low, high]: [f32; 2]) -> u8 {
    // NaN becomes black.
    (255.0 * (value - low) / (high - low)).round() as u8
}

/// The convolution of this number, if its filters fit.
fn convolution(
    network: &Network,
    number: usize,
    weights: &Weights,
    room: &mut usize,
) -> Result<Option<MapConvolution>> {
    let layer = &network.layers()[number];
    let input = network.features(layer.inputs[0]);
    let (Some(filters), Some([height, width]), Features::Image(image)) =
        (layer.filters(), layer.kind.windows(input), input)
    else {
        return Ok(None);
    };
    let bytes = filters.shape.elements() * size_of::<f32>();
    if bytes > *room {
        *room = 0;
        return Ok(None);
    }
    *room -= bytes;
    let group_channels = filters.shape.size(3);
    let bias = layer.variables.iter().find(|variable| variable.name.ends_with(".bias"));
    Ok(Some(MapConvolution {
        filters: weights.values(filters)?,
        kernel: [height.kernel, width.kernel],
        group_channels,
        groups: image.channels / group_channels,
        bias: bias.map(|bias| weights.values(bias)).transpose()?.unwrap_or_default(),
        stride: [height.stride, width.stride],
        padding: [height.padding_before, width.padding_before],
        dilation: [height.dilation, width.dilation],
        input: Some(image),
    }))
}

/// The numbers of each convolution.
fn numbers(network: &Network, stages: &[Stage], sight: &Sight<'_>) -> Vec<MapNumbers> {
    let of_stage = |stage: &Stage| MapNumbers {
        input: sight.input(network.layers()[stage.layer].inputs[0]).to_vec(),
        sums: sight.sums(stage.layer).to_vec(),
        output: sight.output(stage.last()).to_vec(),
    };
    stages.iter().map(of_stage).collect()
}

/// What in an image speaks for a class.
fn reason(
    class: usize,
    sight: &Sight<'_>,
    stage: Option<&Stage>,
    shapes: &[ImageShape],
    image: ImageShape,
) -> Reason {
    let (heat, heat_size) = match (stage, shapes.last()) {
        (Some(stage), Some(shape)) => {
            let (maps, gradient) = (sight.output(stage.last()), sight.gradient(stage.last()));
            (grad_cam(maps, gradient, shape.channels), [shape.height, shape.width])
        }
        _ => (Vec::new(), [0, 0]),
    };
    // A channel's gradient is that of the normalised value: a larger pixel is a larger value.
    let largest =
        |values: &[f32]| values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let gradient = sight.image_gradient().chunks_exact(image.channels).map(largest).collect();
    Reason { class, heat, heat_size, gradient }
}

/// Grad-CAM: `heat[p] = max(0, sum over k of weight[k] * maps[p,k])`, where `weight[k]` is the mean over the positions of the
/// gradient of a logit with respect to map `k`; divided by the largest value, if that is above 0.
///
/// # Shapes
/// maps and gradient `[positions, K]` -> `[positions]`
///
/// # Source
/// R. Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, 2017, equations 1
/// and 2.
pub fn grad_cam(maps: &[f32], gradient: &[f32], channels: usize) -> Vec<f32> {
    let positions = (maps.len() / channels) as f64;
    let mut weights = vec![0.0f64; channels];
    for gradient in gradient.chunks_exact(channels) {
        weights.iter_mut().zip(gradient).for_each(|(weight, &value)| *weight += f64::from(value) / positions);
    }
    let heat = maps.chunks_exact(channels).map(|maps| {
        maps.iter().zip(&weights).map(|(&value, weight)| f64::from(value) * weight).sum::<f64>().max(0.0)
    });
    let heat: Vec<f64> = heat.collect();
    let largest = heat.iter().copied().fold(0.0, f64::max);
    heat.iter().map(|&value| if largest > 0.0 { (value / largest) as f32 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grad_cam_is_its_formula() {
        // Two positions, two maps; weights are the means 2 and -1.
        let found = grad_cam(&[1.0, 1.0, 3.0, 2.0], &[1.0, -1.0, 3.0, -1.0], 2);
        assert_eq!(found, [0.25, 1.0]);
        assert_eq!(grad_cam(&[1.0, 1.0], &[-1.0, 0.0], 2), [0.0]);
    }

    #[test]
    fn shades_span_the_range_and_zero_is_black_or_grey() {
        let positive = range([vec![0.0, 2.0], vec![1.0]].iter());
        assert_eq!([0.0, 1.0, 2.0].map(|value| shade(value, positive)), [0, 128, 255]);
        let signed = range([vec![-1.0, 0.5]].iter());
        assert_eq!([-1.0, 0.0, 1.0, f32::NAN].map(|value| shade(value, signed)), [0, 128, 255, 0]);
        assert_eq!(shade(0.0, range([vec![0.0, f32::INFINITY]].iter())), 0);
        // One of a thousand values is a hundred times the others: it is white, as they are bright.
        let mut uneven: Vec<f32> = (0..1000).map(|i| (i % 10) as f32).collect();
        uneven[500] = 900.0;
        assert_eq!(range([uneven.clone()].iter()), [0.0, 9.0]);
        assert_eq!(shade(900.0, [0.0, 9.0]), 255);
        uneven.iter_mut().for_each(|value| *value = if *value > 9.0 { *value } else { 0.0 });
        assert_eq!(range([uneven].iter()), [0.0, 900.0]);
    }

    #[test]
    fn all_maps_of_few_epochs_are_shown_rather_than_few_maps_of_all() {
        let shape = |side, channels| ImageShape { height: side, width: side, channels };
        assert_eq!(shown(&[shape(28, 6), shape(14, 16)], 10, 9), (MOST_MAPS, 9));
        let deep = [vec![shape(32, 16); 7], vec![shape(16, 32); 7], vec![shape(8, 64); 7]].concat();
        assert_eq!(shown(&deep, 10, 9), (MOST_MAPS, 4));
        assert_eq!(shown(&deep, 10, 2), (MOST_MAPS, 2));
        assert_eq!(shown(&[shape(224, 64)], 10, 9), (FEWEST_MAPS, 4));
        let found = |all, count| spread(all, count).collect::<Vec<_>>();
        assert_eq!([found(9, 4), found(5, 5), found(3, 1)], [vec![0, 3, 6, 8], vec![0, 1, 2, 3, 4], vec![2]]);
        assert_eq!(found(0, 0), [0; 0]);
    }

    #[test]
    fn maps_are_planes() {
        let shape = ImageShape { height: 1, width: 2, channels: 3 };
        assert_eq!(planes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], shape, 2), [1.0, 4.0, 2.0, 5.0]);
    }
}
