//! Everything that a report of a run shows, as plain data: made from a run, and turned into a page by [`page`](super::page).

use crate::tensor::ImageShape;

/// What a report of a run shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// The name of the network.
    pub network: String,
    /// Name of each class.
    pub classes: Vec<String>,
    /// Whether training goes on, so that the report will be replaced.
    pub is_under_way: bool,
    /// The sentence that sums the run up: `98.91 % of 10,000 test images are right after 3 of 3 epochs`.
    pub result: String,
    /// What the run was made with, a name and a value each: data, device, batch size, ...
    pub facts: Vec<[String; 2]>,
    /// The parts of the network, from the image to the output.
    pub layers: Vec<LayerLine>,
    /// Loss, accuracy and learning rate.
    pub curves: Curves,
    /// The filters of the first convolution; `None` if the network has none.
    pub film: Option<Film>,
    /// For each deeper convolution, the patches of images that excite its filters most.
    pub patches: Vec<LayerPatches>,
    /// What each layer makes of some images.
    pub maps: Maps,
    /// What the network took the held-out images for; `None` if they could not be read.
    pub answers: Option<Answers>,
    /// How each layer fared.
    pub health: Health,
    /// Plain advice where something is off, a sentence each.
    pub advice: Vec<String>,
}

/// A line of the table of layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerLine {
    /// `conv1`.
    pub name: String,
    /// `conv2d`.
    pub kind: String,
    /// `24 x 24 x 6`.
    pub output: String,
    /// Number of trained values.
    pub parameters: usize,
    /// How that number is computed: `5*5*1*6 + 6`; empty if there is nothing to compute.
    pub arithmetic: String,
}

/// Figures by step and by epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// The number of a step, from 1, and its loss. Of long trainings, means of neighbours.
    pub losses: Vec<[f64; 2]>,
    /// The number of a step, from 1, and its learning rate.
    pub rates: Vec<[f64; 2]>,
    /// The figures of each epoch.
    pub epochs: Vec<EpochFigures>,
    /// What the figures are measured on: `test` or `validation`.
    pub held_out: String,
}

/// The figures of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochFigures {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Steps trained by its end.
    pub step: u64,
    /// Mean loss of its steps.
    pub train_loss: f64,
    /// Mean loss of the held-out images.
    pub loss: f64,
    /// Share of the held-out images that are right.
    pub accuracy: f64,
    /// Duration, with the evaluation.
    pub seconds: f64,
}

/// The filters of the first convolution, at some moments of the training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Film {
    /// The layer's name.
    pub layer: String,
    /// Number of filters.
    pub filters: usize,
    /// Sizes of a filter. With three channels, they are shown in colour; otherwise each channel is shown by itself.
    pub size: Option<ImageShape>,
    /// The moments, in order.
    pub moments: Vec<Moment>,
}

/// The filters at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// Steps trained before.
    pub step: u64,
    /// `start`, `step 5`, `epoch 2`.
    pub name: String,
    /// The filters, `[filters, height, width, channels]`.
    pub values: Vec<f32>,
    /// The gradient of the loss of the step before, in the same layout; empty at the start.
    pub gradient: Vec<f32>,
}

/// The patches that excite the filters of a layer most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerPatches {
    /// The layer's name.
    pub layer: String,
    /// Height and width of a patch: of the part of an image that a value of the layer depends on, or of as much of it as is
    /// shown.
    pub size: [usize; 2],
    /// For each filter that is shown, its patches, the most exciting first.
    pub filters: Vec<Vec<Patch>>,
    /// Number of filters of the layer, of which the first are shown.
    pub of: usize,
}

/// A patch of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// Its pixels.
    pub picture: Picture,
    /// The value of the map that it causes, after the activation.
    pub value: f32,
    /// The class of its image.
    pub class: usize,
}

/// Pixels for people to see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Height and width.
    pub size: [usize; 2],
    /// 1 (grey) or 3 (red, green and blue).
    pub channels: usize,
    /// `[height, width, channels]`.
    pub pixels: Vec<u8>,
}

/// What the layers make of some images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Maps {
    /// The epochs at which there are maps, the last one at the end; 0 is the start.
    pub epochs: Vec<usize>,
    /// The layers that have maps.
    pub layers: Vec<MapLayer>,
    /// The images.
    pub images: Vec<MappedImage>,
}

