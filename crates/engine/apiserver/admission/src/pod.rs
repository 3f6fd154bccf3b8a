//! What pods are made of and refer to.

use serde_json::Value;

use crate::get::{annotation, items, text};

/// Lists of containers in a pod.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
/// Where volumes of a kind name a secret, from the kind's own object.
const VOLUME_SECRETS: [(&str, &[&str]); 10] = [
    ("azureFile", &["secretName"]),
    ("cephfs", &["secretRef", "name"]),
    ("cinder", &["secretRef", "name"]),
    ("flexVolume", &["secretRef", "name"]),
    ("rbd", &["secretRef", "name"]),
    ("secret", &["secretName"]),
    ("scaleIO", &["secretRef", "name"]),
    ("iscsi", &["secretRef", "name"]),
    ("storageos", &["secretRef", "name"]),
    ("csi", &["nodePublishSecretRef", "name"]),
];

/// Whether the pod stands for one that a node runs on its own account.
pub(crate) fn is_mirror(pod: &Value) -> bool {
    annotation(pod, "kubernetes.io/config.mirror").is_some()
}

/// All containers of a pod, whatever they are for.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    CONTAINERS.into_iter().flat_map(|list| items(&pod["spec"][list]))
}

/// The volumes of a pod.
pub(crate) fn volumes(pod: &Value) -> &[Value] {
    items(&pod["spec"]["volumes"])
}

/// The sources of all projected volumes of a pod.
pub(crate) fn projections(pod: &Value) -> impl Iterator<Item = &Value> {
    volumes(pod)
        .iter()
        .flat_map(|volume| items(&volume["projected"]["sources"]))
}

/// The name of the service account a pod names, in its current or its former field.
pub(crate) fn service_account(pod: &Value) -> &str {
    match text(&pod["spec"]["serviceAccountName"]) {
        "" => text(&pod["spec"]["serviceAccount"]),
        name => name,
    }
}

/// Whether any part of the pod uses a secret.
pub(crate) fn uses_secrets(pod: &Value) -> bool {
    let in_volume = |volume: &Value| {
        VOLUME_SECRETS.iter().any(|(kind, path)| {
            let found = path.iter().fold(&volume[*kind], |value, field| &value[*field]);
            // A volume of a secret names one even where the name was left out.
            !text(found).is_empty() || (*kind == "secret" && !volume["secret"].is_null())
        })
    };
    !items(&pod["spec"]["imagePullSecrets"]).is_empty()
        || containers(pod).any(|container| draws_on(container, "secretKeyRef", "secretRef"))
        || volumes(pod).iter().any(in_volume)
        || projections(pod).any(|source| !source["secret"].is_null())
}

/// Whether any part of the pod uses a config map.
pub(crate) fn uses_config_maps(pod: &Value) -> bool {
    containers(pod).any(|container| draws_on(container, "configMapKeyRef", "configMapRef"))
        || volumes(pod).iter().any(|volume| !volume["configMap"].is_null())
        || projections(pod).any(|source| !source["configMap"].is_null())
}

/// Whether the environment of a container comes from such an object.
fn draws_on(container: &Value, key: &str, whole: &str) -> bool {
    items(&container["env"])
        .iter()
        .any(|variable| !variable["valueFrom"][key].is_null())
        || items(&container["envFrom"])
            .iter()
            .any(|source| !source[whole].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_are_found_wherever_they_are() {
        let secrets = [
            json!({"imagePullSecrets": [{"name": "s"}]}),
            json!({"ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}),
            json!({"initContainers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}),
            json!({"volumes": [{"secret": {}}]}),
            json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]}),
            json!({"volumes": [{"csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}]}),
            json!({"volumes": [{"azureFile": {"secretName": "s"}}]}),
        ];
        for spec in secrets {
            assert!(uses_secrets(&json!({"spec": spec})), "{spec}");
            assert!(!uses_config_maps(&json!({"spec": spec})), "{spec}");
        }
        let config_maps = [
            json!({"containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "c"}}}]}]}),
            json!({"containers": [{"envFrom": [{"configMapRef": {"name": "c"}}]}]}),
            json!({"volumes": [{"configMap": {"name": "c"}}]}),
            json!({"volumes": [{"projected": {"sources": [{"configMap": {"name": "c"}}]}}]}),
        ];
        for spec in config_maps {
            assert!(uses_config_maps(&json!({"spec": spec})), "{spec}");
            assert!(!uses_secrets(&json!({"spec": spec})), "{spec}");
        }
        let neither = json!({"spec": {"volumes": [{"csi": {"driver": "d"}}, {"emptyDir": {}}]}});
        assert!(!uses_secrets(&neither) && !uses_config_maps(&neither));
    }
}
