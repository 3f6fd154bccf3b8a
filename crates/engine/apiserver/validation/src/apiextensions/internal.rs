//! Upstream's internal form of a definition: what all versions have in common stands once, beside them.

use serde_json::Value;

use crate::get::{entries, given, items, same};
use crate::gojson::{self, Shape};

/// What stands once if all versions have the same: in a version, and beside them.
const SHARED: [(&str, &str); 4] = [
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];

/// A definition's spec in the internal form. Its `versions` lack what they share.
pub(super) struct Spec {
    /// The versions, without what they share.
    pub versions: Vec<Value>,
    shared: [Option<Value>; 4],
}

impl Spec {
    /// From the spec of `apiextensions.k8s.io/v1`.
    pub fn of(spec: &Value) -> Self {
        let mut versions = items(&spec["versions"]).to_vec();
        let mut shared = [const { None }; 4];
        for ((key, _), shared) in SHARED.iter().zip(&mut shared) {
            let Some(first) = versions.first().map(|version| version[*key].clone()) else {
                continue;
            };
            if versions.iter().any(|version| !same(&version[*key], &first)) {
                continue;
            }
            for version in versions.iter_mut().filter_map(Value::as_object_mut) {
                version.remove(*key);
            }
            *shared = Some(first).filter(given);
        }
        Self { versions, shared }
    }

    /// What all versions share of `validation`, `subresources`, `additionalPrinterColumns` or `selectableFields`.
    pub fn shared(&self, name: &str) -> &Value {
        let at = SHARED.iter().position(|(_, named)| *named == name);
        at.and_then(|i| self.shared[i].as_ref()).unwrap_or(&Value::Null)
    }

    /// The versions as upstream prints them.
    pub fn versions_text(&self) -> String {
        gojson::text(&Shape::List(&VERSION), &Value::Array(self.versions.clone()))
    }
}

const COLUMN: Shape = Shape::Struct(&[
    ("Name", "name", Shape::Text),
    ("Type", "type", Shape::Text),
    ("Format", "format", Shape::Text),
    ("Description", "description", Shape::Text),
    ("Priority", "priority", Shape::Number),
    ("JSONPath", "jsonPath", Shape::Text),
]);
const SCALE: Shape = Shape::Struct(&[
    ("SpecReplicasPath", "specReplicasPath", Shape::Text),
    ("StatusReplicasPath", "statusReplicasPath", Shape::Text),
    ("LabelSelectorPath", "labelSelectorPath", Shape::Same),
]);
const VERSION: Shape = Shape::Struct(&[
    ("Name", "name", Shape::Text),
    ("Served", "served", Shape::Flag),
    ("Storage", "storage", Shape::Flag),
    ("Deprecated", "deprecated", Shape::Flag),
    ("DeprecationWarning", "deprecationWarning", Shape::Same),
    (
        "Schema",
        "schema",
        Shape::Maybe(&Shape::Struct(&[(
            "OpenAPIV3Schema",
            "openAPIV3Schema",
            Shape::By(push_schema),
        )])),
    ),
    (
        "Subresources",
        "subresources",
        Shape::Maybe(&Shape::Struct(&[
            ("Status", "status", Shape::Same),
            ("Scale", "scale", Shape::Maybe(&SCALE)),
        ])),
    ),
    (
        "AdditionalPrinterColumns",
        "additionalPrinterColumns",
        Shape::List(&COLUMN),
    ),
    (
        "SelectableFields",
        "selectableFields",
        Shape::List(&Shape::Struct(&[("JSONPath", "jsonPath", Shape::Text)])),
    ),
]);

