//! Discovery documents: `/api`, `/apis` and what is below them, legacy and aggregated.
//!
//! Field order and omissions are those of `metav1` and `apidiscovery.k8s.io/v2`. Each function returns a complete JSON
//! document.

use bytes::Bytes;
use serde::Serialize;

use crate::catalog::{Catalog, Group};
use crate::resource::{Resource, SchemaSource, Subresource, Verb, VerbSet, api_version};

/// Address of this server as seen from a range of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerAddress {
    /// Range of client addresses, e.g. `0.0.0.0/0`.
    #[serde(rename = "clientCIDR")]
    pub client_cidr: String,
    /// `host:port`.
    pub server_address: String,
}

/// Version of the aggregated format, as negotiated by `Accept: application/json;g=apidiscovery.k8s.io;v=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregatedVersion {
    V2,
    V2Beta1,
}

impl AggregatedVersion {
    /// `apiVersion` of the document.
    pub const fn api_version(self) -> &'static str {
        match self {
            AggregatedVersion::V2 => "apidiscovery.k8s.io/v2",
            AggregatedVersion::V2Beta1 => "apidiscovery.k8s.io/v2beta1",
        }
    }

    /// `Content-Type` of the document.
    pub const fn content_type(self) -> &'static str {
        match self {
            AggregatedVersion::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            AggregatedVersion::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }
}

/// Which half of the API an aggregated document covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregatedRoot {
    /// `/api`: the core group.
    Core,
    /// `/apis`: all named groups.
    Groups,
}

/// `/api`.
pub fn api_versions(catalog: &Catalog, addresses: &[ServerAddress]) -> Bytes {
    let versions = catalog.group("").map_or(&[][..], |core| &core.versions);
    document(&ApiVersions {
        kind: "APIVersions",
        versions,
        server_address_by_client_cidrs: addresses,
    })
}

/// `/apis`.
pub fn group_list(catalog: &Catalog) -> Bytes {
    let groups = catalog
        .groups()
        .iter()
        .filter(|group| !group.name.is_empty())
        .map(|group| ApiGroup::new(group, false));
    document(&ApiGroupList {
        kind: "APIGroupList",
        api_version: "v1",
        groups: groups.collect(),
    })
}

/// `/apis/<group>`.
pub fn group(catalog: &Catalog, name: &str) -> Option<Bytes> {
    let group = catalog.group(name).filter(|group| !group.name.is_empty())?;
    Some(document(&ApiGroup::new(group, true)))
}

/// `/api/v1` (group "") or `/apis/<group>/<version>`.
pub fn resource_list(catalog: &Catalog, group: &str, version: &str) -> Option<Bytes> {
    let served = catalog.group_version(group, version)?;
    let mut resources = Vec::new();
    for resource in &served.resources {
        resources.push(ApiResource::of(resource));
        resources.extend(
            resource
                .subresources
                .iter()
                .map(|sub| ApiResource::of_subresource(resource, sub)),
        );
    }
    Some(document(&ApiResourceList {
        kind: "APIResourceList",
        // The core group's list has always been without.
        api_version: (!group.is_empty()).then_some("v1"),
        group_version: api_version(group, version),
        resources,
    }))
}

/// `/api` or `/apis` in the aggregated format.
pub fn aggregated(catalog: &Catalog, root: AggregatedRoot, version: AggregatedVersion) -> Bytes {
    let groups = catalog
        .groups()
        .iter()
        .filter(|group| group.name.is_empty() == (root == AggregatedRoot::Core));
    let items = groups.map(|group| AggregatedGroup {
        metadata: Metadata {
            name: (!group.name.is_empty()).then_some(&group.name),
        },
        versions: group
            .versions
            .iter()
            .map(|version| AggregatedGroupVersion::new(catalog, group, version))
            .collect(),
    });
    document(&AggregatedList {
        kind: "APIGroupDiscoveryList",
        api_version: version.api_version(),
        metadata: Metadata { name: None },
        items: items.collect(),
    })
}

