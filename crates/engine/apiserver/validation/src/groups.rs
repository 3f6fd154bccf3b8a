//! Which rules the kinds of all groups beside core, apps and batch have.

use serde_json::Value;

use crate::FieldError;
use crate::{
    admissionregistration as admission, apiextensions as crd, apiregistration, authorization, autoscaling,
    certificates as csr, coordination, discovery, events, flowcontrol as flow, networking as net, node, policy, rbac,
    resource, scheduling, storage,
};

type Create = fn(&Value) -> Vec<FieldError>;
type Update = fn(&Value, &Value) -> Vec<FieldError>;

/// Rules for objects that are new.
pub(crate) fn create(group: &str, plural: &str) -> Option<Create> {
    let rules: Create = match (group, plural) {
        ("networking.k8s.io", "ingresses") => net::ingress::create,
        ("networking.k8s.io", "ingressclasses") => net::ingress_class::create,
        ("networking.k8s.io", "networkpolicies") => net::policy::create,
        ("networking.k8s.io", "ipaddresses") => net::addresses::create_ip_address,
        ("networking.k8s.io", "servicecidrs") => net::addresses::create_service_cidr,
        ("rbac.authorization.k8s.io", "roles") => |object| rbac::create("roles", object),
        ("rbac.authorization.k8s.io", "clusterroles") => |object| rbac::create("clusterroles", object),
        ("rbac.authorization.k8s.io", "rolebindings") => |object| rbac::create("rolebindings", object),
        ("rbac.authorization.k8s.io", "clusterrolebindings") => |object| rbac::create("clusterrolebindings", object),
        ("storage.k8s.io", "storageclasses") => storage::class::create,
        ("storage.k8s.io", "volumeattributesclasses") => storage::class::create_attributes,
        ("storage.k8s.io", "volumeattachments") => storage::attachment::create,
        ("storage.k8s.io", "csidrivers") => storage::csi::create_driver,
        ("storage.k8s.io", "csinodes") => storage::csi::create_node,
        ("storage.k8s.io", "csistoragecapacities") => storage::csi::create_capacity,
        ("policy", "poddisruptionbudgets") => policy::create,
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::create,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations" | "mutatingwebhookconfigurations") => {
            admission::webhooks::create
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => admission::policies::create,
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => admission::policies::create_binding,
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd::create,
        ("apiregistration.k8s.io", "apiservices") => apiregistration::create,
        ("certificates.k8s.io", "certificatesigningrequests") => csr::create,
        ("coordination.k8s.io", "leases") => coordination::create,
        ("discovery.k8s.io", "endpointslices") => discovery::create,
        ("events.k8s.io", "events") => events::create,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flow::create_schema,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => flow::create_level,
        ("node.k8s.io", "runtimeclasses") => node::create,
        ("scheduling.k8s.io", "priorityclasses") => scheduling::create,
        ("resource.k8s.io", "deviceclasses") => resource::classes::create,
        ("resource.k8s.io", "resourceclaims") => resource::claims::create,
        ("resource.k8s.io", "resourceclaimtemplates") => resource::claims::create_template,
        ("resource.k8s.io", "resourceslices") => resource::slices::create,
        ("authorization.k8s.io", "selfsubjectaccessreviews") => authorization::create_self_access,
        ("authorization.k8s.io", "subjectaccessreviews") => authorization::create_access,
        ("authorization.k8s.io", "localsubjectaccessreviews") => authorization::create_local_access,
        _ => return None,
    };
    Some(rules)
}

