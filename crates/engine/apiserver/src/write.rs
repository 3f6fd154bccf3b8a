//! The one way in which an existing object is replaced: by PUT, by any patch, through any subresource.

use http::StatusCode;
use serde_json::Value;

use crate::admit::{self, Admission};
use crate::context::Context;
use crate::convert;
use crate::custom;
use crate::kinds::{self, kind_of};
use crate::object;
use crate::options::WriteOptions;
use crate::status::{FieldError, Status};
use crate::storage::{Along, Stored, WriteFailure};
use crate::validate::meta;
use crate::verbs::{create, get::served};
use crate::{scale, services, strategy, times};

/// How often a write is tried again when somebody else was faster.
const CONFLICTS_MAX: usize = 8;

/// What is to be replaced, and how.
pub(crate) struct Plan<'a> {
    /// Name of the object.
    pub name: &'a str,
    /// Subresource, empty for the object itself.
    pub subresource: &'a str,
    /// Options of the request.
    pub options: &'a WriteOptions,
    /// How often to try again after a conflict that the client didn't ask for.
    pub conflicts_max: usize,
    /// Whether an object that isn't there may be created.
    pub create: bool,
    /// Whether a uid in the new object is a precondition (PUT) and not a change (patch).
    pub uid_is_precondition: bool,
}

impl<'a> Plan<'a> {
    /// A PUT.
    pub fn update(context: &Context, name: &'a str, subresource: &'a str, options: &'a WriteOptions) -> Self {
        let create = subresource.is_empty() && kind_of(&context.resource).create_on_update;
        Self {
            name,
            subresource,
            options,
            conflicts_max: CONFLICTS_MAX,
            create,
            uid_is_precondition: true,
        }
    }
}

enum Attempt {
    Done(StatusCode, Value),
    Conflict(Option<Stored>),
    /// What it depends on has changed.
    Overtaken,
}

/// Replaces an object by what `make` makes of the present one (`None`: it isn't there and may be created).
/// `make` gives the object decoded, defaulted and with its managed fields; it may be called again after a conflict.
pub(crate) async fn run(
    context: &Context,
    plan: &Plan<'_>,
    mut make: impl FnMut(Option<&Value>) -> Result<Value, Status>,
) -> Result<(StatusCode, Value), Status> {
    let key = context.key(plan.name);
    let mut fresh = admit::concern(context)?;
    let mut current = if fresh {
        newest(context, &key).await?
    } else {
        context.storage().get(&key)?
    };
    let mut conflicts = 0;
    loop {
        match attempt(context, plan, &key, current.as_ref(), &mut make).await {
            Ok(Attempt::Done(code, value)) => return Ok((code, value)),
            Ok(Attempt::Conflict(now)) => {
                conflicts += 1;
                if conflicts > plan.conflicts_max {
                    return Err(Status::modified(context.gr(), plan.name));
                }
                fresh = true;
                current = now;
            }
            Ok(Attempt::Overtaken) => {
                conflicts += 1;
                if conflicts > CONFLICTS_MAX {
                    return Err(Status::unavailable("what the object depends on changes too often"));
                }
                fresh = true;
                current = newest(context, &key).await?;
            }
            // This replica may be behind: an error counts only when it is up to date.
            Err(status) if !fresh && (400..500).contains(&status.code) => {
                fresh = true;
                current = newest(context, &key).await?;
            }
            Err(status) => return Err(status),
        }
    }
}

