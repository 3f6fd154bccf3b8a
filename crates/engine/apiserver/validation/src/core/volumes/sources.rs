//! Kinds of volumes that pods and persistent volumes have in common.

use serde_json::Value;

use super::secret_name;
use crate::Path;
use crate::errors::Errors;
use crate::get::{entries, flag, given, int, items, optional_int, optional_text, text};
use crate::names::{dns_label, dns_subdomain};
use crate::scalars::formats::in_range;
use crate::scalars::paths::{local_descending, no_backsteps};

/// Upstream's text for an iSCSI volume whose name and portal are too long together.
pub(crate) const PORTAL_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// Fields that must not be empty, by kind of volume.
const REQUIRED: [(&str, &[&str]); 10] = [
    ("glusterfs", &["endpoints", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("azureFile", &["secretName", "shareName"]),
];

/// Whose volume it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// A pod's.
    OfPod,
    /// A persistent volume's of this name.
    Persistent(&'a str),
}

impl Source<'_> {
    fn is_persistent(self) -> bool {
        self != Source::OfPod
    }
}

fn is_empty(value: &Value) -> bool {
    text(value).is_empty() && items(value).is_empty()
}

/// Checks a volume of the kind its field says.
pub(crate) fn check(kind: &str, of: Source, value: &Value, path: &Path, errors: &mut Errors) {
    let required = REQUIRED.iter().find(|(k, _)| *k == kind);
    for field in required.into_iter().flat_map(|(_, fields)| *fields) {
        if is_empty(&value[*field]) {
            errors.required(path.child(field), "");
        }
    }
    match kind {
        "hostPath" => host_path(value, path, errors),
        "gitRepo" => {
            if text(&value["repository"]).is_empty() {
                errors.required(path.child("repository"), "");
            }
            errors.extend(local_descending(text(&value["directory"]), &path.child("directory")));
        }
        "gcePersistentDisk" => disk(value, "pdName", path, errors),
        "awsElasticBlockStore" => disk(value, "volumeID", path, errors),
        "nfs" => nfs(value, path, errors),
        "iscsi" => iscsi(value, of, path, errors),
        "flocker" => flocker(value, path, errors),
        "quobyte" => quobyte(value, path, errors),
        "fc" => fibre_channel(value, path, errors),
        "flexVolume" => flex(value, path, errors),
        "azureDisk" => azure_disk(value, path, errors),
        "storageos" => storage_os(value, of, path, errors),
        "cinder" => {
            secret_name(&value["secretRef"], path, errors);
            secret_namespace(&value["secretRef"], of, path, errors);
        }
        "azureFile" if of.is_persistent() && optional_text(&value["secretNamespace"]) == Some("") => {
            errors.required(path.child("secretNamespace"), "");
        }
        "glusterfs" if of.is_persistent() => {
            if let Some(namespace) = optional_text(&value["endpointsNamespace"]) {
                let field = path.child("endpointsNamespace");
                if namespace.is_empty() {
                    let detail = "if the endpointnamespace is set, it must be a valid namespace name";
                    errors.invalid(field, namespace, detail);
                } else {
                    errors.check(dns_label, namespace, &field);
                }
            }
        }
        _ => {}
    }
}

fn secret_namespace(reference: &Value, of: Source, path: &Path, errors: &mut Errors) {
    if of.is_persistent() && given(reference) && text(&reference["namespace"]).is_empty() {
        errors.required(path.child("secretRef").child("namespace"), "");
    }
}

/// A path on the node.
fn host_path(value: &Value, path: &Path, errors: &mut Errors) {
    let target = text(&value["path"]);
    if target.is_empty() {
        errors.required(path.child("path"), "");
        return;
    }
    errors.extend(no_backsteps(target, &path.child("path")));
    if let Some(kind) = optional_text(&value["type"]) {
        errors.one_of(kind, &HOST_PATH_TYPES, &path.child("type"));
    }
}

fn disk(value: &Value, name: &str, path: &Path, errors: &mut Errors) {
    if text(&value[name]).is_empty() {
        errors.required(path.child(name), "");
    }
    let partition = int(&value["partition"]);
    if !(0..=255).contains(&partition) {
        let detail = "must be between 1 and 255, inclusive";
        errors.invalid(path.child("partition"), partition, detail);
    }
}

fn nfs(value: &Value, path: &Path, errors: &mut Errors) {
    for field in ["server", "path"] {
        if text(&value[field]).is_empty() {
            errors.required(path.child(field), "");
        }
    }
    let target = text(&value["path"]);
    if !target.starts_with('/') {
        errors.invalid(path.child("path"), target, "must be an absolute path");
    }
}

fn is_iqn(name: &str) -> bool {
    // iqn.YYYY-MM.authority:name, anywhere in the text.
    name.match_indices("iqn.").any(|(at, _)| {
        let rest = &name.as_bytes()[at + 4..];
        let digit = |i: usize| rest.get(i).is_some_and(u8::is_ascii_digit);
        let date =
            (0..4).all(digit) && rest.get(4) == Some(&b'-') && digit(5) && digit(6) && rest.get(7) == Some(&b'.');
        let tail = rest.get(8..).and_then(|t| std::str::from_utf8(t).ok()).filter(|_| date);
        let Some((authority, unique)) = tail.and_then(|t| t.split_once(':')) else {
            return false;
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        !authority.is_empty()
            && authority.chars().all(allowed)
            && !unique.is_empty()
            && !unique.contains(|c: char| ",;*&$|".contains(c) || c.is_ascii_whitespace())
    })
}

fn is_initiator(name: &str) -> bool {
    let of_length = |prefix: &str, length: usize| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.chars().next().map(|c| &rest[c.len_utf8()..]))
            .is_some_and(|id| id.len() == length && id.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => of_length("eui", 16),
        Some("naa") => of_length("naa", 32),
        _ => true,
    }
}

fn has_initiator_prefix(name: &str) -> bool {
    ["iqn", "eui", "naa"].iter().any(|p| name.starts_with(p))
}

fn iscsi(value: &Value, of: Source, path: &Path, errors: &mut Errors) {
    let (portal, name) = (text(&value["targetPortal"]), text(&value["iqn"]));
    let prefix_wrong = match of.is_persistent() {
        true => "must be valid format",
        false => "must be valid format starting with iqn, eui, or naa",
    };
    if portal.is_empty() {
        errors.required(path.child("targetPortal"), "");
    }
    if let Source::Persistent(volume) = of
        && given(&value["initiatorName"])
        && volume.len() + 1 + portal.len() > 64
    {
        errors.invalid(path.child("targetportal"), portal, PORTAL_TOO_LONG);
    }
    if name.is_empty() {
        errors.required(path.child("iqn"), "");
    } else if !has_initiator_prefix(name) {
        errors.invalid(path.child("iqn"), name, prefix_wrong);
    } else if !is_initiator(name) {
        errors.invalid(path.child("iqn"), name, "must be valid format");
    }
    errors.all(
        in_range(int(&value["lun"]), 0, 255),
        int(&value["lun"]),
        &path.child("lun"),
    );
    let (secret, field) = (&value["secretRef"], path.child("secretRef"));
    if (flag(&value["chapAuthDiscovery"]) || flag(&value["chapAuthSession"])) && !given(secret) {
        errors.required(field, "");
    }
    if of.is_persistent() && given(secret) && text(&secret["name"]).is_empty() {
        errors.required(field.child("name"), "");
    }
    if let Some(initiator) = optional_text(&value["initiatorName"]) {
        let field = path.child("initiatorname");
        if !has_initiator_prefix(initiator) {
            errors.invalid(field, initiator, prefix_wrong);
        }
        if !is_initiator(initiator) {
            errors.invalid(field, initiator, "must be valid format");
        }
    }
}

fn flocker(value: &Value, path: &Path, errors: &mut Errors) {
    let (name, uuid) = (text(&value["datasetName"]), text(&value["datasetUUID"]));
    if name.is_empty() && uuid.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        let detail = "datasetName and datasetUUID can not be specified simultaneously";
        errors.invalid(path, "resource", detail);
    }
    if name.contains('/') {
        errors.invalid(path.child("datasetName"), name, "must not contain '/'");
    }
}

