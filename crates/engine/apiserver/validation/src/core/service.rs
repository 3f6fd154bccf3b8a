//! Services.

use std::collections::HashSet;

use serde_json::Value;

use crate::core::pod::containers::PROTOCOLS;
use crate::core::pod::probes::port as port_or_name;
use crate::core::{endpoints, service_ips};
use crate::errors::Errors;
use crate::get::{given, int, items, optional_int, optional_text, text, texts};
use crate::names::{dns_label, dns_subdomain, qualified};
use crate::scalars::addresses::{legacy_cidr, legacy_ip, parse_legacy_ip};
use crate::scalars::formats::port_number;
use crate::{FieldError, Path, labels};

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const AFFINITY_SECONDS_MAX: i64 = 86400;
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// Whether a service has no address of its own.
pub(crate) fn is_headless(service: &Value) -> bool {
    let addresses = items(&service["spec"]["clusterIPs"]);
    addresses.len() == 1 && text(&addresses[0]) == "None"
}

fn is_load_balancer(service: &Value) -> bool {
    text(&service["spec"]["type"]) == "LoadBalancer"
}

/// A new service.
pub(crate) fn create(service: &Value) -> Vec<FieldError> {
    Errors::of(|errors| whole(service, errors))
}

/// A service that replaces another one.
pub(crate) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        service_ips::addresses_kept(new, old, errors);
        service_ips::families_kept(new, old, errors);
        let path = Path::Root.child("spec");
        let class = "loadBalancerClass";
        if is_load_balancer(old) && is_load_balancer(new) && new["spec"][class] != old["spec"][class] {
            errors.invalid(path.child(class), new["spec"][class].clone(), "may not change once set");
        }
        load_balancer_class(new, &path, errors);
        let health = "healthCheckNodePort";
        if needs_health_check(old) && needs_health_check(new) && int(&new["spec"][health]) != int(&old["spec"][health])
        {
            errors.forbidden(path.child(health), "field is immutable");
        }
        whole(new, errors);
    })
}

fn whole(service: &Value, errors: &mut Errors) {
    let (spec, path, metadata) = (&service["spec"], Path::Root.child("spec"), Path::Root.child("metadata"));
    let headless = is_headless(service);
    let annotations = &service["metadata"]["annotations"];
    let (hints, mode) = (
        optional_text(&annotations[TOPOLOGY_HINTS]),
        optional_text(&annotations[TOPOLOGY_MODE]),
    );
    if let (Some(hints), Some(mode)) = (hints, mode)
        && hints != mode
    {
        let detail = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        errors.invalid(metadata.child("annotations").key(TOPOLOGY_MODE), mode, &detail);
    }
    let kind = text(&spec["type"]);
    if items(&spec["ports"]).is_empty() && !headless && kind != "ExternalName" {
        errors.required(path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(path.child("clusterIPs").index(0), "None", &detail);
        }
        "ExternalName" => external_name(spec, &path, errors),
        _ => {}
    }
    ports(&spec["ports"], &path.child("ports"), errors);
    errors.extend(labels::labels(&spec["selector"], &path.child("selector")));
    session_affinity(spec, &path, errors);
    service_ips::related(service, errors);
    for (i, ip) in texts(&spec["externalIPs"]).enumerate() {
        let list = path.child("externalIPs");
        let before = errors.count();
        errors.check(legacy_ip, ip, &list.index(i));
        if errors.count() == before {
            endpoints::not_special(ip, &list.index(i), errors);
        }
    }
    errors.required_one_of(kind, &TYPES, &path.child("type"));
    port_numbers(spec, kind, &path.child("ports"), errors);
    source_ranges(service, &path, &metadata, errors);
    let allocate = "allocateLoadBalancerNodePorts";
    if given(&spec[allocate]) && !is_load_balancer(service) {
        errors.forbidden(path.child(allocate), ONLY_LOAD_BALANCER);
    }
    if is_load_balancer(service) && !given(&spec[allocate]) {
        errors.required(allocate, "");
    }
    load_balancer_class(service, &path, errors);
    external_traffic(service, &path, errors);
    internal_traffic(spec, kind, &path.child("internalTrafficPolicy"), errors);
    if let Some(distribution) = optional_text(&spec["trafficDistribution"]) {
        let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
        errors.one_of(distribution, &known, &path.child("trafficDistribution"));
    }
}

