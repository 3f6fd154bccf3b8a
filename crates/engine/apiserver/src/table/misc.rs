//! Cells of the smaller groups.

use serde_json::Value;

use super::format::{count, int_or_string, or_unset};
use super::{Row, age};
use crate::object;

pub(super) fn cells(group: &str, plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    let (name, age) = (row.name(), row.age());
    Some(match (group, plural) {
        ("events.k8s.io", "events") => event(
            row,
            "regarding",
            "note",
            "deprecatedSource",
            ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount"],
        ),
        ("coordination.k8s.io", "leases") => vec![name, row.text("spec.holderIdentity").into(), age],
        ("node.k8s.io", "runtimeclasses") => vec![name, row.text("handler").into(), age],
        ("policy", "poddisruptionbudgets") => {
            let or_na = |path: &str| match row.at(path) {
                Value::Null => Value::from("N/A"),
                value => int_or_string(value).into(),
            };
            let allowed = row.int("status.disruptionsAllowed").into();
            vec![
                name,
                or_na("spec.minAvailable"),
                or_na("spec.maxUnavailable"),
                allowed,
                age,
            ]
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(row),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") | ("apiextensions.k8s.io", _) => {
            vec![name, object::creation_timestamp(row.object).into()]
        }
        ("scheduling.k8s.io", "priorityclasses") => {
            let policy = match row.text("preemptionPolicy") {
                "" => "PreemptLowerPriority",
                policy => policy,
            };
            let default = row.at("globalDefault").as_bool().unwrap_or(false);
            vec![name, row.int("value").into(), default.into(), age, policy.into()]
        }
        ("certificates.k8s.io", "certificatesigningrequests") => signing_request(row),
        ("apiregistration.k8s.io", "apiservices") => api_service(row),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations" | "validatingwebhookconfigurations") => {
            vec![name, count(row.at("webhooks")).into(), age]
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            let (version, kind) = (row.text("spec.paramKind.apiVersion"), row.text("spec.paramKind.kind"));
            let shown = if kind.is_empty() {
                String::new()
            } else {
                format!("{version}/{kind}")
            };
            vec![name, count(row.at("spec.validations")).into(), or_unset(&shown), age]
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => {
            let (namespace, param) = (row.text("spec.paramRef.namespace"), row.text("spec.paramRef.name"));
            let shown = match (row.at("spec.paramRef").is_null(), namespace) {
                (true, _) => String::new(),
                (false, "") => format!("*/{param}"),
                (false, namespace) => format!("{namespace}/{param}"),
            };
            vec![name, row.text("spec.policyName").into(), or_unset(&shown), age]
        }
        ("resource.k8s.io", "deviceclasses" | "resourceclaimtemplates") => vec![name, age],
        ("resource.k8s.io", "resourceclaims") => {
            let mut states = Vec::new();
            if !row.text("metadata.deletionTimestamp").is_empty() {
                states.push("deleted");
            }
            if row.at("status.allocation").is_null() {
                if row.text("metadata.deletionTimestamp").is_empty() {
                    states.push("pending");
                }
            } else {
                states.push("allocated");
                if count(row.at("status.reservedFor")) > 0 {
                    states.push("reserved");
                }
            }
            vec![name, states.join(",").into(), age]
        }
        ("resource.k8s.io", "resourceslices") => vec![
            name,
            or_unset(row.text("spec.nodeName")),
            row.text("spec.driver").into(),
            row.text("spec.pool.name").into(),
            age,
        ],
        _ => return None,
    })
}

/// An Event of either group; the old one's field names differ.
pub(super) fn event(row: &Row<'_>, about: &str, message: &str, source: &str, times: [&str; 3]) -> Vec<Value> {
    let text = |path: &str| row.text(path);
    let mut first = text(times[0]);
    if first.is_empty() {
        first = text("eventTime");
    }
    let mut last = text(times[1]);
    if last.is_empty() {
        last = first;
    }
    let mut number = row.int(times[2]);
    if !row.at("series").is_null() {
        number = row.int("series.count");
        if !text("series.lastObservedTime").is_empty() {
            last = text("series.lastObservedTime");
        }
    }
    let object = format!(
        "{}/{}",
        text(&format!("{about}.kind")).to_lowercase(),
        text(&format!("{about}.name"))
    );
    let (component, host) = (
        text(&format!("{source}.component")).to_owned(),
        text(&format!("{source}.host")).to_owned(),
    );
    let (component, host) = if component.is_empty() {
        let controller = match text("reportingComponent") {
            "" => text("reportingController"),
            component => component,
        };
        (controller.to_owned(), text("reportingInstance").to_owned())
    } else {
        (component, host)
    };
    let reporter = if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    };
    vec![
        row.since(last).into(),
        text("type").into(),
        text("reason").into(),
        object.into(),
        text(&format!("{about}.fieldPath")).into(),
        reporter.into(),
        text(message).trim().into(),
        row.since(first).into(),
        number.max(1).into(),
        row.name(),
    ]
}

fn binding(row: &Row<'_>) -> Vec<Value> {
    let (mut users, mut groups, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    for subject in row.at("subjects").as_array().into_iter().flatten() {
        let name = subject["name"].as_str().unwrap_or_default().to_owned();
        match subject["kind"].as_str() {
            Some("User") => users.push(name),
            Some("Group") => groups.push(name),
            Some("ServiceAccount") => {
                accounts.push(format!("{}/{name}", subject["namespace"].as_str().unwrap_or_default()));
            }
            _ => {}
        }
    }
    let role = format!("{}/{}", row.text("roleRef.kind"), row.text("roleRef.name"));
    let join = |names: Vec<String>| Value::from(names.join(", "));
    vec![
        row.name(),
        role.into(),
        row.age(),
        join(users),
        join(groups),
        join(accounts),
    ]
}

fn signing_request(row: &Row<'_>) -> Vec<Value> {
    let conditions = row.at("status.conditions").as_array().into_iter().flatten();
    let mut states: Vec<&str> = Vec::new();
    for condition in conditions {
        let state = match condition["type"].as_str() {
            Some("Approved") => "Approved",
            Some("Denied") => "Denied",
            Some("Failed") => "Failed",
            _ => continue,
        };
        if !states.contains(&state) {
            states.push(state);
        }
    }
    if states.is_empty() {
        states.push("Pending");
    }
    if !row.text("status.certificate").is_empty() {
        states.push("Issued");
    }
    let duration = match row.at("spec.expirationSeconds").as_i64() {
        Some(seconds) => age::human(seconds),
        None => "<none>".into(),
    };
    vec![
        row.name(),
        row.age(),
        row.text("spec.signerName").into(),
        row.text("spec.username").into(),
        duration.into(),
        states.join(",").into(),
    ]
}

fn api_service(row: &Row<'_>) -> Vec<Value> {
    let service = match row.at("spec.service") {
        Value::Null => "Local".to_owned(),
        s => format!(
            "{}/{}",
            s["namespace"].as_str().unwrap_or_default(),
            s["name"].as_str().unwrap_or_default()
        ),
    };
    let conditions = row.at("status.conditions").as_array().into_iter().flatten();
    let available = conditions.into_iter().find(|c| c["type"] == "Available");
    let shown = match available {
        None => "Unknown".to_owned(),
        Some(c) if c["status"] == "True" => "True".to_owned(),
        Some(c) => format!(
            "{} ({})",
            c["status"].as_str().unwrap_or_default(),
            c["reason"].as_str().unwrap_or_default()
        ),
    };
    vec![row.name(), service.into(), shown.into(), row.age()]
}
