//! A pod's spec, in a pod or in a template.

use serde_json::Value;

use super::containers::{Pod, resource_claims};
use super::options::Options;
use super::{resources, scheduling, security, windows};
use crate::core::volumes;
use crate::errors::Errors;
use crate::get::{flag, given, int, items, optional_int, optional_text, text, texts};
use crate::names::{dns_label, dns_subdomain, dns_subdomain_with_underscore, qualified};
use crate::scalars::addresses::legacy_ip;
use crate::scalars::formats::in_range;
use crate::{Path, labels};

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_CHARACTERS_MAX: usize = 2048;

/// Checks a spec; `name` is that of the pod, if there is one already.
pub(crate) fn spec(spec: &Value, name: Option<&str>, options: Options, path: &Path, errors: &mut Errors) {
    let grace = optional_int(&spec["terminationGracePeriodSeconds"]);
    if grace.is_none() {
        errors.required(path.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volumes::pod(&spec["volumes"], name, options, &path.child("volumes"), errors);
    resource_claims(&spec["resourceClaims"], &path.child("resourceClaims"), errors);
    let claims = items(&spec["resourceClaims"]).iter().map(|c| text(&c["name"]));
    let pod = Pod {
        spec,
        volumes,
        claims: claims.filter(|name| !name.is_empty()).collect(),
        grace,
        host_users: spec["hostUsers"].as_bool().unwrap_or(true),
        options,
    };
    pod.containers(&path.child("containers"), errors);
    pod.init_containers(&path.child("initContainers"), errors);
    pod.ephemeral_containers(&path.child("ephemeralContainers"), errors);
    resources::pod(spec, &pod.claims, options, &path.child("resources"), errors);
    host_network(spec, options, &path.child("containers"), errors);
    policies(spec, path, errors);
    errors.extend(labels::labels(&spec["nodeSelector"], &path.child("nodeSelector")));
    security::pod(spec, options, &path.child("securityContext"), errors);
    scheduling::affinity(&spec["affinity"], options, &path.child("affinity"), errors);
    dns(spec, &path.child("dnsConfig"), errors);
    for (i, gate) in items(&spec["readinessGates"]).iter().enumerate() {
        let gates = path.child("readinessGates");
        errors.check(
            qualified,
            text(&gate["conditionType"]),
            &gates.index(i).child("conditionType"),
        );
    }
    scheduling::gates(&spec["schedulingGates"], &path.child("schedulingGates"), errors);
    let constraints = path.child("topologySpreadConstraints");
    scheduling::spread(&spec["topologySpreadConstraints"], options, &constraints, errors);
    windows::host_processes(spec, path, errors);
    host_users(spec, path, errors);
    names(spec, path, errors);
    if given(&spec["overhead"]) {
        let limits = serde_json::json!({"limits": spec["overhead"]});
        resources::container(&limits, &[], options, &path.child("overhead"), errors);
    }
    windows::operating_system(spec, path, errors);
}

fn host_network(spec: &Value, options: Options, path: &Path, errors: &mut Errors) {
    if !flag(&spec["hostNetwork"]) {
        return;
    }
    for (i, container) in items(&spec["containers"]).iter().enumerate() {
        let item = path.index(i);
        let ports = item.child("ports");
        for (j, port) in items(&container["ports"]).iter().enumerate() {
            let (host, own) = (int(&port["hostPort"]), int(&port["containerPort"]));
            // In a template the port of the host may be left to the pod.
            if (options.is_pod || host != 0) && host != own {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.invalid(ports.index(j).child("hostPort"), host, detail);
            }
        }
    }
}

fn policies(spec: &Value, path: &Path, errors: &mut Errors) {
    let restart = ["Always", "OnFailure", "Never"];
    errors.required_one_of(text(&spec["restartPolicy"]), &restart, &path.child("restartPolicy"));
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.required_one_of(text(&spec["dnsPolicy"]), &dns, &path.child("dnsPolicy"));
}

fn dns(spec: &Value, path: &Path, errors: &mut Errors) {
    let config = &spec["dnsConfig"];
    let servers = path.child("nameservers");
    if text(&spec["dnsPolicy"]) == "None" {
        if !given(config) {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if items(&config["nameservers"]).is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(servers, detail);
            return;
        }
    }
    if items(&config["nameservers"]).len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.invalid(servers, config["nameservers"].clone(), &detail);
    }
    for (i, server) in texts(&config["nameservers"]).enumerate() {
        errors.check(legacy_ip, server, &servers.index(i));
    }
    let searches = path.child("searches");
    let list: Vec<&str> = texts(&config["searches"]).collect();
    if list.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.invalid(searches, config["searches"].clone(), &detail);
    }
    if list.join(" ").len() > SEARCH_CHARACTERS_MAX {
        let detail =
            format!("must not have more than {SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list");
        errors.invalid(searches, config["searches"].clone(), &detail);
    }
    for (i, search) in list.into_iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        errors.check(dns_subdomain_with_underscore, search, &searches.index(i));
    }
    for (i, option) in items(&config["options"]).iter().enumerate() {
        if text(&option["name"]).is_empty() {
            errors.required(path.child("options").index(i), "must not be empty");
        }
    }
}

fn host_users(spec: &Value, path: &Path, errors: &mut Errors) {
    if spec["hostUsers"].as_bool() != Some(false) {
        return;
    }
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if flag(&spec[field]) {
            errors.forbidden(path.child(shown), "when `pod.Spec.HostUsers` is false");
        }
    }
}

fn names(spec: &Value, path: &Path, errors: &mut Errors) {
    let named = |field: &'static str, check: fn(&str) -> Vec<String>, errors: &mut Errors| {
        let value = text(&spec[field]);
        if !value.is_empty() {
            errors.check(check, value, &path.child(field));
        }
    };
    named("serviceAccountName", dns_subdomain, errors);
    named("nodeName", dns_subdomain, errors);
    if let Some(seconds) = optional_int(&spec["activeDeadlineSeconds"]) {
        let field = path.child("activeDeadlineSeconds");
        errors.all(in_range(seconds, 1, i64::from(i32::MAX)), seconds, &field);
    }
    named("hostname", dns_label, errors);
    named("subdomain", dns_label, errors);
    scheduling::tolerations(&spec["tolerations"], &path.child("tolerations"), errors);
    let aliases = path.child("hostAliases");
    for (i, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let item = aliases.index(i);
        errors.check(legacy_ip, text(&alias["ip"]), &item.child("ip"));
        for (j, name) in texts(&alias["hostnames"]).enumerate() {
            errors.check(dns_subdomain, name, &item.child("hostnames").index(j));
        }
    }
    named("priorityClassName", dns_subdomain, errors);
    if let Some(class) = optional_text(&spec["runtimeClassName"]) {
        errors.check(dns_subdomain, class, &path.child("runtimeClassName"));
    }
    if let Some(policy) = optional_text(&spec["preemptionPolicy"]) {
        let policies = ["PreemptLowerPriority", "Never"];
        errors.required_one_of(policy, &policies, &path.child("preemptionPolicy"));
    }
}