/// Rules for objects that replace others.
pub(crate) fn update(group: &str, plural: &str) -> Option<Update> {
    let rules: Update = match (group, plural) {
        ("networking.k8s.io", "ingresses") => net::ingress::update,
        ("networking.k8s.io", "ingressclasses") => net::ingress_class::update,
        ("networking.k8s.io", "networkpolicies") => net::policy::update,
        ("networking.k8s.io", "ipaddresses") => net::addresses::update_ip_address,
        ("networking.k8s.io", "servicecidrs") => net::addresses::update_service_cidr,
        ("rbac.authorization.k8s.io", "roles") => |new, old| rbac::update("roles", new, old),
        ("rbac.authorization.k8s.io", "clusterroles") => |new, old| rbac::update("clusterroles", new, old),
        ("rbac.authorization.k8s.io", "rolebindings") => |new, old| rbac::update("rolebindings", new, old),
        ("rbac.authorization.k8s.io", "clusterrolebindings") => {
            |new, old| rbac::update("clusterrolebindings", new, old)
        }
        ("storage.k8s.io", "storageclasses") => storage::class::update,
        ("storage.k8s.io", "volumeattributesclasses") => storage::class::update_attributes,
        ("storage.k8s.io", "volumeattachments") => storage::attachment::update,
        ("storage.k8s.io", "csidrivers") => storage::csi::update_driver,
        ("storage.k8s.io", "csinodes") => storage::csi::update_node,
        ("storage.k8s.io", "csistoragecapacities") => storage::csi::update_capacity,
        ("policy", "poddisruptionbudgets") => policy::update,
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::update,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations" | "mutatingwebhookconfigurations") => {
            admission::webhooks::update
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => admission::policies::update,
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => admission::policies::update_binding,
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd::update,
        ("apiregistration.k8s.io", "apiservices") => apiregistration::update,
        ("certificates.k8s.io", "certificatesigningrequests") => csr::update,
        ("coordination.k8s.io", "leases") => coordination::update,
        ("discovery.k8s.io", "endpointslices") => discovery::update,
        ("events.k8s.io", "events") => events::update,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flow::update_schema,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => flow::update_level,
        ("node.k8s.io", "runtimeclasses") => node::update,
        ("scheduling.k8s.io", "priorityclasses") => scheduling::update,
        ("resource.k8s.io", "deviceclasses") => resource::classes::update,
        ("resource.k8s.io", "resourceclaims") => resource::claims::update,
        ("resource.k8s.io", "resourceclaimtemplates") => resource::claims::update_template,
        ("resource.k8s.io", "resourceslices") => resource::slices::update,
        _ => return None,
    };
    Some(rules)
}

