//! Labels and annotations of a Node.

use std::collections::BTreeMap;

use revoada_core::Role;
use serde_json::{Map, Value};

use crate::facts::NodeFacts;

/// Says which member a Node is: the first digits of its id. Without it a Node is somebody else's.
const MEMBER: &str = "engenho.io/member";
const ROLE: &str = "engenho.io/role";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Annotations that remember which labels and taints came from the member's configuration.
const OWNED_LABELS: &str = "engenho.io/owned-labels";
pub(super) const OWNED_TAINTS: &str = "engenho.io/owned-taints";

/// Labels that follow the member and nothing else.
const FIXED: [&str; 8] = [
    MEMBER,
    ROLE,
    CONTROL_PLANE,
    HOSTNAME,
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Whether a Node was made for a member.
pub(super) fn is_members(node: &Value) -> bool {
    node["metadata"]["labels"][MEMBER].is_string()
}

/// Brings the labels in line.
pub(super) fn merge(node: &mut Value, facts: &NodeFacts) {
    set(node, "labels", MEMBER, Some(&facts.member_id.short()));
    set(node, "labels", ROLE, Some(facts.role.as_str()));
    let has_replica = matches!(facts.role, Role::Voter | Role::Standby);
    set(node, "labels", CONTROL_PLANE, has_replica.then_some(""));
    // Not the machine's: several members may share one, and scheduling must tell them apart.
    set(node, "labels", HOSTNAME, Some(&facts.name));
    let Some(report) = &facts.report else { return };
    for (key, value) in [("os", &report.machine.os), ("arch", &report.machine.arch)] {
        if !value.is_empty() {
            set(node, "labels", &format!("kubernetes.io/{key}"), Some(value));
            set(node, "labels", &format!("beta.kubernetes.io/{key}"), Some(value));
        }
    }
    let mut own: BTreeMap<&str, &str> = BTreeMap::new();
    if let Some(zone) = report.zone.as_deref().filter(|zone| !zone.is_empty()) {
        own.insert(ZONE, zone);
    }
    let given = report.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    own.extend(given.filter(|(key, _)| !FIXED.contains(key)));
    for key in owned(node, OWNED_LABELS) {
        if !own.contains_key(key.as_str()) && !FIXED.contains(&key.as_str()) {
            set(node, "labels", &key, None);
        }
    }
    for (key, value) in &own {
        set(node, "labels", key, Some(value));
    }
    remember(node, OWNED_LABELS, own.keys().map(|key| (*key).to_owned()).collect());
}

/// What an annotation remembers.
pub(super) fn owned(node: &Value, annotation: &str) -> Vec<String> {
    let text = node["metadata"]["annotations"][annotation].as_str().unwrap_or_default();
    text.split(',')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Has an annotation remember a list; an empty one needs none.
pub(super) fn remember(node: &mut Value, annotation: &str, list: Vec<String>) {
    let text = list.join(",");
    annotate(node, annotation, (!text.is_empty()).then_some(&text));
}

/// Sets or removes an annotation.
pub(super) fn annotate(node: &mut Value, key: &str, value: Option<&str>) {
    set(node, "annotations", key, value);
}

fn set(node: &mut Value, field: &str, key: &str, value: Option<&str>) {
    let metadata = &mut node["metadata"];
    match value {
        Some(value) => {
            if !metadata[field].is_object() {
                metadata[field] = Value::Object(Map::new());
            }
            metadata[field][key] = value.into();
        }
        None => {
            if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
                map.remove(key);
            }
        }
    }
}
