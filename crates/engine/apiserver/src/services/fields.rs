//! The fields of a Service that depend on one another: what follows from the object before, what its type makes void.

use serde_json::{Map, Value, json};

pub(super) const NONE: &str = "None";

pub(super) fn kind(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    service["spec"][field].as_str().unwrap_or_default()
}

pub(super) fn list<'a>(service: &'a Value, field: &str) -> Vec<&'a str> {
    let items = service["spec"][field].as_array();
    items.into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn spec(service: &mut Value) -> Option<&mut Map<String, Value>> {
    service.get_mut("spec").and_then(Value::as_object_mut)
}

pub(super) fn set(service: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(spec) = spec(service) {
        spec.insert(field.into(), value.into());
    }
}

fn remove(service: &mut Value, field: &str) {
    if let Some(spec) = spec(service) {
        spec.remove(field);
    }
}

/// Whether Services of this type have an address of their own.
pub(super) fn needs_cluster_ip(service: &Value) -> bool {
    matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer")
}

pub(super) fn needs_node_port(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => allocates_node_ports(service),
        _ => false,
    }
}

/// Whether ports that name no node port get one.
pub(super) fn allocates_node_ports(service: &Value) -> bool {
    kind(service) != "LoadBalancer" || service["spec"]["allocateLoadBalancerNodePorts"] != false
}

pub(super) fn needs_health_check_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, "externalTrafficPolicy") == "Local"
}

fn needs_external_traffic_policy(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
        || kind(service) == "ClusterIP" && !list(service, "externalIPs").is_empty()
}

pub(super) fn is_headless(service: &Value) -> bool {
    text(service, "clusterIP") == NONE
}

pub(super) fn has_selector(service: &Value) -> bool {
    service["spec"]["selector"].as_object().is_some_and(|s| !s.is_empty())
}

pub(super) fn node_port(port: &Value) -> u16 {
    port["nodePort"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(0)
}

pub(super) fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn health_check_port(service: &Value) -> u16 {
    service["spec"]["healthCheckNodePort"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(0)
}

/// All numbers that a Service has of the range of node ports.
pub(super) fn node_ports(service: &Value) -> Vec<u16> {
    let mut all: Vec<u16> = ports(service).iter().map(node_port).collect();
    all.push(health_check_port(service));
    all.retain(|port| *port != 0);
    all.sort_unstable();
    all.dedup();
    all
}

/// The addresses that a Service has of the service range.
pub(super) fn cluster_ips(service: &Value) -> Vec<&str> {
    let mut all = list(service, "clusterIPs");
    all.retain(|ip| !ip.is_empty() && *ip != NONE);
    all
}

/// What was allocated before and is not named now stays.
pub(super) fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if text(new, "clusterIP").is_empty() && !text(old, "clusterIP").is_empty() {
            set(new, "clusterIP", old["spec"]["clusterIP"].clone());
        }
        if list(new, "clusterIPs").is_empty()
            && new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
            && !list(old, "clusterIPs").is_empty()
        {
            set(new, "clusterIPs", old["spec"]["clusterIPs"].clone());
        }
    }
    if needs_node_port(old) && needs_node_port(new) {
        keep_node_ports(new, old);
    }
    if needs_health_check_port(old) && needs_health_check_port(new) && health_check_port(new) == 0 {
        set(new, "healthCheckNodePort", health_check_port(old));
    }
}

/// Ports of the same name keep their node port, unless another port asks for it.
fn keep_node_ports(new: &mut Value, old: &Value) {
    let before: Vec<u16> = ports(old).iter().map(node_port).filter(|p| *p != 0).collect();
    let mut used: Vec<u16> = ports(new)
        .iter()
        .map(node_port)
        .filter(|port| before.contains(port))
        .collect();
    let named = |name: &Value| {
        let same = |port: &&Value| port["name"].as_str().unwrap_or_default() == name.as_str().unwrap_or_default();
        ports(old).iter().rev().find(same).map(node_port)
    };
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let kept = named(&port["name"]).filter(|kept| *kept != 0 && !used.contains(kept));
        if let Some(kept) = kept.filter(|_| node_port(port) == 0 && port.is_object()) {
            port["nodePort"] = kept.into();
            used.push(kept);
        }
    }
}

