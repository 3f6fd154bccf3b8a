//! Volumes made of keys of ConfigMaps and Secrets, fields of the pod, tokens and bundles.

use std::collections::HashSet;

use serde_json::Value;

use super::file_mode;
use crate::core::pod::env::{VOLUME_FIELDS, field_reference, resource_reference};
use crate::core::pod::options::Options;
use crate::core::token_seconds;
use crate::errors::Errors;
use crate::get::{given, items, optional_text, text};
use crate::scalars::paths::local_non_reserved;
use crate::scalars::signers::{signer_name, signer_of_bundle, trust_bundle_name};
use crate::{Path, labels};

const CONFLICT: &str = "conflicting duplicate paths";

/// Keys of one ConfigMap or Secret, whose name stands in `name_field`.
pub(super) fn keys(source: &Value, name_field: &str, path: &Path, errors: &mut Errors) {
    if text(&source[name_field]).is_empty() {
        errors.required(path.child(name_field), "");
    }
    file_mode(&source["defaultMode"], &path.child("defaultMode"), errors);
    for (i, item) in items(&source["items"]).iter().enumerate() {
        key(item, &path.child("items").index(i), errors);
    }
}

fn key(item: &Value, path: &Path, errors: &mut Errors) {
    for field in ["key", "path"] {
        if text(&item[field]).is_empty() {
            errors.required(path.child(field), "");
        }
    }
    errors.extend(local_non_reserved(text(&item["path"]), &path.child("path")));
    file_mode(&item["mode"], &path.child("mode"), errors);
}

/// Fields and resources of the pod.
pub(super) fn downward(source: &Value, path: &Path, errors: &mut Errors) {
    file_mode(&source["defaultMode"], &path.child("defaultMode"), errors);
    for file in items(&source["items"]) {
        downward_file(file, path, errors);
    }
}

fn downward_file(file: &Value, path: &Path, errors: &mut Errors) {
    let target = text(&file["path"]);
    if target.is_empty() {
        errors.required(path.child("path"), "");
    }
    errors.extend(local_non_reserved(target, &path.child("path")));
    let resource = &file["resourceFieldRef"];
    if given(&file["fieldRef"]) {
        field_reference(&file["fieldRef"], &VOLUME_FIELDS, &path.child("fieldRef"), errors);
        if given(resource) {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.invalid(path, "resource", detail);
        }
    } else if given(resource) {
        resource_reference(resource, true, &path.child("resourceFieldRef"), errors);
    } else {
        errors.required(path, "one of fieldRef and resourceFieldRef is required");
    }
    file_mode(&file["mode"], &path.child("mode"), errors);
}

/// Several sources in one volume.
pub(super) fn projected(volume: &Value, options: Options, path: &Path, errors: &mut Errors) {
    file_mode(&volume["defaultMode"], &path.child("defaultMode"), errors);
    let mut paths: HashSet<&str> = HashSet::new();
    let sources = path.child("sources");
    for (i, source) in items(&volume["sources"]).iter().enumerate() {
        let item = sources.index(i);
        let mut kinds = 0;
        for kind in ["secret", "configMap"] {
            if given(&source[kind]) {
                kinds += 1;
                some_keys(&source[kind], &mut paths, path, &item.child(kind), errors);
            }
        }
        if given(&source["downwardAPI"]) {
            kinds += 1;
            for file in items(&source["downwardAPI"]["items"]) {
                downward_file(file, &item.child("downwardAPI"), errors);
                let target = text(&file["path"]);
                if !target.is_empty() && !paths.insert(target) {
                    errors.invalid(path, target, CONFLICT);
                }
            }
        }
        if given(&source["serviceAccountToken"]) {
            kinds += 1;
            let field = item.child("serviceAccountToken");
            token(&source["serviceAccountToken"], options, path, &field, errors);
        }
        if given(&source["clusterTrustBundle"]) {
            kinds += 1;
            let bundle = &source["clusterTrustBundle"];
            trust_bundle(bundle, &item.child("clusterTrustBundle"), errors);
            if !paths.insert(text(&bundle["path"])) {
                errors.invalid(path, text(&bundle["path"]), CONFLICT);
            }
        }
        if kinds > 1 {
            errors.forbidden(item, "may not specify more than 1 volume type per source");
        }
    }
}

fn some_keys<'a>(source: &'a Value, paths: &mut HashSet<&'a str>, volume: &Path, path: &Path, errors: &mut Errors) {
    let name = text(&source["name"]);
    if name.is_empty() {
        errors.required(path.child("name"), "");
    }
    for (i, item) in items(&source["items"]).iter().enumerate() {
        key(item, &path.child("items").index(i), errors);
        let target = text(&item["path"]);
        if !target.is_empty() && !paths.insert(target) {
            errors.invalid(volume, name, CONFLICT);
        }
    }
}

fn token(token: &Value, options: Options, volume: &Path, path: &Path, errors: &mut Errors) {
    token_seconds(&token["expirationSeconds"], &path.child("expirationSeconds"), errors);
    match text(&token["path"]) {
        "" => errors.required(volume.child("path"), ""),
        _ if options.non_local_token_paths => {}
        target => errors.extend(local_non_reserved(target, &volume.child("path"))),
    }
}

fn trust_bundle(bundle: &Value, path: &Path, errors: &mut Errors) {
    let selector = path.child("labelSelector");
    match (optional_text(&bundle["name"]), optional_text(&bundle["signerName"])) {
        (Some(_), Some(_)) => {
            let printed = crate::shapes::compact("ProjectedTrustBundle", bundle);
            let detail = "only one of name and signerName may be used";
            errors.push(crate::FieldError::invalid_printed(path, &printed, detail));
        }
        (Some(name), None) => {
            if name.is_empty() {
                errors.required(path.child("name"), "must be a valid object name");
            }
            for wrong in trust_bundle_name(name, &signer_of_bundle(name)) {
                let detail = format!("not a valid clustertrustbundlename: {wrong}");
                errors.invalid(path.child("name"), name, &detail);
            }
            if given(&bundle["labelSelector"]) {
                let detail = "labelSelector must be unset if name is specified";
                errors.invalid(selector, bundle["labelSelector"].clone(), detail);
            }
        }
        (None, Some(signer)) => {
            let field = path.child("signerName");
            if signer.is_empty() {
                errors.required(field, "must be a valid signer name");
            }
            errors.extend(signer_name(signer, &field));
            errors.extend(labels::selector(&bundle["labelSelector"], false, &selector));
        }
        (None, None) => errors.required(path, "either name or signerName must be specified"),
    }
    let target = text(&bundle["path"]);
    if target.is_empty() {
        errors.required(path.child("path"), "");
    }
    errors.extend(local_non_reserved(target, &path.child("path")));
}
