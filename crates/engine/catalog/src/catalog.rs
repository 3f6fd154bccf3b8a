//! The set of resources that are served, looked up by path or by kind.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::resource::Resource;
use crate::schema::{Schema, definitions};
use crate::{Str, kinds};

/// An API group with its versions, most preferred first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Empty for the core group.
    pub name: Str,
    /// Most preferred first.
    pub versions: Vec<Str>,
}

/// One version of a group and its resources in discovery order.
#[derive(Clone, Debug)]
pub struct GroupVersion {
    pub group: Str,
    pub version: Str,
    /// By plural name, as discovery lists them.
    pub resources: Vec<Arc<Resource>>,
}

/// Every resource that is served. Cheap to clone: resources are shared.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    groups: Vec<Group>,
    versions: BTreeMap<(Str, Str), GroupVersion>,
}

impl Catalog {
    /// The catalog of a Kubernetes 1.34 API server without custom resources.
    pub fn builtin() -> &'static Catalog {
        static BUILTIN: OnceLock<Catalog> = OnceLock::new();
        BUILTIN.get_or_init(kinds::builtin)
    }

    /// Groups in discovery order: the core group (named "") first, then as `/apis` lists them.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of that name; "" is the core group.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// One version of a group.
    pub fn group_version(&self, group: &str, version: &str) -> Option<&GroupVersion> {
        // Tuples of borrowed and owned strings don't compare, so the few versions of the group are walked.
        self.group(group)?.versions.iter().find(|have| *have == version)?;
        self.versions
            .get(&(Str::Owned(group.to_owned()), Str::Owned(version.to_owned())))
    }

    /// Every resource: groups in discovery order, versions by preference, resources by plural name.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.groups
            .iter()
            .flat_map(|group| {
                group
                    .versions
                    .iter()
                    .map(|version| (group.name.clone(), version.clone()))
            })
            .filter_map(|key| self.versions.get(&key))
            .flat_map(|version| &version.resources)
    }

    /// Looks a resource up as paths name it, e.g. `("apps", "v1", "deployments")`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        let resources = &self.group_version(group, version)?.resources;
        let at = resources
            .binary_search_by(|resource| resource.plural.as_ref().cmp(plural))
            .ok()?;
        resources.get(at)
    }

    /// Looks a resource up by the kind of its objects, e.g. `("", "v1", "Pod")`.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.group_version(group, version)?
            .resources
            .iter()
            .find(|resource| resource.kind == kind)
    }

    /// Looks a resource up in the preferred version of its group that serves it.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let group = self.group(group)?;
        group
            .versions
            .iter()
            .find_map(|version| self.resource(&group.name, version, plural))
    }

    /// Schema of a kind, also of kinds that are no resource of their own (`DeleteOptions`, `Scale`, lists).
    pub fn schema(&self, group: &str, version: &str, kind: &str) -> Option<Schema<'_>> {
        match self.kind(group, version, kind) {
            Some(resource) => resource.schema(),
            None => definitions::builtin().by_kind(group, version, kind),
        }
    }

    /// Adds a resource, or replaces the one of the same group, version and plural name. A new group is appended to the
    /// discovery order; a new version goes where [`version_order`] puts it.
    pub fn insert(&mut self, resource: Arc<Resource>) {
        let key = (resource.group.clone(), resource.version.clone());
        match self.groups.iter_mut().find(|group| group.name == key.0) {
            None => self.groups.push(Group {
                name: key.0.clone(),
                versions: vec![key.1.clone()],
            }),
            Some(group) if !group.versions.contains(&key.1) => {
                let at = group
                    .versions
                    .partition_point(|have| version_order(have, &key.1).is_le());
                group.versions.insert(at, key.1.clone());
            }
            Some(_) => {}
        }
        let version = self.versions.entry(key.clone()).or_insert_with(|| GroupVersion {
            group: key.0,
            version: key.1,
            resources: Vec::new(),
        });
        match version
            .resources
            .binary_search_by(|have| have.plural.cmp(&resource.plural))
        {
            Ok(at) => version.resources[at] = resource,
            Err(at) => version.resources.insert(at, resource),
        }
    }

    /// Takes a resource out, and its version and group if they become empty. Returns what was there.
    pub fn remove(&mut self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let key = (Str::Owned(group.to_owned()), Str::Owned(version.to_owned()));
        let held = self.versions.get_mut(&key)?;
        let at = held
            .resources
            .binary_search_by(|resource| resource.plural.as_ref().cmp(plural))
            .ok()?;
        let removed = held.resources.remove(at);
        if held.resources.is_empty() {
            self.versions.remove(&key);
            for group in self.groups.iter_mut().filter(|have| have.name == key.0) {
                group.versions.retain(|have| *have != key.1);
            }
            self.groups.retain(|group| !group.versions.is_empty());
        }
        Some(removed)
    }

    /// Used by the kinds table, which states the order of groups and versions itself.
    pub(crate) fn push_version(&mut self, group: Str, version: Str) {
        match self.groups.iter_mut().find(|have| have.name == group) {
            Some(have) => have.versions.push(version.clone()),
            None => self.groups.push(Group {
                name: group.clone(),
                versions: vec![version.clone()],
            }),
        }
        self.versions.insert(
            (group.clone(), version.clone()),
            GroupVersion {
                group,
                version,
                resources: Vec::new(),
            },
        );
    }
}

