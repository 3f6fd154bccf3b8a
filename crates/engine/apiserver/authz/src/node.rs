//! What kubelets may do: the node authoriser.
//!
//! A node may read a secret, config map, claim, volume, attachment, pod or service account token exactly when a pod bound
//! to that node leads to it: [`crate::NodeGraph`] knows.

use std::sync::OnceLock;

use engenho_catalog::boot;

use crate::attributes::{Attributes, Decision, Identity};
use crate::graph::Vertex;
use crate::objects::{self, RoleObject};
use crate::rule::PolicyRule;

/// Prefix of the user name of a node.
const USER_PREFIX: &str = "system:node:";
/// The group of nodes.
const GROUP: &str = "system:nodes";
/// Namespace of node leases.
const LEASES: &str = "kube-node-lease";

/// Whether something of a namespace and name leads to the node that asks.
pub type Related<'a> = &'a dyn Fn(Vertex, &str, &str) -> bool;

/// Why a review of a node's rules is incomplete.
pub const NODE_RULES_UNKNOWN: &str = "node authorizer does not support user rule resolution";

/// The node whose identity this is. `Some("")` is a node without a name.
pub fn node_name(identity: &Identity) -> Option<&str> {
    identity
        .user
        .strip_prefix(USER_PREFIX)
        .filter(|_| identity.in_group(GROUP))
}

/// What every node may do alike: the rules of the built-in role of nodes.
fn node_rules() -> &'static [PolicyRule] {
    static RULES: OnceLock<Vec<PolicyRule>> = OnceLock::new();
    RULES.get_or_init(|| {
        boot::objects()
            .find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == "system:node")
            .and_then(|role| objects::read::<RoleObject>(&role).ok())
            .map(|role| role.rules)
            .unwrap_or_default()
    })
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::no_opinion(reason)
}

/// Decides about a request of a node; no opinion about anybody else's. `related` is asked about the node's own relations.
pub fn authorize_node(attributes: &Attributes, related: Related<'_>) -> Decision {
    let Some(node) = node_name(&attributes.identity) else {
        return no("");
    };
    if node.is_empty() {
        let user = crate::quote::quote(&attributes.identity.user);
        return no(format!("unknown node for user {user}"));
    }
    if attributes.resource_request {
        match (attributes.group.as_str(), attributes.resource.as_str()) {
            ("", "secrets") => return read_related(node, Vertex::Secret, attributes, related),
            ("", "configmaps") => return read_related(node, Vertex::ConfigMap, attributes, related),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => {
                return update_related_status(node, attributes, related);
            }
            ("", "persistentvolumeclaims") => return get_related(node, Vertex::Claim, attributes, related),
            ("", "persistentvolumes") => return get_related(node, Vertex::Volume, attributes, related),
            ("resource.k8s.io", "resourceclaims") => {
                return get_related(node, Vertex::ResourceClaim, attributes, related);
            }
            ("storage.k8s.io", "volumeattachments") => {
                return get_related(node, Vertex::VolumeAttachment, attributes, related);
            }
            ("", "serviceaccounts") => return create_token(node, attributes, related),
            ("coordination.k8s.io", "leases") => return lease(node, attributes),
            ("storage.k8s.io", "csinodes") => return csi_node(node, attributes),
            ("resource.k8s.io", "resourceslices") => return resource_slice(node, attributes, related),
            ("", "nodes") => return own_node(node, attributes),
            ("", "pods") => return pod(node, attributes, related),
            _ => {}
        }
    }
    if node_rules().iter().any(|rule| rule.allows(attributes)) {
        Decision::allow("")
    } else {
        no("")
    }
}

/// Allows what is related to the node.
fn by_relation(node: &str, from: Vertex, attributes: &Attributes, related: Related<'_>) -> Decision {
    if attributes.name.is_empty() {
        return no("No Object name found");
    }
    if related(from, &attributes.namespace, &attributes.name) {
        return Decision::allow("");
    }
    no(format!("no relationship found between node '{node}' and this object"))
}

fn read_related(node: &str, from: Vertex, attributes: &Attributes, related: Related<'_>) -> Decision {
    if !matches!(attributes.verb.as_str(), "get" | "list" | "watch") {
        return no("can only read resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot read subresource");
    }
    if attributes.namespace.is_empty() {
        return no("can only read namespaced object of this type");
    }
    by_relation(node, from, attributes, related)
}

fn get_related(node: &str, from: Vertex, attributes: &Attributes, related: Related<'_>) -> Decision {
    if attributes.verb != "get" {
        return no("can only get individual resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot get subresource");
    }
    by_relation(node, from, attributes, related)
}

