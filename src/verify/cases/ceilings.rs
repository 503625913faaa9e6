//! The operations that measure a device's ceilings.

use super::Case;
use crate::ops::ceilings::{CopyRate, FmaRate};

/// Every case of the ceilings' operations.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("one value", CopyRate { elements: 1 }),
        Case::new("more than a workgroup", CopyRate { elements: 2500 }),
        Case::new("no step", FmaRate { elements: 3, rounds: 0 }),
        Case::new("a few steps", FmaRate { elements: 100, rounds: 1 }),
        Case::new("many steps", FmaRate { elements: 1000, rounds: 128 }),
    ]
}
