//! Names in OpenAPI documents: of definitions, tags and operations.

use crate::catalog::Catalog;
use crate::resource::{GroupKind, Resource, SchemaSource};
use crate::schema::definitions;

pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
pub(super) const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
pub(super) const API_VERSIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions";
pub(super) const API_GROUP: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup";
pub(super) const API_GROUP_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList";
pub(super) const API_RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
pub(super) const VERSION_INFO: &str = "io.k8s.apimachinery.pkg.version.Info";

/// What `apiVersion` is, to people.
pub const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
/// What `kind` is, to people.
pub const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// Definition of a resource's kind: that of the table, or for custom resources the group's domain reversed.
pub(super) fn definition(resource: &Resource) -> String {
    match resource.schema {
        SchemaSource::Builtin(index) => definitions::builtin().name(index).unwrap_or_default().to_owned(),
        _ => custom_definition(resource, &resource.kind),
    }
}

fn custom_definition(resource: &Resource, kind: &str) -> String {
    let mut labels: Vec<&str> = resource.group.split('.').collect();
    labels.reverse();
    format!("{}.{}.{kind}", labels.join("."), resource.version)
}

/// Kind of lists of a resource.
pub(super) fn list_kind(resource: &Resource) -> String {
    match &resource.schema {
        SchemaSource::Owned(of) => of.list_kind.to_string(),
        _ => format!("{}List", resource.kind),
    }
}

/// Definition of the list of a resource's kind.
pub(super) fn list_definition(resource: &Resource) -> String {
    let kind = list_kind(resource);
    if resource.is_custom() {
        return custom_definition(resource, &kind);
    }
    let builtin = definitions::builtin().find_kind(&resource.group, &resource.version, &kind);
    match builtin.and_then(|index| definitions::builtin().name(index)) {
        Some(name) => name.to_owned(),
        None => format!("{}List", definition(resource)),
    }
}

/// Definition of any kind.
pub(super) fn kind_definition(catalog: &Catalog, kind: &GroupKind) -> String {
    if let Some(resource) = catalog.kind(&kind.group, &kind.version, &kind.kind) {
        return definition(resource);
    }
    let found = definitions::builtin().find_kind(&kind.group, &kind.version, &kind.kind);
    found
        .and_then(|index| definitions::builtin().name(index))
        .unwrap_or_default()
        .to_owned()
}

/// `core_v1`, `rbacAuthorization_v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", group_tag(group))
}

/// `core`, `rbacAuthorization`.
pub(super) fn group_tag(group: &str) -> String {
    let name = group_identifier(group);
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(letters)
        .collect()
}

/// `CoreV1`, `RbacAuthorizationV1`.
pub(super) fn identifier(group: &str, version: &str) -> String {
    format!("{}{}", group_identifier(group), capitalised(version))
}

/// `Core`, `RbacAuthorization`.
pub(super) fn group_identifier(group: &str) -> String {
    if group.is_empty() {
        return "Core".to_owned();
    }
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split(['.', '-']).map(capitalised).collect()
}

/// The word with its first letter in upper case.
pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}
