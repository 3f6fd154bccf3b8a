//! The wire format (Protocol Buffers, proto2) to JSON values. Reads untrusted bytes: nesting and lengths are bounded.

use serde_json::{Map, Number, Value};

use super::table::{self, Field, Message, Presence};
use crate::{base64, times};

const DEPTH_MAX: usize = 100;

/// Why a body is no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It doesn't begin with the magic bytes.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// It ends in the middle of something.
    #[error("unexpected EOF")]
    Truncated,
    /// A wire type or length is impossible.
    #[error("proto: illegal wireType or length at field {field}")]
    Malformed {
        /// Number of the field.
        field: u64,
    },
    /// A text is not UTF-8.
    #[error("proto: field {field} contains invalid UTF-8")]
    NotText {
        /// Name of the field.
        field: &'static str,
    },
    /// Messages nest too deep.
    #[error("proto: exceeded max recursion depth")]
    TooDeep,
    /// The kind has no protobuf form here.
    #[error("no protobuf form of {name} is known, send JSON")]
    Unknown {
        /// The message looked for.
        name: String,
    },
    /// JSON inside the message is broken.
    #[error("raw extension: {reason}")]
    Raw {
        /// What the parser says.
        reason: String,
    },
}

/// One field as it stands on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(ProtobufError::Truncated)?;
            self.0 = rest;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed { field: 0 })
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], ProtobufError> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = key >> 3;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default())),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Malformed { field })?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return Err(ProtobufError::Malformed { field }),
        };
        Ok(Some((field, wire)))
    }
}

/// The bytes of field 1, 2, ... of a small message.
fn parts<'a, const N: usize>(bytes: &'a [u8]) -> Result<[Option<Wire<'a>>; N], ProtobufError> {
    let mut found = [const { None }; N];
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if let Some(slot) = usize::try_from(number)
            .ok()
            .and_then(|n| found.get_mut(n.checked_sub(1)?))
        {
            *slot = Some(wire);
        }
    }
    Ok(found)
}

fn bytes_of<'a>(wire: &Option<Wire<'a>>) -> &'a [u8] {
    match wire {
        Some(Wire::Bytes(bytes)) => bytes,
        _ => &[],
    }
}

fn number_of(wire: &Option<Wire<'_>>) -> i64 {
    match wire {
        Some(Wire::Varint(number)) => number.cast_signed(),
        _ => 0,
    }
}

/// The envelope after its magic bytes.
pub(super) fn envelope(bytes: &[u8], group: &str, version: &str, kind: &str) -> Result<Value, ProtobufError> {
    let [meta, raw] = parts::<2>(bytes)?;
    let [api_version, named] = parts::<2>(bytes_of(&meta))?;
    let text = |wire: &Option<Wire<'_>>| String::from_utf8_lossy(bytes_of(wire)).into_owned();
    let (api_version, named) = (text(&api_version), text(&named));
    let name = table::name_of(group, version, kind);
    let mut out = Map::new();
    // A body of another kind is refused by its name; its fields mean nothing here.
    if named.is_empty() || named == kind {
        let fields = table::message(&name).ok_or(ProtobufError::Unknown { name })?;
        message(fields, bytes_of(&raw), &mut out, 0)?;
    }
    if !api_version.is_empty() {
        out.insert("apiVersion".into(), api_version.into());
    }
    if !named.is_empty() {
        out.insert("kind".into(), named.into());
    }
    Ok(Value::Object(out))
}

fn message(fields: &Message, bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::TooDeep);
    }
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        let Some(field) = fields.get(&number) else { continue };
        let malformed = ProtobufError::Malformed { field: number };
        if field.presence == Presence::Inline {
            let (Wire::Bytes(inner), Some(fields)) = (wire, table::message(field.code)) else {
                return Err(malformed);
            };
            message(fields, inner, out, depth + 1)?;
        } else if let Some(code) = field.code.strip_prefix('[') {
            let list = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let (Some(value), Value::Array(items)) = (value(field, code, wire, depth)?, list) {
                items.push(value);
            }
        } else if let Some(code) = field.code.strip_prefix('{') {
            let Wire::Bytes(entry) = wire else {
                return Err(malformed);
            };
            let [key, item] = parts::<2>(entry)?;
            let key =
                String::from_utf8(bytes_of(&key).to_vec()).map_err(|_| ProtobufError::NotText { field: field.name })?;
            let item = value(field, code, item.unwrap_or(Wire::Bytes(&[])), depth)?.unwrap_or(Value::Null);
            let map = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(map) = map {
                map.insert(key, item);
            }
        } else if let Some(value) = value(field, field.code, wire, depth)? {
            let zero = match &value {
                Value::String(text) => text.is_empty(),
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::Bool(flag) => !flag,
                _ => false,
            };
            if !zero || field.presence == Presence::Keep {
                out.insert(field.name.into(), value);
            }
        }
    }
    Ok(())
}

