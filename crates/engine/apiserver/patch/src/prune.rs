//! Finding and removing fields that a schema doesn't know, worded for `fieldValidation`.

use crate::meta::FieldPath;
use crate::schema::{Additional, SchemaNode, SchemaType};
use serde_json::Value;

/// Most fields reported of one object, as many as Kubernetes reports.
const REPORTED_MAX: usize = 100;

/// The unknown fields of `value`, one text each, in the value's order: `unknown field "spec.foo"`.
#[must_use]
pub fn unknown_fields<S: SchemaNode>(value: &Value, schema: &S) -> Vec<String> {
    let mut walk = Walk {
        path: FieldPath::root(),
        found: Vec::new(),
    };
    walk.find(value, schema, false);
    walk.found
}

/// Removes the unknown fields of `value` and reports them like [`unknown_fields`].
pub fn prune<S: SchemaNode>(value: &mut Value, schema: &S) -> Vec<String> {
    let found = unknown_fields(value, schema);
    if !found.is_empty() {
        remove(value, schema, false);
    }
    found
}

/// What becomes of one field of an object.
pub(crate) enum Field<S> {
    Known(S),
    /// Kept as it is; nothing below is checked.
    Free,
    Unknown,
}

/// What the schema says of the field `name`; `embedded` resources have a type and metadata without declaring them.
pub(crate) fn field<S: SchemaNode>(schema: &S, name: &str, preserved: bool, embedded: bool) -> Field<S> {
    if let Some(property) = schema.property(name) {
        return Field::Known(property);
    }
    if embedded && matches!(name, "apiVersion" | "kind" | "metadata") {
        return Field::Free;
    }
    match schema.additional_properties() {
        Additional::Schema(values) => Field::Known(values),
        Additional::Any => Field::Free,
        Additional::Forbidden => Field::Unknown,
        Additional::Unspecified if preserved => Field::Free,
        Additional::Unspecified if schema.schema_type() == SchemaType::Any => Field::Free,
        Additional::Unspecified => Field::Unknown,
    }
}

struct Walk {
    path: FieldPath,
    found: Vec<String>,
}

impl Walk {
    fn find<S: SchemaNode>(&mut self, value: &Value, schema: &S, embedded: bool) {
        match value {
            Value::Object(object) => {
                let preserved = schema.preserve_unknown();
                let embedded = embedded || schema.embedded_resource();
                for (name, value) in object {
                    self.path.push_field(name);
                    match field(schema, name, preserved, embedded) {
                        Field::Known(property) => self.find(value, &property, false),
                        Field::Free => {}
                        Field::Unknown if self.found.len() < REPORTED_MAX => {
                            self.found.push(format!("unknown field {:?}", self.path.as_str()));
                        }
                        Field::Unknown => {}
                    }
                    self.path.pop();
                }
            }
            Value::Array(list) => {
                let Some(items) = schema.items() else { return };
                for (index, value) in list.iter().enumerate() {
                    self.path.push_index(index);
                    self.find(value, &items, false);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }
}

fn remove<S: SchemaNode>(value: &mut Value, schema: &S, embedded: bool) {
    match value {
        Value::Object(object) => {
            let preserved = schema.preserve_unknown();
            let embedded = embedded || schema.embedded_resource();
            object.retain(|name, value| match field(schema, name, preserved, embedded) {
                Field::Known(property) => {
                    remove(value, &property, false);
                    true
                }
                Field::Free => true,
                Field::Unknown => false,
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|value| remove(value, &items, false));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TreeSchema;
    use crate::testing::json_object;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> TreeSchema {
        TreeSchema::from_structural(&json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"a": {"type": "integer"}}},
            "b": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {}}}},
            "c": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
            "d": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "e": {"type": "object", "properties": {"f": {}}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "empty": {"type": "object"}, "any": {},
            "res": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }}))
        .unwrap()
    }

    #[test]
    fn unknown_fields_are_found_with_their_paths() {
        let mut value = json!({
            "a": {"a": 1, "z": 1}, "b": {"m": {"x": 1, "y": 1}}, "c": [{}, {"zz": 1}],
            "d": {"anything": {"at": "all"}, "e": {"f": 1, "g": 1}}, "free": {"x": 1},
            "empty": {"x": 1}, "any": {"x": [{}]},
            "res": {"apiVersion": "v1", "kind": "X", "metadata": {}, "spec": {}, "no": 1}, "nope": 1,
        });
        let expected = ["a.z", "b.m.y", "c[1].zz", "d.e.g", "empty.x", "nope", "res.no"]
            .map(|path| format!("unknown field {path:?}"));
        let mut found = unknown_fields(&value, &schema());
        found.sort();
        assert_eq!(found, expected);
        prune(&mut value, &schema());
        let pruned = json!({
            "a": {"a": 1}, "b": {"m": {"x": 1}}, "c": [{}, {}], "d": {"anything": {"at": "all"}, "e": {"f": 1}},
            "free": {"x": 1}, "empty": {}, "any": {"x": [{}]},
            "res": {"apiVersion": "v1", "kind": "X", "metadata": {}, "spec": {}},
        });
        assert_eq!(value, pruned);
    }

    proptest! {
        #[test]
        fn what_is_pruned_has_no_unknown_field(value in json_object()) {
            let mut value = value;
            prune(&mut value, &schema());
            prop_assert!(unknown_fields(&value, &schema()).is_empty());
        }
    }
}
