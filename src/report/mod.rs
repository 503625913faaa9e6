//! Output for people to read.

mod summary;
mod visible;

pub use summary::{summary, summary_json};
pub use visible::{one_line, short_name};
