//! What may go of the storage objects that are being deleted: what nothing uses any more.

use serde_json::Value;

pub(super) const CLAIM: &str = "kubernetes.io/pvc-protection";
pub(super) const VOLUME: &str = "kubernetes.io/pv-protection";
pub(super) const CLASS: &str = "kubernetes.io/vac-protection";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an object is being deleted and kept by this finalizer.
fn is_kept(object: &Value, finalizer: &str) -> bool {
    let mut finalizers = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    !object["metadata"]["deletionTimestamp"].is_null() && finalizers.any(|given| given == finalizer)
}

/// The object without this finalizer.
fn let_go(object: &Value, finalizer: &str) -> Value {
    let mut object = object.clone();
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|given| given != finalizer);
    }
    object
}

/// PersistentVolumeClaims that no Pod on a node uses, without their finalizer.
pub(super) fn claims(claims: &[Value], pods: &[Value]) -> Vec<Value> {
    let kept = claims.iter().filter(|claim| is_kept(claim, CLAIM));
    let free = kept.filter(|claim| !pods.iter().any(|pod| uses(pod, claim)));
    free.map(|claim| let_go(claim, CLAIM)).collect()
}

/// A Pod uses a claim from when it is on a node; one that never was there will not be started any more.
fn uses(pod: &Value, claim: &Value) -> bool {
    let name = text(claim, "/metadata/name");
    let volumes = pod["spec"]["volumes"].as_array();
    let is_over = !pod["metadata"]["deletionTimestamp"].is_null() && pod["metadata"]["deletionGracePeriodSeconds"] == 0;
    text(pod, "/metadata/namespace") == text(claim, "/metadata/namespace")
        && !text(pod, "/spec/nodeName").is_empty()
        && volumes.into_iter().flatten().any(|volume| {
            let named = text(volume, "/persistentVolumeClaim/claimName") == name;
            let own = || format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name")) == name;
            named || !is_over && volume["ephemeral"].is_object() && own() && is_owned(claim, pod)
        })
}

fn is_owned(claim: &Value, pod: &Value) -> bool {
    let mut owners = claim["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.any(|owner| owner["uid"] == pod["metadata"]["uid"] && owner["controller"] == true)
}

/// PersistentVolumes that are bound to no claim, without their finalizer.
pub(super) fn volumes(volumes: &[Value]) -> Vec<Value> {
    let kept = volumes.iter().filter(|volume| is_kept(volume, VOLUME));
    let free = kept.filter(|volume| text(volume, "/status/phase") != "Bound");
    free.map(|volume| let_go(volume, VOLUME)).collect()
}

/// VolumeAttributesClasses that no volume and no claim names, without their finalizer.
pub(super) fn classes(classes: &[Value], volumes: &[Value], claims: &[Value]) -> Vec<Value> {
    const FIELDS: [&str; 3] = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    let is_named = |class: &Value| {
        let name = text(class, "/metadata/name");
        let mut users = volumes.iter().chain(claims);
        users.any(|user| FIELDS.iter().any(|field| text(user, field) == name))
    };
    let kept = classes.iter().filter(|class| is_kept(class, CLASS));
    kept.filter(|class| !is_named(class))
        .map(|class| let_go(class, CLASS))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deleted(name: &str, finalizer: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n", "uid": name, "deletionTimestamp": "2023-11-14T22:13:20Z",
            "finalizers": ["example.com/other", finalizer]}})
    }

    fn pod(node: &str, volume: Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "p-uid"},
            "spec": {"nodeName": node, "volumes": [volume]}})
    }

    #[test]
    fn a_claim_stays_as_long_as_a_pod_on_a_node_has_it() {
        let claim = deleted("c", CLAIM);
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
        let all = std::slice::from_ref(&claim);
        assert!(claims(all, &[pod("node", volume.clone())]).is_empty());
        let free = claims(all, &[pod("", volume.clone())]);
        assert_eq!(free[0]["metadata"]["finalizers"], json!(["example.com/other"]));
        let mut elsewhere = pod("node", volume);
        elsewhere["metadata"]["namespace"] = "m".into();
        assert_eq!(claims(all, &[elsewhere]).len(), 1);
        let mut live = claim;
        live["metadata"]["deletionTimestamp"] = Value::Null;
        assert!(claims(&[live], &[]).is_empty());
    }

    #[test]
    fn an_ephemeral_claim_goes_with_its_pod() {
        let mut claim = deleted("p-v", CLAIM);
        claim["metadata"]["ownerReferences"] = json!([{"uid": "p-uid", "controller": true}]);
        let mut pod = pod("node", json!({"name": "v", "ephemeral": {}}));
        let all = [claim];
        assert!(claims(&all, std::slice::from_ref(&pod)).is_empty());
        pod["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        assert_eq!(claims(&all, &[pod]).len(), 1);
    }

    #[test]
    fn volumes_and_classes_in_use_stay() {
        let mut volume = deleted("v", VOLUME);
        volume["status"] = json!({"phase": "Bound"});
        assert!(volumes(std::slice::from_ref(&volume)).is_empty());
        volume["status"]["phase"] = "Released".into();
        volume["spec"] = json!({"volumeAttributesClassName": "gold"});
        assert_eq!(volumes(std::slice::from_ref(&volume)).len(), 1);
        let class = [deleted("gold", CLASS)];
        assert!(classes(&class, std::slice::from_ref(&volume), &[]).is_empty());
        assert!(classes(&class, &[], &[volume]).is_empty());
        assert_eq!(classes(&class, &[], &[]).len(), 1);
    }
}