/// `clusterIP` and the first of `clusterIPs` are one field under two names: who changes one means both.
pub(super) fn normalise_cluster_ips(new: &mut Value, old: Option<&Value>) {
    let single = text(new, "clusterIP").to_owned();
    let Some(old) = old else {
        if !single.is_empty() && list(new, "clusterIPs").is_empty() {
            set(new, "clusterIPs", json!([single]));
        }
        return;
    };
    let unchanged = list(new, "clusterIPs") == list(old, "clusterIPs");
    let before = text(old, "clusterIP");
    if !before.is_empty() && single.is_empty() && unchanged {
        remove(new, "clusterIPs");
    } else if before != single && (unchanged || list(new, "clusterIPs").is_empty()) && !single.is_empty() {
        set(new, "clusterIPs", json!([single]));
    }
}

/// What the new type has no use for is dropped, if it was there before and the client left it as it was.
pub(super) fn drop_void(new: &mut Value, old: &Value) {
    let same = |new: &Value, field: &str| new["spec"][field] == old["spec"][field];
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if same(new, "clusterIP") && same(new, "clusterIPs") {
            remove(new, "clusterIP");
            remove(new, "clusterIPs");
        }
        for field in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if same(new, field) {
                remove(new, field);
            }
        }
    }
    if needs_node_port(old) && !needs_node_port(new) {
        let before: Vec<u16> = ports(old).iter().map(node_port).collect();
        if before == ports(new).iter().map(node_port).collect::<Vec<_>>() {
            for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
                port.as_object_mut().and_then(|port| port.remove("nodePort"));
            }
        }
    }
    if needs_health_check_port(old) && !needs_health_check_port(new) && same(new, "healthCheckNodePort") {
        remove(new, "healthCheckNodePort");
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same(new, field) {
                remove(new, field);
            }
        }
    }
    if needs_external_traffic_policy(old) && !needs_external_traffic_policy(new) && same(new, "externalTrafficPolicy") {
        remove(new, "externalTrafficPolicy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn one_field_under_two_names() {
        let mut new = service(json!({"clusterIP": "10.0.0.1"}));
        normalise_cluster_ips(&mut new, None);
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.1"]));
        let old = new.clone();
        new["spec"]["clusterIP"] = "10.0.0.2".into();
        normalise_cluster_ips(&mut new, Some(&old));
        assert_eq!(new["spec"]["clusterIPs"], json!(["10.0.0.2"]));
        let mut cleared = service(json!({"clusterIPs": ["10.0.0.1"]}));
        normalise_cluster_ips(&mut cleared, Some(&old));
        assert_eq!(cleared, service(json!({})));
    }

    #[test]
    fn what_was_allocated_stays() {
        let old = service(
            json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ports": [{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]}),
        );
        let mut new = service(json!({"type": "NodePort",
            "ports": [{"name": "b", "port": 2}, {"name": "c", "port": 3, "nodePort": 30001}, {"name": "a", "port": 1}]}));
        keep_allocated(&mut new, &old);
        assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
        let kept: Vec<u16> = ports(&new).iter().map(node_port).collect();
        assert_eq!(kept, [30002, 30001, 0]);
        assert_eq!(node_ports(&new), [30001, 30002]);
    }

    #[test]
    fn a_type_without_address_drops_it() {
        let old = service(
            json!({"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster", "ports": [{"port": 1, "nodePort": 30001}]}),
        );
        let mut new = old.clone();
        new["spec"]["type"] = "ExternalName".into();
        drop_void(&mut new, &old);
        assert_eq!(new, service(json!({"type": "ExternalName", "ports": [{"port": 1}]})));
    }
}
