//! Reading and writing ObjectMeta fields of a [`Value`] in place, and wording values and paths the way Kubernetes does.

use serde_json::{Map, Value};
use std::fmt::{self, Write as _};

/// The annotation in which `kubectl apply` keeps the last configuration it sent.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The type that Go's decoder gives a value, as its `%T` prints it.
#[must_use]
pub fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// The JSON type's name in messages: `object`, `array`, `string`, `number`, `bool` or `null`.
#[must_use]
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Words a value like Go's `%v`: `map[a:1 b:[x y]]`, with the keys sorted.
#[must_use]
pub fn go_format(value: &Value) -> String {
    let mut text = String::new();
    write_go(value, &mut text);
    text
}

fn write_go(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::String(string) => text.push_str(string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                write_go(item, text);
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push_str("map[");
            for (index, (key, value)) in sorted(object).into_iter().enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                text.push_str(key);
                text.push(':');
                write_go(value, text);
            }
            text.push(']');
        }
    }
}

/// Compact JSON with sorted keys and with `<`, `>` and `&` escaped, byte for byte as Kubernetes writes it.
#[must_use]
pub fn go_json(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, &mut text);
    text
}

fn write_json(value: &Value, text: &mut String) {
    let string = |string: &str, text: &mut String| {
        for character in Value::from(string).to_string().chars() {
            match character {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(text, "\\u{:04x}", u32::from(character));
                }
                other => text.push(other),
            }
        }
    };
    match value {
        Value::String(value) => string(value, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_json(item, text);
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push('{');
            for (index, (key, value)) in sorted(object).into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                string(key, text);
                text.push(':');
                write_json(value, text);
            }
            text.push('}');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

/// The fields of an object ordered by name, whatever order the map type keeps.
#[must_use]
pub fn sorted(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = object.iter().collect();
    fields.sort_unstable_by(|left, right| left.0.cmp(right.0));
    fields
}

/// Path of a field as messages show it: `spec.containers[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
    marks: Vec<usize>,
}

impl FieldPath {
    /// The path of the object itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Descends into a field; undone by [`FieldPath::pop`].
    pub fn push_field(&mut self, name: &str) {
        self.marks.push(self.text.len());
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
    }

    /// Descends into a list item; undone by [`FieldPath::pop`].
    pub fn push_index(&mut self, index: usize) {
        self.marks.push(self.text.len());
        let _ = write!(self.text, "[{index}]");
    }

    /// Goes back up one step.
    pub fn pop(&mut self) {
        self.text.truncate(self.marks.pop().unwrap_or_default());
    }

    /// How many steps lie above.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.marks.len()
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// `metadata`, if it is an object.
#[must_use]
pub fn metadata(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

/// `metadata` for writing, made if it is missing; `None` if the value is no object.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.as_object_mut()?.entry("metadata").or_insert(Value::Null);
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object)
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = metadata_mut(object) {
        metadata.insert(field.to_owned(), value);
    }
}

/// Removes a field of `metadata` and hands it back.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// `apiVersion`, empty if absent.
#[must_use]
pub fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

/// `kind`, empty if absent.
#[must_use]
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`, empty if absent.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.generateName`, empty if absent.
#[must_use]
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// `metadata.namespace`, empty if absent.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`, empty if absent.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`, empty if absent.
#[must_use]
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.creationTimestamp`, empty if absent.
#[must_use]
pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp`, if the object is being deleted.
#[must_use]
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    Some(text(object, "deletionTimestamp")).filter(|text| !text.is_empty())
}

/// `metadata.generation`, 0 if absent.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    metadata(object)
        .and_then(|metadata| metadata.get("generation"))
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// `metadata.labels`.
#[must_use]
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    metadata(object)?.get("labels")?.as_object()
}

/// `metadata.annotations`.
#[must_use]
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    metadata(object)?.get("annotations")?.as_object()
}

/// One label's value.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// One annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

/// `metadata.finalizers`, those that are text.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = metadata(object)
        .and_then(|metadata| metadata.get("finalizers"))
        .and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
