//! `wgconv data`: a look at data before a network is trained on them.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use wgconv::data::{self as sources, DataSplits, Dataset, Normalisation};
use wgconv::files::{check_writable, write_durably};
use wgconv::report::{ContactSheet, columns, short_name};
use wgconv::train::{Augmentation, TrainSettings};
use wgconv::{Error, Result};

use super::Outcome;
use super::job::{PreparationOptions, described};
use super::options::{OutputOptions, start_threads};

/// Show what is in your data before you train on them
#[derive(Args)]
pub struct Data {
    /// `synthetic`, a folder of pictures (train/CLASS/* or CLASS/*), IDX, NumPy or CIFAR files, or an .npz file
    #[arg(value_name = "DIR")]
    source: String,
    #[command(flatten)]
    preparation: PreparationOptions,
    /// Determines which images are held out, and how --augment varies them, as it does in `train` [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Also write a contact sheet: some training images of each class, below its name
    #[arg(long, value_name = "SHEET.png")]
    preview: Option<PathBuf>,
    /// Show on the sheet what `train --augment` would make of the images: each as it is, then in successive epochs
    #[arg(long, value_name = "LIST")]
    augment: Option<Augmentation>,
    #[command(flatten)]
    output: OutputOptions,
}

impl Data {
    pub fn run(self) -> Result<Outcome> {
        start_threads(None)?;
        let output = match &self.preview {
            Some(path) => {
                check_name(path)?;
                check_writable(path)?;
                self.output.beside("--preview", path)?
            }
            None if self.augment.is_some() => {
                return Err(Error::invalid("--augment", "--preview SHEET.png, to show it on", "none"));
            }
            None => self.output,
        };
        let seed = self.seed.unwrap_or(TrainSettings::default().seed);
        let data = sources::load_to_look(&self.source, &self.preparation.load_options(seed)?)?;
        // The training set, if there is one.
        let (part, first) = data.parts().next().expect("images in some part");
        let figures = Figures::of(first);

        output.say(format_args!("data: {}", described(&data)))?;
        output.say(format_args!("pixels: {figures} (of the {part} images, from 0, black, to 1, white)"))?;
        output.say("")?;
        output.say_table(&table(&data))?;
        output.say("")?;
        for note in &data.notes {
            output.say(format_args!("note: {note}"))?;
        }
        for warning in &data.warnings {
            output.say(format_args!("warning: {warning}"))?;
        }
        if let Some(path) = &self.preview {
            let (sheet, varied) = match &self.augment {
                Some(augment) => (
                    ContactSheet::varied(first, augment, seed)?,
                    format!(", as they are and varied by {augment}"),
                ),
                None => (ContactSheet::of(first), String::new()),
            };
            let ContactSheet { png, classes } = sheet;
            write_durably(path, &png)?;
            output.say(format_args!("{part} images of {classes} classes{varied}: {}", path.display()))?;
        }
        output.json(&object(&data, &figures))?;
        Ok(Outcome::Done)
    }
}

/// Checks that a path does not promise another format.
fn check_name(path: &Path) -> Result<()> {
    match path.extension() {
        Some(extension) if !extension.eq_ignore_ascii_case("png") => {
            Err(Error::invalid("--preview", "a .png file", path.display()))
        }
        _ => Ok(()),
    }
}

/// Mean and deviation of each channel, of pixels from 0 to 1.
struct Figures {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Figures {
    fn of(data: &Dataset) -> Self {
        let Normalisation { mean, deviation } = Normalisation::measure(data);
        let scaled = |values: Vec<f32>| values.into_iter().map(|value| f64::from(value) / 255.0).collect();
        Figures { mean: scaled(mean), deviation: scaled(deviation) }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list =
            |values: &[f64]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ");
        write!(f, "mean {}, deviation {}", list(&self.mean), list(&self.deviation))
    }
}

/// The number of images of each class in each part.
fn table(data: &DataSplits) -> String {
    let (mut head, mut counts) = (vec!["class"], Vec::new());
    for (name, part) in data.parts() {
        head.push(name);
        counts.push(part.counts());
    }
    let row = |(label, class): (usize, &String)| {
        let counts = counts.iter().map(|counts| counts[label].to_string());
        std::iter::once(short_name(class)).chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = data.train.classes.iter().enumerate().map(row).collect();
    columns(&head, &rows)
}

fn object(data: &DataSplits, figures: &Figures) -> Value {
    let counts: Vec<(&str, Vec<usize>)> = data.parts().map(|(name, part)| (name, part.counts())).collect();
    let class = |(label, name): (usize, &String)| {
        let mut class = Map::from_iter([("class".to_owned(), json!(name))]);
        class.extend(counts.iter().map(|(part, counts)| ((*part).to_owned(), json!(counts[label]))));
        Value::Object(class)
    };
    let parts: Map<String, Value> =
        data.parts().map(|(name, part)| (name.to_owned(), json!(part.len()))).collect();
    let image = data.train.image;
    json!({
        "data": data.name,
        "images": parts,
        "image_shape": [image.height, image.width, image.channels],
        "mean": figures.mean,
        "deviation": figures.deviation,
        "classes": data.train.classes.iter().enumerate().map(class).collect::<Vec<_>>(),
        "notes": data.notes,
        "warnings": data.warnings,
    })
}
