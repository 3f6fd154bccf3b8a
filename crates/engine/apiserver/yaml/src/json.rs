//! Values of YAML to values of JSON.

use serde_json::{Map, Number, Value};

use crate::Error;
use crate::construct::Native;
use crate::key::{self, Key};
use crate::number::{format_float, whole};

/// The value that JSON has for a value of YAML.
pub(crate) fn from_native(value: Native) -> Result<Value, Error> {
    Ok(match value {
        Native::Null => Value::Null,
        Native::Bool(value) => value.into(),
        Native::Int(value) => value.into(),
        Native::Uint(value) => value.into(),
        Native::Float(value) => from_float(value)?,
        Native::Text(text) => text.into(),
        Native::List(items) => items
            .into_iter()
            .map(from_native)
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        Native::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match key {
                    Key::Text(text) => text,
                    Key::Int(value) => value.to_string(),
                    Key::Bool(value) => value.to_string(),
                    // Keys have the precision of 32 bits.
                    Key::Float(bits) => format_float(&format!("{:e}", f64::from_bits(bits) as f32)),
                    Key::Null => return Err(unsupported("%!s(<nil>)", &key, &value)),
                    Key::Uint(_) => return Err(unsupported("uint64", &key, &value)),
                };
                map.insert(key, from_native(value)?);
            }
            Value::Object(map)
        }
    })
}

fn unsupported(kind: &'static str, key: &Key, value: &Native) -> Error {
    Error::Key {
        kind,
        key: key.show(),
        value: key::show(value),
    }
}

/// A number; one without a fraction is an integer if it fits, since JSON writes both alike.
fn from_float(value: f64) -> Result<Value, Error> {
    if let Some(integer) = whole(value).and_then(|text| text.parse::<i64>().ok()) {
        return Ok(integer.into());
    }
    match Number::from_f64(value) {
        Some(number) => Ok(number.into()),
        None if value.is_nan() => Err(Error::Number("NaN")),
        None if value > 0.0 => Err(Error::Number("+Inf")),
        None => Err(Error::Number("-Inf")),
    }
}
