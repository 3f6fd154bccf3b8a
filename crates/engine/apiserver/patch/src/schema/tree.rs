//! A schema built at run time from an OpenAPI v3 document or from a CustomResourceDefinition's structural schema.

use super::{Additional, ListKind, MapKind, PatchStrategy, SchemaNode, SchemaType};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Nesting a schema document may have; deeper ones are refused rather than recursed into.
const DEPTH_MAX: usize = 128;
/// References followed one after the other before a cycle is assumed.
const REFERENCE_HOPS_MAX: usize = 8;
const REFERENCE_PREFIXES: [&str; 2] = ["#/components/schemas/", "#/definitions/"];

/// A schema document could not be turned into a [`TreeSchema`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaBuildError {
    #[error("schema at {path} must be an object")]
    NotAnObject { path: String },
    #[error("schema at {path} is nested deeper than {DEPTH_MAX} levels")]
    TooDeep { path: String },
    #[error("schema at {path} has the unknown type {found:?}")]
    UnknownType { path: String, found: String },
    #[error("no schema is named {name:?}")]
    NotFound { name: String },
}

#[derive(Debug, Default)]
struct Definition {
    reference: Option<String>,
    schema_type: Option<SchemaType>,
    format: Option<String>,
    properties: BTreeMap<String, Arc<Definition>>,
    required: BTreeSet<String>,
    items: Option<Arc<Definition>>,
    additional: Option<AdditionalDefinition>,
    list_kind: Option<ListKind>,
    map_kind: Option<MapKind>,
    default: Option<Value>,
    patch_strategy: Option<PatchStrategy>,
    merge_key: Option<String>,
    preserve_unknown: bool,
    embedded_resource: bool,
    nullable: bool,
}

#[derive(Debug)]
enum AdditionalDefinition {
    Any,
    Forbidden,
    Schema(Arc<Definition>),
}

/// A node of a schema held in memory; clones share the document.
#[derive(Clone, Debug)]
pub struct TreeSchema {
    components: Arc<BTreeMap<String, Arc<Definition>>>,
    /// What is written where the schema is used; its extensions and default win over the referenced type's.
    site: Arc<Definition>,
    /// What the reference leads to.
    target: Option<Arc<Definition>>,
}

impl TreeSchema {
    /// Builds one self-contained schema, such as `spec.versions[].schema.openAPIV3Schema` of a CustomResourceDefinition.
    pub fn from_structural(schema: &Value) -> Result<Self, SchemaBuildError> {
        let site = Arc::new(parse(schema, "$", 0)?);
        Ok(Self {
            components: Arc::new(BTreeMap::new()),
            site,
            target: None,
        })
    }

    /// Builds the schema called `name` of an OpenAPI v3 document; `$ref`s are looked up among `components.schemas`.
    pub fn from_openapi(document: &Value, name: &str) -> Result<Self, SchemaBuildError> {
        let mut components = BTreeMap::new();
        if let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) {
            for (key, schema) in schemas {
                components.insert(key.clone(), Arc::new(parse(schema, key, 0)?));
            }
        }
        let site = components
            .get(name)
            .cloned()
            .ok_or_else(|| SchemaBuildError::NotFound { name: name.to_owned() })?;
        Ok(Self {
            components: Arc::new(components),
            site: Arc::clone(&site),
            target: None,
        }
        .resolved(site))
    }

    fn resolved(&self, site: Arc<Definition>) -> Self {
        let mut target = None;
        let mut reference = site.reference.clone();
        for _ in 0..REFERENCE_HOPS_MAX {
            let Some(found) = reference.as_ref().and_then(|name| self.components.get(name)) else {
                break;
            };
            reference.clone_from(&found.reference);
            target = Some(Arc::clone(found));
        }
        Self {
            components: Arc::clone(&self.components),
            site,
            target,
        }
    }

    fn body(&self) -> &Definition {
        self.target.as_deref().unwrap_or(&self.site)
    }

    fn either<'a, T>(&'a self, get: impl Fn(&'a Definition) -> Option<T>) -> Option<T> {
        get(&self.site).or_else(|| self.target.as_deref().and_then(get))
    }
}

impl SchemaNode for TreeSchema {
    fn schema_type(&self) -> SchemaType {
        self.either(|definition| definition.schema_type)
            .unwrap_or(SchemaType::Any)
    }

