//! Which APIServices there should be for custom resources, and what their condition `Available` should say.

use std::collections::BTreeMap;

use engenho_catalog::Catalog;
use serde_json::{Value, json};

/// Marks an APIService that is made here; `onstart` are those that a cluster begins with.
const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Priorities of groups and versions of custom resources.
const GROUP_PRIORITY: u64 = 1_000;
const VERSION_PRIORITY: u64 = 100;

/// What is to be done with one APIService.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    Create(Value),
    Replace(Value),
    Delete { name: String, uid: String },
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Brings the APIServices of custom resources in line with their definitions.
pub(super) fn registrations(definitions: &[Value], services: &[Value]) -> Vec<Write> {
    let mut wanted = BTreeMap::new();
    for definition in definitions {
        let spec = &definition["spec"];
        let group = text(&spec["group"]);
        if group.is_empty() || Catalog::builtin().group(group).is_some() {
            continue;
        }
        for version in items(&spec["versions"])
            .iter()
            .filter(|version| version["served"] == true)
        {
            let version = text(&version["name"]);
            let spec = json!({"group": group, "version": version, "groupPriorityMinimum": GROUP_PRIORITY,
                "versionPriority": VERSION_PRIORITY});
            wanted.insert(format!("{version}.{group}"), spec);
        }
    }
    let mut writes = Vec::new();
    for service in services {
        let name = text(&service["metadata"]["name"]);
        let spec = wanted.remove(name);
        if service["metadata"]["labels"][LABEL] != "true" {
            continue;
        }
        match spec {
            None => writes.push(Write::Delete {
                name: name.to_owned(),
                uid: text(&service["metadata"]["uid"]).to_owned(),
            }),
            Some(spec) if spec != service["spec"] => {
                let mut service = service.clone();
                service["spec"] = spec;
                writes.push(Write::Replace(service));
            }
            Some(_) => {}
        }
    }
    let create = |(name, spec): (String, Value)| {
        Write::Create(json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": name, "labels": {LABEL: "true"}}, "spec": spec}))
    };
    writes.extend(wanted.into_iter().map(create));
    writes
}

/// What is known of an APIService's availability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    fn unavailable(reason: &'static str, message: String) -> Self {
        Self {
            status: "False",
            reason,
            message,
        }
    }

    /// One that this server serves.
    pub fn local() -> Self {
        Self {
            status: "True",
            reason: "Local",
            message: "Local APIServices are always available".to_owned(),
        }
    }

    /// What asking its server gave.
    pub fn asked(answer: Result<(), String>) -> Self {
        match answer {
            Ok(()) => Self {
                status: "True",
                reason: "Passed",
                message: "all checks passed".to_owned(),
            },
            Err(why) => Self::unavailable("FailedDiscoveryCheck", why),
        }
    }
}

/// Judges by stored objects whether the Service behind an APIService can be asked at all; `None` if it can.
pub(super) fn unreachable(api_service: &Value, service: Option<&Value>, slices: &[&Value]) -> Option<Verdict> {
    let reference = &api_service["spec"]["service"];
    let (namespace, name) = (text(&reference["namespace"]), text(&reference["name"]));
    let about = format!("service/{name} in {namespace:?}");
    let Some(service) = service else {
        return Some(Verdict::unavailable(
            "ServiceNotFound",
            format!("{about} is not present"),
        ));
    };
    if service["spec"]["type"] != "ClusterIP" {
        return None;
    }
    let port = reference["port"].as_u64().unwrap_or(443);
    let Some(found) = items(&service["spec"]["ports"]).iter().find(|one| one["port"] == port) else {
        let message = format!("{about} is not listening on port {port}");
        return Some(Verdict::unavailable("ServicePortError", message));
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for {about}");
        return Some(Verdict::unavailable("EndpointsNotFound", message));
    }
    let port_name = text(&found["name"]);
    let active = slices.iter().any(|slice| {
        let mut endpoints = items(&slice["endpoints"]).iter();
        let mut ports = items(&slice["ports"]).iter();
        endpoints.any(|endpoint| endpoint["conditions"]["ready"] != false)
            && ports.any(|port| text(&port["name"]) == port_name && port["port"].is_u64())
    });
    if active {
        return None;
    }
    let message = format!("endpointslices for {about} have no addresses with port name {port_name:?}");
    Some(Verdict::unavailable("MissingEndpoints", message))
}