/// Fields of a schema: name in Go, name in JSON, and whether the zero value may be given (it is a pointer).
pub(super) const SCHEMA_FIELDS: [(&str, &str, Shape); 43] = [
    ("ID", "id", Shape::Text),
    ("Schema", "$schema", Shape::Text),
    ("Ref", "$ref", Shape::Same),
    ("Description", "description", Shape::Text),
    ("Type", "type", Shape::Text),
    ("Nullable", "nullable", Shape::Flag),
    ("Format", "format", Shape::Text),
    ("Title", "title", Shape::Text),
    ("Default", "default", Shape::Same),
    ("Maximum", "maximum", Shape::Same),
    ("ExclusiveMaximum", "exclusiveMaximum", Shape::Flag),
    ("Minimum", "minimum", Shape::Same),
    ("ExclusiveMinimum", "exclusiveMinimum", Shape::Flag),
    ("MaxLength", "maxLength", Shape::Same),
    ("MinLength", "minLength", Shape::Same),
    ("Pattern", "pattern", Shape::Text),
    ("MaxItems", "maxItems", Shape::Same),
    ("MinItems", "minItems", Shape::Same),
    ("UniqueItems", "uniqueItems", Shape::Flag),
    ("MultipleOf", "multipleOf", Shape::Same),
    ("Enum", "enum", Shape::Same),
    ("MaxProperties", "maxProperties", Shape::Same),
    ("MinProperties", "minProperties", Shape::Same),
    ("Required", "required", Shape::Same),
    ("Items", "items", Shape::By(push_items)),
    ("AllOf", "allOf", Shape::By(push_schemas)),
    ("OneOf", "oneOf", Shape::By(push_schemas)),
    ("AnyOf", "anyOf", Shape::By(push_schemas)),
    ("Not", "not", Shape::By(push_schema)),
    ("Properties", "properties", Shape::By(push_schema_map)),
    (
        "AdditionalProperties",
        "additionalProperties",
        Shape::By(push_schema_or_flag),
    ),
    ("PatternProperties", "patternProperties", Shape::By(push_schema_map)),
    ("Dependencies", "dependencies", Shape::Same),
    ("AdditionalItems", "additionalItems", Shape::By(push_schema_or_flag)),
    ("Definitions", "definitions", Shape::By(push_schema_map)),
    ("ExternalDocs", "externalDocs", Shape::Same),
    ("Example", "example", Shape::Same),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        Shape::Same,
    ),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Shape::Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", Shape::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Shape::Same),
    ("XListType", "x-kubernetes-list-type", Shape::Same),
    ("XMapType", "x-kubernetes-map-type", Shape::Same),
];
pub(super) const RULE: Shape = Shape::Struct(&[
    ("Rule", "rule", Shape::Text),
    ("Message", "message", Shape::Text),
    ("MessageExpression", "messageExpression", Shape::Text),
    ("Reason", "reason", Shape::Same),
    ("FieldPath", "fieldPath", Shape::Text),
    ("OptionalOldSelf", "optionalOldSelf", Shape::Same),
]);

/// A schema as upstream prints it.
pub(super) fn schema_text(schema: &Value) -> String {
    let mut out = String::new();
    push_schema(schema, &mut out);
    out
}

fn push_schema(schema: &Value, out: &mut String) {
    if !schema.is_object() {
        out.push_str("null");
        return;
    }
    out.push('{');
    for (go, json, shape) in &SCHEMA_FIELDS {
        out.push_str(&format!("{go:?}:"));
        gojson::push(shape, &schema[*json], out);
        out.push(',');
    }
    out.push_str("\"XValidations\":");
    gojson::push(&Shape::List(&RULE), &schema["x-kubernetes-validations"], out);
    out.push('}');
}

fn push_schemas(schemas: &Value, out: &mut String) {
    gojson::push(&Shape::List(&Shape::By(push_schema)), schemas, out);
}

fn push_schema_map(schemas: &Value, out: &mut String) {
    match entries(schemas).is_empty() {
        true => out.push_str("null"),
        false => gojson::push(&Shape::Map(&Shape::By(push_schema)), schemas, out),
    }
}

fn push_items(value: &Value, out: &mut String) {
    if !given(value) {
        out.push_str("null");
        return;
    }
    out.push_str("{\"Schema\":");
    push_schema(value, out);
    out.push_str(",\"JSONSchemas\":");
    match value.is_array() {
        true => push_schemas(value, out),
        false => out.push_str("null"),
    }
    out.push('}');
}

fn push_schema_or_flag(value: &Value, out: &mut String) {
    if !given(value) {
        out.push_str("null");
        return;
    }
    out.push_str(if *value == Value::Bool(false) {
        "{\"Allows\":false,\"Schema\":"
    } else {
        "{\"Allows\":true,\"Schema\":"
    });
    push_schema(value, out);
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_versions_share_stands_once() {
        let version = |schema: &str| json!({"name": "v", "schema": schema, "subresources": {"status": {}}});
        let spec = Spec::of(&json!({"versions": [version("a"), version("b")]}));
        assert!(given(spec.shared("subresources")) && !given(spec.shared("validation")));
        assert_eq!(spec.versions[1]["schema"], "b");
        assert!(Spec::of(&Value::Null).versions.is_empty());
    }

    #[test]
    fn schemas_print_all_fields() {
        let text = schema_text(&json!({"type": "array", "items": {"type": "string"}, "additionalProperties": true}));
        assert!(text.starts_with(r#"{"ID":"","Schema":"","Ref":null,"Description":"","Type":"array""#));
        assert!(text.contains(r#""AdditionalProperties":{"Allows":true,"Schema":null}"#));
        assert!(text.ends_with(r#""XMapType":null,"XValidations":null}"#));
    }
}
