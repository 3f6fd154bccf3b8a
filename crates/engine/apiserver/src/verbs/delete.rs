//! DELETE of one object: preconditions, propagation, grace, finalizers.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::admit::{self, Admission};
use crate::body::Body;
use crate::codec::{self, Format};
use crate::context::Context;
use crate::kinds::{Kind, kind_of};
use crate::options::{dry_run, integer, invalid_options};
use crate::status::{self, Details, FieldError, GroupResource, Status};
use crate::storage::{Along, Stored, WriteFailure};
use crate::verbs::get::served;
use crate::write::{last, newest};
use crate::{convert, negotiate, object, times};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const CONFLICTS_MAX: usize = 8;
const EXPECTED: codec::Expected<'static> = codec::Expected {
    group: "",
    version: "v1",
    kind: "DeleteOptions",
};
/// Grace of a Pod that says nothing about it, seconds.
const POD_GRACE_S: i64 = 30;

/// What becomes of dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// Options of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    dry_run: bool,
    grace_s: Option<i64>,
    propagation: Option<Propagation>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// From the body, or from the query if there is none.
    pub async fn read(context: &Context) -> Result<Self, Status> {
        let bytes = context.read_body().await?;
        let query = &context.info.query;
        let mut errors = Vec::new();
        let mut options = Self::default();
        let (mut policy, mut orphan) = (
            query.get("propagationPolicy").to_owned(),
            query.bool("orphanDependents"),
        );
        if bytes.is_empty() {
            options.grace_s = integer(query, "gracePeriodSeconds")?;
            options.dry_run = dry_run(query.all("dryRun"), &mut errors);
        } else {
            let format = match negotiate::content_type(&context.headers).as_str() {
                "application/yaml" => Format::Yaml,
                "application/vnd.kubernetes.protobuf" => Format::Protobuf,
                _ => Format::Json,
            };
            let parsed = codec::parse(&bytes, format, &EXPECTED).map_err(Status::untyped)?;
            let body = parsed.value;
            context.audit_object(&body);
            if let Some(kind) = body["kind"].as_str().filter(|k| !k.is_empty() && *k != "DeleteOptions") {
                let version = body["apiVersion"].as_str().unwrap_or("v1");
                return Err(Status::untyped(format!(
                    "no kind {kind:?} is registered for version {version:?} in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
                )));
            }
            options.grace_s = body["gracePeriodSeconds"]
                .as_i64()
                .or(integer(query, "gracePeriodSeconds")?);
            let listed = body["dryRun"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            options.dry_run = dry_run(listed, &mut errors) | dry_run(query.all("dryRun"), &mut errors);
            if let Some(given) = body["propagationPolicy"].as_str() {
                policy = given.to_owned();
            }
            orphan = body["orphanDependents"].as_bool().or(orphan);
            let text = |key: &str| body["preconditions"][key].as_str().map(str::to_owned);
            options.uid = text("uid");
            options.resource_version = text("resourceVersion");
        }
        options.propagation = match policy.as_str() {
            "" => orphan.map(|o| {
                if o {
                    Propagation::Orphan
                } else {
                    Propagation::Background
                }
            }),
            "Orphan" => Some(Propagation::Orphan),
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            other => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported("propagationPolicy", other, &supported));
                None
            }
        };
        if !policy.is_empty() && orphan.is_some() {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.insert(0, FieldError::invalid("propagationPolicy", policy.as_str(), detail));
        }
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(invalid_options("DeleteOptions", &errors))
        }
    }

    /// From the `deleteOptions` of an Eviction.
    pub fn from_value(value: &Value) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let listed = value["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let text = |key: &str| value["preconditions"][key].as_str().map(str::to_owned);
        let options = Self {
            dry_run: dry_run(listed, &mut errors),
            grace_s: value["gracePeriodSeconds"].as_i64(),
            propagation: None,
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        };
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(invalid_options("DeleteOptions", &errors))
        }
    }

    /// As expressions of policies see them.
    fn to_value(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(seconds) = self.grace_s {
            options["gracePeriodSeconds"] = seconds.into();
        }
        for (key, text) in [("uid", &self.uid), ("resourceVersion", &self.resource_version)] {
            if let Some(text) = text {
                options["preconditions"][key] = text.as_str().into();
            }
        }
        if let Some(propagation) = self.propagation {
            options["propagationPolicy"] = format!("{propagation:?}").into();
        }
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }

    /// The preconditions that a client states.
    fn check(&self, context: &Context, old: &Value) -> Result<(), Status> {
        let gk = GroupResource {
            group: &context.resource.group,
            resource: &context.resource.kind,
        };
        let name = object::name(old);
        if let Some(want) = self.uid.as_deref().filter(|u| *u != object::uid(old)) {
            let text = format!(
                "the UID in the precondition ({want}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                object::uid(old)
            );
            return Err(Status::conflict(gk, name, &text));
        }
        let have = object::resource_version(old);
        if let Some(want) = self.resource_version.as_deref().filter(|v| *v != have) {
            let text = format!(
                "the ResourceVersion in the precondition ({want}) does not match the ResourceVersion in record ({have}). The object might have been modified"
            );
            return Err(Status::conflict(gk, name, &text));
        }
        Ok(())
    }
}

