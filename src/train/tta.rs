//! Test-time augmentation: an image is shown in several ways, and the logits are averaged.

use std::str::FromStr;

use crate::ops::batch::{Move, Padding};
use crate::plan::AugmentOptions;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// In which ways an image is shown to a trained network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestAugmentation {
    /// As it is and mirrored left to right, half each.
    Mirror,
    /// For one half those two; for the other half, moved by one pixel to the upper left and to the lower right, with what lies
    /// around it mirrored at the border, each as it is and mirrored left to right.
    Shift,
}

impl TestAugmentation {
    /// The names of all ways.
    pub const NAMES: [&str; 2] = ["mirror", "shift"];

    /// What an evaluation plan has to do for it.
    pub(super) fn options(self) -> AugmentOptions {
        AugmentOptions { padding: Padding::Reflect, mixes: false }
    }

    /// The views of an image and the share of each in the average; the shares add up to 1.
    pub(super) fn views(self, image: ImageShape) -> Vec<(f64, Move)> {
        let last = image.width as f32 - 1.0;
        let both = |share: f64, shift: f32| {
            let row = [1.0, 0.0, shift];
            let straight = Move { row, column: [0.0, 1.0, shift], ..Move::NONE };
            let mirrored = Move { row, column: [0.0, -1.0, last + shift], ..Move::NONE };
            [(share, straight), (share, mirrored)]
        };
        match self {
            TestAugmentation::Mirror => both(0.5, 0.0).to_vec(),
            TestAugmentation::Shift => [both(0.25, 0.0), both(0.125, 1.0), both(0.125, -1.0)].concat(),
        }
    }
}

impl FromStr for TestAugmentation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "mirror" => Ok(TestAugmentation::Mirror),
            "shift" => Ok(TestAugmentation::Shift),
            _ => Err(Error::invalid("test-time augmentation", Self::NAMES.join(", "), format!("{name:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_one() {
        let image = ImageShape { height: 3, width: 4, channels: 1 };
        for (way, views) in [(TestAugmentation::Mirror, 2), (TestAugmentation::Shift, 6)] {
            let found = way.views(image);
            assert_eq!(found.len(), views);
            assert_eq!(found.iter().map(|(share, _)| share).sum::<f64>(), 1.0);
        }
        assert_eq!("shift".parse::<TestAugmentation>().unwrap(), TestAugmentation::Shift);
        let error = "turn".parse::<TestAugmentation>().unwrap_err().to_string();
        assert_eq!(error, "test-time augmentation: expected mirror, shift, found \"turn\"");
    }
}