fn quobyte(value: &Value, path: &Path, errors: &mut Errors) {
    let (registry, tenant) = (text(&value["registry"]), text(&value["tenant"]));
    let detail = "must be a host:port pair or multiple pairs separated by commas";
    if registry.is_empty() {
        errors.required(path.child("registry"), detail);
    } else if tenant.len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(path.child("tenant"), detail);
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.invalid(path.child("registry"), registry, detail);
        }
    }
    if text(&value["volume"]).is_empty() {
        errors.required(path.child("volume"), "");
    }
}

fn is_host_and_port(pair: &str) -> bool {
    match pair.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .is_some_and(|(host, port)| !(host.contains(['[', ']']) || port.contains(['[', ']', ':']))),
        None => pair.matches(':').count() == 1 && !pair.contains(['[', ']']),
    }
}

fn fibre_channel(value: &Value, path: &Path, errors: &mut Errors) {
    let (targets, ids) = (items(&value["targetWWNs"]), items(&value["wwids"]));
    let field = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        errors.required(field, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !ids.is_empty() {
        let detail = "targetWWNs and wwids can not be specified simultaneously";
        errors.invalid(field, value["targetWWNs"].clone(), detail);
    }
    if targets.is_empty() {
        return;
    }
    match optional_int(&value["lun"]) {
        None => errors.required(path.child("lun"), "lun is required if targetWWNs is specified"),
        Some(lun) => errors.all(in_range(lun, 0, 255), lun, &path.child("lun")),
    }
}

fn flex(value: &Value, path: &Path, errors: &mut Errors) {
    if text(&value["driver"]).is_empty() {
        errors.required(path.child("driver"), "");
    }
    for (key, _) in entries(&value["options"]) {
        let namespace = key.split_once('/').map_or(key, |(namespace, _)| namespace);
        let dotted = format!(".{}", namespace.to_lowercase());
        if dotted.ends_with(".kubernetes.io") || dotted.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid(path.child("options").key(key), key, detail);
        }
    }
}

