//! Objects that exist when a server has just started: bootstrap RBAC, priority levels and classes, namespaces.

use serde_json::Value;

static TABLE: &str = include_str!("../data/boot.txt");

/// Every boot object, as a new value each time: namespaces first, then grouped by kind, by namespace and name.
///
/// Absent are what a server sets on creation (uid, resourceVersion, creationTimestamp, managedFields, and
/// lastTransitionTime of conditions) and objects that depend on settings (the `kubernetes` Service).
pub fn objects() -> impl Iterator<Item = Value> {
    // The table is part of the program and a test parses all of it.
    lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// The boot objects of one kind, e.g. `("rbac.authorization.k8s.io/v1", "ClusterRole")`; other lines aren't parsed.
pub fn objects_of(api_version: &str, kind: &str) -> impl Iterator<Item = Value> {
    let head = format!(r#"{{"apiVersion":"{api_version}","kind":"{kind}","#);
    lines()
        .filter(move |line| line.starts_with(&head))
        .filter_map(|line| serde_json::from_str(line).ok())
}

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| line.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    #[test]
    fn every_object_parses_and_is_of_a_served_kind() {
        assert_eq!(objects().count(), lines().count());
        for object in objects() {
            let version = object["apiVersion"].as_str().expect("apiVersion");
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let kind = object["kind"].as_str().expect("kind");
            assert!(
                Catalog::builtin().kind(group, version, kind).is_some(),
                "{group}/{version} {kind}"
            );
            assert!(object["metadata"]["name"].is_string());
            assert!(object["metadata"].get("uid").is_none());
        }
    }

    #[test]
    fn kinds_are_found_without_the_rest() {
        let names = |version, kind| -> Vec<String> {
            objects_of(version, kind)
                .map(|of| of["metadata"]["name"].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(
            names("v1", "Namespace"),
            ["default", "kube-node-lease", "kube-public", "kube-system"]
        );
        assert!(names("rbac.authorization.k8s.io/v1", "ClusterRole").contains(&"cluster-admin".to_owned()));
        assert_eq!(names("v1", "ClusterRole").len(), 0);
    }
}
