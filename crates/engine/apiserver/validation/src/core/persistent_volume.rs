//! Persistent volumes.

use serde_json::Value;

use crate::core::claim::basic_amount;
use crate::core::pod::options::has_invalid_value;
use crate::core::pod::scheduling::node_selector;
use crate::core::volumes::TWO_SOURCES;
use crate::core::volumes::sources::{self, Source};
use crate::errors::Errors;
use crate::get::{count, entries, given, items, optional_text, same, text, texts};
use crate::names::{dns_label, dns_subdomain};
use crate::{FieldError, Path, shapes};
use engenho_quantity::Quantity;

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// What a volume may be, in the order in which it is looked for: the field, how errors within call it, how the error
/// calls it that refuses a second one.
const SOURCES: [(&str, &str, &str); 22] = [
    ("hostPath", "hostPath", "hostPath"),
    ("gcePersistentDisk", "persistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    ("nfs", "nfs", "nfs"),
    ("rbd", "rbd", "rbd"),
    ("quobyte", "quobyte", "quobyte"),
    ("cephfs", "cephfs", "cephFS"),
    ("iscsi", "iscsi", "iscsi"),
    ("cinder", "cinder", "cinder"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("local", "local", "local"),
    ("storageos", "storageos", "storageos"),
    ("csi", "csi", "csi"),
];

/// How a volume may be used.
pub(crate) fn access_modes(modes: &Value, path: &Path, errors: &mut Errors) {
    let (mut alone, mut with_others) = (false, false);
    for mode in texts(modes) {
        errors.one_of(mode, &ACCESS_MODES, path);
        alone |= mode == "ReadWriteOncePod";
        with_others |= mode != "ReadWriteOncePod" && ACCESS_MODES.contains(&mode);
    }
    if alone && with_others {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// A spec for use outside a persistent volume, as attachments have it.
pub(crate) fn inline_spec(spec: &Value, path: &Path, errors: &mut Errors) {
    Checker {
        name: "",
        inline: true,
        lenient_affinity: false,
    }
    .spec(spec, path, errors);
}

/// A new volume.
pub(crate) fn create(volume: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        Checker::of(volume, &Value::Null).spec(&volume["spec"], &Path::Root.child("spec"), errors);
        mount_options(volume, errors);
    })
}

/// Options of mounting, in the annotation of old, only some kinds of volumes take.
fn mount_options(volume: &Value, errors: &mut Errors) {
    const ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";
    const TAKING: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let annotated = given(&volume["metadata"]["annotations"][ANNOTATION]);
    if annotated && !TAKING.iter().any(|kind| given(&volume["spec"][*kind])) {
        let metadata = Path::Root.child("metadata");
        let field = metadata.child("annotations");
        errors.forbidden(
            field.child(ANNOTATION),
            "may not specify mount options for this volume type",
        );
    }
}

/// A volume that replaces another one: what it is made of may not change. It is checked as a new one and as a changed
/// one, and both is reported.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        let checker = Checker::of(new, old);
        let path = Path::Root.child("spec");
        checker.spec(&new["spec"], &path, errors);
        mount_options(new, errors);
        checker.spec(&new["spec"], &path, errors);
        let (mut kept, before) = (new["spec"].clone(), &old["spec"]);
        let secret = "controllerExpandSecretRef";
        if given(&before["csi"])
            && !given(&before["csi"][secret])
            && let Some(csi) = kept.get_mut("csi").and_then(Value::as_object_mut)
        {
            csi.remove(secret);
        }
        let unchanged = SOURCES.iter().all(|(field, _, _)| same(&kept[*field], &before[*field]));
        if !unchanged && !shapes::same("PersistentVolumeSource", &kept, before) {
            let difference = shapes::difference("PersistentVolumeSource", before, &kept);
            let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
            errors.forbidden("spec.persistentvolumesource", &detail);
        }
        let spec = &new["spec"];
        errors.immutable(
            &spec["volumeMode"],
            &before["volumeMode"],
            &Path::Root.child("volumeMode"),
        );
        if given(&before["nodeAffinity"]) {
            affinity_unchanged(&spec["nodeAffinity"], &before["nodeAffinity"], errors);
        }
        let class = "volumeAttributesClassName";
        if given(&before[class]) && !given(&spec[class]) {
            let detail = "update from non-nil value to nil is forbidden";
            errors.forbidden(Path::Root.child("spec").child(class), detail);
        }
    })
}

