//! What makes a result meaningless, in one line each.

use std::collections::HashSet;

use super::hold_out::fingerprint;
use super::{DataSplits, Dataset};

/// How much larger than the smallest class the largest one may be.
const MOST_IMBALANCE: usize = 20;
/// The most classes that a line names.
const MOST_NAMES: usize = 5;
/// The share of an epoch's images that may be in no batch is one in this many.
const MOST_UNUSED: usize = 20;

/// Everything that is suspicious about the data.
pub(super) fn warnings(data: &DataSplits) -> Vec<String> {
    let parts = [("validation", data.validation.as_ref()), ("test", Some(&data.test))];
    let held_out =
        || parts.into_iter().filter_map(|(name, part)| Some((name, part.filter(|part| !part.is_empty())?)));
    let counts = data.train.counts();
    let mut warnings = Vec::new();
    if data.train.classes.len() == 1 {
        warnings.push(format!("there is one class only, {:?}: any answer is right", data.train.classes[0]));
    }
    // A class that no image has at all is a gap in somebody's numbering.
    let held_out_counts: Vec<Vec<usize>> = held_out().map(|(_, part)| part.counts()).collect();
    let is_absent =
        |label: &usize| counts[*label] == 0 && held_out_counts.iter().any(|counts| counts[*label] > 0);
    let absent: Vec<&String> =
        (0..counts.len()).filter(is_absent).map(|label| &data.train.classes[label]).collect();
    if !absent.is_empty() {
        warnings.push(format!("without training images: {}", list("class", &absent)));
    }
    if !data.train.is_empty() && data.train.images.windows(2).all(|pair| pair[0] == pair[1]) {
        warnings.push("every pixel of every training image is the same".into());
    }
    let some = counts.iter().copied().filter(|&count| count > 0);
    if let (Some(least), Some(most)) = (some.clone().min(), some.max())
        && most > least.saturating_mul(MOST_IMBALANCE)
    {
        let class = |count: usize| {
            let label = counts.iter().position(|&other| other == count).expect("one of the counts");
            &data.train.classes[label]
        };
        warnings.push(format!(
            "class {:?} has {most} training images, and class {:?} has {least}: `--class-weights balanced` lets them \
             weigh the same",
            class(most),
            class(least)
        ));
    }
    for (name, part) in held_out() {
        let classes = counts.iter().filter(|&&count| count > 0).count();
        if part.len() < classes {
            let images = part.len();
            warnings.push(format!(
                "fewer {name} images ({images}) than classes ({classes}): too few to tell anything"
            ));
        }
    }
    let seen: HashSet<u64> = rows(&data.train).collect();
    for (name, part) in held_out() {
        let copies = rows(part).filter(|row| seen.contains(row)).count();
        if copies > 0 {
            let all = part.len();
            warnings.push(format!(
                "{copies} of the {all} {name} images are training images too, pixel for pixel"
            ));
        }
    }
    warnings
}

/// A warning if too many of an epoch's images fill no batch.
pub(super) fn unused(images: usize, batch_size: usize) -> Option<String> {
    let left = |batch_size: usize| images % batch_size;
    let is_much = |batch_size: usize| left(batch_size).saturating_mul(MOST_UNUSED) > images;
    if !(1..=images).contains(&batch_size) || !is_much(batch_size) {
        return None;
    }
    // Batches of one leave nothing out.
    let better = (1..batch_size).rev().find(|&smaller| !is_much(smaller))?;
    let (out, least) = (left(batch_size), left(better));
    Some(format!(
        "each epoch leaves out {out} of {images} training images, which fill no batch of {batch_size}: \
         `--batch-size {better}` leaves out {least}"
    ))
}

fn rows(data: &Dataset) -> impl Iterator<Item = u64> {
    data.images.chunks_exact(data.image.elements()).map(fingerprint)
}

/// `class "a"`, or `3 classes, "a", "b", "c"`.
pub(super) fn list(what: &str, names: &[&String]) -> String {
    let mut quoted: Vec<String> = names.iter().take(MOST_NAMES).map(|name| format!("{name:?}")).collect();
    if names.len() > MOST_NAMES {
        quoted.push("..".into());
    }
    match names.len() {
        1 => format!("{what} {}", quoted[0]),
        count => format!("{count} {what}es, {}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_twentieth_in_no_batch_is_warned_of() {
        let line = |images, batch_size| unused(images, batch_size);
        let expected = "each epoch leaves out 36 of 100 training images, which fill no batch of 64: \
                        `--batch-size 50` leaves out 0";
        assert_eq!(line(100, 64).as_deref(), Some(expected));
        let expected = "each epoch leaves out 3 of 59 training images, which fill no batch of 4: `--batch-size 3` leaves out 2";
        assert_eq!(line(59, 4).as_deref(), Some(expected));
        // A twentieth, nothing, and batches that the trainer refuses.
        for (images, batch_size) in [(60, 19), (128, 64), (60_000, 64), (0, 64), (5, 6), (5, 0)] {
            assert_eq!(line(images, batch_size), None, "{images}, {batch_size}");
        }
        // What is advised is nothing to warn of.
        for images in 1..300 {
            for batch_size in 1..=images {
                let Some(warning) = line(images, batch_size) else { continue };
                let (_, advice) = warning.split_once("--batch-size ").unwrap();
                let better = advice.split_once('`').unwrap().0.parse().unwrap();
                assert!(better < batch_size && line(images, better).is_none(), "{images}: {warning}");
            }
        }
    }
}
