//! Defaults of objects of built-in kinds that a schema cannot express: pure functions over JSON, one module a group of
//! kinds (Kubernetes 1.34).
//!
//! [`apply`] runs after the schema's own defaults and changes nothing the second time. What a client wrote stays, and a
//! field of a wrong type is left alone: refusing it is another's work. Server-made values (names, addresses, times) are
//! not defaults and not set here.

mod admission;
mod autoscaling;
mod batch;
mod core;
mod devices;
mod extension;
mod fields;
mod flow;
mod image;
mod networking;
mod pod;
mod rbac;
mod resources;
mod service;
mod storage;
mod volumes;
mod workloads;

#[cfg(test)]
mod properties;

use fields::Fields;
use serde_json::Value;

/// Fills in what `object`, of the kind served as `plural` in `group`/`version`, leaves open. Kinds without rules stay
/// as they are.
pub fn apply(group: &str, version: &str, plural: &str, object: &mut Value) {
    let Value::Object(map) = object else { return };
    if let Some(rules) = rules(group, version, plural) {
        rules(map);
    }
}

/// Completes an object whose fields have been booked to their managers: what this adds is nobody's.
pub fn finish(group: &str, plural: &str, object: &mut Value) {
    if let (Value::Object(map), ("", "persistentvolumeclaims")) = (object, (group, plural)) {
        storage::data_sources(map);
    }
}

/// The function that fills in objects of a kind.
fn rules(group: &str, version: &str, plural: &str) -> Option<fn(&mut Fields)> {
    Some(match (group, version, plural) {
        ("", "v1", "pods") => pod::pod,
        ("", "v1", "podtemplates") => pod::pod_template,
        ("", "v1", "replicationcontrollers") => workloads::replication_controller,
        ("", "v1", "services") => service::service,
        ("", "v1", "endpoints") => service::endpoints,
        ("", "v1", "persistentvolumes") => storage::persistent_volume,
        ("", "v1", "persistentvolumeclaims") => storage::claim,
        ("", "v1", "namespaces") => core::namespace,
        ("", "v1", "nodes") => core::node,
        ("", "v1", "limitranges") => core::limit_range,
        ("", "v1", "resourcequotas") => core::resource_quota,
        ("", "v1", "secrets") => core::secret,
        ("apps", "v1", "deployments") => workloads::deployment,
        ("apps", "v1", "replicasets") => workloads::replica_set,
        ("apps", "v1", "statefulsets") => workloads::stateful_set,
        ("apps", "v1", "daemonsets") => workloads::daemon_set,
        ("batch", "v1", "jobs") => batch::job,
        ("batch", "v1", "cronjobs") => batch::cron_job,
        ("autoscaling", "v1", "horizontalpodautoscalers") => autoscaling::v1,
        ("autoscaling", "v2", "horizontalpodautoscalers") => autoscaling::v2,
        ("networking.k8s.io", "v1", "networkpolicies") => networking::network_policy,
        ("networking.k8s.io", "v1", "ingressclasses") => networking::ingress_class,
        ("discovery.k8s.io", "v1", "endpointslices") => networking::endpoint_slice,
        ("storage.k8s.io", "v1", "storageclasses") => storage::storage_class,
        ("storage.k8s.io", "v1", "csidrivers") => storage::csi_driver,
        ("storage.k8s.io", "v1", "volumeattachments") => storage::volume_attachment,
        ("scheduling.k8s.io", "v1", "priorityclasses") => core::priority_class,
        ("node.k8s.io", "v1", "runtimeclasses") => core::runtime_class,
        ("rbac.authorization.k8s.io", "v1", "rolebindings" | "clusterrolebindings") => rbac::binding,
        ("authentication.k8s.io", "v1", "tokenrequests") => core::token_request,
        ("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations") => admission::mutating_webhooks,
        ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations") => admission::validating_webhooks,
        ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies") => admission::policy,
        ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings") => admission::policy_binding,
        ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas") => flow::flow_schema,
        ("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations") => flow::priority_level,
        ("apiregistration.k8s.io", "v1", "apiservices") => extension::api_service,
        ("apiextensions.k8s.io", "v1", "customresourcedefinitions") => extension::resource_definition,
        ("resource.k8s.io", "v1", "resourceclaims") => devices::claim,
        ("resource.k8s.io", "v1", "resourceclaimtemplates") => devices::claim_template,
        _ => return None,
    })
}
