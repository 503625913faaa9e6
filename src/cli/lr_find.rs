//! `wgconv lr-find`: suggests a learning rate.

use clap::Args;
use serde_json::json;
use wgconv::Result;
use wgconv::train::growing_rates;

use super::Outcome;
use super::job::JobOptions;

/// Suggest a learning rate, from the losses of a hundred steps at growing rates
// A negative number is refused as a value, not as an unknown option.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct LrFind {
    #[command(flatten)]
    job: JobOptions,
    /// Learning rate of the first step
    #[arg(long, value_name = "X", default_value_t = 1e-5)]
    first_rate: f64,
    /// Learning rate of the last step
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    last_rate: f64,
    /// Steps from the first rate to the last
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    steps: u32,
}

/// Approximate number of lines in the table.
const LINES: usize = 20;

impl LrFind {
    pub fn run(self) -> Result<Outcome> {
        self.job.device.start_threads()?;
        let rates = growing_rates(self.first_rate, self.last_rate, self.steps as usize)?;
        let job = self.job.job()?;
        let (mut trainer, _) = self.job.trainer(&job)?;
        drop(job);
        let output = self.job.output;
        let test = trainer.range_test(&rates)?;

        output.say("")?;
        output.say("learning rate      loss  smoothed")?;
        let every = test.points.len().div_ceil(LINES).max(1);
        for (number, point) in test.points.iter().enumerate() {
            output.json(&json!({
                "learning_rate": point.rate,
                "loss": point.loss,
                "smoothed": point.smoothed,
            }))?;
            if number % every == 0 || number + 1 == test.points.len() {
                output.say(format_args!(
                    "{:>13.2e}  {:>8.4}  {:>8.4}",
                    point.rate, point.loss, point.smoothed
                ))?;
            }
        }
        output.say("")?;
        if test.points.len() < rates.len() {
            output.say("the loss ran away there")?;
        }
        match test.suggestion() {
            Some(rate) => {
                output.say(format_args!(
                    "the loss falls most steeply at a learning rate of {rate:.1e}; `wgconv train --learning-rate {rate:.1e}` trains with it"
                ))?;
                output.json(&json!({ "suggestion": rate }))?;
            }
            None if test.points.is_empty() => {
                output.say("the first loss is not finite: try another model")?
            }
            None => output.say("the loss never falls: try other rates, or another model")?,
        }
        Ok(Outcome::Done)
    }
}
