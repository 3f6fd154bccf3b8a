//! Pods that a node may write: those that run on it.

use serde_json::Value;

use super::refuse;
use crate::get::{fields, items, name, quoted, text};
use crate::pod::{is_mirror, projections, service_account, uses_config_maps, uses_secrets, volumes};
use crate::{Lookup, Operation, Outcome, Refusal, Request};

pub(super) fn check<L: Lookup>(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    match request.subresource {
        "" => whole(request, node, object, old, lookup),
        "status" => status(request, node, object, old),
        "eviction" => eviction(request, node, object, lookup),
        other => refuse(format!(
            "unexpected pod subresource {}, only 'status' and 'eviction' are allowed",
            quoted(other)
        )),
    }
}

/// Whether the pod was put on the node.
fn runs_on(pod: &Value, node: &str) -> bool {
    text(&pod["spec"]["nodeName"]) == node
}

fn whole<L: Lookup>(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    let quoted_node = quoted(node);
    match request.operation {
        Operation::Create => create(node, object, lookup),
        Operation::Delete => {
            let found = match old {
                Some(old) => Some(old.clone()),
                None => lookup.get("", "pods", request.namespace, request.name)?,
            };
            let pod = found.ok_or_else(|| Refusal::not_found("", "pods", request.name))?;
            if runs_on(&pod, node) {
                return Ok(());
            }
            refuse(format!(
                "node {quoted_node} can only delete pods with spec.nodeName set to itself"
            ))
        }
        Operation::Update => refuse(format!(
            "unexpected operation \"{}\", node {quoted_node} can only create and delete mirror pods",
            request.operation.word()
        )),
    }
}

fn create<L: Lookup>(node: &str, pod: &Value, lookup: &L) -> Outcome<L::Error> {
    let who = quoted(node);
    if !is_mirror(pod) {
        return refuse(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {who} can only create mirror pods"
        ));
    }
    if !runs_on(pod, node) {
        return refuse(format!(
            "node {who} can only create pods with spec.nodeName set to itself"
        ));
    }
    let owner = match items(&pod["metadata"]["ownerReferences"]) {
        [] => {
            return refuse(format!(
                "node {who} can only create pods with an owner reference set to itself"
            ));
        }
        [owner] => owner,
        _ => {
            return refuse(format!(
                "node {who} can only create pods with a single owner reference set to itself"
            ));
        }
    };
    check_owner(node, owner, lookup)?;
    let refers_to = if !service_account(pod).is_empty() {
        "a service account"
    } else if uses_secrets(pod) {
        "secrets"
    } else if uses_config_maps(pod) {
        "configmaps"
    } else if projections(pod).any(|source| !source["clusterTrustBundle"].is_null()) {
        "clustertrustbundles"
    } else if volumes(pod)
        .iter()
        .any(|volume| !volume["persistentVolumeClaim"].is_null())
    {
        "persistentvolumeclaims"
    } else {
        return Ok(());
    };
    refuse(format!("node {who} can not create pods that reference {refers_to}"))
}

