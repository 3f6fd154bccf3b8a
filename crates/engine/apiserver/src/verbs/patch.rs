//! PATCH: JSON, merge, strategic merge and apply patches.

use bytes::Bytes;
use engenho_patch::{PatchError, json_patch, merge_patch, prune, restore, round_trip, strategic, typecheck};
use http::Response;
use serde_json::Value;

use crate::body::Body;
use crate::codec::{self, Expected};
use crate::context::Context;
use crate::options::{FieldValidation, WriteOptions};
use crate::status::{FieldError, Status};
use crate::verbs::create;
use crate::write::{self, Plan, now};
use crate::{fields, kinds, leases, negotiate, object};
use engenho_catalog::Schema;

/// Retries of a patch that names no resourceVersion (upstream's bound).
const CONFLICTS_MAX: usize = 5;

/// The kind of patch, by its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    ApplyYaml,
}

impl PatchType {
    /// From the `Content-Type` header.
    pub fn of(context: &Context) -> Result<Self, Status> {
        let custom = kinds::is_custom(&context.resource);
        match negotiate::content_type(&context.headers).as_str() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::ApplyYaml),
            _ => {
                let all = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
                let listed = if custom {
                    all.replace("application/strategic-merge-patch+json, ", "")
                } else {
                    all.into()
                };
                Err(Status::unsupported_media_type(&listed))
            }
        }
    }
}

/// A patch that was read.
pub(crate) enum Patch {
    Json(json_patch::JsonPatch),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    /// Reads the body as a patch; complaints about duplicate fields are added.
    pub fn parse(kind: PatchType, bytes: &Bytes, complaints: &mut Vec<String>) -> Result<Self, Status> {
        let patch = match kind {
            PatchType::Json => {
                let patch = json_patch::parse(bytes).map_err(|e| refusal(&e))?;
                complaints.extend(patch.strict_errors.iter().cloned());
                Self::Json(patch)
            }
            PatchType::Merge => {
                let decoded = merge_patch::parse(bytes).map_err(|e| refusal(&e))?;
                complaints.extend(decoded.strict_errors);
                Self::Merge(decoded.value)
            }
            PatchType::Strategic => {
                let decoded = strategic::parse(bytes).map_err(|e| refusal(&e))?;
                complaints.extend(decoded.strict_errors);
                Self::Strategic(decoded.value)
            }
            PatchType::ApplyYaml => {
                let decoded = engenho_yaml::decode(bytes).map_err(|error| {
                    Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {error}"))
                })?;
                complaints.extend(decoded.strict_error());
                Self::Apply(decoded.value)
            }
        };
        Ok(patch)
    }

    /// The patch as it was sent, for the audit log.
    pub fn sent(&self, bytes: &Bytes) -> Option<Value> {
        match self {
            Self::Json(_) => serde_json::from_slice(bytes).ok(),
            Self::Merge(value) | Self::Strategic(value) | Self::Apply(value) => Some(value.clone()),
        }
    }

    /// The patched object. Apply patches go through the field manager instead.
    pub fn apply(&self, live: &Value, schema: Option<Schema<'_>>) -> Result<Value, Status> {
        let patched = match self {
            Self::Json(patch) => patch.apply(live.clone()),
            Self::Merge(patch) => Ok(merge_patch::apply(live.clone(), patch)),
            Self::Strategic(patch) => match schema {
                Some(schema) => strategic::apply(live.clone(), patch.clone(), &schema),
                None => Err(PatchError::StrategicUnsupported),
            },
            Self::Apply(_) => Ok(live.clone()),
        };
        patched.map_err(|e| refusal(&e))
    }
}

fn refusal(error: &PatchError) -> Status {
    let text = error.to_string();
    match error.http_status() {
        400 => Status::bad_request(text),
        413 => Status::entry_too_large(&text),
        422 => Status::unprocessable(&text),
        _ => Status::untyped(text),
    }
}

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    through(context, "").await
}

