//! Services, endpoints, ingresses and policies of the network.

use engenho_validation::get::{given, is_empty, items, text, texts};
use serde_json::Value;

use crate::addresses;

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// A Service.
pub(crate) fn service(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = &service["spec"];
    if given(&service["metadata"]["annotations"][HINTS]) {
        warnings.push(format!(
            "annotation {HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"
        ));
    }
    let (kind, cluster_ip) = (text(&spec["type"]), text(&spec["clusterIP"]));
    if !matches!(cluster_ip, "" | "None") {
        list(spec, "clusterIPs", addresses::ip, &mut warnings);
    }
    let headless = kind == "ClusterIP" && cluster_ip == "None";
    if headless {
        let pinned = !matches!(text(&spec["sessionAffinity"]), "" | "None");
        for (field, set) in [
            ("loadBalancerIP", !is_empty(&spec["loadBalancerIP"])),
            ("externalIPs", !is_empty(&spec["externalIPs"])),
            ("SessionAffinity", pinned),
        ] {
            if set {
                warnings.push(format!("spec.{field} is ignored for headless services"));
            }
        }
    }
    list(spec, "externalIPs", addresses::ip, &mut warnings);
    addresses::ip("spec.loadBalancerIP", text(&spec["loadBalancerIP"]), &mut warnings);
    list(spec, "loadBalancerSourceRanges", addresses::cidr, &mut warnings);
    let is_name = kind == "ExternalName";
    if is_name && !is_empty(&spec["externalIPs"]) {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !is_name && !is_empty(&spec["externalName"]) {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    warnings
}

fn list(spec: &Value, field: &str, check: fn(String, &str, &mut Vec<String>), warnings: &mut Vec<String>) {
    for (i, value) in texts(&spec[field]).enumerate() {
        check(format!("spec.{field}[{i}]"), value, warnings);
    }
}

/// The status of a Service or an Ingress.
pub(crate) fn load_balancer_status(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let points = items(&object["status"]["loadBalancer"]["ingress"]);
    for (i, point) in points.iter().enumerate() {
        let at = format_args!("status.loadBalancer.ingress[{i}]");
        addresses::ip(at, text(&point["ip"]), &mut warnings);
    }
    warnings
}

/// Endpoints, unless the controller wrote them, which takes care of what it writes.
pub(crate) fn endpoints(endpoints: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if text(&endpoints["metadata"]["labels"][ENDPOINTS_MANAGED_BY]) == "endpoint-controller" {
        return warnings;
    }
    for (i, subset) in items(&endpoints["subsets"]).iter().enumerate() {
        for list in ["addresses", "notReadyAddresses"] {
            for (j, address) in items(&subset[list]).iter().enumerate() {
                let at = format_args!("subsets[{i}].{list}[{j}].ip");
                addresses::ip(at, text(&address["ip"]), &mut warnings);
            }
        }
    }
    warnings
}

/// A new EndpointSlice.
pub(crate) fn create_slice(slice: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if text(&slice["addressType"]) == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".into());
    }
    warnings.extend(slice_addresses(slice));
    warnings
}

/// The addresses of an EndpointSlice, unless a controller wrote them.
pub(crate) fn slice_addresses(slice: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let manager = text(&slice["metadata"]["labels"][SLICE_MANAGED_BY]);
    if matches!(
        manager,
        "endpointslice-controller.k8s.io" | "endpointslicemirroring-controller.k8s.io"
    ) {
        return warnings;
    }
    for (i, endpoint) in items(&slice["endpoints"]).iter().enumerate() {
        for (j, address) in texts(&endpoint["addresses"]).enumerate() {
            addresses::ip(format_args!("endpoints[{i}].addresses[{j}]"), address, &mut warnings);
        }
    }
    warnings
}

/// A new Ingress.
pub(crate) fn create_ingress(ingress: &Value) -> Vec<String> {
    let annotated = given(&ingress["metadata"]["annotations"][INGRESS_CLASS]);
    if annotated && !given(&ingress["spec"]["ingressClassName"]) {
        vec![format!(
            "annotation \"{INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
        )]
    } else {
        Vec::new()
    }
}

/// A NetworkPolicy.
pub(crate) fn policy(policy: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, rule) in items(&policy["spec"][direction]).iter().enumerate() {
            for (j, peer) in items(&rule[peers]).iter().enumerate() {
                let at = format!("spec.{direction}[{i}].{peers}[{j}].ipBlock");
                let block = &peer["ipBlock"];
                addresses::cidr(format_args!("{at}.cidr"), text(&block["cidr"]), &mut warnings);
                for (k, except) in texts(&block["except"]).enumerate() {
                    addresses::cidr(format_args!("{at}.except[{k}]"), except, &mut warnings);
                }
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FUTURE: &str = "will be considered invalid in a future Kubernetes release";

    #[test]
    fn services() {
        let of = |spec: Value| service(&json!({"spec": spec}));
        assert!(of(json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "None"})).is_empty());
        assert!(of(json!({"type": "ExternalName", "externalName": "a.example"})).is_empty());
        assert_eq!(
            of(json!({
                "type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "ClientIP",
                "loadBalancerIP": "192.0.02.1", "externalIPs": ["192.0.2.1"], "externalName": "a.example",
            })),
            [
                "spec.loadBalancerIP is ignored for headless services",
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
                &format!("spec.loadBalancerIP: non-standard IP address \"192.0.02.1\" {FUTURE}: use \"192.0.2.1\""),
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            ]
        );
        assert_eq!(
            of(json!({
                "type": "LoadBalancer", "clusterIP": "10.0.0.010", "clusterIPs": ["10.0.0.010", "FD00::1"],
                "externalIPs": ["192.0.2.1", "192.000.2.1"], "loadBalancerSourceRanges": ["10.0.0.1/8"],
            })),
            [
                format!("spec.clusterIPs[0]: non-standard IP address \"10.0.0.010\" {FUTURE}: use \"10.0.0.10\""),
                "spec.clusterIPs[1]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")".into(),
                format!("spec.externalIPs[1]: non-standard IP address \"192.000.2.1\" {FUTURE}: use \"192.0.2.1\""),
                "spec.loadBalancerSourceRanges[0]: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)".into(),
            ]
        );
        let hinted = json!({"metadata": {"annotations": {HINTS: "Auto"}}, "spec": {"type": "ExternalName", "externalIPs": ["192.0.2.1"]}});
        assert_eq!(
            service(&hinted),
            [
                "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
                "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
            ]
        );
    }

    #[test]
    fn addresses_of_backends() {
        let future = |at: &str| format!("{at}: non-standard IP address \"192.0.02.1\" {FUTURE}: use \"192.0.2.1\"");
        let address = json!([{"ip": "192.0.02.1"}]);
        let object = json!({"subsets": [{"addresses": address, "notReadyAddresses": address}]});
        assert_eq!(
            endpoints(&object),
            [
                future("subsets[0].addresses[0].ip"),
                future("subsets[0].notReadyAddresses[0].ip")
            ]
        );
        let mut managed = object;
        managed["metadata"] = json!({"labels": {ENDPOINTS_MANAGED_BY: "endpoint-controller"}});
        assert!(endpoints(&managed).is_empty());
        let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.2", "192.0.02.1"]}]});
        assert_eq!(create_slice(&slice), [future("endpoints[0].addresses[1]")]);
        let names = json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]});
        assert_eq!(
            create_slice(&names),
            ["spec.addressType: FQDN endpoints are deprecated"]
        );
        let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "a"}, {"ip": "192.0.02.1"}]}}});
        assert_eq!(
            load_balancer_status(&status),
            [future("status.loadBalancer.ingress[1]")]
        );
    }

    #[test]
    fn ingresses_and_policies() {
        let ingress =
            |spec: Value| create_ingress(&json!({"metadata": {"annotations": {INGRESS_CLASS: "x"}}, "spec": spec}));
        assert_eq!(
            ingress(json!({})),
            ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]
        );
        assert!(ingress(json!({"ingressClassName": "x"})).is_empty());
        let block = json!({"ipBlock": {"cidr": "10.0.0.0/08", "except": ["10.1.0.0/16", "10.2.0.1/16"]}});
        let object = json!({"spec": {"ingress": [{"from": [{}, block]}], "egress": [{"to": [block]}]}});
        let expected = |at: &str| {
            [
                format!("{at}.cidr: non-standard CIDR value \"10.0.0.0/08\" {FUTURE}: use \"10.0.0.0/8\""),
                format!(
                    "{at}.except[1]: CIDR value \"10.2.0.1/16\" is ambiguous in this context (should be \"10.2.0.0/16\" or \"10.2.0.1/32\"?)"
                ),
            ]
        };
        let both = [
            expected("spec.ingress[0].from[1].ipBlock"),
            expected("spec.egress[0].to[0].ipBlock"),
        ];
        assert_eq!(policy(&object), both.concat());
    }
}