/// What a deletion did.
pub(crate) enum Deleted {
    /// The object is gone; it was this.
    Gone(Value),
    /// It stays for a while: finalizers or grace.
    Marked(Value),
}

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let options = DeleteOptions::read(context).await?;
    let name = &context.info.path_name;
    admit::delete(context, name)?;
    if kind_of(&context.resource).orphans_by_default
        && context.resource.group == "batch"
        && options.propagation.is_none()
    {
        context.warn("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
    }
    match delete(context, name, &options).await? {
        Deleted::Marked(object) => context.object(StatusCode::OK, &object),
        Deleted::Gone(object) if context.resource.returns_deleted => context.object(StatusCode::OK, &object),
        Deleted::Gone(object) => {
            let details = Details {
                name: name.clone(),
                group: context.resource.group.to_string(),
                kind: context.resource.plural.to_string(),
                uid: object::uid(&object).to_owned(),
                ..Details::default()
            };
            Ok(context.plain(StatusCode::OK, &status::success(&details)))
        }
    }
}

/// Deletes one object in the request's namespace.
pub(crate) async fn delete(context: &Context, name: &str, options: &DeleteOptions) -> Result<Deleted, Status> {
    let key = context.key(name);
    let mut fresh = admit::concern(context)?;
    let mut current = if fresh {
        newest(context, &key).await?
    } else {
        context.storage().get(&key)?
    };
    let mut conflicts = 0;
    loop {
        let attempt = match &current {
            Some(stored) => attempt(context, &key, stored, options).await,
            None => Err(Failed::Status(context.not_found(name))),
        };
        match attempt {
            Ok(deleted) => return Ok(deleted),
            Err(Failed::Conflict(now)) => {
                conflicts += 1;
                if conflicts > CONFLICTS_MAX {
                    return Err(Status::modified(context.gr(), name));
                }
                (fresh, current) = (true, now);
            }
            Err(Failed::Overtaken) => {
                conflicts += 1;
                if conflicts > CONFLICTS_MAX {
                    return Err(Status::unavailable("what the object depends on changes too often"));
                }
                (fresh, current) = (true, newest(context, &key).await?);
            }
            Err(Failed::Status(status)) if !fresh && (400..500).contains(&status.code) => {
                fresh = true;
                let now = newest(context, &key).await?;
                if now == current {
                    return Err(status);
                }
                current = now;
            }
            Err(Failed::Status(status)) => return Err(status),
        }
    }
}

