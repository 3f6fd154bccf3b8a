//! A strict JSON decoder: bytes to [`Value`], with the paths of duplicate fields (RFC 8259, section 4).

use crate::meta::FieldPath;
use crate::prune::{Field, field};
use crate::schema::{SchemaNode, TreeSchema};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

/// Largest document decoded; the API server's limit on request bodies.
pub const SIZE_MAX_BYTES: usize = 3 * 1024 * 1024;
/// Nesting a document may have. Lower than serde_json's own limit, so that the managed fields of an object and a list
/// of objects, which nest a few levels deeper, can be read back.
pub const DEPTH_MAX: usize = 100;
/// Most mistakes reported of one document, as many as Kubernetes reports.
const REPORTED_MAX: usize = 100;

/// A decoded document.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// One text for each field given twice, and unknown to the schema if there was one, in document order:
    /// `duplicate field "metadata.labels.a"`, `unknown field "spec.foo"`.
    pub strict_errors: Vec<String>,
}

/// A document that is no JSON, or beyond the limits. `Display` follows the texts that kubectl users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("unexpected end of JSON input")]
    UnexpectedEnd,
    #[error("invalid character {found} {expectation}")]
    InvalidCharacter { found: String, expectation: &'static str },
    #[error("exceeded max depth")]
    TooDeep,
    #[error("the document has {size_bytes} bytes, more than the limit of {limit_bytes}")]
    TooLarge { size_bytes: usize, limit_bytes: usize },
    #[error("{message}")]
    Other { message: String },
}

/// What a second occurrence of a field does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeated {
    Merge,
    Replace,
}

/// Decodes an object of a built-in kind: when an object field is given twice the two are merged, as a typed decoder does.
pub fn json(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    decode::<TreeSchema>(bytes, Repeated::Merge, None)
}

/// Decodes an object of a built-in kind and leaves out fields that its schema doesn't know; they are reported in the
/// same list as duplicates, in document order.
pub fn json_typed<S: SchemaNode>(bytes: &[u8], schema: &S) -> Result<Decoded, DecodeError> {
    decode(bytes, Repeated::Merge, Some(schema.clone()))
}

/// Decodes a patch or a custom resource: when a field is given twice the last one wins.
pub fn json_untyped(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    decode::<TreeSchema>(bytes, Repeated::Replace, None)
}

fn decode<S: SchemaNode>(bytes: &[u8], repeated: Repeated, schema: Option<S>) -> Result<Decoded, DecodeError> {
    if bytes.len() > SIZE_MAX_BYTES {
        return Err(DecodeError::TooLarge {
            size_bytes: bytes.len(),
            limit_bytes: SIZE_MAX_BYTES,
        });
    }
    // Bytes that are no UTF-8 become U+FFFD, as they do in clients written in Go.
    let text = String::from_utf8_lossy(bytes);
    let state = State {
        repeated,
        path: RefCell::default(),
        strict_errors: RefCell::default(),
    };
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let value = Seed {
        state: &state,
        schema,
        embedded: false,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| describe(&error, &text))?;
    Ok(Decoded {
        value,
        strict_errors: state.strict_errors.into_inner(),
    })
}

struct State {
    repeated: Repeated,
    path: RefCell<FieldPath>,
    strict_errors: RefCell<Vec<String>>,
}

impl State {
    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.path.borrow().depth() >= DEPTH_MAX {
            Err(E::custom("recursion limit exceeded"))
        } else {
            Ok(())
        }
    }

    /// Notes a mistake at the current path, once.
    fn note(&self, mistake: &str) {
        let mut errors = self.strict_errors.borrow_mut();
        let text = format!("{mistake} field {:?}", self.path.borrow().as_str());
        if errors.len() < REPORTED_MAX && !errors.contains(&text) {
            errors.push(text);
        }
    }
}

struct Seed<'a, S> {
    state: &'a State,
    /// Schema of the value; without one every field is known.
    schema: Option<S>,
    /// The value is a whole resource inside another one.
    embedded: bool,
}

impl<'de, S: SchemaNode> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: SchemaNode> Visitor<'de> for Seed<'_, S> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.state.check_depth()?;
        let schema = self.schema.as_ref().and_then(SchemaNode::items);
        let mut items = Vec::new();
        loop {
            self.state.path.borrow_mut().push_index(items.len());
            let seed = Seed {
                state: self.state,
                schema: schema.clone(),
                embedded: false,
            };
            let item = access.next_element_seed(seed)?;
            self.state.path.borrow_mut().pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.state.check_depth()?;
        let embedded = self.embedded || self.schema.as_ref().is_some_and(SchemaNode::embedded_resource);
        let preserved = self.schema.as_ref().is_some_and(SchemaNode::preserve_unknown);
        let mut object = Map::new();
        while let Some(name) = access.next_key::<Cow<'de, str>>()? {
            let name = name.into_owned();
            self.state.path.borrow_mut().push_field(&name);
            let known = match &self.schema {
                None => Field::Free,
                Some(schema) => field(schema, &name, preserved, embedded),
            };
            if object.contains_key(&name) {
                self.state.note("duplicate");
            }
            let schema = match known {
                Field::Known(schema) => Some(schema),
                Field::Free => None,
                Field::Unknown => {
                    self.state.note("unknown");
                    access.next_value::<IgnoredAny>()?;
                    self.state.path.borrow_mut().pop();
                    continue;
                }
            };
            let value = access.next_value_seed(Seed {
                state: self.state,
                schema,
                embedded: false,
            })?;
            self.state.path.borrow_mut().pop();
            insert(&mut object, name, value, self.state.repeated);
        }
        Ok(Value::Object(object))
    }
}