fn update_related_status(node: &str, attributes: &Attributes, related: Related<'_>) -> Decision {
    if !matches!(attributes.verb.as_str(), "update" | "patch") {
        return no("can only get/update/patch this type");
    }
    by_relation(node, Vertex::Claim, attributes, related)
}

fn create_token(node: &str, attributes: &Attributes, related: Related<'_>) -> Decision {
    if attributes.verb != "create" || attributes.name.is_empty() {
        return no("can only create tokens for individual service accounts");
    }
    if attributes.subresource != "token" {
        return no("can only create token subresource of serviceaccount");
    }
    by_relation(node, Vertex::ServiceAccount, attributes, related)
}

fn is_object_verb(verb: &str) -> bool {
    matches!(verb, "get" | "create" | "update" | "patch" | "delete")
}

fn lease(node: &str, attributes: &Attributes) -> Decision {
    if !is_object_verb(&attributes.verb) {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if attributes.namespace != LEASES {
        return no(format!("can only access leases in the \"{LEASES}\" system namespace"));
    }
    // The name isn't known when one is created: admission checks it then.
    if attributes.verb != "create" && attributes.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Decision::allow("")
}

fn csi_node(node: &str, attributes: &Attributes) -> Decision {
    if !is_object_verb(&attributes.verb) {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if attributes.verb != "create" && attributes.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Decision::allow("")
}

fn resource_slice(node: &str, attributes: &Attributes, related: Related<'_>) -> Decision {
    if !attributes.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match attributes.verb.as_str() {
        // Whose slice it is stands in the object: admission checks it.
        "create" => Decision::allow(""),
        "get" | "update" | "patch" | "delete" => by_relation(node, Vertex::ResourceSlice, attributes, related),
        "watch" | "list" | "deletecollection" if selects(&attributes.field_selector, "nodeName", node) => {
            Decision::allow("")
        }
        "watch" | "list" | "deletecollection" => {
            no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        }
        _ => no(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
        ),
    }
}

fn own_node(node: &str, attributes: &Attributes) -> Decision {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        // Admission limits a node to its own object.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Decision::allow(""),
        ("", "get" | "list" | "watch") => match attributes.name.as_str() {
            own if own == node => Decision::allow(""),
            "" => no(format!("node '{node}' cannot read all nodes, only its own Node object")),
            other => no(format!("node '{node}' cannot read '{other}', only its own Node object")),
        },
        _ => no(""),
    }
}

fn pod(node: &str, attributes: &Attributes, related: Related<'_>) -> Decision {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        ("", "get") => by_relation(node, Vertex::Pod, attributes, related),
        ("", "list" | "watch") => {
            if selects(&attributes.field_selector, "spec.nodeName", node) {
                Decision::allow("")
            } else if attributes.name.is_empty() {
                no("can only list/watch pods with spec.nodeName field selector")
            } else {
                by_relation(node, Vertex::Pod, attributes, related)
            }
        }
        // Admission limits a node to mirror pods and to pods bound to it.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Decision::allow(""),
        _ => no(""),
    }
}

/// Whether a field selector demands that `field` equals `value`. Terms are joined by commas; `\` escapes.
fn selects(selector: &str, field: &str, value: &str) -> bool {
    split_terms(selector).iter().any(|term| {
        let Some(at) = term.find('=') else { return false };
        let (left, right) = (&term[..at], &term[at + 1..]);
        let right = right.strip_prefix('=').unwrap_or(right);
        !left.ends_with('!') && left == field && unescape(right) == value
    })
}

