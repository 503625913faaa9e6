//! Output for people to read.

mod columns;
pub mod explain;
mod letters;
mod pytorch;
pub mod run;
mod sheet;
mod summary;
mod visible;

pub use columns::columns;
pub use pytorch::pytorch;
pub use sheet::ContactSheet;
pub use summary::{summary, summary_json};
pub use visible::{one_line, short_name};
