//! What is displayed during a training: a bar or an occasional line, and a row for each epoch.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use wgconv::data::HeldOut;
use wgconv::report::run::Film;
use wgconv::report::run::page::cells;
use wgconv::train::{EpochReport, Observer, Progress, Trainer, metrics};
use wgconv::{Error, Result};

use super::super::interrupt::Interrupt;
use super::super::options::{OutputOptions, note};

/// Displays a training, and ends it when the user asks for that.
pub struct Display {
    output: OutputOptions,
    interrupt: Interrupt,
    bar: Bar,
    shows_filters: bool,
    /// The step at which the user stopped the training.
    pub stopped_at: Option<u64>,
}

impl Display {
    /// Prints the head of the table.
    pub fn start(output: OutputOptions, held_out: HeldOut) -> Result<Self> {
        let interrupt = Interrupt::listen();
        let prefix = held_out.prefix();
        let (loss, accuracy) = (format!("{prefix} loss"), format!("{prefix} accuracy"));
        output.say(format_args!("epoch  train loss  {loss:>9}  {accuracy:>13}  images/s  seconds"))?;
        Ok(Display { output, interrupt, bar: Bar::new(), shows_filters: false, stopped_at: None })
    }

    /// Shows the first convolution's filters after each epoch, if the terminal can.
    pub fn show_filters(&mut self) -> Result<()> {
        self.shows_filters = self.output.has_colours();
        match self.shows_filters {
            true => Ok(()),
            false => {
                self.output.say("note: --show needs a terminal with 24-bit colours (COLORTERM=truecolor)")
            }
        }
    }
}

impl Observer for Display {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.bar.show(progress);
        if self.interrupt.asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn epoch(&mut self, trainer: &mut Trainer, report: &EpochReport) -> Result<ControlFlow<()>> {
        self.bar.clear();
        self.bar = Bar::new();
        if let Some(evaluation) = &report.evaluation {
            self.output.say(format_args!(
                "{:>5}  {:>10.4}  {:>9.4}  {:>11.2} %  {:>8.0}  {:>7.1}",
                report.epoch,
                report.train_loss(),
                evaluation.loss,
                100.0 * evaluation.accuracy(),
                report.images_per_s,
                report.time.as_secs_f64()
            ))?;
            self.output.json(&metrics(report, evaluation))?;
        }
        if self.shows_filters {
            let weights = trainer.weights()?;
            if let Some(film) = Film::now(trainer.network(), &weights)? {
                let (_, width) = console::Term::stdout().size();
                self.output.draw(&cells(&film, width.into()))?;
            }
        }
        if self.interrupt.asked() {
            self.stopped_at = Some(report.step);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn failed(&mut self, _: &mut Trainer, error: Error) -> Error {
        self.bar.clear();
        error
    }
}

/// The progress of an epoch: a bar on a terminal, a line every few seconds elsewhere.
enum Bar {
    Drawn(ProgressBar),
    Lines { last: Instant },
}

const TIME_BETWEEN_LINES: Duration = Duration::from_secs(5);

impl Bar {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Bar::Lines { last: Instant::now() };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {msg}, {eta} left")
            .expect("a template");
        Bar::Drawn(ProgressBar::new(0).with_style(style))
    }

    fn show(&mut self, progress: &Progress) {
        let figures = format!("loss {:.4}, {:.0} images/s", progress.loss, progress.images_per_s);
        match self {
            Bar::Drawn(bar) => {
                bar.set_length(progress.steps as u64);
                bar.set_position(progress.done as u64);
                bar.set_message(figures);
            }
            Bar::Lines { last } if last.elapsed() >= TIME_BETWEEN_LINES => {
                note(format_args!("step {}/{}, {figures}", progress.done, progress.steps));
                *last = Instant::now();
            }
            Bar::Lines { .. } => {}
        }
    }

    fn clear(&self) {
        if let Bar::Drawn(bar) = self {
            bar.finish_and_clear();
        }
    }
}
