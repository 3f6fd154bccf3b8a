//! Messages whose JSON form is not their fields.

use serde_json::{Map, Value};

use crate::decode::Decoder;
use crate::encode::Encoder;
use crate::envelope::MAGIC;
use crate::error::{DecodeError, EncodeError};
use crate::table::{Kind, Message, MessageId};
use crate::timestamp::{self, Precision};
use crate::wire::{LENGTH, Reader, VARINT, put_bytes, put_nested, put_number};

/// How such a message is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Custom {
    /// Seconds and nanoseconds, as RFC 3339 text.
    Time(Precision),
    /// Text in a message.
    Quantity,
    /// A number or a text, and which of them.
    IntOrString,
    /// Any JSON, in bytes.
    Json,
    /// `JSONSchemaPropsOrBool`
    SchemaOrBool,
    /// `JSONSchemaPropsOrArray`
    SchemaOrArray,
    /// `JSONSchemaPropsOrStringArray`
    SchemaOrStrings,
}

/// The scalar fields of a small message.
#[derive(Default)]
struct Parts<'a> {
    bytes: [Option<&'a [u8]>; 4],
    numbers: [u64; 4],
    repeated: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Reads fields 1 to 3; field 2 may repeat.
    fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut parts = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            match reader.tag()? {
                (number @ 1..=3, VARINT) => parts.numbers[number as usize] = reader.varint()?,
                (number @ 1..=3, LENGTH) => {
                    let bytes = reader.bytes()?;
                    parts.bytes[number as usize] = Some(bytes);
                    if number == 2 {
                        parts.repeated.push(bytes);
                    }
                }
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok(parts)
    }

    fn text(&self, number: usize) -> String {
        String::from_utf8_lossy(self.bytes[number].unwrap_or_default()).into_owned()
    }
}

/// The message that the field `number` refers to.
fn target(message: &Message, number: u32) -> Option<MessageId> {
    match message.field(number)?.kind {
        Kind::Message(id) => Some(id),
        _ => None,
    }
}

