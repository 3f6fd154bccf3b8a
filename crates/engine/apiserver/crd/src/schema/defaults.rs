//! Defaults of a structural schema.

use serde_json::Value;

use super::{Additional, Schema, prune};

/// Fills in what is missing, and what is null where null is no value.
pub fn apply(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let missing = match map.get(name) {
                    None => true,
                    Some(have) => have.is_null() && !property.nullable,
                };
                if missing {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, inner) in map.iter_mut() {
                if let Some(property) = schema.properties.get(name) {
                    apply(inner, property);
                } else if let Additional::Schema(values) = &schema.additional {
                    item(inner, values);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|inner| item(inner, schema));
            }
        }
        _ => {}
    }
}

fn item(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
    apply(value, schema);
}

/// Removes from defaults what their own schema doesn't know.
pub(super) fn prune_defaults(schema: &mut Schema) {
    if let Some(mut default) = schema.default.take() {
        prune::prune_value(&mut default, schema);
        schema.default = Some(default);
    }
    schema.properties.values_mut().for_each(prune_defaults);
    if let Some(items) = &mut schema.items {
        prune_defaults(items);
    }
    if let Additional::Schema(values) = &mut schema.additional {
        prune_defaults(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_fill_what_is_missing() {
        let schema = Schema::compile(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer", "default": 3},
                "z": {"type": "string", "nullable": true, "default": "d"},
                "deep": {"type": "object", "default": {"a": 1, "unknown": 2},
                    "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}}},
                "list": {"type": "array", "items": {"type": "string", "default": "i"}},
                "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 5}},
            }},
        }}));
        let mut object = json!({"spec": {"z": null, "list": [null, "x"], "map": {"k": null}}});
        apply(&mut object, &schema);
        assert_eq!(
            object["spec"],
            json!({"size": 3, "z": null, "deep": {"a": 1, "b": 2}, "list": ["i", "x"], "map": {"k": 5}})
        );
        let mut object = json!({});
        apply(&mut object, &schema);
        assert_eq!(object, json!({}));
        let mut object = json!({"spec": {"size": null, "z": "v", "deep": {}}});
        apply(&mut object, &schema);
        assert_eq!(object["spec"], json!({"size": 3, "z": "v", "deep": {"b": 2}}));
    }
}