fn document<T: Serialize>(value: &T) -> Bytes {
    // Strings and lists of strings can't fail to serialise.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiVersions<'a> {
    kind: &'static str,
    versions: &'a [crate::Str],
    #[serde(rename = "serverAddressByClientCIDRs")]
    server_address_by_client_cidrs: &'a [ServerAddress],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroupList<'a> {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<ApiGroup<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'a str,
    versions: Vec<GroupVersionName<'a>>,
    preferred_version: Option<GroupVersionName<'a>>,
}

impl<'a> ApiGroup<'a> {
    fn new(group: &'a Group, alone: bool) -> Self {
        let name = |version: &'a crate::Str| GroupVersionName {
            group_version: api_version(&group.name, version),
            version: version.as_ref(),
        };
        ApiGroup {
            kind: alone.then_some("APIGroup"),
            api_version: alone.then_some("v1"),
            name: &group.name,
            versions: group.versions.iter().map(name).collect(),
            preferred_version: group.versions.first().map(name),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersionName<'a> {
    group_version: String,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: String,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    kind: &'a str,
    verbs: Listed,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [crate::Str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [crate::Str],
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_version_hash: Option<&'a str>,
}

impl<'a> ApiResource<'a> {
    fn of(resource: &'a Resource) -> Self {
        ApiResource {
            name: resource.plural.to_string(),
            singular_name: &resource.singular,
            namespaced: resource.namespaced,
            group: "",
            version: "",
            kind: &resource.kind,
            verbs: Listed::of(resource),
            short_names: &resource.short_names,
            categories: &resource.categories,
            storage_version_hash: resource.storage_version_hash.as_deref(),
        }
    }

    fn of_subresource(resource: &'a Resource, sub: &'a Subresource) -> Self {
        ApiResource {
            name: format!("{}/{}", resource.plural, sub.name),
            singular_name: "",
            namespaced: resource.namespaced,
            group: &sub.kind.group,
            version: &sub.kind.version,
            kind: &sub.kind.kind,
            verbs: Listed::of_subresource(sub),
            short_names: &[],
            categories: &[],
            storage_version_hash: None,
        }
    }
}

/// Verbs as discovery lists them: alphabetically, and otherwise for custom resources.
struct Listed {
    verbs: VerbSet,
    custom: bool,
}

/// The order in which verbs of a custom resource are listed.
const CUSTOM_ORDER: [Verb; 8] = [
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Create,
    Verb::Update,
    Verb::Watch,
];

impl Listed {
    fn of(resource: &Resource) -> Self {
        Listed {
            verbs: resource.verbs,
            custom: resource.is_custom(),
        }
    }

    fn of_subresource(sub: &Subresource) -> Self {
        Listed {
            verbs: sub.verbs,
            custom: false,
        }
    }
}

impl Serialize for Listed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let order = if self.custom { CUSTOM_ORDER } else { Verb::ALL };
        let listed = order.into_iter().filter(|verb| self.verbs.contains(*verb));
        serializer.collect_seq(listed.map(Verb::as_str))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedList<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata<'a>,
    items: Vec<AggregatedGroup<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct AggregatedGroup<'a> {
    metadata: Metadata<'a>,
    versions: Vec<AggregatedGroupVersion<'a>>,
}

#[derive(Serialize)]
struct AggregatedGroupVersion<'a> {
    version: &'a str,
    resources: Vec<AggregatedResource<'a>>,
    freshness: &'static str,
}

impl<'a> AggregatedGroupVersion<'a> {
    fn new(catalog: &'a Catalog, group: &'a Group, version: &'a str) -> Self {
        let served = catalog.group_version(&group.name, version);
        let resources = served.into_iter().flat_map(|served| &served.resources);
        AggregatedGroupVersion {
            version,
            resources: resources.map(|resource| AggregatedResource::new(resource)).collect(),
            freshness: "Current",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource<'a> {
    resource: &'a str,
    response_kind: ResponseKind<'a>,
    scope: &'static str,
    singular_resource: &'a str,
    verbs: Listed,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [crate::Str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [crate::Str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<AggregatedSubresource<'a>>,
}

impl<'a> AggregatedResource<'a> {
    fn new(resource: &'a Resource) -> Self {
        let subresources = resource.subresources.iter().map(|sub| AggregatedSubresource {
            subresource: &sub.name,
            response_kind: match sub.kind.version.is_empty() {
                true => ResponseKind::own(resource, &sub.kind.kind),
                false => ResponseKind {
                    group: &sub.kind.group,
                    version: &sub.kind.version,
                    kind: &sub.kind.kind,
                },
            },
            verbs: Listed::of_subresource(sub),
        });
        AggregatedResource {
            resource: &resource.plural,
            response_kind: ResponseKind::own(resource, &resource.kind),
            scope: if resource.namespaced { "Namespaced" } else { "Cluster" },
            singular_resource: &resource.singular,
            verbs: Listed::of(resource),
            short_names: &resource.short_names,
            categories: &resource.categories,
            subresources: subresources.collect(),
        }
    }
}

#[derive(Serialize)]
struct ResponseKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

impl<'a> ResponseKind<'a> {
    /// A kind of the resource's own group and version: upstream leaves those empty for built-in kinds, and states them
    /// for custom resources.
    fn own(resource: &'a Resource, kind: &'a str) -> Self {
        match resource.schema {
            SchemaSource::Builtin(_) => ResponseKind {
                group: "",
                version: "",
                kind,
            },
            _ => ResponseKind {
                group: &resource.group,
                version: &resource.version,
                kind,
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedSubresource<'a> {
    subresource: &'a str,
    response_kind: ResponseKind<'a>,
    verbs: Listed,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::reference;

    fn same(path: &str, got: &Bytes) {
        if let Some(want) = reference::json(path) {
            let got: Value = serde_json::from_slice(got).expect("a JSON document");
            assert!(got == want, "{path} differs:\n got {got}\nwant {want}");
        }
    }

    #[test]
    fn legacy_documents_equal_the_reference() {
        let catalog = Catalog::builtin();
        let address = ServerAddress {
            client_cidr: "0.0.0.0/0".to_owned(),
            server_address: "127.0.0.1:26443".to_owned(),
        };
        same("discovery/api.json", &api_versions(catalog, &[address]));
        same("discovery/apis.json", &group_list(catalog));
        let mut compared = 0;
        for known in catalog.groups() {
            match known.name.as_ref() {
                "" => assert!(group(catalog, "").is_none()),
                name => same(
                    &format!("discovery/group_{name}.json"),
                    &group(catalog, name).expect("a group"),
                ),
            }
            for version in &known.versions {
                let path = match known.name.as_ref() {
                    "" => format!("discovery/resources_api_{version}.json"),
                    name => format!("discovery/resources_apis_{name}_{version}.json"),
                };
                same(&path, &resource_list(catalog, &known.name, version).expect("a version"));
                compared += 1;
            }
        }
        assert_eq!(compared, 22);
    }

    #[test]
    fn aggregated_documents_equal_the_reference() {
        let catalog = Catalog::builtin();
        let (core, groups) = (AggregatedRoot::Core, AggregatedRoot::Groups);
        same(
            "discovery/aggregated_api.json",
            &aggregated(catalog, core, AggregatedVersion::V2),
        );
        same(
            "discovery/aggregated_apis.json",
            &aggregated(catalog, groups, AggregatedVersion::V2),
        );
        let beta: Value =
            serde_json::from_slice(&aggregated(catalog, groups, AggregatedVersion::V2Beta1)).expect("JSON");
        assert_eq!(beta["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    }
}
