//! Status of a Node: what its member reports, and whether it is alive.
//!
//! Heartbeats are not written: they are in the Node's Lease, which comes from membership. A condition's heartbeat time
//! is that of its last change.

use engenho_quantity::canonical;
use serde_json::{Map, Value, json};

use crate::facts::{NodeFacts, NodeReport};
use crate::times;

/// What `nodeInfo` says in place of a runtime's version.
const NO_RUNTIME: &str = "none://";

/// Brings the status in line.
pub(super) fn merge(node: &mut Value, facts: &NodeFacts, now_unix_ms: u64) {
    if !node["status"].is_object() {
        node["status"] = Value::Object(Map::new());
    }
    let status = &mut node["status"];
    if let Some(report) = &facts.report {
        addresses(status, report, &facts.name);
        resources(status, report);
        node_info(status, report);
    }
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for wanted in wanted_conditions(facts.is_alive) {
        condition(&mut conditions, &wanted, facts, now_unix_ms);
    }
    status["conditions"] = conditions.into();
}

fn addresses(status: &mut Value, report: &NodeReport, name: &str) {
    if report.internal_addresses.is_empty() {
        return;
    }
    let mut list: Vec<Value> = Vec::new();
    for ip in &report.internal_addresses {
        let address = json!({"type": "InternalIP", "address": ip.to_string()});
        if !list.contains(&address) {
            list.push(address);
        }
    }
    let hostname = if report.hostname.is_empty() {
        name
    } else {
        &report.hostname
    };
    list.push(json!({"type": "Hostname", "address": hostname}));
    status["addresses"] = list.into();
}

/// Extended resources, which others write there, stay.
fn resources(status: &mut Value, report: &NodeReport) {
    let capacity = &report.capacity;
    let known = [
        ("cpu", capacity.cpu_milli, cpu(capacity.cpu_milli)),
        ("memory", capacity.memory_bytes, bytes(capacity.memory_bytes)),
        ("pods", capacity.pods, capacity.pods.to_string()),
        (
            "ephemeral-storage",
            capacity.ephemeral_bytes,
            bytes(capacity.ephemeral_bytes),
        ),
    ];
    for field in ["capacity", "allocatable"] {
        for (resource, amount, quantity) in &known {
            if *amount > 0 {
                // As the server keeps it: what differs only in its form would be written again and again.
                let kept = canonical(quantity).unwrap_or_else(|| quantity.clone());
                status[field][*resource] = kept.into();
            }
        }
    }
}

fn cpu(milli: u64) -> String {
    if milli.is_multiple_of(1000) {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    }
}

fn bytes(bytes: u64) -> String {
    if bytes.is_multiple_of(1024) {
        format!("{}Ki", bytes / 1024)
    } else {
        bytes.to_string()
    }
}

/// All fields are required, so that what isn't known is empty.
fn node_info(status: &mut Value, report: &NodeReport) {
    let (machine, versions) = (&report.machine, &report.versions);
    let fields = [
        ("machineID", machine.machine_id.as_str()),
        ("systemUUID", &machine.system_uuid),
        ("bootID", &machine.boot_id),
        ("kernelVersion", &machine.kernel),
        ("osImage", &machine.os_image),
        (
            "containerRuntimeVersion",
            versions.runtime.as_deref().unwrap_or(NO_RUNTIME),
        ),
        ("kubeletVersion", &versions.kubelet),
        ("kubeProxyVersion", ""),
        ("operatingSystem", &machine.os),
        ("architecture", &machine.arch),
    ];
    let info = &mut status["nodeInfo"];
    for (field, value) in fields {
        if !value.is_empty() || !info[field].is_string() {
            info[field] = value.into();
        }
    }
}

struct Wanted {
    name: &'static str,
    status: &'static str,
    reason: &'static str,
    message: &'static str,
}

/// The conditions of a live member, or those that upstream's node lifecycle gives a silent one.
fn wanted_conditions(is_alive: bool) -> [Wanted; 4] {
    let wanted = |name, status, reason, message| {
        if is_alive {
            Wanted {
                name,
                status,
                reason,
                message,
            }
        } else {
            Wanted {
                name,
                status: "Unknown",
                reason: "NodeStatusUnknown",
                message: "The member is no longer heard of in the cluster.",
            }
        }
    };
    [
        wanted(
            "MemoryPressure",
            "False",
            "NoMemoryPressure",
            "the member reports no memory pressure",
        ),
        wanted(
            "DiskPressure",
            "False",
            "NoDiskPressure",
            "the member reports no disk pressure",
        ),
        wanted(
            "PIDPressure",
            "False",
            "NoPIDPressure",
            "the member reports no shortage of process ids",
        ),
        wanted("Ready", "True", "MemberAlive", "the member is alive"),
    ]
}

fn condition(conditions: &mut Vec<Value>, wanted: &Wanted, facts: &NodeFacts, now_unix_ms: u64) {
    let at = conditions.iter().position(|c| c["type"] == wanted.name);
    let old = at.map(|at| &conditions[at]);
    let same = |field: &str, value: &str| old.is_some_and(|old| old[field] == value);
    if same("status", wanted.status) && same("reason", wanted.reason) && same("message", wanted.message) {
        return;
    }
    let since = match old.filter(|_| same("status", wanted.status)) {
        Some(old) => old["lastTransitionTime"].as_str().unwrap_or_default().to_owned(),
        None => times::text(match facts.liveness_since_unix_ms {
            0 => now_unix_ms,
            since => since.min(now_unix_ms),
        }),
    };
    let new = json!({
        "type": wanted.name,
        "status": wanted.status,
        "lastHeartbeatTime": times::text(now_unix_ms),
        "lastTransitionTime": since,
        "reason": wanted.reason,
        "message": wanted.message,
    });
    match at {
        Some(at) => conditions[at] = new,
        None => conditions.push(new),
    }
}
