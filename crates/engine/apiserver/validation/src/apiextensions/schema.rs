//! Schemas of custom resources: what of OpenAPI they may use, and the extensions of Kubernetes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::expressions::{Expressions, Seen};
use super::internal::{SCHEMA_FIELDS, schema_text};
use super::walk::DEPTH_MAX;
use super::{Asked, defaults, field_path, structural};
use crate::get::{entries, flag, given, is_empty, items, optional_text, text, texts};
use crate::shared::{Errors, is_false};
use crate::{FieldError, Path};

/// Types, sorted.
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];
/// What the schema of an object may say at its root if its status is a subresource.
const ALLOWED_AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// How often a list of keys is shown at most, each time with another of its faults.
const SHOWN_MAX: usize = 64;

/// What schemas have to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub asked: Asked,
    pub structural: bool,
}

/// Where in a schema one is.
#[derive(Debug, Clone, Copy, Default)]
struct Place<'a> {
    root: bool,
    /// Whether the schema is of what all objects have: `metadata`, `kind`, `apiVersion`.
    in_metadata: bool,
    /// Why there may be no default, if there may be none.
    no_defaults: Option<&'static str>,
    /// The nearest place from the root whose old values cannot be told from each other.
    uncorrelatable: Option<&'a str>,
    /// What expressions see here; nothing within conditions.
    seen: Option<&'a Seen>,
    depth: usize,
}

/// A walk over a schema.
struct Walk<'e> {
    asked: Asked,
    errors: &'e mut Errors,
    expressions: Expressions,
}

/// What is wrong with the schema of a version, or of all. `unchanged` if it is that of the old definition.
pub(super) fn validation(
    validation: &Value,
    with_status: bool,
    unchanged: bool,
    rules: Rules,
    path: &Path<'_>,
) -> Errors {
    let schema = &validation["openAPIV3Schema"];
    if !schema.is_object() {
        return Errors::new();
    }
    let mut errors = Errors::new();
    let at = path.child("openAPIV3Schema");
    if with_status {
        errors.extend(beside_status(schema, &at));
    }
    if flag(&schema["nullable"]) {
        errors.push(FieldError::forbidden(
            at.child("nullable"),
            "nullable cannot be true at the root",
        ));
    }
    let mut unreadable = None;
    let mut seen = None;
    if rules.structural {
        unreadable = structural::unreadable(schema, 0);
        if unreadable.is_none() {
            let mut found = structural::validate(schema, &at);
            if found.is_empty() {
                found = defaults::validate(schema, rules.asked.pruned_defaults, &at);
            }
            if found.is_empty() {
                seen = Some(Seen::root(schema));
            }
            errors.extend(found);
        }
    }
    let place = Place {
        root: true,
        seen: seen.as_ref(),
        ..Place::default()
    };
    let mut walk = Walk {
        asked: rules.asked,
        errors: &mut errors,
        expressions: Expressions::new(unchanged),
    };
    open_api(schema, place, &at, &mut walk);
    let expressions = walk.expressions;
    errors.extend(expressions.into_errors(&at));
    if let Some(fault) = unreadable
        && errors.is_empty()
    {
        errors.push(FieldError::invalid(at, "", &fault));
    }
    errors
}

/// Whether a field of a schema differs from its zero value; a pointer does whatever it points to.
fn is_set(key: &str, value: &Value) -> bool {
    const POINTERS: [&str; 8] = [
        "default",
        "items",
        "not",
        "additionalProperties",
        "additionalItems",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
    ];
    match value {
        Value::Null => false,
        _ if POINTERS.contains(&key) => true,
        Value::Bool(set) => *set,
        Value::Number(_) => true,
        other => !is_empty(other),
    }
}

fn beside_status(schema: &Value, path: &Path<'_>) -> Errors {
    for (name, key, _) in &SCHEMA_FIELDS {
        let value = &schema[*key];
        if !is_set(key, value) {
            continue;
        }
        if *name == "Type" {
            if text(value) != "object" {
                let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
                return vec![FieldError::invalid(path.child("type"), value.clone(), detail)];
            }
        } else if !ALLOWED_AT_ROOT.contains(name) {
            let detail = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                ALLOWED_AT_ROOT.join(" ")
            );
            return vec![FieldError::invalid_printed(path, &schema_text(schema), &detail)];
        }
    }
    Errors::new()
}

