//! Fields that a schema doesn't know, and nulls that mean nothing.

use serde_json::{Map, Value};

use super::{Additional, Schema};

/// Where unknown fields were found: `spec.list[0].foo`.
#[derive(Debug, Default)]
pub struct Unknown {
    path: String,
    found: Vec<String>,
}

impl Unknown {
    fn within(&mut self, field: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(field);
        work(self);
        self.path.truncate(length);
    }

    fn at(&mut self, index: usize, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        work(self);
        self.path.truncate(length);
    }

    fn record(&mut self, field: &str) {
        self.within(field, |this| {
            let path = this.path.clone();
            this.found.push(path);
        });
    }

    /// The paths, sorted.
    pub fn into_paths(mut self) -> Vec<String> {
        self.found.sort();
        self.found
    }
}

fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// Removes what the schema of a whole object doesn't know; `apiVersion`, `kind` and `metadata` stay as they are. Gives
/// the paths of what went, sorted.
pub fn prune(object: &mut Value, schema: Option<&Schema>) -> Vec<String> {
    let mut unknown = Unknown::default();
    let empty = Schema::default();
    value(object, Some(schema.unwrap_or(&empty)), true, &mut unknown);
    unknown.into_paths()
}

/// Removes what the schema doesn't know of a value that is no object of its own.
pub(super) fn prune_value(pruned: &mut Value, schema: &Schema) {
    value(pruned, Some(schema), false, &mut Unknown::default());
}

fn value(value: &mut Value, schema: Option<&Schema>, resource: bool, unknown: &mut Unknown) {
    match schema {
        Some(schema) if schema.preserve_unknown => preserved(value, schema, resource, unknown),
        _ => pruned(value, schema, resource, unknown),
    }
}

fn pruned(value: &mut Value, schema: Option<&Schema>, resource: bool, unknown: &mut Unknown) {
    match value {
        Value::Object(map) => {
            let Some(schema) = schema else {
                map.keys().for_each(|name| unknown.record(name));
                map.clear();
                return;
            };
            let resource = resource || schema.embedded;
            let at_root = unknown.path.is_empty();
            map.retain(|name, inner| {
                if resource && is_meta(name) {
                    return true;
                }
                if let Some(next) = known(schema, name) {
                    unknown.within(name, |unknown| self::value(inner, next, false, unknown));
                    return true;
                }
                if !is_meta(name) || !at_root {
                    unknown.record(name);
                }
                false
            });
        }
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            for (index, item) in items.iter_mut().enumerate() {
                unknown.at(index, |unknown| self::value(item, schema, false, unknown));
            }
        }
        _ => {}
    }
}

/// What is below where unknown fields are kept: declared fields are pruned all the same.
fn preserved(value: &mut Value, schema: &Schema, resource: bool, unknown: &mut Unknown) {
    match value {
        Value::Object(map) => {
            let resource = resource || schema.embedded;
            for (name, inner) in map.iter_mut().filter(|(name, _)| !(resource && is_meta(name))) {
                if let Some(next) = known(schema, name) {
                    unknown.within(name, |unknown| self::value(inner, next, false, unknown));
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter_mut().enumerate() {
                    unknown.at(index, |unknown| preserved(item, schema, false, unknown));
                }
            }
        }
        _ => {}
    }
}

/// The schema of a field that is known; one that is known and of which nothing is said has none.
fn known<'a>(schema: &'a Schema, name: &str) -> Option<Option<&'a Schema>> {
    match (schema.properties.get(name), &schema.additional) {
        (Some(property), _) => Some(Some(property)),
        (None, Additional::Unspecified) => None,
        (None, Additional::Schema(values)) => Some(Some(values)),
        (None, Additional::Any | Additional::Forbidden) => Some(None),
    }
}

/// Removes nulls from maps where null is no value and nothing takes its place.
pub fn nulls(value: &mut Value, schema: Option<&Schema>) {
    match value {
        Value::Object(map) => drop_nulls(map, schema),
        Value::Array(items) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            items.iter_mut().for_each(|item| nulls(item, schema));
        }
        _ => {}
    }
}

fn drop_nulls(map: &mut Map<String, Value>, schema: Option<&Schema>) {
    map.retain(|name, value| {
        let next = schema.and_then(|schema| schema.field(name));
        if value.is_null() && next.is_some_and(|next| !next.nullable && next.default.is_none()) {
            return false;
        }
        nulls(value, next);
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::compile(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "n": {"type": "string"},
                "d": {"type": "string", "default": "x"},
                "z": {"type": "string", "nullable": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"tidy": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer"}}}},
                "any": {"type": "object", "additionalProperties": true},
                "emb": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            }},
        }}))
    }

    #[test]
    fn unknown_fields_go_and_are_told() {
        let mut object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"}, "other": 1, "spec": {
            "list": [{"k": "a", "zz": 1}, {"y": {"k": 1}}],
            "free": {"x": {"y": 1}, "tidy": {"a": "", "b": 1}},
            "map": {"one": {"q": 1, "r": 2}},
            "any": {"s": "kept", "o": {"gone": 1}},
            "emb": {"apiVersion": "v1", "kind": "P", "metadata": {"x": 1}, "spec": {}, "status": {}},
        }});
        let found = prune(&mut object, Some(&schema()));
        assert_eq!(
            found,
            [
                "other",
                "spec.any.o.gone",
                "spec.emb.status",
                "spec.free.tidy.b",
                "spec.list[0].zz",
                "spec.list[1].y",
                "spec.map.one.r"
            ]
        );
        assert_eq!(object["spec"]["free"], json!({"x": {"y": 1}, "tidy": {"a": ""}}));
        assert_eq!(object["spec"]["any"], json!({"s": "kept", "o": {}}));
        assert!(prune(&mut object, Some(&schema())).is_empty());
    }

    #[test]
    fn without_a_schema_only_metadata_stays() {
        let mut object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {}, "spec": {}});
        assert_eq!(prune(&mut object, None), ["spec"]);
        assert_eq!(object, json!({"apiVersion": "a/v1", "kind": "K", "metadata": {}}));
    }

    #[test]
    fn nulls_go_where_they_mean_nothing() {
        let mut object = json!({"spec": {"n": null, "d": null, "z": null, "list": [null, {"k": null}]}});
        nulls(&mut object, Some(&schema()));
        assert_eq!(object, json!({"spec": {"d": null, "z": null, "list": [null, {}]}}));
    }
}
