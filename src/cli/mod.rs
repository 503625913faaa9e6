//! The command line: each command has a file of its own.

mod bench;
mod conv;
mod data;
mod devices;
mod evaluate;
mod explain;
mod interrupt;
mod job;
mod lesson;
mod lr_find;
mod models;
mod not_text;
mod options;
mod predict;
mod report;
mod summary;
mod train;
mod verify;
mod watch;

#[cfg(all(unix, not(target_vendor = "apple")))]
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use wgconv::Error;
use wgconv::report::one_line;

/// Train convolutional networks on any GPU, and be sure that the numbers are right.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = START)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const START: &str = "\
Start with:
  wgconv devices                what this machine can compute on
  wgconv train                  a small network on built-in digits; results go to runs/lenet-1
  wgconv evaluate runs/lenet-1  its loss and accuracy
  wgconv predict runs/lenet-1 PICTURE..  what it takes your pictures for
  wgconv explain --lesson       how a network learns its filters, told with the numbers of a training
  wgconv data DIR               what is in your own data, before you train on them
  wgconv train --help           other data, models and settings";

#[derive(Subcommand)]
enum Command {
    Train(Box<train::Train>),
    LrFind(Box<lr_find::LrFind>),
    Evaluate(evaluate::Evaluate),
    Predict(predict::Predict),
    Report(report::Report),
    Explain(explain::Explain),
    Watch(watch::Watch),
    Data(data::Data),
    Summary(summary::Summary),
    Models(models::Models),
    Devices(devices::Devices),
    Conv(conv::Conv),
    Verify(verify::Verify),
    Bench(Box<bench::Bench>),
}

/// Exit code of a run that Ctrl-C ended, by the convention of shells.
const INTERRUPTED: u8 = 130;

/// The outcome of a command without an error.
enum Outcome {
    Done,
    Interrupted,
    // The command ran, and found something wrong.
    Failed,
}

/// Runs the command that the arguments name. Exit codes: 0 for success, 1 for failure, 2 for wrong use,
/// 130 after Ctrl-C.
pub fn run() -> ExitCode {
    #[cfg(all(unix, not(target_vendor = "apple")))]
    ask_no_display_for_its_gpu();
    let result = match parse().command {
        Command::Train(command) => command.run(),
        Command::LrFind(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Predict(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Watch(command) => command.run(),
        Command::Data(command) => command.run(),
        Command::Summary(command) => command.run(),
        Command::Models(command) => command.run(),
        Command::Devices(command) => command.run(),
        Command::Conv(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Bench(command) => command.run(),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => {
            options::note(format_args!("error: {error}"));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Without a desktop session, keeps Mesa's Vulkan device-selection layer from asking the desktop which GPU it draws
/// on: the layer would complain on stderr, once per call, that XDG_RUNTIME_DIR is not set. If the user sets that
/// layer's own variables, the layer stays active, and finds no Wayland display at a path that it need not look for.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn ask_no_display_for_its_gpu() {
    use std::env::{set_var, var_os};

    let is_a_path = |variable: &str| var_os(variable).is_some_and(|path| Path::new(&path).is_absolute());
    if is_a_path("XDG_RUNTIME_DIR") || is_a_path("WAYLAND_DISPLAY") {
        return;
    }
    let is_asked = ["MESA_VK_DEVICE_SELECT", "DRI_PRIME"].iter().any(|variable| var_os(variable).is_some());
    let (variable, value) =
        if is_asked { ("WAYLAND_DISPLAY", "/dev/null/none") } else { ("NODEVICE_SELECT", "1") };
    // SAFETY: the program has just started, and no other thread exists that could read the environment.
    unsafe { set_var(variable, value) };
}

/// Parses the command line; if it is wrong, prints a message and ends the program.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if error.kind() == ErrorKind::InvalidUtf8 {
            not_text::name_the_argument();
        }
        // The message repeats arguments unchanged: it is made again, from arguments that are safe for a terminal.
        let arguments = std::env::args_os().map(|argument| one_line(&argument.to_string_lossy()));
        Cli::try_parse_from(arguments).err().unwrap_or(error).exit()
    })
}

fn exit_code(error: &Error) -> u8 {
    if error.is_wrong_use() { 2 } else { 1 }
}