fn external_name(spec: &Value, path: &Path, errors: &mut Errors) {
    let detail = "may not be set for ExternalName services";
    for list in ["clusterIPs", "ipFamilies"] {
        if !items(&spec[list]).is_empty() {
            errors.forbidden(path.child(list), detail);
        }
    }
    if given(&spec["ipFamilyPolicy"]) {
        errors.forbidden(path.child("ipFamilyPolicy"), detail);
    }
    let name = text(&spec["externalName"]);
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.required(path.child("externalName"), ""),
        name => errors.check(dns_subdomain, name, &path.child("externalName")),
    }
}

fn ports(list: &Value, path: &Path, errors: &mut Errors) {
    let several = items(list).len() > 1;
    let mut names = HashSet::new();
    for (i, port) in items(list).iter().enumerate() {
        let (item, name) = (path.index(i), text(&port["name"]));
        if !name.is_empty() {
            errors.check(dns_label, name, &item.child("name"));
            if !names.insert(name) {
                errors.duplicate(item.child("name"), name);
            }
        } else if several {
            errors.required(item.child("name"), "");
        }
        errors.all(port_number(int(&port["port"])), int(&port["port"]), &item.child("port"));
        errors.required_one_of(text(&port["protocol"]), &PROTOCOLS, &item.child("protocol"));
        port_or_name(&port["targetPort"], &item.child("targetPort"), errors);
        if let Some(protocol) = optional_text(&port["appProtocol"]) {
            errors.check(qualified, protocol, &item.child("appProtocol"));
        }
    }
}

fn port_numbers(spec: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let ports = items(&spec["ports"]);
    let node_ports = || ports.iter().enumerate().filter(|(_, p)| int(&p["nodePort"]) != 0);
    if kind == "ClusterIP" {
        for (i, _) in node_ports() {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(path.index(i).child("nodePort"), detail);
        }
    }
    let mut seen = HashSet::new();
    for (i, port) in node_ports() {
        let number = int(&port["nodePort"]);
        if !seen.insert((text(&port["protocol"]), number)) {
            errors.duplicate(path.index(i).child("nodePort"), number);
        }
    }
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let (protocol, number) = (text(&port["protocol"]), int(&port["port"]));
        if !seen.insert((protocol, number)) {
            let key = serde_json::json!({"protocol": protocol, "port": number});
            let printed = crate::shapes::compact("ServicePort", &key);
            errors.push(FieldError::duplicate_printed(path.index(i), &printed));
        }
    }
}

fn session_affinity(spec: &Value, path: &Path, errors: &mut Errors) {
    let (affinity, config) = (text(&spec["sessionAffinity"]), &spec["sessionAffinityConfig"]);
    let field = path.child("sessionAffinityConfig");
    errors.required_one_of(affinity, &["ClientIP", "None"], &path.child("sessionAffinity"));
    if affinity == "None" && given(config) {
        errors.forbidden(field, "must not be set when session affinity is None");
    }
    if affinity != "ClientIP" {
        return;
    }
    let detail = "when session affinity type is ClientIP";
    let client = field.child("clientIP");
    if !given(config) {
        errors.required(field, detail);
    } else if !given(&config["clientIP"]) {
        errors.required(client, detail);
    } else {
        match optional_int(&config["clientIP"]["timeoutSeconds"]) {
            None => errors.required(client.child("timeoutSeconds"), detail),
            Some(seconds) if seconds <= 0 || seconds > AFFINITY_SECONDS_MAX => {
                let detail = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errors.invalid(client.child("timeoutSeconds"), seconds, &detail);
            }
            Some(_) => {}
        }
    }
}

fn source_ranges(service: &Value, path: &Path, metadata: &Path, errors: &mut Errors) {
    let ranges = items(&service["spec"]["loadBalancerSourceRanges"]);
    let annotations = metadata.child("annotations");
    if !ranges.is_empty() {
        let field = path.child("LoadBalancerSourceRanges");
        if !is_load_balancer(service) {
            errors.forbidden(field, ONLY_LOAD_BALANCER);
        }
        for (i, range) in ranges.iter().enumerate() {
            errors.check(legacy_cidr, text(range).trim(), &field.index(i));
        }
    } else if let Some(value) = optional_text(&service["metadata"]["annotations"][SOURCE_RANGES]) {
        let field = annotations.key(SOURCE_RANGES);
        if !is_load_balancer(service) {
            errors.forbidden(field, ONLY_LOAD_BALANCER);
        }
        let ranges = value.trim();
        for range in ranges.split(',').filter(|_| !ranges.is_empty()) {
            errors.check(legacy_cidr, range.trim(), &field);
        }
    }
}

