//! Numbers of the types that array files hold, as pixels and as labels.

use std::path::Path;

use super::dataset::byte;
use crate::{Error, Result};

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

/// How an array's elements are stored.
///
/// As pixels, integers from 0 to 255 are taken as they are, and floating-point numbers from 0 (black) to 1 (white) are
/// multiplied by 255 and rounded; others are refused, since nothing says what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Elements {
    pub kind: ElementType,
    pub is_big_endian: bool,
}

impl Elements {
    /// The type that NumPy calls `name`, as in `<i4`; `None` for others than numbers.
    pub fn of_numpy(name: &str) -> Option<Elements> {
        use ElementType::*;
        let (order, name) = name.split_at_checked(1)?;
        let kind = match name {
            "u1" | "b1" => U8,
            "i1" => I8,
            "u2" => U16,
            "i2" => I16,
            "u4" => U32,
            "i4" => I32,
            "u8" => U64,
            "i8" => I64,
            "f4" => F32,
            "f8" => F64,
            _ => return None,
        };
        let is_big_endian = match order {
            ">" => true,
            "<" => false,
            "|" if matches!(kind, U8 | I8) => false,
            _ => return None,
        };
        Some(Elements { kind, is_big_endian })
    }

    /// The type that an IDX file's third byte stands for.
    pub fn of_idx(code: u8) -> Option<Elements> {
        use ElementType::*;
        let kind = match code {
            0x08 => U8,
            0x09 => I8,
            0x0b => I16,
            0x0c => I32,
            0x0d => F32,
            0x0e => F64,
            _ => return None,
        };
        Some(Elements { kind, is_big_endian: true })
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        use ElementType::*;
        match self.kind {
            U8 | I8 => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 => 8,
        }
    }

    /// Whether the elements are integers.
    pub fn are_integers(self) -> bool {
        !matches!(self.kind, ElementType::F32 | ElementType::F64)
    }

    /// The elements as pixels.
    ///
    /// # Errors
    /// [`Error::File`] for a value that is no pixel.
    pub fn to_bytes(self, path: &Path, data: Vec<u8>) -> Result<Vec<u8>> {
        if self.kind == ElementType::U8 {
            return Ok(data);
        }
        let pixel = |element: &[u8]| -> Result<u8> {
            if self.are_integers() {
                let value = self.integer(element);
                return u8::try_from(value)
                    .map_err(|_| Error::file(path, "integer pixels from 0 to 255", value));
            }
            match self.float(element) {
                value if (0.0..=1.0).contains(&value) => Ok(byte(value)),
                value => Err(Error::file(path, "floating-point pixels from 0 to 1", value)),
            }
        };
        data.chunks_exact(self.bytes()).map(pixel).collect()
    }

    /// The elements as labels.
    ///
    /// # Errors
    /// [`Error::File`] for a value that is no label.
    pub fn to_labels(self, path: &Path, data: &[u8]) -> Result<Vec<u32>> {
        if !self.are_integers() {
            return Err(Error::file(path, "labels that are integers", "floating-point numbers"));
        }
        let label = |element: &[u8]| {
            let value = self.integer(element);
            let label = u32::try_from(value).ok().filter(|&label| label < MOST_CLASSES);
            label.ok_or_else(|| Error::file(path, format!("labels from 0 to below {MOST_CLASSES}"), value))
        };
        data.chunks_exact(self.bytes()).map(label).collect()
    }

    fn integer(self, element: &[u8]) -> i128 {
        use ElementType::*;
        // The bytes of a wider number, the least significant ones first.
        let is_negative = matches!(self.kind, I8 | I16 | I32 | I64)
            && element[if self.is_big_endian { 0 } else { element.len() - 1 }] >= 0x80;
        let mut wide = [if is_negative { 0xff } else { 0 }; 16];
        for (place, &byte) in element.iter().enumerate() {
            wide[if self.is_big_endian { element.len() - 1 - place } else { place }] = byte;
        }
        i128::from_le_bytes(wide)
    }

    fn float(self, element: &[u8]) -> f64 {
        let bits = self.integer(element);
        match self.kind {
            ElementType::F32 => f32::from_bits(bits as u32).into(),
            _ => f64::from_bits(bits as u64),
        }
    }
}

/// The most classes that labels may name: more than any dataset has, and few enough to have a name each.
pub(super) const MOST_CLASSES: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(name: &str, data: &[u8]) -> Result<Vec<u8>, String> {
        let elements = Elements::of_numpy(name).expect(name);
        elements.to_bytes(Path::new("a"), data.to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_of_every_type_become_pixels() {
        assert_eq!(pixels("|u1", &[0, 7, 255]).unwrap(), [0, 7, 255]);
        assert_eq!(pixels("|i1", &[0, 127]).unwrap(), [0, 127]);
        for name in ["i2", "u2", "i4", "u4", "i8", "u8"] {
            let size: usize = name[1..].parse().unwrap();
            let mut little = vec![0; 2 * size];
            (little[0], little[size]) = (200, 3);
            assert_eq!(pixels(&format!("<{name}"), &little).unwrap(), [200, 3]);
            little.reverse();
            assert_eq!(pixels(&format!(">{name}"), &little).unwrap(), [3, 200]);
        }
        let values = [0.0f32, 1.0, 0.5];
        assert_eq!(pixels("<f4", &values.map(f32::to_le_bytes).concat()).unwrap(), [0, 255, 128]);
        assert_eq!(
            pixels(">f8", &values.map(|v| f64::from(v).to_be_bytes()).concat()).unwrap(),
            [0, 255, 128]
        );
    }

    #[test]
    fn what_is_no_pixel_is_refused() {
        assert_eq!(pixels("|i1", &[0xff]).unwrap_err(), "a: expected integer pixels from 0 to 255, found -1");
        let beyond = pixels("<u2", &[0, 1]).unwrap_err();
        assert_eq!(beyond, "a: expected integer pixels from 0 to 255, found 256");
        let beyond = pixels("<u8", &[0xff; 8]).unwrap_err();
        assert_eq!(beyond, format!("a: expected integer pixels from 0 to 255, found {}", u64::MAX));
        for value in [-0.5f32, 1.5, f32::NAN, f32::INFINITY] {
            let error = pixels("<f4", &value.to_le_bytes()).unwrap_err();
            assert_eq!(error, format!("a: expected floating-point pixels from 0 to 1, found {value}"));
        }
    }

    #[test]
    fn labels_are_small_integers() {
        let labels = |name: &str, data: &[u8]| {
            let elements = Elements::of_numpy(name).expect(name);
            elements.to_labels(Path::new("a"), data).map_err(|error| error.to_string())
        };
        assert_eq!(labels(">i4", &[0, 0, 1, 2]).unwrap(), [258]);
        let expected = "a: expected labels from 0 to below 65536, found -1";
        assert_eq!(labels("<i8", &[0xff; 8]).unwrap_err(), expected);
        assert!(labels("<f4", &[0; 4]).unwrap_err().contains("floating-point"));
        for name in ["", "|", "|O", "<U5", "|i4", "=i4", "é1", "<M8"] {
            assert_eq!(Elements::of_numpy(name), None, "{name}");
        }
    }
}
