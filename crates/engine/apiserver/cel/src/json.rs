//! Values of objects: what they are in expressions, with their schema and without.

use serde_json::{Map as JsonMap, Value as Json};

use crate::schema;
use crate::time::{Duration, Timestamp};
use crate::value::{List, Map, Text, Value};

/// What a part of an object is in an expression. A schema makes texts of some formats into other types, and numbers
/// floating point or whole.
pub(crate) fn value<'a>(json: &'a Json, schema: Option<&'a Json>) -> Value<'a> {
    if let Some(schema) = schema
        && let Some(value) = of_schema(json, schema)
    {
        return value;
    }
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Text::Borrowed(text)),
        Json::Array(items) => Value::List(List::Json(items, schema)),
        Json::Object(entries) => Value::Map(Map::Json(entries, schema)),
    }
}

/// What only the schema can tell; what does not fit it stays what it is.
fn of_schema<'a>(json: &'a Json, schema: &Json) -> Option<Value<'a>> {
    match (schema["type"].as_str()?, json) {
        ("number", Json::Number(number)) => number.as_f64().map(Value::Double),
        ("integer", Json::Number(number)) => {
            let whole = number
                .as_f64()
                .filter(|number| number.fract() == 0.0 && number.abs() < 9.2e18);
            number.as_i64().or(whole.map(|number| number as i64)).map(Value::Int)
        }
        ("string", Json::String(text)) => match schema["format"].as_str()? {
            "byte" => {
                let bytes = data_encoding::BASE64.decode(text.as_bytes()).ok()?;
                Some(Value::Bytes(bytes.into()))
            }
            "duration" => Duration::parse(text).map(Value::Duration),
            "date" => Timestamp::parse(&format!("{text}T00:00:00Z")).map(Value::Timestamp),
            "date-time" => Timestamp::parse(text).map(Value::Timestamp),
            _ => None,
        },
        _ => None,
    }
}

/// The schema of a field, or of all values of a map.
pub(crate) fn schema_of_field<'a>(schema: Option<&'a Json>, property: &str) -> Option<&'a Json> {
    let schema = schema?;
    let named = schema.get("properties").and_then(|all| all.get(property));
    named.or_else(|| schema.get("additionalProperties").filter(|of| of.is_object()))
}

/// The value of a field by the name expressions have for it.
pub(crate) fn field<'a>(entries: &'a JsonMap<String, Json>, schema: Option<&'a Json>, name: &str) -> Option<Value<'a>> {
    let is_map = |schema: &Json| schema.get("additionalProperties").is_some_and(Json::is_object);
    let property = match schema {
        Some(schema) if !is_map(schema) => schema::unescape(name),
        _ => name.to_owned(),
    };
    let found = entries.get(&property)?;
    Some(value(found, schema_of_field(schema, &property)))
}

/// How a list of a schema is compared: in order, as a set, or by the keys of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind<'a> {
    /// In order.
    Atomic,
    /// As a set.
    Set,
    /// As a map from the named fields of its elements to them.
    Keyed(&'a [Json]),
}

/// The kind of list a schema makes it.
pub(crate) fn list_kind(schema: Option<&Json>) -> ListKind<'_> {
    let Some(schema) = schema else { return ListKind::Atomic };
    match (
        schema["x-kubernetes-list-type"].as_str(),
        schema["x-kubernetes-list-map-keys"].as_array(),
    ) {
        (Some("set"), _) => ListKind::Set,
        (Some("map"), Some(keys)) => ListKind::Keyed(keys),
        _ => ListKind::Atomic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_schema_says_what_values_are() {
        let schema = json!({"type": "object", "properties": {
            "d": {"type": "string", "format": "duration"},
            "b": {"type": "string", "format": "byte"},
            "n": {"type": "number"},
            "namespace": {"type": "string"},
            "m": {"type": "object", "additionalProperties": {"type": "string", "format": "date"}},
        }});
        let object = json!({"d": "1h", "b": "aGk=", "n": 3, "namespace": "x", "m": {"namespace": "2020-01-02"}});
        let Value::Map(map) = value(&object, Some(&schema)) else {
            panic!("no map")
        };
        assert!(matches!(map.field("d"), Some(Value::Duration(_))));
        assert!(matches!(map.field("b"), Some(Value::Bytes(bytes)) if &*bytes == b"hi"));
        assert!(matches!(map.field("n"), Some(Value::Double(three)) if three == 3.0));
        assert!(matches!(map.field("__namespace__"), Some(Value::String(_))));
        let Some(Value::Map(inner)) = map.field("m") else {
            panic!("no map")
        };
        assert!(matches!(inner.field("namespace"), Some(Value::Timestamp(_))));
        assert!(inner.field("__namespace__").is_none());
    }
}
