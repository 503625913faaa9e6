//! A TOML table read key by key: whatever is unknown, missing or wrong is an error of one line.

use ::toml::{Table, Value};

use crate::network::Initialiser;
use crate::ops::window::Padding;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// The keys of the model, or of one layer.
pub(super) struct Keys {
    /// Position and type; none for the model itself.
    layer: Option<String>,
    table: Table,
}

/// How to read a value, or what it should have been.
type Read<T> = fn(&Value) -> Result<T, String>;

const MAX_SIZE: i64 = i32::MAX as i64;

impl Keys {
    /// The model's own keys, all of them among `allowed`.
    pub fn of_model(table: Table, allowed: &[&str]) -> Result<Keys> {
        Keys { layer: None, table }.checked(allowed)
    }

    /// The keys of the layer at `position`, all of them among `allowed`.
    pub fn of_layer(position: usize, type_name: &str, table: Table, allowed: &[&str]) -> Result<Keys> {
        Keys { layer: Some(format!("{position} ({type_name})")), table }.checked(allowed)
    }

    fn checked(self, allowed: &[&str]) -> Result<Keys> {
        match self.table.keys().find(|key| !allowed.contains(&key.as_str())) {
            Some(key) => {
                let found = format!("key `{}`", key.escape_debug());
                Err(self.error(format!("keys among {}", allowed.join(", ")), found))
            }
            None => Ok(self),
        }
    }

    /// The value of `key`, which must be there.
    pub fn required<T>(&mut self, key: &str, read: Read<T>) -> Result<T> {
        self.optional(key, read)?.ok_or_else(|| self.error(format!("key `{key}`"), "none".into()))
    }

    /// The value of `key`, where it is there.
    pub fn optional<T>(&mut self, key: &str, read: Read<T>) -> Result<Option<T>> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        match read(&value) {
            Ok(value) => Ok(Some(value)),
            Err(expected) => Err(self.error(format!("`{key}` to be {expected}"), describe(&value))),
        }
    }

    fn error(&self, expected: String, found: String) -> Error {
        match &self.layer {
            Some(layer) => Error::layer(layer, expected, found),
            None => Error::invalid("model", expected, found),
        }
    }

    /// Reads a string.
    pub fn text(value: &Value) -> Result<String, String> {
        value.as_str().map(str::to_owned).ok_or("a string".into())
    }

    /// Reads a list of strings.
    pub fn texts(value: &Value) -> Result<Vec<String>, String> {
        let texts = value.as_array().and_then(|values| values.iter().map(|v| Self::text(v).ok()).collect());
        texts.ok_or("a list of strings".into())
    }

    /// Reads `true` or `false`.
    pub fn boolean(value: &Value) -> Result<bool, String> {
        value.as_bool().ok_or("true or false".into())
    }

    /// Reads a number.
    pub fn number(value: &Value) -> Result<f32, String> {
        let number = value.as_float().or(value.as_integer().map(|integer| integer as f64));
        number.map(|number| number as f32).ok_or("a number".into())
    }

    /// Reads a size of at least 1.
    pub fn size(value: &Value) -> Result<usize, String> {
        size_from(1, value).ok_or(format!("an integer from 1 to {MAX_SIZE}"))
    }

    /// Reads one size for both axes, or [height, width].
    pub fn pair(value: &Value) -> Result<[usize; 2], String> {
        let pair = size_from(1, value).map(|size| [size; 2]).or_else(|| sizes_from(1, value));
        pair.ok_or(format!("an integer from 1 to {MAX_SIZE}, or [height, width]"))
    }

    /// Reads a padding.
    pub fn padding(value: &Value) -> Result<Padding, String> {
        let sides = || {
            let [top, bottom, left, right] = sizes_from(0, value)?;
            Some(Padding::Sides { top, bottom, left, right })
        };
        let padding = match value.as_str() {
            Some("same") => Some(Padding::Same),
            Some("valid") => Some(Padding::Valid),
            Some(_) => None,
            None => size_from(0, value)
                .map(|size| [size; 2])
                .or_else(|| sizes_from(0, value))
                .map(Padding::Symmetric)
                .or_else(sides),
        };
        let list = "[height, width] or [top, bottom, left, right]";
        padding.ok_or(format!("\"same\", \"valid\", an integer from 0 to {MAX_SIZE}, {list}"))
    }

    /// Reads an initialiser's name, or a constant.
    pub fn initialiser(value: &Value) -> Result<Initialiser, String> {
        if let Ok(constant) = Self::number(value) {
            return Ok(Initialiser::Constant(constant));
        }
        let named = Initialiser::NAMED.into_iter().find(|named| value.as_str() == Some(named.name()));
        named.ok_or_else(|| format!("{} or a number", Initialiser::NAMED.map(Initialiser::name).join(", ")))
    }

    /// Reads [channels, height, width].
    pub fn image(value: &Value) -> Result<ImageShape, String> {
        let sizes = sizes_from(1, value);
        sizes
            .map(|[channels, height, width]| ImageShape { height, width, channels })
            .ok_or(format!("[channels, height, width], integers from 1 to {MAX_SIZE}"))
    }

    /// Reads a list of tables.
    pub fn tables(value: &Value) -> Result<Vec<Table>, String> {
        let tables =
            value.as_array().and_then(|values| values.iter().map(|v| v.as_table().cloned()).collect());
        tables.ok_or("a list of tables, each starting with [[layers]]".into())
    }
}

fn size_from(least: i64, value: &Value) -> Option<usize> {
    value.as_integer().filter(|size| (least..=MAX_SIZE).contains(size)).map(|size| size as usize)
}

fn sizes_from<const N: usize>(least: i64, value: &Value) -> Option<[usize; N]> {
    let sizes: Option<Vec<usize>> = value.as_array()?.iter().map(|value| size_from(least, value)).collect();
    sizes?.try_into().ok()
}

/// A value on one short line.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(values) if values.len() <= 4 => {
            format!("[{}]", values.iter().map(describe).collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Table(_) => "a table".into(),
        value => value.to_string(),
    }
}
