//! How active the layers of a network are over some images, and the patches of images that excite its filters most.

use std::ops::Range;

use super::lens::{Lens, Stage};
use super::shown;
use super::story::{LayerPatches, Patch};
use crate::Result;
use crate::data::Dataset;
use crate::network::{Features, LayerInput, Network, Weights};

/// Most layers whose patches are shown, most filters of a layer and most patches of a filter.
const MOST_LAYERS: usize = 6;
const MOST_FILTERS: usize = 12;
const MOST_PATCHES: usize = 6;

/// Images that the probe runs at a time.
pub const BATCH_SIZE: usize = 8;

/// A network that is probed with images.
pub struct Probe {
    lens: Lens,
    stages: Vec<Stage>,
    images: Dataset,
}

/// What a probe has found: an entry for each layer with a weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activity {
    /// Share of units that no image has made active, mean and standard deviation of the activations.
    pub figures: Vec<[f32; 3]>,
    /// The channels of which no unit has been active for any image.
    pub dead: Vec<Vec<usize>>,
    /// The patches that excite the filters of deeper convolutions.
    pub patches: Vec<LayerPatches>,
}

/// The sums over all images for a stage.
struct Totals {
    active: Vec<bool>,
    count: f64,
    sum: f64,
    squares: f64,
    // For each filter that is shown, the strongest value of the most exciting images: value, image, position.
    best: Vec<Vec<(f32, usize, usize)>>,
}

impl Probe {
    /// A probe of a network with the images of a lens.
    pub fn new(lens: Lens, network: &Network, images: Dataset) -> Probe {
        Probe { lens, stages: Stage::all(network), images }
    }

    /// Probes the network with these weights.
    ///
    /// # Errors
    /// Those of [`Lens::run`].
    pub fn activity(&mut self, network: &Network, weights: &Weights) -> Result<Activity> {
        let layers = network.layers();
        let shown = self.shown_stages(network);
        let mut totals: Vec<Totals> = self
            .stages
            .iter()
            .enumerate()
            .map(|(number, stage)| {
                let output = layers[stage.last()].output;
                let filters = if shown.contains(&number) { output.channels().min(MOST_FILTERS) } else { 0 };
                let active = vec![false; output.elements()];
                Totals { active, count: 0.0, sum: 0.0, squares: 0.0, best: vec![Vec::new(); filters] }
            })
            .collect();
        self.lens.set_weights(weights)?;
        let stages = &self.stages;
        self.lens.run(|image, sight| {
            for (stage, totals) in stages.iter().zip(&mut totals) {
                let channels = layers[stage.last()].output.channels();
                totals.add(image, sight.output(stage.last()), channels);
            }
            Ok(())
        })?;
        let figures = totals.iter().map(Totals::figures).collect();
        let of_channels = self.stages.iter().zip(&totals).map(|(stage, totals)| {
            let channels = layers[stage.last()].output.channels();
            let is_dead = |&channel: &usize| {
                !totals.active.iter().skip(channel).step_by(channels).any(|&active| active)
            };
            (0..channels).filter(is_dead).collect()
        });
        let dead = of_channels.collect();
        let patches =
            shown.iter().map(|&number| self.patches(network, &self.stages[number], &totals[number].best));
        let patches = patches.collect();
        Ok(Activity { figures, dead, patches })
    }

    /// The numbers of the stages whose patches are shown: convolutions after the first one, at equal distances.
    fn shown_stages(&self, network: &Network) -> Vec<usize> {
        let is_conv = |stage: &Stage| network.layers()[stage.layer].filters().is_some();
        let convs = self.stages.iter().enumerate().filter(|(_, stage)| is_conv(stage));
        let deeper: Vec<usize> = convs.skip(1).map(|(number, _)| number).collect();
        let count = deeper.len().min(MOST_LAYERS);
        // The last one is always among them.
        (1..=count).map(|place| deeper[place * deeper.len() / count - 1]).collect()
    }

    fn patches(&self, network: &Network, stage: &Stage, best: &[Vec<(f32, usize, usize)>]) -> LayerPatches {
        let layer = &network.layers()[stage.layer];
        let Features::Image(maps) = layer.output else { return LayerPatches::default() };
        let image = self.images.image;
        // The largest field of a position, which is that of one in the middle.
        let middle = field(network, stage.layer, [maps.height / 2, maps.width / 2]);
        let size = [middle[0].len().min(image.height), middle[1].len().min(image.width)];
        let patch = |&(value, row, position): &(f32, usize, usize)| {
            let field = field(network, stage.layer, [position / maps.width, position % maps.width]);
            let place = |range: &Range<isize>, size: usize, of: usize| {
                let middle = (range.start + range.end - size as isize) / 2;
                middle.clamp(0, (of - size) as isize) as usize
            };
            let corner = [place(&field[0], size[0], image.height), place(&field[1], size[1], image.width)];
            let picture = shown::patch(&self.images, row, corner, size);
            Patch { picture, value, class: self.images.labels[row] as usize }
        };
        let filters = best.iter().map(|best| best.iter().map(patch).collect()).collect();
        LayerPatches { layer: layer.name.clone(), size, filters, of: maps.channels }
    }
}