/// Nodes may be selected by other labels only if these took the place of those.
fn affinity_unchanged(new: &Value, old: &Value, errors: &mut Errors) {
    const RENAMED: [(&str, &str); 5] = [
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        (
            "failure-domain.beta.kubernetes.io/region",
            "topology.kubernetes.io/region",
        ),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    let requirement = |new: &Value, old: &Value| {
        let keys = (text(&old["key"]), text(&new["key"]));
        (keys.0 == keys.1 || RENAMED.contains(&keys))
            && text(&new["operator"]) == text(&old["operator"])
            && same(&new["values"], &old["values"])
    };
    let list = |new: &Value, old: &Value| {
        let (new, old) = (items(new), items(old));
        new.len() == old.len() && new.iter().zip(old).all(|(a, b)| requirement(a, b))
    };
    let terms = |affinity: &Value| affinity["required"]["nodeSelectorTerms"].clone();
    let (new_terms, old_terms) = (terms(new), terms(old));
    let alike = given(new)
        && items(&new_terms).len() == items(&old_terms).len()
        && items(&new_terms).iter().zip(items(&old_terms)).all(|(a, b)| {
            list(&a["matchExpressions"], &b["matchExpressions"]) && list(&a["matchFields"], &b["matchFields"])
        });
    if !alike {
        let printed = shapes::compact("VolumeNodeAffinity", new);
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.push(FieldError::invalid_printed("nodeAffinity", &printed, detail));
    }
}

struct Checker<'a> {
    name: &'a str,
    inline: bool,
    lenient_affinity: bool,
}

impl<'a> Checker<'a> {
    fn of(volume: &'a Value, old: &Value) -> Self {
        Self {
            name: text(&volume["metadata"]["name"]),
            inline: false,
            lenient_affinity: has_invalid_value(&old["spec"]["nodeAffinity"]["required"]),
        }
    }

    fn spec(&self, spec: &Value, path: &Path, errors: &mut Errors) {
        if self.inline {
            self.only_inline(spec, path, errors);
        }
        let modes = path.child("accessModes");
        if items(&spec["accessModes"]).is_empty() {
            errors.required(modes, "");
        }
        access_modes(&spec["accessModes"], &modes, errors);
        if !self.inline {
            capacity(&spec["capacity"], &path.child("capacity"), errors);
        }
        self.policy(spec, path, errors);
        if given(&spec["nodeAffinity"]) {
            self.affinity(&spec["nodeAffinity"], &path.child("nodeAffinity"), errors);
        }
        self.source(spec, path, errors);
        self.classes(spec, path, errors);
    }

    fn only_inline(&self, spec: &Value, path: &Path, errors: &mut Errors) {
        let detail = "may not be specified in the context of inline volumes";
        if given(&spec["claimRef"]) {
            errors.forbidden(path.child("claimRef"), detail);
        }
        if count(&spec["capacity"]) > 0 {
            errors.forbidden(path.child("capacity"), detail);
        }
        if !given(&spec["csi"]) {
            errors.required(
                path.child("csi"),
                "has to be specified in the context of inline volumes",
            );
        }
    }

    fn policy(&self, spec: &Value, path: &Path, errors: &mut Errors) {
        let field = path.child("persistentVolumeReclaimPolicy");
        match text(&spec["persistentVolumeReclaimPolicy"]) {
            "" => {}
            "Retain" if self.inline => {}
            _ if self.inline => errors.forbidden(field, "may only be Retain in the context of inline volumes"),
            policy => errors.one_of(policy, &["Delete", "Recycle", "Retain"], &field),
        }
    }

    fn affinity(&self, affinity: &Value, path: &Path, errors: &mut Errors) {
        if self.inline {
            errors.forbidden(path, "may not be specified in the context of inline volumes");
        } else if given(&affinity["required"]) {
            node_selector(
                &affinity["required"],
                self.lenient_affinity,
                &path.child("required"),
                errors,
            );
        } else {
            errors.required(path.child("required"), "must specify required node constraints");
        }
    }

