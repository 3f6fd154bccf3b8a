//! The type of a value as structured-merge-diff sees it: which of scalar, list and map it may be, and how each merges.

use super::element::PathElement;
use crate::schema::{Additional, ListKind, MapKind, SchemaNode, SchemaType};
use serde_json::Value;

/// The type of a value: from a schema, or deduced from the value where there is none.
#[derive(Clone)]
pub(crate) enum Node<S> {
    /// `preserve`: unknown fields are allowed because an object above says so.
    Schema { schema: S, preserve: bool },
    /// No schema: maps are granular, lists atomic.
    Deduced,
    /// Below an atomic value: everything is atomic.
    Atomic,
}

/// The shape a value is handled as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Map,
    Scalar,
    List,
}

/// Which scalars are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Numeric,
    String,
    Boolean,
    Any,
}

/// How a list is taken apart.
pub(crate) struct ListType<S> {
    pub kind: ListKind,
    pub element: Node<S>,
}

impl<S: SchemaNode> Node<S> {
    pub fn root(schema: &S) -> Self {
        Self::Schema {
            schema: schema.clone(),
            preserve: schema.preserve_unknown(),
        }
    }

    fn child(schema: S, preserve: bool) -> Self {
        let preserve = preserve || schema.preserve_unknown();
        Self::Schema { schema, preserve }
    }

    /// The shape the value has, if the type allows it, else the first shape of map, scalar, list that it allows.
    pub fn shape(&self, value: Option<&Value>) -> Shape {
        let (map, scalar, list) = match self {
            Self::Deduced | Self::Atomic => (true, true, true),
            Self::Schema { schema, .. } => match schema.schema_type() {
                SchemaType::Object => (true, false, false),
                SchemaType::Array => (false, false, true),
                SchemaType::Any => (true, true, true),
                SchemaType::String
                | SchemaType::Integer
                | SchemaType::Number
                | SchemaType::Boolean
                | SchemaType::IntOrString => (false, true, false),
            },
        };
        match value {
            Some(Value::Object(_)) if map => Shape::Map,
            Some(Value::Array(_)) if list => Shape::List,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) if scalar => Shape::Scalar,
            _ if map => Shape::Map,
            _ if scalar => Shape::Scalar,
            _ => Shape::List,
        }
    }

    pub fn scalar(&self) -> Scalar {
        let Self::Schema { schema, .. } = self else {
            return Scalar::Any;
        };
        match schema.schema_type() {
            SchemaType::Integer | SchemaType::Number => Scalar::Numeric,
            SchemaType::Boolean => Scalar::Boolean,
            // Only plain text must be text; dates and other formats may come as they like.
            SchemaType::String => match schema.format().as_deref() {
                None | Some("" | "byte") => Scalar::String,
                Some(_) => Scalar::Any,
            },
            _ => Scalar::Any,
        }
    }

    /// Whether a map of this type has one owner.
    pub fn is_atomic_map(&self) -> bool {
        match self {
            Self::Schema { schema, .. } => schema.map_kind() == MapKind::Atomic,
            Self::Deduced => false,
            Self::Atomic => true,
        }
    }

    /// Whether the field is declared by name.
    pub fn declares(&self, name: &str) -> bool {
        matches!(self, Self::Schema { schema, .. } if schema.property(name).is_some())
    }

    /// Type of a field; `None` if the schema doesn't allow it.
    pub fn field(&self, name: &str) -> Option<Self> {
        let (schema, preserve) = match self {
            Self::Schema { schema, preserve } => (schema, *preserve),
            Self::Deduced => return Some(Self::Deduced),
            Self::Atomic => return Some(Self::Atomic),
        };
        if let Some(property) = schema.property(name) {
            return Some(Self::child(property, preserve));
        }
        match schema.additional_properties() {
            Additional::Schema(values) => Some(Self::child(values, preserve)),
            Additional::Any => Some(Self::Deduced),
            Additional::Forbidden => None,
            Additional::Unspecified if preserve || !schema.has_properties() => Some(Self::Deduced),
            Additional::Unspecified => None,
        }
    }

    /// Type of a field; fields the schema doesn't allow count as free-form.
    pub fn field_or_deduced(&self, name: &str) -> Self {
        self.field(name).unwrap_or(Self::Deduced)
    }

    pub fn list(&self) -> ListType<S> {
        match self {
            Self::Schema { schema, preserve } => match schema.items() {
                Some(items) => ListType {
                    kind: schema.merge_list_kind(),
                    element: Self::child(items, *preserve),
                },
                None => ListType {
                    kind: ListKind::Atomic,
                    element: Self::Atomic,
                },
            },
            Self::Deduced | Self::Atomic => ListType {
                kind: ListKind::Atomic,
                element: Self::Atomic,
            },
        }
    }
}

impl<S: SchemaNode> ListType<S> {
    pub fn is_atomic(&self) -> bool {
        self.kind == ListKind::Atomic
    }

    /// How the item is told from others; an error's text if it can't be.
    pub fn element_of(&self, item: &Value) -> Result<PathElement, String> {
        match &self.kind {
            ListKind::Atomic => Err("invalid indexing of non-associative list".to_owned()),
            ListKind::Set => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(PathElement::Value(scalar.clone())),
            },
            ListKind::Map(keys) => self.key_of(keys, item),
        }
    }

    fn key_of(&self, keys: &[String], item: &Value) -> Result<PathElement, String> {
        let object = match item {
            Value::Object(object) => object,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            _ => return Err("associative list with keys may not have non-map elements".to_owned()),
        };
        let mut fields = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(value) = object.get(key) {
                fields.push((key.clone(), value.clone()));
            } else if let Node::Schema { schema, .. } = &self.element
                && let Some(property) = schema.property(key)
                && let Some(default) = property.default_value().filter(|default| !default.is_null())
            {
                fields.push((key.clone(), default.into_owned()));
            }
        }
        if !keys.is_empty() && fields.is_empty() {
            let names: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] \
                 (and doesn't have default values for any key fields)",
                names.join(" ")
            ));
        }
        Ok(PathElement::key(fields))
    }
}