impl Totals {
    fn add(&mut self, image: usize, values: &[f32], channels: usize) {
        self.count += values.len() as f64;
        for (active, &value) in self.active.iter_mut().zip(values) {
            *active |= value > 0.0;
            self.sum += f64::from(value);
            self.squares += f64::from(value) * f64::from(value);
        }
        for (filter, best) in self.best.iter_mut().enumerate() {
            let of_filter = values.iter().skip(filter).step_by(channels).copied().enumerate();
            let strongest = of_filter.max_by(|(_, a), (_, b)| a.total_cmp(b));
            let Some((position, value)) = strongest.filter(|&(_, value)| value > 0.0) else { continue };
            let place = best.partition_point(|&(other, ..)| other >= value);
            best.insert(place, (value, image, position));
            best.truncate(MOST_PATCHES);
        }
    }

    fn figures(&self) -> [f32; 3] {
        let inactive =
            self.active.iter().filter(|&&active| !active).count() as f64 / self.active.len().max(1) as f64;
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        [inactive, mean, variance.sqrt()].map(|value| value as f32)
    }
}

/// The rows and columns of the image on which the value at a position of a layer's output depends, padding included.
///
/// Inputs of another size than the layer's output, such as the gates of a squeeze-and-excite block, are left out.
pub fn field(network: &Network, layer: usize, position: [usize; 2]) -> [Range<isize>; 2] {
    let layers = network.layers();
    let mut fields: Vec<Option<[Range<isize>; 2]>> = vec![None; layer + 1];
    fields[layer] = Some(position.map(|at| at as isize..at as isize + 1));
    let mut of_image: Option<[Range<isize>; 2]> = None;
    for number in (0..=layer).rev() {
        let Some(field) = fields[number].clone() else { continue };
        for &input in &layers[number].inputs {
            let features = network.features(input);
            let found = match layers[number].kind.windows(features) {
                Some(axes) => [0, 1].map(|axis| {
                    let (range, axis) = (&field[axis], axes[axis]);
                    let start = |at: isize| at * axis.stride as isize - axis.padding_before as isize;
                    start(range.start)
                        ..start(range.end - 1) + ((axis.kernel - 1) * axis.dilation + 1) as isize
                }),
                None if same_size(features, layers[number].output) => field.clone(),
                None => continue,
            };
            let known = match input {
                LayerInput::Image => &mut of_image,
                LayerInput::Layer(input) => &mut fields[input],
            };
            *known = Some(match known.take() {
                None => found,
                Some(known) => [0, 1].map(|axis| {
                    known[axis].start.min(found[axis].start)..known[axis].end.max(found[axis].end)
                }),
            });
        }
    }
    of_image.unwrap_or([0..1, 0..1])
}

/// Whether two maps have the same height and width.
fn same_size(a: Features, b: Features) -> bool {
    match (a, b) {
        (Features::Image(a), Features::Image(b)) => (a.height, a.width) == (b.height, b.width),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Conv2d;
    use crate::tensor::ImageShape;

    #[test]
    fn fields_grow_through_windows_and_join_at_sums() {
        let image = ImageShape { height: 20, width: 24, channels: 1 };
        let network = Network::builder("fields", image)
            .conv2d(Conv2d::new(2, [5, 3]))
            .relu()
            .max_pool(2)
            .residual(|path| path.conv2d(Conv2d::new(2, [3, 3]).same()).relu())
            .conv2d(Conv2d::new(2, [2, 2]).stride([2, 2]))
            .flatten()
            .dense(3)
            .build()
            .unwrap();
        let number = |name: &str| network.layers().iter().position(|layer| layer.name == name).unwrap();
        let names: Vec<&str> = network.layers().iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(field(&network, 0, [1, 2]), [1..6, 2..5], "{names:?}");
        // Pool position 3 reads rows 6 and 7 of the convolution.
        assert_eq!(field(&network, number("pool1"), [3, 0]), [6..12, 0..4]);
        // The convolution of the branch reads one more position on each side, and the sum as much.
        let add = names.iter().position(|name| name.contains("add")).unwrap();
        assert_eq!(field(&network, add, [3, 1]), [4..14, 0..8]);
        // The last one reads two positions of the sum.
        let last = names.iter().rposition(|name| name.contains("conv")).unwrap();
        assert_eq!(field(&network, last, [1, 0]), [2..14, -2..8]);
    }
}
