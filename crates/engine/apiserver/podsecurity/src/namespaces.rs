//! Requests about namespaces: labels have to be valid, and who enforces more is told which pods violate it already.

use std::collections::{BTreeMap, BTreeSet};

use engenho_validation::FieldError;
use engenho_validation::get::{flag, items, text};
use serde_json::Value;

use crate::checks::evaluate;
use crate::config::Config;
use crate::level::{Level, LevelVersion, Policy, label};

/// How many pods of a namespace are checked when more is enforced on it.
pub const NAMESPACE_MAX_PODS_TO_CHECK: usize = 3000;

/// How long pods of a namespace are checked, in milliseconds. Where the request has a deadline, half of the time that
/// remains is the limit if it is shorter.
pub const NAMESPACE_POD_CHECK_TIMEOUT_MS: u64 = 1000;

/// The warning if the pods of a namespace cannot be listed.
pub const PODS_NOT_LISTED: &str = "failed to list pods while checking new PodSecurity enforce level";

/// What follows from an update of a namespace whose labels are valid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceUpdate {
    /// Warnings to the client.
    pub warnings: Vec<String>,
    /// What the existing pods have to be checked against, by [`check_pods`].
    pub check: Option<LevelVersion>,
}

/// What to warn of when a namespace is created with these `metadata.labels`, or what is wrong with them.
pub fn create_namespace(config: &Config, name: &str, labels: &Value) -> Result<Vec<String>, Vec<FieldError>> {
    let (policy, errors) = Policy::from_labels_over(labels, &config.defaults);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(exempt_warnings(config, name, &policy, labels))
}

/// What follows when the `metadata.labels` of a namespace change, or what is wrong with the new ones. What was wrong
/// before in the same way may stay.
pub fn update_namespace(
    config: &Config,
    name: &str,
    labels: &Value,
    old_labels: &Value,
) -> Result<NamespaceUpdate, Vec<FieldError>> {
    let (new, errors) = Policy::from_labels_over(labels, &config.defaults);
    let (old, old_errors) = Policy::from_labels_over(old_labels, &config.defaults);
    if !errors.is_empty() && errors != old_errors {
        return Err(errors);
    }
    let relaxed = new.enforce.version == old.enforce.version && new.enforce.level <= old.enforce.level;
    if relaxed || new.enforce.level == Level::Privileged {
        return Ok(NamespaceUpdate::default());
    }
    if config.exemptions.namespace(name) {
        return Ok(NamespaceUpdate {
            warnings: exempt_warnings(config, name, &new, labels),
            check: None,
        });
    }
    Ok(NamespaceUpdate {
        warnings: Vec::new(),
        check: Some(new.enforce),
    })
}

/// The warning that the labels of an exempt namespace mean nothing.
fn exempt_warnings(config: &Config, name: &str, policy: &Policy, labels: &Value) -> Vec<String> {
    if !config.exemptions.namespace(name) || policy.fully_privileged() || policy.equivalent(&config.defaults) {
        return Vec::new();
    }
    let asked: Vec<String> = [
        ("enforce", policy.enforce),
        ("audit", policy.audit),
        ("warn", policy.warn),
    ]
    .into_iter()
    .filter(|(mode, of_mode)| {
        let given = label(labels, mode).is_some() || label(labels, &format!("{mode}-version")).is_some();
        given && of_mode.level != Level::Privileged
    })
    .map(|(mode, of_mode)| format!("{mode}={of_mode}"))
    .collect();
    vec![format!(
        "namespace \"{name}\" is exempt from Pod Security, and the policy ({}) will be ignored",
        asked.join(", ")
    )]
}

/// Pods with the same violations: the first by name, and how many.
struct Alike<'a> {
    name: &'a str,
    count: usize,
}

/// What to warn of when `enforce` comes to hold for these pods of a namespace. `in_time` is asked after each pod;
/// once it says no, the rest is not checked.
pub fn check_pods<'a>(
    config: &Config,
    namespace: &str,
    enforce: LevelVersion,
    pods: impl IntoIterator<Item = &'a Value>,
    mut in_time: impl FnMut() -> bool,
) -> Vec<String> {
    let pods = prioritized(config, pods);
    let mut violating: BTreeMap<String, Alike<'a>> = BTreeMap::new();
    let mut checked = 0;
    for pod in pods.iter().take(NAMESPACE_MAX_PODS_TO_CHECK) {
        checked += 1;
        let violations = evaluate(enforce, &pod["metadata"], &pod["spec"]);
        if !violations.is_empty() {
            let name = text(&pod["metadata"]["name"]);
            let alike = violating
                .entry(violations.reasons())
                .or_insert(Alike { name, count: 0 });
            alike.name = alike.name.min(name);
            alike.count += 1;
        }
        if !in_time() {
            break;
        }
    }

    let mut warnings = Vec::new();
    if checked < pods.len() {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {} existing pods",
            pods.len()
        ));
    }
    if !violating.is_empty() {
        warnings.push(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let mut named: Vec<String> = violating.iter().map(|(reasons, alike)| alike.told(reasons)).collect();
    named.sort();
    warnings.extend(named);
    warnings
}

impl Alike<'_> {
    fn told(&self, reasons: &str) -> String {
        let name = self.name;
        match self.count.saturating_sub(1) {
            0 => format!("{name}: {reasons}"),
            1 => format!("{name} (and 1 other pod): {reasons}"),
            others => format!("{name} (and {others} other pods): {reasons}"),
        }
    }
}

/// The pods that are not exempt: one of each controller first, so that many replicas do not hide the others.
fn prioritized<'a>(config: &Config, pods: impl IntoIterator<Item = &'a Value>) -> Vec<&'a Value> {
    let mut seen = BTreeSet::new();
    let runtime_class = |pod: &'a Value| text(&pod["spec"]["runtimeClassName"]);
    let (mut first, replicas): (Vec<_>, Vec<_>) = pods
        .into_iter()
        .filter(|pod| !config.exemptions.runtime_class(runtime_class(pod)))
        .partition(|pod| controller(pod).is_none_or(|uid| seen.insert(uid)));
    first.extend(replicas);
    first
}

/// The uid of the controller of a pod.
fn controller(pod: &Value) -> Option<&str> {
    let owners = items(&pod["metadata"]["ownerReferences"]).iter();
    let mut controllers = owners.filter(|owner| flag(&owner["controller"]));
    controllers.next().map(|owner| text(&owner["uid"]))
}

#[cfg(test)]
mod tests;