/// Upstream's checks of a schema, its own before those of the schemas within, save for those of extensions.
fn open_api(schema: &Value, place: Place<'_>, path: &Path<'_>, walk: &mut Walk<'_>) {
    if !schema.is_object() || place.depth > DEPTH_MAX {
        return;
    }
    let before = walk.errors.len();
    unsupported(schema, place, walk.asked, path, walk.errors);
    if flag(&schema["uniqueItems"]) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        walk.errors
            .push(FieldError::forbidden(path.child("uniqueItems"), detail));
    }
    let below = Place {
        root: false,
        seen: None,
        depth: place.depth + 1,
        ..place
    };
    let additional = &schema["additionalProperties"];
    if given(additional) {
        let at = path.child("additionalProperties");
        if !is_empty(&schema["properties"]) && *additional != Value::Bool(true) {
            let detail = "additionalProperties and properties are mutual exclusive";
            walk.errors.push(FieldError::forbidden(at, detail));
        }
        let seen = place.seen.map(|seen| seen.element(schema, additional));
        let mut below = Place {
            seen: seen.as_ref(),
            ..below
        };
        if place.in_metadata {
            below.no_defaults = Some("inside additionalProperties applying to object metadata");
        }
        open_api(additional, below, &at, walk);
    }
    properties(schema, place, below, path, walk);
    open_api(&schema["not"], below, &path.child("not"), walk);
    for key in ["allOf", "oneOf", "anyOf"] {
        let at = path.child(key);
        for (i, one) in items(&schema[key]).iter().enumerate() {
            open_api(one, below, &at.index(i), walk);
        }
    }
    for (name, one) in entries(&schema["definitions"]) {
        open_api(one, below, &path.child("definitions").key(name), walk);
    }
    let here = path.to_string();
    let mut item = below;
    if text(&schema["x-kubernetes-list-type"]) != "map" {
        item.uncorrelatable = place.uncorrelatable.or(Some(&here));
    }
    let at = path.child("items");
    let seen = place.seen.map(|seen| seen.element(schema, &schema["items"]));
    item.seen = seen.as_ref();
    open_api(&schema["items"], item, &at, walk);
    for (i, one) in items(&schema["items"]).iter().enumerate() {
        open_api(one, item, &at.index(i), walk);
    }
    for (name, one) in entries(&schema["dependencies"]) {
        open_api(one, below, &path.child("dependencies").key(name), walk);
    }
    extensions(schema, walk.asked, path, walk.errors);
    // Expressions are looked at if all that they could see is in order.
    if let Some(seen) = place.seen.filter(|_| walk.errors.len() == before) {
        walk.expressions.check(schema, seen, place.uncorrelatable, path);
    }
}

fn properties(schema: &Value, place: Place<'_>, below: Place<'_>, path: &Path<'_>, walk: &mut Walk<'_>) {
    let at = path.child("properties");
    for (name, property) in entries(&schema["properties"]) {
        let seen = place.seen.map(|seen| seen.property(schema, property, name));
        let mut below = Place {
            seen: seen.as_ref(),
            ..below
        };
        if place.root || flag(&schema["x-kubernetes-embedded-resource"]) {
            let reason = match name {
                "metadata" => Some("in top-level metadata"),
                "kind" => Some("in top-level kind"),
                "apiVersion" => Some("in top-level apiVersion"),
                _ => None,
            };
            below.in_metadata |= reason.is_some();
            if place.root {
                below.no_defaults = reason.or(below.no_defaults);
            }
        }
        open_api(property, below, &at.key(name), walk);
    }
}

fn unsupported(schema: &Value, place: Place<'_>, asked: Asked, path: &Path<'_>, errors: &mut Errors) {
    let kind = text(&schema["type"]);
    if asked.known_types && has_unknown_type(schema) {
        errors.push(FieldError::not_supported(path.child("type"), kind, &TYPES));
    }
    if given(&schema["default"])
        && let Some(reason) = place.no_defaults
    {
        let detail = format!("must not be set {reason}");
        errors.push(FieldError::forbidden(path.child("default"), &detail));
    }
    for key in [
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ] {
        let value = &schema[key];
        let set = match key {
            "id" | "patternProperties" | "definitions" => !is_empty(value),
            _ => given(value),
        };
        if set {
            errors.push(FieldError::forbidden(
                path.child(key),
                &format!("{key} is not supported"),
            ));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(path.child("type"), detail));
    }
    if !items(&schema["items"]).is_empty() {
        let detail = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(path.child("items"), detail));
    }
    let embedded = "x-kubernetes-embedded-resource";
    if place.in_metadata && flag(&schema[embedded]) {
        errors.push(FieldError::forbidden(
            path.child(embedded),
            "must not be used inside of resource meta",
        ));
    }
}

/// A type that an extension needs.
fn needs_type(schema: &Value, needed: &str, extension: &str, path: &Path<'_>) -> Option<FieldError> {
    let detail = format!("must be {needed} if {extension} is specified");
    match text(&schema["type"]) {
        kind if kind == needed => None,
        "" => Some(FieldError::required(path.child("type"), &detail)),
        kind => Some(FieldError::invalid(path.child("type"), kind, &detail)),
    }
}

