//! ResourceQuota: what a namespace may hold in all, counted before anything is added to it.

mod scopes;
mod usage;

use engenho_quantity::Quantity;
use serde_json::{Map, Value};

use crate::amounts::growth;
use crate::get::{name, set, text};
use crate::{Lookup, Operation, Refusal, Request};
use engenho_quantity::amounts::{Amounts, add, read, written};
use usage::Kind;

/// Resources that no quota counts: what is not stored, and events.
const UNCOUNTED: [(&str, &str); 8] = [
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "events"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];

/// A quota whose usage grows with a write. To be written before the write, and only over the version it was planned
/// from; if another has been written since, the plan is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUpdate {
    /// Name of the quota, in the namespace of the request.
    pub name: String,
    /// Its status with the new usage.
    pub new_status: Value,
    /// The version that this was planned from.
    pub resource_version: String,
}

/// The quotas that a write counts against, with their usage after it. Nothing is to be written for a dry run.
///
/// # Errors
/// A quota would be exceeded, its usage is not known yet, or it cannot be told what the object uses; or a lookup
/// failed.
pub fn plan<L: Lookup>(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Result<Vec<QuotaUpdate>, Refusal<L::Error>> {
    let kind = Kind::of(request.group, request.resource);
    if !is_counted(request) || !kind.counts(request.operation, request.subresource) {
        return Ok(Vec::new());
    }
    let quotas = lookup.list("", "resourcequotas", request.namespace)?;
    let mut matching = Vec::new();
    for quota in &quotas {
        if !kind.is_matched_by(quota, object) {
            continue;
        }
        check_readiness(&kind, quota, object)?;
        matching.push(quota);
    }
    if matching.is_empty() {
        return Ok(Vec::new());
    }
    let used = kind.usage(object);
    let negative: Vec<&str> = used
        .iter()
        .filter(|(_, amount)| **amount < Quantity::ZERO)
        .map(|(name, _)| name.as_str())
        .collect();
    if !negative.is_empty() {
        let names = negative.join(",");
        return Err(Refusal::forbidden(format!(
            "quota usage is negative for resource(s): {names}"
        )));
    }
    let before = match (request.operation, old) {
        (Operation::Update, None) => {
            return Err(Refusal::forbidden(
                "unable to get previous usage since prior version of object was not found",
            ));
        }
        // What was not stored before is charged in full.
        (Operation::Update, Some(old)) => Some(old).filter(|old| !text(&old["metadata"]["resourceVersion"]).is_empty()),
        _ => None,
    };
    let mut updates = Vec::new();
    for quota in matching {
        let counted_before = before.filter(|before| kind.is_matched_by(quota, before));
        let known = counted_before.map_or_else(Amounts::new, |before| kind.usage(before));
        updates.extend(charge(request, quota, &growth(&used, &known))?);
    }
    if request.dry_run {
        updates.clear();
    }
    Ok(updates)
}

/// What objects of one resource use of the resources that a quota limits. The usage of a quota is the sum over all
/// resources of its namespace.
pub fn used<'a>(
    quota: &Value,
    group: &str,
    plural: &str,
    objects: impl Iterator<Item = &'a Value>,
) -> Map<String, Value> {
    let kind = Kind::of(group, plural);
    let hard = read(&quota["spec"]["hard"]);
    let mut total: Amounts = hard
        .keys()
        .filter(|name| kind.covers(name))
        .map(|name| (name.clone(), Quantity::ZERO))
        .collect();
    for object in objects.filter(|object| kind.is_in_scope(quota, object)) {
        add(&mut total, &kind.usage(object));
    }
    total.retain(|name, _| hard.contains_key(name) && kind.covers(name));
    written(&total)
}

fn is_counted(request: &Request<'_>) -> bool {
    !request.namespace.is_empty()
        && !request.concerns("", "namespaces")
        && !UNCOUNTED.contains(&(request.group, request.resource))
}

/// A quota can be counted against once all that it limits is both stated by the object and counted so far.
fn check_readiness<E>(kind: &Kind<'_>, quota: &Value, object: &Value) -> Result<(), Refusal<E>> {
    let limited: Vec<String> = read(&quota["status"]["hard"])
        .into_keys()
        .filter(|name| kind.covers(name))
        .collect();
    if let Some(fault) = kind.unstated(&limited, object) {
        return Err(Refusal::forbidden(format!("failed quota: {}: {fault}", name(quota))));
    }
    let counted = read(&quota["status"]["used"]);
    if limited.iter().all(|name| counted.contains_key(name)) {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "status unknown for quota: {}, resources: {}",
        name(quota),
        limited.join(",")
    )))
}

/// Adds to the usage of a quota, unless that were more than it allows.
fn charge<E>(request: &Request<'_>, quota: &Value, more: &Amounts) -> Result<Option<QuotaUpdate>, Refusal<E>> {
    let status = &quota["status"];
    let hard = read(&status["hard"]);
    let before = read(&status["used"]);
    let mut requested = more.clone();
    requested.retain(|name, _| hard.contains_key(name));
    if requested.is_empty() {
        return Ok(None);
    }
    let mut after = before.clone();
    add(&mut after, &requested);
    let exceeded: Vec<&String> = requested
        .keys()
        .filter(|name| after.get(*name) > hard.get(*name))
        .collect();
    // What the status of an object says is so, whether it is allowed or not.
    if !exceeded.is_empty() && request.subresource != "status" {
        let shown = |amounts: &Amounts| {
            let each = exceeded
                .iter()
                .filter_map(|name| Some(format!("{name}={}", amounts.get(*name)?)));
            each.collect::<Vec<String>>().join(",")
        };
        return Err(Refusal::forbidden(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            name(quota),
            shown(&requested),
            shown(&before),
            shown(&hard)
        )));
    }
    let mut new_status = status.clone();
    set(&mut new_status, "used", written(&after));
    Ok(Some(QuotaUpdate {
        name: name(quota).to_owned(),
        new_status,
        resource_version: text(&quota["metadata"]["resourceVersion"]).to_owned(),
    }))
}

#[cfg(test)]
mod tests;
