//! The keys of model files: tables are read key by key, and an unknown, missing or wrong key is an error of one line;
//! and how values are written.

use std::fmt;

use ::toml::{Table, Value};

use super::Initialiser;
use super::builder::Draft;
use super::file::drafts;
use crate::ops::window::Padding;
use crate::tensor::ImageShape;
use crate::{Error, Result};

/// The keys of the model, or of one layer.
pub(crate) struct Keys {
    /// The layer's position and type; `None` for the model itself.
    layer: Option<(Position, String)>,
    table: Table,
}

/// The position of a layer among its neighbours, counted from 1, after the positions of the enclosing blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Position(Vec<usize>);

impl Position {
    /// The position of the layer of this number in the block at this position.
    pub fn inner(&self, number: usize) -> Position {
        Position([&self.0[..], &[number]].concat())
    }
}

/// `3`, or `3.1` for the first layer of a block in position 3.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Reads a value, or says what was expected.
type Read<T> = fn(&Value) -> Result<T, String>;

const MAX_SIZE: i64 = i32::MAX as i64;

impl Keys {
    /// The model's own keys, all of which must be among `allowed`.
    pub(super) fn of_model(table: Table, allowed: &[&str]) -> Result<Keys> {
        Keys { layer: None, table }.checked(allowed)
    }

    /// The keys of the layer at `position`, all of which must be among `allowed`.
    pub(super) fn of_layer(
        position: Position,
        type_name: &str,
        table: Table,
        allowed: &[&str],
    ) -> Result<Keys> {
        Keys { layer: Some((position, type_name.into())), table }.checked(allowed)
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

    /// The value of `key`, which is required.
    pub fn required<T>(&mut self, key: &str, read: Read<T>) -> Result<T> {
        self.optional(key, read)?.ok_or_else(|| self.error(format!("key `{key}`"), "none".into()))
    }

    /// The value of `key`, if it is present.
    pub fn optional<T>(&mut self, key: &str, read: Read<T>) -> Result<Option<T>> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        match read(&value) {
            Ok(value) => Ok(Some(value)),
            Err(expected) => Err(self.error(format!("`{key}` to be {expected}"), describe(&value))),
        }
    }

    /// An error about these keys.
    pub fn error(&self, expected: String, found: String) -> Error {
        match &self.layer {
            Some((position, name)) => Error::layer(format!("{position} ({name})"), expected, found),
            None => Error::invalid("model", expected, found),
        }
    }

    /// The layers that a block's tables describe.
    pub fn drafts(&self, tables: Vec<Table>) -> Result<Vec<Draft>> {
        drafts(&self.layer.as_ref().map_or_else(Position::default, |(position, _)| position.clone()), tables)
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

    /// Reads a number of repetitions.
    pub fn repeats(value: &Value) -> Result<usize, String> {
        const MOST: usize = 1000;
        size_from(1, value).filter(|&times| times <= MOST).ok_or(format!("an integer from 1 to {MOST}"))
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

/// One size if both are equal, otherwise [height, width].
pub(crate) fn pair([height, width]: [usize; 2]) -> Value {
    match height == width {
        true => (height as i64).into(),
        false => vec![height as i64, width as i64].into(),
    }
}

/// The shortest decimal that reads back as the same f32.
pub(crate) fn number(value: f32) -> Value {
    let shortest: f64 = format!("{value:?}").parse().expect("a number that was just printed");
    shortest.into()
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
