//! The table of cases that every kind of proof shares: operations over named, awkward sizes.

pub mod bench;
pub mod conv;
pub mod dense;
pub mod elementwise;
pub mod pool;
pub mod training;

use wgconv::ops::Op;

/// An operation over one set of sizes.
pub struct Case {
    /// What the case is there for.
    pub name: String,
    /// The operation, with its sizes.
    pub op: Box<dyn Op>,
}

impl Case {
    fn new(name: impl Into<String>, op: impl Op + 'static) -> Self {
        Case { name: name.into(), op: Box::new(op) }
    }
}

/// Every case: each operation of the library appears here.
pub fn all() -> Vec<Case> {
    [bench::cases(), conv::cases(), dense::cases(), elementwise::cases(), pool::cases(), training::cases()]
        .into_iter()
        .flatten()
        .collect()
}
