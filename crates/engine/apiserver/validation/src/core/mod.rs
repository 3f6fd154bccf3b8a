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
mod service_ips;
mod volumes;

use serde_json::Value;

use crate::FieldError;
use crate::errors::Errors;
use crate::get::text;

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
