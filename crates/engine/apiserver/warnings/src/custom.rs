//! Definitions of custom resources, and custom resources themselves.

use std::collections::BTreeSet;

use engenho_validation::get::{entries, items, text, texts};
use engenho_validation::go_quoted;
use engenho_validation::names::qualified;
use serde_json::Value;

/// How deep schemas are looked into; the API cannot carry deeper ones.
const DEPTH_MAX: usize = 400;
/// Formats of strings that are checked. The newest are left out: a format counts from the version after the one that
/// brought it, so that servers of both can run together.
const FORMATS: [&str; 24] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];
/// Finalizers of Kubernetes that need no domain.
const FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// A new CustomResourceDefinition.
pub(crate) fn create_definition(definition: &Value) -> Vec<String> {
    update_definition(definition, &Value::Null)
}

/// A CustomResourceDefinition that replaces an old one: formats of the old one are not warned of.
pub(crate) fn update_definition(new: &Value, old: &Value) -> Vec<String> {
    let known: BTreeSet<&str> = unrecognized(old).into_iter().collect();
    unrecognized(new)
        .into_iter()
        .filter(|format| !known.contains(format))
        .map(|format| format!("unrecognized format {}", go_quoted(format)))
        .collect()
}

fn unrecognized(definition: &Value) -> Vec<&str> {
    let mut formats = Vec::new();
    for version in items(&definition["spec"]["versions"]) {
        schema(&version["schema"]["openAPIV3Schema"], 0, &mut formats);
    }
    formats
}

fn schema<'a>(value: &'a Value, depth: usize, formats: &mut Vec<&'a str>) {
    if !value.is_object() || depth > DEPTH_MAX {
        return;
    }
    let format = text(&value["format"]);
    let normal = format.replace('-', "");
    if !format.is_empty() && text(&value["type"]) == "string" && !FORMATS.contains(&normal.as_str()) {
        formats.push(format);
    }
    let mut below = |inner: &'a Value| schema(inner, depth + 1, formats);
    below(&value["items"]);
    for list in ["items", "allOf", "anyOf", "oneOf"] {
        items(&value[list]).iter().for_each(&mut below);
    }
    below(&value["not"]);
    let mut each = |map: &str| entries(&value[map]).into_iter().for_each(|(_, inner)| below(inner));
    each("properties");
    each("patternProperties");
    each("definitions");
    each("dependencies");
    below(&value["additionalProperties"]);
    below(&value["additionalItems"]);
}

/// A custom resource: finalizers it did not have before and whose names may meet those of others.
pub(crate) fn resource(new: &Value, old: &Value) -> Vec<String> {
    let before: BTreeSet<&str> = texts(&old["metadata"]["finalizers"]).collect();
    let added: BTreeSet<&str> = texts(&new["metadata"]["finalizers"]).collect();
    let mut warnings = Vec::new();
    for finalizer in added.difference(&before) {
        let at = format!("metadata.finalizers: {}", go_quoted(finalizer));
        warnings.extend(qualified(finalizer).into_iter().map(|wrong| format!("{at}: {wrong}")));
        if finalizer.contains('/') || FINALIZERS.contains(finalizer) {
            continue;
        }
        let path = if finalizer.contains('.') {
            " including a path (/)"
        } else {
            ""
        };
        warnings.push(format!(
            "{at}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(properties: Value) -> Value {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}});
        json!({"spec": {"versions": [{"name": "v1", "schema": schema}]}})
    }

    #[test]
    fn formats() {
        let plain = definition(json!({
            "a": {"type": "string", "format": "date-time"}, "b": {"type": "integer", "format": "int32"},
            "c": {"type": "string", "format": "ipv4"}, "d": {"format": "anything"}, "e": {"type": "string"},
        }));
        assert!(create_definition(&plain).is_empty());
        let odd = definition(json!({
            "a": {"type": "array", "items": {"type": "string", "format": "ip"}},
            "b": {"type": "string", "format": "k8s-short-name"},
        }));
        assert_eq!(
            create_definition(&odd),
            ["unrecognized format \"ip\"", "unrecognized format \"k8s-short-name\""]
        );
        assert!(update_definition(&odd, &odd).is_empty());
        assert_eq!(update_definition(&odd, &plain).len(), 2);
    }

    #[test]
    fn finalizers() {
        let object = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
        let none = Value::Null;
        assert!(resource(&object(json!(["example.com/clean", "orphan", "kubernetes"])), &none).is_empty());
        assert_eq!(
            resource(&object(json!(["b.example.com", "a", "c"])), &object(json!(["c"]))),
            [
                "metadata.finalizers: \"a\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers",
                "metadata.finalizers: \"b.example.com\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
            ]
        );
    }
}
