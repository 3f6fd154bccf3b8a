//! Structural schemas: every value that is validated has a type, said outside of what combines conditions.

use serde_json::Value;

use super::pattern;
use super::walk::DEPTH_MAX;
use crate::get::{entries, flag, given, is_empty, items, optional_text, text};
use crate::shared::Errors;
use crate::{FieldError, Path};

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// Where a schema stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Why a schema cannot be read as a structural one, if it cannot.
pub(super) fn unreadable(schema: &Value, depth: usize) -> Option<String> {
    if !schema.is_object() || depth > DEPTH_MAX {
        return None;
    }
    let unsupported = [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("additionalItems", "additionalItems"),
        ("definitions", "definitions"),
    ];
    let set = |key: &str| match key {
        "additionalItems" => given(&schema[key]),
        _ => !is_empty(&schema[key]),
    };
    if let Some((_, named)) = unsupported.into_iter().find(|(key, _)| set(key)) {
        return Some(format!("OpenAPIV3Schema '{named}' is not supported"));
    }
    let within = |schema: &Value| unreadable(schema, depth + 1);
    let combined = ["allOf", "anyOf", "oneOf"].iter().flat_map(|key| items(&schema[*key]));
    let combined = std::iter::once(&schema["not"]).chain(combined);
    if let Some(fault) = combined.into_iter().find_map(within) {
        return Some(fault);
    }
    if schema[PRESERVES] == Value::Bool(false) {
        return Some(format!("internal error: '{PRESERVES}' must be true or undefined"));
    }
    if !items(&schema["items"]).is_empty() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    let properties = entries(&schema["properties"]);
    let mut rest = vec![&schema["items"]];
    rest.extend(properties.iter().map(|(_, property)| *property));
    rest.push(&schema["additionalProperties"]);
    rest.into_iter().find_map(within)
}

/// What keeps a schema from being structural, sorted as upstream does.
pub(super) fn validate(schema: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    invariants(schema, Level::Root, 0, path, &mut errors);
    combined_complete(schema, Some(schema), 0, path, path, &mut errors);
    errors.sort_by_cached_key(|error| format!("{}: {}", error.field, error.message));
    errors
}

fn invariants(schema: &Value, level: Level, depth: usize, path: &Path<'_>, errors: &mut Errors) {
    if !schema.is_object() || depth > DEPTH_MAX {
        return;
    }
    let kind = text(&schema["type"]);
    let items_path = path.child("items");
    if kind == "array" && !schema["items"].is_object() {
        errors.push(FieldError::required(items_path, "must be specified"));
    }
    invariants(&schema["items"], Level::Item, depth + 1, &items_path, errors);
    let properties_path = path.child("properties");
    let properties = &schema["properties"];
    for (name, property) in entries(properties) {
        invariants(property, Level::Field, depth + 1, &properties_path.key(name), errors);
    }
    let additional_path = path.child("additionalProperties");
    let additional = &schema["additionalProperties"];
    if given(additional) {
        if level == Level::Root {
            errors.push(FieldError::forbidden(additional_path, "must not be used at the root"));
        }
        invariants(additional, Level::Field, depth + 1, &additional_path, errors);
    }
    let (preserves, embedded) = (flag(&schema[PRESERVES]), flag(&schema[EMBEDDED]));
    let int_or_string = flag(&schema[INT_OR_STRING]);
    for (key, set) in [(PRESERVES, preserves), (EMBEDDED, embedded)] {
        if int_or_string && set {
            let detail = format!("must be false if {INT_OR_STRING} is true");
            errors.push(FieldError::invalid(path.child(key), true, &detail));
        }
    }
    let skip = Skip {
        any_of: is_int_or_string(&schema["anyOf"]),
        first_all_of: is_int_or_string(&schema["allOf"][0]["anyOf"]),
    };
    combined(schema, skip, depth, path, errors);
    let type_path = path.child("type");
    if embedded && kind != "object" {
        let detail = format!("must be object if {EMBEDDED} is true");
        errors.push(match kind {
            "" => FieldError::required(type_path, &detail),
            kind => FieldError::invalid(type_path, kind, &detail),
        });
    } else if kind.is_empty() && !int_or_string && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(type_path, detail));
    }
    if embedded && given(additional) {
        let detail = format!("must not be used if {EMBEDDED} is set");
        errors.push(FieldError::forbidden(additional_path, &detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(type_path, kind, "must be object at the root"));
    }
    let of_object = level == Level::Root || embedded;
    for (name, needed) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let property = properties.get(name);
        if let Some(kind) = property.map(|property| text(&property["type"]))
            && of_object
            && kind != needed
        {
            let field = properties_path.key(name);
            errors.push(FieldError::invalid(
                field.child("type"),
                kind,
                &format!("must be {needed}"),
            ));
        }
    }
    if level == Level::Root
        && properties
            .get("metadata")
            .is_some_and(|metadata| !restricts_names_only(metadata))
    {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(properties_path.key("metadata"), detail));
    }
    if embedded && !preserves && is_empty(properties) {
        let detail = format!("must not be empty if {EMBEDDED} is true without {PRESERVES}");
        errors.push(FieldError::required(properties_path, &detail));
    }
}