fn check_owner<L: Lookup>(node: &str, owner: &Value, lookup: &L) -> Outcome<L::Error> {
    let who = quoted(node);
    let [version, kind, named, uid] = ["apiVersion", "kind", "name", "uid"].map(|field| text(&owner[field]));
    if (version, kind, named) != ("v1", "Node", node) {
        return refuse(format!(
            "node {who} can only create pods with an owner reference set to itself"
        ));
    }
    if owner["controller"] != true {
        return refuse(format!(
            "node {who} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner["blockOwnerDeletion"] == true {
        return refuse(format!(
            "node {who} must not set blockOwnerDeletion on an owner reference"
        ));
    }
    let Some(found) = lookup.get("", "nodes", "", node)? else {
        return Err(Refusal::not_found("", "nodes", node));
    };
    let known = text(&found["metadata"]["uid"]);
    if uid == known {
        return Ok(());
    }
    refuse(format!("node {node} UID mismatch: expected {uid} got {known}"))
}

fn status<E>(request: &Request<'_>, node: &str, pod: &Value, old: Option<&Value>) -> Outcome<E> {
    let (Operation::Update, Some(old)) = (request.operation, old) else {
        return refuse(format!("unexpected operation \"{}\"", request.operation.word()));
    };
    let who = quoted(node);
    if !runs_on(old, node) {
        return refuse(format!(
            "node {who} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    let labels = |pod: &'_ Value| pod["metadata"]["labels"].clone();
    if !fields(&labels(pod)).eq(fields(&labels(old))) {
        return refuse(format!("node {who} cannot update labels through pod status"));
    }
    let claims = |pod: &Value| {
        let statuses = items(&pod["status"]["resourceClaimStatuses"]).iter();
        let each = statuses.map(|status| (status["name"].clone(), status["resourceClaimName"].clone()));
        each.collect::<Vec<(Value, Value)>>()
    };
    if claims(pod) != claims(old) {
        // The last word is upstream's.
        return refuse(format!("node {who} cannot update resource claim statues"));
    }
    Ok(())
}

fn eviction<L: Lookup>(request: &Request<'_>, node: &str, object: &Value, lookup: &L) -> Outcome<L::Error> {
    if request.operation != Operation::Create {
        return refuse(format!("unexpected operation {}", request.operation.word()));
    }
    let pod = if request.name.is_empty() {
        name(object)
    } else {
        request.name
    };
    if pod.is_empty() {
        return refuse("could not determine pod from request data");
    }
    let Some(found) = lookup.get("", "pods", request.namespace, pod)? else {
        return Err(Refusal::not_found("", "pods", pod));
    };
    if runs_on(&found, node) {
        return Ok(());
    }
    refuse(format!(
        "node {node} can only evict pods with spec.nodeName set to itself"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;
    use crate::lookup::tests::{Stored, pods};
    use serde_json::json;

    fn stored() -> Stored {
        let pod = |name: &str, node: &str| {
            let metadata = json!({"name": name, "namespace": "n"});
            ("", "pods", json!({"metadata": metadata, "spec": {"nodeName": node}}))
        };
        let node = json!({"metadata": {"name": "m", "uid": "u"}});
        Stored::of(&[("", "nodes", node), pod("p", "m"), pod("far", "o")])
    }

    fn mirror() -> Value {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "m", "uid": "u", "controller": true});
        let annotations = json!({"kubernetes.io/config.mirror": "x"});
        json!({"metadata": {"annotations": annotations, "ownerReferences": [owner]}, "spec": {"nodeName": "m"}})
    }

    #[test]
    fn nodes_create_mirror_pods_of_their_own() {
        let of = |path: &str, value: Value| {
            let mut pod = mirror();
            if let Some(field) = pod.pointer_mut(path) {
                *field = value;
            } else {
                pod["spec"][path] = value;
            }
            told(pods(Operation::Create, ""), &pod, None, &stored())
        };
        let table = [
            ("/spec/nodeName", json!("m"), ""),
            (
                "/metadata/annotations",
                json!({}),
                "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"m\" can only create mirror pods",
            ),
            (
                "/spec/nodeName",
                json!("o"),
                "node \"m\" can only create pods with spec.nodeName set to itself",
            ),
            (
                "/metadata/ownerReferences",
                json!([]),
                "node \"m\" can only create pods with an owner reference set to itself",
            ),
            (
                "/metadata/ownerReferences",
                json!([1, 2]),
                "node \"m\" can only create pods with a single owner reference set to itself",
            ),
            (
                "/metadata/ownerReferences/0/name",
                json!("o"),
                "node \"m\" can only create pods with an owner reference set to itself",
            ),
            (
                "/metadata/ownerReferences/0/controller",
                json!(null),
                "node \"m\" can only create pods with a controller owner reference set to itself",
            ),
            (
                "/metadata/ownerReferences/0/uid",
                json!("w"),
                "node m UID mismatch: expected w got u",
            ),
            (
                "serviceAccountName",
                json!("s"),
                "node \"m\" can not create pods that reference a service account",
            ),
            (
                "volumes",
                json!([{"secret": {"secretName": "s"}}]),
                "node \"m\" can not create pods that reference secrets",
            ),
            (
                "volumes",
                json!([{"configMap": {"name": "s"}}]),
                "node \"m\" can not create pods that reference configmaps",
            ),
            (
                "volumes",
                json!([{"persistentVolumeClaim": {"claimName": "s"}}]),
                "node \"m\" can not create pods that reference persistentvolumeclaims",
            ),
        ];
        for (path, value, expected) in table {
            assert_eq!(of(path, value), expected, "{path}");
        }
    }

    #[test]
    fn nodes_delete_and_evict_what_runs_on_them() {
        let of = |operation, subresource: &str, name: &str| {
            let mut write = pods(operation, subresource);
            write.name = name;
            told(write, &json!({}), None, &stored())
        };
        assert_eq!(of(Operation::Delete, "", "p"), "");
        assert_eq!(
            of(Operation::Delete, "", "far"),
            "node \"m\" can only delete pods with spec.nodeName set to itself"
        );
        assert_eq!(of(Operation::Delete, "", "gone"), "no /pods gone");
        assert_eq!(of(Operation::Create, "eviction", "p"), "");
        assert_eq!(
            of(Operation::Create, "eviction", "far"),
            "node m can only evict pods with spec.nodeName set to itself"
        );
        assert_eq!(
            of(Operation::Update, "", "p"),
            "unexpected operation \"UPDATE\", node \"m\" can only create and delete mirror pods"
        );
        assert_eq!(
            of(Operation::Update, "resize", "p"),
            "unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed"
        );
    }

    #[test]
    fn nodes_report_on_what_runs_on_them() {
        let of = |old: Value, new: Value| told(pods(Operation::Update, "status"), &new, Some(&old), &stored());
        let here = json!({"spec": {"nodeName": "m"}});
        assert_eq!(of(here.clone(), json!({"status": {"phase": "Running"}})), "");
        assert_eq!(
            of(json!({"spec": {"nodeName": "o"}}), here.clone()),
            "node \"m\" can only update pod status for pods with spec.nodeName set to itself"
        );
        assert_eq!(
            of(here.clone(), json!({"metadata": {"labels": {"a": "b"}}})),
            "node \"m\" cannot update labels through pod status"
        );
        assert_eq!(
            of(here, json!({"status": {"resourceClaimStatuses": [{"name": "c"}]}})),
            "node \"m\" cannot update resource claim statues"
        );
    }
}
