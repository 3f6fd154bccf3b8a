//! The schema of a version as OpenAPI documents publish it.

use engenho_catalog::openapi::{API_VERSION, KIND};
use engenho_catalog::resource::Published;
use engenho_catalog::schema::Dialect;
use engenho_validation::get::{flag, is_empty, items, text, texts};
use serde_json::{Map, Value, json};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const EMBEDDED_API_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
/// How deep a schema may nest.
const DEPTH_MAX: usize = 100;

/// Keywords that are published as they are.
const KEPT: [&str; 29] = [
    "description",
    "type",
    "title",
    "nullable",
    "default",
    "format",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "multipleOf",
    "enum",
    "maxProperties",
    "minProperties",
    "required",
    PRESERVES,
    EMBEDDED,
    INT_OR_STRING,
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
    "x-kubernetes-selectable-fields",
];
const COMBINING: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// What is published of a version.
#[derive(Debug)]
pub struct Publication {
    /// As much of the definition as is shown.
    spec: Value,
    version: Value,
}

impl Publication {
    /// Of a version of a definition's spec.
    pub fn new(spec: &Value, version: &Value) -> Self {
        let kept = |of: &Value, keys: &[&str]| {
            let entry = |key: &&str| Some(((*key).to_owned(), of.get(*key)?.clone()));
            Value::Object(keys.iter().filter_map(entry).collect())
        };
        let mut shown = kept(spec, &["group", "preserveUnknownFields"]);
        shown["names"] = kept(&spec["names"], &["kind"]);
        Self {
            spec: shown,
            version: kept(version, &["name", "schema", "selectableFields"]),
        }
    }
}

impl Published for Publication {
    fn render(&self, dialect: Dialect) -> Value {
        publish(&self.spec, &self.version, dialect)
    }
}

fn publish(spec: &Value, version: &Value, dialect: Dialect) -> Value {
    let schema = &version["schema"]["openAPIV3Schema"];
    let free = flag(&schema[PRESERVES]) || flag(&spec["preserveUnknownFields"]);
    let mut published = if !schema.is_object() || (dialect == Dialect::V2 && free) {
        Map::from_iter([("type".to_owned(), "object".into())])
    } else {
        let mut published = node(schema, dialect, 0);
        type_meta(&mut published, dialect, API_VERSION, KIND);
        published
    };
    let kind = json!({
        "group": text(&spec["group"]),
        "version": text(&version["name"]),
        "kind": text(&spec["names"]["kind"]),
    });
    published.insert("x-kubernetes-group-version-kind".to_owned(), json!([kind]));
    let selectable: Vec<Value> = items(&version["selectableFields"])
        .iter()
        .map(|field| text(&field["jsonPath"]))
        .map(|path| json!({"fieldPath": path.strip_prefix('.').unwrap_or(path)}))
        .collect();
    if !selectable.is_empty() {
        published.insert("x-kubernetes-selectable-fields".to_owned(), selectable.into());
    }
    Value::Object(published)
}

/// What every whole object has.
fn type_meta(schema: &mut Map<String, Value>, dialect: Dialect, api_version: &str, kind: &str) {
    let metadata = match dialect {
        Dialect::V2 => json!({"description": METADATA, "$ref": format!("#/definitions/{OBJECT_META}")}),
        Dialect::V3 => {
            json!({"description": METADATA, "allOf": [{"$ref": format!("#/components/schemas/{OBJECT_META}")}]})
        }
    };
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(
            "apiVersion".to_owned(),
            json!({"type": "string", "description": api_version}),
        );
        properties.insert("kind".to_owned(), json!({"type": "string", "description": kind}));
        properties.insert("metadata".to_owned(), metadata);
    }
}

fn node(schema: &Value, dialect: Dialect, depth: usize) -> Map<String, Value> {
    let mut out = Map::new();
    if depth > DEPTH_MAX {
        return out;
    }
    for key in KEPT {
        if let Some(value) = schema.get(key).filter(|value| !is_default(value)) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    let inner = |schema: &Value| Value::Object(node(schema, dialect, depth + 1));
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        out.insert("items".to_owned(), inner(items));
    }
    if let Some(properties) = schema["properties"].as_object().filter(|map| !map.is_empty()) {
        let properties: Map<String, Value> = properties.iter().map(|(name, of)| (name.clone(), inner(of))).collect();
        out.insert("properties".to_owned(), properties.into());
    }
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) => drop(out.insert("additionalProperties".to_owned(), inner(values))),
        Some(Value::Bool(allows)) => drop(out.insert("additionalProperties".to_owned(), (*allows).into())),
        _ => {}
    }
    if dialect == Dialect::V3 {
        for key in COMBINING {
            let combined: Vec<Value> = items(&schema[key]).iter().map(inner).collect();
            if !combined.is_empty() {
                out.insert(key.to_owned(), combined.into());
            }
        }
        if schema["not"].is_object() {
            out.insert("not".to_owned(), inner(&schema["not"]));
        }
        unfold(&mut out);
    } else {
        flatten(schema, &mut out);
    }
    if flag(&schema[EMBEDDED]) && !(dialect == Dialect::V2 && flag(&schema[PRESERVES])) {
        type_meta(&mut out, dialect, EMBEDDED_API_VERSION, EMBEDDED_KIND);
        let mut required: Vec<&str> = texts(&schema["required"]).collect();
        for name in ["kind", "apiVersion"] {
            if !required.contains(&name) {
                required.push(name);
            }
        }
        out.insert("required".to_owned(), json!(required));
    }
    out
}

