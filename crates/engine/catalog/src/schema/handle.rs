//! A cheap handle that walks schema nodes and follows references.

use serde_json::Value;

use super::definitions;
use super::node::{ListKind, MapKind, Node, PatchStrategy, SchemaType};
use crate::Str;

/// A place in a schema: the node at the place of use (default, list type, patch strategy) and the node it stands for
/// (type, properties), which differ where the place holds a reference. Two pointers; copy it freely.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    site: &'a Node,
    body: &'a Node,
}

const ATOMIC: &ListKind = &ListKind::Atomic;

impl<'a> Schema<'a> {
    /// A handle on the node, with its reference followed.
    pub fn new(node: &'a Node) -> Schema<'a> {
        let mut body = node;
        // A definition that is itself a reference is one step; more steps can't be in the table, so four is plenty.
        for _ in 0..4 {
            match &body.reference {
                Some(reference) => match definitions::builtin().node(reference.index) {
                    Some(target) => body = target,
                    None => break,
                },
                None => break,
            }
        }
        Schema { site: node, body }
    }

    /// The node where the schema is used.
    pub fn site(&self) -> &'a Node {
        self.site
    }

    /// The node that describes the value, references followed.
    pub fn body(&self) -> &'a Node {
        self.body
    }

    /// Full name of the definition the place refers to, e.g. `io.k8s.api.core.v1.PodSpec`.
    pub fn definition_name(&self) -> Option<&'a str> {
        self.site.reference.as_ref().map(|reference| reference.name.as_ref())
    }

    /// JSON type; none where any value is allowed.
    pub fn schema_type(&self) -> Option<SchemaType> {
        self.body.ty
    }

    /// `int32`, `int64`, `double`, `byte`, `date-time`, `int-or-string`, …
    pub fn format(&self) -> Option<&'a str> {
        self.site.format.as_deref().or(self.body.format.as_deref())
    }

    /// Schema of a named property; not of keys under `additionalProperties`.
    pub fn property(&self, name: &str) -> Option<Schema<'a>> {
        self.body.property(name).map(Schema::new)
    }

    /// The named properties, by name.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = (&'a str, Schema<'a>)> + use<'a> {
        self.body
            .properties
            .iter()
            .map(|(name, node)| (name.as_ref(), Schema::new(node)))
    }

    /// Schema of a field, named or under `additionalProperties`.
    pub fn field(&self, name: &str) -> Option<Schema<'a>> {
        self.property(name).or_else(|| self.additional_properties())
    }

    /// Schema of the elements of a list.
    pub fn items(&self) -> Option<Schema<'a>> {
        self.body.items.as_deref().map(Schema::new)
    }

    /// Schema of the values of a map with free keys.
    pub fn additional_properties(&self) -> Option<Schema<'a>> {
        self.body.additional.as_deref().map(Schema::new)
    }

    /// Names of required properties.
    pub fn required(&self) -> &'a [Str] {
        &self.body.required
    }

    /// Whether the property must be there.
    pub fn is_required(&self, name: &str) -> bool {
        self.body.required.iter().any(|have| have == name)
    }

    /// Default where the place is used; the API machinery's `{}` and zero values included.
    pub fn default(&self) -> Option<&'a Value> {
        self.site.default.as_ref().or(self.body.default.as_ref())
    }

    /// Allowed values; empty if any is.
    pub fn allowed_values(&self) -> &'a [Value] {
        if self.site.allowed.is_empty() {
            &self.body.allowed
        } else {
            &self.site.allowed
        }
    }

    /// How a list merges; [`ListKind::Atomic`] if the schema doesn't say.
    pub fn list_kind(&self) -> &'a ListKind {
        self.declared_list_kind().unwrap_or(ATOMIC)
    }

    /// How the schema says that a list merges.
    pub fn declared_list_kind(&self) -> Option<&'a ListKind> {
        self.site.list.as_ref().or(self.body.list.as_ref())
    }

    /// Keys that tell the elements of a map-like list apart; empty for other lists.
    pub fn list_map_keys(&self) -> &'a [Str] {
        match self.list_kind() {
            ListKind::Map(keys) => keys,
            _ => &[],
        }
    }

    /// How a map or struct merges; [`MapKind::Granular`] if the schema doesn't say. Go's struct type has no name of its
    /// own in OpenAPI: it is the map type of an object with properties.
    pub fn map_kind(&self) -> MapKind {
        self.site.map.or(self.body.map).unwrap_or(MapKind::Granular)
    }

    /// How a strategic merge patch treats this field.
    pub fn patch_strategy(&self) -> PatchStrategy {
        self.site.patch_strategy.unwrap_or_default()
    }

    /// The one key by which a strategic merge patch tells elements apart.
    pub fn patch_merge_key(&self) -> Option<&'a str> {
        self.site.patch_merge_key.as_deref()
    }

    /// Whether the value may be an integer or a string.
    pub fn is_int_or_string(&self) -> bool {
        self.site.int_or_string || self.body.int_or_string || self.format() == Some("int-or-string")
    }

    /// Whether fields that the schema doesn't name are kept.
    pub fn preserves_unknown(&self) -> bool {
        self.site.preserve_unknown
            || self.body.preserve_unknown
            || match self.body.ty {
                // An object that lists nothing (RawExtension, FieldsV1) holds whatever it is given.
                Some(SchemaType::Object) => self.body.properties.is_empty() && self.body.additional.is_none(),
                Some(_) => false,
                None => self.body.one_of.is_empty(),
            }
    }

    /// Whether the value is a whole object of some other kind, with `apiVersion`, `kind` and `metadata`.
    pub fn is_embedded_resource(&self) -> bool {
        self.site.embedded_resource || self.body.embedded_resource
    }

    /// Whether `null` is a value and not the absence of one.
    pub fn is_nullable(&self) -> bool {
        self.site.nullable || self.body.nullable
    }

    /// Whether the value is a resource quantity: a string or a number.
    pub fn is_quantity(&self) -> bool {
        self.body.one_of.contains(&SchemaType::Number)
    }
}
