//! Weights that compensate for classes of unequal size.

/// A weight for each class, inversely proportional to how often it occurs in `labels`:
/// `weight[c] = n / (k * count[c])`, for `n` labels of `k` different classes.
///
/// With these weights, every class that occurs has the same total weight, `n / k`, and the mean weight over the
/// labels is 1. A class that never occurs has weight 0. Labels that are none of the `classes`, as those of rows
/// without a label, are not counted.
///
/// # Source
/// scikit-learn, `compute_class_weight("balanced", ..)`.
///
/// ```
/// // Three cats and a dog, and no horse.
/// assert_eq!(wgconv::data::balanced_weights(&[0, 0, 1, 0], 3), [4.0 / 6.0, 2.0, 0.0]);
/// ```
pub fn balanced_weights(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut counts = vec![0u64; classes];
    for &label in labels {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    let all = counts.iter().sum::<u64>() as f64;
    let occurring = counts.iter().filter(|&&count| count > 0).count() as f64;
    let weight = |&count: &u64| if count == 0 { 0.0 } else { (all / (occurring * count as f64)) as f32 };
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(labels: &[u32], weights: &[f32]) -> f64 {
        labels.iter().map(|&label| f64::from(weights[label as usize])).sum::<f64>() / labels.len() as f64
    }

    /// The result of compute_class_weight("balanced", classes=np.unique(y), y=y) for y = [0] * 7 + [1] * 2 + [2] * 3.
    #[test]
    fn weights_are_those_of_scikit_learn() {
        let labels = [[0].repeat(7), [1].repeat(2), [2].repeat(3)].concat();
        let weights = balanced_weights(&labels, 3);
        assert_eq!(weights, [4.0 / 7.0, 2.0, 4.0 / 3.0]);
        assert!((mean(&labels, &weights) - 1.0).abs() < 1e-6);
        assert_eq!(balanced_weights(&[1, 0, 0, 1], 2), [1.0; 2]);
    }

    #[test]
    fn classes_that_never_occur_weigh_nothing_and_leave_the_mean_at_1() {
        let labels = [3, 1, 3, 3];
        let weights = balanced_weights(&labels, 5);
        assert_eq!(weights, [0.0, 2.0, 0.0, 2.0 / 3.0, 0.0]);
        assert!((mean(&labels, &weights) - 1.0).abs() < 1e-6);
        assert_eq!(balanced_weights(&[], 2), [0.0; 2]);
    }

    #[test]
    fn rows_without_label_do_not_count() {
        assert_eq!(balanced_weights(&[0, u32::MAX, 1, 2, 0, 0], 2), balanced_weights(&[0, 1, 0, 0], 2));
    }
}
