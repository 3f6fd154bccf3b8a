//! What goes into a document: its paths, and the definitions that they need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::names;
use super::operation::{Body, PathItem, Produces};
use crate::catalog::Catalog;
use crate::resource::Resource;
use crate::schema::{Node, definitions};

/// Paths of all version 3 documents, sorted.
pub(super) fn paths(catalog: &Catalog) -> Vec<String> {
    let mut paths: Vec<String> = [
        ".well-known/openid-configuration",
        "api",
        "apis",
        "openid/v1/jwks",
        "version",
    ]
    .map(str::to_owned)
    .into();
    for group in catalog.groups() {
        if group.name.is_empty() {
            paths.extend(group.versions.iter().map(|version| format!("api/{version}")));
        } else {
            if is_builtin(&group.name) {
                paths.push(format!("apis/{}", group.name));
            }
            paths.extend(
                group
                    .versions
                    .iter()
                    .map(|version| format!("apis/{}/{version}", group.name)),
            );
        }
    }
    paths.sort();
    paths
}

/// Whether a group is there without any definition of custom resources. Others have no documents but those about their
/// resources.
fn is_builtin(group: &str) -> bool {
    Catalog::builtin().group(group).is_some()
}

/// Whether the document of that name is about custom resources alone.
pub(super) fn is_custom(path: &str) -> bool {
    matches!(path.split('/').collect::<Vec<_>>().as_slice(), ["apis", group, version]
        if Catalog::builtin().group_version(group, version).is_none())
}

/// The paths that the document of that name describes.
pub(super) fn items(catalog: &Catalog, path: &str) -> Option<Vec<PathItem>> {
    let about = |tag: &str, id: String, definition: &str| {
        PathItem::document(
            &format!("/{path}/"),
            tag,
            id,
            Body::Definition(definition.to_owned()),
            Produces::Object,
        )
    };
    let parts: Vec<&str> = path.split('/').collect();
    let (group, version) = match parts.as_slice() {
        ["api"] => {
            return Some(vec![about(
                "core",
                "getCoreAPIVersions".to_owned(),
                names::API_VERSIONS,
            )]);
        }
        ["apis"] => return Some(vec![about("apis", "getAPIVersions".to_owned(), names::API_GROUP_LIST)]),
        ["version"] => {
            let answer = Body::Definition(names::VERSION_INFO.to_owned());
            let json = Produces::Json;
            return Some(vec![PathItem::document(
                "/version/",
                "version",
                "getCodeVersion".to_owned(),
                answer,
                json,
            )]);
        }
        [".well-known", "openid-configuration"] => {
            let id = "getServiceAccountIssuerOpenIDConfiguration".to_owned();
            let json = Produces::Json;
            return Some(vec![PathItem::document(
                &format!("/{path}/"),
                "WellKnown",
                id,
                Body::Text,
                json,
            )]);
        }
        ["openid", "v1", "jwks"] => {
            let id = "getServiceAccountIssuerOpenIDKeyset".to_owned();
            let keys = Produces::KeySet;
            return Some(vec![PathItem::document(
                &format!("/{path}/"),
                "openid",
                id,
                Body::Text,
                keys,
            )]);
        }
        ["apis", group] => {
            let group = catalog
                .group(group)
                .filter(|of| is_builtin(&of.name) && !of.name.is_empty())?;
            let id = format!("get{}APIGroup", names::group_identifier(&group.name));
            return Some(vec![about(&names::group_tag(&group.name), id, names::API_GROUP)]);
        }
        ["api", version] => ("", *version),
        ["apis", group, version] if !group.is_empty() => (*group, *version),
        _ => return None,
    };
    let served = catalog.group_version(group, version)?;
    let id = format!("get{}APIResources", names::identifier(group, version));
    let mut items = Vec::new();
    if !is_custom(path) {
        items.push(about(&names::tag(group, version), id, names::API_RESOURCE_LIST));
    }
    items.extend(super::paths::of(catalog, served));
    Some(items)
}

/// A definition of a document.
pub(super) enum Definition {
    /// From the built-in table.
    Builtin(&'static Node),
    /// Of a custom resource.
    Custom(Arc<Resource>),
    /// The list of a custom resource.
    CustomList(Arc<Resource>),
}

/// Every definition that the paths mention, and every one that those mention.
pub(super) fn definitions(catalog: &Catalog, items: &[PathItem]) -> BTreeMap<String, Definition> {
    let table = definitions::builtin();
    let custom = custom_definitions(catalog, items);
    let mut found = BTreeMap::new();
    let mut wanted: BTreeSet<u16> = BTreeSet::new();
    for operation in items.iter().flat_map(|item| &item.operations) {
        let body = operation.body.as_ref().map(|(body, _)| body);
        for name in [Some(&operation.answer), body].into_iter().flatten() {
            if let Body::Definition(name) = name {
                wanted.extend(table.find(name));
            }
        }
    }
    for (name, definition) in custom {
        match &definition {
            Definition::CustomList(_) => wanted.extend(table.find(names::LIST_META)),
            _ => wanted.extend(table.find(names::OBJECT_META)),
        }
        found.insert(name, definition);
    }
    while let Some(index) = wanted.pop_first() {
        let (Some(name), Some(node)) = (table.name(index), table.node(index)) else {
            continue;
        };
        if !found.contains_key(name) {
            references(node, &mut wanted);
            found.insert(name.to_owned(), Definition::Builtin(node));
        }
    }
    found
}

/// Definitions of the custom resources that the paths are about.
fn custom_definitions(catalog: &Catalog, items: &[PathItem]) -> BTreeMap<String, Definition> {
    let mut found = BTreeMap::new();
    for kind in items
        .iter()
        .flat_map(|item| &item.operations)
        .filter_map(|operation| operation.kind.as_ref())
    {
        let Some(resource) = catalog.kind(&kind.group, &kind.version, &kind.kind) else {
            continue;
        };
        if resource.is_custom() {
            found.insert(names::definition(resource), Definition::Custom(resource.clone()));
            found.insert(
                names::list_definition(resource),
                Definition::CustomList(resource.clone()),
            );
        }
    }
    found
}

/// Collects what a node refers to. As deep as the node, which its reader has bounded.
fn references(node: &Node, found: &mut BTreeSet<u16>) {
    found.extend(node.reference.as_ref().map(|reference| reference.index));
    for child in node.properties.iter().map(|(_, node)| node) {
        references(child, found);
    }
    for child in [&node.items, &node.additional].into_iter().flatten() {
        references(child, found);
    }
}
