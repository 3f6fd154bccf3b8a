//! Objects embedded in an instance say what they are, and their metadata is sound.

use engenho_validation::{FieldError, Path, labels, names};
use serde_json::Value;

use super::{invalid, shown};
use crate::schema::{self, Additional, Schema};

/// What is wrong with the objects embedded in an instance; the instance itself is not one of them.
pub(super) fn validate(object: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(object, schema, &Path::Root, &mut errors);
    errors
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            if schema.embedded {
                resource(value, path, errors);
            }
            for (name, inner) in map {
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, property, &path.child(name), errors);
                } else if let Additional::Schema(values) = &schema.additional {
                    walk(inner, values, &path.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    walk(item, schema, &path.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn resource(object: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        if object.get(name).is_none() {
            errors.push(FieldError::required(shown(&path.child(name)), ""));
        }
    }
    for name in ["apiVersion", "kind"] {
        let at = path.child(name);
        let Some(value) = object.get(name) else { continue };
        match value.as_str() {
            None => errors.push(invalid(&at, value, "must be a string")),
            Some("") => errors.push(invalid(&at, value, "must not be empty")),
            Some(version) if name == "apiVersion" => {
                if version.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {version}");
                    errors.push(invalid(&at, value, &detail));
                }
            }
            Some(kind) => {
                let wrong = names::dns_1035_label(&kind.to_lowercase());
                if !wrong.is_empty() {
                    let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    errors.push(invalid(&at, value, &detail));
                }
            }
        }
    }
    if let Some(given) = object.get("metadata") {
        let at = path.child("metadata");
        let mut read = given.clone();
        match schema::decode_metadata(&mut read, "metadata", false) {
            Err(fault) => errors.push(invalid(&at, given, &fault)),
            Ok(_) => metadata(&read, &at, errors),
        }
    }
}

fn metadata(metadata: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    let mut named = |name: &str, value: &str, wrong: Vec<String>| {
        let at = shown(&path.child(name));
        errors.extend(wrong.iter().map(|wrong| FieldError::invalid(at.clone(), value, wrong)));
    };
    let generate = text("generateName");
    if !generate.is_empty() {
        named("generateName", generate, names::path_segment(generate));
    }
    let name = text("name");
    if !name.is_empty() {
        named("name", name, names::path_segment(name));
    }
    let namespace = text("namespace");
    if !namespace.is_empty() {
        named("namespace", namespace, names::dns_label(namespace));
    }
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation < 0) {
        let at = shown(&path.child("generation"));
        errors.push(FieldError::invalid(
            at,
            generation,
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(labels::labels(&metadata["labels"], &path.child("labels")));
    errors.extend(labels::annotations(
        &metadata["annotations"],
        &path.child("annotations"),
    ));
    let at = path.child("finalizers");
    for name in metadata["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let wrong = names::qualified(name);
        errors.extend(wrong.iter().map(|wrong| FieldError::invalid(shown(&at), name, wrong)));
    }
}