fn insert(object: &mut Map<String, Value>, name: String, value: Value, repeated: Repeated) {
    if repeated == Repeated::Merge
        && let Some(Value::Object(before)) = object.get_mut(&name)
        && let Value::Object(after) = value
    {
        for (key, value) in after {
            insert(before, key, value, repeated);
        }
        return;
    }
    object.insert(name, value);
}

/// Turns serde_json's error into the text that clients of Kubernetes know.
fn describe(error: &serde_json::Error, text: &str) -> DecodeError {
    if error.is_eof() {
        return DecodeError::UnexpectedEnd;
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    if message.contains("recursion limit") {
        return DecodeError::TooDeep;
    }
    let expectation = match message {
        "expected value" => "looking for beginning of value",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "trailing characters" => "after top-level value",
        "invalid escape" => "in string escape code",
        "invalid number" => "in numeric literal",
        "expected ident" => "in literal",
        _ if message.starts_with("control character") => "in string literal",
        _ => {
            return DecodeError::Other {
                message: message.to_owned(),
            };
        }
    };
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line
        .as_bytes()
        .get(error.column().saturating_sub(1)..)
        .unwrap_or_default();
    let found = match std::str::from_utf8(rest).unwrap_or_default().chars().next() {
        Some('\'') => r"'\''".to_owned(),
        Some('"') => "'\"'".to_owned(),
        Some(character) => format!("{character:?}"),
        None => r"'\n'".to_owned(),
    };
    DecodeError::InvalidCharacter { found, expectation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn duplicates_are_reported_in_document_order() {
        let text =
            br#"{"metadata":{"name":"d","name":"d"},"data":{"k":"1","k":"2"},"data":{"z":"1"},"l":[{},{"a":1,"a":2}]}"#;
        let decoded = json(text).unwrap();
        let expected = ["metadata.name", "data.k", "data", "l[1].a"].map(|path| format!("duplicate field {path:?}"));
        assert_eq!(decoded.strict_errors, expected);
        assert_eq!(decoded.value["data"], json!({"k": "2", "z": "1"}));
        assert_eq!(json_untyped(text).unwrap().value["data"], json!({"z": "1"}));
    }

    #[test]
    fn unknown_fields_are_left_out_and_reported_in_document_order() {
        let schema = TreeSchema::from_structural(&json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "data": {"type": "object", "additionalProperties": {"type": "string"}}}}))
        .unwrap();
        let text = br#"{"metadata":{"name":"x","bogus":1,"name":"y"},"zz":{"deep":1},"extra":[1],"data":{"k":"v"}}"#;
        let decoded = json_typed(text, &schema).unwrap();
        let expected = [
            "unknown field \"metadata.bogus\"",
            "duplicate field \"metadata.name\"",
            "unknown field \"zz\"",
            "unknown field \"extra\"",
        ];
        assert_eq!(decoded.strict_errors, expected);
        assert_eq!(decoded.value, json!({"metadata": {"name": "y"}, "data": {"k": "v"}}));
    }

    #[test]
    fn errors_read_like_those_of_kubernetes() {
        let message = |text: &str| json(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(message(""), "unexpected end of JSON input");
        assert_eq!(message("{"), "unexpected end of JSON input");
        assert_eq!(
            message("garbage"),
            "invalid character 'g' looking for beginning of value"
        );
        assert_eq!(
            message("{\"a\": x}"),
            "invalid character 'x' looking for beginning of value"
        );
        assert_eq!(
            message("{a: 1}"),
            "invalid character 'a' looking for beginning of object key string"
        );
        assert_eq!(message("{\"a\" 1}"), "invalid character '1' after object key");
        assert_eq!(message("{} x"), "invalid character 'x' after top-level value");
        assert_eq!(message("[1 2]"), "invalid character '2' after array element");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(json("[".repeat(100_000).as_bytes()), Err(DecodeError::TooDeep));
        assert_eq!(json(nested(DEPTH_MAX + 1).as_bytes()), Err(DecodeError::TooDeep));
        assert!(json(nested(DEPTH_MAX).as_bytes()).is_ok());
        let large = vec![b' '; SIZE_MAX_BYTES + 1];
        assert!(matches!(json(&large), Err(DecodeError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = json(&bytes);
        }

        #[test]
        fn json_like_bytes_never_panic(text in r#"[\[\]{}",:a0-9. \\n]{0,60}"#) {
            if let Ok(decoded) = json(text.as_bytes()) {
                let again: Value = serde_json::from_str(&decoded.value.to_string()).unwrap();
                prop_assert_eq!(again, decoded.value);
            }
        }
    }
}
