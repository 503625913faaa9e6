//! Following one value forwards and backwards through a plan.

use super::{Explanation, Pass, Pool, Tap, Term, Weight};
use crate::data::Dataset;
use crate::host::CpuExecutor;
use crate::network::{Features, Layer, LayerInput, Network, Weights};
use crate::ops::HostBuffer;
use crate::ops::optimizer::{Optimizer, Sgd, UpdateOptions};
use crate::ops::window::Axis;
use crate::plan::{Plan, Prepared, Question};
use crate::predict::Prediction;
use crate::report::run::{Lens, Sight, Stage};
use crate::tensor::ImageShape;
use crate::train::RunConfig;
use crate::{Error, Result};

/// Terms of a weight's gradient that are shown.
const TERMS: usize = 5;

/// Classes of the answer that are shown.
const TOP: usize = 3;

/// Row, column and value of each member of a pool's window.
type Window = Vec<(usize, usize, f32)>;

/// What is to be explained; `None` means the strongest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The name of a convolution: the first by default.
    pub layer: Option<String>,
    /// The filter, from 0.
    pub filter: Option<usize>,
    /// The row and the column of its map, from 0.
    pub at: Option<[usize; 2]>,
}

/// A network that has answered for one image, and been asked back.
pub struct Explainer {
    network: Network,
    lens: Lens,
    weights: Weights,
    classes: Vec<String>,
    name: String,
    label: usize,
    is_labelled: bool,
    rate: f32,
}

impl Explainer {
    /// Runs a network of a run with these weights on an image: forwards, backwards from the loss for `class` (the most
    /// probable class if that is not known), and through one step of plain gradient descent at the run's learning rate, from
    /// which the run's frozen variables are exempt.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an image of another size or a pattern of the run that freezes nothing; [`Error::Memory`] when
    /// there is too little memory.
    pub fn new(
        network: &Network,
        config: &RunConfig,
        weights: &Weights,
        (name, pixels): (String, Vec<u8>),
        class: Option<usize>,
    ) -> Result<Explainer> {
        let label = class.unwrap_or(0);
        let data = Dataset::new(config.image_shape(), config.classes.clone(), pixels, vec![label as u32])?;
        let optimizer = Optimizer::Sgd(Sgd { momentum: 0.0, nesterov: false });
        let question = Question::Loss(UpdateOptions { optimizer, ..UpdateOptions::default() });
        let network = network.clone().freeze(&config.training.freeze)?;
        let mut lens = Lens::new(&network, &data, &config.preprocessing.normalisation, 1, Some(question))?;
        let rate = config.training.learning_rate;
        // If everything is frozen, there is no update.
        if lens.parts().0.find("shown/schedule").is_some() {
            let now = optimizer.now(1, rate, None);
            lens.write("shown/schedule", HostBuffer::real(now.row().to_vec()))?;
        }
        let mut explainer = Explainer {
            network,
            lens,
            weights: weights.clone(),
            classes: data.classes,
            name,
            label,
            is_labelled: class.is_some(),
            rate: rate as f32,
        };
        explainer.run()?;
        if class.is_none() {
            // Its answer stands in for the class.
            explainer.label = explainer.prediction().class();
            explainer.lens.write("shown/labels.0", HostBuffer::index(vec![explainer.label as u32]))?;
            explainer.run()?;
        }
        Ok(explainer)
    }

    /// Runs the plan with the weights from before its update.
    fn run(&mut self) -> Result<()> {
        self.lens.set_weights(&self.weights)?;
        self.lens.run(|_, _| Ok(()))
    }

    /// The plan and the executor that has run it, to compare every number with.
    pub fn parts(&self) -> (&Plan, Prepared, &CpuExecutor) {
        self.lens.parts()
    }

