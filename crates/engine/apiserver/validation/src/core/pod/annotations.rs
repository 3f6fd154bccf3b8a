//! Annotations of pods and templates that mean something, and the fields that took their place.

use serde_json::Value;

use super::containers::visit;
use super::options::{DELETION_COST, Options, containers, is_deletion_cost};
use super::scheduling;
use crate::errors::Errors;
use crate::get::{entries, given, optional_text, text};
use crate::scalars::paths::local_descending;
use crate::{Path, go_quoted};

/// On pods that stand for a file of a node.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Annotations of a pod or a template with this spec.
pub(super) fn all(annotations: &Value, spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    if let Some(value) = optional_text(&annotations[MIRROR])
        && text(&spec["nodeName"]).is_empty()
    {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid(path.key(MIRROR), value, detail);
    }
    tolerations(text(&annotations[TOLERATIONS]), path, errors);
    if let Some(cost) = optional_text(&annotations[DELETION_COST])
        && !options.invalid_deletion_cost
        && !is_deletion_cost(cost)
    {
        errors.invalid(path.key(DELETION_COST), cost, "must be a 32bit integer");
    }
    if let Some(profile) = optional_text(&annotations[SECCOMP_POD]) {
        seccomp(profile, &path.child(SECCOMP_POD), errors);
    }
    for (key, profile) in entries(annotations) {
        if key.starts_with(SECCOMP_CONTAINER) {
            seccomp(text(profile), &path.child(key), errors);
        }
    }
    for (key, profile) in entries(annotations) {
        let Some(name) = key.strip_prefix(APP_ARMOR) else {
            continue;
        };
        if !containers(spec).any(|c| text(&c["name"]) == name) {
            errors.invalid(path.key(key), name, "container not found");
        }
        let profile = text(profile);
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            let detail = format!("invalid AppArmor profile name: {}", go_quoted(profile));
            errors.invalid(path.key(key), profile, &detail);
        }
    }
}

fn tolerations(json: &str, path: &Path, errors: &mut Errors) {
    if json.is_empty() {
        return;
    }
    match serde_json::from_str::<Value>(json) {
        Ok(list) => scheduling::tolerations(&list, &path.child(TOLERATIONS), errors),
        Err(error) => errors.invalid(path, TOLERATIONS, &error.to_string()),
    }
}

fn seccomp(profile: &str, path: &Path, errors: &mut Errors) {
    match profile.strip_prefix("localhost/") {
        Some(target) => errors.extend(local_descending(target, path)),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// Annotations that may not change with a pod.
pub(super) fn update(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    for (key, value) in entries(old) {
        if new.get(key).is_some_and(|n| n == value) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for (key, _) in entries(new) {
        if old.get(key).is_some() {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(path.key(key), "may not add mirror pod annotation");
        }
    }
}

/// Annotations of old must say what the fields say that took their place; `path` is that of the spec.
pub(super) fn match_fields(annotations: &Value, spec: &Value, path: &Path, errors: &mut Errors) {
    let context = path.child("securityContext");
    if let Some(annotation) = optional_text(&annotations[SECCOMP_POD]) {
        let profile = &spec["securityContext"]["seccompProfile"];
        agree(annotation, profile, "seccomp", &context.child("seccompProfile"), errors);
    }
    let of_container = |prefix: &str, container: &Value| {
        let key = format!("{prefix}{}", text(&container["name"]));
        annotations.get(key).and_then(Value::as_str)
    };
    visit(spec, path, |container, path| {
        if let Some(annotation) = of_container(SECCOMP_CONTAINER, container) {
            let profile = &container["securityContext"]["seccompProfile"];
            let context = path.child("securityContext");
            agree(annotation, profile, "seccomp", &context.child("seccompProfile"), errors);
        }
    });
    if text(&spec["os"]["name"]) == "windows" {
        return;
    }
    visit(spec, path, |container, path| {
        if let Some(annotation) = of_container(APP_ARMOR, container) {
            let own = &container["securityContext"]["appArmorProfile"];
            let profile = if given(own) {
                own
            } else {
                &spec["securityContext"]["appArmorProfile"]
            };
            let context = path.child("securityContext");
            agree(
                annotation,
                profile,
                "apparmor",
                &context.child("appArmorProfile"),
                errors,
            );
        }
    });
}

fn agree(annotation: &str, profile: &Value, what: &str, path: &Path, errors: &mut Errors) {
    let same_type = match text(&profile["type"]) {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default"),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(name) => {
                if optional_text(&profile["localhostProfile"]) != Some(name) {
                    let detail = format!("{what} profile in annotation and field must match");
                    errors.forbidden(path.child("localhostProfile"), &detail);
                }
                true
            }
            None => false,
        },
        _ => true,
    };
    if !same_type {
        let detail = format!("{what} type in annotation and field must match");
        errors.forbidden(path.child("type"), &detail);
    }
}
