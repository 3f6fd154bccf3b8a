//! What is wrong with an instance, in upstream's order and words. Its own metadata is the server's to check, before.

mod correlate;
mod embedded;
mod fault;
mod lists;
mod rules;
mod validate;

use engenho_validation::{FieldError, Path};
use serde_json::Value;

use crate::definition::{Definition, Version};
use crate::schema::Schema;
use crate::{go, scale};

pub use engenho_validation::rules::Found;

/// What errors keep rules from being looked at.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];
const UNCHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
/// How upstream prints the path of a value as a whole.
const NOWHERE: &str = "<nil>";

/// What is wrong with a new instance.
pub fn create(definition: &Definition, version: &Version, object: &Value) -> Found {
    let mut errors = type_meta(definition, version, object);
    if !errors.is_empty() {
        return found(errors);
    }
    if let Some(schema) = &version.schema {
        errors.extend(validate::create(schema, object, ""));
    }
    errors.extend(scale::invalid_spec(version, object));
    errors.extend(scale::invalid_status(version, object));
    if let Some(schema) = &version.schema {
        errors.extend(embedded::validate(object, schema));
        errors.extend(lists::validate(object, schema));
        return ruled(schema, object, None, errors);
    }
    found(errors)
}

/// What is wrong with an instance that replaces another: what has not changed may stay as it is.
pub fn update(definition: &Definition, version: &Version, new: &Value, old: &Value) -> Found {
    let mut errors = type_meta(definition, version, new);
    if !errors.is_empty() {
        return found(errors);
    }
    if let Some(schema) = &version.schema {
        errors.extend(validate::update(schema, new, old, ""));
    }
    errors.extend(scale::invalid_spec(version, new));
    errors.extend(scale::invalid_status(version, new));
    if let Some(schema) = &version.schema {
        errors.extend(embedded::validate(new, schema));
        if lists::validate(old, schema).is_empty() {
            errors.extend(lists::validate(new, schema));
        }
        return ruled(schema, new, Some(old), errors);
    }
    found(errors)
}

/// What is wrong with a status that replaces another through the subresource.
pub fn update_status(definition: &Definition, version: &Version, new: &Value, old: &Value) -> Found {
    let mut errors = type_meta(definition, version, new);
    if !errors.is_empty() {
        return found(errors);
    }
    let status_schema = version
        .schema
        .as_ref()
        .and_then(|schema| schema.properties.get("status"));
    if let (Some(schema), Some(status)) = (status_schema, new.get("status")) {
        let before = old.get("status").unwrap_or(&Value::Null);
        errors.extend(validate::update(schema, status, before, "status"));
    }
    errors.extend(scale::invalid_status(version, new));
    if let Some(schema) = &version.schema {
        let lists = lists::validate(new, schema);
        if !lists.is_empty() && lists::validate(old, schema).is_empty() {
            errors.extend(lists);
        }
        return ruled(schema, new, Some(old), errors);
    }
    found(errors)
}

fn found(errors: Vec<FieldError>) -> Found {
    Found {
        errors,
        warnings: Vec::new(),
    }
}

/// What was found and what rules find; they are not looked at if the object is not what they take it for.
fn ruled(schema: &Schema, new: &Value, old: Option<&Value>, errors: Vec<FieldError>) -> Found {
    let mut found = found(errors);
    if !schema.has_rules {
        return found;
    }
    if found.errors.iter().any(|error| BLOCKING.contains(&error.reason)) {
        found.errors.push(FieldError::invalid(NOWHERE, Value::Null, UNCHECKED));
    } else {
        rules::run(schema, new, old, &mut found);
    }
    found
}

fn type_meta(definition: &Definition, version: &Version, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let api_version = format!("{}/{}", definition.group, version.name);
    for (field, wanted) in [
        ("kind", definition.accepted.kind.as_str()),
        ("apiVersion", &api_version),
    ] {
        let have = object[field].as_str().unwrap_or_default();
        if have != wanted {
            errors.push(FieldError::invalid(field, have, &format!("must be {wanted}")));
        }
    }
    errors
}

/// A path as text, as errors carry it.
fn shown(path: &Path<'_>) -> String {
    match path {
        Path::Root => NOWHERE.to_owned(),
        path => path.to_string(),
    }
}

/// A malformed value at a path.
fn invalid(path: &Path<'_>, value: &Value, detail: &str) -> FieldError {
    go::invalid(&shown(path), value, detail)
}

#[cfg(test)]
mod tests;
