//! Augmentation: which variation of each image an epoch shows.

use std::fmt;
use std::str::FromStr;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::ops::batch::{Move, Padding, Rectangle};
use crate::plan::AugmentOptions;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// Which images are mirrored left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// None.
    #[default]
    None,
    /// Half of them, drawn anew in every epoch.
    Random,
    /// Half of them, drawn once; in every other epoch, the other half.
    Alternating,
}

/// How training images are varied. Every choice is a function of the seed, the epoch and the image's place in the epoch, so
/// that all devices see the same and a run resumes exactly.
///
/// As text, it is a list such as `crop=4,flip` or `crop=2,padding=reflect,flip=alternating,cutout=8`, with the names of the
/// fields; `flip` alone stands for `flip=random`, and `none` for no variation.
///
/// ```
/// use wgconv::train::{Augmentation, Flip};
///
/// let augmentation: Augmentation = "crop=2,flip=alternating".parse()?;
/// assert_eq!((augmentation.crop, augmentation.flip), (2, Flip::Alternating));
/// assert_eq!(augmentation.to_string(), "crop=2,flip=alternating");
/// # Ok::<(), wgconv::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Images are moved by up to this many pixels along each axis.
    #[serde(skip_serializing_if = "is_default")]
    pub crop: usize,
    /// What lies around an image.
    #[serde(skip_serializing_if = "is_default")]
    pub padding: Padding,
    /// Which images are mirrored left to right.
    #[serde(skip_serializing_if = "is_default")]
    pub flip: Flip,
    /// Whether half of the images are mirrored top to bottom.
    #[serde(skip_serializing_if = "is_default")]
    pub vertical_flip: bool,
    /// Images are turned by up to this many degrees either way.
    #[serde(skip_serializing_if = "is_default")]
    pub rotate: f64,
    /// Images are enlarged or shrunk by a factor of up to 1 + this.
    #[serde(skip_serializing_if = "is_default")]
    pub scale: f64,
    /// Up to this is added to the normalised values, or taken from them.
    #[serde(skip_serializing_if = "is_default")]
    pub brightness: f64,
    /// The normalised values are multiplied by 1 - this to 1 + this.
    #[serde(skip_serializing_if = "is_default")]
    pub contrast: f64,
    /// Side of a square that is blanked out, around a pixel anywhere in the image.
    #[serde(skip_serializing_if = "is_default")]
    pub cutout: usize,
    /// Mixup: pairs of images and their labels are averaged with a share from Beta(mixup, mixup).
    #[serde(skip_serializing_if = "is_default")]
    pub mixup: f64,
    /// CutMix: a rectangle comes from another image, with its share of the label; its area is from Beta(cutmix, cutmix).
    #[serde(skip_serializing_if = "is_default")]
    pub cutmix: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Augmentation {
    /// Whether every image is shown as it is.
    pub fn is_none(&self) -> bool {
        *self == Augmentation::default()
    }

    /// Checks every number.
    pub(super) fn check(&self) -> Result<()> {
        const FARTHEST: usize = 4096;
        for (what, pixels) in [("crop", self.crop), ("cutout", self.cutout)] {
            if pixels > FARTHEST {
                return Err(Error::invalid(what, format!("0 to {FARTHEST} pixels"), pixels));
            }
        }
        for (what, number, most) in [
            ("rotate", self.rotate, 180.0),
            ("scale", self.scale, 10.0),
            ("brightness", self.brightness, 10.0),
            ("contrast", self.contrast, 1.0),
            ("mixup", self.mixup, 1e3),
            ("cutmix", self.cutmix, 1e3),
        ] {
            if !(0.0..=most).contains(&number) {
                return Err(Error::invalid(what, format!("0 to {most}"), number));
            }
        }
        Ok(())
    }

    pub(super) fn mixes(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// What a plan has to do for it; `None` if images stay as they are.
    pub(super) fn options(&self) -> Option<AugmentOptions> {
        let changes = Augmentation { padding: Padding::default(), ..self.clone() } != Augmentation::default();
        changes.then(|| AugmentOptions { padding: self.padding, mixes: self.mixes() })
    }

    /// The table of moves for an epoch, counted from 0, that shows the images of these `rows`, of a dataset's `all`, in this
    /// order and in batches of this size.
    pub(super) fn moves(
        &self,
        rows: &[u32],
        all: usize,
        batch_size: usize,
        image: ImageShape,
        seed: u64,
        epoch: usize,
    ) -> Vec<f32> {
        let stream = |stream: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            rng
        };
        // Streams of their own, distinct from those of the epochs' orders and of the initial weights.
        let mut rng = stream((2 << 32) + epoch as u64);
        let mirrored: Vec<bool> = match self.flip {
            Flip::Alternating => {
                let mut rng = stream(3 << 32);
                (0..all).map(|_| rng.random::<bool>() ^ (epoch % 2 == 1)).collect()
            }
            Flip::None | Flip::Random => Vec::new(),
        };
        let moves = rows.iter().flat_map(|&row| {
            let is_mirrored = match self.flip {
                Flip::None => false,
                Flip::Random => rng.random(),
                Flip::Alternating => mirrored[row as usize],
            };
            self.draw(&mut rng, is_mirrored, batch_size, image).to_row()
        });
        moves.collect()
    }

    fn draw(&self, rng: &mut ChaCha8Rng, is_mirrored: bool, batch_size: usize, image: ImageShape) -> Move {
        let mut within = |most: f64| if most > 0.0 { rng.random_range(-most..=most) } else { 0.0 };
        let angle = within(self.rotate).to_radians();
        let zoom = libm::pow(1.0 + self.scale, within(f64::from(u8::from(self.scale > 0.0))));
        let (offset, gain) = (within(self.brightness) as f32, 1.0 + within(self.contrast) as f32);
        let shift = self.crop as i64;
        let mut pixels = || if shift > 0 { rng.random_range(-shift..=shift) as f64 } else { 0.0 };
        let shifts = [pixels(), pixels()];
        let is_upside_down = self.vertical_flip && rng.random();
        let (row, column) = shown_at(image, angle, zoom, shifts, [is_upside_down, is_mirrored]);
        let mut centre = || [rng.random_range(0..image.height), rng.random_range(0..image.width)];
        let cut = match self.cutout {
            0 => Rectangle::default(),
            side => rectangle(centre(), [side, side], image),
        };
        let varied = Move { row, column, gain, offset, cut, ..Move::NONE };
        if !self.mixes() {
            return varied;
        }
        let partner = rng.random_range(0..batch_size) as f32;
        let is_patch = self.cutmix > 0.0 && (self.mixup == 0.0 || rng.random());
        let alpha = if is_patch { self.cutmix } else { self.mixup };
        let share = Beta::new(alpha, alpha).expect("positive parameters").sample(rng);
        // Of the image that is mixed in, the smaller part: the target that counts as correct is the larger one's.
        let share = share.min(1.0 - share);
        if !is_patch {
            let share = share as f32;
            return Move { partner, outside: share, label_share: share, ..varied };
        }
        let side = |size: usize| (size as f64 * share.sqrt()).round() as usize;
        let centre = [rng.random_range(0..image.height), rng.random_range(0..image.width)];
        let patch = rectangle(centre, [side(image.height), side(image.width)], image);
        let area = (patch.bottom - patch.top) * (patch.right - patch.left);
        let label_share = area / (image.height * image.width) as f32;
        Move { partner, patch, inside: 1.0, label_share, ..varied }
    }
}

