//! How often a network takes each class for each other.

use crate::predict::winner;

/// Images counted by their class and by the class that a network gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    // [class][predicted]
    counts: Vec<u64>,
}

/// How well a class is told from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassFigures {
    /// Share of the images that were taken for this class and are of this class: `tp / (tp + fp)`; `None` if no image was
    /// taken for it.
    pub precision: Option<f64>,
    /// Share of the images of this class that were taken for it: `tp / (tp + fn)`; `None` if there is no such image.
    pub recall: Option<f64>,
    /// Number of images of this class: `tp + fn`.
    pub support: u64,
}

impl Confusion {
    /// No images yet.
    pub fn new(classes: usize) -> Self {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    /// The images of logits [images, classes] and the class of each image; an image is taken for the first class with the
    /// largest logit.
    ///
    /// # Panics
    /// When there are not as many logits as images times classes, or a label names no class.
    pub fn of_logits(logits: &[f64], labels: &[u32], classes: usize) -> Self {
        assert_eq!(logits.len(), labels.len() * classes, "logits of {} images", labels.len());
        let mut confusion = Confusion::new(classes);
        for (logits, &label) in logits.chunks_exact(classes).zip(labels) {
            confusion.add(label as usize, winner(logits));
        }
        confusion
    }

    /// Counts an image of `class` that was taken for `predicted`.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn add(&mut self, class: usize, predicted: usize) {
        assert!(predicted < self.classes, "class {predicted} of {}", self.classes);
        self.counts[class * self.classes + predicted] += 1;
    }

    /// Number of images of `class` that were taken for `predicted`.
    ///
    /// # Panics
    /// When there is no such class.
    pub fn count(&self, class: usize, predicted: usize) -> u64 {
        assert!(predicted < self.classes, "class {predicted} of {}", self.classes);
        self.counts[class * self.classes + predicted]
    }

    /// Number of images that were taken for their own class.
    pub fn correct(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// The figures of each class.
    pub fn figures(&self) -> Vec<ClassFigures> {
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        let figures = |class: usize| {
            let own = self.count(class, class);
            let support = (0..self.classes).map(|predicted| self.count(class, predicted)).sum();
            let taken = (0..self.classes).map(|other| self.count(other, class)).sum();
            ClassFigures { precision: share(own, taken), recall: share(own, support), support }
        };
        (0..self.classes).map(figures).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_the_counts() {
        let mut confusion = Confusion::new(4);
        // Three cats of which one was taken for a dog, one dog, no bird but one dog taken for one, no fish at all.
        for (class, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2)] {
            confusion.add(class, predicted);
        }
        assert_eq!((confusion.correct(), confusion.count(0, 1), confusion.count(1, 0)), (3, 1, 0));
        let figures = |precision, recall, support| ClassFigures { precision, recall, support };
        let expected = [
            figures(Some(1.0), Some(2.0 / 3.0), 3),
            figures(Some(0.5), Some(0.5), 2),
            figures(Some(0.0), None, 0),
            figures(None, None, 0),
        ];
        assert_eq!(confusion.figures(), expected);
    }
}
