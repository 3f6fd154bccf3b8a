//! The seam through which schemas come in: built-in kinds from the catalog, CustomResourceDefinitions at run time.

mod catalog;
mod tree;

pub use tree::{SchemaBuildError, TreeSchema};

use engenho_catalog::schema::Zero;
use serde_json::Value;
use std::borrow::Cow;

/// JSON type a schema node accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// An integer or a string (`x-kubernetes-int-or-string`, format `int-or-string`).
    IntOrString,
    /// No type given: any JSON value (quantities, `JSON`, free-form fields).
    Any,
}

/// How the items of a list are told apart when two writers change it (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// The list has one owner and is replaced whole.
    Atomic,
    /// Scalars, each its own key.
    Set,
    /// Objects, identified by the values of these fields.
    Map(Vec<String>),
}

/// Whether the fields of an object are owned one by one (`x-kubernetes-map-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    Granular,
    Atomic,
}

/// What `additionalProperties` says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Additional<S> {
    /// The schema doesn't mention them.
    Unspecified,
    /// `additionalProperties: true`.
    Any,
    /// `additionalProperties: false`.
    Forbidden,
    /// Each value has this schema.
    Schema(S),
}

/// Parsed `x-kubernetes-patch-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists and maps are merged rather than replaced.
    pub merge: bool,
    /// The value is replaced whole, though maps merge by default.
    pub replace: bool,
    /// `$retainKeys` is honoured (union-like objects).
    pub retain_keys: bool,
}

impl PatchStrategy {
    /// Reads the comma-separated text of the extension; unknown words are ignored.
    pub fn parse(text: &str) -> Self {
        let mut strategy = Self::default();
        for word in text.split(',') {
            match word.trim() {
                "merge" => strategy.merge = true,
                "replace" => strategy.replace = true,
                "retainKeys" => strategy.retain_keys = true,
                _ => {}
            }
        }
        strategy
    }
}

/// One node of an OpenAPI schema with references already followed.
///
/// A node is a cheap handle (an index, an `Arc`): children are returned by value so that tables compiled into the
/// binary and schemas that arrive at run time look alike.
pub trait SchemaNode: Clone {
    /// The JSON type this node accepts.
    fn schema_type(&self) -> SchemaType;

    /// OpenAPI `format`, if any (`int32`, `date-time`, `byte`...).
    fn format(&self) -> Option<Cow<'_, str>>;

    /// Full name of the definition this place refers to, if it refers to one: `io.k8s.api.core.v1.Container`.
    fn definition_name(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// The schema of a declared property.
    fn property(&self, name: &str) -> Option<Self>;

    /// Calls `visit` with each declared property, in the order of their names.
    fn each_property(&self, visit: &mut dyn FnMut(&str, Self));

    /// Whether the object declares any property.
    fn has_properties(&self) -> bool;

    /// Whether the property is in the object's `required` list.
    fn is_required(&self, name: &str) -> bool;

    /// The schema of list items.
    fn items(&self) -> Option<Self>;

    /// What keys beyond the declared properties are allowed.
    fn additional_properties(&self) -> Additional<Self>;

    /// `x-kubernetes-list-type` with its map keys, if the schema gives one.
    fn list_kind(&self) -> Option<ListKind>;

    /// `x-kubernetes-map-type`.
    fn map_kind(&self) -> MapKind;

    /// The value a missing field takes.
    fn default_value(&self) -> Option<Cow<'_, Value>>;

    /// `x-kubernetes-patch-strategy`.
    fn patch_strategy(&self) -> PatchStrategy;

    /// `x-kubernetes-patch-merge-key`.
    fn merge_key(&self) -> Option<Cow<'_, str>>;

    /// `x-kubernetes-preserve-unknown-fields`: undeclared fields are kept, here and below.
    fn preserve_unknown(&self) -> bool;

    /// `x-kubernetes-embedded-resource`: the object is a complete resource with apiVersion, kind and metadata.
    fn embedded_resource(&self) -> bool {
        false
    }

    /// `nullable`: an explicit null is a value of its own and isn't replaced by the default.
    fn nullable(&self) -> bool {
        false
    }

    /// What is written of a field of this schema that has its type's zero value.
    fn zero(&self) -> Zero {
        Zero::Unset
    }

    /// How list items are identified for server-side apply: the list type, else what the patch strategy implies.
    fn merge_list_kind(&self) -> ListKind {
        if let Some(kind) = self.list_kind() {
            return kind;
        }
        if self.patch_strategy().merge {
            return match self.merge_key() {
                Some(key) => ListKind::Map(vec![key.into_owned()]),
                None => ListKind::Set,
            };
        }
        ListKind::Atomic
    }
}
