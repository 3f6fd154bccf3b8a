//! Schema nodes to OpenAPI JSON, written straight to the serialiser.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::node::{ListKind, MapKind, Node, Reference, SchemaType};
use crate::Str;
use crate::resource::GroupKind;

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Swagger 2.0: no defaults, no `oneOf`, nothing beside a reference.
    V2,
    /// OpenAPI 3.0.
    V3,
}

impl Dialect {
    /// What a reference to a definition begins with.
    pub const fn reference_prefix(self) -> &'static str {
        match self {
            Dialect::V2 => "#/definitions/",
            Dialect::V3 => "#/components/schemas/",
        }
    }
}

/// A node that serialises as an OpenAPI schema.
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a> {
    pub node: &'a Node,
    pub dialect: Dialect,
}

impl Node {
    /// The node as an OpenAPI v3 schema.
    pub fn to_openapi(&self) -> Value {
        let rendered = Rendered {
            node: self,
            dialect: Dialect::V3,
        };
        // Keys are strings and values are JSON already, so this can't fail.
        serde_json::to_value(rendered).unwrap_or_default()
    }
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rendered { node, dialect } = *self;
        let mut out = serializer.serialize_map(None)?;
        if let Some(ty) = node.ty {
            out.serialize_entry("type", ty.as_str())?;
        }
        if let Some(format) = &node.format {
            out.serialize_entry("format", format)?;
        }
        if !node.required.is_empty() {
            out.serialize_entry("required", &node.required)?;
        }
        if !node.properties.is_empty() {
            out.serialize_entry(
                "properties",
                &Properties {
                    properties: &node.properties,
                    dialect,
                },
            )?;
        }
        if let Some(items) = &node.items {
            out.serialize_entry("items", &Rendered { node: items, dialect })?;
        }
        if let Some(values) = &node.additional {
            out.serialize_entry("additionalProperties", &Rendered { node: values, dialect })?;
        }
        match &node.reference {
            Some(reference) if reference.wrapped && dialect == Dialect::V3 => {
                out.serialize_entry("allOf", &[Pointer { reference, dialect }])?;
            }
            Some(reference) => out.serialize_entry("$ref", &target(reference, dialect))?,
            None => {}
        }
        match (node.one_of.is_empty(), dialect) {
            (true, _) => {}
            (false, Dialect::V3) => {
                let types: Vec<_> = node.one_of.iter().map(|ty| Type { ty: ty.as_str() }).collect();
                out.serialize_entry("oneOf", &types)?;
            }
            // Version 2 has no oneOf; both choices there are (quantities, int-or-string) are strings to it.
            (false, Dialect::V2) => out.serialize_entry("type", SchemaType::String.as_str())?,
        }
        attributes(node, dialect, &mut out)?;
        out.end()
    }
}

fn attributes<M: SerializeMap>(node: &Node, dialect: Dialect, out: &mut M) -> Result<(), M::Error> {
    if let Some(default) = node.default.as_ref().filter(|_| dialect == Dialect::V3) {
        out.serialize_entry("default", default)?;
    }
    if !node.allowed.is_empty() {
        out.serialize_entry("enum", &node.allowed)?;
    }
    match &node.list {
        Some(ListKind::Atomic) => out.serialize_entry("x-kubernetes-list-type", "atomic")?,
        Some(ListKind::Set) => out.serialize_entry("x-kubernetes-list-type", "set")?,
        Some(ListKind::Map(keys)) => {
            out.serialize_entry("x-kubernetes-list-type", "map")?;
            out.serialize_entry("x-kubernetes-list-map-keys", keys)?;
        }
        None => {}
    }
    match node.map {
        Some(MapKind::Atomic) => out.serialize_entry("x-kubernetes-map-type", "atomic")?,
        Some(MapKind::Granular) => out.serialize_entry("x-kubernetes-map-type", "granular")?,
        None => {}
    }
    if let Some(strategy) = node.patch_strategy {
        out.serialize_entry("x-kubernetes-patch-strategy", strategy.as_str())?;
    }
    if let Some(key) = &node.patch_merge_key {
        out.serialize_entry("x-kubernetes-patch-merge-key", key)?;
    }
    for (flag, keyword) in [
        (node.int_or_string, "x-kubernetes-int-or-string"),
        (node.preserve_unknown, "x-kubernetes-preserve-unknown-fields"),
        (node.embedded_resource, "x-kubernetes-embedded-resource"),
        (node.nullable && dialect == Dialect::V3, "nullable"),
    ] {
        if flag {
            out.serialize_entry(keyword, &true)?;
        }
    }
    if !node.kinds.is_empty() {
        out.serialize_entry("x-kubernetes-group-version-kind", &node.kinds)?;
    }
    if let Some(unions) = &node.unions {
        out.serialize_entry("x-kubernetes-unions", unions)?;
    }
    Ok(())
}

struct Properties<'a> {
    properties: &'a [(Str, Node)],
    dialect: Dialect,
}

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dialect = self.dialect;
        serializer.collect_map(
            self.properties
                .iter()
                .map(|(name, node)| (name, Rendered { node, dialect })),
        )
    }
}

struct Pointer<'a> {
    reference: &'a Reference,
    dialect: Dialect,
}

impl Serialize for Pointer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("$ref", target(self.reference, self.dialect))])
    }
}

#[derive(serde::Serialize)]
struct Type {
    #[serde(rename = "type")]
    ty: &'static str,
}

impl Serialize for GroupKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("group", &self.group), ("kind", &self.kind), ("version", &self.version)])
    }
}

fn target(reference: &Reference, dialect: Dialect) -> String {
    format!("{}{}", dialect.reference_prefix(), reference.name)
}
