//! Persistent volumes, claims, and the kinds of `storage.k8s.io`.

use serde_json::Value;

use crate::fields::{Fields, is_missing, object, set_if_bare, set_if_empty, set_if_missing, structure};
use crate::resources;
use crate::volumes;

/// A PersistentVolume.
pub fn persistent_volume(volume: &mut Fields) {
    if let Some(status) = structure(volume, "status") {
        set_if_empty(status, "phase", "Pending");
    }
    if let Some(spec) = structure(volume, "spec") {
        set_if_empty(spec, "persistentVolumeReclaimPolicy", "Retain");
        set_if_missing(spec, "volumeMode", "Filesystem");
        volume_sources(spec);
    }
}

fn volume_sources(spec: &mut Fields) {
    resources::round(spec, &["capacity"]);
    volumes::shared_sources(spec);
}

/// A claim, or the template of one.
pub fn claim(claim: &mut Fields) {
    if let Some(status) = structure(claim, "status") {
        set_if_empty(status, "phase", "Pending");
        resources::round(status, &["capacity", "allocatedResources"]);
    }
    if let Some(spec) = structure(claim, "spec") {
        volumes::claim_spec(spec);
    }
}

/// Two fields of a claim say where its content comes from, the newer one also from another namespace. Where both can,
/// both do.
pub fn data_sources(claim: &mut Fields) {
    let Some(spec) = object(claim, "spec") else { return };
    const FIELDS: [&str; 3] = ["apiGroup", "kind", "name"];
    let copied = |source: &Fields| -> Fields {
        let named = FIELDS.iter().filter_map(|field| source.get_key_value(*field));
        named.map(|(field, value)| (field.clone(), value.clone())).collect()
    };
    let (old, new) = ("dataSource", "dataSourceRef");
    if is_missing(spec, new)
        && let Some(source) = spec.get(old).and_then(Value::as_object).map(copied)
    {
        spec.insert(new.to_owned(), source.into());
    } else if is_missing(spec, old)
        && let Some(source) = spec.get(new).and_then(Value::as_object)
        && (is_missing(source, "namespace") || source.get("namespace").is_some_and(|n| n == ""))
    {
        let source = copied(source);
        spec.insert(old.to_owned(), source.into());
    }
}

/// A StorageClass.
pub fn storage_class(class: &mut Fields) {
    set_if_missing(class, "reclaimPolicy", "Delete");
    set_if_missing(class, "volumeBindingMode", "Immediate");
}

/// A CSIDriver.
pub fn csi_driver(driver: &mut Fields) {
    const SWITCHES: [(&str, bool); 5] = [
        ("attachRequired", true),
        ("podInfoOnMount", false),
        ("requiresRepublish", false),
        ("seLinuxMount", false),
        ("storageCapacity", false),
    ];
    if let Some(spec) = structure(driver, "spec") {
        for (field, value) in SWITCHES {
            set_if_missing(spec, field, value);
        }
        set_if_missing(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        set_if_bare(spec, "volumeLifecycleModes", vec!["Persistent"]);
    }
}

/// A VolumeAttachment: a volume written into it is completed as one of its own would be.
pub fn volume_attachment(attachment: &mut Fields) {
    if let Some(spec) = object(attachment, "spec")
        .and_then(|spec| object(spec, "source"))
        .and_then(|source| object(source, "inlineVolumeSpec"))
    {
        volume_sources(spec);
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn applied(group: &str, plural: &str, mut object: Value) -> Value {
        apply(group, "v1", plural, &mut object);
        object
    }

    #[test]
    fn volumes() {
        let spec = json!({"capacity": {"storage": "1024Mi"}, "hostPath": {"path": "/"}});
        let object = applied("", "persistentvolumes", json!({"spec": spec}));
        let expected = json!({
            "spec": {
                "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/", "type": ""},
                "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
            },
            "status": {"phase": "Pending"},
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn claims() {
        let object = applied("", "persistentvolumeclaims", json!({"spec": {"volumeMode": "Block"}}));
        assert_eq!(
            object,
            json!({"spec": {"volumeMode": "Block"}, "status": {"phase": "Pending"}})
        );
    }

    #[test]
    fn both_sources_of_a_claim_agree() {
        let finished = |mut object: Value| {
            crate::finish("", "persistentvolumeclaims", &mut object);
            object
        };
        let source = json!({"apiGroup": "g", "kind": "K", "name": "n"});
        for field in ["dataSource", "dataSourceRef"] {
            let object = finished(json!({"spec": {field: source}}));
            assert_eq!(
                (&object["spec"]["dataSource"], &object["spec"]["dataSourceRef"]),
                (&source, &source)
            );
        }
        let elsewhere = json!({"kind": "K", "name": "n", "namespace": "other"});
        let object = finished(json!({"spec": {"dataSourceRef": elsewhere}}));
        assert!(object["spec"].get("dataSource").is_none());
    }

    #[test]
    fn classes_and_drivers() {
        let class = applied("storage.k8s.io", "storageclasses", json!({"provisioner": "p"}));
        let expected = json!({"provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        assert_eq!(class, expected);
        let driver = applied(
            "storage.k8s.io",
            "csidrivers",
            json!({"spec": {"attachRequired": false}}),
        );
        let expected = json!({
            "attachRequired": false, "podInfoOnMount": false, "requiresRepublish": false, "seLinuxMount": false,
            "storageCapacity": false, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"],
        });
        assert_eq!(driver["spec"], expected);
    }

    #[test]
    fn attachments() {
        let source = json!({"inlineVolumeSpec": {"rbd": {"image": "i"}}});
        let object = applied(
            "storage.k8s.io",
            "volumeattachments",
            json!({"spec": {"source": source}}),
        );
        assert_eq!(object["spec"]["source"]["inlineVolumeSpec"]["rbd"]["pool"], "rbd");
    }
}
