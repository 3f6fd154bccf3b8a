//! Swagger 2.0 JSON: one document for everything.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::document;
use super::operation::{Operation, Parameter, PathItem};
use super::v3::{Info, Schemas, SecurityScheme, body_schema, reason};
use crate::catalog::Catalog;
use crate::schema::Dialect;

/// The document of `/openapi/v2`, rendered anew.
pub fn swagger(catalog: &Catalog) -> Bytes {
    let paths = document::paths(catalog);
    let items: Vec<PathItem> = paths
        .iter()
        .filter_map(|path| document::items(catalog, path))
        .flatten()
        .collect();
    let definitions = document::definitions(catalog, &items);
    let document = Document {
        swagger: "2.0",
        info: Info::default(),
        paths: Paths(&items),
        definitions: Schemas {
            definitions: &definitions,
            dialect: Dialect::V2,
        },
        security_definitions: BTreeMap::from([("BearerToken", SecurityScheme::default())]),
        security: [BTreeMap::from([("BearerToken", [])])],
    };
    // Keys are strings and values are JSON already, so this can't fail.
    serde_json::to_vec(&document).unwrap_or_default().into()
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    swagger: &'static str,
    info: Info,
    paths: Paths<'a>,
    definitions: Schemas<'a>,
    security_definitions: BTreeMap<&'static str, SecurityScheme>,
    security: [BTreeMap<&'static str, [&'static str; 0]>; 1],
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
            let parameters: Vec<_> = self.0.parameters.iter().map(RenderedParameter::new).collect();
            out.serialize_entry("parameters", &parameters)?;
        }
        out.end()
    }
}

struct RenderedOperation<'a>(&'a Operation);

impl Serialize for RenderedOperation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operation = self.0;
        let mut out = serializer.serialize_map(None)?;
        if !operation.consumes.types().is_empty() {
            out.serialize_entry("consumes", operation.consumes.types())?;
        }
        out.serialize_entry("produces", operation.produces.types())?;
        out.serialize_entry("schemes", &["https"])?;
        out.serialize_entry("tags", &[&operation.tag])?;
        out.serialize_entry("operationId", &operation.id)?;
        let body = operation.body.as_ref().map(|(body, required)| RenderedParameter {
            name: "body",
            place: "body",
            required: *required,
            ty: None,
            unique_items: false,
            schema: Some(body_schema(body, Dialect::V2)),
        });
        let parameters: Vec<_> = body
            .into_iter()
            .chain(operation.parameters.iter().map(RenderedParameter::new))
            .collect();
        if !parameters.is_empty() {
            out.serialize_entry("parameters", &parameters)?;
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

struct Responses<'a>(&'a Operation);

impl Serialize for Responses<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Answer {
            description: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            schema: Option<BTreeMap<&'static str, String>>,
        }
        let Responses(operation) = self;
        let mut out = serializer.serialize_map(None)?;
        for code in operation.codes {
            let schema = Some(body_schema(&operation.answer, Dialect::V2));
            out.serialize_entry(
                &code.to_string(),
                &Answer {
                    description: reason(*code),
                    schema,
                },
            )?;
        }
        out.serialize_entry(
            "401",
            &Answer {
                description: reason(401),
                schema: None,
            },
        )?;
        out.end()
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct RenderedParameter<'a> {
    name: &'a str,
    #[serde(rename = "in")]
    place: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    ty: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unique_items: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<BTreeMap<&'static str, String>>,
}

impl<'a> RenderedParameter<'a> {
    fn new(parameter: &'a Parameter) -> Self {
        RenderedParameter {
            name: &parameter.name,
            place: if parameter.in_path { "path" } else { "query" },
            required: parameter.in_path,
            ty: Some(parameter.ty),
            unique_items: true,
            schema: None,
        }
    }
}