/// The APIService with its condition; `None` if it says so already.
pub(super) fn conclude(api_service: &Value, verdict: &Verdict, now: &str) -> Option<Value> {
    let mut told = api_service.clone();
    let mut condition = json!({"type": "Available", "status": verdict.status, "lastTransitionTime": now,
        "reason": verdict.reason, "message": verdict.message});
    if !told["status"]["conditions"].is_array() {
        told["status"]["conditions"] = json!([]);
    }
    let conditions = told["status"]["conditions"].as_array_mut()?;
    match conditions.iter_mut().find(|one| one["type"] == "Available") {
        Some(before) => {
            if before["status"] == verdict.status {
                condition["lastTransitionTime"] = before["lastTransitionTime"].clone();
                if before["reason"] == verdict.reason && before["message"].is_string() {
                    // Which endpoint was asked in vain changes from look to look.
                    condition["message"] = before["message"].clone();
                }
            }
            *before = condition;
        }
        None => conditions.push(condition),
    }
    (told != *api_service).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(group: &str, versions: &[(&str, bool)]) -> Value {
        let versions = versions
            .iter()
            .map(|(name, served)| json!({"name": name, "served": served}));
        json!({"spec": {"group": group, "versions": versions.collect::<Vec<_>>()}})
    }

    #[test]
    fn custom_groups_are_registered() {
        let definitions = [
            definition("e.org", &[("v1", true), ("v0", false)]),
            definition("apps", &[("v1", true)]),
        ];
        let made = registrations(&definitions, &[]);
        let [Write::Create(made)] = made.as_slice() else {
            panic!("{made:?}")
        };
        assert_eq!(made["metadata"], json!({"name": "v1.e.org", "labels": {LABEL: "true"}}));
        assert_eq!(made["spec"]["groupPriorityMinimum"], 1000);
        assert_eq!(registrations(&definitions, std::slice::from_ref(made)), []);
        let mut changed = made.clone();
        changed["spec"]["versionPriority"] = 7.into();
        assert_eq!(registrations(&definitions, &[changed]), [Write::Replace(made.clone())]);
        let gone = Write::Delete {
            name: "v1.e.org".into(),
            uid: String::new(),
        };
        assert_eq!(registrations(&[], std::slice::from_ref(made)), [gone]);
        let mut own = made.clone();
        own["metadata"]["labels"] = json!({});
        assert_eq!(registrations(&[], &[own]), []);
    }

    #[test]
    fn services_that_cannot_answer_are_told_apart() {
        let api = json!({"spec": {"service": {"namespace": "n", "name": "s", "port": 443}}});
        let judge = |service: Option<&Value>, slices: &[&Value]| {
            unreachable(&api, service, slices).map(|verdict| (verdict.reason, verdict.message))
        };
        let told = |reason, message: &str| Some((reason, message.to_owned()));
        assert_eq!(
            judge(None, &[]),
            told("ServiceNotFound", "service/s in \"n\" is not present")
        );
        let service = |port: u16| json!({"spec": {"type": "ClusterIP", "ports": [{"name": "web", "port": port}]}});
        let odd = judge(Some(&service(80)), &[]);
        assert_eq!(
            odd,
            told("ServicePortError", "service/s in \"n\" is not listening on port 443")
        );
        let right = service(443);
        let none = judge(Some(&right), &[]);
        assert_eq!(
            none,
            told("EndpointsNotFound", "cannot find endpointslices for service/s in \"n\"")
        );
        let slice = |ready: bool| json!({"ports": [{"name": "web", "port": 1}], "endpoints": [{"conditions": {"ready": ready}}]});
        assert_eq!(judge(Some(&right), &[&slice(true)]), None);
        let message = "endpointslices for service/s in \"n\" have no addresses with port name \"web\"";
        assert_eq!(judge(Some(&right), &[&slice(false)]), told("MissingEndpoints", message));
        assert_eq!(judge(Some(&json!({"spec": {"type": "ExternalName"}})), &[]), None);
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let told = conclude(&json!({"status": {}}), &Verdict::local(), "t1").expect("a change");
        assert_eq!(conclude(&told, &Verdict::local(), "t2"), None);
        let passed = conclude(&told, &Verdict::asked(Ok(())), "t2").expect("a change");
        assert_eq!(passed["status"]["conditions"][0]["lastTransitionTime"], "t1");
        let failed = conclude(&passed, &Verdict::asked(Err("x".into())), "t3").expect("a change");
        assert_eq!(failed["status"]["conditions"][0]["lastTransitionTime"], "t3");
        assert_eq!(failed["status"]["conditions"][0]["reason"], "FailedDiscoveryCheck");
    }
}
