//! Warnings: what the API server tells clients of in an object of a built-in kind that it takes nevertheless (`Warning`
//! headers). Pure functions over JSON; texts and their order are those of Kubernetes 1.34. Deprecated kinds and versions
//! are the server's to warn of.

mod addresses;
mod amounts;
mod cluster;
mod custom;
mod keys;
mod labels;
mod network;
mod owners;
mod pod;
mod secret;
mod storage;
mod workloads;

#[cfg(test)]
mod properties;

use std::collections::BTreeSet;

use serde_json::Value;

/// What a client is told of a new object, as the object is after defaulting and admission.
pub fn create(group: &str, _version: &str, plural: &str, object: &Value) -> Vec<String> {
    let rules: fn(&Value) -> Vec<String> = match (group, plural) {
        ("", "endpoints") => network::endpoints,
        ("", "nodes") => cluster::node,
        ("", "persistentvolumeclaims") => storage::claim,
        ("", "persistentvolumes") => storage::volume,
        ("", "pods") => pod::create,
        ("", "podtemplates") => workloads::create_pod_template,
        ("", "replicationcontrollers") => workloads::create,
        ("", "secrets") => secret::warnings,
        ("", "serviceaccounts") => cluster::create_account,
        ("", "services") => network::service,
        ("apiextensions.k8s.io", "customresourcedefinitions") => custom::create_definition,
        ("apps", "daemonsets") => workloads::create_daemon_set,
        ("apps", "deployments" | "replicasets") => workloads::create,
        ("apps", "statefulsets") => workloads::create_stateful_set,
        ("batch", "cronjobs") => workloads::create_cron_job,
        ("batch", "jobs") => workloads::create_job,
        ("discovery.k8s.io", "endpointslices") => network::create_slice,
        ("networking.k8s.io", "ingresses") => network::create_ingress,
        ("networking.k8s.io", "networkpolicies") => network::policy,
        ("node.k8s.io", "runtimeclasses") => cluster::runtime_class,
        ("storage.k8s.io", "csistoragecapacities") => storage::capacity,
        ("storage.k8s.io", "storageclasses") => storage::class,
        _ => return Vec::new(),
    };
    once(rules(object))
}

/// What a client is told of an object that replaces an old one. Where only changes are warned of, the generations of
/// both tell whether there was one.
pub fn update(group: &str, _version: &str, plural: &str, new: &Value, old: &Value) -> Vec<String> {
    let rules: fn(&Value, &Value) -> Vec<String> = match (group, plural) {
        ("", "endpoints") => |new, _| network::endpoints(new),
        ("", "nodes") => |new, _| cluster::node(new),
        ("", "persistentvolumeclaims") => |new, _| storage::claim(new),
        ("", "persistentvolumes") => |new, _| storage::volume(new),
        ("", "podtemplates") => workloads::update_pod_template,
        ("", "replicationcontrollers") => workloads::update_replication_controller,
        ("", "secrets") => |new, _| secret::warnings(new),
        ("", "serviceaccounts") => cluster::update_account,
        ("", "services") => |new, _| network::service(new),
        ("apiextensions.k8s.io", "customresourcedefinitions") => custom::update_definition,
        ("apps", "daemonsets") => workloads::update_daemon_set,
        ("apps", "deployments" | "replicasets") => workloads::update,
        ("apps", "statefulsets") => workloads::update_stateful_set,
        ("batch", "cronjobs") => workloads::update_cron_job,
        ("batch", "jobs") => workloads::update_job,
        ("discovery.k8s.io", "endpointslices") => |new, _| network::slice_addresses(new),
        ("networking.k8s.io", "networkpolicies") => |new, _| network::policy(new),
        ("node.k8s.io", "runtimeclasses") => |new, _| cluster::runtime_class(new),
        ("storage.k8s.io", "csistoragecapacities") => |new, _| storage::capacity(new),
        ("storage.k8s.io", "storageclasses") => |new, _| storage::class(new),
        _ => return Vec::new(),
    };
    once(rules(new, old))
}

/// What a client is told of an object that replaces an old one through a subresource.
pub fn update_subresource(
    group: &str,
    _version: &str,
    plural: &str,
    subresource: &str,
    new: &Value,
    _old: &Value,
) -> Vec<String> {
    let rules: fn(&Value) -> Vec<String> = match (group, plural, subresource) {
        ("", "pods", "status") => pod::update_status,
        ("", "services", "status") | ("networking.k8s.io", "ingresses", "status") => network::load_balancer_status,
        _ => return Vec::new(),
    };
    once(rules(new))
}

/// What a client is told of a custom resource that is new or replaces an old one.
pub fn custom_resource(new: &Value, old: Option<&Value>) -> Vec<String> {
    once(custom::resource(new, old.unwrap_or(&Value::Null)))
}

/// Takes repeated owner references out of an object of any kind, and gives what its client is to be told of them. The
/// server does so to what is created or updated before and after mutating admission, to what is patched only after.
pub fn dedup_owner_references(object: &mut Value, after_admission: bool) -> Option<String> {
    owners::dedup(object, after_admission)
}

/// Nothing is said twice.
fn once(mut warnings: Vec<String>) -> Vec<String> {
    let mut said = BTreeSet::new();
    warnings.retain(|warning| said.insert(warning.clone()));
    warnings
}
