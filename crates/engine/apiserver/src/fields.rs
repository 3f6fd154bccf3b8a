//! Managed fields: who wrote what, kept on every write through the patch crate's field manager.

use engenho_catalog::Resource;
use engenho_patch::managed::{ApplyError, FieldManager, FieldSet, PathElement};
use serde_json::Value;

use crate::kinds;
use crate::status::{Cause, Status};
use crate::strategy;
use engenho_catalog::Schema;

/// Fields that an endpoint never writes (upstream's `GetResetFields`).
fn reset_fields(resource: &Resource, subresource: &str) -> FieldSet {
    let paths: &[&[&str]] = match (&*resource.group, &*resource.plural, subresource) {
        ("certificates.k8s.io", "certificatesigningrequests", "") => &[&["spec"], &["status"]],
        ("certificates.k8s.io", "certificatesigningrequests", "status") => &[&["spec"], &["status", "conditions"]],
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => &[&["spec"], &["status", "certificate"]],
        ("", "pods", "status") => &[
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"],
        ],
        ("apps", "deployments", "status") => &[&["spec"], &["metadata", "labels"]],
        (.., "status") if !strategy::kept_metadata(resource).is_empty() => &[&["spec"], &["metadata"]],
        (.., "status") => &[&["spec"]],
        (.., "") if resource.subresource("status").is_some() => &[&["status"]],
        _ => &[],
    };
    let mut set = FieldSet::new();
    for path in paths {
        let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(*name)).collect();
        set.insert(&path);
    }
    set
}

/// Runs `work` with the manager of an endpoint; `None` if the kind has no schema.
fn with_manager<T>(
    resource: &Resource,
    subresource: &str,
    work: impl FnOnce(&FieldManager<'_, Schema<'_>>) -> T,
) -> Option<T> {
    let schema = resource.schema()?;
    let (api_version, reset) = (resource.api_version(), reset_fields(resource, subresource));
    let mut manager = FieldManager::new(schema, &api_version, &resource.kind)
        .subresource(subresource)
        .reset_fields(&reset);
    if kinds::is_custom(resource) {
        manager = manager.custom_resource();
    }
    Some(work(&manager))
}

/// Books a create, update or patch.
pub fn update(resource: &Resource, sub: &str, live: Option<&Value>, new: Value, manager: &str, now: &str) -> Value {
    match with_manager(resource, sub, |m| m.update_or_keep(live, new.clone(), manager, now)) {
        Some(booked) => booked,
        None => new,
    }
}

/// Applies a configuration.
pub fn apply(
    resource: &Resource,
    sub: &str,
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
    now: &str,
) -> Result<Value, Status> {
    let applied = with_manager(resource, sub, |m| m.apply(live, config, manager, force, now));
    match applied {
        Some(Ok(applied)) => Ok(applied.object),
        Some(Err(error)) => Err(refusal(&error)),
        None => Err(Status::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json",
        )),
    }
}

fn refusal(error: &ApplyError) -> Status {
    match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts.iter().map(|c| Cause {
                reason: "FieldManagerConflict".into(),
                message: c.cause(),
                field: c.path.to_string(),
            });
            Status::apply_conflict(error.to_string(), causes.collect())
        }
        _ if error.http_status() == 400 => Status::bad_request(error.to_string()),
        _ => Status::untyped(error.to_string()),
    }
}
