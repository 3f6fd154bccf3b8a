//! OpenAPI 3.0 JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::document::{self, Definition};
use super::names::{self, API_VERSION, KIND};
use super::operation::{Body, Operation, Parameter, PathItem};
use crate::catalog::Catalog;
use crate::resource::{Resource, SchemaSource};
use crate::schema::{Dialect, Rendered};
use crate::version;

/// A whole document.
pub(super) fn render(catalog: &Catalog, path: &str, items: &[PathItem]) -> Bytes {
    let definitions = document::definitions(catalog, items);
    let custom = document::is_custom(path);
    let document = Document {
        openapi: "3.0.0",
        info: if custom { Info::custom() } else { Info::default() },
        paths: Paths(items),
        components: Components {
            schemas: Schemas {
                definitions: &definitions,
                dialect: Dialect::V3,
            },
            security_schemes: (!custom).then(|| BTreeMap::from([("BearerToken", SecurityScheme::default())])),
        },
    };
    // Keys are strings and values are JSON already, so this can't fail.
    serde_json::to_vec(&document).unwrap_or_default().into()
}

/// The index.
pub(super) fn index(documents: impl Iterator<Item = (String, String)>) -> Bytes {
    #[derive(serde::Serialize)]
    struct Index {
        paths: BTreeMap<String, Entry>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        #[serde(rename = "serverRelativeURL")]
        server_relative_url: String,
    }
    let entry = |(path, hash): (String, String)| {
        let server_relative_url = format!("/openapi/v3/{path}?hash={hash}");
        (path, Entry { server_relative_url })
    };
    serde_json::to_vec(&Index {
        paths: documents.map(entry).collect(),
    })
    .unwrap_or_default()
    .into()
}

#[derive(serde::Serialize)]
struct Document<'a> {
    openapi: &'static str,
    info: Info,
    paths: Paths<'a>,
    components: Components<'a>,
}

impl Info {
    /// That of documents about custom resources alone.
    fn custom() -> Info {
        Info {
            title: "Kubernetes CRD Swagger",
            version: "v0.1.0".to_owned(),
        }
    }
}

/// Title and version, in both versions of OpenAPI.
#[derive(serde::Serialize)]
pub(super) struct Info {
    title: &'static str,
    version: String,
}

impl Default for Info {
    fn default() -> Self {
        Info {
            title: "Kubernetes",
            version: format!("{}.{}", version::MAJOR, version::MINOR),
        }
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Components<'a> {
    #[serde(skip_serializing_if = "Schemas::is_empty")]
    schemas: Schemas<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_schemes: Option<BTreeMap<&'static str, SecurityScheme>>,
}

/// How to authenticate, in both versions of OpenAPI.
#[derive(serde::Serialize)]
pub(super) struct SecurityScheme {
    #[serde(rename = "type")]
    ty: &'static str,
    name: &'static str,
    #[serde(rename = "in")]
    place: &'static str,
}

impl Default for SecurityScheme {
    fn default() -> Self {
        SecurityScheme {
            ty: "apiKey",
            name: "authorization",
            place: "header",
        }
    }
}

/// Definitions, in both versions of OpenAPI.
pub(super) struct Schemas<'a> {
    pub definitions: &'a BTreeMap<String, Definition>,
    pub dialect: Dialect,
}

impl Schemas<'_> {
    fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }
}

impl Serialize for Schemas<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dialect = self.dialect;
        let mut out = serializer.serialize_map(Some(self.definitions.len()))?;
        for (name, definition) in self.definitions {
            match definition {
                Definition::Builtin(node) => out.serialize_entry(name, &Rendered { node, dialect })?,
                Definition::Custom(resource) => out.serialize_entry(name, &custom(resource, dialect))?,
                Definition::CustomList(resource) => out.serialize_entry(name, &custom_list(resource, dialect))?,
            }
        }
        out.end()
    }
}

fn kind_of(resource: &Resource, kind: &str) -> Value {
    json!([{"group": resource.group, "version": resource.version, "kind": kind}])
}

/// The objects of a custom resource.
fn custom(resource: &Resource, dialect: Dialect) -> Value {
    match &resource.schema {
        SchemaSource::Owned(of) => of.published.render(dialect),
        _ => json!({"type": "object", "x-kubernetes-group-version-kind": kind_of(resource, &resource.kind)}),
    }
}

