//! Telling the story of a run: from its files, its network and some images.

use std::path::Path;

use super::advice::advice;
use super::answers::answers;
use super::history::History;
use super::lens::{Lens, Stage};
use super::maps::{Looked, Looking};
use super::probe::{self, Activity, Probe};
use super::story::{Film, Health, LayerHealth, Maps, Story};
use super::{curves, shown};
use crate::Result;
use crate::data::{Dataset, HeldOut};
use crate::network::{Network, Weights};
use crate::report::summary::thousands;
use crate::tensor::ImageShape;
use crate::train::{RunConfig, RunFolder};

/// Images that layers are probed with.
const PROBED: usize = 256;

/// Most images that are looked at closely, unless the user names some.
const MOST_LOOKED: usize = 10;

/// Most images of the user's.
const MOST_OF_USER: usize = 24;

/// Tells the story of a run, again and again while it goes on.
pub struct Teller {
    run: RunFolder,
    config: RunConfig,
    network: Network,
    // `None` if there are no images.
    probe: Option<Probe>,
    looking: Option<Looking>,
    held_out: Option<Dataset>,
}

/// Images of the user's, with their names.
pub struct OwnImages {
    /// What each is called.
    pub names: Vec<String>,
    /// Their pixels, one after the other.
    pub pixels: Vec<u8>,
}

impl OwnImages {
    /// Prepares pictures as those of the run were: at most the first 24.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::File`](crate::Error::File) for a file that is no picture.
    pub fn open<'a>(config: &RunConfig, files: impl IntoIterator<Item = &'a Path>) -> Result<OwnImages> {
        let mut own = OwnImages { names: Vec::new(), pixels: Vec::new() };
        for path in files.into_iter().take(MOST_OF_USER) {
            own.pixels.extend(config.preprocessing.open(path)?);
            own.names.push(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned());
        }
        Ok(own)
    }
}

impl Film {
    /// The film of a network's first convolution, without moments.
    fn of(network: &Network) -> Option<Film> {
        let layer = network.layers().iter().find(|layer| layer.filters().is_some())?;
        let [filters, height, width, channels] = *layer.filters()?.shape.sizes() else { return None };
        let size = Some(ImageShape { height, width, channels });
        Some(Film { layer: layer.name.clone(), filters, size, moments: Vec::new() })
    }

    /// The filters of a network's first convolution, if it has one, with these weights.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for weights that are not the network's.
    pub fn now(network: &Network, weights: &Weights) -> Result<Option<Film>> {
        let Some(film) = Film::of(network) else { return Ok(None) };
        let history = History::start(network, weights.clone())?;
        Ok(Some(Film { moments: history.moments, ..film }))
    }
}

impl Teller {
    /// Prepares to tell the story of a run, with its held-out images, as far as there are any, and images of the user's to
    /// look at instead of some of those.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for images that do not fit the network;
    /// [`Error::Memory`](crate::Error::Memory) when there is too little memory.
    pub fn new(
        run: &RunFolder,
        config: &RunConfig,
        network: &Network,
        held_out: Option<(HeldOut, Dataset)>,
        own: Option<OwnImages>,
    ) -> Result<Teller> {
        let normalisation = &config.preprocessing.normalisation;
        let set = held_out.as_ref().map_or("", |(set, _)| set.name());
        let held_out = held_out.map(|(_, data)| data).filter(|data| !data.is_empty());
        let probe = held_out.as_ref().map(|data| {
            let images = shown::rows(data, &shown::of_all_classes(data, PROBED));
            let lens = Lens::new(network, &images, normalisation, probe::BATCH_SIZE, None)?;
            Ok(Probe::new(lens, network, images))
        });
        let looked = match (own, &held_out) {
            (Some(OwnImages { names, pixels }), _) if !names.is_empty() => {
                let labels = vec![0; names.len()];
                let images = Dataset::new(config.image_shape(), config.classes.clone(), pixels, labels)?;
                let looked = |name| Looked { name, is_labelled: false };
                Some((images, names.into_iter().map(looked).collect()))
            }
            (_, Some(data)) => {
                let rows = shown::of_all_classes(data, config.classes.len().min(MOST_LOOKED));
                let looked = |row: &usize| Looked { name: format!("{set} image {row}"), is_labelled: true };
                Some((shown::rows(data, &rows), rows.iter().map(looked).collect()))
            }
            _ => None,
        };
        let looking = looked.map(|(images, names)| Looking::new(network, images, names, normalisation));
        Ok(Teller {
            run: run.clone(),
            config: config.clone(),
            network: network.clone(),
            probe: probe.transpose()?,
            looking: looking.transpose()?,
            held_out,
        })
    }

