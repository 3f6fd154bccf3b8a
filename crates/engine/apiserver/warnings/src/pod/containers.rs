//! What is odd about a container by itself.

use std::collections::BTreeSet;

use engenho_validation::get::{given, items, text};
use engenho_validation::go_quoted;
use serde_json::Value;

use super::{Target, apparmor};
use crate::amounts;

const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// One container at a path.
pub(super) fn check(target: &Target<'_>, container: &Value, at: &str, warnings: &mut Vec<String>) {
    let key = format!("{SECCOMP}{}", text(&container["name"]));
    if !given(&container["securityContext"]["seccompProfile"]) && target.has_annotation(&key) {
        warnings.push(seccomp(target, &key));
    }
    if target.is_template {
        apparmor::of_template(target, container, warnings);
    }
    for resource in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let at = format_args!("{at}.resources.{list}[{resource}]");
            amounts::bytes(&container["resources"][list][resource], at, warnings);
        }
    }
    environment(items(&container["env"]), at, warnings);
}

/// An annotation in the place of a field.
pub(super) fn seccomp(target: &Target<'_>, key: &str) -> String {
    format!(
        "{}: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        target.annotation(key)
    )
}

/// Variables that take the place of earlier ones, unless they build on them.
fn environment(variables: &[Value], at: &str, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (i, variable) in variables.iter().enumerate() {
        let (name, value) = (text(&variable["name"]), text(&variable["value"]));
        if seen.insert(name) {
            continue;
        }
        let reference = format!("$({name})");
        if given(&variable["valueFrom"]) || value == reference || !value.contains(&reference) {
            warnings.push(format!(
                "{at}.env[{i}]: hides previous definition of {}, which may be dropped when using apply",
                go_quoted(name)
            ));
        }
    }
}