/// One value; `None` for a time that isn't set.
fn value(field: &Field, code: &str, wire: Wire<'_>, depth: usize) -> Result<Option<Value>, ProtobufError> {
    let malformed = || ProtobufError::Malformed { field: 0 };
    Ok(Some(match (code, wire) {
        ("s", Wire::Bytes(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_| ProtobufError::NotText { field: field.name })?;
            text.into()
        }
        ("b", Wire::Bytes(bytes)) => base64::encode(bytes).into(),
        ("t", Wire::Varint(number)) => (number != 0).into(),
        ("i", Wire::Varint(number)) => number.cast_signed().into(),
        ("d", Wire::Fixed64(bits)) => Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number),
        ("$Quantity", Wire::Bytes(bytes)) => {
            let [text] = parts::<1>(bytes)?;
            String::from_utf8_lossy(bytes_of(&text)).into_owned().into()
        }
        ("$IntOrString", Wire::Bytes(bytes)) => {
            let [kind, number, text] = parts::<3>(bytes)?;
            if number_of(&kind) == 1 {
                String::from_utf8_lossy(bytes_of(&text)).into_owned().into()
            } else {
                number_of(&number).into()
            }
        }
        ("$Time" | "$MicroTime", Wire::Bytes(bytes)) => {
            let [seconds, nanos] = parts::<2>(bytes)?;
            if seconds.is_none() && nanos.is_none() {
                return Ok(None);
            }
            let ms = u64::try_from(number_of(&seconds)).unwrap_or(0).saturating_mul(1000);
            if code == "$Time" {
                times::seconds(ms).into()
            } else {
                let micros = number_of(&nanos).clamp(0, 999_999_999) / 1000;
                format!("{}.{micros:06}Z", times::seconds(ms).trim_end_matches('Z')).into()
            }
        }
        ("$Duration", Wire::Bytes(bytes)) => {
            let [nanos] = parts::<1>(bytes)?;
            format!("{}s", number_of(&nanos) / 1_000_000_000).into()
        }
        ("$Raw", Wire::Bytes(bytes)) => {
            let [raw] = parts::<1>(bytes)?;
            let raw = bytes_of(&raw);
            if raw.is_empty() {
                return Ok(None);
            }
            serde_json::from_slice(raw).map_err(|e| ProtobufError::Raw { reason: e.to_string() })?
        }
        (_, Wire::Bytes(bytes)) => match code.strip_prefix('L') {
            Some(item) => {
                let mut items = Vec::new();
                let mut reader = Reader(bytes);
                while let Some((number, wire)) = reader.next()? {
                    if number == 1 {
                        items.extend(value(field, item, wire, depth)?);
                    }
                }
                Value::Array(items)
            }
            None => {
                let fields = table::message(code).ok_or_else(malformed)?;
                let mut out = Map::new();
                message(fields, bytes, &mut out, depth + 1)?;
                Value::Object(out)
            }
        },
        _ => return Err(malformed()),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::object;
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn a_config_map_is_read() {
        let meta = [field(1, b"c"), field(2, b""), field(8, b"")].concat();
        let entry = [field(1, b"k"), field(2, b"v")].concat();
        let raw = [field(1, &meta), field(2, &entry)].concat();
        let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        let body = [
            b"k8s\0".to_vec(),
            field(1, &kind),
            field(2, &raw),
            field(3, b""),
            field(4, b""),
        ]
        .concat();
        let want = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}});
        assert_eq!(object(&body, "", "v1", "ConfigMap"), Ok(want));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = [b"k8s\0".to_vec(), bytes.clone()].concat();
            let _ = object(&body, "", "v1", "Pod");
            let mut out = Map::new();
            if let Some(pod) = table::message("core.v1.Pod") {
                let _ = message(pod, &bytes, &mut out, 0);
            }
        }
    }
}
