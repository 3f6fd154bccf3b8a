//! What a typed encoder never writes: empty optional lists and maps. Two objects that mean the same are the same bytes.

use engenho_catalog::{Schema, SchemaType};
use serde_json::Value;

/// Removes empty lists and maps of optional fields, at any depth that the schema describes.
pub fn drop_empties(value: &mut Value, schema: &Schema<'_>) {
    match value {
        Value::Object(map) if schema.properties().len() > 0 => {
            map.retain(|name, child| match schema.property(name) {
                Some(property) => {
                    drop_empties(child, &property);
                    schema.is_required(name) || !is_empty_collection(child, &property)
                }
                None => true,
            });
        }
        Value::Object(map) => {
            if let Some(values) = schema.additional_properties() {
                map.values_mut().for_each(|child| drop_empties(child, &values));
            }
        }
        Value::Array(items) => {
            if let Some(item) = schema.items() {
                items.iter_mut().for_each(|child| drop_empties(child, &item));
            }
        }
        _ => {}
    }
}

/// An empty list, or an empty map with free keys. An empty structure is a value of its own (`emptyDir: {}`).
fn is_empty_collection(value: &Value, schema: &Schema<'_>) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => {
            map.is_empty()
                && schema.schema_type() == Some(SchemaType::Object)
                && schema.properties().len() == 0
                && schema.additional_properties().is_some()
        }
        _ => false,
    }
}

/// The same for `metadata` of kinds without a schema.
pub fn drop_empty_metadata(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "labels",
            "annotations",
            "finalizers",
            "ownerReferences",
            "managedFields",
        ] {
            let empty = match meta.get(field) {
                Some(Value::Array(items)) => items.is_empty(),
                Some(Value::Object(map)) => map.is_empty(),
                _ => false,
            };
            if empty && field != "managedFields" {
                meta.remove(field);
            }
        }
    }
}