async fn attempt(
    context: &Context,
    plan: &Plan<'_>,
    key: &str,
    current: Option<&Stored>,
    make: &mut impl FnMut(Option<&Value>) -> Result<Value, Status>,
) -> Result<Attempt, Status> {
    let Some(current) = current else {
        if !plan.create {
            return Err(context.not_found(plan.name));
        }
        let object = make(None)?;
        if !object::uid(&object).is_empty() && plan.uid_is_precondition {
            let text = format!(
                "Precondition failed: UID in precondition: {}, UID in object meta: ",
                object::uid(&object)
            );
            return Err(Status::conflict(context.gr(), plan.name, &text));
        }
        let created = create::store(context, object, plan.options, false).await?;
        return Ok(Attempt::Done(StatusCode::CREATED, created));
    };
    let resource = &context.resource;
    let old = served(context, &current.bytes).await?;
    let mut new = make(Some(&old))?;
    strategy::finish(&context.resource, &mut new);
    check_identity(context, plan, &new, &old)?;
    check_revision(context, plan, &new, current.revision)?;
    carry_over(&mut new, &old);
    if let Some(warning) = engenho_warnings::dedup_owner_references(&mut new, false) {
        context.warn(warning);
    }
    let mut along = Along::default();
    let admission = Admission::update(context, plan.subresource, plan.name, plan.options.dry_run);
    // What is posted to the others is admitted where it is read.
    let admitted = !matches!(plan.subresource, "scale" | "binding");
    if admitted {
        admission.mutate(&mut new, Some(&old)).await?;
    }
    if plan.subresource == "scale" {
        scale::admit(context, &admission, &mut new, &old).await?;
    }
    if services::concerns(context) && plan.subresource.is_empty() {
        along.and(services::update(context, &mut new, &old)?);
    }
    let custom = context.custom_version();
    match plan.subresource {
        "status" if custom.is_some() => engenho_crd::strategy::prepare_status(&mut new, &old),
        _ if let Some((_, version)) = custom => engenho_crd::strategy::prepare_update(version, &mut new, &old),
        "" => strategy::prepare_update(resource, &mut new, &old),
        "status" => strategy::prepare_status_update(resource, &mut new, &old, context.server.deps.clock.unix_ms()),
        "finalize" => strategy::prepare_finalize(&mut new, &old),
        "approval" => strategy::signing::prepare_approval(&mut new, &old, &now(context)),
        _ => strategy::set_generation(resource, &mut new, &old),
    }
    let mut errors = meta::validate_update(&new, &old, resource);
    let (group, version, plural) = (&*resource.group, &*resource.version, &*resource.plural);
    errors.extend(match plan.subresource {
        "" => engenho_validation::update(group, version, plural, &new, &old),
        // The bodies of others are objects of their own, and validated where they are read.
        subresource @ ("status" | "finalize" | "approval" | "resize" | "ephemeralcontainers") => {
            engenho_validation::update_subresource(group, version, plural, subresource, &new, &old)
        }
        _ => Vec::new(),
    });
    if let Some((custom, version)) = custom {
        let definition = &custom.definition;
        let found = match plan.subresource {
            "status" => engenho_crd::instance::update_status(definition, version, &new, &old),
            _ => engenho_crd::instance::update(definition, version, &new, &old),
        };
        found.warnings.into_iter().for_each(|warning| context.warn(warning));
        errors.extend(found.errors);
    }
    if !errors.is_empty() {
        return Err(context.invalid_object(plan.name, &new, &errors));
    }
    admit::rbac(context, plan.name, &new, Some(&old)).await?;
    let warnings = match plan.subresource {
        _ if kinds::is_custom(resource) => engenho_warnings::custom_resource(&new, Some(&old)),
        "" => engenho_warnings::update(group, version, plural, &new, &old),
        subresource => engenho_warnings::update_subresource(group, version, plural, subresource, &new, &old),
    };
    warnings.into_iter().for_each(|warning| context.warn(warning));
    if admitted {
        along.and(admission.validate(&new, Some(&old)).await?);
    }
    strategy::finish(resource, &mut new);
    object::set_meta(&mut new, "resourceVersion", current.revision.to_string());
    engenho_patch::managed::ignore_timestamps(&old, &mut new);
    if new == old {
        return Ok(Attempt::Done(StatusCode::OK, old));
    }
    if plan.options.dry_run {
        return Ok(Attempt::Done(StatusCode::OK, new));
    }
    if is_finished(context, &new) {
        // What the update took or gave up is no matter any more, and a key can be changed only once.
        let along = last(context, &old)?;
        return match context.storage().delete(key, current.revision, along).await {
            Ok(_) => Ok(Attempt::Done(StatusCode::OK, new)),
            Err(failure) => failed(failure),
        };
    }
    let stored_form = custom::stored(context, new.clone()).await?;
    let (kind, api_version) = convert::stored_as(resource);
    let encoded = object::encode(&stored_form, kind, &api_version);
    match context
        .storage()
        .write(resource, key, &encoded, current.revision, along)
        .await
    {
        Ok(revision) => {
            object::set_meta(&mut new, "resourceVersion", revision.to_string());
            Ok(Attempt::Done(StatusCode::OK, new))
        }
        Err(failure) => failed(failure),
    }
}

