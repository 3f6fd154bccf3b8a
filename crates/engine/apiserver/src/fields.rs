//! Managed fields: who wrote what, kept on every write through the patch crate's field manager.

use engenho_catalog::Resource;
use engenho_crd::Definition;
use engenho_patch::managed::{ApplyError, Conversion, FieldManager, FieldSet, PathElement};
use serde_json::Value;

use crate::context::Context;
use crate::kinds;
use crate::status::{Cause, Status};
use crate::strategy;
use engenho_catalog::Schema;

/// A kind whose managed fields are kept.
#[derive(Clone, Copy)]
pub(crate) struct Kind<'a> {
    resource: &'a Resource,
    definition: Option<&'a Definition>,
}

impl<'a> From<&'a Context> for Kind<'a> {
    fn from(context: &'a Context) -> Self {
        Self {
            resource: &context.resource,
            definition: context.custom_version().map(|(custom, _)| &*custom.definition),
        }
    }
}

impl<'a> From<&'a Resource> for Kind<'a> {
    fn from(resource: &'a Resource) -> Self {
        Self {
            resource,
            definition: None,
        }
    }
}

/// Between the versions of a definition as far as their fields have the same names: managers know fields by name.
struct Versions<'a>(&'a Definition);

impl<'a> Conversion<Schema<'a>> for Versions<'a> {
    fn convert(&self, object: &Value, _from: &str, to: &str) -> Option<(Value, Schema<'a>)> {
        let Versions(definition) = self;
        let version = definition.version(to.strip_prefix(definition.group.as_str())?.strip_prefix('/')?)?;
        let schema = version.published.as_ref()?;
        let mut object = object.clone();
        definition.convert(version, &mut object);
        Some((object, Schema::new(&schema.node)))
    }
}

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
    Kind { resource, definition }: Kind<'_>,
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
    let versions = definition.map(Versions);
    if let Some(versions) = &versions {
        manager = manager.conversion(versions);
    }
    Some(work(&manager))
}

/// Books a create, update or patch.
pub(crate) fn update<'a>(
    kind: impl Into<Kind<'a>>,
    sub: &str,
    live: Option<&Value>,
    new: Value,
    manager: &str,
    now: &str,
) -> Value {
    match with_manager(kind.into(), sub, |m| m.update_or_keep(live, new.clone(), manager, now)) {
        Some(booked) => booked,
        None => new,
    }
}

/// Applies a configuration.
pub(crate) fn apply<'a>(
    kind: impl Into<Kind<'a>>,
    sub: &str,
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
    now: &str,
) -> Result<Value, Status> {
    let applied = with_manager(kind.into(), sub, |m| m.apply(live, config, manager, force, now));
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