/// PATCH of an object, or of one of its subresources that has the object's own kind.
pub(crate) async fn through(context: &Context, subresource: &str) -> Result<Response<Body>, Status> {
    let kind = PatchType::of(context)?;
    let apply = kind == PatchType::ApplyYaml;
    let options = WriteOptions::read(&context.info.query, &context.headers, "PatchOptions", apply)?;
    let bytes = context.read_body().await?;
    let mut complaints = Vec::new();
    let expected = Expected::of(&context.resource);
    let mut patch = Patch::parse(kind, &bytes, &mut complaints)?;
    context.audit_patch(|| patch.sent(&bytes));
    let mut duplicates = Vec::new();
    if let Patch::Apply(config) = &mut patch {
        duplicates = std::mem::take(&mut complaints);
        codec::check_kind(config, &expected, &context.catalog)?;
        if context.custom_version().is_none() {
            codec::drop_nulls(config);
        }
        if let Some(schema) = context.resource.schema()
            && context.custom_version().is_none()
        {
            complaints.extend(prune::prune(config, &schema));
        }
    }
    let name = context.info.path_name.as_str();
    if let Some(mut lease) = leases::get(context, name) {
        lease = patch.apply(&lease, context.resource.schema())?;
        if let Some(answer) = leases::accept_write(context, name, &lease) {
            return answer;
        }
    }
    let plan = Plan {
        name,
        subresource,
        options: &options,
        conflicts_max: CONFLICTS_MAX,
        create: apply && subresource.is_empty(),
        uid_is_precondition: false,
    };
    let now = now(context);
    let resource = &context.resource;
    let (code, stored) = write::run(context, &plan, |live| {
        let schema = resource.schema();
        let mut object = match (&patch, live) {
            (Patch::Apply(config), live) => {
                // An object that is there lends the configuration its name.
                if live.is_none() || !object::name(config).is_empty() {
                    write::check_name(name, config)?;
                }
                write::check_namespace(context, config)?;
                let force = options.force.unwrap_or(false);
                fields::apply(context, subresource, live, config, &options.manager, force, &now)?
            }
            (patch, Some(live)) => patch.apply(live, schema)?,
            (_, None) => return Err(context.not_found(name)),
        };
        let (kind, version) = (object["kind"].as_str(), object["apiVersion"].as_str());
        let other = kind != Some(expected.kind) || version != Some(expected.api_version().as_str());
        // Instances of custom resources are refused when they are validated.
        if other && (context.custom_version().is_none() || kind.is_none_or(str::is_empty)) {
            let found = format!("{}, Kind={}", version.unwrap_or_default(), kind.unwrap_or_default());
            return Err(patched_refusal(&object, &format!("the patch makes it a {found}")));
        }
        let mut unknown = complaints.clone();
        let strict = matches!(options.validation, FieldValidation::Strict);
        let unpruned = strict.then(|| object.clone());
        if let Some((custom, version)) = context.custom_version() {
            let read = version.decode(&mut object, custom.definition.preserve_unknown);
            let found = read.map_err(|e| patched_refusal(&object, &e))?;
            unknown.extend(found.iter().map(|path| format!("unknown field \"{path}\"")));
        } else if let Some(schema) = &schema {
            if let Patch::Strategic(patch) = &patch {
                // Upstream converts the outcome without writing it out, and shows the patch.
                restore::check(&object, schema).map_err(|e| strategic_refusal(patch, &e))?;
            }
            typecheck::check(&object, schema).map_err(|e| patched_refusal(&object, &e.to_string()))?;
            unknown.extend(prune::prune(&mut object, schema));
        }
        match options.validation {
            FieldValidation::Strict if !duplicates.is_empty() => {
                let text = duplicates.join(", ");
                return Err(Status::bad_request(format!(
                    "error strict decoding YAML: error converting YAML to JSON: {text}"
                )));
            }
            FieldValidation::Strict if !unknown.is_empty() => {
                let text = format!("strict decoding error: {}", unknown.join(", "));
                return Err(match (&patch, &unpruned) {
                    (Patch::Strategic(patch), _) => strategic_refusal(patch, &text),
                    (Patch::Json(_) | Patch::Merge(_), Some(object)) => patched_refusal(object, &text),
                    _ => decode_refusal(&expected, &text),
                });
            }
            FieldValidation::Warn => {
                let mut warnings = context.warnings.lock();
                warnings.extend(codec::warnings_of(&duplicates));
                warnings.extend(unknown);
            }
            FieldValidation::Strict | FieldValidation::Ignore => {}
        }
        match &schema {
            _ if context.custom_version().is_some() => {}
            Some(schema) => round_trip::decoded(&mut object, schema),
            None => codec::drop_nulls(&mut object),
        }
        create::complete(context, &mut object);
        if apply {
            return Ok(object);
        }
        Ok(fields::update(
            context,
            subresource,
            live,
            object,
            &options.manager,
            &now,
        ))
    })
    .await?;
    context.object(code, &stored)
}

/// 422 of a patch that makes no object of the kind.
fn patched_refusal(object: &Value, text: &str) -> Status {
    let mut shown = object.clone();
    engenho_patch::meta::remove(&mut shown, "managedFields");
    Status::invalid("", "", "", &[FieldError::invalid("patch", shown.to_string(), text)])
}

/// The same of a strategic merge patch, which is shown itself.
fn strategic_refusal(patch: &Value, text: &str) -> Status {
    let wrong = FieldError::invalid("patch", engenho_patch::meta::go_format(patch), text);
    Status::invalid("", "", "", &[wrong])
}

fn decode_refusal(expected: &Expected<'_>, text: &str) -> Status {
    let (kind, version) = (expected.kind, expected.version);
    Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {text}"
    ))
}
