//! Arguments that are not text where text is needed: clap refuses them, without saying which.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, Error};

/// Ends the program with a line that names the first argument that should be text and is not; returns where there is
/// none.
pub fn name_the_argument() {
    if let Err(error) = checking(super::Cli::command()).try_get_matches_from(std::env::args_os())
        && error.kind() == ErrorKind::InvalidUtf8
    {
        error.exit();
    }
}

/// The same command line, whose arguments need only be text, or a path.
fn checking(command: Command) -> Command {
    command.mut_args(checked).mut_subcommands(checking)
}

fn checked(arg: Arg) -> Arg {
    let is_path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    if arg.get_action().takes_values() && !is_path { arg.value_parser(Text) } else { arg }
}

#[derive(Clone)]
struct Text;

impl TypedValueParser for Text {
    type Value = OsString;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<OsString, Error> {
        if value.to_str().is_some() {
            return Ok(value.into());
        }
        let name = arg.map_or_else(|| "an argument".into(), Arg::to_string);
        let message = format!("{name}: expected text in UTF-8, found {value:?}\n");
        Err(Error::raw(ErrorKind::InvalidUtf8, message))
    }
}
