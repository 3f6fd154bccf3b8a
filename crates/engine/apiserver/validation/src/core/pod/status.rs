//! What a pod's status may say.

use std::collections::HashSet;

use serde_json::Value;

use super::annotation_options;
use super::update::annotation_changes;
use crate::core::dual_stack;
use crate::errors::Errors;
use crate::get::{entries, given, int, items, optional_text, text};
use crate::names::{dns_subdomain, qualified};
use crate::scalars::addresses::legacy_ip;
use crate::scalars::formats::user_or_group;
use crate::{FieldError, Path, shapes};

/// A status that replaces another one.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        annotation_changes(new, old, annotation_options(old), errors);
        let metadata = Path::Root.child("metadata");
        conditions(&new["status"]["conditions"], &metadata.child("conditions"), errors);
        let path = Path::Root.child("status");
        if text(&new["spec"]["nodeName"]) != text(&old["spec"]["nodeName"]) {
            errors.forbidden(path.child("nodeName"), "may not be changed directly");
        }
        let nominated = text(&new["status"]["nominatedNodeName"]);
        if nominated != text(&old["status"]["nominatedNodeName"]) && !nominated.is_empty() {
            errors.check(dns_subdomain, nominated, &path.child("nominatedNodeName"));
        }
        errors.immutable(
            &new["status"]["qosClass"],
            &old["status"]["qosClass"],
            &path.child("qosClass"),
        );
        transitions(new, old, &path, errors);
        claims(new, &path.child("resourceClaimStatuses"), errors);
        pod_ips(&new["status"], &path.child("podIPs"), errors);
        host_ips(&new["status"], &path.child("hostIPs"), errors);
        for list in [
            "containerStatuses",
            "initContainerStatuses",
            "ephemeralContainerStatuses",
        ] {
            users(new, list, &path.child(list), errors);
        }
        for (list, containers) in [
            ("containerStatuses", "containers"),
            ("initContainerStatuses", "initContainers"),
        ] {
            allocated(
                &new["status"][list],
                &new["spec"][containers],
                &path.child(list),
                errors,
            );
        }
        let ephemeral = path.child("ephemeralContainerStatuses");
        for (i, status) in items(&new["status"]["ephemeralContainerStatuses"]).iter().enumerate() {
            if !items(&status["allocatedResourcesStatus"]).is_empty() {
                let field = ephemeral.index(i);
                errors.forbidden(
                    field.child("allocatedResourcesStatus"),
                    "must not be specified in container status",
                );
            }
        }
    })
}

fn conditions(conditions: &Value, path: &Path, errors: &mut Errors) {
    for (i, condition) in items(conditions).iter().enumerate() {
        let kind = text(&condition["type"]);
        if !["PodScheduled", "Ready", "Initialized"].contains(&kind) {
            errors.check(qualified, kind, &path.index(i).child("Type"));
        }
    }
}

/// What ended may not run again, unless its pod's policy says so.
fn transitions(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let policy = text(&old["spec"]["restartPolicy"]);
    let sidecars: HashSet<&str> = items(&old["spec"]["initContainers"])
        .iter()
        .filter(|c| super::containers::is_restarting(c))
        .map(|c| text(&c["name"]))
        .collect();
    let none = HashSet::new();
    let lists = [
        ("containerStatuses", policy, &none),
        ("initContainerStatuses", policy, &sidecars),
        ("ephemeralContainerStatuses", "Never", &none),
    ];
    for (list, policy, exempt) in lists {
        if policy == "Always" {
            continue;
        }
        let path = path.child(list);
        for (i, old) in items(&old["status"][list]).iter().enumerate() {
            let (ended, name) = (&old["state"]["terminated"], text(&old["name"]));
            let may_restart = policy == "OnFailure" && int(&ended["exitCode"]) != 0;
            if !given(ended) || may_restart || exempt.contains(name) {
                continue;
            }
            let running = |new: &&Value| text(&new["name"]) == name && !given(&new["state"]["terminated"]);
            for _ in items(&new["status"][list]).iter().filter(running) {
                let detail = "may not be transitioned to non-terminated state";
                errors.forbidden(path.index(i).child("state"), detail);
            }
        }
    }
}

fn claims(pod: &Value, path: &Path, errors: &mut Errors) {
    let known: HashSet<&str> = items(&pod["spec"]["resourceClaims"])
        .iter()
        .map(|c| text(&c["name"]))
        .collect();
    let mut seen = HashSet::new();
    for (i, status) in items(&pod["status"]["resourceClaimStatuses"]).iter().enumerate() {
        let (item, name) = (path.index(i), text(&status["name"]));
        let field = item.child("name");
        if !known.contains(name) {
            errors.invalid(field, name, "must match the name of an entry in `spec.resourceClaims`");
        }
        if !seen.insert(name) {
            errors.duplicate(field, name);
        }
        if let Some(claim) = optional_text(&status["resourceClaimName"]) {
            errors.check(dns_subdomain, claim, &field);
        }
    }
}

