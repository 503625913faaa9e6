//! `wgconv models`: the built-in networks.

use clap::Args;
use serde_json::json;
use wgconv::Result;
use wgconv::network::{PRESETS, Preset};
use wgconv::plan::predict_plan;
use wgconv::report::columns;

use super::Outcome;
use super::options::OutputOptions;

/// List the built-in networks, with their size and their arithmetic
#[derive(Args)]
pub struct Models {
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 10)]
    classes: usize,
    #[command(flatten)]
    output: OutputOptions,
}

impl Models {
    pub fn run(self) -> Result<Outcome> {
        let mut rows = Vec::new();
        for Preset { name, image, build } in PRESETS {
            let network = build(image, self.classes)?;
            let parameters = network.parameter_count();
            // Of one image, forward.
            let flops: u64 = predict_plan(&network, 1)?.steps().map(|step| step.op.flops()).sum();
            rows.push(vec![
                name.to_string(),
                image.to_string(),
                network.layers().len().to_string(),
                parameters.to_string(),
                format!("{:.2}", flops as f64 / 1e6),
            ]);
            self.output.json(&json!({
                "name": name,
                "image_shape": [image.height, image.width, image.channels],
                "layers": network.layers().len(),
                "parameters": parameters,
                "flops": flops,
            }))?;
        }
        self.output.say_table(&columns(&["model", "image", "layers", "parameters", "MFLOP"], &rows))?;
        self.output.say("")?;
        self.output.say(
            "MFLOP: of one image, forward; a training step takes about three times as many for each image",
        )?;
        Ok(Outcome::Done)
    }
}
