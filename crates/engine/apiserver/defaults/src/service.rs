//! Services and Endpoints.

use serde_json::{Value, json};

use crate::fields::{Fields, is_bare, is_missing, items, object, set_if_empty, set_if_missing, structure, text};

/// How long a client stays with its endpoint: three hours.
const AFFINITY_SECONDS: i64 = 10_800;

/// A Service.
pub fn service(service: &mut Fields) {
    let Some(spec) = structure(service, "spec") else {
        return;
    };
    affinity(spec);
    set_if_empty(spec, "type", "ClusterIP");
    items(spec, "ports").for_each(port);
    let kind = text(spec, "type").to_owned();
    let external = match kind.as_str() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !is_bare(spec, "externalIPs"),
        _ => false,
    };
    if external {
        set_if_empty(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set_if_missing(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_if_missing(spec, "allocateLoadBalancerNodePorts", true);
        let addresses = object(service, "status").and_then(|status| object(status, "loadBalancer"));
        for address in addresses.into_iter().flat_map(|balancer| items(balancer, "ingress")) {
            if !text(address, "ip").is_empty() {
                set_if_missing(address, "ipMode", "VIP");
            }
        }
    }
}

/// Affinity to a client's address has a time limit, and no affinity has no settings.
fn affinity(spec: &mut Fields) {
    set_if_empty(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let unlimited = match spec.get("sessionAffinityConfig") {
                None | Some(Value::Null) => true,
                Some(Value::Object(config)) => match config.get("clientIP") {
                    None | Some(Value::Null) => true,
                    Some(Value::Object(client)) => is_missing(client, "timeoutSeconds"),
                    Some(_) => false,
                },
                Some(_) => false,
            };
            if unlimited {
                let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
                spec.insert("sessionAffinityConfig".to_owned(), config);
            }
        }
        _ => {}
    }
}

/// A port leads to the same port of the pods, unless it says otherwise.
fn port(port: &mut Fields) {
    set_if_empty(port, "protocol", "TCP");
    let open = match port.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => name.is_empty(),
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(_) => false,
    };
    if let Some(number) = port.get("port").filter(|number| open && number.is_number()).cloned() {
        port.insert("targetPort".to_owned(), number);
    }
}

/// An Endpoints.
pub fn endpoints(endpoints: &mut Fields) {
    for subset in items(endpoints, "subsets") {
        for port in items(subset, "ports") {
            set_if_empty(port, "protocol", "TCP");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Value {
        let mut object = json!({"spec": spec});
        apply("", "v1", "services", &mut object);
        object["spec"].take()
    }

    #[test]
    fn by_type() {
        let plain = json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"});
        assert_eq!(service(json!({})), plain);
        let named = json!({"type": "ExternalName", "sessionAffinity": "None"});
        assert_eq!(service(json!({"type": "ExternalName"})), named);
        let node = service(json!({"type": "NodePort", "externalTrafficPolicy": "Local"}));
        assert_eq!(
            (&node["externalTrafficPolicy"], &node["internalTrafficPolicy"]),
            (&json!("Local"), &json!("Cluster"))
        );
        let balancer = service(json!({"type": "LoadBalancer"}));
        assert_eq!(balancer["allocateLoadBalancerNodePorts"], true);
        assert_eq!(balancer["externalTrafficPolicy"], "Cluster");
        let external = service(json!({"externalIPs": ["192.0.2.1"]}));
        assert_eq!(external["externalTrafficPolicy"], "Cluster");
    }

    #[test]
    fn ports_lead_to_themselves() {
        let given =
            json!([{"port": 80}, {"port": 80, "targetPort": "http", "protocol": "UDP"}, {"port": 80, "targetPort": 0}]);
        let expected = json!([
            {"port": 80, "targetPort": 80, "protocol": "TCP"},
            {"port": 80, "targetPort": "http", "protocol": "UDP"},
            {"port": 80, "targetPort": 80, "protocol": "TCP"},
        ]);
        assert_eq!(service(json!({"ports": given}))["ports"], expected);
    }

    #[test]
    fn affinity_has_a_limit() {
        let limited = service(json!({"sessionAffinity": "ClientIP"}));
        assert_eq!(
            limited["sessionAffinityConfig"],
            json!({"clientIP": {"timeoutSeconds": 10800}})
        );
        let own = json!({"clientIP": {"timeoutSeconds": 5}});
        let limited = service(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": own}));
        assert_eq!(limited["sessionAffinityConfig"], own);
        assert!(
            service(json!({"sessionAffinityConfig": own}))
                .get("sessionAffinityConfig")
                .is_none()
        );
    }

    #[test]
    fn addresses_of_a_balancer_have_a_mode() {
        let mut object = json!({
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "h"}]}},
        });
        apply("", "v1", "services", &mut object);
        let expected = json!([{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "h"}]);
        assert_eq!(object["status"]["loadBalancer"]["ingress"], expected);
    }

    #[test]
    fn endpoints_use_tcp() {
        let mut object = json!({"subsets": [{"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}, 3]});
        apply("", "v1", "endpoints", &mut object);
        let ports = json!([{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "UDP"}]);
        assert_eq!(object["subsets"][0]["ports"], ports);
    }
}
