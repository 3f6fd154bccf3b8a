//! Which kinds of volumes a pod may use.

use engenho_validation::get::{given, items, text};
use serde_json::Value;

use super::Violation;
use super::pod::{Pod, Set, plural, quoted};

/// Kinds that level restricted allows.
const ALLOWED: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Kinds that it does not, in the order in which they are looked for.
const RESTRICTED: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub fn host_path(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = items(&pod.spec["volumes"]).iter();
    let bad: Vec<&str> = volumes
        .filter(|volume| given(&volume["hostPath"]))
        .map(|volume| text(&volume["name"]))
        .collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: format!("{} {}", plural("volume", "volumes", bad.len()), quoted(&bad)),
    })
}

pub fn restricted(pod: &Pod<'_>) -> Option<Violation> {
    let mut kinds = Set::new();
    let mut bad = Vec::new();
    for volume in items(&pod.spec["volumes"]) {
        if kind_among(volume, &ALLOWED).is_none() {
            bad.push(text(&volume["name"]));
            kinds.insert(kind_among(volume, &RESTRICTED).unwrap_or("unknown"));
        }
    }
    (!bad.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {} {} {}",
            plural("volume", "volumes", bad.len()),
            quoted(&bad),
            plural("uses", "use", bad.len()),
            plural("restricted volume type", "restricted volume types", kinds.len()),
            quoted(&kinds),
        ),
    })
}

fn kind_among(volume: &Value, kinds: &[&'static str]) -> Option<&'static str> {
    kinds.iter().copied().find(|kind| given(&volume[*kind]))
}
