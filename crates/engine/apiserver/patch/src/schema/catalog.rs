//! The catalog's schemas as [`SchemaNode`]s.

use super::{Additional, ListKind, MapKind, PatchStrategy, SchemaNode, SchemaType};
use engenho_catalog::schema as catalog;
use serde_json::Value;
use std::borrow::Cow;

impl SchemaNode for catalog::Schema<'_> {
    fn schema_type(&self) -> SchemaType {
        if self.is_int_or_string() {
            return SchemaType::IntOrString;
        }
        match catalog::Schema::schema_type(self) {
            None => SchemaType::Any,
            Some(catalog::SchemaType::Object) => SchemaType::Object,
            Some(catalog::SchemaType::Array) => SchemaType::Array,
            Some(catalog::SchemaType::String) => SchemaType::String,
            Some(catalog::SchemaType::Integer) => SchemaType::Integer,
            Some(catalog::SchemaType::Number) => SchemaType::Number,
            Some(catalog::SchemaType::Boolean) => SchemaType::Boolean,
        }
    }

    fn format(&self) -> Option<Cow<'_, str>> {
        catalog::Schema::format(self).map(Cow::Borrowed)
    }

    fn definition_name(&self) -> Option<Cow<'_, str>> {
        catalog::Schema::definition_name(self).map(Cow::Borrowed)
    }

    fn property(&self, name: &str) -> Option<Self> {
        catalog::Schema::property(self, name)
    }

    fn each_property(&self, visit: &mut dyn FnMut(&str, Self)) {
        for (name, property) in self.properties() {
            visit(name, property);
        }
    }

    fn has_properties(&self) -> bool {
        self.properties().len() > 0
    }

    fn is_required(&self, name: &str) -> bool {
        catalog::Schema::is_required(self, name)
    }

    fn items(&self) -> Option<Self> {
        catalog::Schema::items(self)
    }

    fn additional_properties(&self) -> Additional<Self> {
        match catalog::Schema::additional_properties(self) {
            Some(values) => Additional::Schema(values),
            None => Additional::Unspecified,
        }
    }

    fn list_kind(&self) -> Option<ListKind> {
        self.declared_list_kind().map(|kind| match kind {
            catalog::ListKind::Atomic => ListKind::Atomic,
            catalog::ListKind::Set => ListKind::Set,
            catalog::ListKind::Map(keys) => ListKind::Map(keys.iter().map(|key| key.to_string()).collect()),
        })
    }

    fn map_kind(&self) -> MapKind {
        match catalog::Schema::map_kind(self) {
            catalog::MapKind::Granular => MapKind::Granular,
            catalog::MapKind::Atomic => MapKind::Atomic,
        }
    }

    fn default_value(&self) -> Option<Cow<'_, Value>> {
        self.default().map(Cow::Borrowed)
    }

    fn patch_strategy(&self) -> PatchStrategy {
        let catalog::PatchStrategy {
            merge,
            retain_keys,
            replace,
        } = catalog::Schema::patch_strategy(self);
        PatchStrategy {
            merge,
            replace,
            retain_keys,
        }
    }

    fn merge_key(&self) -> Option<Cow<'_, str>> {
        self.patch_merge_key().map(Cow::Borrowed)
    }

    fn preserve_unknown(&self) -> bool {
        self.preserves_unknown()
    }

    fn embedded_resource(&self) -> bool {
        self.is_embedded_resource()
    }

    fn nullable(&self) -> bool {
        self.is_nullable()
    }

    fn zero(&self) -> catalog::Zero {
        catalog::Schema::zero(self)
    }
}
