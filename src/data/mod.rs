//! Labelled images in host memory, and where they come from.
