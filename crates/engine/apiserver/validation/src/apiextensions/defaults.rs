//! Defaults in schemas: they fulfil the schema, and have no fields that it does not know.

use std::ops::ControlFlow;

use engenho_cel::Budget;
use serde_json::Value;

use super::walk::{self, DEPTH_MAX};
use super::{default_rules, values};
use crate::get::{entries, flag, given};
use crate::shared::Errors;
use crate::{FieldError, Path};

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// What is wrong with the defaults in a schema.
pub(super) fn validate(schema: &Value, pruned: bool, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let place = Place {
        object: true,
        in_metadata: false,
        depth: 0,
    };
    let _ = within(schema, place, pruned, path, &mut Budget::per_call(), &mut errors);
    errors
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// Whether the schema is of a whole object, with metadata.
    object: bool,
    in_metadata: bool,
    depth: usize,
}

/// Breaks when no further rules may be run.
fn within(
    schema: &Value,
    place: Place,
    pruned: bool,
    path: &Path<'_>,
    budget: &mut Budget,
    errors: &mut Errors,
) -> ControlFlow<()> {
    if !schema.is_object() || place.depth > DEPTH_MAX {
        return ControlFlow::Continue(());
    }
    let object = place.object || flag(&schema[EMBEDDED]);
    let in_metadata = place.in_metadata && !object;
    let default = &schema["default"];
    if given(default) {
        let at = path.child("default");
        if pruned && !in_metadata && has_unknown(default, Some(schema), object) {
            errors.push(FieldError::invalid(at, default.clone(), "must not have unknown fields"));
        }
        let mut found = Errors::new();
        if !in_metadata {
            embedded(default, schema, object, 0, &at, &mut found);
        }
        if found.is_empty() {
            values::validate(default, schema, "", &at, 0, &mut found);
        }
        let mut flow = ControlFlow::Continue(());
        if found.is_empty() {
            flow = default_rules::validate(default, schema, object, &at, budget, &mut found);
        }
        errors.extend(found);
        flow?;
    }
    // Defaults are forbidden in what additional properties are like.
    let below = Place {
        object: false,
        in_metadata,
        depth: place.depth + 1,
    };
    within(&schema["items"], below, pruned, &path.child("items"), budget, errors)?;
    let properties = path.child("properties");
    for (name, property) in entries(&schema["properties"]) {
        let of_object = object && matches!(name, "metadata" | "apiVersion" | "kind");
        let below = Place {
            in_metadata: in_metadata || of_object,
            ..below
        };
        within(property, below, pruned, &properties.key(name), budget, errors)?;
    }
    ControlFlow::Continue(())
}

/// Whether a value has fields that its schema does not know; with no schema, any field is one.
fn has_unknown(value: &Value, schema: Option<&Value>, object: bool) -> bool {
    let keeps = schema.is_some_and(|schema| flag(&schema[PRESERVES]));
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            if object && matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                return false;
            }
            let Some(schema) = schema else {
                return true;
            };
            let additional = &schema["additionalProperties"];
            match schema["properties"].get(name) {
                Some(property) => has_unknown(value, Some(property), flag(&property[EMBEDDED])),
                None if given(additional) => {
                    let inner = Some(additional).filter(|inner| inner.is_object());
                    (inner.is_some() || !keeps) && has_unknown(value, inner, flag(&additional[EMBEDDED]))
                }
                None => !keeps,
            }
        }),
        Value::Array(list) => {
            let inner = schema.map(|schema| &schema["items"]).filter(|inner| inner.is_object());
            let embedded = inner.is_some_and(|inner| flag(&inner[EMBEDDED]));
            (inner.is_some() || !keeps) && list.iter().any(|value| has_unknown(value, inner, embedded))
        }
        _ => false,
    }
}

/// Objects within a value say what they are.
fn embedded(value: &Value, schema: &Value, object: bool, depth: usize, path: &Path<'_>, errors: &mut Errors) {
    if !schema.is_object() || depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            if object || flag(&schema[EMBEDDED]) {
                for key in ["apiVersion", "kind"] {
                    if !fields.contains_key(key) {
                        errors.push(FieldError::required(path.child(key), ""));
                    }
                }
            }
            for (name, value) in fields {
                match schema["properties"].get(name) {
                    Some(property) => embedded(value, property, false, depth + 1, &path.child(name), errors),
                    None => {
                        let additional = &schema["additionalProperties"];
                        embedded(value, additional, false, depth + 1, &path.key(name), errors);
                    }
                }
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                embedded(value, &schema["items"], false, depth + 1, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

/// Whether any default in a schema has fields that are not known there.
pub(super) fn any_unpruned(schema: &Value) -> bool {
    walk::any(schema, |schema| {
        let default = &schema["default"];
        given(default) && has_unknown(default, Some(schema), flag(&schema[EMBEDDED]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(property: Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"a": property}});
        let errors = validate(&schema, true, &Path::Root.child("s"));
        errors.into_iter().map(|e| e.message).collect()
    }

    #[test]
    fn defaults_fulfil_their_schema() {
        assert!(found(json!({"type": "integer", "default": 1})).is_empty());
        assert_eq!(
            found(json!({"type": "integer", "default": true})),
            ["Invalid value: \"boolean\":  in body must be of type integer: \"boolean\""]
        );
    }

    #[test]
    fn unknown_fields_are_refused_unless_preserved() {
        let with = |extra: Value| {
            let mut schema = json!({"type": "object", "default": {"z": {"y": 1}}});
            schema
                .as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            found(schema).len()
        };
        assert_eq!(with(json!({})), 1);
        assert_eq!(with(json!({PRESERVES: true})), 0);
        assert_eq!(with(json!({"additionalProperties": {"type": "object"}})), 1);
        assert_eq!(
            with(json!({"additionalProperties": {"type": "object", PRESERVES: true}})),
            0
        );
    }

    #[test]
    fn embedded_objects_say_what_they_are() {
        let schema = json!({"type": "object", EMBEDDED: true, PRESERVES: true, "default": {"kind": "K"}});
        assert_eq!(found(schema), ["Required value"]);
    }
}