/// The object as of now.
pub(crate) async fn newest(context: &Context, key: &str) -> Result<Option<Stored>, Status> {
    context.linearize().await?;
    context.storage().get(key)
}

fn failed(failure: WriteFailure) -> Result<Attempt, Status> {
    match failure {
        WriteFailure::Conflict(now) => Ok(Attempt::Conflict(now)),
        WriteFailure::Guarded => Ok(Attempt::Overtaken),
        WriteFailure::Status(status) => Err(status),
    }
}

/// What goes with an object that is deleted for good.
pub(crate) fn last(context: &Context, old: &Value) -> Result<Along, Status> {
    if services::concerns(context) {
        services::delete(context, old)
    } else {
        Ok(Along::default())
    }
}

/// Whether nothing keeps a terminating object any more.
pub(crate) fn is_finished(context: &Context, object: &Value) -> bool {
    if !object::is_terminating(object) || object::finalizers(object).next().is_some() {
        return false;
    }
    let resource = &context.resource;
    if resource.group.is_empty() && resource.plural == "namespaces" {
        return object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    }
    !kind_of(resource).graceful || object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}

/// The body must be about the object of the URL.
fn check_identity(context: &Context, plan: &Plan<'_>, new: &Value, old: &Value) -> Result<(), Status> {
    check_name(plan.name, new)?;
    check_namespace(context, new)?;
    let (want, have) = (object::uid(new), object::uid(old));
    if plan.uid_is_precondition && !want.is_empty() && want != have {
        let text = format!("Precondition failed: UID in precondition: {want}, UID in object meta: {have}");
        return Err(Status::conflict(context.gr(), plan.name, &text));
    }
    Ok(())
}

/// The name in the body must be the one of the URL.
pub(crate) fn check_name(name: &str, object: &Value) -> Result<(), Status> {
    match object::name(object) {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        have if have != name => Err(Status::bad_request(format!(
            "the name of the object ({have}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

/// The namespace in the body, if there is one, must be the one of the URL.
pub(crate) fn check_namespace(context: &Context, object: &Value) -> Result<(), Status> {
    let have = object::namespace(object);
    // One that objects of this kind cannot have is dropped.
    if !context.resource.namespaced || have.is_empty() || have == context.info.namespace {
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn check_revision(context: &Context, plan: &Plan<'_>, new: &Value, current: u64) -> Result<(), Status> {
    match object::resource_version(new) {
        "" | "0" => {
            if kind_of(&context.resource).unconditional_update || !plan.uid_is_precondition {
                return Ok(());
            }
            let detail = "must be specified for an update";
            let error = FieldError::invalid("metadata.resourceVersion", 0, detail);
            // Upstream tells the resource here in place of the kind.
            let resource = &context.resource;
            Err(Status::invalid(&resource.group, &resource.plural, plan.name, &[error]))
        }
        text => match text.parse::<u64>() {
            Ok(revision) if revision == current => Ok(()),
            Ok(_) => Err(Status::modified(context.gr(), plan.name)),
            Err(_) => {
                let detail = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
                let error = FieldError::invalid("metadata.resourceVersion", text, &detail);
                Err(context.invalid(plan.name, &[error]))
            }
        },
    }
}

/// What the server set stays, where the client leaves it out or may not change it.
fn carry_over(new: &mut Value, old: &Value) {
    object::remove_meta(new, "selfLink");
    let keep = |new: &mut Value, field: &str| match old["metadata"].get(field) {
        Some(value) => object::set_meta(new, field, value.clone()),
        None => drop(object::remove_meta(new, field)),
    };
    for field in ["namespace", "uid", "deletionGracePeriodSeconds"] {
        if matches!(&new["metadata"][field], Value::Null) || new["metadata"][field] == "" {
            keep(new, field);
        }
    }
    for field in ["creationTimestamp", "generation", "deletionTimestamp"] {
        keep(new, field);
    }
    if old["metadata"].get("deletionGracePeriodSeconds").is_none() {
        object::remove_meta(new, "deletionGracePeriodSeconds");
    }
}

/// Now, as timestamps show it.
pub(crate) fn now(context: &Context) -> String {
    times::seconds(context.server.deps.clock.unix_ms())
}
