//! The command line; `wgconv --help` says what it can do.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
