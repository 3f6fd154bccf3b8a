//! Volumes: what a pod mounts, and the sources they share with persistent volumes.

use serde_json::{Map, Value};

use crate::fields::{Fields, is_missing, items, object, set_if_empty, set_if_missing, structure};
use crate::pod::field_references;
use crate::resources;

/// Where the content of a pod's volume can come from.
const SOURCES: [&str; 30] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
];

/// Sources whose files have a mode.
const WITH_MODE: [&str; 4] = ["configMap", "downwardAPI", "projected", "secret"];
/// The mode of such files: 0644.
const FILE_MODE: i64 = 0o644;
/// How long a projected token is good for.
const TOKEN_SECONDS: i64 = 3600;

/// Texts of sources that pods and persistent volumes share; an empty one is none.
const TEXTS: [(&str, &str, &str); 6] = [
    ("iscsi", "iscsiInterface", "default"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("scaleIO", "fsType", "xfs"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
];

/// Texts for which empty is a value.
const OPTIONAL_TEXTS: [(&str, &str, &str); 4] = [
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "fsType", "ext4"),
    ("azureDisk", "kind", "Shared"),
    ("hostPath", "type", ""),
];

/// A volume of a pod.
pub fn volume(volume: &mut Fields) {
    if SOURCES.iter().all(|source| is_missing(volume, source)) {
        volume.insert("emptyDir".to_owned(), Map::new().into());
    }
    shared_sources(volume);
    for source in WITH_MODE {
        if let Some(source) = object(volume, source) {
            set_if_missing(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(files) = object(volume, "downwardAPI") {
        items(files, "items").for_each(field_references);
    }
    for source in object(volume, "projected")
        .into_iter()
        .flat_map(|p| items(p, "sources"))
    {
        if let Some(files) = object(source, "downwardAPI") {
            items(files, "items").for_each(field_references);
        }
        if let Some(token) = object(source, "serviceAccountToken") {
            set_if_missing(token, "expirationSeconds", TOKEN_SECONDS);
        }
    }
    if let Some(claim) = object(volume, "ephemeral").and_then(|e| object(e, "volumeClaimTemplate"))
        && let Some(spec) = structure(claim, "spec")
    {
        claim_spec(spec);
    }
}

/// Sources that pods and persistent volumes have in common.
pub fn shared_sources(owner: &mut Fields) {
    for (source, field, value) in TEXTS {
        if let Some(source) = object(owner, source) {
            set_if_empty(source, field, value);
        }
    }
    for (source, field, value) in OPTIONAL_TEXTS {
        if let Some(source) = object(owner, source) {
            set_if_missing(source, field, value);
        }
    }
    if let Some(disk) = object(owner, "azureDisk") {
        set_if_missing(disk, "readOnly", Value::Bool(false));
    }
}

/// The spec of a claim.
pub fn claim_spec(spec: &mut Fields) {
    set_if_missing(spec, "volumeMode", "Filesystem");
    resources::round_requirements(spec);
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn volume(volume: Value) -> Value {
        let mut pod = json!({"spec": {"volumes": [volume]}});
        apply("", "v1", "pods", &mut pod);
        pod["spec"]["volumes"][0].take()
    }

    #[test]
    fn sources() {
        let table = [
            (json!({"name": "v"}), json!({"name": "v", "emptyDir": {}})),
            (json!({"configMap": null}), json!({"configMap": null, "emptyDir": {}})),
            (json!({"nfs": {}}), json!({"nfs": {}})),
            (
                json!({"hostPath": {"path": "/"}}),
                json!({"hostPath": {"path": "/", "type": ""}}),
            ),
            (json!({"secret": {}}), json!({"secret": {"defaultMode": 420}})),
            (
                json!({"configMap": {"defaultMode": 0}}),
                json!({"configMap": {"defaultMode": 0}}),
            ),
            (
                json!({"iscsi": {"iscsiInterface": ""}}),
                json!({"iscsi": {"iscsiInterface": "default"}}),
            ),
            (
                json!({"rbd": {"user": "u"}}),
                json!({"rbd": {"user": "u", "pool": "rbd", "keyring": "/etc/ceph/keyring"}}),
            ),
            (
                json!({"azureDisk": {"fsType": ""}}),
                json!({"azureDisk": {"fsType": "", "kind": "Shared", "cachingMode": "ReadWrite", "readOnly": false}}),
            ),
            (
                json!({"scaleIO": {}}),
                json!({"scaleIO": {"fsType": "xfs", "storageMode": "ThinProvisioned"}}),
            ),
            (
                json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1024Mi"}}}}}}),
                json!({"ephemeral": {"volumeClaimTemplate": {"spec": {
                    "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem",
                }}}}),
            ),
            (json!({"secret": "x"}), json!({"secret": "x"})),
        ];
        for (given, expected) in table {
            assert_eq!(volume(given.clone()), expected, "{given}");
        }
    }

    #[test]
    fn projections() {
        let given = json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "t"}},
            {"downwardAPI": {"items": [{"fieldRef": {"fieldPath": "p"}}, {"resourceFieldRef": {}}]}},
        ]}});
        let expected = json!({"projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
            {"downwardAPI": {"items": [
                {"fieldRef": {"fieldPath": "p", "apiVersion": "v1"}}, {"resourceFieldRef": {"divisor": "0"}},
            ]}},
        ]}});
        assert_eq!(volume(given), expected);
    }
}
