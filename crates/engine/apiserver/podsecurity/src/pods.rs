//! Requests about pods, and about workloads that will make some.

use engenho_validation::get::{items, text};
use serde_json::Value;

use crate::checks::{Violations, evaluate};
use crate::config::Config;
use crate::level::{Level, LevelVersion, Policy};
use crate::outcome::{Outcome, audit};
use engenho_validation::FieldError;

/// What a request to create or update is to the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A namespace, whose labels may ask for a policy.
    Namespace,
    /// A pod, itself or through a subresource that may change what it runs.
    Pod,
    /// A workload; the template of its pods is at this JSON pointer. The policy to enforce does not hold for it.
    Template(&'static str),
}

impl Target {
    /// What a request for a resource is, if it is anything to the plugin. The subresource is empty if there is none.
    pub fn of(group: &str, plural: &str, subresource: &str) -> Option<Self> {
        match (group, plural, subresource) {
            ("", "namespaces", "") => Some(Self::Namespace),
            // What is not known not to change containers is looked at.
            ("", "pods", "attach" | "binding" | "eviction" | "exec" | "log" | "portforward" | "proxy" | "status") => {
                None
            }
            ("", "pods", _) => Some(Self::Pod),
            ("", "podtemplates", "") => Some(Self::Template("/template")),
            ("", "replicationcontrollers", "")
            | ("apps", "daemonsets" | "deployments" | "replicasets" | "statefulsets", "")
            | ("batch", "jobs", "") => Some(Self::Template("/spec/template")),
            ("batch", "cronjobs", "") => Some(Self::Template("/spec/jobTemplate/spec/template")),
            _ => None,
        }
    }
}

/// Who asks, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The name of the namespace.
    pub namespace: &'a str,
    /// Its `metadata.labels`.
    pub labels: &'a Value,
    /// The name of the user.
    pub username: &'a str,
}

impl Request<'_> {
    /// What the plugin says if it is exempt.
    fn exempt(&self, config: &Config) -> Option<Outcome> {
        if config.exemptions.namespace(self.namespace) {
            return Some(Outcome::noted(audit::EXEMPT, "namespace"));
        }
        if config.exemptions.user(self.username) {
            return Some(Outcome::noted(audit::EXEMPT, "user"));
        }
        None
    }
}

/// What the plugin says to a pod that is created, or that replaces an `old` one.
pub fn evaluate_pod(config: &Config, request: &Request<'_>, pod: &Value, old: Option<&Value>) -> Outcome {
    if let Some(outcome) = request.exempt(config) {
        return outcome;
    }
    let (policy, errors) = Policy::from_labels_over(request.labels, &config.defaults);
    if errors.is_empty() && policy.fully_privileged() {
        return Outcome::noted(audit::ENFORCE_POLICY, LevelVersion::default().to_string());
    }
    if old.is_some_and(|old| !is_significant_update(pod, old)) {
        return Outcome::default();
    }
    judge(config, &policy, &errors, pod, true)
}

/// What the plugin says to a workload with this template of pods: violations are warned of, never refused.
pub fn evaluate_template(config: &Config, request: &Request<'_>, template: &Value) -> Outcome {
    if let Some(outcome) = request.exempt(config) {
        return outcome;
    }
    let (policy, errors) = Policy::from_labels_over(request.labels, &config.defaults);
    let silent = policy.warn.level == Level::Privileged && policy.audit.level == Level::Privileged;
    if template.is_null() || (errors.is_empty() && silent) {
        return Outcome::default();
    }
    judge(config, &policy, &errors, template, false)
}

fn judge(config: &Config, policy: &Policy, errors: &[FieldError], pod: &Value, enforce: bool) -> Outcome {
    let spec = &pod["spec"];
    if config.exemptions.runtime_class(text(&spec["runtimeClassName"])) {
        return Outcome::noted(audit::EXEMPT, "runtimeClass");
    }
    let violations = |mode: LevelVersion| evaluate(mode, &pod["metadata"], spec);
    let mut outcome = Outcome::default();
    if !errors.is_empty() {
        let error = format!("Failed to parse policy: {}", aggregate(errors));
        outcome.audit.push((audit::ERROR, error));
    }
    if enforce {
        outcome.audit.push((audit::ENFORCE_POLICY, policy.enforce.to_string()));
        outcome.denied = told("violates", policy.enforce, &violations(policy.enforce));
    }
    if let Some(told) = told("would violate", policy.audit, &violations(policy.audit)) {
        outcome.audit.push((audit::AUDIT_VIOLATIONS, told));
    }
    // Who is refused need not be warned.
    if outcome.allowed() {
        outcome
            .warnings
            .extend(told("would violate", policy.warn, &violations(policy.warn)));
    }
    outcome
}

fn told(verb: &str, mode: LevelVersion, violations: &Violations) -> Option<String> {
    (!violations.is_empty()).then(|| format!("{verb} PodSecurity \"{mode}\": {}", violations.details()))
}

/// Errors of labels as one text, each once.
fn aggregate(errors: &[FieldError]) -> String {
    let mut told: Vec<String> = Vec::new();
    for error in errors {
        let error = format!("{}: {}", error.field, error.message);
        if !told.contains(&error) {
            told.push(error);
        }
    }
    match told.as_slice() {
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    }
}

/// Whether a pod changed in a way that could violate a policy: containers came or went, or their image is another.
pub fn is_significant_update(pod: &Value, old: &Value) -> bool {
    let image = |container: &Value| text(&container["image"]).to_owned();
    let changed = ["containers", "initContainers"].into_iter().any(|list| {
        let (new, old) = (items(&pod["spec"][list]), items(&old["spec"][list]));
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| image(new) != image(old))
    });
    let old = items(&old["spec"]["ephemeralContainers"]);
    changed
        || items(&pod["spec"]["ephemeralContainers"]).iter().any(|new| {
            let before = old.iter().find(|old| text(&old["name"]) == text(&new["name"]));
            before.is_none_or(|old| image(old) != image(new))
        })
}

#[cfg(test)]
mod tests;