/// A layer that has maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapLayer {
    /// `conv1`.
    pub name: String,
    /// What follows the convolution before the next layer reads it: `batch_norm1, relu1`; empty if nothing does.
    pub followed_by: String,
    /// Height and width of a map, and number of maps that are shown.
    pub size: Option<ImageShape>,
    /// Number of maps that there are; the first of them are shown.
    pub count: usize,
    /// The values that are shown as black and as white, and those beyond them too; the same for all images and epochs.
    pub range: [f32; 2],
    /// The convolution, for the numbers under the pointer; of the last epoch.
    pub convolution: Option<MapConvolution>,
}

/// What a convolution multiplies and adds. Sizes are down and across.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapConvolution {
    /// The filters, `[filters, height, width, channels of a group]`.
    pub filters: Vec<f32>,
    /// Height and width of a filter.
    pub kernel: [usize; 2],
    /// Channels that a filter reads.
    pub group_channels: usize,
    /// Number of groups.
    pub groups: usize,
    /// The bias of each filter; empty if there is none.
    pub bias: Vec<f32>,
    /// Distance of neighbouring windows.
    pub stride: [usize; 2],
    /// Zeros above and to the left of the image.
    pub padding: [usize; 2],
    /// Distance of neighbouring taps.
    pub dilation: [usize; 2],
    /// Height, width and channels of what it reads.
    pub input: Option<ImageShape>,
}

/// An image, what the network says about it and why, and its maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappedImage {
    /// `test image 17`, or the name of the user's file.
    pub name: String,
    /// The image as the network sees it.
    pub picture: Picture,
    /// Its class, if that is known.
    pub class: Option<usize>,
    /// The most probable classes and their probabilities, the most probable first.
    pub top: Vec<(usize, f64)>,
    /// For each epoch of [`Maps::epochs`] and each layer of [`Maps::layers`], the maps `[maps, height, width]`, scaled to the
    /// layer's range: `maps[epoch][layer]`.
    pub maps: Vec<Vec<Vec<u8>>>,
    /// For each layer, the numbers of the last epoch; empty if they are left out, to keep the file small.
    pub numbers: Vec<MapNumbers>,
    /// Why: for the predicted class, and for the true one if that is another.
    pub reasons: Vec<Reason>,
}

/// The numbers of a convolution of one image, as the plan computed them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MapNumbers {
    /// What it reads, `[height, width, channels]`.
    pub input: Vec<f32>,
    /// The sums of products without the bias, `[height, width, maps]`.
    pub sums: Vec<f32>,
    /// The maps after everything that follows, `[height, width, maps]`.
    pub output: Vec<f32>,
}

/// The parts of an image that speak for a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reason {
    /// The class that is spoken for.
    pub class: usize,
    /// Grad-CAM at the last convolution, `[height, width]`, from 0 to 1.
    pub heat: Vec<f32>,
    /// Height and width of `heat`.
    pub heat_size: [usize; 2],
    /// The gradient of the class's logit with respect to each pixel, the largest magnitude of its channels with its sign,
    /// `[height, width]` of the image.
    pub gradient: Vec<f32>,
}

/// What the network took the held-out images for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Number of images of a class (row) that were taken for another (column), row by row.
    pub counts: Vec<u64>,
    /// Precision, recall and support of each class; `None` where there is nothing to divide by.
    pub figures: Vec<(Option<f64>, Option<f64>, u64)>,
    /// The images that are shown.
    pub images: Vec<Answer>,
    /// Those with the largest probability of a wrong class, by their places in `images`.
    pub most_wrong: Vec<usize>,
    /// Those whose two largest probabilities are closest, by their places in `images`.
    pub least_certain: Vec<usize>,
    /// For each cell of `counts` the places in `images` of what is shown of it: a part of them if there are many.
    pub cells: Vec<Vec<usize>>,
}

/// What the network took an image for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The image's number in its set.
    pub row: usize,
    /// The image as the network sees it.
    pub picture: Picture,
    /// Its class.
    pub class: usize,
    /// The most probable classes and their probabilities, the most probable first.
    pub top: Vec<(usize, f64)>,
}

/// How the layers with weights fared, by epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// The epochs.
    pub epochs: Vec<usize>,
    /// The layers.
    pub layers: Vec<LayerHealth>,
}

/// How a layer fared: one value for each epoch, NaN where it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerHealth {
    /// The layer's name.
    pub name: String,
    /// Norm of the gradient of its weights in the last step.
    pub gradient: Vec<f64>,
    /// Norm of the last step's change of its weights, by the norm of the weights.
    pub update: Vec<f64>,
    /// Share of its units that are not active for any of the images looked at.
    pub inactive: Vec<f64>,
    /// Mean of its activations.
    pub mean: Vec<f64>,
    /// Standard deviation of its activations.
    pub deviation: Vec<f64>,
    /// The filters or units that are not active for any image in the last epoch.
    pub dead: Vec<usize>,
}
