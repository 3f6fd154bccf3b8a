//! OpenAPI v3 JSON to schema nodes.

use serde_json::Value;

use super::definitions;
use super::node::{ListKind, MapKind, Node, PatchStrategy, Reference, SchemaType};
use crate::Str;
use crate::resource::GroupKind;

/// Why a schema can't be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SchemaError {
    /// A keyword has a value of the wrong type or outside its range.
    #[error("{path}: `{keyword}` has an unexpected value: {value}")]
    Value {
        path: String,
        keyword: String,
        value: String,
    },
    /// A keyword that a node can't hold.
    #[error("{path}: keyword `{keyword}` isn't supported")]
    Keyword { path: String, keyword: String },
    /// A reference to a definition that isn't in the table.
    #[error("{path}: no definition is named `{name}`")]
    Reference { path: String, name: String },
    /// Nested deeper than any object may be.
    #[error("{path}: schema is nested more than {limit} levels deep")]
    Depth { path: String, limit: usize },
}

/// Deeper schemas are refused: walking is recursive.
const DEPTH_MAX: usize = 64;

/// What to do with keywords a node has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Refuse: nothing of the source may get lost.
    Refuse,
    /// Skip: they say nothing about structure (patterns, limits, examples).
    Skip,
}

impl Node {
    /// Reads an OpenAPI v3 schema. References are resolved in the built-in table.
    ///
    /// # Errors
    /// Names the path and keyword that isn't understood.
    pub fn from_openapi(schema: &Value, unknown: Unknown) -> Result<Node, SchemaError> {
        Node::from_openapi_with(schema, unknown, &|name| definitions::builtin().find(name))
    }

    /// As [`Node::from_openapi`], with references resolved by the caller.
    ///
    /// # Errors
    /// Names the path and keyword that isn't understood.
    pub fn from_openapi_with(
        schema: &Value,
        unknown: Unknown,
        find: &dyn Fn(&str) -> Option<u16>,
    ) -> Result<Node, SchemaError> {
        Reader { unknown, find }.node(schema, &mut Vec::new())
    }
}

struct Reader<'f> {
    unknown: Unknown,
    find: &'f dyn Fn(&str) -> Option<u16>,
}

impl Reader<'_> {
    fn node(&self, schema: &Value, path: &mut Vec<String>) -> Result<Node, SchemaError> {
        if path.len() > DEPTH_MAX {
            return Err(SchemaError::Depth {
                path: shown(path),
                limit: DEPTH_MAX,
            });
        }
        let Value::Object(schema) = schema else {
            return Err(bad(path, "schema", schema));
        };
        let mut node = Node::default();
        let mut map_keys = Vec::new();
        let mut list_type = None;
        for (keyword, value) in schema {
            match keyword.as_str() {
                "description" => {}
                "type" => node.ty = Some(known(SchemaType::parse, value).ok_or_else(|| bad(path, keyword, value))?),
                "format" => node.format = Some(text(value).ok_or_else(|| bad(path, keyword, value))?),
                "default" => node.default = Some(value.clone()),
                "enum" => node.allowed = value.as_array().ok_or_else(|| bad(path, keyword, value))?.clone(),
                "required" => node.required = texts(value).ok_or_else(|| bad(path, keyword, value))?,
                "properties" => {
                    let properties = value.as_object().ok_or_else(|| bad(path, keyword, value))?;
                    for (name, property) in properties {
                        let property = self.below(name, property, path)?;
                        node.insert_property(Str::Owned(name.clone()), property);
                    }
                }
                "items" => node.items = Some(Box::new(self.below("items", value, path)?)),
                "additionalProperties" => match value {
                    Value::Bool(false) => {}
                    Value::Bool(true) => node.preserve_unknown = true,
                    schema => node.additional = Some(Box::new(self.below("*", schema, path)?)),
                },
                "$ref" => node.reference = Some(self.reference(value, false, path)?),
                "allOf" if self.only_reference(value).is_some() => {
                    node.reference = self
                        .only_reference(value)
                        .map(|of| self.reference(of, true, path))
                        .transpose()?;
                }
                "oneOf" if self.only_types(value).is_some() => {
                    node.one_of = self.only_types(value).unwrap_or_default();
                }
                "nullable" => node.nullable = value.as_bool().ok_or_else(|| bad(path, keyword, value))?,
                "x-kubernetes-int-or-string" => {
                    node.int_or_string = value.as_bool().ok_or_else(|| bad(path, keyword, value))?;
                }
                "x-kubernetes-preserve-unknown-fields" => {
                    node.preserve_unknown = value.as_bool().ok_or_else(|| bad(path, keyword, value))?;
                }
                "x-kubernetes-embedded-resource" => {
                    node.embedded_resource = value.as_bool().ok_or_else(|| bad(path, keyword, value))?;
                }
                "x-kubernetes-list-type" => {
                    list_type = Some(text(value).ok_or_else(|| bad(path, keyword, value))?);
                }
                "x-kubernetes-list-map-keys" => map_keys = texts(value).ok_or_else(|| bad(path, keyword, value))?,
                "x-kubernetes-map-type" => {
                    node.map = Some(match value.as_str() {
                        Some("atomic") => MapKind::Atomic,
                        Some("granular") => MapKind::Granular,
                        _ => return Err(bad(path, keyword, value)),
                    });
                }
                "x-kubernetes-patch-strategy" => {
                    let strategy = known(PatchStrategy::parse, value).ok_or_else(|| bad(path, keyword, value))?;
                    node.patch_strategy = Some(strategy);
                }
                "x-kubernetes-patch-merge-key" => {
                    node.patch_merge_key = Some(text(value).ok_or_else(|| bad(path, keyword, value))?);
                }
                "x-kubernetes-group-version-kind" => {
                    node.kinds = kinds(value).ok_or_else(|| bad(path, keyword, value))?;
                }
                "x-kubernetes-unions" => node.unions = Some(Box::new(value.clone())),
                other if self.unknown == Unknown::Refuse => {
                    return Err(SchemaError::Keyword {
                        path: shown(path),
                        keyword: other.to_owned(),
                    });
                }
                _ => {}
            }
        }
        node.list = match list_type.as_deref() {
            None => None,
            Some("atomic") => Some(ListKind::Atomic),
            Some("set") => Some(ListKind::Set),
            Some("map") => Some(ListKind::Map(map_keys)),
            Some(other) => return Err(bad(path, "x-kubernetes-list-type", &other.into())),
        };
        Ok(node)
    }

    fn below(&self, name: &str, schema: &Value, path: &mut Vec<String>) -> Result<Node, SchemaError> {
        path.push(name.to_owned());
        let node = self.node(schema, path)?;
        path.pop();
        Ok(node)
    }

    fn reference(&self, value: &Value, wrapped: bool, path: &[String]) -> Result<Box<Reference>, SchemaError> {
        let name = value
            .as_str()
            .and_then(|target| target.rsplit('/').next())
            .ok_or_else(|| bad(path, "$ref", value))?;
        let index = (self.find)(name).ok_or_else(|| SchemaError::Reference {
            path: shown(path),
            name: name.to_owned(),
        })?;
        Ok(Box::new(Reference {
            name: Str::Owned(name.to_owned()),
            index,
            wrapped,
        }))
    }

    /// The target, if `allOf` is nothing but one reference.
    fn only_reference<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match value.as_array()?.as_slice() {
            [Value::Object(only)] if only.len() == 1 => only.get("$ref"),
            _ => None,
        }
    }

    /// The types, if `oneOf` only chooses between types.
    fn only_types(&self, value: &Value) -> Option<Vec<SchemaType>> {
        let choices = value.as_array()?.iter();
        choices
            .map(|choice| match choice {
                Value::Object(only) if only.len() == 1 => known(SchemaType::parse, only.get("type")?),
                _ => None,
            })
            .collect()
    }
}