fn azure_disk(value: &Value, path: &Path, errors: &mut Errors) {
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    for field in ["diskName", "diskURI"] {
        if text(&value[field]).is_empty() {
            errors.required(path.child(field), "");
        }
    }
    if let Some(mode) = optional_text(&value["cachingMode"]) {
        errors.one_of(mode, &["None", "ReadOnly", "ReadWrite"], &path.child("cachingMode"));
    }
    let Some(kind) = optional_text(&value["kind"]) else {
        return;
    };
    errors.one_of(kind, &["Dedicated", "Managed", "Shared"], &path.child("kind"));
    let (uri, field) = (text(&value["diskURI"]), path.child("diskURI"));
    if kind == "Managed" && !uri.starts_with("/subscriptions/") {
        errors.not_supported(field, uri, &[MANAGED]);
    }
    if kind != "Managed" && !uri.starts_with("https://") {
        errors.not_supported(field, uri, &[BLOB]);
    }
}

fn storage_os(value: &Value, of: Source, path: &Path, errors: &mut Errors) {
    match text(&value["volumeName"]) {
        "" => errors.required(path.child("volumeName"), ""),
        name => errors.check(dns_label, name, &path.child("volumeName")),
    }
    match text(&value["volumeNamespace"]) {
        "" => {}
        name => errors.check(dns_label, name, &path.child("volumeNamespace")),
    }
    secret_name(&value["secretRef"], path, errors);
    secret_namespace(&value["secretRef"], of, path, errors);
}

/// The name of a driver of the container storage interface.
pub(crate) fn csi_driver_name(name: &str, path: &Path, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(path, "");
    }
    if name.len() > 63 {
        errors.push(crate::FieldError::too_long(path, 63));
    }
    errors.all(dns_subdomain(&name.to_lowercase()), name, path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initiators() {
        assert!(is_initiator("iqn.2015-02.example.com:test") && is_initiator("eui.0123456789ABCDEF"));
        assert!(!is_initiator("iqn.2015-2.example.com:test") && !is_initiator("naa.1") && !is_initiator("eui"));
        assert!(!is_initiator("iqn.2015-02.example.com:"));
    }

    #[test]
    fn hosts_and_ports() {
        assert!(is_host_and_port("a:1") && is_host_and_port("[::1]:2"));
        assert!(!is_host_and_port("a") && !is_host_and_port("::1:2"));
    }
}