/// The list of a custom resource: what every list looks like.
fn custom_list(resource: &Resource, dialect: Dialect) -> Value {
    const CONVENTIONS: &str = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
    let prefix = dialect.reference_prefix();
    let kind = names::list_kind(resource);
    let about = format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds");
    let reference = format!("{prefix}{}", names::LIST_META);
    json!({
        "description": format!("{kind} is a list of {}", resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string", "description": API_VERSION },
            "kind": { "type": "string", "description": KIND },
            "metadata": match dialect {
                Dialect::V2 => json!({ "description": about, "$ref": reference }),
                Dialect::V3 => json!({ "description": about, "allOf": [{ "$ref": reference }] }),
            },
            "items": {
                "description": format!("List of {}. More info: {CONVENTIONS}", resource.plural),
                "type": "array",
                "items": { "$ref": format!("{prefix}{}", names::definition(resource)) },
            },
        },
        "x-kubernetes-group-version-kind": kind_of(resource, &kind),
    })
}

struct Paths<'a>(&'a [PathItem]);

impl Serialize for Paths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|item| (&item.path, Item(item))))
    }
}

struct Item<'a>(&'a PathItem);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        for operation in &self.0.operations {
            out.serialize_entry(operation.method.as_str(), &RenderedOperation(operation))?;
        }
        if !self.0.parameters.is_empty() {
            out.serialize_entry("parameters", &parameters(&self.0.parameters))?;
        }
        out.end()
    }
}

struct RenderedOperation<'a>(&'a Operation);

impl Serialize for RenderedOperation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operation = self.0;
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("tags", &[&operation.tag])?;
        out.serialize_entry("operationId", &operation.id)?;
        if !operation.parameters.is_empty() {
            out.serialize_entry("parameters", &parameters(&operation.parameters))?;
        }
        if let Some((body, required)) = &operation.body {
            let content = Content {
                types: operation.consumes.types(),
                body,
            };
            out.serialize_entry(
                "requestBody",
                &RequestBody {
                    content,
                    required: *required,
                },
            )?;
        }
        out.serialize_entry("responses", &Responses(operation))?;
        if let Some(action) = operation.action {
            out.serialize_entry("x-kubernetes-action", action)?;
        }
        if let Some(kind) = &operation.kind {
            out.serialize_entry("x-kubernetes-group-version-kind", kind)?;
        }
        out.end()
    }
}

#[derive(serde::Serialize)]
struct RequestBody<'a> {
    content: Content<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
}

struct Responses<'a>(&'a Operation);

impl Serialize for Responses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Answer<'a> {
            description: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            content: Option<Content<'a>>,
        }
        let Responses(operation) = self;
        let mut out = serializer.serialize_map(None)?;
        for code in operation.codes {
            let content = Content {
                types: operation.produces.types(),
                body: &operation.answer,
            };
            let answer = Answer {
                description: reason(*code),
                content: Some(content),
            };
            out.serialize_entry(&code.to_string(), &answer)?;
        }
        out.serialize_entry(
            "401",
            &Answer {
                description: reason(401),
                content: None,
            },
        )?;
        out.end()
    }
}

/// The reason phrase: OpenAPI requires an answer to be described.
pub(super) const fn reason(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        401 => "Unauthorized",
        _ => "OK",
    }
}

struct Content<'a> {
    types: &'static [&'static str],
    body: &'a Body,
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Media {
            schema: BTreeMap<&'static str, String>,
        }
        let schema = body_schema(self.body, Dialect::V3);
        serializer.collect_map(self.types.iter().map(|ty| (ty, Media { schema: schema.clone() })))
    }
}

/// Schema of a body, in both versions of OpenAPI.
pub(super) fn body_schema(body: &Body, dialect: Dialect) -> BTreeMap<&'static str, String> {
    match body {
        Body::Definition(name) => BTreeMap::from([("$ref", format!("{}{name}", dialect.reference_prefix()))]),
        Body::Text => BTreeMap::from([("type", "string".to_owned())]),
    }
}

#[derive(serde::Serialize)]
struct RenderedParameter<'a> {
    name: &'a str,
    #[serde(rename = "in")]
    place: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    schema: ParameterSchema,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ParameterSchema {
    #[serde(rename = "type")]
    ty: &'static str,
    unique_items: bool,
}

fn parameters(parameters: &[Parameter]) -> Vec<RenderedParameter<'_>> {
    let rendered = parameters.iter().map(|parameter| RenderedParameter {
        name: &parameter.name,
        place: if parameter.in_path { "path" } else { "query" },
        required: parameter.in_path,
        schema: ParameterSchema {
            ty: parameter.ty,
            unique_items: true,
        },
    });
    rendered.collect()
}
