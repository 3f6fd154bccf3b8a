//! Cells of Pods: the status that `kubectl get pods` shows is put together from phase, containers and reasons.

use serde_json::{Value, json};

use super::Row;
use super::format::or_none;

/// Conditions of a row: whether the Pod is done.
pub fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match pod["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn list<'a>(value: &'a Value, field: &str) -> impl DoubleEndedIterator<Item = &'a Value> + ExactSizeIterator {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    path.split('.')
        .fold(value, |at, part| &at[part])
        .as_str()
        .unwrap_or_default()
}

fn is_true(conditions: &Value, kind: &str) -> bool {
    list(conditions, "conditions").any(|c| c["type"] == kind && c["status"] == "True")
}

/// The cells of a Pod.
pub fn cells(row: &Row<'_>) -> Vec<Value> {
    let pod = row.object;
    let status = &pod["status"];
    let mut shown = text(status, "phase").to_owned();
    if !text(status, "reason").is_empty() {
        shown = text(status, "reason").to_owned();
    }
    for condition in list(status, "conditions") {
        if condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated" {
            shown = "SchedulingGated".into();
        }
    }
    let mut total = list(&pod["spec"], "containers").len();
    let (mut ready, mut restarts, mut last_restart) = (0, 0, String::new());
    let mut note_restart = |container: &Value| {
        let count = container["restartCount"].as_i64().unwrap_or(0);
        let finished = text(container, "lastState.terminated.finishedAt");
        if finished > last_restart.as_str() {
            last_restart = finished.to_owned();
        }
        count
    };
    let mut sidecar_restarts = 0;
    let init_specs: Vec<&Value> = list(&pod["spec"], "initContainers").collect();
    let is_sidecar = |name: &str| {
        init_specs
            .iter()
            .any(|c| c["name"] == name && c["restartPolicy"] == "Always")
    };
    total += init_specs.iter().filter(|c| c["restartPolicy"] == "Always").count();
    let mut initialising = false;
    for (i, container) in list(status, "initContainerStatuses").enumerate() {
        let sidecar = is_sidecar(text(container, "name"));
        let count = note_restart(container);
        restarts += count;
        if sidecar {
            sidecar_restarts += count;
        }
        let state = &container["state"];
        if let Some(terminated) = state.get("terminated") {
            if terminated["exitCode"] == 0 {
                continue;
            }
            shown = if text(terminated, "reason").is_empty() {
                match terminated["signal"].as_i64().filter(|s| *s != 0) {
                    Some(signal) => format!("Init:Signal:{signal}"),
                    None => format!("Init:ExitCode:{}", terminated["exitCode"]),
                }
            } else {
                format!("Init:{}", text(terminated, "reason"))
            };
        } else if sidecar && container["started"] == true {
            if container["ready"] == true {
                ready += 1;
            }
            continue;
        } else if !matches!(text(state, "waiting.reason"), "" | "PodInitializing") {
            shown = format!("Init:{}", text(state, "waiting.reason"));
        } else {
            shown = format!("Init:{i}/{}", init_specs.len());
        }
        initialising = true;
        break;
    }
    if !initialising || is_true(status, "Initialized") {
        restarts = sidecar_restarts;
        let mut running = false;
        for container in list(status, "containerStatuses").rev() {
            restarts += note_restart(container);
            let state = &container["state"];
            let (waiting, terminated) = (text(state, "waiting.reason"), &state["terminated"]);
            if !waiting.is_empty() {
                shown = waiting.to_owned();
            } else if !text(terminated, "reason").is_empty() {
                shown = text(terminated, "reason").to_owned();
            } else if !terminated.is_null() {
                shown = match terminated["signal"].as_i64().filter(|s| *s != 0) {
                    Some(signal) => format!("Signal:{signal}"),
                    None => format!("ExitCode:{}", terminated["exitCode"]),
                };
            } else if container["ready"] == true && state.get("running").is_some() {
                running = true;
                ready += 1;
            }
        }
        if shown == "Completed" && running {
            shown = if is_true(status, "Ready") {
                "Running"
            } else {
                "NotReady"
            }
            .into();
        }
    }
    if !row.text("metadata.deletionTimestamp").is_empty() {
        let finished = matches!(text(status, "phase"), "Succeeded" | "Failed");
        if text(status, "reason") == "NodeLost" {
            shown = "Unknown".into();
        } else if !finished {
            shown = "Terminating".into();
        }
    }
    let restarts = if restarts > 0 && !last_restart.is_empty() {
        format!("{restarts} ({} ago)", row.since(&last_restart))
    } else {
        restarts.to_string()
    };
    let ip = list(status, "podIPs")
        .next()
        .map_or_else(|| text(status, "podIP"), |ip| text(ip, "ip"));
    let gates = list(&pod["spec"], "readinessGates").len();
    let gates = if gates == 0 {
        "<none>".to_owned()
    } else {
        let met = list(&pod["spec"], "readinessGates")
            .filter(|g| is_true(status, text(g, "conditionType")))
            .count();
        format!("{met}/{gates}")
    };
    vec![
        row.name(),
        format!("{ready}/{total}").into(),
        shown.into(),
        restarts.into(),
        row.age(),
        or_none(ip),
        or_none(row.text("spec.nodeName")),
        or_none(row.text("status.nominatedNodeName")),
        gates.into(),
    ]
}
