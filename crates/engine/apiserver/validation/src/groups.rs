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
