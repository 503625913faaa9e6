//! The report of a run: one page that shows how a network learnt, and what.

pub mod page;
mod story;

pub use story::{
    Answer, Answers, Curves, EpochFigures, Film, Health, LayerHealth, LayerLine, LayerPatches,
    MapConvolution, MapLayer, MapNumbers, MappedImage, Maps, Moment, Patch, Picture, Reason, Story,
};