fn extensions(schema: &Value, asked: Asked, path: &Path<'_>, errors: &mut Errors) {
    let preserves = "x-kubernetes-preserve-unknown-fields";
    if is_false(&schema[preserves]) {
        errors.push(FieldError::invalid(
            path.child(preserves),
            false,
            "must be true or undefined",
        ));
    }
    let key = "x-kubernetes-map-type";
    if let Some(kind) = optional_text(&schema[key]) {
        errors.extend(needs_type(schema, "object", key, path));
        if !["atomic", "granular"].contains(&kind) {
            errors.push(FieldError::not_supported(
                path.child(key),
                kind,
                &["atomic", "granular"],
            ));
        }
    }
    let key = "x-kubernetes-list-type";
    let list = optional_text(&schema[key]);
    if list.is_some() {
        match needs_type(schema, "array", key, path) {
            Some(error) => errors.push(error),
            None if asked.atomic_sets => errors.extend(composite_item(schema, path)),
            None => {}
        }
    }
    if let Some(kind) = list.filter(|kind| !["atomic", "set", "map"].contains(kind)) {
        errors.push(FieldError::not_supported(
            path.child(key),
            kind,
            &["atomic", "set", "map"],
        ));
    }
    if !items(&schema["x-kubernetes-list-map-keys"]).is_empty() && list != Some("map") {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list {
            None => FieldError::required(path.child(key), detail),
            Some(kind) => FieldError::invalid(path.child(key), kind, detail),
        });
    }
    if list == Some("map") {
        list_map(schema, path, errors);
    }
    if asked.map_keys {
        errors.extend(map_keys(schema, path));
    }
    let at = path.child("x-kubernetes-validations");
    for (i, rule) in items(&schema["x-kubernetes-validations"]).iter().enumerate() {
        errors.extend(expression(rule, schema, &at.index(i)));
    }
}

/// The items of a set are compared as a whole, so they must not have parts of their own.
fn composite_item(schema: &Value, path: &Path<'_>) -> Option<FieldError> {
    if text(&schema["x-kubernetes-list-type"]) != "set" {
        return None;
    }
    let item = &schema["items"];
    let of = |key: &str| optional_text(&item[key]);
    let key = match text(&item["type"]) {
        "array" if of("x-kubernetes-list-type").is_some_and(|kind| kind != "atomic") => "x-kubernetes-list-type",
        "object" if of("x-kubernetes-map-type") != Some("atomic") => "x-kubernetes-map-type",
        _ => return None,
    };
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let above = path.child("items");
    // What is printed is the type of the list in both cases, upstream too.
    let shown = item["x-kubernetes-list-type"].clone();
    Some(FieldError::invalid(above.child(key), shown, detail))
}

fn list_map(schema: &Value, path: &Path<'_>, errors: &mut Errors) {
    let keys_path = path.child("x-kubernetes-list-map-keys");
    let keys = &schema["x-kubernetes-list-map-keys"];
    if items(keys).is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(keys_path, detail));
    }
    let item = &schema["items"];
    let at = path.child("items");
    if !given(item) {
        errors.push(FieldError::required(
            at,
            "must have a schema if x-kubernetes-list-type is map",
        ));
        return;
    }
    if !item.is_object() {
        let detail = "must only have a single schema if x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at, item.clone(), detail));
        return;
    }
    let kind = text(&item["type"]);
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at.child("type"), kind, detail));
        return;
    }
    let properties = at.child("properties");
    let mut seen = BTreeSet::new();
    let before = errors.len();
    for key in texts(keys) {
        // Each error shows the whole list.
        if errors.len() - before >= SHOWN_MAX {
            break;
        }
        match item["properties"].get(key) {
            Some(property) if matches!(text(&property["type"]), "array" | "object") => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(properties.key(key).child("type"), kind, detail));
            }
            Some(_) => {}
            None => {
                let detail = "entries must all be names of item properties";
                errors.push(FieldError::invalid(keys_path, keys.clone(), detail));
            }
        }
        if !seen.insert(key) {
            errors.push(FieldError::invalid(
                keys_path,
                keys.clone(),
                "must not contain duplicate entries",
            ));
        }
    }
}

fn map_keys(schema: &Value, path: &Path<'_>) -> Errors {
    let item = &schema["items"];
    let list = text(&schema["x-kubernetes-list-type"]);
    if !item.is_object() || !["set", "map"].contains(&list) {
        return Errors::new();
    }
    let mut errors = Errors::new();
    let at = path.child("items");
    if flag(&item["nullable"]) {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list}");
        errors.push(FieldError::forbidden(at.child("nullable"), &detail));
    }
    if list == "set" {
        return errors;
    }
    let properties = at.child("properties");
    for key in texts(&schema["x-kubernetes-list-map-keys"]) {
        let Some(property) = item["properties"].get(key) else {
            continue;
        };
        let at = properties.key(key);
        if !texts(&item["required"]).any(|required| required == key) && !given(&property["default"]) {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(at.child("default"), detail));
        }
        if flag(&property["nullable"]) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(at.child("nullable"), detail));
        }
    }
    errors
}

