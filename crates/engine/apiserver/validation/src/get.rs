//! Reading of JSON whose fields may be absent or of any type: what is not there reads as empty.

use serde_json::{Map, Value};

/// A string, empty if the value is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A string that is given, be it empty.
pub fn optional_text(value: &Value) -> Option<&str> {
    value.as_str()
}

/// The items of a list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The strings of a list.
pub fn texts(value: &Value) -> impl Iterator<Item = &str> {
    items(value).iter().map(text)
}

/// The entries of a map, sorted by key.
pub fn entries(value: &Value) -> Vec<(&str, &Value)> {
    let mut entries: Vec<(&str, &Value)> = map(value).map(|(k, v)| (k.as_str(), v)).collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// How many items or entries there are.
pub fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(entries) => entries.len(),
        _ => 0,
    }
}

/// Whether a list, a map or a string is absent or empty.
pub fn is_empty(value: &Value) -> bool {
    count(value) == 0 && text(value).is_empty()
}

/// A whole number, zero if the value is none.
pub fn int(value: &Value) -> i64 {
    optional_int(value).unwrap_or_default()
}

/// A whole number that is given.
pub fn optional_int(value: &Value) -> Option<i64> {
    value.as_i64()
}

/// Whether a flag is given and set.
pub fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

/// Whether a value is given.
pub fn given(value: &Value) -> bool {
    !value.is_null()
}

/// Whether two values mean the same: absent, null, empty lists, empty maps and zero values do not differ.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let none = &Value::Null;
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(none)))
                && y.iter().all(|(k, v)| x.contains_key(k) || same(none, v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        (Value::Null, other) | (other, Value::Null) => is_nothing(other),
        _ => a == b,
    }
}

/// Whether a value says nothing: null, or empty.
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_empty_do_not_differ() {
        assert!(same(&json!({"a": 1, "b": []}), &json!({"a": 1, "c": null})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 2})));
        assert!(!same(&json!([1]), &json!([])));
    }

    #[test]
    fn wrong_types_read_as_nothing() {
        let value = json!({"a": 1});
        assert_eq!(text(&value["a"]["b"]), "");
        assert_eq!(items(&value), &[] as &[Value]);
        assert_eq!(int(&value), 0);
    }
}