/// Whether a schema of metadata says something of names alone.
fn restricts_names_only(metadata: &Value) -> bool {
    let properties = entries(&metadata["properties"]);
    let names = properties
        .iter()
        .all(|(name, _)| ["name", "generateName"].contains(name));
    let nothing = |value: &Value| is_empty(value) && !value.is_number() && *value != Value::Bool(true);
    // What is not kept in a structural schema does not count.
    let ignored = ["type", "properties", "default", "externalDocs", "example"];
    names
        && entries(metadata)
            .into_iter()
            .all(|(key, value)| ignored.contains(&key) || nothing(value))
}

/// The one combination of conditions that may name types: a number or a string.
fn is_int_or_string(any_of: &Value) -> bool {
    let only_type = |schema: &Value, kind: &str| {
        let says = |value: &Value| !is_empty(value) || value.is_number() || *value == Value::Bool(true);
        let set = entries(schema).into_iter().filter(|(_, value)| says(value));
        set.count() == 1 && text(&schema["type"]) == kind
    };
    matches!(items(any_of), [a, b] if only_type(a, "integer") && only_type(b, "string"))
}

/// Which combinations are known to be fine.
#[derive(Debug, Clone, Copy, Default)]
struct Skip {
    any_of: bool,
    first_all_of: bool,
}

/// What is wrong with the conditions of a schema and what combines them.
fn combined(schema: &Value, skip: Skip, depth: usize, path: &Path<'_>, errors: &mut Errors) {
    for key in ["anyOf", "allOf", "oneOf"] {
        if key == "anyOf" && skip.any_of {
            continue;
        }
        let at = path.child(key);
        for (i, one) in items(&schema[key]).iter().enumerate() {
            let skip = Skip {
                any_of: key == "allOf" && skip.first_all_of && i == 0,
                first_all_of: false,
            };
            nested(one, skip, depth + 1, &at.index(i), errors);
        }
    }
    nested(&schema["not"], Skip::default(), depth + 1, &path.child("not"), errors);
    if let Some(expression) = optional_text(&schema["pattern"]).filter(|pattern| !pattern.is_empty())
        && let Some(fault) = pattern::fault(expression)
    {
        let detail = format!("must be a valid regular expression, but isn't: error parsing regexp: {fault}");
        errors.push(FieldError::invalid(path.child("pattern"), expression, &detail));
    }
}

/// What a schema inside of combined conditions may not say.
fn nested(schema: &Value, skip: Skip, depth: usize, path: &Path<'_>, errors: &mut Errors) {
    if !schema.is_object() || depth > DEPTH_MAX {
        return;
    }
    combined(schema, skip, depth, path, errors);
    nested(
        &schema["items"],
        Skip::default(),
        depth + 1,
        &path.child("items"),
        errors,
    );
    let properties = path.child("properties");
    for (name, property) in entries(&schema["properties"]) {
        nested(property, Skip::default(), depth + 1, &properties.key(name), errors);
    }
    let mut forbid = |key: &str, state: &str| {
        let detail = format!("must be {state} to be structural");
        errors.push(FieldError::forbidden(path.child(key), &detail));
    };
    if !is_empty(&schema["type"]) {
        forbid("type", "empty");
    }
    if given(&schema["additionalProperties"]) && schema["additionalProperties"] != Value::Bool(false) {
        forbid("additionalProperties", "undefined");
    }
    if given(&schema["default"]) {
        forbid("default", "undefined");
    }
    for key in ["title", "description"] {
        if !is_empty(&schema[key]) {
            forbid(key, "empty");
        }
    }
    for key in ["nullable", PRESERVES, EMBEDDED, INT_OR_STRING] {
        if flag(&schema[key]) {
            forbid(key, "false");
        }
    }
    if !is_empty(&schema["x-kubernetes-list-map-keys"]) {
        forbid("x-kubernetes-list-map-keys", "empty");
    }
    for key in ["x-kubernetes-list-type", "x-kubernetes-map-type"] {
        if given(&schema[key]) {
            forbid(key, "undefined");
        }
    }
    if !is_empty(&schema["x-kubernetes-validations"]) {
        forbid("x-kubernetes-validations", "empty");
    }
    if schema["properties"].get("metadata").is_some() {
        let detail = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(properties.key("metadata"), detail));
    }
}

