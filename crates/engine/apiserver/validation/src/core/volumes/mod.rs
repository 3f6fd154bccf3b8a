//! Volumes of pods.

mod projected;
pub(crate) mod sources;

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::core::claim;
use crate::core::pod::containers::pull_policy;
use crate::core::pod::mounts::Volumes;
use crate::core::pod::options::Options;
use crate::errors::Errors;
use crate::get::{given, items, optional_text, text};
use crate::names::{dns_label, dns_subdomain};
use crate::{FieldError, Path, labels};
use engenho_quantity::Quantity;
use sources::Source;

/// "one kind": upstream's text for two of them.
pub(crate) const TWO_SOURCES: &str = "may not specify more than 1 volume type";
const PORTAL_LENGTH_MAX: usize = 64;
/// What a volume of a pod may be, in the order in which it is looked for: the field, how errors within call it, how the
/// error calls it that refuses a second one.
const SOURCES: [(&str, &str, &str); 29] = [
    ("hostPath", "hostPath", "hostPath"),
    ("gitRepo", "gitRepo", "gitRepo"),
    ("gcePersistentDisk", "persistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret", "secret"),
    ("nfs", "nfs", "nfs"),
    ("iscsi", "iscsi", "iscsi"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    (
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        "persistentVolumeClaim",
    ),
    ("rbd", "rbd", "rbd"),
    ("cinder", "cinder", "cinder"),
    ("cephfs", "cephfs", "cephFS"),
    ("quobyte", "quobyte", "quobyte"),
    ("downwardAPI", "downwardAPI", "downwarAPI"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("configMap", "configMap", "configMap"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("storageos", "storageos", "storageos"),
    ("projected", "projected", "projected"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("csi", "csi", "csi"),
    ("ephemeral", "ephemeral", "ephemeral"),
    ("image", "image", "image"),
];

/// Checks the volumes of a pod and gives the valid ones; `pod` is the pod's name if it has one.
pub(crate) fn pod<'a>(
    volumes: &'a Value,
    pod: Option<&str>,
    options: Options,
    path: &Path,
    errors: &mut Errors,
) -> Volumes<'a> {
    let pod = pod.filter(|name| !name.is_empty());
    let created: HashSet<String> = match pod {
        Some(pod) => items(volumes)
            .iter()
            .filter(|v| given(&v["ephemeral"]))
            .map(|v| format!("{pod}-{}", text(&v["name"])))
            .collect(),
        None => HashSet::new(),
    };
    let mut valid = BTreeMap::new();
    for (i, volume) in items(volumes).iter().enumerate() {
        let (item, name) = (path.index(i), text(&volume["name"]));
        let before = errors.count();
        source(volume, pod, options, &item, errors);
        match name {
            "" => errors.required(item.child("name"), ""),
            name => errors.check(dns_label, name, &item.child("name")),
        }
        if valid.contains_key(name) {
            errors.duplicate(item.child("name"), name);
        }
        if errors.count() == before {
            valid.insert(name, volume);
        }
        let claim = text(&volume["persistentVolumeClaim"]["claimName"]);
        if given(&volume["persistentVolumeClaim"]) && created.contains(claim) {
            let field = item.child("persistentVolumeClaim");
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(field.child("claimName"), claim, detail);
        }
    }
    valid
}

fn source(volume: &Value, pod: Option<&str>, options: Options, path: &Path, errors: &mut Errors) {
    let mut sources = 0;
    if given(&volume["emptyDir"]) {
        sources += 1;
        let limit = &volume["emptyDir"]["sizeLimit"];
        if given(limit) && Quantity::of(limit) < Quantity::ZERO {
            let field = path.child("emptyDir");
            errors.forbidden(
                field.child("sizeLimit"),
                "SizeLimit field must be a valid resource quantity",
            );
        }
    }
    for (field, within, refused) in SOURCES {
        let value = &volume[field];
        if !given(value) {
            continue;
        }
        if sources > 0 {
            errors.forbidden(path.child(refused), TWO_SOURCES);
        } else {
            sources += 1;
            one(field, volume, pod, options, path, &path.child(within), errors);
        }
        if field == "iscsi" {
            let target = format!("{}:{}", text(&volume["name"]), text(&value["targetPortal"]));
            if given(&value["initiatorName"]) && target.len() > PORTAL_LENGTH_MAX {
                errors.invalid(path.child("name"), text(&volume["name"]), sources::PORTAL_TOO_LONG);
            }
        }
    }
    if sources == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn one(
    field: &str,
    volume: &Value,
    pod: Option<&str>,
    options: Options,
    volume_path: &Path,
    path: &Path,
    errors: &mut Errors,
) {
    let value = &volume[field];
    match field {
        "secret" => projected::keys(value, "secretName", path, errors),
        "configMap" => projected::keys(value, "name", path, errors),
        "downwardAPI" => projected::downward(value, path, errors),
        "projected" => projected::projected(value, options, path, errors),
        "csi" => csi(value, path, errors),
        "ephemeral" => ephemeral(volume, pod, volume_path, path, errors),
        "image" => {
            if options.is_pod && text(&value["reference"]).is_empty() {
                errors.required(path.child("reference"), "");
            }
            pull_policy(&value["pullPolicy"], &path.child("pullPolicy"), errors);
        }
        _ => sources::check(field, Source::OfPod, value, path, errors),
    }
}

fn csi(value: &Value, path: &Path, errors: &mut Errors) {
    sources::csi_driver_name(text(&value["driver"]), &path.child("driver"), errors);
    let reference = &value["nodePublishSecretRef"];
    if !given(reference) {
        return;
    }
    match text(&reference["name"]) {
        "" => errors.required(path.child("nodePublishSecretRef").child("name"), ""),
        name => errors.check(dns_subdomain, name, &path.child("name")),
    }
}

fn ephemeral(volume: &Value, pod: Option<&str>, volume_path: &Path, path: &Path, errors: &mut Errors) {
    let template = &volume["ephemeral"]["volumeClaimTemplate"];
    let field = path.child("volumeClaimTemplate");
    if given(template) {
        claim_template(template, &field, errors);
    } else {
        errors.required(field, "");
    }
    let name = text(&volume["name"]);
    let Some(pod) = pod.filter(|_| !name.is_empty()) else {
        return;
    };
    let claim = format!("{pod}-{name}");
    for wrong in dns_subdomain(&claim) {
        let detail = format!("PVC name {}: {wrong}", crate::go_quoted(&claim));
        errors.invalid(volume_path.child("name"), name, &detail);
    }
}

/// A claim that is made with its pod: of its metadata only labels and annotations may be given.
fn claim_template(template: &Value, path: &Path, errors: &mut Errors) {
    const REFUSED: [&str; 12] = [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
    ];
    let (metadata, field) = (&template["metadata"], path.child("metadata"));
    errors.extend(labels::annotations(
        &metadata["annotations"],
        &field.child("annotations"),
    ));
    errors.extend(labels::labels(&metadata["labels"], &field.child("labels")));
    for name in REFUSED {
        if !crate::get::is_nothing(&metadata[name]) {
            errors.push(FieldError::forbidden(field.child(name), "cannot be set"));
        }
    }
    claim::spec(
        &template["spec"],
        claim::Options::default(),
        &path.child("spec"),
        errors,
    );
}

/// A mode of a file.
pub(crate) fn file_mode(mode: &Value, path: &Path, errors: &mut Errors) {
    if let Some(mode) = mode.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(
            path,
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

/// Whether a volume of a pod or a persistent one names a secret without a name.
pub(crate) fn secret_name(reference: &Value, path: &Path, errors: &mut Errors) {
    if given(reference) && optional_text(&reference["name"]).unwrap_or_default().is_empty() {
        errors.required(path.child("secretRef").child("name"), "");
    }
}
