//! Network policies, ingress classes and endpoint slices.

use crate::fields::{Fields, is_bare, items, object, set_if_missing, structure};

/// A NetworkPolicy: it is about what comes in, and about what goes out if it says anything of that.
pub fn network_policy(policy: &mut Fields) {
    let Some(spec) = structure(policy, "spec") else {
        return;
    };
    if is_bare(spec, "policyTypes") {
        let mut types = vec!["Ingress"];
        if !is_bare(spec, "egress") {
            types.push("Egress");
        }
        spec.insert("policyTypes".to_owned(), types.into());
    }
    for direction in ["ingress", "egress"] {
        for rule in items(spec, direction) {
            for port in items(rule, "ports") {
                set_if_missing(port, "protocol", "TCP");
            }
        }
    }
}

/// An IngressClass.
pub fn ingress_class(class: &mut Fields) {
    if let Some(parameters) = object(class, "spec").and_then(|spec| object(spec, "parameters")) {
        set_if_missing(parameters, "scope", "Cluster");
    }
}

/// An EndpointSlice.
pub fn endpoint_slice(slice: &mut Fields) {
    for port in items(slice, "ports") {
        set_if_missing(port, "name", "");
        set_if_missing(port, "protocol", "TCP");
    }
}

#[cfg(test)]
mod tests {
    use crate::apply;
    use serde_json::{Value, json};

    fn policy(spec: Value) -> Value {
        let mut object = json!({"spec": spec});
        apply("networking.k8s.io", "v1", "networkpolicies", &mut object);
        object["spec"].take()
    }

    #[test]
    fn policies_know_their_directions() {
        assert_eq!(policy(json!({})), json!({"policyTypes": ["Ingress"]}));
        let both = policy(json!({"egress": [{"ports": [{"port": 53}]}]}));
        let expected =
            json!({"egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}], "policyTypes": ["Ingress", "Egress"]});
        assert_eq!(both, expected);
        assert_eq!(
            policy(json!({"policyTypes": ["Egress"]})),
            json!({"policyTypes": ["Egress"]})
        );
    }

    #[test]
    fn classes_and_slices() {
        let mut class = json!({"spec": {"parameters": {"kind": "K"}}});
        apply("networking.k8s.io", "v1", "ingressclasses", &mut class);
        assert_eq!(class["spec"]["parameters"]["scope"], "Cluster");
        let mut slice = json!({"ports": [{"port": 80}]});
        apply("discovery.k8s.io", "v1", "endpointslices", &mut slice);
        assert_eq!(slice["ports"], json!([{"port": 80, "name": "", "protocol": "TCP"}]));
    }
}
