//! A cheap handle that walks schema nodes and follows references.

use serde_json::Value;

use super::definitions;
use super::node::{ListKind, MapKind, Node, PatchStrategy, SchemaType};
use super::zeros::Zero;
use crate::Str;

/// A place in a schema: the node at the place of use (default, list type, patch strategy) and the node it stands for
/// (type, properties), which differ where the place holds a reference. Two pointers; copy it freely.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    site: &'a Node,
    body: &'a Node,
}

/// Built-in definitions that are objects without named properties and hold any.
const FREE_OBJECTS: [&str; 2] = [
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
];

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

    /// Whether fields that the schema doesn't name are kept: the schema says so, or the value is one of the built-in
    /// types that hold any JSON. An object of a custom resource that lists nothing keeps nothing.
    pub fn preserves_unknown(&self) -> bool {
        let free = |name: &str| FREE_OBJECTS.contains(&name) || (self.body.ty.is_none() && self.body.one_of.is_empty());
        self.site.preserve_unknown || self.body.preserve_unknown || self.definition_name().is_some_and(free)
    }

    /// Whether the value is a whole object of some other kind, with `apiVersion`, `kind` and `metadata`.
    pub fn is_embedded_resource(&self) -> bool {
        self.site.embedded_resource || self.body.embedded_resource
    }

    /// Whether `null` is a value and not the absence of one.
    pub fn is_nullable(&self) -> bool {
        self.site.nullable || self.body.nullable
    }

    /// What is written of the zero value of a field with this schema.
    pub fn zero(&self) -> Zero {
        self.site.zero
    }

    /// Whether the value is a resource quantity: a string or a number.
    pub fn is_quantity(&self) -> bool {
        self.body.one_of.contains(&SchemaType::Number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Unknown;
    use crate::{Catalog, ListKind};

    fn walk<'a>(schema: Schema<'a>, path: &str) -> Schema<'a> {
        path.split('.').fold(schema, |schema, step| {
            let next = if step == "[]" {
                schema.items()
            } else {
                schema.field(step)
            };
            next.unwrap_or_else(|| panic!("no {step} in {path}"))
        })
    }

    fn at(group: &str, version: &str, kind: &str, path: &str) -> Schema<'static> {
        walk(Catalog::builtin().schema(group, version, kind).expect("a kind"), path)
    }

    #[test]
    fn lists_say_how_they_merge() {
        let ports = at("", "v1", "Pod", "spec.containers.[].ports");
        assert_eq!(
            ports.list_kind(),
            &ListKind::Map(vec!["containerPort".into(), "protocol".into()])
        );
        assert_eq!(
            (ports.patch_merge_key(), ports.patch_strategy().merge),
            (Some("containerPort"), true)
        );
        assert_eq!(walk(ports, "[].protocol").default(), Some(&json!("TCP")));
        assert_eq!(
            at("", "v1", "Pod", "spec.containers.[].args").list_kind(),
            &ListKind::Atomic
        );
        let finalizers = at("apps", "v1", "Deployment", "metadata.finalizers");
        assert_eq!(
            (finalizers.list_kind(), finalizers.patch_strategy().merge),
            (&ListKind::Set, true)
        );
        let volumes = at("apps", "v1", "Deployment", "spec.template.spec.volumes");
        let strategy = volumes.patch_strategy();
        assert!(strategy.merge && strategy.retain_keys && !strategy.replace);
        assert_eq!(volumes.list_map_keys(), ["name"]);
        assert!(
            at("apps", "v1", "Deployment", "spec.strategy")
                .patch_strategy()
                .retain_keys
        );
    }

    #[test]
    fn maps_and_structs_say_how_they_merge() {
        assert_eq!(
            at("apps", "v1", "Deployment", "spec.selector").map_kind(),
            MapKind::Atomic
        );
        assert_eq!(at("", "v1", "Pod", "spec.nodeSelector").map_kind(), MapKind::Atomic);
        assert_eq!(at("", "v1", "Pod", "metadata.labels").map_kind(), MapKind::Granular);
        assert_eq!(
            at("", "v1", "Pod", "metadata.labels.any").schema_type(),
            Some(SchemaType::String)
        );
    }

    #[test]
    fn special_types_are_told_apart() {
        assert!(at("", "v1", "Service", "spec.ports.[].targetPort").is_int_or_string());
        let limit = at("", "v1", "Pod", "spec.containers.[].resources.limits.cpu");
        assert!(limit.is_quantity() && !limit.is_int_or_string() && !limit.preserves_unknown());
        assert!(at("apps", "v1", "ControllerRevision", "data").preserves_unknown());
        assert!(at("", "v1", "Pod", "metadata.managedFields.[].fieldsV1").preserves_unknown());
        assert!(!at("", "v1", "Pod", "spec").preserves_unknown());
        assert_eq!(
            at("", "v1", "Pod", "metadata.creationTimestamp").format(),
            Some("date-time")
        );
        assert_eq!(at("", "v1", "Secret", "data.any").format(), Some("byte"));
        assert!(at("", "v1", "Pod", "spec").is_required("containers"));
        assert_eq!(at("", "v1", "Pod", "spec.restartPolicy").allowed_values().len(), 3);
        assert_eq!(
            at("", "v1", "Pod", "spec").definition_name(),
            Some("io.k8s.api.core.v1.PodSpec")
        );
    }

    #[test]
    fn kinds_without_a_resource_have_schemas() {
        for (group, version, kind) in [
            ("autoscaling", "v1", "Scale"),
            ("policy", "v1", "Eviction"),
            ("", "v1", "PodList"),
            ("", "v1", "Status"),
        ] {
            assert!(Catalog::builtin().schema(group, version, kind).is_some(), "{kind}");
        }
        assert!(Catalog::builtin().schema("batch", "v1", "DeleteOptions").is_some());
        assert!(Catalog::builtin().schema("", "v1", "Nothing").is_none());
    }

    #[test]
    fn a_schema_of_a_custom_resource_is_walked_alike() {
        let schema = json!({ "type": "object", "properties": {
            "empty": { "type": "object" },
            "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "size": { "x-kubernetes-int-or-string": true, "pattern": "^[0-9]+$" },
            "note": { "type": "string", "nullable": true, "default": "none" },
        } });
        let node = Node::from_openapi(&schema, Unknown::Skip).expect("a schema");
        let schema = Schema::new(&node);
        assert!(!walk(schema, "empty").preserves_unknown() && walk(schema, "free").preserves_unknown());
        assert!(walk(schema, "size").is_int_or_string() && walk(schema, "note").is_nullable());
        assert_eq!(walk(schema, "note").default(), Some(&json!("none")));
    }
}