/// Coefficients of the place that is shown at (y, x) of an image that was turned about its middle, enlarged, moved and then
/// mirrored along its axes.
fn shown_at(
    image: ImageShape,
    angle: f64,
    zoom: f64,
    shifts: [f64; 2],
    mirrored: [bool; 2],
) -> ([f32; 3], [f32; 3]) {
    let middle = [image.height, image.width].map(|size| (size as f64 - 1.0) / 2.0);
    let signs = mirrored.map(|mirrored| if mirrored { -1.0 } else { 1.0 });
    // Functions of libm, since those of std differ between platforms.
    let (sin, cos) = libm::sincos(angle);
    let coefficients = |axis: usize, turn: [f64; 2]| {
        let [a, b] = [turn[0] * signs[0] / zoom, turn[1] * signs[1] / zoom];
        [a, b, middle[axis] + shifts[axis] - a * middle[0] - b * middle[1]].map(|value| value as f32)
    };
    (coefficients(0, [cos, -sin]), coefficients(1, [sin, cos]))
}

/// The rectangle of this height and width around a pixel, as far as it lies in the image.
fn rectangle(centre: [usize; 2], size: [usize; 2], image: ImageShape) -> Rectangle {
    let side = |axis: usize, length: usize| {
        let first = centre[axis] as i64 - (size[axis] / 2) as i64;
        [first, first + size[axis] as i64].map(|end| end.clamp(0, length as i64) as f32)
    };
    let ([top, bottom], [left, right]) = (side(0, image.height), side(1, image.width));
    Rectangle { top, left, bottom, right }
}

