//! NodeRestriction: a node writes only what is its own.

mod claims;
mod nodes;
mod pods;
mod tokens;

use serde_json::Value;

use crate::certificates::{self, Subject};
use crate::get::{name, quoted, text};
use crate::{Lookup, Operation, Outcome, Refusal, Request};

pub(crate) use tokens::audience;

/// What the user names of nodes begin with.
const USER_PREFIX: &str = "system:node:";
/// The group all nodes are in.
const GROUP: &str = "system:nodes";
/// Signers of certificates that nodes request for themselves.
const NODE_SIGNERS: [&str; 2] = [
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/kube-apiserver-client-kubelet",
];

/// A refusal in these words.
fn refuse<T, E>(message: impl Into<String>) -> Result<T, Refusal<E>> {
    Err(Refusal::forbidden(message))
}

/// The name of the node that asks; none if no node does.
fn node<'a>(request: &Request<'a>) -> Option<&'a str> {
    let name = request.user.strip_prefix(USER_PREFIX)?;
    request.groups.iter().any(|group| group == GROUP).then_some(name)
}

pub(crate) fn check<L: Lookup>(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    let Some(node) = node(request) else {
        return Ok(());
    };
    if node.is_empty() {
        return refuse(format!("could not determine node from user {}", quoted(request.user)));
    }
    match (request.group, request.resource) {
        ("", "pods") => pods::check(request, node, object, old, lookup),
        ("", "nodes") => nodes::check(request, node, object, old),
        ("", "persistentvolumeclaims") => claims::check(request, node, object, old),
        ("", "serviceaccounts") => tokens::check(request, node, object, lookup),
        ("coordination.k8s.io", "leases") => lease(request, node, object),
        ("storage.k8s.io", "csinodes") => own_name(
            request,
            node,
            object,
            "can only access CSINode with the same name as the requesting node",
        ),
        ("resource.k8s.io", "resourceslices") => resource_slice(request, node, object, old),
        (certificates::GROUP, certificates::RESOURCE) => certificate(request, node, object),
        _ => Ok(()),
    }
}

/// The object is the one that is named like the node.
fn own_name<E>(request: &Request<'_>, node: &str, object: &Value, otherwise: &str) -> Outcome<E> {
    let named = match request.operation {
        Operation::Create => name(object),
        Operation::Update | Operation::Delete => request.name,
    };
    if named == node { Ok(()) } else { refuse(otherwise) }
}

fn lease<E>(request: &Request<'_>, node: &str, object: &Value) -> Outcome<E> {
    if request.namespace != "kube-node-lease" {
        return refuse("can only access leases in the \"kube-node-lease\" system namespace");
    }
    let otherwise = "can only access node lease with the same name as the requesting node";
    own_name(request, node, object, otherwise)
}

fn resource_slice<E>(request: &Request<'_>, node: &str, object: &Value, old: Option<&Value>) -> Outcome<E> {
    let (slice, word) = match request.operation {
        Operation::Create => (object, "create"),
        Operation::Delete => (old.unwrap_or(&Value::Null), "delete"),
        Operation::Update => return Ok(()),
    };
    if text(&slice["spec"]["nodeName"]) == node {
        return Ok(());
    }
    refuse(format!(
        "can only {word} ResourceSlice with the same NodeName as the requesting node"
    ))
}

/// What else a request for a certificate has to be is for its signer to say.
fn certificate<E>(request: &Request<'_>, node: &str, object: &Value) -> Outcome<E> {
    let is_own_kind = NODE_SIGNERS.contains(&text(&object["spec"]["signerName"]));
    if request.operation != Operation::Create || !request.subresource.is_empty() || !is_own_kind {
        return Ok(());
    }
    let subject = Subject::read(object).or_else(|fault| refuse(format!("unable to parse csr: {fault}")))?;
    let expected = format!("{USER_PREFIX}{node}");
    if subject.common_name == expected {
        return Ok(());
    }
    refuse(format!("can only create a node CSR with CN={expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::tests::signing_request;
    use crate::lookup::tests::{Stored, refused, request};
    use serde_json::json;

    /// What a node named `m` is told.
    pub(super) fn told(request: Request<'_>, object: &Value, old: Option<&Value>, stored: &Stored) -> String {
        let groups = [GROUP.to_owned()];
        let request = Request {
            user: "system:node:m",
            groups: &groups,
            ..request
        };
        refused(check(&request, object, old, stored))
    }

    #[test]
    fn nodes_are_known_by_name_and_group() {
        let groups = [GROUP.to_owned()];
        let mut write = request(Operation::Update, "", "nodes");
        write.name = "other";
        let of = |user: &str, groups: &[String]| {
            let write = Request { user, groups, ..write };
            refused(check(&write, &json!({}), Some(&json!({})), &Stored::default()))
        };
        assert_eq!(of("system:node:m", &[]), "");
        assert_eq!(of("admin", &groups), "");
        assert_eq!(
            of("system:node:", &groups),
            "could not determine node from user \"system:node:\""
        );
        assert_eq!(
            of("system:node:m", &groups),
            "node \"m\" is not allowed to modify node \"other\""
        );
    }

    #[test]
    fn objects_named_like_the_node_are_its_own() {
        let stored = Stored::default();
        let of = |operation, group: &str, plural: &str, namespace: &str, name: &str| {
            let mut write = request(operation, group, plural);
            (write.namespace, write.name) = (namespace, name);
            told(write, &json!({"metadata": {"name": name}}), None, &stored)
        };
        let lease =
            |operation, namespace: &str, name: &str| of(operation, "coordination.k8s.io", "leases", namespace, name);
        assert_eq!(lease(Operation::Create, "kube-node-lease", "m"), "");
        let place = "can only access leases in the \"kube-node-lease\" system namespace";
        assert_eq!(lease(Operation::Update, "default", "m"), place);
        let same = "can only access node lease with the same name as the requesting node";
        assert_eq!(lease(Operation::Create, "kube-node-lease", "o"), same);
        assert_eq!(lease(Operation::Delete, "kube-node-lease", "o"), same);
        assert_eq!(of(Operation::Update, "storage.k8s.io", "csinodes", "", "m"), "");
        assert_eq!(
            of(Operation::Create, "storage.k8s.io", "csinodes", "", "o"),
            "can only access CSINode with the same name as the requesting node"
        );
    }

    #[test]
    fn slices_are_of_the_nodes_own_devices() {
        let slice = |node: &str| json!({"spec": {"nodeName": node}});
        let of = |operation, node: &str| {
            let old = slice(node);
            let write = request(operation, "resource.k8s.io", "resourceslices");
            told(write, &slice(node), Some(&old), &Stored::default())
        };
        let end = "ResourceSlice with the same NodeName as the requesting node";
        assert_eq!(of(Operation::Create, "m"), "");
        assert_eq!(of(Operation::Create, "o"), format!("can only create {end}"));
        assert_eq!(of(Operation::Delete, "o"), format!("can only delete {end}"));
    }

    #[test]
    fn certificates_are_for_the_node_itself() {
        let of = |signer: &str, common_name: &str| {
            let object = signing_request(signer, common_name, "system:nodes");
            let write = request(Operation::Create, certificates::GROUP, certificates::RESOURCE);
            told(write, &object, None, &Stored::default())
        };
        assert_eq!(of(NODE_SIGNERS[0], "system:node:m"), "");
        assert_eq!(
            of(NODE_SIGNERS[1], "system:node:o"),
            "can only create a node CSR with CN=system:node:m"
        );
        assert_eq!(of("example.com/any", "o"), "");
    }
}