    fn format(&self) -> Option<Cow<'_, str>> {
        self.either(|definition| definition.format.as_deref())
            .map(Cow::Borrowed)
    }

    fn property(&self, name: &str) -> Option<Self> {
        self.body()
            .properties
            .get(name)
            .map(|site| self.resolved(Arc::clone(site)))
    }

    fn each_property(&self, visit: &mut dyn FnMut(&str, Self)) {
        for (name, site) in &self.body().properties {
            visit(name, self.resolved(Arc::clone(site)));
        }
    }

    fn has_properties(&self) -> bool {
        !self.body().properties.is_empty()
    }

    fn is_required(&self, name: &str) -> bool {
        self.body().required.contains(name)
    }

    fn items(&self) -> Option<Self> {
        self.body().items.as_ref().map(|site| self.resolved(Arc::clone(site)))
    }

    fn additional_properties(&self) -> Additional<Self> {
        match &self.body().additional {
            None => Additional::Unspecified,
            Some(AdditionalDefinition::Any) => Additional::Any,
            Some(AdditionalDefinition::Forbidden) => Additional::Forbidden,
            Some(AdditionalDefinition::Schema(site)) => Additional::Schema(self.resolved(Arc::clone(site))),
        }
    }

    fn list_kind(&self) -> Option<ListKind> {
        self.either(|definition| definition.list_kind.clone())
    }

    fn map_kind(&self) -> MapKind {
        self.either(|definition| definition.map_kind)
            .unwrap_or(MapKind::Granular)
    }

    fn default_value(&self) -> Option<Cow<'_, Value>> {
        self.either(|definition| definition.default.as_ref()).map(Cow::Borrowed)
    }

    fn patch_strategy(&self) -> PatchStrategy {
        self.either(|definition| definition.patch_strategy).unwrap_or_default()
    }

    fn merge_key(&self) -> Option<Cow<'_, str>> {
        self.either(|definition| definition.merge_key.as_deref())
            .map(Cow::Borrowed)
    }

    fn preserve_unknown(&self) -> bool {
        // A named type that says nothing of its content holds anything.
        let free = self.target.as_deref().is_some_and(|target| {
            target.properties.is_empty()
                && target.additional.is_none()
                && matches!(target.schema_type, None | Some(SchemaType::Object))
        });
        self.site.preserve_unknown || self.body().preserve_unknown || free
    }

    fn embedded_resource(&self) -> bool {
        self.site.embedded_resource || self.body().embedded_resource
    }

    fn nullable(&self) -> bool {
        self.site.nullable || self.body().nullable
    }
}

fn parse(schema: &Value, path: &str, depth: usize) -> Result<Definition, SchemaBuildError> {
    if depth > DEPTH_MAX {
        return Err(SchemaBuildError::TooDeep { path: path.to_owned() });
    }
    let Some(object) = schema.as_object() else {
        return Err(SchemaBuildError::NotAnObject { path: path.to_owned() });
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let flag = |key: &str| object.get(key).and_then(Value::as_bool).unwrap_or(false);
    let format = text("format").map(str::to_owned);
    let mut definition = Definition {
        reference: reference(object),
        schema_type: parse_type(object, path)?,
        list_kind: parse_list_kind(object),
        map_kind: match text("x-kubernetes-map-type") {
            Some("atomic") => Some(MapKind::Atomic),
            Some(_) => Some(MapKind::Granular),
            None => None,
        },
        default: object.get("default").cloned(),
        patch_strategy: text("x-kubernetes-patch-strategy").map(PatchStrategy::parse),
        merge_key: text("x-kubernetes-patch-merge-key").map(str::to_owned),
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        embedded_resource: flag("x-kubernetes-embedded-resource"),
        nullable: flag("nullable"),
        format,
        ..Definition::default()
    };
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let child = parse(property, &format!("{path}.{name}"), depth + 1)?;
            definition.properties.insert(name.clone(), Arc::new(child));
        }
    }
    if let Some(required) = object.get("required").and_then(Value::as_array) {
        definition.required = required.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    if let Some(items) = object.get("items") {
        definition.items = Some(Arc::new(parse(items, &format!("{path}[]"), depth + 1)?));
    }
    definition.additional = match object.get("additionalProperties") {
        None => None,
        Some(Value::Bool(true)) => Some(AdditionalDefinition::Any),
        Some(Value::Bool(false)) => Some(AdditionalDefinition::Forbidden),
        Some(schema) => Some(AdditionalDefinition::Schema(Arc::new(parse(
            schema,
            &format!("{path}.*"),
            depth + 1,
        )?))),
    };
    Ok(definition)
}

