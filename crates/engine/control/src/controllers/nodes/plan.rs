//! What a Node should be, from what it is and what is known of its member.
//!
//! A Node belongs to its users as well: only labels, taints, annotations, conditions and resources that are the
//! cluster's own are touched, and those from a member's configuration are remembered in annotations, so that they go
//! when the configuration no longer has them.

use std::collections::BTreeMap;

use revoada_core::Role;
use serde_json::{Value, json};

use super::{metadata, status, taints};
use crate::facts::NodeFacts;

/// A write that brings a Node closer to what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    /// It isn't there.
    Create(Value),
    /// Metadata or spec differ.
    Replace(Value),
    /// The status differs.
    Status(Value),
}

/// Name of a Node.
pub(super) fn name(node: &Value) -> &str {
    node["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether a Node says that it is ready.
pub(super) fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The members that have a Node, and those that can have none because an older claim to the name stands. The live
/// one has the better claim, then the one with the smaller id.
pub(super) fn wanted(members: &[NodeFacts]) -> (Vec<&NodeFacts>, Vec<&NodeFacts>) {
    let mut nodes: Vec<&NodeFacts> = members.iter().filter(|m| m.role != Role::Witness).collect();
    nodes.sort_by_key(|m| (!m.is_alive, m.member_id));
    let (mut by_name, mut doubles) = (BTreeMap::new(), Vec::new());
    for node in nodes {
        if by_name.contains_key(&node.name) {
            doubles.push(node);
        } else {
            by_name.insert(&node.name, node);
        }
    }
    (by_name.into_values().collect(), doubles)
}

/// The Nodes whose member is no longer there. Without any member nothing is known, and nothing is gone.
pub(super) fn departed<'v>(existing: &'v [Value], members: &[NodeFacts]) -> Vec<&'v Value> {
    if members.is_empty() {
        return Vec::new();
    }
    let stays = |node: &Value| members.iter().any(|m| m.role != Role::Witness && m.name == name(node));
    let all = existing
        .iter()
        .filter(|node| metadata::is_members(node) && !stays(node));
    all.filter(|node| !node["metadata"]["deletionTimestamp"].is_string())
        .collect()
}

/// The next write to the Node of a member, if there is something to write.
pub(super) fn next_write(existing: Option<&Value>, facts: &NodeFacts, now_unix_ms: u64) -> Option<Write> {
    let Some(node) = existing else {
        let mut node = json!({
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": facts.name},
            "spec": {},
            "status": {},
        });
        status::merge(&mut node, facts, now_unix_ms);
        merge(&mut node, facts, now_unix_ms);
        return Some(Write::Create(node));
    };
    if node["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    // The status first: clients wait for the condition.
    let mut new = node.clone();
    status::merge(&mut new, facts, now_unix_ms);
    if new != *node {
        return Some(Write::Status(new));
    }
    merge(&mut new, facts, now_unix_ms);
    (new != *node).then_some(Write::Replace(new))
}

fn merge(node: &mut Value, facts: &NodeFacts, now_unix_ms: u64) {
    metadata::merge(node, facts);
    taints::merge(node, facts, now_unix_ms);
    if let Some(cidr) = &facts.pod_cidr {
        node["spec"]["podCIDR"] = cidr.as_str().into();
        node["spec"]["podCIDRs"] = json!([cidr]);
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