/// What is wrong with a rule in CEL, save for the expressions themselves.
fn expression(rule: &Value, schema: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let breaks = |text: &str| text.contains(['\n', '\r']);
    let (condition, message) = (text(&rule["rule"]).trim(), text(&rule["message"]));
    let field = path.child("message");
    if condition.is_empty() {
        errors.push(FieldError::required(path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(field, message, "must be non-empty if specified"));
    } else if breaks(message.trim()) {
        errors.push(FieldError::invalid(field, message, "must not contain line breaks"));
    } else if breaks(condition) && message.trim().is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        errors.push(FieldError::required(field, detail));
    }
    let by = text(&rule["messageExpression"]);
    if !by.is_empty() && by.trim().is_empty() {
        let detail = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(path.child("messageExpression"), detail));
    }
    if let Some(reason) = optional_text(&rule["reason"]).filter(|reason| !REASONS.contains(reason)) {
        errors.push(FieldError::not_supported(path.child("reason"), reason, &REASONS));
    }
    let target = text(&rule["fieldPath"]);
    if !target.is_empty() {
        let mut wrong = |detail| errors.push(FieldError::invalid(path.child("fieldPath"), target, detail));
        if target.trim().is_empty() {
            wrong("must be non-empty if specified");
        }
        if breaks(target) {
            wrong("must not contain line breaks");
        }
        if field_path::find(target, schema, true).is_err() {
            wrong("must be a valid path");
        }
    }
    errors
}

/// Whether a schema has a type that OpenAPI does not know.
pub(super) fn has_unknown_type(schema: &Value) -> bool {
    let kind = text(&schema["type"]);
    !kind.is_empty() && !TYPES.contains(&kind)
}

/// Whether a schema is of a set whose items have parts.
pub(super) fn has_set_of_composites(schema: &Value) -> bool {
    composite_item(schema, &Path::Root).is_some()
}

/// Whether the keys of a list's items may be missing.
pub(super) fn has_bad_map_keys(schema: &Value) -> bool {
    !map_keys(schema, &Path::Root).is_empty()
}

/// Whether a schema uses extensions of Kubernetes.
pub(super) fn has_extension(schema: &Value) -> bool {
    flag(&schema["x-kubernetes-embedded-resource"])
        || flag(&schema["x-kubernetes-int-or-string"])
        || ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"]
            .iter()
            .any(|key| given(&schema[*key]))
        || ["x-kubernetes-list-map-keys", "x-kubernetes-validations"]
            .iter()
            .any(|key| !items(&schema[*key]).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(schema: Value) -> Vec<String> {
        let mut errors = Errors::new();
        let mut walk = Walk {
            asked: super::super::ALL,
            errors: &mut errors,
            expressions: Expressions::default(),
        };
        open_api(&schema, Place::default(), &Path::Root.child("s"), &mut walk);
        errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn lists_as_maps_have_keys() {
        let list = |keys: Value, item: Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys, "items": item});
        let item = json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}});
        assert!(found(list(json!(["k"]), item.clone())).is_empty());
        assert_eq!(found(list(json!([]), item.clone())), ["s.x-kubernetes-list-map-keys"]);
        assert_eq!(
            found(list(json!(["z", "k", "k"]), item)),
            ["s.x-kubernetes-list-map-keys"; 2]
        );
    }

    #[test]
    fn sets_have_atomic_items() {
        let set = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}});
        assert_eq!(found(set), ["s.items.x-kubernetes-map-type"]);
    }

    #[test]
    fn rules_have_texts() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let path = Path::Root.child("r");
        assert!(expression(&json!({"rule": "true", "fieldPath": ".a"}), &schema, &path).is_empty());
        assert_eq!(
            expression(
                &json!({"rule": "a\nb", "fieldPath": ".b", "reason": "X"}),
                &schema,
                &path
            )
            .len(),
            3
        );
    }

    #[test]
    fn beside_a_status_the_root_is_plain() {
        let path = Path::Root.child("s");
        assert!(beside_status(&json!({"type": "object", "properties": {}, "required": ["a"]}), &path).is_empty());
        assert_eq!(beside_status(&json!({"type": "string"}), &path)[0].field, "s.type");
        assert_eq!(
            beside_status(&json!({"type": "object", "maxProperties": 0}), &path)[0].field,
            "s"
        );
    }
}