/// What the conditions of `schema` speak of has to be defined in `main`.
fn combined_complete(
    schema: &Value,
    main: Option<&Value>,
    depth: usize,
    main_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    complete(&schema["not"], main, depth + 1, main_path, &path.child("not"), errors);
    for key in ["allOf", "anyOf", "oneOf"] {
        let at = path.child(key);
        for (i, one) in items(&schema[key]).iter().enumerate() {
            complete(one, main, depth + 1, main_path, &at.index(i), errors);
        }
    }
}

fn complete(
    schema: &Value,
    main: Option<&Value>,
    depth: usize,
    main_path: &Path<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if !schema.is_object() || depth > DEPTH_MAX {
        return;
    }
    let Some(defined) = main else {
        let detail = format!("because it is defined in {path}");
        errors.push(FieldError::required(main_path, &detail));
        return;
    };
    combined_complete(schema, main, depth, main_path, path, errors);
    let item = Some(&defined["items"]).filter(|item| item.is_object());
    let (main_items, own_items) = (main_path.child("items"), path.child("items"));
    complete(&schema["items"], item, depth + 1, &main_items, &own_items, errors);
    let (main_properties, own_properties) = (main_path.child("properties"), path.child("properties"));
    for (name, property) in entries(&schema["properties"]) {
        let (at, own) = (main_properties.key(name), own_properties.key(name));
        match defined["properties"].get(name) {
            Some(main) => complete(property, Some(main), depth + 1, &at, &own, errors),
            None => {
                let detail = format!("because it is defined in {own}");
                errors.push(FieldError::required(at, &detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(schema: Value) -> Vec<String> {
        let path = Path::Root.child("s");
        validate(&schema, &path).into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn a_number_or_a_string_may_be_combined() {
        let port = json!({INT_OR_STRING: true, "anyOf": [{"type": "integer"}, {"type": "string"}]});
        assert!(fields(json!({"type": "object", "properties": {"p": port}})).is_empty());
        let port = json!({INT_OR_STRING: true, "anyOf": [{"type": "integer"}, {"type": "boolean"}]});
        assert_eq!(fields(json!({"type": "object", "properties": {"p": port}})).len(), 2);
    }

    #[test]
    fn metadata_is_restricted_by_name_alone() {
        let with = |metadata: Value| fields(json!({"type": "object", "properties": {"metadata": metadata}}));
        assert!(with(json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}})).is_empty());
        assert_eq!(
            with(json!({"type": "object", "properties": {"labels": {"type": "object"}}})).len(),
            1
        );
        assert_eq!(with(json!({"type": "object", "maxProperties": 3})).len(), 1);
    }

    #[test]
    fn embedded_objects_have_properties_or_preserve_them() {
        let with = |inner: Value| fields(json!({"type": "object", "properties": {"e": inner}}));
        assert!(with(json!({"type": "object", EMBEDDED: true, PRESERVES: true})).is_empty());
        assert_eq!(with(json!({EMBEDDED: true})).len(), 2);
    }

    #[test]
    fn what_is_unsupported_is_unreadable() {
        let schema = json!({"properties": {"a": {"not": {"$ref": "x"}}}});
        assert_eq!(
            unreadable(&schema, 0).unwrap(),
            "OpenAPIV3Schema '$ref' is not supported"
        );
        assert!(unreadable(&json!({"type": "object"}), 0).is_none());
    }
}
