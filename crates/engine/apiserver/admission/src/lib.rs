//! The admission plugins that a Kubernetes 1.34 API server runs on writes, as pure functions over JSON.
//!
//! A write goes through [`mutate`] once defaults are set, before its object is validated; through [`authorization`]
//! and [`validate`] afterwards; and last, just before it is stored, through [`quota::plan`], whose updates are written
//! first. Everything else a plugin has to know it reads through [`Lookup`]. None of these plugins ever warns.

mod amounts;
mod certificates;
mod claim_resize;
mod get;
mod in_use_protection;
mod ingress_class;
mod limit_ranger;
mod lookup;
mod node_restriction;
mod pod;
mod pod_resources;
mod pod_topology_labels;
mod priority;
pub mod quota;
mod refusal;
mod request;
mod runtime_class;
mod service_account;
mod storage_class;
mod taint_nodes;
mod toleration_seconds;

#[cfg(test)]
mod properties;

use serde_json::Value;

pub use certificates::{Attributes, Authorization};
pub use lookup::Lookup;
pub use refusal::Refusal;
pub use request::{Gates, Operation, Request};

/// What the plugins say to a write.
pub type Outcome<E> = Result<(), Refusal<E>>;

/// Completes the object of a write, as the plugins do that may change it, in their order.
///
/// `old` is what is stored now, of an update or a deletion; the object of a deletion is null. `random_suffix` gives
/// five characters that a generated name ends in.
///
/// # Errors
/// A plugin refuses the write, or a lookup failed.
pub fn mutate<L: Lookup>(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    lookup: &L,
    random_suffix: &mut dyn FnMut() -> String,
) -> Outcome<L::Error> {
    limit_ranger::mutate(request, object, old, lookup)?;
    service_account::mutate(request, object, lookup, random_suffix)?;
    node_restriction::check(request, object, old, lookup)?;
    taint_nodes::mutate(request, object);
    priority::mutate(request, object, old, lookup)?;
    toleration_seconds::mutate(request, object);
    storage_class::mutate(request, object, lookup)?;
    in_use_protection::mutate(request, object);
    runtime_class::mutate(request, object, lookup)?;
    ingress_class::mutate(request, object, lookup)?;
    pod_topology_labels::mutate(request, object, lookup)
}

/// Checks the object of a write as it would be stored, by the plugins that may refuse it, in their order.
///
/// # Errors
/// A plugin refuses the write, or a lookup failed.
pub fn validate<L: Lookup>(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    limit_ranger::validate(request, object, old, lookup)?;
    service_account::validate(request, object, lookup)?;
    priority::validate(request, object, lookup)?;
    claim_resize::validate(request, object, old, lookup)?;
    runtime_class::validate(request, object, lookup)?;
    certificates::validate(request, object)
}

/// What the author of a write has to be allowed beyond the write itself, if anything.
///
/// # Errors
/// The write is refused whatever its author may do, or a lookup failed.
pub fn authorization<L: Lookup>(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Result<Option<Authorization>, Refusal<L::Error>> {
    match certificates::authorization(request, object, old) {
        Some(authorization) => Ok(Some(authorization)),
        None => node_restriction::audience(request, object, lookup),
    }
}