/// Kubernetes' order of versions, most preferred first: GA before beta before alpha, larger numbers first, then names
/// that don't follow the pattern alphabetically.
pub fn version_order(a: &str, b: &str) -> std::cmp::Ordering {
    fn rank(version: &str) -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        let (stage, minor) = match &rest[digits..] {
            "" => return Some((2, major, 0)),
            tail => match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
                (Some(minor), _) => (1, minor),
                (_, Some(minor)) => (0, minor),
                _ => return None,
            },
        };
        Some((stage, major, minor.parse().ok()?))
    }
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_by_path_and_by_kind() {
        let catalog = Catalog::builtin();
        let deployments = catalog.resource("apps", "v1", "deployments").expect("served");
        assert_eq!(
            (deployments.kind.as_ref(), deployments.short_names[0].as_ref()),
            ("Deployment", "deploy")
        );
        assert!(Arc::ptr_eq(
            deployments,
            catalog.kind("apps", "v1", "Deployment").expect("served")
        ));
        assert_eq!(deployments.storage_key("ns", "a"), "/registry/apps/deployments/ns/a");
        assert_eq!(
            deployments.subresource("scale").map(|sub| sub.kind.kind.as_ref()),
            Some("Scale")
        );
        let nodes = catalog.resource("", "v1", "nodes").expect("served");
        assert_eq!(nodes.storage_key("ignored", "a"), "/registry/core/nodes/a");
        assert!(catalog.resource("apps", "v2", "deployments").is_none());
        assert!(catalog.resource("apps", "v1", "pods").is_none());
        assert_eq!(catalog.resources().count(), 66);
    }

    #[test]
    fn versions_share_their_storage() {
        let catalog = Catalog::builtin();
        let of = |group, version, plural| catalog.resource(group, version, plural).expect("served");
        let (old, new) = (
            "horizontalpodautoscalers",
            of("autoscaling", "v2", "horizontalpodautoscalers"),
        );
        assert_eq!(
            of("autoscaling", "v1", old).storage_group_version(),
            ("autoscaling", "v2")
        );
        assert_eq!(of("autoscaling", "v1", old).storage_prefix(), new.storage_prefix());
        assert_eq!(
            of("events.k8s.io", "v1", "events").storage_key("a", "b"),
            "/registry/core/events/a/b"
        );
        assert_eq!(
            catalog.preferred("autoscaling", old).map(|of| of.version.as_ref()),
            Some("v2")
        );
        assert!(!of("authentication.k8s.io", "v1", "tokenreviews").is_stored());
    }

    #[test]
    fn versions_are_ordered_by_maturity() {
        let mut versions = [
            "v1alpha1", "foo10", "v10", "v2", "v11beta2", "v3beta1", "foo1", "v1", "v10beta3",
        ];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(
            versions,
            [
                "v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v1alpha1", "foo1", "foo10"
            ]
        );
    }
}