    fn sight(&self) -> Sight<'_> {
        self.lens.sight(0)
    }

    /// The content of a buffer that every explaining plan has.
    fn named(&self, name: &str) -> &[f32] {
        self.sight().named(name).unwrap_or_else(|| panic!("the plan has no buffer {name}"))
    }

    fn prediction(&self) -> Prediction {
        let logits = self.sight().logits();
        Prediction::of_logits(&logits.iter().map(|&logit| f64::from(logit)).collect::<Vec<_>>())
    }

    /// The explanation of one value.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a layer that is no convolution of this network, or a filter or place that it does not have.
    pub fn explain(&self, asked: &Asked) -> Result<Explanation> {
        let stage = self.stage(asked.layer.as_deref())?;
        let layer = &self.network.layers()[stage.layer];
        let (filters, [height, width], input, map) = self.convolution(layer)?;
        let value = self.sight().output(stage.last());
        let place = |index: usize| {
            (index % map.channels, [index / map.channels / map.width, index / map.channels % map.width])
        };
        let mut candidates: Box<dyn Iterator<Item = usize>> = Box::new(0..value.len());
        if let Some(filter) = asked.filter {
            if filter >= map.channels {
                let expected = format!("0 to {}, the filters of {}", map.channels - 1, layer.name);
                return Err(Error::invalid("--filter", expected, filter));
            }
            candidates = Box::new(candidates.filter(move |&index| place(index).0 == filter));
        }
        if let Some(at) = asked.at {
            if at[0] >= map.height || at[1] >= map.width {
                let expected = format!("a row below {} and a column below {}", map.height, map.width);
                return Err(Error::invalid("--at", expected, format!("{},{}", at[0], at[1])));
            }
            candidates = Box::new(candidates.filter(move |&index| place(index).1 == at));
        }
        // The first of the strongest.
        let strongest =
            candidates.reduce(|best, index| if value[index] > value[best] { index } else { best });
        let index = strongest.expect("a map has places");
        let (filter, at) = place(index);

        let weights = self.weights.values(layer.filters().expect("a convolution"))?;
        let group_channels = filters[3];
        let groups = input.channels / group_channels;
        let first_channel = filter / (map.channels / groups) * group_channels;
        let read = self.sight().input(layer.inputs[0]);
        let taps = (0..filters[1] * filters[2] * group_channels).map(|tap| {
            let (r, s, c) =
                (tap / group_channels / filters[2], tap / group_channels % filters[2], tap % group_channels);
            let position = [under(&height, at[0], r), under(&width, at[1], s)];
            let input = at_position(read, input, position, first_channel + c);
            let weight = weights[(filter * filters[1] * filters[2]) * group_channels + tap];
            let at = [position[0], position[1], (first_channel + c) as isize];
            Tap { at, input, weight, product: input * weight }
        });
        let taps = taps.collect();
        let total = self.sight().output(stage.layer)[index];
        let bias = layer.variables.iter().find(|variable| variable.name.ends_with(".bias"));
        let bias = bias.map(|bias| self.weights.values(bias)).transpose()?.map(|bias| bias[filter]);
        let prediction = self.prediction();
        let answer =
            prediction.top(TOP).into_iter().map(|(class, share)| (self.classes[class].clone(), share));
        Ok(Explanation {
            image: self.name.clone(),
            answer: answer.collect(),
            class: self.classes[self.label].clone(),
            class_is_known: self.is_labelled,
            loss: self.named("shown/loss")[0],
            layer: layer.name.clone(),
            filters: map.channels,
            size: [filters[1], filters[2], group_channels],
            map: [map.height, map.width],
            filter,
            at,
            taps,
            sum: self.sight().sums(stage.layer)[index],
            bias,
            total,
            passes: stage.followed_by.iter().map(|&number| self.pass(number, index)).collect(),
            pool: self.pool(stage.last(), at, filter),
            gradient: self.sight().gradient(stage.layer)[index],
            weight: self.weight(&stage, filter, &weights)?,
        })
    }

    fn stage(&self, name: Option<&str>) -> Result<Stage> {
        let layers = self.network.layers();
        let convs =
            || Stage::all(&self.network).into_iter().filter(|stage| layers[stage.layer].filters().is_some());
        let found = convs().find(|stage| name.is_none_or(|name| layers[stage.layer].name == name));
        found.ok_or_else(|| {
            let names: Vec<String> = convs().map(|stage| layers[stage.layer].name.clone()).collect();
            let expected = match names.is_empty() {
                true => "a network with a convolution".into(),
                false => format!("a convolution of this network: {}", names.join(", ")),
            };
            Error::invalid("--layer", expected, name.unwrap_or("none"))
        })
    }

    /// Sizes of a convolution's filters, its windows, what it reads and its maps.
    fn convolution(&self, layer: &Layer) -> Result<([usize; 4], [Axis; 2], ImageShape, ImageShape)> {
        let input = self.network.features(layer.inputs[0]);
        let filters = layer.filters().and_then(|filters| filters.shape.sizes().try_into().ok());
        match (filters, layer.kind.windows(input), input, layer.output) {
            (Some(filters), Some(axes), Features::Image(input), Features::Image(map)) => {
                Ok((filters, axes, input, map))
            }
            _ => Err(Error::invalid("--layer", "a convolution", &layer.name)),
        }
    }

    fn pass(&self, number: usize, index: usize) -> Pass {
        let layer = &self.network.layers()[number];
        Pass {
            layer: layer.name.clone(),
            kind: layer.kind.type_name().into(),
            value: self.sight().output(number)[index],
            gradient: self.sight().gradient(number)[index],
        }
    }

    /// The pool that reads a map, and its window with a place: the first in which that is the largest, or the first.
    fn pool(&self, map: usize, at: [usize; 2], filter: usize) -> Option<Pool> {
        let layers = self.network.layers();
        let reads = |layer: &&Layer| layer.inputs == [LayerInput::Layer(map)];
        let number = layers.iter().position(|layer| reads(&layer))?;
        let layer = &layers[number];
        let [height, width] = layer.kind.windows(layers[map].output).filter(|_| layer.weight().is_none())?;
        let (Features::Image(input), Features::Image(output)) = (layers[map].output, layer.output) else {
            return None;
        };
        let values = self.sight().output(map);
        let members = |p: usize, q: usize| {
            let taps = (0..height.kernel).flat_map(|r| (0..width.kernel).map(move |s| (r, s)));
            let position = taps.map(|(r, s)| [under(&height, p, r), under(&width, q, s)]);
            let inside = position.filter(|&[row, column]| {
                (0..input.height as isize).contains(&row) && (0..input.width as isize).contains(&column)
            });
            inside
                .map(|[row, column]| {
                    let (row, column) = (row as usize, column as usize);
                    (row, column, values[(row * input.width + column) * input.channels + filter])
                })
                .collect::<Vec<_>>()
        };
        let winner = |window: &[(usize, usize, f32)]| {
            let best =
                |best: usize, other: usize| if window[other].2 > window[best].2 { other } else { best };
            (0..window.len()).reduce(best).unwrap_or(0)
        };
        let places = (0..output.height).flat_map(|p| (0..output.width).map(move |q| [p, q]));
        let with_place = places.map(|place| (place, members(place[0], place[1])));
        let windows: Vec<([usize; 2], Window)> = with_place
            .filter(|(_, window)| window.iter().any(|&(row, column, _)| [row, column] == at))
            .collect();
        let wins = |window: &[(usize, usize, f32)]| {
            let (row, column, _) = window[winner(window)];
            [row, column] == at
        };
        let best = windows.iter().position(|(_, window)| wins(window)).unwrap_or(0);
        let (place, window) = windows.into_iter().nth(best)?;
        let index = (place[0] * output.width + place[1]) * output.channels + filter;
        Some(Pool {
            layer: layer.name.clone(),
            kind: layer.kind.type_name().into(),
            winner: winner(&window),
            window,
            at: place,
            value: self.sight().output(number)[index],
            gradient: self.sight().gradient(number)[index],
        })
    }

    /// The gradient of the filter's weight that has the largest one.
    fn weight(&self, stage: &Stage, filter: usize, weights: &[f32]) -> Result<Option<Weight>> {
        let layer = &self.network.layers()[stage.layer];
        let variable = layer.filters().expect("a convolution");
        let Some(gradients) = self.sight().named(&format!("{}.grad", variable.name)) else { return Ok(None) };
        let (filters, [height, width], input, map) = self.convolution(layer)?;
        let channels = filters[3];
        let size = filters[1] * filters[2] * channels;
        let gradients = &gradients[filter * size..][..size];
        let strongest = (0..size)
            .reduce(|best, tap| if gradients[tap].abs() > gradients[best].abs() { tap } else { best });
        let tap = strongest.unwrap_or(0);
        let [r, s, c] = [tap / channels / filters[2], tap / channels % filters[2], tap % channels];
        let channel = filter / (map.channels / (input.channels / channels)) * channels + c;
        let (of_sums, read) = (self.sight().gradient(stage.layer), self.sight().input(layer.inputs[0]));
        let mut terms: Vec<Term> = (0..map.height * map.width)
            .map(|place| {
                let at = [place / map.width, place % map.width];
                let position = [under(&height, at[0], r), under(&width, at[1], s)];
                let input = at_position(read, input, position, channel);
                let gradient = of_sums[place * map.channels + filter];
                Term { at, gradient, input, product: gradient * input }
            })
            .collect();
        let nonzero = terms.iter().filter(|term| term.product != 0.0).count();
        terms.sort_by(|a, b| b.product.abs().total_cmp(&a.product.abs()));
        terms.truncate(TERMS);
        let after = self.named(&variable.name)[filter * size + tap];
        let fans = [variable.fan_in, variable.fan_out];
        let initialiser = variable.initialiser;
        let drawn = initialiser.bound(fans).map(|bound| (initialiser.name().to_string(), fans, bound));
        Ok(Some(Weight {
            tap: [r, s, c],
            terms,
            nonzero,
            all: map.height * map.width,
            gradient: gradients[tap],
            drawn,
            before: weights[filter * size + tap],
            rate: self.rate,
            after,
        }))
    }
}

/// The position of the input under a tap of an output's window.
fn under(axis: &Axis, output: usize, tap: usize) -> isize {
    (output * axis.stride + tap * axis.dilation) as isize - axis.padding_before as isize
}

/// A value of a map, or 0 outside of it.
fn at_position(values: &[f32], map: ImageShape, [row, column]: [isize; 2], channel: usize) -> f32 {
    let is_inside = (0..map.height as isize).contains(&row) && (0..map.width as isize).contains(&column);
    if !is_inside {
        return 0.0;
    }
    values[(row as usize * map.width + column as usize) * map.channels + channel]
}
