//! The curves and facts of a run, from its files.

use serde_json::Value;

use super::history::History;
use super::story::{Curves, EpochFigures, LayerLine};
use crate::Result;
use crate::data::HeldOut;
use crate::files::{MOST_TEXT, read};
use crate::network::Network;
use crate::train::{RunConfig, RunFolder};

/// Most points of a curve.
const MOST_POINTS: usize = 600;

/// Reads the figures of a run's epochs, as far as they are there and whole, and what they were measured on.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the file of figures cannot be read.
pub fn figures(run: &RunFolder) -> Result<(Vec<EpochFigures>, HeldOut)> {
    let path = run.metrics_path();
    let text = if path.exists() { read(&path, MOST_TEXT)? } else { Vec::new() };
    let text = String::from_utf8_lossy(&text);
    let (mut figures, mut held_out) = (Vec::new(), HeldOut::Test);
    for line in text.lines() {
        // The figures at the end, on a test set that was left for it, are of some weights.
        let Some(line) = serde_json::from_str::<Value>(line).ok().filter(|line| line["weights"].is_null())
        else {
            continue;
        };
        if line["val/loss"].is_number() {
            held_out = HeldOut::Validation;
        }
        let number = |name: &str| line[name].as_f64().unwrap_or(f64::NAN);
        let of_held_out = |name: &str| number(&format!("{}/{name}", held_out.prefix()));
        let (Some(epoch), Some(step)) = (line["epoch"].as_u64(), line["step"].as_u64()) else { continue };
        figures.push(EpochFigures {
            epoch: usize::try_from(epoch).unwrap_or(usize::MAX),
            step,
            train_loss: number("train/loss"),
            loss: of_held_out("loss"),
            accuracy: of_held_out("accuracy"),
            seconds: number("seconds"),
        });
    }
    Ok((figures, held_out))
}

/// The curves of a run.
pub fn curves(
    figures: Vec<EpochFigures>,
    held_out: HeldOut,
    history: &History,
    config: &RunConfig,
) -> Curves {
    let steps = history.losses.len();
    let together = steps.div_ceil(MOST_POINTS).max(1);
    let losses = history.losses.chunks(together).enumerate().map(|(number, losses)| {
        let mean = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64;
        [(number * together + losses.len()) as f64, mean]
    });
    let steps_per_epoch = steps.checked_div(history.epochs).unwrap_or(0);
    let rate = |step: usize| [step as f64 + 1.0, config.training.rate(step as u64, steps_per_epoch)];
    Curves {
        // Losses of an earlier part of the run may not be known.
        losses: losses.filter(|[_, loss]| loss.is_finite()).collect(),
        rates: (0..steps).step_by(together).map(rate).collect(),
        epochs: figures,
        held_out: held_out.name().into(),
    }
}

/// What a run was made with, a name and a value each.
pub fn facts(config: &RunConfig, figures: &[EpochFigures]) -> Vec<[String; 2]> {
    let mut facts = vec![
        ["data".to_string(), config.data.clone()],
        ["classes".into(), config.classes.len().to_string()],
        ["images".into(), config.image_shape().to_string()],
        ["device".into(), config.device.clone()],
    ];
    let seconds: f64 = figures.iter().map(|figures| figures.seconds).sum();
    if seconds.is_finite() && seconds > 0.0 {
        facts.push(["time".into(), duration(seconds)]);
    }
    let settings = toml::Table::try_from(&config.training).unwrap_or_default();
    let named = settings.into_iter().map(|(name, value)| [name.replace('_', " "), words(&value)]);
    facts.extend(named.filter(|[_, value]| !value.is_empty()));
    facts.push(["wgconv".into(), config.version.clone()]);
    facts
}

/// A setting in words: `sgd, momentum 0.9`. What is off, or as it is without being set, is left out.
fn words(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Boolean(is_on) => if *is_on { "yes" } else { "" }.into(),
        toml::Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
        toml::Value::Table(table) => {
            let name = table.get("name").map(words);
            // Where the rate of a warm-up without length starts.
            let is_unused = |key: &str| {
                key == "start" && table.get("warmup").and_then(toml::Value::as_float) == Some(0.0)
            };
            let others = table.iter().filter(|(key, _)| key.as_str() != "name" && !is_unused(key));
            let others = others.filter_map(|(key, value)| {
                let (key, neutral) = (key.replace('_', " "), if key == "rate_factor" { 1.0 } else { 0.0 });
                match (value, words(value)) {
                    (_, words) if words.is_empty() => None,
                    (toml::Value::Float(value), _) if *value == neutral => None,
                    (toml::Value::Boolean(_), _) => Some(key),
                    (toml::Value::Table(_), words) => Some(format!("{key}: {words}")),
                    (_, words) => Some(format!("{key} {words}")),
                }
            });
            name.into_iter().chain(others).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// `42 s`, `3 min 20 s`, `2 h 5 min`.
fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..60.0 => format!("{seconds:.0} s"),
        ..3600.0 => format!("{} min {} s", (seconds / 60.0) as u64, seconds as u64 % 60),
        _ => format!("{} h {} min", (seconds / 3600.0) as u64, seconds as u64 / 60 % 60),
    }
}

/// The layers of a network, from the image to the output.
pub fn layers(network: &Network) -> Vec<LayerLine> {
    let sizes = |sizes: Vec<usize>| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
    let image = network.input();
    let first = LayerLine {
        name: "input".into(),
        kind: "image".into(),
        output: sizes(vec![image.height, image.width, image.channels]),
        ..LayerLine::default()
    };
    let others = network.layers().iter().map(|layer| LayerLine {
        name: layer.name.clone(),
        kind: layer.kind.type_name().into(),
        output: sizes(layer.output.sizes()),
        parameters: layer.parameter_count(),
        arithmetic: layer.kind.arithmetic(&layer.variables).unwrap_or_default(),
    });
    std::iter::once(first).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_said_in_words_without_what_is_off() {
        let settings = "optimizer = { name = 'sgd', momentum = 0.9, nesterov = false }\n\
                        groups = { weight = { rate_factor = 1.0, weight_decay = 0.01 }, bias = { rate_factor = 1.0 } }\n\
                        freeze = ['a', 'b']\nepochs = 3\nbalanced = true\n\
                        schedule = { name = 'constant', warmup = 0.0, start = 0.1 }";
        let table: toml::Table = toml::from_str(settings).unwrap();
        let found: Vec<String> = table.values().map(words).collect();
        let expected = ["yes", "3", "a, b", "weight: weight decay 0.01", "sgd, momentum 0.9", "constant"];
        assert_eq!(found, expected);
        let warming: toml::Table = toml::from_str("name = 'cosine'\nwarmup = 0.1\nstart = 0.1").unwrap();
        assert_eq!(words(&warming.into()), "cosine, start 0.1, warmup 0.1");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        let found = [0.25, 42.4, 200.0, 7500.0].map(duration);
        assert_eq!(found, ["0.2 s", "42 s", "3 min 20 s", "2 h 5 min"]);
    }
}