/// What an encoder leaves out.
fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn is_pair(any_of: &Value) -> bool {
    *any_of == json!([{"type": "integer"}, {"type": "string"}])
}

/// Says that a value is a number or a string in words that every reader of OpenAPI knows.
fn unfold(out: &mut Map<String, Value>) {
    let get = |key: &str| out.get(key).unwrap_or(&Value::Null);
    if !flag(get(INT_OR_STRING)) || is_pair(get("anyOf")) || is_pair(&get("allOf")[0]["anyOf"]) {
        return;
    }
    let pair = json!([{"type": "integer"}, {"type": "string"}]);
    if is_empty(get("anyOf")) {
        out.insert("anyOf".to_owned(), pair);
        return;
    }
    let mut all_of = vec![json!({"anyOf": pair})];
    all_of.extend(items(get("allOf")).iter().cloned());
    out.insert("allOf".to_owned(), all_of.into());
}

/// Leaves out what readers of OpenAPI 2.0 stumble over.
fn flatten(schema: &Value, out: &mut Map<String, Value>) {
    let (nullable, preserves) = (flag(&schema["nullable"]), flag(&schema[PRESERVES]));
    out.remove("nullable");
    if nullable || preserves {
        out.remove("items");
        out.remove("properties");
    }
    let kind = text(&schema["type"]);
    if nullable || (kind == "array" && !out.contains_key("items")) || (preserves && kind == "object") {
        out.remove("type");
    }
    let values_nullable = flag(&schema["additionalProperties"]["nullable"]);
    let properties = out.contains_key("properties");
    let may_be_null = |name: &str| properties && flag(&schema["properties"][name]["nullable"]);
    let required: Vec<&str> = match values_nullable {
        true => Vec::new(),
        false => texts(&schema["required"]).filter(|name| !may_be_null(name)).collect(),
    };
    let required = json!(required);
    if is_empty(&required) {
        out.remove("required");
    } else {
        out.insert("required".to_owned(), required);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(spec: &Value, version: &Value) -> Value {
        Publication::new(spec, version).render(Dialect::V2)
    }

    fn v3(spec: &Value, version: &Value) -> Value {
        Publication::new(spec, version).render(Dialect::V3)
    }

    fn parts() -> (Value, Value) {
        let spec = json!({"group": "g.example.org", "names": {"kind": "Thing"}});
        let version = json!({"name": "v1", "selectableFields": [{"jsonPath": ".spec.a"}], "schema": {"openAPIV3Schema": {
            "type": "object", "description": "a thing", "properties": {
                "spec": {"type": "object", "required": ["a", "z"], "properties": {
                    "a": {"type": "string", "pattern": "^x", "example": "x"},
                    "z": {"type": "string", "nullable": true},
                    "port": {"x-kubernetes-int-or-string": true},
                    "emb": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        }}});
        (spec, version)
    }

    #[test]
    fn metadata_and_types_are_added() {
        let (spec, version) = parts();
        let published = v3(&spec, &version);
        assert_eq!(
            published["x-kubernetes-group-version-kind"],
            json!([{"group": "g.example.org", "version": "v1", "kind": "Thing"}])
        );
        assert_eq!(
            published["x-kubernetes-selectable-fields"],
            json!([{"fieldPath": "spec.a"}])
        );
        assert_eq!(
            published["properties"]["metadata"]["allOf"][0]["$ref"],
            format!("#/components/schemas/{OBJECT_META}")
        );
        let spec = &published["properties"]["spec"]["properties"];
        assert_eq!(spec["a"], json!({"type": "string", "pattern": "^x"}));
        assert_eq!(spec["port"]["anyOf"], json!([{"type": "integer"}, {"type": "string"}]));
        assert_eq!(spec["emb"]["required"], json!(["kind", "apiVersion"]));
    }

    #[test]
    fn version_two_says_less() {
        let (spec, version) = parts();
        let published = v2(&spec, &version);
        let inner = &published["properties"]["spec"];
        assert_eq!(inner["required"], json!(["a"]));
        assert_eq!(inner["properties"]["z"], json!({}));
        assert_eq!(inner["properties"]["port"], json!({"x-kubernetes-int-or-string": true}));
        assert!(inner["properties"]["emb"].get("type").is_none());
        let free = json!({"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", PRESERVES: true}}});
        assert!(v2(&spec, &free).get("properties").is_none());
        assert!(v3(&spec, &json!({"name": "v1"})).get("properties").is_none());
    }
}
