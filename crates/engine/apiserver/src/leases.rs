//! Node Leases that come from membership: merged into what the store has, written without a log entry.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::context::Context;
use crate::heartbeat::Heartbeat;
use crate::selector::Selector;
use crate::status::Status;
use crate::verbs::list::Item;
use crate::{object, times};

/// Namespace of node Leases.
pub(crate) const NAMESPACE: &str = "kube-node-lease";
/// How often a watch tells of each virtual Lease.
pub(crate) const WATCH_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);

fn concerns(context: &Context) -> bool {
    let resource = &context.resource;
    resource.group == "coordination.k8s.io"
        && resource.plural == "leases"
        && (context.info.namespace.is_empty() || context.info.namespace == NAMESPACE)
}

/// The Leases from membership that a request is about, by name.
pub(crate) fn all(context: &Context) -> Vec<Value> {
    if !concerns(context) {
        return Vec::new();
    }
    let revision = context.storage().client().store.revision();
    let mut beats = context.server.deps.heartbeats.heartbeats();
    beats.sort_by(|a, b| a.node.cmp(&b.node));
    beats
        .iter()
        .map(|beat| lease(beat, &context.resource.api_version(), revision))
        .collect()
}

/// The Lease of one node, if membership has it.
pub(crate) fn get(context: &Context, name: &str) -> Option<Value> {
    if context.info.namespace != NAMESPACE {
        return None;
    }
    all(context).into_iter().find(|lease| object::name(lease) == name)
}

/// A heartbeat as a Lease object.
fn lease(beat: &Heartbeat, api_version: &str, revision: u64) -> Value {
    json!({
        "kind": "Lease",
        "apiVersion": api_version,
        "metadata": {
            "name": beat.node,
            "namespace": NAMESPACE,
            "uid": uid(&beat.node),
            "resourceVersion": revision.to_string(),
            "creationTimestamp": times::seconds(beat.acquire_unix_ms),
        },
        "spec": {
            "holderIdentity": beat.holder,
            "leaseDurationSeconds": beat.duration_s,
            "renewTime": times::micros(beat.renew_unix_ms),
        },
    })
}

/// The same node has the same uid on every replica.
fn uid(node: &str) -> String {
    let hash = blake3::derive_key("engenho 2026 node lease uid v1", node.as_bytes());
    let hex: String = hash[..16].iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// Puts virtual Leases among the stored ones of a list, in order; a stored one of the same name gives way.
pub(crate) fn merge_into(context: &Context, selector: &Selector, items: &mut Vec<Item>) -> Result<(), Status> {
    let leases = all(context);
    if leases.is_empty() {
        return Ok(());
    }
    let mut merged: Vec<(String, Item)> = Vec::with_capacity(items.len() + leases.len());
    for item in items.drain(..) {
        let value = crate::context::parse_stored(&item.bytes)?;
        merged.push((format!("{}/{}", object::namespace(&value), object::name(&value)), item));
    }
    for lease in leases {
        let key = format!("{NAMESPACE}/{}", object::name(&lease));
        merged.retain(|(have, _)| *have != key);
        if selector.matches(&lease) {
            let encoded = object::encode(&lease, "Lease", &context.resource.api_version());
            let bytes = encoded.at(object::resource_version(&lease).parse().unwrap_or_default());
            merged.push((
                key,
                Item {
                    bytes,
                    value: Some(lease),
                },
            ));
        }
    }
    merged.sort_by(|a, b| a.0.cmp(&b.0));
    items.extend(merged.into_iter().map(|(_, item)| item));
    Ok(())
}

/// A kubelet's write to its own Lease: membership knows better, so it is answered and not stored.
pub(crate) fn accept_write(context: &Context, name: &str, sent: &Value) -> Option<Result<Response<Body>, Status>> {
    let mut lease = get(context, name)?;
    for field in ["holderIdentity", "leaseDurationSeconds", "renewTime"] {
        if let Some(value) = sent["spec"].get(field) {
            lease["spec"][field] = value.clone();
        }
    }
    for field in ["ownerReferences", "labels", "annotations"] {
        if let Some(value) = sent["metadata"].get(field) {
            object::set_meta(&mut lease, field, value.clone());
        }
    }
    let code = if context.info.verb == "create" {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Some(context.object(code, &lease))
}