impl Custom {
    /// The codec of a message of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Time" => Self::Time(Precision::Seconds),
            "MicroTime" => Self::Time(Precision::Micros),
            "Quantity" => Self::Quantity,
            "IntOrString" => Self::IntOrString,
            "JSON" | "RawExtension" | "FieldsV1" => Self::Json,
            "JSONSchemaPropsOrBool" => Self::SchemaOrBool,
            "JSONSchemaPropsOrArray" => Self::SchemaOrArray,
            "JSONSchemaPropsOrStringArray" => Self::SchemaOrStrings,
            _ => return None,
        })
    }

    /// Whether the value is what an absent optional field means.
    pub(crate) fn is_zero(self, value: &Value) -> bool {
        self == Self::IntOrString && value.as_i64() == Some(0)
    }

    pub(crate) fn decode(
        self,
        decoder: &mut Decoder,
        message: &Message,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, DecodeError> {
        let parts = Parts::read(bytes)?;
        Ok(match self {
            Self::Time(_) if bytes.is_empty() => Value::Null,
            Self::Time(precision) => {
                timestamp::format(parts.numbers[1] as i64, parts.numbers[2] as i32, precision)?.into()
            }
            Self::Quantity => match parts.text(1) {
                text if text.is_empty() => "0".into(),
                text => text.into(),
            },
            Self::IntOrString => match parts.numbers[1] as i64 {
                0 => (parts.numbers[2] as i32).into(),
                1 => parts.text(3).into(),
                found => return Err(DecodeError::IntOrString { found }),
            },
            Self::Json => match parts.bytes[1] {
                None | Some([]) => Value::Null,
                Some(bytes) if bytes.starts_with(&MAGIC) => decoder.object(bytes, None, depth)?,
                Some(bytes) => decoder.json(bytes, depth)?,
            },
            Self::SchemaOrBool => match (parts.bytes[2], target(message, 2)) {
                (Some(schema), Some(id)) => decoder.message(id, schema, None, depth)?,
                _ => (parts.numbers[1] != 0).into(),
            },
            Self::SchemaOrArray => match (parts.bytes[1], target(message, 1)) {
                (_, Some(id)) if !parts.repeated.is_empty() => {
                    let mut schemas = Vec::with_capacity(parts.repeated.len());
                    for schema in parts.repeated {
                        schemas.push(decoder.message(id, schema, None, depth + 1)?);
                    }
                    Value::Array(schemas)
                }
                (Some(schema), Some(id)) => decoder.message(id, schema, None, depth)?,
                _ => Value::Null,
            },
            Self::SchemaOrStrings => match (parts.bytes[1], target(message, 1)) {
                _ if !parts.repeated.is_empty() => {
                    let texts = parts.repeated.iter().map(|text| String::from_utf8_lossy(text).into());
                    Value::Array(texts.collect())
                }
                (Some(schema), Some(id)) => decoder.message(id, schema, None, depth)?,
                _ => Value::Null,
            },
        })
    }

    /// Appends the fields of the message; null is its zero.
    pub(crate) fn encode(
        self,
        encoder: &Encoder,
        message: &Message,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match (self, value) {
            (Self::Time(_) | Self::Json, Value::Null) => {}
            (Self::Time(precision), Value::String(text)) => {
                let parsed = timestamp::parse(text, precision);
                let (seconds, nanos) = parsed.ok_or_else(|| EncodeError::unexpected("an RFC 3339 time", value))?;
                put_number(out, 1, seconds as u64);
                put_number(out, 2, i64::from(nanos) as u64);
            }
            (Self::Quantity, Value::Null) => put_bytes(out, 1, b"0"),
            (Self::Quantity, Value::String(text)) => put_bytes(out, 1, text.as_bytes()),
            (Self::Quantity, Value::Number(number)) => put_bytes(out, 1, number.to_string().as_bytes()),
            (Self::IntOrString, Value::Null) => put_int_or_string(out, 0, 0, ""),
            (Self::IntOrString, Value::String(text)) => put_int_or_string(out, 1, 0, text),
            (Self::IntOrString, Value::Number(number)) => {
                let number = number.as_i64().and_then(|n| i32::try_from(n).ok());
                let number = number.ok_or_else(|| EncodeError::unexpected("a number of 32 bits", value))?;
                put_int_or_string(out, 0, number, "");
            }
            (Self::Json, value) => put_bytes(out, 1, value.to_string().as_bytes()),
            (Self::SchemaOrBool, Value::Bool(allowed)) => put_number(out, 1, u64::from(*allowed)),
            (Self::SchemaOrBool, Value::Object(schema)) => {
                put_number(out, 1, 1);
                put_schema(encoder, target(message, 2), 2, schema, out)?;
            }
            (Self::SchemaOrArray | Self::SchemaOrStrings, Value::Object(schema)) => {
                put_schema(encoder, target(message, 1), 1, schema, out)?;
            }
            (Self::SchemaOrArray, Value::Array(schemas)) => {
                for schema in schemas {
                    let fields = schema.as_object();
                    let fields = fields.ok_or_else(|| EncodeError::unexpected("a schema", schema))?;
                    put_schema(encoder, target(message, 2), 2, fields, out)?;
                }
            }
            (Self::SchemaOrStrings, Value::Array(texts)) => {
                for text in texts {
                    let text = text.as_str().ok_or_else(|| EncodeError::unexpected("text", text))?;
                    put_bytes(out, 2, text.as_bytes());
                }
            }
            (_, value) => return Err(EncodeError::unexpected(self.expected(), value)),
        }
        Ok(())
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Time(_) => "an RFC 3339 time",
            Self::Quantity => "a quantity",
            Self::IntOrString => "a number or text",
            Self::Json => "JSON",
            Self::SchemaOrBool => "a schema or a boolean",
            Self::SchemaOrArray => "a schema or a list of them",
            Self::SchemaOrStrings => "a schema or a list of names",
        }
    }
}

fn put_int_or_string(out: &mut Vec<u8>, kind: u64, number: i32, text: &str) {
    put_number(out, 1, kind);
    put_number(out, 2, i64::from(number) as u64);
    put_bytes(out, 3, text.as_bytes());
}

fn put_schema(
    encoder: &Encoder,
    id: Option<MessageId>,
    number: u32,
    schema: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match id {
        Some(id) => put_nested(out, number, |out| encoder.fields(id, schema, out)),
        None => Ok(()),
    }
}