fn one_of_each_family(list: &Value, path: &Path, errors: &mut Errors) {
    let texts: Vec<&str> = items(list).iter().map(|ip| text(&ip["ip"])).collect();
    match dual_stack::of_addresses(&texts) {
        Ok(dual) if dual && texts.len() <= 2 => return,
        Ok(_) => {}
        Err(detail) => {
            let detail = format!("failed to check for dual stack with error:{detail}");
            errors.push(FieldError::internal(path, &detail));
        }
    }
    let printed = shapes::compact("[]IP", list);
    let detail = "may specify no more than one IP for each IP family";
    errors.push(FieldError::invalid_printed(path, &printed, detail));
}

fn no_duplicates(list: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, ip) in items(list).iter().enumerate() {
        if !seen.insert(text(&ip["ip"])) {
            let printed = serde_json::json!({"IP": text(&ip["ip"])});
            errors.duplicate(path.index(i), printed);
        }
    }
}

fn pod_ips(status: &Value, path: &Path, errors: &mut Errors) {
    let list = &status["podIPs"];
    for (i, ip) in items(list).iter().enumerate() {
        errors.check(legacy_ip, text(&ip["ip"]), &path.index(i));
    }
    if items(list).len() > 1 {
        one_of_each_family(list, path, errors);
        no_duplicates(list, path, errors);
    }
}

fn host_ips(status: &Value, path: &Path, errors: &mut Errors) {
    let list = &status["hostIPs"];
    let Some(first) = items(list).first().map(|ip| text(&ip["ip"])) else {
        return;
    };
    if text(&status["hostIP"]) != first {
        errors.invalid(path.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    for (i, ip) in items(list).iter().enumerate() {
        errors.check(legacy_ip, text(&ip["ip"]), &path.index(i));
    }
    if items(list).len() > 1 {
        no_duplicates(list, path, errors);
        one_of_each_family(list, path, errors);
    }
}

fn users(pod: &Value, list: &str, path: &Path, errors: &mut Errors) {
    let windows = text(&pod["spec"]["os"]["name"]) == "windows";
    for (i, status) in items(&pod["status"][list]).iter().enumerate() {
        let user = &status["user"]["linux"];
        if !given(user) {
            continue;
        }
        let item = path.index(i);
        let path = item.child("linux");
        if windows {
            errors.forbidden(path, "cannot be set for a windows pod");
            continue;
        }
        for id in ["uid", "gid"] {
            errors.all(user_or_group(int(&user[id])), int(&user[id]), &path.child(id));
        }
        let groups = path.child("supplementalGroups");
        for (j, group) in items(&user["supplementalGroups"]).iter().enumerate() {
            errors.all(user_or_group(int(group)), int(group), &groups.index(j));
        }
    }
}

fn allocated(statuses: &Value, containers: &Value, path: &Path, errors: &mut Errors) {
    for (i, status) in items(statuses).iter().enumerate() {
        let item = path.index(i);
        let list = item.child("allocatedResourcesStatus");
        let container = items(containers).iter().find(|c| c["name"] == status["name"]);
        for (j, resource) in items(&status["allocatedResourcesStatus"]).iter().enumerate() {
            let path = list.index(j);
            let name = text(&resource["name"]);
            if let Some(detail) = container.and_then(|c| not_allocated(c, name)) {
                errors.invalid(path.child("name"), name, detail);
            }
            let mut ids = HashSet::new();
            let devices = path.child("resources");
            for (k, device) in items(&resource["resources"]).iter().enumerate() {
                let path = devices.index(k);
                let health = ["Healthy", "Unhealthy", "Unknown"];
                errors.one_of(text(&device["health"]), &health, &path.child("health"));
                let id = text(&device["resourceID"]);
                if !ids.insert(id) {
                    errors.duplicate(path.child("resourceID"), id);
                }
            }
        }
    }
}

fn not_allocated(container: &Value, name: &str) -> Option<&'static str> {
    let resources = &container["resources"];
    if let Some(wanted) = name.strip_prefix("claim:") {
        let found = items(&resources["claims"]).iter().any(|claim| {
            let (claim, request) = (text(&claim["name"]), text(&claim["request"]));
            match request {
                "" => wanted == claim,
                _ => wanted == format!("{claim}/{request}"),
            }
        });
        return (!found).then_some(
            "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty",
        );
    }
    let found = entries(&resources["requests"]).iter().any(|(n, _)| *n == name);
    (!found).then_some("must match one of the container's resource requests")
}
