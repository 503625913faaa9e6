//! Plain advice where a training is off.

use super::story::{Curves, Health};

/// A larger change of a layer's weights in one step is too large, a smaller one does nothing.
const LARGEST_UPDATE: f64 = 0.1;
const SMALLEST_UPDATE: f64 = 1e-6;

/// From this share of inactive units on, a layer is in trouble.
const MOST_INACTIVE: f64 = 0.6;

/// From this ratio of the first and the last layer's gradient norms down, the gradient vanishes on its way back.
const VANISHING: f64 = 1e-4;

/// The held-out loss has risen if it is larger than its least by this factor.
const RISEN: f64 = 1.05;

/// A sentence for each thing that is off.
pub fn advice(curves: &Curves, health: &Health, classes: usize) -> Vec<String> {
    let mut advice = Vec::new();
    let Some(last) = curves.epochs.last() else { return advice };
    let guessing = 1.0 / classes.max(1) as f64;
    if last.accuracy < 1.5 * guessing && classes > 1 {
        advice.push(format!(
            "The network is hardly better than guessing ({:.1} % right of {:.1} %): try a smaller learning rate first, then \
             check the labels with `wgconv data`.",
            100.0 * last.accuracy,
            100.0 * guessing
        ));
    }
    advice.extend(overfitting(curves));
    for layer in &health.layers {
        let name = &layer.name;
        let last = |values: &[f64]| values.last().copied().filter(|value| value.is_finite());
        match last(&layer.update) {
            Some(update) if update > LARGEST_UPDATE => advice.push(format!(
                "{name} changed by {:.0} % in a single step: the learning rate is too high for it.",
                100.0 * update
            )),
            Some(update) if update < SMALLEST_UPDATE && update > 0.0 => advice.push(format!(
                "{name} changed by a mere {:.0e} of its size in the last step: it hardly learns any more; the learning rate has \
                 become very low, or the layer gets no gradient.",
                update
            )),
            _ => {}
        }
        if let Some(inactive) = last(&layer.inactive).filter(|&inactive| inactive > MOST_INACTIVE) {
            advice.push(format!(
                "{:.0} % of {name}'s units were active for none of the images looked at: a smaller learning rate or a \
                 normalisation before the activation keeps more of them alive.",
                100.0 * inactive
            ));
        }
        if !layer.dead.is_empty() {
            let some: Vec<String> = layer.dead.iter().take(8).map(usize::to_string).collect();
            let more = if layer.dead.len() > some.len() { ", .." } else { "" };
            let (what, are) = if layer.dead.len() == 1 { ("Filter", "is") } else { ("Filters", "are") };
            advice
                .push(format!("{what} {}{more} of {name} {are} dead: active for no image.", some.join(", ")));
        }
    }
    let gradients =
        health.layers.iter().filter_map(|layer| layer.gradient.last().copied().filter(|g| g.is_finite()));
    let gradients: Vec<f64> = gradients.collect();
    if let [first, .., last] = gradients[..]
        && first < VANISHING * last
    {
        advice.push(
            "The gradient of the first layer is tiny beside that of the last: it vanishes on its way back. Residual blocks or \
             normalisations help."
                .into(),
        );
    }
    advice
}

/// Since when the held-out loss has been rising while the training loss went on falling.
fn overfitting(curves: &Curves) -> Option<String> {
    let epochs = &curves.epochs;
    let last = epochs.last()?;
    let best = epochs.iter().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
    let is_off =
        last.loss > RISEN * best.loss && last.train_loss < best.train_loss && last.epoch > best.epoch;
    is_off.then(|| {
        format!(
            "Overfitting since epoch {}: the {} loss has risen from {:.3} to {:.3} while the training loss went on falling. \
             Augmentation, weight decay, dropout or stopping earlier (--patience) help.",
            best.epoch, curves.held_out, best.loss, last.loss
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::story::{EpochFigures, LayerHealth};
    use super::*;

    fn curves(losses: &[[f64; 2]], accuracy: f64) -> Curves {
        let epoch = |(number, &[train_loss, loss]): (usize, &[f64; 2])| EpochFigures {
            epoch: number + 1,
            train_loss,
            loss,
            accuracy,
            ..EpochFigures::default()
        };
        let epochs = losses.iter().enumerate().map(epoch).collect();
        Curves { epochs, held_out: "test".into(), ..Curves::default() }
    }

    #[test]
    fn a_sound_training_gets_no_advice_and_each_fault_its_own() {
        let fine = curves(&[[1.0, 0.9], [0.5, 0.5], [0.4, 0.51]], 0.9);
        assert!(advice(&fine, &Health::default(), 10).is_empty());
        let over = advice(&curves(&[[1.0, 0.9], [0.5, 0.5], [0.1, 0.8]], 0.9), &Health::default(), 10);
        assert!(
            over[0].starts_with("Overfitting since epoch 2: the test loss has risen from 0.500 to 0.800"),
            "{over:?}"
        );
        let guess = advice(&curves(&[[2.3, 2.3]], 0.1), &Health::default(), 10);
        assert!(guess[0].contains("hardly better than guessing"));
        let layer = LayerHealth {
            name: "conv1".into(),
            gradient: vec![1e-7],
            update: vec![0.5],
            inactive: vec![0.9],
            dead: vec![3],
            ..LayerHealth::default()
        };
        let other = LayerHealth {
            name: "dense1".into(),
            gradient: vec![1.0],
            update: vec![1e-9],
            ..LayerHealth::default()
        };
        let found = advice(&fine, &Health { epochs: vec![1], layers: vec![layer, other] }, 10);
        for (found, expected) in found.iter().zip([
            "conv1 changed by 50 % in a single step",
            "90 % of conv1's units",
            "Filter 3 of conv1 is dead",
            "dense1 changed by a mere 1e-9",
            "The gradient of the first layer is tiny",
        ]) {
            assert!(found.starts_with(expected), "{found}");
        }
        assert_eq!(found.len(), 5);
        assert!(advice(&Curves::default(), &Health::default(), 10).is_empty());
    }
}