impl FromStr for Augmentation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        const WHAT: &str = "augmentation";
        if text.trim() == "none" {
            return Ok(Augmentation::default());
        }
        let mut table = toml::Table::new();
        for part in text.split(',').map(str::trim) {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim()),
                None if part == "flip" => (part, "random"),
                None => (part, "true"),
            };
            let number = value.parse::<i64>().map(toml::Value::from);
            let number = number.or_else(|_| value.parse::<f64>().map(toml::Value::from));
            let value = number.ok().or_else(|| value.parse::<bool>().ok().map(toml::Value::from));
            let value = value.unwrap_or_else(|| {
                toml::Value::from(part.split_once('=').map_or("random", |(_, value)| value.trim()))
            });
            if table.insert(name.into(), value).is_some() {
                return Err(Error::invalid(WHAT, "each name once", format!("{name:?} twice")));
            }
        }
        let augmentation: Augmentation = table.try_into().map_err(|error: toml::de::Error| {
            let found = error.message().lines().next().unwrap_or_default().to_owned();
            Error::invalid(WHAT, "a list such as crop=4,flip,cutout=8", format!("{text:?}: {found}"))
        })?;
        augmentation.check()?;
        Ok(augmentation)
    }
}

impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = toml::Table::try_from(self).expect("plain data");
        let value = |value: &toml::Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let parts: Vec<String> =
            table.iter().map(|(name, found)| format!("{name}={}", value(found))).collect();
        f.write_str(if parts.is_empty() { "none".into() } else { parts.join(",") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: ImageShape = ImageShape { height: 5, width: 8, channels: 1 };

    fn moves(augmentation: &str, epoch: usize) -> Vec<Move> {
        let augmentation: Augmentation = augmentation.parse().unwrap();
        let rows: Vec<u32> = (0..400).rev().collect();
        let table = augmentation.moves(&rows, 400, 16, IMAGE, 7, epoch);
        table.chunks_exact(Move::SIZE).map(Move::from_row).collect()
    }

    /// The place that a move shows at (y, x).
    fn place(m: &Move, y: f32, x: f32) -> [f32; 2] {
        [m.row, m.column].map(|[a, b, c]| a * y + b * x + c)
    }

    #[test]
    fn text_says_what_is_done() {
        let text = "crop=2,padding=reflect,flip=alternating,rotate=10.5,vertical_flip=true,mixup=0.2";
        let augmentation: Augmentation = text.parse().unwrap();
        let expected = Augmentation {
            crop: 2,
            padding: Padding::Reflect,
            flip: Flip::Alternating,
            vertical_flip: true,
            rotate: 10.5,
            mixup: 0.2,
            ..Augmentation::default()
        };
        assert_eq!(augmentation, expected);
        assert_eq!(augmentation.to_string().parse::<Augmentation>().unwrap(), augmentation);
        assert_eq!("flip, vertical_flip".parse::<Augmentation>().unwrap().flip, Flip::Random);
        assert_eq!("none".parse::<Augmentation>().unwrap().options(), None);
        assert_eq!("padding=reflect".parse::<Augmentation>().unwrap().options(), None);
        for (text, culprit) in [
            ("", "unknown field"),
            ("crop=-1", "crop=-1"),
            ("crop", "crop"),
            ("turn=3", "unknown field `turn`"),
            ("crop=1,crop=2", "\"crop\" twice"),
            ("rotate=nan", "rotate: expected 0 to 180, found NaN"),
            ("cutout=5000", "cutout: expected 0 to 4096 pixels, found 5000"),
            ("flip=sideways", "sideways"),
        ] {
            let error = text.parse::<Augmentation>().unwrap_err().to_string();
            assert!(error.contains(culprit) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn crops_and_flips_show_whole_pixels() {
        let seen: std::collections::BTreeSet<Vec<i32>> = moves("crop=1,flip,vertical_flip", 0)
            .iter()
            .map(|m| {
                let corners = [place(m, 0.0, 0.0), place(m, 4.0, 7.0)].concat();
                assert!(corners.iter().all(|corner| corner.fract() == 0.0), "{m:?}");
                corners.into_iter().map(|corner| corner as i32).collect()
            })
            .collect();
        // Nine places, each in four orientations.
        assert_eq!(seen.len(), 36);
        let sides = [-1, 0, 1].map(|shift| [(shift, 4 + shift), (4 + shift, shift)]);
        for corners in seen {
            assert!(sides.iter().flatten().any(|&(first, last)| (corners[0], corners[2]) == (first, last)));
            assert!((corners[1] - corners[3]).abs() == 7, "{corners:?}");
        }
    }

    #[test]
    fn alternating_flips_show_both_sides_of_every_image() {
        let is_mirrored = |m: &Move| m.column[1] == -1.0;
        let [first, second, third] = [0, 1, 2].map(|epoch| moves("flip=alternating", epoch));
        assert!(first.iter().zip(&second).all(|(a, b)| is_mirrored(a) != is_mirrored(b)));
        assert_eq!(first, third);
        let count = first.iter().filter(|m| is_mirrored(m)).count();
        assert!((140..260).contains(&count), "{count}");
        // At random, an epoch differs from the next but one as well.
        assert_ne!(moves("flip", 0), moves("flip", 2));
        assert_eq!(moves("flip", 1), moves("flip", 1));
    }

    #[test]
    fn turning_and_scaling_keep_the_middle() {
        for m in moves("rotate=20,scale=0.5", 3) {
            let [y, x] = place(&m, 2.0, 3.5);
            assert!((y - 2.0).abs() < 1e-5 && (x - 3.5).abs() < 1e-5, "{m:?}");
            let length = m.row[0].hypot(m.row[1]);
            assert!((0.66..1.51).contains(&length), "{m:?}");
            let angle = m.column[0].atan2(m.row[0]).to_degrees();
            assert!(angle.abs() <= 20.001, "{m:?}");
        }
    }

    #[test]
    fn mixed_images_say_whose_pixels_they_show() {
        let mut patches = 0;
        for m in moves("mixup=0.4,cutmix=1", 0) {
            assert!((0.0..16.0).contains(&m.partner) && m.partner.fract() == 0.0);
            assert!((0.0..=0.65).contains(&m.label_share), "{m:?}");
            let area = (m.patch.bottom - m.patch.top) * (m.patch.right - m.patch.left);
            if m.inside == 1.0 {
                patches += 1;
                assert_eq!((m.outside, m.label_share), (0.0, area / 40.0));
            } else {
                assert_eq!((m.inside, area, m.outside), (0.0, 0.0, m.label_share));
            }
        }
        assert!((140..260).contains(&patches), "{patches}");
        for m in moves("cutout=3", 0) {
            let cut = m.cut;
            assert!(cut.top >= 0.0 && cut.left >= 0.0 && cut.bottom <= 5.0 && cut.right <= 8.0);
            assert!((2.0..=3.0).contains(&(cut.bottom - cut.top)), "{cut:?}");
        }
    }
}
