//! Protobuf to JSON values.

use data_encoding::BASE64;
use serde_json::{Map, Value};

use crate::envelope::Envelope;
use crate::error::DecodeError;
use crate::table::{Field, Form, Kind, MessageId, Mode, Shape, Table};
use crate::wire::{FIXED64, LENGTH, Reader, VARINT};

/// What decoding may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Levels of objects and lists in the value. JSON parsers of this server and of clients stop at 128.
    pub depth_max: usize,
    /// Estimated memory of the value, in bytes. A few bytes on the wire can be an object of hundreds.
    pub memory_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 112,
            memory_bytes_max: 192 * 1024 * 1024,
        }
    }
}

/// Estimated bytes of a map with its first members.
const OBJECT_BYTES: usize = 640;
/// Estimated bytes of any other value beside its text.
const VALUE_BYTES: usize = 64;

/// Reads an enveloped object. `default` (apiVersion, kind) stands in where the envelope names no kind, as a request's own
/// kind does upstream.
pub fn decode(bytes: &[u8], default: Option<(&str, &str)>) -> Result<Value, DecodeError> {
    decode_with(bytes, default, Limits::default())
}

/// [`decode`] within other limits.
pub fn decode_with(bytes: &[u8], default: Option<(&str, &str)>, limits: Limits) -> Result<Value, DecodeError> {
    let mut decoder = Decoder {
        table: Table::get(),
        limits,
        memory_left: limits.memory_bytes_max,
    };
    decoder.object(bytes, default, 1)
}

pub(crate) struct Decoder {
    table: &'static Table,
    limits: Limits,
    memory_left: usize,
}

impl Decoder {
    /// An enveloped object, whose members are at `depth`.
    pub(crate) fn object(
        &mut self,
        bytes: &[u8],
        default: Option<(&str, &str)>,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let envelope = Envelope::read(bytes)?;
        let (mut api_version, mut kind) = (envelope.api_version, envelope.kind);
        if let Some((default_version, default_kind)) = default {
            if api_version.is_empty() {
                api_version = default_version.to_owned();
            }
            if kind.is_empty() {
                kind = default_kind.to_owned();
            }
        }
        if api_version.is_empty() || kind.is_empty() {
            return Err(DecodeError::NoKind);
        }
        let Some(id) = self.table.kind(&api_version, &kind) else {
            return Err(DecodeError::UnknownKind { api_version, kind });
        };
        self.charge(OBJECT_BYTES)?;
        let mut map = Map::new();
        self.fields(id, envelope.raw, &mut map, depth)?;
        map.insert("apiVersion".into(), api_version.into());
        map.insert("kind".into(), kind.into());
        Ok(Value::Object(map))
    }

    /// The fields of a message, into the object of its members at `depth`.
    fn fields(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        self.descend(depth)?;
        let message = self.table.message(id);
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let (number, wire) = reader.tag()?;
            let Some(field) = message.field(number) else {
                reader.skip(wire)?;
                continue;
            };
            match (field.mode, field.kind) {
                (Mode::Inline, Kind::Message(inlined)) => {
                    expect(wire, LENGTH, field)?;
                    // The same object, but one more frame of recursion.
                    self.fields(inlined, reader.bytes()?, into, depth + 1)?;
                }
                _ => match field.shape {
                    Shape::One => self.one(field, wire, &mut reader, into, depth)?,
                    Shape::List => self.append(field, wire, &mut reader, into, depth)?,
                    Shape::Map => {
                        expect(wire, LENGTH, field)?;
                        self.entry(field, reader.bytes()?, into, depth)?;
                    }
                },
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        field: &Field,
        wire: u8,
        reader: &mut Reader<'_>,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        // A message that comes twice is merged; a scalar is replaced.
        let before = into.remove(field.name);
        let value = self.value(field, wire, reader, before, depth)?;
        let left_out = field.mode == Mode::Omit && is_zero(&value, field.kind, self.table);
        if !value.is_null() && !left_out {
            into.insert(field.name.to_owned(), value);
        }
        Ok(())
    }

    fn append(
        &mut self,
        field: &Field,
        wire: u8,
        reader: &mut Reader<'_>,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let mut more = Vec::new();
        let packed = wire == LENGTH && !matches!(field.kind, Kind::String | Kind::Bytes | Kind::Message(_));
        if packed {
            let mut numbers = Reader::new(reader.bytes()?);
            let wire = if field.kind == Kind::Double { FIXED64 } else { VARINT };
            while !numbers.is_empty() {
                more.push(self.value(field, wire, &mut numbers, None, depth + 1)?);
            }
        } else {
            more.push(self.value(field, wire, reader, None, depth + 1)?);
        }
        match into.get_mut(field.name) {
            Some(Value::Array(items)) => items.append(&mut more),
            _ => {
                self.descend(depth + 1)?;
                self.charge(VALUE_BYTES)?;
                into.insert(field.name.to_owned(), Value::Array(more));
            }
        }
        Ok(())
    }

    /// One entry of a map: field 1 is the key, field 2 the value; either may be missing and is zero then.
    fn entry(
        &mut self,
        field: &Field,
        bytes: &[u8],
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.tag()? {
                (1, LENGTH) => key = String::from_utf8_lossy(reader.bytes()?).into_owned(),
                (2, wire) => value = Some(self.value(field, wire, &mut reader, value.take(), depth + 1)?),
                (_, wire) => reader.skip(wire)?,
            }
        }
        let value = match value {
            Some(value) => value,
            None => match field.kind {
                Kind::Message(_) => self.value(field, LENGTH, &mut Reader::new(&[0]), None, depth + 1)?,
                Kind::String | Kind::Bytes => "".into(),
                Kind::Bool => false.into(),
                Kind::Int32 | Kind::Int64 | Kind::Double => 0.into(),
            },
        };
        self.charge(VALUE_BYTES + key.len())?;
        match into.get_mut(field.name) {
            Some(Value::Object(map)) => {
                map.insert(key, value);
            }
            _ => {
                self.descend(depth + 1)?;
                self.charge(OBJECT_BYTES)?;
                let mut map = Map::new();
                map.insert(key, value);
                into.insert(field.name.to_owned(), Value::Object(map));
            }
        }
        Ok(())
    }

