//! What a person looks at.

mod summary;

pub use summary::{summary, summary_json};
