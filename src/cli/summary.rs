//! `wgconv summary`: the layers of a model.

use clap::Args;
use wgconv::network;
use wgconv::report::{pytorch, summary, summary_json};
use wgconv::tensor::ImageShape;
use wgconv::{Error, Result};

use super::Outcome;
use super::options::OutputOptions;

/// Show a model's layers, output shapes and parameters, or write it as a PyTorch module
#[derive(Args)]
pub struct Summary {
    /// A name that `wgconv models` lists, or a .toml file
    #[arg(value_name = "MODEL")]
    model: String,
    /// Size of an image, as CHANNELS,HEIGHT,WIDTH [default: the model's own]
    #[arg(long, value_name = "C,H,W")]
    input: Option<String>,
    /// Number of classes, for the presets
    #[arg(long, value_name = "N", default_value_t = 10)]
    classes: usize,
    /// Print the source of a PyTorch module instead, `Net`, which loads the weights of a run
    #[arg(long)]
    pytorch: bool,
    #[command(flatten)]
    output: OutputOptions,
}

impl Summary {
    pub fn run(self) -> Result<Outcome> {
        let input = self.input.as_deref().map(parse_image).transpose()?;
        let network = network::open(&self.model, input, self.classes)?;
        if self.pytorch {
            self.output.source("--pytorch", &pytorch(&network)?)?;
            return Ok(Outcome::Done);
        }
        self.output.say_table(&summary(&network))?;
        self.output.say("")?;
        self.output.json(&summary_json(&network))?;
        Ok(Outcome::Done)
    }
}

fn parse_image(text: &str) -> Result<ImageShape> {
    let sizes: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    match sizes.as_deref() {
        Ok(&[channels, height, width]) => Ok(ImageShape { height, width, channels }),
        _ => Err(Error::invalid("--input", "CHANNELS,HEIGHT,WIDTH, for instance 3,32,32", text)),
    }
}