fn shown(path: &[String]) -> String {
    if path.is_empty() {
        "schema".to_owned()
    } else {
        path.join(".")
    }
}

fn bad(path: &[String], keyword: &str, value: &Value) -> SchemaError {
    let value = value.to_string().chars().take(120).collect();
    SchemaError::Value {
        path: shown(path),
        keyword: keyword.to_owned(),
        value,
    }
}

fn text(value: &Value) -> Option<Str> {
    value.as_str().map(|text| Str::Owned(text.to_owned()))
}

fn texts(value: &Value) -> Option<Vec<Str>> {
    value.as_array()?.iter().map(text).collect()
}

fn known<T>(parse: impl Fn(&str) -> Option<T>, value: &Value) -> Option<T> {
    value.as_str().and_then(parse)
}

fn kinds(value: &Value) -> Option<Vec<GroupKind>> {
    let of = |kind: &Value| {
        Some(GroupKind {
            group: text(kind.get("group")?)?,
            version: text(kind.get("version")?)?,
            kind: text(kind.get("kind")?)?,
        })
    };
    value.as_array()?.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let read = |schema: Value| {
            Node::from_openapi(&schema, Unknown::Refuse)
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            read(json!({ "properties": { "a": { "items": { "type": "text" } } } })),
            "a.items: `type` has an unexpected value: \"text\""
        );
        assert_eq!(
            read(json!({ "pattern": "x" })),
            "schema: keyword `pattern` isn't supported"
        );
        let missing = json!({ "$ref": "#/components/schemas/io.example.None" });
        assert_eq!(read(missing), "schema: no definition is named `io.example.None`");
        let deep = (0..100).fold(json!({ "type": "string" }), |inner, _| json!({ "items": inner }));
        assert!(read(deep).ends_with("nested more than 64 levels deep"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let keyword = prop_oneof![
            Just("type"),
            Just("items"),
            Just("properties"),
            Just("allOf"),
            Just("oneOf"),
            Just("$ref"),
            Just("enum"),
            Just("additionalProperties"),
            Just("x-kubernetes-list-type"),
            Just("x-kubernetes-list-map-keys"),
            Just("required"),
            Just("x-kubernetes-group-version-kind"),
            Just("nullable"),
            Just("other"),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(|of| json!(of)),
            Just(json!("object")),
            Just(json!("map")),
            ".{0,4}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                proptest::collection::btree_map(keyword.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|of| Value::Object(of.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(schema in any_json()) {
            if let Ok(node) = Node::from_openapi(&schema, Unknown::Skip) {
                let again = Node::from_openapi(&node.to_openapi(), Unknown::Refuse);
                prop_assert!(again.is_ok(), "{:?}", again);
            }
        }
    }
}