    /// One value, null if it is what JSON has no form for (the zero time). What it holds is below `depth`.
    fn value(
        &mut self,
        field: &Field,
        wire: u8,
        reader: &mut Reader<'_>,
        before: Option<Value>,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        self.charge(VALUE_BYTES)?;
        let want = match field.kind {
            Kind::String | Kind::Bytes | Kind::Message(_) => LENGTH,
            Kind::Bool | Kind::Int32 | Kind::Int64 => VARINT,
            Kind::Double => FIXED64,
        };
        expect(wire, want, field)?;
        Ok(match field.kind {
            Kind::String => {
                let bytes = reader.bytes()?;
                self.charge(bytes.len())?;
                String::from_utf8_lossy(bytes).into()
            }
            Kind::Bytes => {
                let bytes = reader.bytes()?;
                self.charge(bytes.len() / 3 * 4)?;
                BASE64.encode(bytes).into()
            }
            Kind::Bool => (reader.varint()? != 0).into(),
            // A negative number of 32 bits is written with 64: the upper ones are dropped.
            Kind::Int32 => (reader.varint()? as i32).into(),
            Kind::Int64 => (reader.varint()? as i64).into(),
            Kind::Double => double(f64::from_bits(reader.fixed64()?)),
            Kind::Message(id) => self.message(id, reader.bytes()?, before, depth + 1)?,
        })
    }

    /// A message in its JSON form at `depth`.
    pub(crate) fn message(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        before: Option<Value>,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let message = self.table.message(id);
        match message.form {
            Form::Fields => {
                let mut map = match before {
                    Some(Value::Object(map)) => map,
                    _ => {
                        self.charge(OBJECT_BYTES)?;
                        Map::new()
                    }
                };
                self.fields(id, bytes, &mut map, depth)?;
                Ok(Value::Object(map))
            }
            Form::Items => {
                let mut map = Map::new();
                let name = message.fields.first().map_or("", |field| field.name);
                if let Some(before) = before {
                    map.insert(name.to_owned(), before);
                }
                self.fields(id, bytes, &mut map, depth)?;
                Ok(map.remove(name).unwrap_or_else(|| Value::Array(Vec::new())))
            }
            Form::Custom(custom) => custom.decode(self, message, bytes, depth),
        }
    }

    /// JSON that a message carries as bytes.
    pub(crate) fn json(&mut self, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
        self.charge(bytes.len())?;
        let value = serde_json::from_slice(bytes).map_err(|e| DecodeError::Json { reason: e.to_string() })?;
        self.descend(depth + levels(&value))?;
        Ok(value)
    }

    fn descend(&self, depth: usize) -> Result<(), DecodeError> {
        let depth_max = self.limits.depth_max;
        if depth > depth_max {
            return Err(DecodeError::TooDeep { depth_max });
        }
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let memory_bytes_max = self.limits.memory_bytes_max;
        let left = self.memory_left.checked_sub(bytes);
        self.memory_left = left.ok_or(DecodeError::TooLarge { memory_bytes_max })?;
        Ok(())
    }
}

fn expect(wire: u8, want: u8, field: &Field) -> Result<(), DecodeError> {
    if wire == want {
        return Ok(());
    }
    let field = field.name.to_owned();
    Err(DecodeError::WireType { field, wire })
}

/// Levels of objects and lists in a value.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

/// A number as Go's JSON encoder writes it: without a fraction if it has none.
fn double(number: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT_MAX {
        return (number as i64).into();
    }
    // Infinite and not-a-number have no JSON form: they become null and are left out.
    Value::from(number)
}

/// Whether JSON leaves the value out of an object because it is zero.
fn is_zero(value: &Value, kind: Kind, table: &Table) -> bool {
    match (kind, value) {
        (Kind::Message(id), value) => match (table.message(id).form, value) {
            (Form::Custom(custom), value) => custom.is_zero(value),
            (Form::Items, Value::Array(items)) => items.is_empty(),
            // A struct is never left out.
            _ => false,
        },
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Bool(truth)) => !truth,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        _ => false,
    }
}