fn load_balancer_class(service: &Value, path: &Path, errors: &mut Errors) {
    let (class, field) = (&service["spec"]["loadBalancerClass"], path.child("loadBalancerClass"));
    match optional_text(class) {
        None => {}
        Some(class) if is_load_balancer(service) => errors.check(qualified, class, &field),
        Some(_) => errors.forbidden(field, ONLY_LOAD_BALANCER),
    }
}

/// Whether the service can be reached from outside the cluster.
fn is_external(service: &Value) -> bool {
    let spec = &service["spec"];
    let kind = text(&spec["type"]);
    matches!(kind, "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && !items(&spec["externalIPs"]).is_empty())
}

fn needs_health_check(service: &Value) -> bool {
    is_load_balancer(service) && text(&service["spec"]["externalTrafficPolicy"]) == "Local"
}

fn external_traffic(service: &Value, path: &Path, errors: &mut Errors) {
    let (policy, field) = (
        text(&service["spec"]["externalTrafficPolicy"]),
        path.child("externalTrafficPolicy"),
    );
    if is_external(service) {
        errors.required_one_of(policy, &["Cluster", "Local"], &field);
    } else if !policy.is_empty() {
        errors.invalid(field, policy, "may only be set for externally-accessible services");
    }
    let (port, field) = (
        int(&service["spec"]["healthCheckNodePort"]),
        path.child("healthCheckNodePort"),
    );
    if needs_health_check(service) {
        match port {
            0 => errors.required(field, ""),
            port => errors.all(port_number(port), port, &field),
        }
    } else if port != 0 {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(field, port, detail);
    }
}

fn internal_traffic(spec: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    match optional_text(&spec["internalTrafficPolicy"]) {
        None if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") => errors.required(path, ""),
        None => {}
        Some(policy) => errors.one_of(policy, &["Cluster", "Local"], path),
    }
}

/// The status of a service.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Vec<FieldError> {
    let status = Path::Root.child("status");
    let load_balancer = status.child("loadBalancer");
    Errors::of(|errors| {
        let list = &new["status"]["loadBalancer"]["ingress"];
        let path = load_balancer.child("ingress");
        if !is_load_balancer(new) && !items(list).is_empty() {
            errors.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'");
        } else {
            ingress(list, &path, errors);
        }
    })
}

/// Where a load balancer takes requests.
fn ingress(list: &Value, path: &Path, errors: &mut Errors) {
    for (i, ingress) in items(list).iter().enumerate() {
        let item = path.index(i);
        let (ip, name) = (text(&ingress["ip"]), text(&ingress["hostname"]));
        if !ip.is_empty() {
            errors.check(legacy_ip, ip, &item.child("ip"));
        }
        match optional_text(&ingress["ipMode"]) {
            None if !ip.is_empty() => errors.required(item.child("ipMode"), "must be specified when `ip` is set"),
            None => {}
            Some(_) if ip.is_empty() => {
                errors.forbidden(item.child("ipMode"), "may not be specified when `ip` is not set");
            }
            Some(mode) => errors.one_of(mode, &["Proxy", "VIP"], &item.child("ipMode")),
        }
        if !name.is_empty() {
            errors.check(dns_subdomain, name, &item.child("hostname"));
            if parse_legacy_ip(name).is_some() {
                let detail = "must be a DNS name, not an IP address";
                errors.invalid(item.child("hostname"), name, detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: Value) -> Value {
        let mut whole = json!({
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "sessionAffinity": "None", "type": "ClusterIP",
            "internalTrafficPolicy": "Cluster", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        });
        if let (Value::Object(whole), Value::Object(spec)) = (&mut whole, spec) {
            whole.extend(spec);
        }
        json!({"metadata": {"name": "s"}, "spec": whole})
    }

    fn fields(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn types_go_with_their_fields() {
        assert!(create(&service(json!({}))).is_empty());
        let external = service(json!({"type": "ExternalName", "externalName": "a.b."}));
        assert_eq!(fields(create(&external)), ["spec.clusterIPs"]);
        let node_port =
            service(json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30000}]}));
        assert_eq!(fields(create(&node_port)), ["spec.ports[0].nodePort"]);
        let range = service(json!({"loadBalancerSourceRanges": ["x"]}));
        let expected = ["spec.LoadBalancerSourceRanges", "spec.LoadBalancerSourceRanges[0]"];
        assert_eq!(fields(create(&range)), expected);
    }

    #[test]
    fn addresses_stay() {
        let moved = service(json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}));
        let errors = update(&moved, &service(json!({})));
        assert_eq!(fields(errors), ["spec.clusterIPs[0]"]);
    }
}
