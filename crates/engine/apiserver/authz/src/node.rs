//! What kubelets may do: the node authoriser, without its graph of pods.
//!
//! Upstream lets a node read a secret, config map, claim, volume, attachment, pod or service account token exactly
//! when a pod bound to that node leads to it. That graph isn't kept here, so those requests get no opinion, with
//! upstream's reason for an unrelated object. Everything that upstream decides without the graph is decided the
//! same way here.

use std::sync::OnceLock;

use engenho_catalog::boot;

use crate::attributes::{Attributes, Decision, Identity};
use crate::objects::{self, RoleObject};
use crate::rule::PolicyRule;

/// Prefix of the user name of a node.
const USER_PREFIX: &str = "system:node:";
/// The group of nodes.
const GROUP: &str = "system:nodes";
/// Namespace of node leases.
const LEASES: &str = "kube-node-lease";

/// Why a review of a node's rules is incomplete.
pub(crate) const NO_RULES: &str = "node authorizer does not support user rule resolution";

/// The node whose identity this is. `Some("")` is a node without a name.
pub(crate) fn node_name(identity: &Identity) -> Option<&str> {
    identity
        .user
        .strip_prefix(USER_PREFIX)
        .filter(|_| identity.in_group(GROUP))
}

/// What every node may do alike: the rules of the built-in role of nodes.
fn node_rules() -> &'static [PolicyRule] {
    static RULES: OnceLock<Vec<PolicyRule>> = OnceLock::new();
    RULES.get_or_init(|| {
        boot::objects_of("rbac.authorization.k8s.io/v1", "ClusterRole")
            .find(|role| role["metadata"]["name"] == "system:node")
            .and_then(|role| objects::read::<RoleObject>(&role).ok())
            .map(|role| role.rules)
            .unwrap_or_default()
    })
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::no_opinion(reason)
}

/// Decides about a request of a node; no opinion about anybody else's.
pub(crate) fn authorize(attributes: &Attributes) -> Decision {
    let Some(node) = node_name(&attributes.identity) else {
        return no("");
    };
    if node.is_empty() {
        let user = crate::quote::quote(&attributes.identity.user);
        return no(format!("unknown node for user {user}"));
    }
    if attributes.resource_request {
        match (attributes.group.as_str(), attributes.resource.as_str()) {
            ("", "secrets" | "configmaps") => return read_related(node, attributes),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => {
                return update_related_status(node, attributes);
            }
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => return get_related(node, attributes),
            ("", "serviceaccounts") => return create_token(node, attributes),
            ("coordination.k8s.io", "leases") => return lease(node, attributes),
            ("storage.k8s.io", "csinodes") => return csi_node(node, attributes),
            ("resource.k8s.io", "resourceslices") => return resource_slice(node, attributes),
            ("", "nodes") => return own_node(node, attributes),
            ("", "pods") => return pod(node, attributes),
            _ => {}
        }
    }
    if node_rules().iter().any(|rule| rule.allows(attributes)) {
        Decision::allow("")
    } else {
        no("")
    }
}

/// Whether the object is related to the node cannot be told without the graph.
fn related(node: &str, attributes: &Attributes) -> Decision {
    if attributes.name.is_empty() {
        return no("No Object name found");
    }
    no(format!("no relationship found between node '{node}' and this object"))
}

fn read_related(node: &str, attributes: &Attributes) -> Decision {
    if !matches!(attributes.verb.as_str(), "get" | "list" | "watch") {
        return no("can only read resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot read subresource");
    }
    if attributes.namespace.is_empty() {
        return no("can only read namespaced object of this type");
    }
    related(node, attributes)
}

fn get_related(node: &str, attributes: &Attributes) -> Decision {
    if attributes.verb != "get" {
        return no("can only get individual resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return no("cannot get subresource");
    }
    related(node, attributes)
}

fn update_related_status(node: &str, attributes: &Attributes) -> Decision {
    if !matches!(attributes.verb.as_str(), "update" | "patch") {
        return no("can only get/update/patch this type");
    }
    related(node, attributes)
}

fn create_token(node: &str, attributes: &Attributes) -> Decision {
    if attributes.verb != "create" || attributes.name.is_empty() {
        return no("can only create tokens for individual service accounts");
    }
    if attributes.subresource != "token" {
        return no("can only create token subresource of serviceaccount");
    }
    related(node, attributes)
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

fn resource_slice(node: &str, attributes: &Attributes) -> Decision {
    if !attributes.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match attributes.verb.as_str() {
        // Whose slice it is stands in the object: admission checks it.
        "create" => Decision::allow(""),
        "get" | "update" | "patch" | "delete" => related(node, attributes),
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

fn pod(node: &str, attributes: &Attributes) -> Decision {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        ("", "get") => related(node, attributes),
        ("", "list" | "watch") => {
            if selects(&attributes.field_selector, "spec.nodeName", node) {
                Decision::allow("")
            } else if attributes.name.is_empty() {
                no("can only list/watch pods with spec.nodeName field selector")
            } else {
                related(node, attributes)
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