    fn source(&self, spec: &Value, path: &Path, errors: &mut Errors) {
        let mut sources = 0;
        for (field, within, refused) in SOURCES {
            let value = &spec[field];
            if !given(value) {
                continue;
            }
            if sources > 0 && field != "flexVolume" {
                errors.forbidden(path.child(refused), TWO_SOURCES);
                continue;
            }
            sources += 1;
            let path_source = path.child(within);
            match field {
                "local" => {
                    local(value, &path_source, errors);
                    if self.inline || !given(&spec["nodeAffinity"]) {
                        errors.required(path.child("nodeAffinity"), "Local volume requires node affinity");
                    }
                }
                "csi" => csi(value, &path_source, errors),
                _ => sources::check(field, Source::Persistent(self.name), value, &path_source, errors),
            }
        }
        if sources == 0 {
            errors.required(path, "must specify a volume type");
        }
        let root = given(&spec["hostPath"]) && is_root(text(&spec["hostPath"]["path"]));
        if root && text(&spec["persistentVolumeReclaimPolicy"]) == "Recycle" {
            let detail = "may not be 'recycle' for a hostPath mount of '/'";
            errors.forbidden(path.child("persistentVolumeReclaimPolicy"), detail);
        }
    }

    fn classes(&self, spec: &Value, path: &Path, errors: &mut Errors) {
        let field = path.child("storageClassName");
        match text(&spec["storageClassName"]) {
            "" => {}
            _ if self.inline => errors.forbidden(field, "may not be specified in the context of inline volumes"),
            class => errors.check(dns_subdomain, class, &field),
        }
        let field = path.child("volumeMode");
        match optional_text(&spec["volumeMode"]) {
            None => {}
            Some("Filesystem") if self.inline => {}
            Some(_) if self.inline => {
                let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
                errors.forbidden(field, detail);
            }
            Some(mode) => errors.one_of(mode, &["Block", "Filesystem"], &field),
        }
        let field = path.child("volumeAttributesClassName");
        let Some(class) = optional_text(&spec["volumeAttributesClassName"]) else {
            return;
        };
        match class {
            "" => errors.required(field, "an empty string is disallowed"),
            class => errors.check(dns_subdomain, class, &field),
        }
        if !given(&spec["csi"]) {
            let detail = "has to be specified when using volumeAttributesClassName";
            errors.required(path.child("csi"), detail);
        }
    }
}

fn capacity(capacity: &Value, path: &Path, errors: &mut Errors) {
    if count(capacity) == 0 {
        errors.required(path, "");
    }
    if !given(&capacity["storage"]) || count(capacity) > 1 {
        let value = if count(capacity) == 0 {
            Value::Null
        } else {
            capacity.clone()
        };
        errors.not_supported(path, value, &["storage"]);
    }
    for (name, amount) in entries(capacity) {
        let field = path.key(name);
        basic_amount(amount, &field, errors);
        let amount = Quantity::of(amount);
        if amount <= Quantity::ZERO {
            errors.invalid(field, amount.to_string(), "must be greater than zero");
        }
    }
}

/// Whether a path is that of the root, whichever way it is written.
fn is_root(path: &str) -> bool {
    let mut depth = 0_usize;
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        depth = if part == ".." {
            depth.saturating_sub(1)
        } else {
            depth + 1
        };
    }
    path.starts_with('/') && depth == 0
}

fn local(value: &Value, path: &Path, errors: &mut Errors) {
    match text(&value["path"]) {
        "" => errors.required(path.child("path"), ""),
        target => errors.extend(crate::scalars::paths::no_backsteps(target, &path.child("path"))),
    }
}

fn csi(value: &Value, path: &Path, errors: &mut Errors) {
    const SECRETS: [&str; 4] = [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ];
    sources::csi_driver_name(text(&value["driver"]), &path.child("driver"), errors);
    if text(&value["volumeHandle"]).is_empty() {
        errors.required(path.child("volumeHandle"), "");
    }
    for secret in SECRETS.into_iter().filter(|secret| given(&value[*secret])) {
        let path = path.child(secret);
        let checks: [(&str, fn(&str) -> Vec<String>); 2] = [("name", dns_subdomain), ("namespace", dns_label)];
        for (field, check) in checks {
            match text(&value[secret][field]) {
                "" => errors.required(path.child(field), ""),
                name => errors.check(check, name, &path.child(field)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots() {
        assert!(is_root("/") && is_root("//a/..") && is_root("/./"));
        assert!(!is_root("/a") && !is_root("a/.."));
    }
}
