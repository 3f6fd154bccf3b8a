//! Kinds of the core group.

pub(crate) mod claim;
pub(crate) mod config;
mod dual_stack;
pub(crate) mod endpoints;
pub(crate) mod event;
pub(crate) mod limits;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod persistent_volume;
pub(crate) mod pod;
pub(crate) mod replication;
mod resource_names;
pub(crate) mod service;
pub(crate) mod service_ips;
mod volumes;

use serde_json::Value;

use crate::errors::Errors;
use crate::get::{int, text};
use crate::{FieldError, Path};

const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// A binding of a pod to a node.
pub(crate) fn create_binding(binding: &Value) -> Vec<FieldError> {
    bind(binding, &Value::Null)
}

/// A number of replicas; the body is the scale.
pub(crate) fn scale(scale: &Value, _old: &Value) -> Vec<FieldError> {
    let spec = Path::Root.child("spec");
    Errors::of(|errors| errors.non_negative(&scale["spec"]["replicas"], &spec.child("replicas")))
}

/// A token for a service account; the body is the request.
pub(crate) fn token(request: &Value, _old: &Value) -> Vec<FieldError> {
    let spec = Path::Root.child("spec");
    Errors::of(|errors| {
        token_seconds(
            &request["spec"]["expirationSeconds"],
            &spec.child("expirationSeconds"),
            errors,
        )
    })
}

/// How long a token may last.
pub(crate) fn token_seconds(seconds: &Value, path: &Path, errors: &mut Errors) {
    let seconds = int(seconds);
    if seconds < TOKEN_SECONDS_MIN {
        errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > TOKEN_SECONDS_MAX {
        errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
}

/// A pod bound to a node; the body is the binding.
pub(crate) fn bind(binding: &Value, _old: &Value) -> Vec<FieldError> {
    let target = &binding["target"];
    Errors::of(|errors| {
        let kind = text(&target["kind"]);
        if !kind.is_empty() && kind != "Node" {
            errors.not_supported("target.kind", kind, &["Node", "<empty>"]);
        }
        if text(&target["name"]).is_empty() {
            errors.required("target.name", "");
        }
    })
}