fn split_terms(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in selector.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Verdict;

    fn ask(user: &str, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            identity: Identity {
                user: user.into(),
                groups: vec![GROUP.into()],
                ..Identity::default()
            },
            verb: verb.into(),
            resource_request: true,
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        }
    }

    /// What a node may do that has no pods.
    fn alone(attributes: &Attributes) -> Decision {
        authorize_node(attributes, &|_, _, _| false)
    }

    #[test]
    fn a_node_reads_what_leads_to_it() {
        let resource = "resource.k8s.io";
        for (verb, group, resource, namespace, name, vertex) in [
            ("get", "", "secrets", "ns", "x", Vertex::Secret),
            ("watch", "", "secrets", "ns", "x", Vertex::Secret),
            ("list", "", "configmaps", "ns", "x", Vertex::ConfigMap),
            ("get", "", "persistentvolumeclaims", "ns", "x", Vertex::Claim),
            ("patch", "", "persistentvolumeclaims/status", "ns", "x", Vertex::Claim),
            ("get", "", "persistentvolumes", "", "x", Vertex::Volume),
            (
                "get",
                "storage.k8s.io",
                "volumeattachments",
                "",
                "x",
                Vertex::VolumeAttachment,
            ),
            ("create", "", "serviceaccounts/token", "ns", "x", Vertex::ServiceAccount),
            ("get", resource, "resourceclaims", "ns", "x", Vertex::ResourceClaim),
            ("delete", resource, "resourceslices", "", "x", Vertex::ResourceSlice),
            ("get", "", "pods", "ns", "x", Vertex::Pod),
        ] {
            let asked = ask("system:node:n1", verb, group, resource, namespace, name);
            let knows = |v: Vertex, ns: &str, n: &str| (v, ns, n) == (vertex, namespace, name);
            assert_eq!(authorize_node(&asked, &knows), Decision::allow(""), "{verb} {resource}");
            let reason = "no relationship found between node 'n1' and this object";
            assert_eq!(alone(&asked), Decision::no_opinion(reason), "{verb} {resource}");
        }
        let nameless = ask("system:node:n1", "list", "", "secrets", "ns", "");
        assert_eq!(
            authorize_node(&nameless, &|_, _, _| true).reason,
            "No Object name found"
        );
    }

    #[test]
    fn a_node_writes_what_is_its_own() {
        let storage = "storage.k8s.io";
        let leases = "coordination.k8s.io";
        for (verb, group, resource, namespace, name, allowed) in [
            ("create", "", "nodes", "", "", true),
            ("get", "", "nodes", "", "n1", true),
            ("get", "", "nodes", "", "n2", false),
            ("watch", "", "nodes", "", "", false),
            ("delete", "", "nodes", "", "n1", false),
            ("patch", "", "nodes/status", "", "n1", true),
            ("get", "", "nodes/proxy", "", "n1", false),
            ("update", leases, "leases", "kube-node-lease", "n1", true),
            ("create", leases, "leases", "kube-node-lease", "", true),
            ("update", leases, "leases", "kube-node-lease", "n2", false),
            ("update", leases, "leases", "default", "n1", false),
            ("list", leases, "leases", "kube-node-lease", "", false),
            ("get", storage, "csinodes", "", "n1", true),
            ("get", storage, "csinodes", "", "n2", false),
            ("get", "", "secrets", "ns", "x", false),
            ("list", "", "secrets", "ns", "", false),
            ("create", "", "secrets", "ns", "x", false),
            ("get", "", "persistentvolumes", "", "x", false),
            ("create", "", "serviceaccounts/token", "ns", "x", false),
            ("create", "", "pods", "ns", "", true),
            ("delete", "", "pods", "ns", "p", true),
            ("update", "", "pods", "ns", "p", false),
            ("patch", "", "pods/status", "ns", "p", true),
            ("create", "", "pods/eviction", "ns", "p", true),
            ("create", "", "pods/exec", "ns", "p", false),
            ("create", "resource.k8s.io", "resourceslices", "", "", true),
            ("delete", "resource.k8s.io", "resourceslices", "", "s", false),
            ("list", "", "services", "", "", true),
            ("create", "", "events", "ns", "", true),
            ("create", "authentication.k8s.io", "tokenreviews", "", "", true),
            ("delete", "", "services", "ns", "s", false),
        ] {
            let decision = alone(&ask("system:node:n1", verb, group, resource, namespace, name));
            let expected = if allowed { Verdict::Allow } else { Verdict::NoOpinion };
            assert_eq!(decision.verdict, expected, "{verb} {resource} {namespace}/{name}");
        }
    }

    #[test]
    fn only_members_of_the_group_are_nodes() {
        let mut request = ask("system:node:n1", "create", "", "nodes", "", "");
        request.identity.groups.clear();
        assert_eq!(alone(&request), Decision::no_opinion(""));
        let nameless = ask("system:node:", "create", "", "nodes", "", "");
        assert_eq!(alone(&nameless).reason, r#"unknown node for user "system:node:""#);
        assert_eq!(node_name(&ask("n1", "", "", "", "", "").identity), None);
    }

    #[test]
    fn selectors_must_demand_equality() {
        for (selector, selects_n1) in [
            ("spec.nodeName=n1", true),
            ("spec.nodeName==n1", true),
            ("status.phase!=Running,spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName=n2", false),
            ("spec.nodeName=n1\\,x", false),
            ("x=a\\,spec.nodeName=n1", false),
            ("x=a\\\\,spec.nodeName=n1", true),
            ("spec.nodeName", false),
            ("", false),
        ] {
            assert_eq!(selects(selector, "spec.nodeName", "n1"), selects_n1, "{selector}");
        }
    }

    #[test]
    fn the_built_in_rules_are_there() {
        assert!(node_rules().len() > 10);
    }
}