#[must_use]
pub fn owner_references(object: &Value) -> &[Value] {
    let list = metadata(object)
        .and_then(|metadata| metadata.get("ownerReferences"))
        .and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// `metadata.managedFields`; `None` if the field is absent or null.
#[must_use]
pub fn managed_fields(object: &Value) -> Option<&Vec<Value>> {
    metadata(object)?.get("managedFields")?.as_array()
}

/// Sets `metadata.name`.
pub fn set_name(object: &mut Value, name: &str) {
    set(object, "name", name.into());
}

/// Sets `metadata.namespace`.
pub fn set_namespace(object: &mut Value, namespace: &str) {
    set(object, "namespace", namespace.into());
}

/// Sets `metadata.uid`.
pub fn set_uid(object: &mut Value, uid: &str) {
    set(object, "uid", uid.into());
}

/// Sets `metadata.resourceVersion`.
pub fn set_resource_version(object: &mut Value, version: &str) {
    set(object, "resourceVersion", version.into());
}

/// Sets `metadata.creationTimestamp` (RFC 3339, whole seconds).
pub fn set_creation_timestamp(object: &mut Value, time: &str) {
    set(object, "creationTimestamp", time.into());
}

/// Sets `metadata.deletionTimestamp` and `metadata.deletionGracePeriodSeconds`.
pub fn set_deletion(object: &mut Value, time: &str, grace_period_seconds: i64) {
    set(object, "deletionTimestamp", time.into());
    set(object, "deletionGracePeriodSeconds", grace_period_seconds.into());
}

/// Sets `metadata.generation`.
pub fn set_generation(object: &mut Value, generation: i64) {
    set(object, "generation", generation.into());
}

/// Sets one label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set_in(object, "labels", key, value);
}

/// Sets one annotation.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_in(object, "annotations", key, value);
}

fn set_in(object: &mut Value, field: &str, key: &str, value: &str) {
    let Some(metadata) = metadata_mut(object) else { return };
    let map = metadata.entry(field).or_insert(Value::Null);
    if !map.is_object() {
        *map = Value::Object(Map::new());
    }
    if let Value::Object(map) = map {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets `metadata.managedFields`; an empty list removes the field.
pub fn set_managed_fields(object: &mut Value, entries: Vec<Value>) {
    if entries.is_empty() {
        remove(object, "managedFields");
    } else {
        set(object, "managedFields", Value::Array(entries));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_printed_as_go_does() {
        let value = json!({"b": [1, "x", null], "a": {"c": true}});
        assert_eq!(go_format(&value), "map[a:map[c:true] b:[1 x <nil>]]");
    }

    #[test]
    fn go_formatting() {
        let value = json!({"b": [1, "x", null, true], "a": {"z": 1.5}});
        assert_eq!(go_format(&value), "map[a:map[z:1.5] b:[1 x <nil> true]]");
        let value = json!({"b": ["<&>", null], "a": 1, "\"": true});
        assert_eq!(go_json(&value), r#"{"\"":true,"a":1,"b":["\u003c\u0026\u003e",null]}"#);
    }

    #[test]
    fn fields_are_set_in_place() {
        let mut object = json!({"kind": "Pod"});
        set_name(&mut object, "p");
        set_label(&mut object, "a", "b");
        set_managed_fields(&mut object, vec![json!({})]);
        assert_eq!((name(&object), label(&object, "a"), uid(&object)), ("p", Some("b"), ""));
        set_managed_fields(&mut object, Vec::new());
        assert_eq!(
            object,
            json!({"kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}})
        );
        assert_eq!(deletion_timestamp(&object), None);
        let mut scalar = json!(1);
        set_name(&mut scalar, "p");
        assert_eq!(scalar, json!(1));
    }

    #[test]
    fn paths_read_like_field_paths() {
        let mut path = FieldPath::root();
        path.push_field("spec");
        path.push_field("list");
        path.push_index(2);
        path.push_field("name");
        assert_eq!(path.as_str(), "spec.list[2].name");
        path.pop();
        path.pop();
        assert_eq!((path.to_string().as_str(), path.depth()), ("spec.list", 2));
    }
}
