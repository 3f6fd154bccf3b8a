//! Where pods are to run: deprecated labels of nodes, and selectors of pods that match none.

use engenho_validation::get::{given, items, text};
use serde_json::Value;

use super::Target;
use crate::labels;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The nodes that are selected and preferred.
pub(super) fn nodes(target: &Target<'_>, warnings: &mut Vec<String>) {
    for (label, message) in labels::in_keys(&target.spec["nodeSelector"]) {
        warnings.push(format!("{}[{label}]: {message}", target.at("nodeSelector")));
    }
    let affinity = &target.spec["affinity"]["nodeAffinity"];
    let at = target.at("affinity.nodeAffinity");
    for (i, term) in items(&affinity[REQUIRED]["nodeSelectorTerms"]).iter().enumerate() {
        labels::in_required_term(term, format_args!("{at}.{REQUIRED}.nodeSelectorTerms[{i}]"), warnings);
    }
    for (i, term) in items(&affinity[PREFERRED]).iter().enumerate() {
        let at = format_args!("{at}.{PREFERRED}[{i}].preference");
        labels::in_preferred_term(&term["preference"], at, warnings);
    }
}

/// How pods are to be spread.
pub(super) fn spread(target: &Target<'_>, warnings: &mut Vec<String>) {
    let at = target.at("topologySpreadConstraints");
    for (i, constraint) in items(&target.spec["topologySpreadConstraints"]).iter().enumerate() {
        let key = text(&constraint["topologyKey"]);
        if let Some(message) = labels::deprecated(key) {
            warnings.push(format!("{at}[{i}].topologyKey: {key} is {message}"));
        }
        selector(constraint, &format!("{at}[{i}]"), warnings);
    }
}

/// The pods to be near to, and far from.
pub(super) fn pods(target: &Target<'_>, warnings: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = &target.spec["affinity"][kind];
        let at = target.at(&format!("affinity.{kind}"));
        for (i, term) in items(&affinity[REQUIRED]).iter().enumerate() {
            selector(term, &format!("{at}.{REQUIRED}[{i}]"), warnings);
        }
        for (i, term) in items(&affinity[PREFERRED]).iter().enumerate() {
            let at = format!("{at}.{PREFERRED}[{i}].podAffinityTerm");
            selector(&term["podAffinityTerm"], &at, warnings);
        }
    }
}

fn selector(term: &Value, at: &str, warnings: &mut Vec<String>) {
    if !given(&term["labelSelector"]) {
        warnings.push(format!(
            "{at}.labelSelector: a null labelSelector results in matching no pod"
        ));
    }
}
