//! Volumes, claims, and where storage can be had.

use engenho_validation::get::{given, items, text};
use serde_json::Value;

use crate::{amounts, labels};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const PLUGINS: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    (
        "storageos",
        "storageOS",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "glusterfs",
        "glusterfs",
        "deprecated in v1.25, non-functional in v1.26+",
    ),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

fn class_annotation(object: &Value) -> Vec<String> {
    if given(&object["metadata"]["annotations"][CLASS_ANNOTATION]) {
        vec![format!(
            "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        )]
    } else {
        Vec::new()
    }
}

/// A PersistentVolume.
pub(crate) fn volume(volume: &Value) -> Vec<String> {
    let mut warnings = class_annotation(volume);
    let spec = &volume["spec"];
    if text(&spec["persistentVolumeReclaimPolicy"]) == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
                .into(),
        );
    }
    let terms = items(&spec["nodeAffinity"]["required"]["nodeSelectorTerms"]);
    for (i, term) in terms.iter().enumerate() {
        let at = format_args!("spec.nodeAffinity.required.nodeSelectorTerms[{i}]");
        labels::in_required_term(term, at, &mut warnings);
    }
    for (field, name, message) in PLUGINS {
        if given(&spec[field]) {
            warnings.push(format!("spec.{name}: {message}"));
        }
    }
    warnings
}

/// A PersistentVolumeClaim.
pub(crate) fn claim(claim: &Value) -> Vec<String> {
    let mut warnings = class_annotation(claim);
    amounts::of_claim(&claim["spec"], "spec", &mut warnings);
    warnings
}

/// A StorageClass.
pub(crate) fn class(class: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (i, topology) in items(&class["allowedTopologies"]).iter().enumerate() {
        for (j, expression) in items(&topology["matchLabelExpressions"]).iter().enumerate() {
            if let Some(message) = labels::deprecated(text(&expression["key"])) {
                warnings.push(format!(
                    "allowedTopologies[{i}].matchLabelExpressions[{j}].key: {message}"
                ));
            }
        }
    }
    warnings
}

/// A CSIStorageCapacity.
pub(crate) fn capacity(capacity: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    labels::in_selector(&capacity["nodeTopology"], "nodeTopology", &mut warnings);
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OS: &str = "deprecated since v1.14; use \"kubernetes.io/os\" instead";

    #[test]
    fn volumes_and_claims() {
        let annotation = "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead";
        let metadata = json!({"annotations": {CLASS_ANNOTATION: "fast"}});
        let terms = json!([{}, {"matchExpressions": [{"key": "a"}, {"key": "beta.kubernetes.io/os"}]}]);
        let object = json!({"metadata": metadata, "spec": {
            "persistentVolumeReclaimPolicy": "Recycle", "rbd": {}, "storageos": {},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        }});
        assert_eq!(
            volume(&object),
            [
                annotation,
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
                &format!(
                    "spec.nodeAffinity.required.nodeSelectorTerms[1].matchExpressions[1].key: beta.kubernetes.io/os is {OS}"
                ),
                "spec.storageOS: deprecated in v1.22, non-functional in v1.25+",
                "spec.rbd: deprecated in v1.28, non-functional in v1.31+",
            ]
        );
        let object = json!({"metadata": metadata, "spec": {"resources": {"requests": {"storage": "100m"}}}});
        assert_eq!(
            claim(&object),
            [
                annotation,
                "spec.resources.requests[storage]: fractional byte value \"100m\" is invalid, must be an integer",
            ]
        );
        assert!(volume(&json!({"spec": {"nfs": {}}})).is_empty());
    }

    #[test]
    fn topologies() {
        let expressions = json!([{"key": "beta.kubernetes.io/os"}]);
        assert_eq!(
            class(&json!({"allowedTopologies": [{"matchLabelExpressions": expressions}]})),
            [format!("allowedTopologies[0].matchLabelExpressions[0].key: {OS}")]
        );
        let topology =
            json!({"matchExpressions": expressions, "matchLabels": {"a": "b", "beta.kubernetes.io/os": "c"}});
        assert_eq!(
            capacity(&json!({"nodeTopology": topology})),
            [
                format!("nodeTopology.matchExpressions[0].key: beta.kubernetes.io/os is {OS}"),
                format!("nodeTopology.matchLabels.beta.kubernetes.io/os: {OS}"),
            ]
        );
    }
}
