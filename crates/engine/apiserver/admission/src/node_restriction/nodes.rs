//! What a node may say of itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::refuse;
use crate::get::{fields, items, quoted};
use crate::{Operation, Outcome, Request};

/// Labels of Kubernetes that a node may give itself.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Prefixes of Kubernetes in which a node may give itself any label.
const OWN_PREFIXES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Prefix of labels that are kept from nodes, to tell them apart by.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

pub(super) fn check<E>(request: &Request<'_>, node: &str, object: &Value, old: Option<&Value>) -> Outcome<E> {
    let who = quoted(node);
    if request.name != node {
        let other = quoted(request.name);
        return refuse(format!("node {who} is not allowed to modify node {other}"));
    }
    let source = &object["spec"]["configSource"];
    match (request.operation, old) {
        (Operation::Create, _) => {
            if !source.is_null() {
                return refuse(format!(
                    "node {who} is not allowed to create pods with a non-nil configSource"
                ));
            }
            match forbidden_labels(object, &Value::Null) {
                labels if labels.is_empty() => Ok(()),
                labels => refuse(format!(
                    "node {who} is not allowed to set the following labels: {labels}"
                )),
            }
        }
        (Operation::Update, Some(old)) => {
            if !source.is_null() && *source != old["spec"]["configSource"] {
                return refuse(format!(
                    "node {who} is not allowed to update configSource to a new non-nil configSource"
                ));
            }
            if items(&object["spec"]["taints"]) != items(&old["spec"]["taints"]) {
                return refuse(format!("node {who} is not allowed to modify taints"));
            }
            match forbidden_labels(object, old) {
                labels if labels.is_empty() => Ok(()),
                labels => refuse(format!("is not allowed to modify labels: {labels}")),
            }
        }
        _ => Ok(()),
    }
}

/// The labels that differ and that a node may not change, in order.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let [new, old] = [new, old].map(|object| &object["metadata"]["labels"]);
    let changed = |one: &'_ Value, two: &'_ Value| -> Vec<String> {
        let keys = fields(one).filter(|(key, value)| two.get(key.as_str()) != Some(value));
        keys.map(|(key, _)| key.clone()).collect()
    };
    let mut keys: BTreeSet<String> = changed(new, old).into_iter().collect();
    keys.extend(changed(old, new));
    let forbidden: Vec<String> = keys.into_iter().filter(|key| is_forbidden(key)).collect();
    forbidden.join(", ")
}

fn is_forbidden(label: &str) -> bool {
    let prefix = label.split_once('/').map_or("", |(prefix, _)| prefix);
    let within = |domain: &str| {
        prefix
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if within(RESTRICTED) {
        return true;
    }
    let is_own = OWN_LABELS.contains(&label) || OWN_PREFIXES.into_iter().any(within);
    (within("kubernetes.io") || within("k8s.io")) && !is_own
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;
    use crate::lookup::tests::{Stored, request};
    use serde_json::json;

    #[test]
    fn which_labels_are_a_nodes_own() {
        let own = [
            "a",
            "example.com/a",
            "kubernetes.io/os",
            "x.node.kubernetes.io/a",
            "kubelet.kubernetes.io/b",
        ];
        assert!(own.into_iter().all(|label| !is_forbidden(label)));
        let not = [
            "kubernetes.io/x",
            "foo.k8s.io/x",
            "node-restriction.kubernetes.io/x",
            "a.node-restriction.kubernetes.io/x",
            "node-role.kubernetes.io/control-plane",
        ];
        assert!(not.into_iter().all(is_forbidden));
    }

    #[test]
    fn nodes_write_themselves_within_limits() {
        let of = |operation, name: &str, new: Value, old: Value| {
            let mut write = request(operation, "", "nodes");
            write.name = name;
            told(write, &new, Some(&old), &Stored::default())
        };
        let labelled = |key: &str| json!({"metadata": {"labels": {key: "x", "own": "y"}}});
        let bad = labelled("kubernetes.io/role");
        assert_eq!(of(Operation::Create, "m", labelled("mine"), json!({})), "");
        assert_eq!(
            of(Operation::Create, "m", bad.clone(), json!({})),
            "node \"m\" is not allowed to set the following labels: kubernetes.io/role"
        );
        assert_eq!(of(Operation::Update, "m", bad.clone(), bad.clone()), "");
        assert_eq!(
            of(Operation::Update, "m", json!({}), bad),
            "is not allowed to modify labels: kubernetes.io/role"
        );
        assert_eq!(
            of(
                Operation::Update,
                "m",
                json!({"spec": {"taints": [{"key": "a"}]}}),
                json!({})
            ),
            "node \"m\" is not allowed to modify taints"
        );
        let source = json!({"spec": {"configSource": {"configMap": {}}}});
        assert_eq!(
            of(Operation::Update, "m", source.clone(), json!({})),
            "node \"m\" is not allowed to update configSource to a new non-nil configSource"
        );
        assert_eq!(of(Operation::Update, "m", source.clone(), source), "");
        assert_eq!(of(Operation::Delete, "m", Value::Null, json!({})), "");
    }
}
