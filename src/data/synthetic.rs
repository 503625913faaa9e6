//! Digits drawn from strokes: a dataset that needs no download.
//!
//! A digit is a few strokes through control points. Each image distorts them (jitter of the points, width and height,
//! slant, rotation, position), draws them with a pen of random thickness and darkness, and adds distracting marks and
//! noise. A linear classifier does poorly on these images; a small CNN does well.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::{DataSplits, Dataset, numbered};
use crate::tensor::ImageShape;

/// Rows of the training set of the source `synthetic`.
pub const TRAIN_ROWS: usize = 10_000;
/// Rows of the test set of the source `synthetic`.
pub const TEST_ROWS: usize = 2_000;

const SIDE: usize = 28;
const DIGITS: usize = 10;
/// Line segments between two control points of a curve.
const CURVE_SEGMENTS: usize = 5;

/// Position; x to the right, y downwards.
type Point = (f32, f32);

/// Control points in a box of 1x1.
enum Stroke {
    /// Straight lines from point to point.
    Line(&'static [Point]),
    /// A smooth curve through all points.
    Curve(&'static [Point]),
}

use Stroke::{Curve, Line};

/// Ways to write each digit.
const GLYPHS: [&[&[Stroke]]; DIGITS] = [
    &[&[Curve(&[
        (0.50, 0.00),
        (0.24, 0.16),
        (0.15, 0.50),
        (0.24, 0.84),
        (0.50, 1.00),
        (0.76, 0.84),
        (0.85, 0.50),
        (0.76, 0.16),
        (0.50, 0.00),
    ])]],
    &[
        &[Line(&[(0.50, 0.00), (0.50, 1.00)])],
        &[Line(&[(0.32, 0.22), (0.54, 0.00), (0.54, 1.00)])],
        &[Line(&[(0.32, 0.22), (0.54, 0.00), (0.54, 1.00)]), Line(&[(0.28, 1.00), (0.80, 1.00)])],
    ],
    &[&[
        Curve(&[
            (0.18, 0.26),
            (0.32, 0.05),
            (0.60, 0.02),
            (0.80, 0.22),
            (0.70, 0.48),
            (0.42, 0.74),
            (0.15, 0.98),
        ]),
        Line(&[(0.15, 0.98), (0.86, 0.98)]),
    ]],
    &[&[
        Curve(&[(0.20, 0.12), (0.48, 0.00), (0.75, 0.13), (0.72, 0.35), (0.42, 0.47)]),
        Curve(&[(0.42, 0.47), (0.76, 0.57), (0.82, 0.80), (0.52, 1.00), (0.16, 0.88)]),
    ]],
    &[
        &[Line(&[(0.30, 0.00), (0.16, 0.60), (0.86, 0.60)]), Line(&[(0.66, 0.28), (0.62, 1.00)])],
        &[Line(&[(0.64, 1.00), (0.64, 0.00), (0.14, 0.66), (0.88, 0.66)])],
    ],
    &[&[
        Line(&[(0.80, 0.02), (0.28, 0.02), (0.24, 0.44)]),
        Curve(&[(0.24, 0.44), (0.52, 0.36), (0.80, 0.52), (0.80, 0.80), (0.52, 1.00), (0.16, 0.90)]),
    ]],
    &[&[Curve(&[
        (0.70, 0.00),
        (0.42, 0.18),
        (0.22, 0.50),
        (0.22, 0.80),
        (0.48, 1.00),
        (0.76, 0.86),
        (0.76, 0.62),
        (0.52, 0.50),
        (0.24, 0.68),
    ])]],
    &[
        &[Line(&[(0.14, 0.03), (0.85, 0.03), (0.42, 1.00)])],
        &[Line(&[(0.14, 0.03), (0.85, 0.03), (0.42, 1.00)]), Line(&[(0.36, 0.50), (0.82, 0.50)])],
    ],
    &[&[Curve(&[
        (0.50, 0.47),
        (0.25, 0.28),
        (0.30, 0.07),
        (0.52, 0.00),
        (0.74, 0.09),
        (0.73, 0.30),
        (0.50, 0.47),
        (0.22, 0.68),
        (0.22, 0.90),
        (0.50, 1.00),
        (0.79, 0.90),
        (0.78, 0.66),
        (0.50, 0.47),
    ])]],
    &[
        &[NINE_LOOP, Line(&[(0.79, 0.10), (0.74, 1.00)])],
        &[NINE_LOOP, Curve(&[(0.79, 0.14), (0.80, 0.58), (0.64, 0.90), (0.28, 0.98)])],
    ],
];

const NINE_LOOP: Stroke = Curve(&[
    (0.79, 0.26),
    (0.62, 0.02),
    (0.34, 0.06),
    (0.20, 0.30),
    (0.40, 0.52),
    (0.68, 0.45),
    (0.79, 0.26),
]);

/// Digits in 28x28 pixels, one channel, bright on dark; row `i` shows digit `i % 10`.
///
/// Every image has its own random stream, determined by the seed, the split and the row: neither the number of rows
/// nor of threads changes an image, and the two splits share no image.
pub fn synthetic(seed: u64, train_rows: usize, test_rows: usize) -> DataSplits {
    let split = |first_stream: u64, rows: usize| {
        let mut images = vec![0; rows * SIDE * SIDE];
        images.par_chunks_exact_mut(SIDE * SIDE).enumerate().for_each(|(row, pixels)| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(first_stream + row as u64);
            draw(row % DIGITS, &mut random, pixels);
        });
        let labels = (0..rows).map(|row| (row % DIGITS) as u32).collect();
        let image = ImageShape { height: SIDE, width: SIDE, channels: 1 };
        Dataset { image, classes: numbered(DIGITS), images: images.into(), labels }
    };
    DataSplits::of("synthetic", split(0, train_rows), None, split(1 << 63, test_rows))
}

/// Draws one digit into `pixels`, [SIDE, SIDE].
fn draw(digit: usize, random: &mut ChaCha8Rng, pixels: &mut [u8]) {
    let mut between = |low: f32, high: f32| random.random_range(low..high);
    let size = (between(11.0, 19.0), between(14.0, 21.0));
    let centre = (between(11.0, 17.0), between(11.5, 16.5));
    let slant = between(-0.3, 0.4);
    // libm instead of std, for the same bits on every machine.
    let (sin, cos) = libm::sincosf(between(-0.28, 0.28));
    let radius = between(0.6, 1.5);
    let ink = between(130.0, 250.0);
    let paper = between(0.0, 30.0);
    let grain = between(4.0, 22.0);
    let place = |(x, y): Point| {
        let (x, y) = ((x - 0.5) * size.0, (y - 0.5) * size.1);
        let x = x - slant * y;
        (centre.0 + cos * x - sin * y, centre.1 + sin * x + cos * y)
    };

    let mut coverage = [0.0; SIDE * SIDE];
    let variants = GLYPHS[digit];
    for stroke in variants[random.random_range(0..variants.len())] {
        let (Line(points) | Curve(points)) = stroke;
        let mut jitter = || random.random_range(-0.045..0.045);
        let points: Vec<_> = points.iter().map(|&(x, y)| place((x + jitter(), y + jitter()))).collect();
        let path = if matches!(stroke, Curve(_)) { smooth(&points) } else { points };
        trace(&path, radius, 1.0, &mut coverage);
    }
    for _ in 0..random.random_range(0..4) {
        distract(random, &mut coverage);
    }
    for (pixel, coverage) in pixels.iter_mut().zip(coverage) {
        // A sum of four uniform numbers is close enough to a bell curve.
        let noise: f32 = (0..4).map(|_| random.random_range(-0.5..0.5f32)).sum();
        *pixel = (paper + ink * coverage + grain * noise).clamp(0.0, 255.0) as u8;
    }
}

/// Adds a mark that belongs to no digit: a speck or a short stroke, paler than the ink.
fn distract(random: &mut ChaCha8Rng, coverage: &mut [f32]) {
    let mut between = |low: f32, high: f32| random.random_range(low..high);
    let start = (between(0.0, SIDE as f32), between(0.0, SIDE as f32));
    let end = (start.0 + between(-4.0, 4.0), start.1 + between(-4.0, 4.0));
    trace(&[start, end], between(0.3, 0.8), between(0.3, 0.8), coverage);
}

/// A Catmull-Rom curve through `points`, as short lines.
fn smooth(points: &[Point]) -> Vec<Point> {
    let at = |index: usize| points[index.min(points.len() - 1)];
    let mut path = vec![points[0]];
    for span in 0..points.len() - 1 {
        let (p0, p1, p2, p3) = (at(span.saturating_sub(1)), at(span), at(span + 1), at(span + 2));
        for step in 1..=CURVE_SEGMENTS {
            let t = step as f32 / CURVE_SEGMENTS as f32;
            let blend = |a: f32, b: f32, c: f32, d: f32| {
                b + 0.5
                    * t
                    * ((c - a) + t * ((2.0 * a - 5.0 * b + 4.0 * c - d) + t * (3.0 * (b - c) + d - a)))
            };
            path.push((blend(p0.0, p1.0, p2.0, p3.0), blend(p0.1, p1.1, p2.1, p3.1)));
        }
    }
    path
}

/// Draws lines from point to point with a round pen, anti-aliased by the distance to them; where several strokes
/// meet, the strongest wins.
fn trace(path: &[Point], radius: f32, strength: f32, coverage: &mut [f32]) {
    let reach = radius + 0.5;
    let pixels = |a: f32, b: f32| {
        let last = (a.max(b) + reach).ceil().clamp(0.0, SIDE as f32) as usize;
        (a.min(b) - reach).floor().clamp(0.0, SIDE as f32) as usize..last
    };
    for line in path.windows(2) {
        let ((ax, ay), (bx, by)) = (line[0], line[1]);
        let (dx, dy) = (bx - ax, by - ay);
        let length_squared = (dx * dx + dy * dy).max(1e-6);
        for row in pixels(ay, by) {
            for column in pixels(ax, bx) {
                let (x, y) = (column as f32 + 0.5 - ax, row as f32 + 0.5 - ay);
                let nearest = ((x * dx + y * dy) / length_squared).clamp(0.0, 1.0);
                let (x, y) = (x - nearest * dx, y - nearest * dy);
                let inked = strength * (reach - (x * x + y * y).sqrt()).clamp(0.0, 1.0);
                let pixel = &mut coverage[row * SIDE + column];
                *pixel = pixel.max(inked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_depends_on_seed_split_and_row_alone() {
        let (small, large) = (synthetic(7, 20, 20), synthetic(7, 50, 30));
        assert_eq!(large.train.clone().head(20), small.train);
        assert_eq!(large.test.clone().head(20), small.test);
        assert_ne!(small.train.images, small.test.images);
        assert_ne!(synthetic(8, 20, 20).train.images, small.train.images);
    }

    /// Share of the test set that softmax regression classifies correctly after plain stochastic gradient descent.
    fn softmax_regression(data: &DataSplits) -> f32 {
        let inputs = |row: &[u8]| row.iter().map(|&value| f32::from(value) / 128.0 - 0.4).collect::<Vec<_>>();
        let mut weights = vec![[0f32; DIGITS]; SIDE * SIDE + 1];
        let logits = |weights: &[[f32; DIGITS]], row: &[f32]| {
            let mut logits = weights[SIDE * SIDE];
            for (value, weights) in row.iter().zip(weights) {
                for (logit, weight) in logits.iter_mut().zip(weights) {
                    *logit += value * weight;
                }
            }
            logits
        };
        for epoch in 0..12 {
            let rate = 0.004 / (1.0 + epoch as f32);
            for row in 0..data.train.len() {
                let pixels = inputs(data.train.image(row));
                let mut gradient = logits(&weights, &pixels).map(f32::exp);
                let sum: f32 = gradient.iter().sum();
                gradient.iter_mut().for_each(|value| *value /= sum);
                gradient[data.train.labels[row] as usize] -= 1.0;
                for (value, weights) in pixels.iter().chain([&1.0]).zip(&mut weights) {
                    for (weight, gradient) in weights.iter_mut().zip(gradient) {
                        *weight -= rate * value * gradient;
                    }
                }
            }
        }
        let right = (0..data.test.len()).filter(|&row| {
            let logits = logits(&weights, &inputs(data.test.image(row)));
            let best = (0..DIGITS).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            best == Some(data.test.labels[row] as usize)
        });
        right.count() as f32 / data.test.len() as f32
    }

    #[test]
    fn a_linear_classifier_learns_but_does_not_suffice() {
        let accuracy = softmax_regression(&synthetic(1, TRAIN_ROWS, TEST_ROWS));
        println!("softmax regression: {accuracy}");
        assert!((0.6..0.92).contains(&accuracy), "{accuracy}");
    }
}
