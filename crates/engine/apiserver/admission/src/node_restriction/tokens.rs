//! Tokens of service accounts that a node may ask for: those that pods on it need.

use serde_json::Value;

use super::{node, refuse};
use crate::get::{items, name, quoted, text};
use crate::pod::{projections, volumes};
use crate::{Attributes, Authorization, Lookup, Operation, Outcome, Refusal, Request};

/// Whether the write asks for a token.
fn is_token(request: &Request<'_>) -> bool {
    request.concerns("", "serviceaccounts") && request.subresource == "token" && request.operation == Operation::Create
}

pub(super) fn check<L: Lookup>(request: &Request<'_>, node: &str, object: &Value, lookup: &L) -> Outcome<L::Error> {
    if is_token(request) {
        bound_pod(request, node, object, lookup)?;
        requested_audience(object)?;
    }
    Ok(())
}

/// The pod that the token is for, which has to be on the node.
fn bound_pod<L: Lookup>(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    lookup: &L,
) -> Result<Value, Refusal<L::Error>> {
    let reference = &object["spec"]["boundObjectRef"];
    let [version, kind, named, uid] = ["apiVersion", "kind", "name", "uid"].map(|field| text(&reference[field]));
    if (version, kind) != ("v1", "Pod") || named.is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let Some(pod) = lookup.get("", "pods", request.namespace, named)? else {
        return Err(Refusal::not_found("", "pods", named));
    };
    if uid != text(&pod["metadata"]["uid"]) {
        return refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        ));
    }
    if text(&pod["spec"]["nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    Ok(pod)
}

/// The audience of the token; empty for the API server itself.
fn requested_audience<E>(object: &Value) -> Result<&str, Refusal<E>> {
    match items(&object["spec"]["audiences"]) {
        [] => Ok(""),
        [one] => Ok(text(one)),
        _ => refuse("node may only request 0 or 1 audiences"),
    }
}

/// The right that a node needs for a token to an audience that the pod does not name.
pub(crate) fn audience<L: Lookup>(
    request: &Request<'_>,
    object: &Value,
    lookup: &L,
) -> Result<Option<Authorization>, Refusal<L::Error>> {
    let Some(node) = node(request).filter(|_| is_token(request)) else {
        return Ok(None);
    };
    let pod = bound_pod(request, node, object, lookup)?;
    let audience = requested_audience(object)?;
    if names_audience(request.namespace, &pod, audience, lookup)? {
        return Ok(None);
    }
    let asked = Attributes {
        verb: "request-serviceaccounts-token-audience".to_owned(),
        group: String::new(),
        resource: audience.to_owned(),
        namespace: request.namespace.to_owned(),
        name: request.name.to_owned(),
    };
    Ok(Some(Authorization {
        any_of: vec![asked],
        refusal: format!(
            "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            quoted(audience),
            request.user
        ),
    }))
}

/// Whether a volume of the pod needs a token to this audience, for itself or for the driver behind it.
fn names_audience<L: Lookup>(
    namespace: &str,
    pod: &Value,
    audience: &str,
    lookup: &L,
) -> Result<bool, Refusal<L::Error>> {
    let projected = |source: &Value| {
        let token = &source["serviceAccountToken"];
        !token.is_null() && text(&token["audience"]) == audience
    };
    if projections(pod).any(projected) {
        return Ok(true);
    }
    for volume in volumes(pod) {
        let driver = if !volume["ephemeral"]["volumeClaimTemplate"].is_null() {
            let claim = format!("{}-{}", name(pod), text(&volume["name"]));
            driver_of_claim(namespace, &claim, lookup)?
        } else if !volume["persistentVolumeClaim"].is_null() {
            let claim = text(&volume["persistentVolumeClaim"]["claimName"]);
            driver_of_claim(namespace, claim, lookup)?
        } else {
            text(&volume["csi"]["driver"]).to_owned()
        };
        if driver.is_empty() {
            continue;
        }
        let found = lookup.get("storage.k8s.io", "csidrivers", "", &driver)?;
        let driver = found.unwrap_or_default();
        let mut requests = items(&driver["spec"]["tokenRequests"]).iter();
        if requests.any(|request| text(&request["audience"]) == audience) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The driver of the volume that a claim is bound to; empty if there is none.
fn driver_of_claim<L: Lookup>(namespace: &str, claim: &str, lookup: &L) -> Result<String, L::Error> {
    let Some(claim) = lookup.get("", "persistentvolumeclaims", namespace, claim)? else {
        return Ok(String::new());
    };
    let volume = lookup.get("", "persistentvolumes", "", text(&claim["spec"]["volumeName"]))?;
    Ok(volume.map_or_else(String::new, |volume| text(&volume["spec"]["csi"]["driver"]).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;
    use crate::lookup::tests::{Stored, refused, request};
    use serde_json::json;

    fn stored() -> Stored {
        let pod = |name: &str, node: &str, volumes: Value| {
            let metadata = json!({"name": name, "namespace": "n", "uid": "u"});
            (
                "",
                "pods",
                json!({"metadata": metadata, "spec": {"nodeName": node, "volumes": volumes}}),
            )
        };
        let projected = json!({"projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}]}});
        let claimed = json!({"persistentVolumeClaim": {"claimName": "c"}});
        let claim = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"volumeName": "v"}});
        let volume = json!({"metadata": {"name": "v"}, "spec": {"csi": {"driver": "d"}}});
        let driver = json!({"metadata": {"name": "d"}, "spec": {"tokenRequests": [{"audience": "cloud"}]}});
        Stored::of(&[
            pod("p", "m", json!([projected, claimed])),
            pod("far", "o", json!([])),
            ("", "persistentvolumeclaims", claim),
            ("", "persistentvolumes", volume),
            ("storage.k8s.io", "csidrivers", driver),
        ])
    }

    fn token_for<'a>() -> Request<'a> {
        Request {
            namespace: "n",
            name: "bot",
            subresource: "token",
            ..request(Operation::Create, "", "serviceaccounts")
        }
    }

    fn token(pod: &str, uid: &str, audiences: Value) -> Value {
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid});
        json!({"spec": {"boundObjectRef": reference, "audiences": audiences}})
    }

    #[test]
    fn a_token_is_for_a_pod_on_the_node() {
        let of = |token: Value| told(token_for(), &token, None, &stored());
        assert_eq!(of(token("p", "u", json!([]))), "");
        assert_eq!(of(json!({"spec": {}})), "node requested token not bound to a pod");
        assert_eq!(
            of(token("p", "", json!([]))),
            "node requested token with a pod binding without a uid"
        );
        assert_eq!(of(token("gone", "u", json!([]))), "no /pods gone");
        assert!(of(token("p", "w", json!([]))).starts_with("the UID in the bound object reference (w) does not match"));
        assert_eq!(
            of(token("far", "u", json!([]))),
            "node requested token bound to a pod scheduled on a different node"
        );
        assert_eq!(
            of(token("p", "u", json!(["a", "b"]))),
            "node may only request 0 or 1 audiences"
        );
    }

    #[test]
    fn an_audience_is_named_by_the_pod_or_allowed() {
        let groups = ["system:nodes".to_owned()];
        let asked = |user: &str, audiences: Value| {
            let request = Request {
                user,
                groups: &groups,
                ..token_for()
            };
            audience(&request, &token("p", "u", audiences), &stored()).unwrap()
        };
        let node = "system:node:m";
        assert_eq!(asked(node, json!(["vault"])), None);
        assert_eq!(asked(node, json!(["cloud"])), None);
        assert_eq!(asked("jane", json!(["other"])), None);
        let right = asked(node, json!(["other"])).unwrap();
        assert_eq!(
            right.refusal,
            "audience \"other\" not found in pod spec volume, system:node:m is not authorized to request tokens for \
             this audience"
        );
        let [only] = right.any_of.as_slice() else { panic!() };
        assert_eq!((&*only.resource, &*only.namespace, &*only.name), ("other", "n", "bot"));
        let request = Request {
            user: node,
            groups: &groups,
            ..token_for()
        };
        let far = token("far", "u", json!(["other"]));
        assert!(!refused(audience(&request, &far, &stored())).is_empty());
    }
}
