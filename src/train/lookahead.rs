//! Lookahead: weights that now and then return to a slower average of themselves.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Every few steps, slow weights move towards the trained ones, which then continue from there; so do running statistics.
///
/// After step `t`, counted from 1, of a run of `T` steps, if `t` is a multiple of `every`:
///
/// ```text
/// share_kept = kept * (t / T)^power
/// slow = share_kept * slow + (1 - share_kept) * weights
/// weights = slow
/// ```
///
/// After the last step, `weights = slow`.
///
/// As text, it is a list such as `every=5,kept=0.77,power=3`; what is left out is that of [`Lookahead::default`].
///
/// ```
/// use wgconv::train::Lookahead;
///
/// let lookahead: Lookahead = "every=2,kept=0.8,power=1".parse()?;
/// assert_eq!((lookahead.share(1, 8), lookahead.returns(1, 8)), (0.0, false));
/// assert_eq!((lookahead.share(4, 8), lookahead.returns(4, 8)), (1.0 - 0.8 * 0.5, true));
/// # Ok::<(), wgconv::Error>(())
/// ```
///
/// # Source
/// Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back", which keeps half whenever it is; that `kept` rises
/// with the run is from Keller Jordan's airbench, 2024.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lookahead {
    /// Steps from one return to the next.
    pub every: u64,
    /// Share of themselves that the slow weights keep at the end of the run.
    pub kept: f64,
    /// How that share rises: 0 for the same share in the whole run.
    pub power: f64,
}

impl Default for Lookahead {
    /// Every five steps, half.
    fn default() -> Self {
        Lookahead { every: 5, kept: 0.5, power: 0.0 }
    }
}

impl Lookahead {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first that is out of range.
    pub fn check(&self) -> Result<()> {
        if self.every == 0 {
            return Err(Error::invalid("lookahead", "every of at least 1", self.every));
        }
        if !(0.0..1.0).contains(&self.kept) {
            return Err(Error::invalid("lookahead", "kept from 0 to below 1", self.kept));
        }
        match (0.0..=100.0).contains(&self.power) {
            true => Ok(()),
            false => Err(Error::invalid("lookahead", "power from 0 to 100", self.power)),
        }
    }

    /// Share that the slow weights take in after step `t`, counted from 1, of a run of `steps`.
    pub fn share(&self, t: u64, steps: u64) -> f64 {
        match t.is_multiple_of(self.every) {
            true => 1.0 - self.kept * libm::pow((t as f64 / steps as f64).min(1.0), self.power),
            false => 0.0,
        }
    }

    /// Whether the weights return to the slow ones after step `t`.
    pub fn returns(&self, t: u64, steps: u64) -> bool {
        t.is_multiple_of(self.every) || t == steps
    }
}

impl FromStr for Lookahead {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for another form, and for numbers out of range.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |found: &dyn std::fmt::Display| {
            Error::invalid(
                "lookahead",
                "a list such as every=5,kept=0.5,power=0",
                format!("{text:?}: {found}"),
            )
        };
        let mut lookahead = Lookahead::default();
        for part in text.split(',').map(str::trim) {
            let (key, value) = part.split_once('=').ok_or_else(|| wrong(&part))?;
            let is_read = match key {
                "every" => value.parse().map(|every| lookahead.every = every).is_ok(),
                "kept" => value.parse().map(|kept| lookahead.kept = kept).is_ok(),
                "power" => value.parse().map(|power| lookahead.power = power).is_ok(),
                _ => false,
            };
            if !is_read {
                return Err(wrong(&part));
            }
        }
        lookahead.check()?;
        Ok(lookahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_kept_rises_with_the_run() {
        // Of airbench: 0.95^5 (t / T)^3 every fifth step, and all at the end.
        let lookahead = Lookahead { every: 5, kept: 0.95f64.powi(5), power: 3.0 };
        for t in 1..=48u64 {
            let share = if t % 5 == 0 { 1.0 - 0.95f64.powi(5) * (t as f64 / 48.0).powi(3) } else { 0.0 };
            assert!((lookahead.share(t, 48) - share).abs() < 1e-15, "{t}");
            assert_eq!(lookahead.returns(t, 48), t % 5 == 0 || t == 48, "{t}");
        }
        assert_eq!(Lookahead::default().share(5, 100), 0.5);
    }

    #[test]
    fn lists_are_read_and_checked() {
        let read = |text: &str| text.parse::<Lookahead>().map_err(|error| error.to_string());
        assert_eq!(read("every=6"), Ok(Lookahead { every: 6, ..Lookahead::default() }));
        assert_eq!(read("every=0").unwrap_err(), "lookahead: expected every of at least 1, found 0");
        assert_eq!(read("kept=1").unwrap_err(), "lookahead: expected kept from 0 to below 1, found 1");
        for (text, found) in
            [("", ""), ("every", "every"), ("every=5,much=2", "much=2"), ("every=-1", "every=-1")]
        {
            let expected = "lookahead: expected a list such as every=5,kept=0.5,power=0, found";
            assert_eq!(read(text).unwrap_err(), format!("{expected} {text:?}: {found}"));
        }
        assert!(read("kept=nan").is_err() && read("power=inf").is_err());
    }
}