    /// The bytes of memory that telling takes beside the images.
    ///
    /// # Errors
    /// Those of lowering the network.
    pub fn bytes(network: &Network, image: ImageShape, classes: usize) -> Result<u64> {
        let probe = Lens::bytes(network, image, classes, probe::BATCH_SIZE, None)?;
        let images = classes.min(MOST_LOOKED);
        let looking = Looking::bytes(network, image, classes, images, History::most_weights(network))?;
        Ok(probe + looking + History::bytes(network))
    }

    /// How active the layers are with these weights.
    ///
    /// # Errors
    /// Those of running a plan.
    pub fn activity(&mut self, weights: &Weights) -> Result<Activity> {
        match &mut self.probe {
            Some(probe) => probe.activity(&self.network, weights),
            None => Ok(Activity::default()),
        }
    }

    /// The story so far, with the activity of the last epoch and the logits of all held-out images, if they are known.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the run's figures cannot be read; those of running a plan.
    pub fn story(&mut self, history: &History, activity: &Activity, logits: &[f32]) -> Result<Story> {
        let (figures, held_out) = curves::figures(&self.run)?;
        let maps = match &mut self.looking {
            Some(looking) => looking.maps(&self.network, &history.weights)?,
            None => Maps::default(),
        };
        let classes = self.config.classes.len();
        let has_answers = |data: &&Dataset| !logits.is_empty() && logits.len() == data.len() * classes;
        let facts = curves::facts(&self.config, &figures);
        let is_under_way = figures.len() < self.config.training.epochs;
        let result = self.result(&figures, held_out);
        let curves = curves::curves(figures, held_out, history, &self.config);
        let health = self.health(history, activity);
        Ok(Story {
            network: self.network.name().into(),
            classes: self.config.classes.clone(),
            is_under_way,
            result,
            facts,
            layers: curves::layers(&self.network),
            advice: advice(&curves, &health, classes),
            film: self.film(history),
            patches: activity.patches.clone(),
            maps,
            answers: self.held_out.as_ref().filter(has_answers).map(|data| answers(data, logits)),
            health,
            curves,
        })
    }

    fn result(&self, figures: &[super::EpochFigures], held_out: HeldOut) -> String {
        let Some(last) = figures.last() else { return "No epoch is done yet.".into() };
        let images = match &self.held_out {
            Some(data) => format!("the {} {} images", thousands(data.len()), held_out.name()),
            None => format!("the {} images", held_out.name()),
        };
        let epochs = if last.epoch == 1 { "epoch" } else { "epochs" };
        format!("{:.2} % of {images} are right after {} {epochs}.", 100.0 * last.accuracy, last.epoch)
    }

    fn film(&self, history: &History) -> Option<Film> {
        let film = Film::of(&self.network)?;
        Some(Film { moments: history.moments.clone(), ..film })
    }

    fn health(&self, history: &History, activity: &Activity) -> Health {
        let names =
            self.network.layers().iter().filter(|layer| layer.weight().is_some()).map(|layer| &layer.name);
        let of = |number: usize, value: fn(&super::history::Health) -> f32| -> Vec<f64> {
            let row = |row: &Vec<super::history::Health>| {
                row.get(number).map_or(f64::NAN, |health| value(health).into())
            };
            history.health.iter().map(row).collect()
        };
        let output = self.network.layers().len() - 1;
        let is_output: Vec<bool> =
            Stage::all(&self.network).iter().map(|stage| stage.last() == output).collect();
        let layers = names.enumerate().map(|(number, name)| LayerHealth {
            name: name.clone(),
            gradient: of(number, |health| health.gradient),
            update: of(number, |health| health.update),
            // A logit is no unit that is active or not.
            inactive: if is_output[number] { Vec::new() } else { of(number, |health| health.inactive) },
            mean: of(number, |health| health.mean),
            deviation: of(number, |health| health.deviation),
            dead: match activity.dead.get(number) {
                Some(dead) if !is_output[number] => dead.clone(),
                _ => Vec::new(),
            },
        });
        Health { epochs: (1..=history.health.len()).collect(), layers: layers.collect() }
    }
}
