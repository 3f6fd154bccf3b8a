//! Printer columns, subresources and selectable fields.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field_path;
use crate::get::{given, items, text};
use crate::shared::Errors;
use crate::{FieldError, Path};

/// Types of columns, sorted.
const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
/// Formats of columns, sorted.
const FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];
const SELECTABLE_MAX: usize = 8;

/// What is wrong with printer columns.
pub(super) fn columns(columns: &Value, path: &Path<'_>) -> Errors {
    let columns = items(columns).iter().enumerate();
    columns.flat_map(|(i, one)| column(one, &path.index(i))).collect()
}

fn column(column: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    if text(&column["name"]).is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    }
    let kind = text(&column["type"]);
    let types = format!("must be one of {}", TYPES.join(","));
    if kind.is_empty() {
        errors.push(FieldError::required(path.child("type"), &types));
    } else if !TYPES.contains(&kind) {
        errors.push(FieldError::invalid(path.child("type"), kind, &types));
    }
    let format = text(&column["format"]);
    if !format.is_empty() && !FORMATS.contains(&format) {
        let detail = format!("must be one of {}", FORMATS.join(","));
        errors.push(FieldError::invalid(path.child("format"), format, &detail));
    }
    // The name of the field is that of an older version, upstream too.
    match text(&column["jsonPath"]) {
        "" => errors.push(FieldError::required(path.child("JSONPath"), "")),
        target => errors.extend(simple_path(target, &path.child("JSONPath"))),
    }
    errors
}

fn simple_path(target: &str, path: &Path<'_>) -> Errors {
    match target.starts_with('.') {
        true => Errors::new(),
        false => vec![FieldError::invalid(
            path,
            target,
            "must be a simple json path starting with .",
        )],
    }
}

/// What is wrong with subresources.
pub(super) fn subresources(subresources: &Value, path: &Path<'_>) -> Errors {
    let scale = &subresources["scale"];
    if !given(scale) {
        return Errors::new();
    }
    let path = path.child("scale");
    let mut errors = Errors::new();
    for (key, above, required, detail) in [
        (
            "specReplicasPath",
            &[".spec."][..],
            true,
            "should be a json path under .spec",
        ),
        (
            "statusReplicasPath",
            &[".status."][..],
            true,
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            &[".spec.", ".status."][..],
            false,
            "should be a json path under either .spec or .status",
        ),
    ] {
        let field = path.child(key);
        let target = text(&scale[key]);
        if target.is_empty() {
            if required {
                errors.push(FieldError::required(field, ""));
            }
            continue;
        }
        let wrong = simple_path(target, &field);
        if wrong.is_empty() && !above.iter().any(|prefix| target.starts_with(prefix)) {
            errors.push(FieldError::invalid(field, target, detail));
        }
        errors.extend(wrong);
    }
    errors
}

/// What is wrong with selectable fields of objects with this schema.
pub(super) fn selectable(fields: &Value, schema: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for (i, one) in items(fields).iter().enumerate() {
        let at = path.index(i);
        let field = at.child("jsonPath");
        let target = text(&one["jsonPath"]);
        if target.is_empty() {
            errors.push(FieldError::required(field, ""));
            continue;
        }
        let found = match field_path::find(target, schema, false) {
            Ok(found) => found,
            Err(fault) => {
                let detail = format!("is an invalid path: {fault}");
                errors.push(FieldError::invalid(field, target, &detail));
                continue;
            }
        };
        if found.first == "metadata" {
            let detail = "must not point to fields in metadata";
            errors.push(FieldError::invalid(field, target, detail));
        }
        if !["string", "boolean", "integer"].contains(&text(&found.schema["type"])) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(field, target, detail));
        }
        if !seen.insert(found.path) {
            errors.push(FieldError::duplicate(field, target));
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.push(FieldError::too_many(path, seen.len(), SELECTABLE_MAX));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_show_something() {
        let path = Path::Root.child("c");
        assert!(columns(&json!([{"name": "A", "type": "string", "jsonPath": ".a"}]), &path).is_empty());
        assert_eq!(
            columns(
                &json!([{}, {"name": "A", "type": "x", "format": "y", "jsonPath": "a"}]),
                &path
            )
            .len(),
            6
        );
    }

    #[test]
    fn scale_is_found_in_spec_and_status() {
        let path = Path::Root.child("s");
        let scale = |spec: &str| json!({"scale": {"specReplicasPath": spec, "statusReplicasPath": ".status.r"}});
        assert!(subresources(&scale(".spec.r"), &path).is_empty());
        for bad in ["", "x", ".x"] {
            assert_eq!(subresources(&scale(bad), &path).len(), 1, "{bad}");
        }
    }

    #[test]
    fn scalars_are_selectable() {
        let path = Path::Root.child("f");
        let schema =
            json!({"properties": {"spec": {"properties": {"a": {"type": "string"}, "b": {"type": "object"}}}}});
        let fields = |target: &str| selectable(&json!([{"jsonPath": target}]), &schema, &path).len();
        assert_eq!(fields(".spec.a"), 0);
        for bad in [".spec.b", ".spec.c", "spec", ".spec['a']", ""] {
            assert_eq!(fields(bad), 1, "{bad}");
        }
    }
}
