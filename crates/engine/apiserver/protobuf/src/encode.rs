//! JSON values to protobuf.

use data_encoding::BASE64;
use serde_json::{Map, Value};

use crate::envelope;
use crate::error::EncodeError;
use crate::table::{Field, Form, Kind, MessageId, Mode, Shape, Table};
use crate::wire::{FIXED64, put_bytes, put_nested, put_number, put_tag};

/// Writes an object, with its envelope. `apiVersion` and `kind` say what it is; members that its message doesn't have are
/// left out, as a typed encoder leaves them out.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(1024);
    put_object(&mut out, object)?;
    Ok(out)
}

/// Appends an object with its envelope.
pub(crate) fn put_object(out: &mut Vec<u8>, object: &Value) -> Result<(), EncodeError> {
    let Value::Object(map) = object else {
        return Err(EncodeError::unexpected("an object", object));
    };
    let text = |member: &str| map.get(member).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.is_empty() || kind.is_empty() {
        return Err(EncodeError::NoKind);
    }
    let table = Table::get();
    let Some(id) = table.kind(api_version, kind) else {
        return Err(EncodeError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        });
    };
    let encoder = Encoder { table };
    envelope::put(out, api_version, kind, |out| encoder.fields(id, map, out))
}

pub(crate) struct Encoder {
    table: &'static Table,
}

impl Encoder {
    /// Appends the fields of a message, in the order of their numbers.
    pub(crate) fn fields(
        &self,
        id: MessageId,
        object: &Map<String, Value>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        for field in &self.table.message(id).fields {
            let put = match (field.mode, field.kind) {
                (Mode::Inline, Kind::Message(inlined)) => {
                    put_nested(out, field.number, |out| self.fields(inlined, object, out))?;
                    continue;
                }
                _ => match (object.get(field.name), field.shape) {
                    (None | Some(Value::Null), Shape::One) if field.mode == Mode::Pointer => Ok(()),
                    (None | Some(Value::Null), Shape::One) => self.zero(field, out),
                    (None | Some(Value::Null), _) => Ok(()),
                    (Some(value), Shape::One) => self.value(field, field.number, value, out),
                    (Some(value), Shape::List) => self.list(field, value, out),
                    (Some(value), Shape::Map) => self.map(field, value, out),
                },
            };
            put.map_err(|error| error.within(field.name))?;
        }
        Ok(())
    }

    fn list(&self, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Value::Array(items) = value else {
            return Err(EncodeError::unexpected("a list", value));
        };
        for (at, item) in items.iter().enumerate() {
            self.value(field, field.number, item, out)
                .map_err(|error| error.within(&at.to_string()))?;
        }
        Ok(())
    }

    /// A map is a list of entries, sorted by key.
    fn map(&self, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Value::Object(map) = value else {
            return Err(EncodeError::unexpected("a map", value));
        };
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in entries {
            put_nested(out, field.number, |out| {
                put_bytes(out, 1, key.as_bytes());
                match (value, field.kind) {
                    (Value::Null, Kind::Bytes) => Ok(()),
                    _ => self.value(field, 2, value, out),
                }
            })
            .map_err(|error| error.within(key))?;
        }
        Ok(())
    }

    /// What upstream's generated code writes for a field that was never set.
    fn zero(&self, field: &Field, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match field.kind {
            Kind::Bytes => Ok(()),
            Kind::Message(id) if self.table.message(id).form == Form::Items => Ok(()),
            _ => self.value(field, field.number, &Value::Null, out),
        }
    }

    /// One value; null is zero.
    fn value(&self, field: &Field, number: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let unexpected = |expected| EncodeError::unexpected(expected, value);
        match (field.kind, value) {
            (Kind::String | Kind::Bytes, Value::Null) => put_bytes(out, number, &[]),
            (Kind::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
            (Kind::String, _) => return Err(unexpected("text")),
            (Kind::Bytes, Value::String(text)) => {
                let bytes = BASE64.decode(text.as_bytes()).map_err(|_| unexpected("base64"))?;
                put_bytes(out, number, &bytes);
            }
            (Kind::Bytes, _) => return Err(unexpected("base64")),
            (Kind::Bool, value) => {
                let truth = match value {
                    Value::Null => false,
                    value => value.as_bool().ok_or_else(|| unexpected("a boolean"))?,
                };
                put_number(out, number, u64::from(truth));
            }
            (Kind::Int32 | Kind::Int64, value) => {
                let integer = match value {
                    Value::Null => 0,
                    value => value.as_i64().ok_or_else(|| unexpected("a whole number"))?,
                };
                if field.kind == Kind::Int32 && i32::try_from(integer).is_err() {
                    return Err(unexpected("a whole number of 32 bits"));
                }
                put_number(out, number, integer as u64);
            }
            (Kind::Double, value) => {
                let double = match value {
                    Value::Null => 0.0,
                    value => value.as_f64().ok_or_else(|| unexpected("a number"))?,
                };
                put_tag(out, number, FIXED64);
                out.extend_from_slice(&double.to_bits().to_le_bytes());
            }
            (Kind::Message(id), value) => put_nested(out, number, |out| self.message(id, value, out))?,
        }
        Ok(())
    }

    fn message(&self, id: MessageId, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let message = self.table.message(id);
        match (message.form, value) {
            (Form::Custom(custom), value) => custom.encode(self, message, value, out),
            (Form::Items, Value::Null) => Ok(()),
            (Form::Items, value) => message.fields.iter().try_for_each(|field| self.list(field, value, out)),
            (Form::Fields, Value::Object(map)) => self.fields(id, map, out),
            (Form::Fields, Value::Null) => self.fields(id, &Map::new(), out),
            (Form::Fields, value) => Err(EncodeError::unexpected("an object", value)),
        }
    }
}
