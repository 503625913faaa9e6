//! The report of a run: one page that shows how a network learnt, and what.
//!
//! A [`Teller`] makes a [`Story`] of a run's files, its network and some images; [`page`] turns it into HTML. During a
//! training, a [`Reporter`] does both after each epoch.

mod advice;
mod answers;
mod curves;
mod history;
mod lens;
mod maps;
pub mod page;
mod probe;
mod reporter;
mod shown;
mod story;
mod teller;

pub use curves::figures;
pub use history::History;
pub(crate) use lens::{Lens, Sight, Stage};
pub use maps::grad_cam;
pub(crate) use page::STYLE;
pub use probe::Activity;
pub use reporter::{PAGE, Reporter, history_path, write};
pub use story::{
    Answer, Answers, Curves, EpochFigures, Film, Health, LayerHealth, LayerLine, LayerPatches,
    MapConvolution, MapLayer, MapNumbers, MappedImage, Maps, Moment, Patch, Picture, Reason, Story,
};
pub use teller::{OwnImages, Teller};
