//! Documents against upstream's, and custom resources.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::*;
use crate::reference;
use crate::resource::{CustomSchema, Published, Resource, SchemaSource, VerbSet};
use crate::schema::{Dialect, Node, Unknown};

/// Drops every description but those of answers, which OpenAPI requires, and of properties that are named so.
fn bare(value: &Value, in_properties: bool, in_responses: bool) -> Value {
    match value {
        Value::Object(members) => {
            let keep = |name: &str| name != "description" || in_properties;
            let mut out = Map::new();
            for (name, member) in members {
                if in_responses && name.parse::<u16>().is_ok() {
                    let mut answer = bare(member, false, false);
                    answer["description"] = member["description"].clone();
                    out.insert(name.clone(), answer);
                } else if keep(name) || !member.is_string() {
                    let member = bare(member, name == "properties" && !in_properties, name == "responses");
                    out.insert(name.clone(), member);
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(|item| bare(item, false, false)).collect(),
        other => other.clone(),
    }
}

fn parsed(document: &[u8]) -> Value {
    serde_json::from_slice(document).expect("a JSON document")
}

/// Names the first place where two values differ.
fn difference(got: &Value, want: &Value, path: &str) -> Option<String> {
    match (got, want) {
        (Value::Object(got), Value::Object(want)) => {
            let names: BTreeSet<&String> = got.keys().chain(want.keys()).collect();
            names
                .into_iter()
                .find_map(|name| match (got.get(name), want.get(name)) {
                    (Some(got), Some(want)) => difference(got, want, &format!("{path}>{name}")),
                    (got, want) => Some(format!("{path}>{name}: got {}, want {}", got.is_some(), want.is_some())),
                })
        }
        (Value::Array(got), Value::Array(want)) if got.len() == want.len() => {
            let pairs = got.iter().zip(want).enumerate();
            pairs
                .into_iter()
                .find_map(|(at, (got, want))| difference(got, want, &format!("{path}>{at}")))
        }
        (got, want) => (got != want).then(|| format!("{path}: got {got}, want {want}")),
    }
}

#[test]
fn every_version_3_document_equals_upstream_without_descriptions() {
    let catalog = Catalog::builtin();
    for path in paths(catalog) {
        let file = path.trim_start_matches('.').replace('/', "_");
        let got = parsed(&document(catalog, &path).expect("a document"));
        let Some(want) = reference::json(&format!("openapi/v3/{file}.json")) else {
            return;
        };
        if let Some(difference) = difference(&got, &bare(&want, false, false), "") {
            panic!("{path} {difference}");
        }
    }
}

#[test]
fn the_index_names_what_upstream_does() {
    let catalog = Catalog::builtin();
    let hashes = paths(catalog).into_iter().map(|path| {
        let hash = hash_of(catalog, &path);
        (path, hash)
    });
    let index = parsed(&index(hashes));
    let listed: Vec<&String> = index["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(listed.len(), 47);
    for (path, entry) in index["paths"].as_object().expect("paths") {
        let url = entry["serverRelativeURL"].as_str().expect("a URL");
        let hash = url
            .strip_prefix(&format!("/openapi/v3/{path}?hash="))
            .expect("path and hash");
        assert_eq!(hash, hash_of(catalog, path));
    }
    if let Some(want) = reference::json("openapi/v3/index.json") {
        assert_eq!(serde_json::to_value(listed).expect("names"), want["paths"]);
    }
}

fn hash_of(catalog: &Catalog, path: &str) -> String {
    hash(&document(catalog, path).expect("a document"))
}

#[test]
fn paths_that_are_not_served_have_no_document() {
    for path in [
        "",
        "api/v2",
        "apis/",
        "apis/none",
        "apis/apps/v2",
        "apis//v1",
        "api/v1/pods",
        "../api/v1",
    ] {
        assert!(document(Catalog::builtin(), path).is_none(), "{path}");
    }
}

/// Upstream shares parameters through references and says the same in other words: both are compared resolved.
#[test]
fn version_2_equals_upstream_without_descriptions() {
    let got = parsed(&swagger(Catalog::builtin()));
    let Some(want) = reference::json("openapi/v2.json") else {
        return;
    };
    let mut want = want;
    let shared = want["parameters"].take();
    want.as_object_mut().expect("object").remove("parameters");
    resolve(&mut want["paths"], &shared);
    if let Some(difference) = difference(&got, &bare(&want, false, false), "") {
        panic!("{difference}");
    }
}

fn resolve(value: &mut Value, shared: &Value) {
    if let Some(name) = value
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|to| to.strip_prefix("#/parameters/"))
    {
        *value = shared[name].clone();
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|member| resolve(member, shared)),
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, shared)),
        _ => {}
    }
}

#[derive(Debug)]
struct Shown(Value);

impl Published for Shown {
    fn render(&self, dialect: Dialect) -> Value {
        let mut shown = self.0.clone();
        shown["title"] = format!("{dialect:?}").into();
        shown
    }
}

#[test]
fn a_custom_resource_gets_paths_and_definitions() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "metadata": { "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" },
            "spec": { "type": "object", "required": ["size"], "properties": {
                "size": { "x-kubernetes-int-or-string": true },
                "parts": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                           "items": { "type": "object", "properties": { "id": { "type": "string" } } } },
            } },
        },
    });
    let node = Node::from_openapi(&schema, Unknown::Skip).expect("a schema");
    let mut catalog = Catalog::builtin().clone();
    catalog.insert(Arc::new(Resource {
        group: "stable.example.com".into(),
        version: "v1".into(),
        plural: "widgets".into(),
        singular: "widget".into(),
        kind: "Widget".into(),
        namespaced: true,
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: VerbSet::ALL,
        subresources: Vec::new(),
        returns_deleted: false,
        storage_version_hash: None,
        storage_version: None,
        schema: SchemaSource::Owned(Arc::new(CustomSchema {
            node,
            list_kind: "Widgetry".into(),
            published: Box::new(Shown(schema.clone())),
        })),
    }));
    let document = parsed(&document(&catalog, "apis/stable.example.com/v1").expect("a document"));
    let schemas = &document["components"]["schemas"];
    let widget = &schemas["com.example.stable.v1.Widget"];
    assert_eq!(widget["title"], "V3");
    assert_eq!(widget["properties"]["spec"], schema["properties"]["spec"]);
    let list = &schemas["com.example.stable.v1.Widgetry"];
    assert_eq!(list["description"], "Widgetry is a list of Widget");
    assert_eq!(list["x-kubernetes-group-version-kind"][0]["kind"], "Widgetry");
    let items = &list["properties"]["items"]["items"];
    assert_eq!(items["$ref"], "#/components/schemas/com.example.stable.v1.Widget");
    assert!(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"].is_object());
    let patch = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    assert_eq!(patch["operationId"], "patchStableExampleComV1NamespacedWidget");
    let content = patch["requestBody"]["content"].as_object().expect("kinds of patch");
    assert!(content.len() == 3 && !content.contains_key("application/strategic-merge-patch+json"));
    let swagger = parsed(&swagger(&catalog));
    assert_eq!(swagger["definitions"]["com.example.stable.v1.Widget"]["title"], "V2");
    let added: Vec<String> = paths(&catalog)
        .into_iter()
        .filter(|path| path.contains("stable"))
        .collect();
    assert_eq!(added, ["apis/stable.example.com/v1"]);
    assert!(catalog.remove("stable.example.com", "v1", "widgets").is_some());
    assert_eq!(paths(&catalog), paths(Catalog::builtin()));
}
