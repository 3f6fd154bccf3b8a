//! What is odd about pods and templates of pods (upstream `pkg/api/pod/warnings.go`), in upstream's order.

mod apparmor;
mod containers;
mod ports;
mod scheduling;
mod volumes;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use engenho_validation::get::{given, items, optional_int, text, texts};
use engenho_validation::go_quoted;
use engenho_validation::names::dns_label;
use serde_json::Value;

use crate::{addresses, amounts};

/// Annotations that do nothing any more.
const DEAD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

/// A pod or a template of pods, and where it stands.
pub(super) struct Target<'a> {
    /// What paths begin with: empty for a pod, else the template's path and a dot.
    prefix: String,
    is_template: bool,
    spec: &'a Value,
    annotations: &'a Value,
}

impl<'a> Target<'a> {
    fn new(prefix: String, is_template: bool, pod: &'a Value) -> Self {
        Self {
            prefix,
            is_template,
            spec: &pod["spec"],
            annotations: &pod["metadata"]["annotations"],
        }
    }

    /// The path of a field of the spec.
    fn at(&self, field: &str) -> String {
        format!("{}spec.{field}", self.prefix)
    }

    /// The path of an annotation.
    fn annotation(&self, key: &str) -> String {
        format!("{}metadata.annotations[{key}]", self.prefix)
    }

    fn has_annotation(&self, key: &str) -> bool {
        given(&self.annotations[key])
    }

    /// Containers of all kinds with their paths.
    fn containers(&self) -> impl Iterator<Item = (&'a Value, String)> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|kind| {
                let at = self.at(kind);
                let list = items(&self.spec[kind]).iter().enumerate();
                list.map(move |(i, container)| (container, format!("{at}[{i}]")))
            })
    }
}

/// A new pod.
pub(crate) fn create(pod: &Value) -> Vec<String> {
    let target = Target::new(String::new(), false, pod);
    let mut warnings = Vec::new();
    apparmor::of_pod(&target, &mut warnings);
    let wrong = dns_label(text(&pod["metadata"]["name"]));
    if !wrong.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
    check(&target, &mut warnings);
    warnings
}

/// The addresses in a pod's status.
pub(crate) fn update_status(pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for list in ["podIPs", "hostIPs"] {
        for (i, address) in items(&pod["status"][list]).iter().enumerate() {
            let at = format_args!("status.{list}[{i}].ip");
            addresses::ip(at, text(&address["ip"]), &mut warnings);
        }
    }
    warnings
}

/// A template of pods at a path.
pub(crate) fn template(template: &Value, at: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if template.is_object() {
        check(&Target::new(format!("{at}."), true, template), &mut warnings);
    }
    warnings
}

fn check(target: &Target<'_>, warnings: &mut Vec<String>) {
    scheduling::nodes(target, warnings);
    scheduling::spread(target, warnings);
    for (key, message) in DEAD_ANNOTATIONS {
        if target.has_annotation(key) {
            warnings.push(format!("{}: {message}", target.annotation(key)));
        }
    }
    volumes::plugins(target, warnings);
    volumes::overlaps(items(&target.spec["volumes"]), warnings);
    duplicates(target, "hostAliases", "ip", warnings);
    duplicates(target, "imagePullSecrets", "name", warnings);
    for (i, secret) in items(&target.spec["imagePullSecrets"]).iter().enumerate() {
        if text(&secret["name"]).is_empty() {
            warnings.push(format!(
                "{}[{i}].name: invalid empty name \"\"",
                target.at("imagePullSecrets")
            ));
        }
    }
    for resource in ["memory", "ephemeral-storage"] {
        let at = format!("{}[{resource}]", target.at("overhead"));
        amounts::bytes(&target.spec["overhead"][resource], at, warnings);
    }
    if !given(&target.spec["securityContext"]["seccompProfile"]) && target.has_annotation(SECCOMP_OF_POD) {
        warnings.push(containers::seccomp(target, SECCOMP_OF_POD));
    }
    for (container, at) in target.containers() {
        containers::check(target, container, &at, warnings);
    }
    ports::definitions(target, warnings);
    ports::names(target, warnings);
    if optional_int(&target.spec["terminationGracePeriodSeconds"]).is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            target.at("terminationGracePeriodSeconds")
        ));
    }
    scheduling::pods(target, warnings);
    for (i, server) in texts(&target.spec["dnsConfig"]["nameservers"]).enumerate() {
        addresses::ip(target.at(&format!("dnsConfig.nameservers[{i}]")), server, warnings);
    }
    for (i, alias) in items(&target.spec["hostAliases"]).iter().enumerate() {
        addresses::ip(target.at(&format!("hostAliases[{i}].ip")), text(&alias["ip"]), warnings);
    }
}

/// Items of a list that repeat what an earlier one is known by.
fn duplicates(target: &Target<'_>, list: &str, key: &str, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (i, item) in items(&target.spec[list]).iter().enumerate() {
        let value = text(&item[key]);
        if !seen.insert(value) {
            warnings.push(format!(
                "{}[{i}].{key}: duplicate {key} {}",
                target.at(list),
                go_quoted(value)
            ));
        }
    }
}
