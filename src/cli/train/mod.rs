//! `wgconv train`: from images to a trained network.

mod display;

use std::path::{Path, PathBuf};

use clap::Args;
use wgconv::data::HeldOut;
use wgconv::files::quoted_path;
use wgconv::network::{Adopted, Weights};
use wgconv::report::run::{Reporter, Teller};
use wgconv::train::{
    Best, EarlyStopping, Evaluation, Observer, Recorder, RunConfig, RunFolder, Trainer, load_any_weights,
};
use wgconv::{Error, Result};

pub use self::display::Display;
use super::Outcome;
use super::job::{Job, JobOptions};

/// Train a network on labelled images
// A negative number is refused as a value, not as an unknown option.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Train {
    #[command(flatten)]
    job: JobOptions,
    /// Stop when the accuracy on the validation set (on the test set without one) has not improved for N epochs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Start from the weights in this safetensors file whose names and shapes fit
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    from: Option<PathBuf>,
    /// Do not take weights whose names match this from --from (`*` stands for any characters)
    #[arg(long, value_name = "PATTERN", requires = "from")]
    reinit: Vec<String>,
    /// Resume the run in this folder
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "out"])]
    resume: Option<PathBuf>,
    /// Resume even if model, data or settings differ from those of the run
    #[arg(long, requires = "resume")]
    force: bool,
    /// Show the first convolution's filters after each epoch, on a terminal with colours
    #[arg(long, value_name = "WHAT", value_parser = ["filters"])]
    show: Option<String>,
    /// Write no report.html into the run's folder
    #[arg(long)]
    no_report: bool,
    /// Folder for the results, which must not exist yet [default: runs/MODEL-N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Train {
    pub fn run(self) -> Result<Outcome> {
        self.job.device.start_threads()?;
        match &self.resume {
            Some(run) => self.resume(run),
            None => self.start(),
        }
    }

    fn start(&self) -> Result<Outcome> {
        match &self.out {
            Some(out) => RunFolder::check(out)?,
            None => RunFolder::check_next_free()?,
        }
        let job = self.job.job()?;
        let from = self.from.as_deref().map(load_any_weights).transpose()?;
        let (mut trainer, device) = self.job.trainer(&job)?;
        if let (Some(weights), Some(path)) = (from, &self.from) {
            self.adopt(&mut trainer, path, &weights)?;
        }
        let config = job.config(device)?;
        let path = self.out.clone().unwrap_or_else(|| RunFolder::next_free(trainer.network().name()));
        let run = RunFolder::create(&path, &config, trainer.network())?;
        let recorder = Recorder::new(run, job.basis());
        self.train(trainer, recorder, job, &config)
    }

    fn resume(&self, path: &Path) -> Result<Outcome> {
        let (run, before, network) = RunFolder::open(path)?;
        let checkpoint = run.load_checkpoint()?;
        let job = self.job.job_like(before, network)?;
        let basis = job.basis();
        let differences = checkpoint.basis.differences(&basis);
        if !differences.is_empty() {
            let differences = differences.join("; ");
            if !self.force {
                let expected = "what the run was stopped with (--force goes on all the same)";
                return Err(Error::invalid("--resume", expected, format!("other: {differences}")));
            }
            self.job.output.say(format_args!("other than when the run was stopped: {differences}"))?;
        }
        // A run may be killed after its last epoch, before it has said so.
        if checkpoint.state.epochs >= job.settings.epochs && !self.job.asks_for_epochs() {
            let epochs = checkpoint.state.epochs;
            self.job
                .output
                .say(format_args!("epoch {epochs} of {epochs} is done already; --epochs trains more"))?;
            return Ok(Outcome::Done);
        }
        if checkpoint.state.epochs >= job.settings.epochs {
            let expected = format!("more epochs than the {} that are done", checkpoint.state.epochs);
            return Err(Error::invalid("--epochs", expected, job.settings.epochs));
        }

        let (mut trainer, device) = self.job.trainer(&job)?;
        trainer.restore(&checkpoint.state)?;
        let recorder = Recorder::resume(run, basis, &checkpoint)?;
        let config = job.config(device)?;
        recorder.run().set_config(&config)?;
        self.job.output.say(format_args!("resumed after step {}", trainer.steps_done()))?;
        self.train(trainer, recorder, job, &config)
    }

    /// Replaces the trainer's initial weights by those of a file where names and shapes fit.
    fn adopt(&self, trainer: &mut Trainer, path: &Path, file: &Weights) -> Result<()> {
        let mut weights = trainer.weights()?;
        let adopted = weights.adopt(file, &self.reinit);
        if adopted.taken.is_empty() {
            let names: Vec<&str> = weights.iter().map(|(name, _)| name).collect();
            let expected = format!("one of the weights {}, in its shape", names.join(", "));
            let found = if adopted.left.is_empty() { adopted.kept } else { adopted.left };
            return Err(Error::file(path, expected, found.join(", ")));
        }
        self.say_adopted(path, &adopted)?;
        trainer.set_weights(&weights)
    }

    fn say_adopted(&self, path: &Path, adopted: &Adopted) -> Result<()> {
        let Adopted { taken, kept, left } = adopted;
        self.job.output.say(format_args!("from {}: {} taken", path.display(), taken.join(", ")))?;
        if !kept.is_empty() {
            self.job.output.say(format_args!("not taken, and initialised anew: {}", kept.join(", ")))?;
        }
        if !left.is_empty() {
            self.job.output.say(format_args!("not in this network: {}", left.join(", ")))?;
        }
        Ok(())
    }

    fn train(
        &self,
        mut trainer: Trainer,
        mut recorder: Recorder,
        job: Job,
        config: &RunConfig,
    ) -> Result<Outcome> {
        let output = self.job.output;
        let path = recorder.run().path().to_path_buf();
        output.say(format_args!("results: {}", path.display()))?;
        let mut reporter = match self.no_report {
            true => None,
            false => self.reporter(&mut trainer, recorder.run(), &job, config)?,
        };
        output.say("")?;
        // The executor now holds the images.
        drop(job);
        let mut display = Display::start(output, trainer.held_out())?;
        if self.show.is_some() {
            display.show_filters()?;
        }
        let mut patience =
            self.patience.map(|patience| EarlyStopping::new(patience as usize, recorder.best()));
        let mut observers: Vec<&mut dyn Observer> = vec![&mut recorder];
        observers.extend(reporter.iter_mut().map(|reporter| reporter as &mut dyn Observer));
        observers.push(&mut display);
        observers.extend(patience.iter_mut().map(|patience| patience as &mut dyn Observer));
        let trained = trainer.run(&mut observers);
        if let Some(Err(error)) = reporter.as_mut().map(Reporter::finish) {
            output.say(format_args!("warning: the report is not up to date: {error}"))?;
        }
        trained?;
        if let Some(step) = display.stopped_at {
            output.say(format_args!(
                "stopped at step {step}; the weights are saved, `wgconv train --resume {}` goes on",
                quoted_path(&path)
            ))?;
            return Ok(Outcome::Interrupted);
        }
        output.say("")?;
        if trainer.epochs_done() < trainer.settings().epochs {
            let epochs = trainer.epochs_done();
            output.say(format_args!("stopped early after epoch {epochs}, which was no better"))?;
        }
        self.close(&mut trainer, &recorder)?;
        Ok(Outcome::Done)
    }

    /// What writes the report after each epoch. A training without one is better than none.
    fn reporter(
        &self,
        trainer: &mut Trainer,
        run: &RunFolder,
        job: &Job,
        config: &RunConfig,
    ) -> Result<Option<Reporter>> {
        let output = self.job.output;
        let (held_out, images) = job.data.held_out();
        let network = trainer.network().clone();
        let started = Teller::bytes(&network, images.image, images.classes.len()).and_then(|bytes| {
            wgconv::host_memory::check("the report", bytes, "--no-report")?;
            let teller = Teller::new(run, config, &network, Some((held_out, images.clone())), None)?;
            Ok((Reporter::start(trainer, run, teller)?, bytes))
        });
        match started {
            Ok((reporter, bytes)) => {
                let mib = bytes as f64 / f64::from(1 << 20);
                output.say(format_args!(
                    "report: report.html there, after each epoch; takes up to {mib:.1} MiB more"
                ))?;
                Ok(Some(reporter))
            }
            Err(error) => {
                output.say(format_args!("warning: there will be no report: {error}"))?;
                Ok(None)
            }
        }
    }

    /// Says how good the best and the last weights are.
    fn close(&self, trainer: &mut Trainer, recorder: &Recorder) -> Result<()> {
        let output = self.job.output;
        let Some(best) = recorder.best() else { return Ok(()) };
        let path = quoted_path(recorder.run().path());
        let again = format!("`wgconv evaluate {path}` measures it again");
        let percent = |evaluation: &Evaluation| format!("{:.2} %", 100.0 * evaluation.accuracy());
        let Best { epoch, evaluation } = best;
        let (name, accuracy) = (trainer.held_out().name(), percent(&evaluation));
        if trainer.held_out() == HeldOut::Test {
            output.say(format_args!("best {name} accuracy {accuracy}, after epoch {epoch}; {again}"))?;
            return output.say(
                "the best epoch was chosen on the test set itself, so that figure is optimistic; --validation 0.1 holds \
                 out images to choose it by",
            );
        }
        output.say(format_args!("best {name} accuracy {accuracy}, after epoch {epoch}"))?;
        let Some(figures) = recorder.test(trainer)? else {
            return output.say(format_args!("there are no test images; {again}"));
        };
        figures.metrics().iter().try_for_each(|line| output.json(line))?;
        let [best, last] = [figures.best, figures.last].map(|figures| percent(&figures.evaluation));
        output.say(format_args!(
            "test accuracy {best} with these best weights, {last} with the last ones; {again}"
        ))
    }
}