enum Failed {
    Conflict(Option<Stored>),
    /// What it depends on has changed.
    Overtaken,
    Status(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<WriteFailure> for Failed {
    fn from(failure: WriteFailure) -> Self {
        match failure {
            WriteFailure::Conflict(now) => Self::Conflict(now),
            WriteFailure::Guarded => Self::Overtaken,
            WriteFailure::Status(status) => Self::Status(status),
        }
    }
}

async fn attempt(context: &Context, key: &str, stored: &Stored, options: &DeleteOptions) -> Result<Deleted, Failed> {
    let resource = &context.resource;
    let old = served(context, &stored.bytes).await?;
    options.check(context, &old)?;
    let admission = Admission::delete(context, object::name(&old), options.dry_run);
    // An eviction is judged as such.
    let judged = context.info.subresource.is_empty();
    admission.deletion(&old, &options.to_value(), judged).await?;
    let kind = kind_of(resource);
    let mut new = old.clone();
    set_finalizers(&mut new, &finalizers(&old, options.propagation, kind));
    let now_ms = context.server.deps.clock.unix_ms();
    // A definition stays until its instances are gone.
    if resource.group == "apiextensions.k8s.io"
        && let Some(marked) = engenho_crd::conditions::mark_deleted(&new, &crate::times::seconds(now_ms))
    {
        new = marked;
        if !options.dry_run {
            return store_marked(context, key, stored, new).await;
        }
        return Ok(Deleted::Marked(new));
    }
    let is_namespace = resource.group.is_empty() && resource.plural == "namespaces";
    let grace_s = if kind.graceful {
        pod_grace(&old, options.grace_s)
    } else {
        0
    };
    let kept = object::finalizers(&new).next().is_some()
        || grace_s > 0
        || (is_namespace && new["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty()));
    mark(&mut new, &old, grace_s, now_ms, is_namespace, kept || kind.graceful);
    if !kept {
        if options.dry_run {
            return Ok(Deleted::Gone(new));
        }
        let revision = context
            .storage()
            .delete(key, stored.revision, last(context, &old)?)
            .await?;
        object::set_meta(&mut new, "resourceVersion", revision.to_string());
        return Ok(Deleted::Gone(new));
    }
    if new == old || options.dry_run {
        return Ok(Deleted::Marked(new));
    }
    store_marked(context, key, stored, new).await
}

/// Writes an object that is being deleted and stays for now.
async fn store_marked(context: &Context, key: &str, stored: &Stored, mut new: Value) -> Result<Deleted, Failed> {
    let resource = &context.resource;
    let (kind, api_version) = convert::stored_as(resource);
    let encoded = object::encode(&crate::custom::stored(context, new.clone()).await?, kind, &api_version);
    let revision = context
        .storage()
        .write(resource, key, &encoded, stored.revision, Along::default())
        .await?;
    object::set_meta(&mut new, "resourceVersion", revision.to_string());
    Ok(Deleted::Marked(new))
}

/// The finalizers that the propagation policy wants: the object's own, with or without the collector's two.
fn finalizers(old: &Value, propagation: Option<Propagation>, kind: Kind) -> Vec<String> {
    let has = |name: &str| object::finalizers(old).any(|f| f == name);
    let wanted = match propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if has(ORPHAN) => Some(ORPHAN),
        None if has(FOREGROUND) => Some(FOREGROUND),
        None if kind.orphans_by_default => Some(ORPHAN),
        None => None,
    };
    let own = object::finalizers(old).filter(|f| *f != ORPHAN && *f != FOREGROUND || Some(*f) == wanted);
    let mut out: Vec<String> = own.map(str::to_owned).collect();
    if let Some(wanted) = wanted.filter(|w| !has(w)) {
        out.push(wanted.to_owned());
    }
    out
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        object::remove_meta(object, "finalizers");
    } else {
        object::set_meta(object, "finalizers", finalizers.to_vec());
    }
}

/// Seconds that a Pod is given: none if no node runs it.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let running = !pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty()
        && !matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if !running {
        return 0;
    }
    let grace = asked
        .or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(POD_GRACE_S);
    if grace < 0 { 1 } else { grace }
}

/// Marks the object as terminating. A grace period that runs already can only be shortened.
fn mark(new: &mut Value, old: &Value, grace_s: i64, now_ms: u64, is_namespace: bool, visible: bool) {
    if !visible {
        return;
    }
    let deadline = |grace: i64| times::seconds(now_ms.saturating_add(u64::try_from(grace).unwrap_or(0) * 1000));
    if object::is_terminating(old) {
        let running = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        if grace_s < running {
            object::set_meta(new, "deletionTimestamp", deadline(grace_s));
            object::set_meta(new, "deletionGracePeriodSeconds", grace_s);
        }
        return;
    }
    object::set_meta(new, "deletionTimestamp", deadline(grace_s));
    if is_namespace {
        new["status"]["phase"] = "Terminating".into();
    } else {
        object::set_meta(new, "deletionGracePeriodSeconds", grace_s);
    }
    let generation = object::generation(old);
    if generation > 0 {
        object::set_meta(new, "generation", generation + 1);
    }
}