/// A plain `$ref`, or one wrapped in a single-element `allOf` so that siblings may stand beside it.
fn reference(object: &Map<String, Value>) -> Option<String> {
    let direct = object.get("$ref");
    let wrapped = match object.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => only.get("$ref"),
        _ => None,
    };
    let text = direct.or(wrapped)?.as_str()?;
    let name = REFERENCE_PREFIXES
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    Some(name.to_owned())
}

fn parse_type(object: &Map<String, Value>, path: &str) -> Result<Option<SchemaType>, SchemaBuildError> {
    let int_or_string = object
        .get("x-kubernetes-int-or-string")
        .and_then(Value::as_bool)
        .unwrap_or(false)
        || object.get("format").and_then(Value::as_str) == Some("int-or-string");
    if int_or_string {
        return Ok(Some(SchemaType::IntOrString));
    }
    match object.get("type").and_then(Value::as_str) {
        None | Some("") => Ok(None),
        Some("object") => Ok(Some(SchemaType::Object)),
        Some("array") => Ok(Some(SchemaType::Array)),
        Some("string") => Ok(Some(SchemaType::String)),
        Some("integer") => Ok(Some(SchemaType::Integer)),
        Some("number") => Ok(Some(SchemaType::Number)),
        Some("boolean") => Ok(Some(SchemaType::Boolean)),
        Some(other) => Err(SchemaBuildError::UnknownType {
            path: path.to_owned(),
            found: other.to_owned(),
        }),
    }
}

fn parse_list_kind(object: &Map<String, Value>) -> Option<ListKind> {
    let keys = || {
        let keys = object.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        keys.map(|keys| keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default()
    };
    match object.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(ListKind::Set),
        "map" => Some(ListKind::Map(keys())),
        _ => Some(ListKind::Atomic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_site_overrides_the_type_it_refers_to() {
        let document = json!({"components": {"schemas": {
            "Pod": {"type": "object", "properties": {
                "selector": {"allOf": [{"$ref": "#/components/schemas/Map"}], "x-kubernetes-map-type": "atomic", "default": {}},
            }, "required": ["selector"]},
            "Map": {"type": "object", "additionalProperties": {"type": "string"}},
        }}});
        let pod = TreeSchema::from_openapi(&document, "Pod").unwrap();
        let selector = pod.property("selector").unwrap();
        assert_eq!(selector.schema_type(), SchemaType::Object);
        assert_eq!(selector.map_kind(), MapKind::Atomic);
        assert_eq!(selector.default_value().as_deref(), Some(&json!({})));
        assert!(pod.is_required("selector"));
        assert!(matches!(selector.additional_properties(), Additional::Schema(_)));
    }

    #[test]
    fn reference_cycles_end() {
        let document = json!({"components": {"schemas": {
            "A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"},
        }}});
        let schema = TreeSchema::from_openapi(&document, "A").unwrap();
        assert_eq!(schema.schema_type(), SchemaType::Any);
    }

    #[test]
    fn deep_and_malformed_documents_are_refused() {
        let mut deep = json!({"type": "string"});
        for _ in 0..200 {
            deep = json!({"type": "array", "items": deep});
        }
        assert!(matches!(
            TreeSchema::from_structural(&deep),
            Err(SchemaBuildError::TooDeep { .. })
        ));
        assert!(matches!(
            TreeSchema::from_structural(&json!([])),
            Err(SchemaBuildError::NotAnObject { .. })
        ));
        let unknown = TreeSchema::from_structural(&json!({"type": "banana"}));
        assert!(matches!(unknown, Err(SchemaBuildError::UnknownType { .. })));
    }

    #[test]
    fn patch_strategy_implies_the_list_kind() {
        let schema = TreeSchema::from_structural(&json!({"type": "array", "items": {"type": "object"},
            "x-kubernetes-patch-strategy": "merge,retainKeys", "x-kubernetes-patch-merge-key": "name"}))
        .unwrap();
        assert_eq!(schema.merge_list_kind(), ListKind::Map(vec!["name".to_owned()]));
        assert!(schema.patch_strategy().retain_keys);
    }
}