/// Rules for objects that replace others through a subresource.
pub(crate) fn update_subresource(group: &str, plural: &str, subresource: &str) -> Option<Update> {
    let rules: Update = match (group, plural, subresource) {
        ("networking.k8s.io", "ingresses", "status") => net::ingress::update_status,
        ("storage.k8s.io", "volumeattachments", "status") => storage::attachment::update_status,
        ("policy", "poddisruptionbudgets", "status") => policy::update_status,
        ("autoscaling", "horizontalpodautoscalers", "status") => autoscaling::update_status,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies", "status") => admission::policies::update_status,
        ("apiextensions.k8s.io", "customresourcedefinitions", "status") => crd::update_status,
        ("apiregistration.k8s.io", "apiservices", "status") => apiregistration::update_status,
        ("certificates.k8s.io", "certificatesigningrequests", "status") => csr::update_status,
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => csr::update_approval,
        ("flowcontrol.apiserver.k8s.io", "flowschemas" | "prioritylevelconfigurations", "status") => {
            flow::update_status
        }
        ("resource.k8s.io", "resourceclaims", "status") => resource::claims::update_status,
        _ => return None,
    };
    Some(rules)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KINDS: [(&str, &[&str]); 17] = [
        (
            "networking.k8s.io",
            &[
                "ingresses",
                "ingressclasses",
                "networkpolicies",
                "ipaddresses",
                "servicecidrs",
            ],
        ),
        (
            "rbac.authorization.k8s.io",
            &["roles", "clusterroles", "rolebindings", "clusterrolebindings"],
        ),
        (
            "storage.k8s.io",
            &[
                "storageclasses",
                "volumeattributesclasses",
                "volumeattachments",
                "csidrivers",
                "csinodes",
                "csistoragecapacities",
            ],
        ),
        ("policy", &["poddisruptionbudgets"]),
        ("autoscaling", &["horizontalpodautoscalers"]),
        (
            "admissionregistration.k8s.io",
            &[
                "validatingwebhookconfigurations",
                "mutatingwebhookconfigurations",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
            ],
        ),
        ("apiextensions.k8s.io", &["customresourcedefinitions"]),
        ("apiregistration.k8s.io", &["apiservices"]),
        ("certificates.k8s.io", &["certificatesigningrequests"]),
        ("coordination.k8s.io", &["leases"]),
        ("discovery.k8s.io", &["endpointslices"]),
        ("events.k8s.io", &["events"]),
        (
            "flowcontrol.apiserver.k8s.io",
            &["flowschemas", "prioritylevelconfigurations"],
        ),
        ("node.k8s.io", &["runtimeclasses"]),
        ("scheduling.k8s.io", &["priorityclasses"]),
        (
            "resource.k8s.io",
            &[
                "deviceclasses",
                "resourceclaims",
                "resourceclaimtemplates",
                "resourceslices",
            ],
        ),
        (
            "authorization.k8s.io",
            &[
                "selfsubjectaccessreviews",
                "subjectaccessreviews",
                "localsubjectaccessreviews",
            ],
        ),
    ];
    /// Names of fields, so that what is generated is looked into.
    const FIELDS: &str = "metadata name annotations spec status rules http paths path pathType backend service port tls hosts \
        secretName host defaultBackend controller parameters ingress from ipBlock cidr except ports endPort cidrs verbs \
        resources apiGroups subjects roleRef kind aggregationRule clusterRoleSelectors matchLabels matchExpressions key \
        operator values selector type metrics resource target behavior scaleUp policies minReplicas webhooks clientConfig \
        url operations matchConditions expression matchConstraints resourceRules validations auditAnnotations versions \
        schema openAPIV3Schema properties items additionalProperties allOf anyOf not default pattern conversion webhook \
        request usages signerName conditions certificate endpoints addresses addressType hints forZones matchingPrecedence \
        limited limitResponse queuing queues handSize overhead podFixed scheduling tolerations devices requests exactly \
        firstAvailable constraints config opaque attributes capacity allocation results reservedFor drivers topologyKeys \
        allowedTopologies matchLabelExpressions x-kubernetes-list-type x-kubernetes-validations rule fieldPath group \
        resourceAttributes fieldSelector requirements series regarding eventTime names plural";

    fn values() -> impl Strategy<Value = Value> {
        let texts = prop_oneof![
            Just("object"),
            Just("array"),
            Just("Resource"),
            Just("map"),
            Just("v1"),
            Just("é/"),
            Just("*"),
            Just("10.0.0.0/8"),
            Just("Limited"),
            Just("Queue"),
            Just("https://a:b@c/%"),
            Just(".a['b']"),
            Just("-1"),
            Just("IPv4"),
            Just(""),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(json!(1.5)),
            texts.prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        let fields: Vec<&str> = FIELDS.split_whitespace().collect();
        leaf.prop_recursive(7, 96, 6, move |inner| {
            let key = proptest::sample::select(fields.clone());
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((key, inner), 1..6)
                    .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
            ]
        })
    }

    fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        KINDS
            .into_iter()
            .flat_map(|(group, plurals)| plurals.iter().map(move |plural| (group, *plural)))
    }

    proptest! {
        #[test]
        fn nothing_panics(spec in values(), other in values()) {
            for (new, old) in [(json!({"spec": spec, "status": other}), json!({"spec": other})), (spec, other)] {
                for (group, plural) in all() {
                    let _ = create(group, plural).map(|rules| rules(&new));
                    let _ = update(group, plural).map(|rules| rules(&new, &old));
                    for subresource in ["status", "approval"] {
                        let _ = update_subresource(group, plural, subresource).map(|rules| rules(&new, &old));
                    }
                }
            }
        }
    }

    #[test]
    fn every_kind_has_rules() {
        for (group, plural) in all() {
            assert!(create(group, plural).is_some(), "{plural}");
            assert!(
                update(group, plural).is_some() || group == "authorization.k8s.io",
                "{plural}"
            );
        }
        assert!(create("", "pods").is_none());
    }
}
