//! A colour, as people write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An opaque colour: red, green and blue, 0 to 255.
///
/// As text it is `white`, `black`, or `#rrggbb`.
///
/// ```
/// use wgconv::data::Colour;
///
/// assert_eq!("white".parse::<Colour>()?, Colour::WHITE);
/// assert_eq!("#1a2B3c".parse::<Colour>()?, Colour([0x1a, 0x2b, 0x3c]));
/// assert_eq!(Colour([0, 0, 255]).to_string(), "#0000ff");
/// # Ok::<(), wgconv::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// White.
    pub const WHITE: Colour = Colour([255; 3]);
    /// Black.
    pub const BLACK: Colour = Colour([0; 3]);

    /// Whether the colour is a shade of grey.
    pub fn is_grey(self) -> bool {
        let Colour([red, green, blue]) = self;
        red == green && green == blue
    }
}

/// White.
impl Default for Colour {
    fn default() -> Self {
        Colour::WHITE
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Colour::WHITE => f.write_str("white"),
            Colour::BLACK => f.write_str("black"),
            Colour([red, green, blue]) => write!(f, "#{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

impl FromStr for Colour {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (text, digits.map(|digits| u32::from_str_radix(digits, 16))) {
            ("white", _) => Ok(Colour::WHITE),
            ("black", _) => Ok(Colour::BLACK),
            (_, Some(Ok(number))) => {
                let [_, red, green, blue] = number.to_be_bytes();
                Ok(Colour([red, green, blue]))
            }
            _ => Err(Error::invalid("colour", "white, black or #rrggbb", format!("{text:?}"))),
        }
    }
}

impl TryFrom<String> for Colour {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        colour.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_colour_is_refused() {
        for text in ["", "#", "red-ish", "#12345", "#1234567", "#12345g", "#+12345", "#é2345"] {
            let error = text.parse::<Colour>().unwrap_err().to_string();
            assert_eq!(error, format!("colour: expected white, black or #rrggbb, found {text:?}"));
        }
    }

    #[test]
    fn a_colour_survives_as_text() {
        for colour in [Colour::WHITE, Colour::BLACK, Colour([1, 0, 254])] {
            assert_eq!(colour.to_string().parse::<Colour>().unwrap(), colour);
        }
    }
}
