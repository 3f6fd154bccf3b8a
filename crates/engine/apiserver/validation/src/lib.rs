//! Validation of objects of built-in kinds: pure functions over JSON, one module a group of kinds. Paths, reasons, texts
//! and their order are those of Kubernetes 1.34, so that the Status bodies match. Metadata of the object itself is the
//! server's to check.

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod authorization;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod diff;
mod discovery;
pub mod errors;
mod events;
mod field;
mod flowcontrol;
pub mod get;
mod gojson;
mod groups;
pub mod labels;
pub mod names;
mod networking;
mod node;
pub mod pem;
mod policy;
mod rbac;
mod resource;
pub mod rules;
pub mod scalars;
mod scheduling;
pub mod shapes;
mod shared;
mod storage;

#[cfg(test)]
mod properties;

pub use field::{FieldError, Path, go_quoted, html_safe};
use serde_json::Value;

/// What is wrong with the addresses, address families and family policy of a Service, taken together.
pub fn service_addresses(service: &Value) -> Vec<FieldError> {
    errors::Errors::of(|errors| core::service_ips::related(service, errors))
}

/// What is wrong with a new object, as it is after defaulting.
pub fn create(group: &str, _version: &str, plural: &str, object: &Value) -> Vec<FieldError> {
    let rules: fn(&Value) -> Vec<FieldError> = match (group, plural) {
        ("", "bindings") => core::create_binding,
        ("", "configmaps") => core::config::create_config_map,
        ("", "endpoints") => core::endpoints::create,
        ("", "events") => core::event::create,
        ("", "limitranges") => core::limits::create_range,
        ("", "namespaces") => core::namespace::create,
        ("", "nodes") => core::node::create,
        ("", "persistentvolumeclaims") => core::claim::create,
        ("", "persistentvolumes") => core::persistent_volume::create,
        ("", "pods") => core::pod::create,
        ("", "podtemplates") => core::pod::create_template,
        ("", "replicationcontrollers") => core::replication::create,
        ("", "resourcequotas") => core::limits::create_quota,
        ("", "secrets") => core::config::create_secret,
        ("", "services") => core::service::create,
        ("apps", "controllerrevisions") => apps::revision::create,
        ("apps", "daemonsets") => apps::daemon_set::create,
        ("apps", "deployments") => apps::deployment::create,
        ("apps", "replicasets") => apps::replica_set::create,
        ("apps", "statefulsets") => apps::stateful_set::create,
        ("batch", "cronjobs") => batch::cron_job::create,
        ("batch", "jobs") => batch::job::create,
        _ => match groups::create(group, plural) {
            Some(rules) => rules,
            None => return Vec::new(),
        },
    };
    rules(object)
}

/// What is wrong with an object that is to replace an old one.
pub fn update(group: &str, _version: &str, plural: &str, new: &Value, old: &Value) -> Vec<FieldError> {
    let rules: fn(&Value, &Value) -> Vec<FieldError> = match (group, plural) {
        ("", "configmaps") => core::config::update_config_map,
        ("", "endpoints") => core::endpoints::update,
        ("", "events") => core::event::update,
        ("", "limitranges") => core::limits::update_range,
        ("", "nodes") => core::node::update,
        ("", "persistentvolumeclaims") => core::claim::update,
        ("", "persistentvolumes") => core::persistent_volume::update,
        ("", "pods") => core::pod::update::update,
        ("", "podtemplates") => core::pod::update_template,
        ("", "replicationcontrollers") => core::replication::update,
        ("", "resourcequotas") => core::limits::update_quota,
        ("", "secrets") => core::config::update_secret,
        ("", "services") => core::service::update,
        ("apps", "controllerrevisions") => apps::revision::update,
        ("apps", "daemonsets") => apps::daemon_set::update,
        ("apps", "deployments") => apps::deployment::update,
        ("apps", "replicasets") => apps::replica_set::update,
        ("apps", "statefulsets") => apps::stateful_set::update,
        ("batch", "cronjobs") => batch::cron_job::update,
        ("batch", "jobs") => batch::job::update,
        _ => match groups::update(group, plural) {
            Some(rules) => rules,
            None => return Vec::new(),
        },
    };
    rules(new, old)
}

/// What is wrong with an object that is to replace an old one through a subresource. Subresources whose body is an
/// object of its own (`binding`, `eviction`) have that body as `new`.
pub fn update_subresource(
    group: &str,
    _version: &str,
    plural: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> Vec<FieldError> {
    let rules: fn(&Value, &Value) -> Vec<FieldError> = match (group, plural, subresource) {
        ("", "namespaces", "finalize") => core::namespace::finalize,
        ("", "namespaces", "status") => core::namespace::update_status,
        ("", "nodes", "status") => core::node::update_status,
        ("", "persistentvolumeclaims", "status") => core::claim::update_status,
        ("", "pods", "binding") => core::bind,
        ("", "pods", "ephemeralcontainers") => core::pod::update::ephemeral_containers,
        ("", "pods", "resize") => core::pod::resize::update,
        ("", "pods", "status") => core::pod::status::update,
        ("", "replicationcontrollers", "scale") => core::scale,
        ("", "replicationcontrollers", "status") => core::replication::update_status,
        ("", "resourcequotas", "status") => core::limits::update_quota_status,
        ("", "serviceaccounts", "token") => core::token,
        ("", "services", "status") => core::service::update_status,
        ("apps", "daemonsets", "status") => apps::daemon_set::update_status,
        ("apps", "deployments", "status") => apps::deployment::update_status,
        ("apps", "replicasets", "status") => core::replication::update_status,
        ("apps", "deployments" | "replicasets" | "statefulsets", "scale") => core::scale,
        ("apps", "statefulsets", "status") => apps::stateful_set::update_status,
        ("batch", "jobs", "status") => batch::job_status::update,
        _ => match groups::update_subresource(group, plural, subresource) {
            Some(rules) => rules,
            None => return Vec::new(),
        },
    };
    rules(new, old)
}
