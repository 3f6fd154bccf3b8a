//! Metadata, of the object itself and of objects embedded in it: read as a typed decoder reads it.

use engenho_catalog::{Catalog, Schema as CatalogSchema};
use engenho_patch::{prune, typecheck};
use serde_json::{Map, Value};

use super::{Additional, Schema};
use crate::go;

/// The built-in schema of metadata.
fn object_meta() -> Option<CatalogSchema<'static>> {
    Catalog::builtin().schema("", "v1", "Pod")?.property("metadata")
}

/// Reads metadata: fields that are not known go, and their paths below `prefix` are given. Malformed fields are an
/// error, in the words of Go's decoder, or go as well if `lenient`.
pub(crate) fn decode(metadata: &mut Value, prefix: &str, lenient: bool) -> Result<Vec<String>, String> {
    let Some(schema) = object_meta() else {
        return Ok(Vec::new());
    };
    let map = match metadata {
        Value::Object(map) => map,
        Value::Null => {
            *metadata = Value::Object(Map::new());
            return Ok(Vec::new());
        }
        other if lenient => {
            *other = Value::Object(Map::new());
            return Ok(Vec::new());
        }
        other => {
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type v1.ObjectMeta",
                engenho_patch::meta::json_type(other)
            ));
        }
    };
    if lenient {
        map.retain(|name, value| fault(name, value, &schema).is_none());
    } else if let Some(fault) = map.iter().find_map(|(name, value)| fault(name, value, &schema)) {
        return Err(fault);
    }
    let found = prune::prune(metadata, &schema);
    let quoted = |text: &str| {
        let path = text.strip_prefix("unknown field \"")?.strip_suffix('"')?;
        Some(format!("{prefix}.{path}"))
    };
    let unknown = found.iter().filter_map(|text| quoted(text)).collect();
    normalise(metadata);
    Ok(unknown)
}

/// Why a field of metadata cannot be read.
fn fault(name: &str, value: &Value, schema: &CatalogSchema<'static>) -> Option<String> {
    let field = Value::Object(Map::from_iter([
        // Names the struct in the text.
        ("kind".to_owned(), "ObjectMeta".into()),
        (name.to_owned(), value.clone()),
    ]));
    match name {
        "kind" => None,
        _ => typecheck::check(&field, schema).err().map(|fault| fault.to_string()),
    }
}

/// What a typed encoder leaves out: nulls and empty values.
fn normalise(metadata: &mut Value) {
    let Value::Object(map) = metadata else { return };
    map.retain(|name, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Number(number) => name == "deletionGracePeriodSeconds" || number.as_i64() != Some(0),
        Value::Bool(_) => true,
    });
}

/// Reads `apiVersion`, `kind` and `metadata` of objects embedded in a value. Gives the paths of unknown fields, sorted.
pub(crate) fn coerce(value: &mut Value, schema: &Schema, lenient: bool) -> Result<Vec<String>, String> {
    let mut unknown = Vec::new();
    walk(value, schema, "", lenient, &mut unknown)?;
    unknown.sort();
    Ok(unknown)
}

fn walk(
    value: &mut Value,
    schema: &Schema,
    path: &str,
    lenient: bool,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    let child = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Object(map) => {
            if schema.embedded {
                for name in ["apiVersion", "kind"] {
                    match map.get(name) {
                        None | Some(Value::String(_)) => {}
                        Some(_) if lenient => drop(map.remove(name)),
                        Some(other) => {
                            let at = child(name);
                            let fault = go::invalid(&at, other, "must be a string");
                            return Err(format!("{at}: {}", fault.message));
                        }
                    }
                }
                if let Some(metadata) = map.get_mut("metadata") {
                    let at = child("metadata");
                    let shown = metadata.clone();
                    match decode(metadata, &at, lenient) {
                        Ok(found) => unknown.extend(found),
                        Err(fault) => {
                            let fault = go::invalid(&at, &shown, &fault);
                            return Err(format!("{at}: {}", fault.message));
                        }
                    }
                }
            }
            for (name, inner) in map.iter_mut() {
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, property, &child(name), lenient, unknown)?;
                } else if let Additional::Schema(values) = &schema.additional {
                    walk(inner, values, &format!("{path}[{name}]"), lenient, unknown)?;
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter_mut().enumerate() {
                    walk(item, schema, &format!("{path}[{index}]"), lenient, unknown)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_is_read_as_typed() {
        let mut metadata =
            json!({"name": "x", "labels": {"a": "b"}, "foo": 1, "annotations": {}, "creationTimestamp": null});
        assert_eq!(
            decode(&mut metadata, "metadata", false),
            Ok(vec!["metadata.foo".to_owned()])
        );
        assert_eq!(metadata, json!({"name": "x", "labels": {"a": "b"}}));
        let mut metadata = json!({"name": "x", "labels": {"a": 1}});
        let fault = decode(&mut metadata.clone(), "metadata", false).unwrap_err();
        assert_eq!(
            fault,
            "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
        );
        assert_eq!(decode(&mut metadata, "metadata", true), Ok(Vec::new()));
        assert_eq!(metadata, json!({"name": "x"}));
    }

    #[test]
    fn embedded_objects_are_read_alike() {
        let schema = Schema::compile(&json!({"type": "object", "properties": {
            "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        }}));
        let mut object = json!({"e": {"apiVersion": "v1", "kind": "P", "metadata": {"name": "n", "zz": 1}, "x": 1}});
        assert_eq!(
            coerce(&mut object, &schema, false),
            Ok(vec!["e.metadata.zz".to_owned()])
        );
        assert_eq!(object["e"]["metadata"], json!({"name": "n"}));
        let mut object = json!({"e": {"apiVersion": 1}});
        assert_eq!(
            coerce(&mut object, &schema, false),
            Err("e.apiVersion: Invalid value: 1: must be a string".to_owned())
        );
    }
}
