//! The table of cases that all kinds of tests share: operations with awkward sizes, each case with a name.

pub mod ceilings;
pub mod conv;
pub mod dense;
pub mod elementwise;
pub mod long_sums;
pub mod norm;
pub mod pool;
pub mod training;

use std::fmt;

use crate::ops::Op;

/// An operation with one set of sizes.
#[derive(Debug)]
pub struct Case {
    /// What the case tests.
    pub name: String,
    /// The operation, with its sizes.
    pub op: Box<dyn Op>,
}

impl Case {
    /// `op` with the sizes that `name` describes.
    pub fn new(name: impl Into<String>, op: impl Op + 'static) -> Self {
        Case { name: name.into(), op: Box::new(op) }
    }
}

/// Writes the operation and the name, as in `conv2d.forward (1x1 with stride)`: unique among all cases.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.op.name(), self.name)
    }
}

/// Every case. Each operation of the library has at least one.
pub fn all() -> Vec<Case> {
    let groups = [
        ceilings::cases(),
        conv::cases(),
        dense::cases(),
        elementwise::cases(),
        long_sums::cases(),
        norm::cases(),
        pool::cases(),
        training::cases(),
    ];
    groups.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_cases_have_the_same_name() {
        let names: Vec<String> = all().iter().map(Case::to_string).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
