//! Labels of nodes that are deprecated, wherever nodes are selected by them (upstream `pkg/api/node`).

use std::fmt::Display;

use engenho_validation::get::{entries, items, text, texts};
use engenho_validation::names::label_value;
use serde_json::Value;

/// What is said of a label of nodes that is deprecated.
pub(crate) fn deprecated(label: &str) -> Option<&'static str> {
    Some(match label {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => "deprecated since v1.22; use Taints and Tolerations instead",
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

/// Deprecated labels among the keys of a map, which upstream goes through in no order: sorted.
pub(crate) fn in_keys(map: &Value) -> impl Iterator<Item = (&str, &'static str)> {
    entries(map)
        .into_iter()
        .filter_map(|(key, _)| Some((key, deprecated(key)?)))
}

/// Deprecated labels in expressions over labels; `at` is the list of expressions.
fn in_expressions(expressions: &Value, at: &str, also: fn(&Value, &str, &mut Vec<String>), warnings: &mut Vec<String>) {
    for (i, expression) in items(expressions).iter().enumerate() {
        let key = text(&expression["key"]);
        if let Some(message) = deprecated(key) {
            warnings.push(format!("{at}[{i}].key: {key} is {message}"));
        }
        also(expression, &format!("{at}[{i}].values"), warnings);
    }
}

/// A term of a selector of nodes that must match.
pub(crate) fn in_required_term(term: &Value, at: impl Display, warnings: &mut Vec<String>) {
    let at = format!("{at}.matchExpressions");
    in_expressions(&term["matchExpressions"], &at, |_, _, _| {}, warnings);
}

/// A term of a selector of nodes that is a preference: values that no label can have are taken there.
pub(crate) fn in_preferred_term(term: &Value, at: impl Display, warnings: &mut Vec<String>) {
    let at = format!("{at}.matchExpressions");
    in_expressions(&term["matchExpressions"], &at, values, warnings);
}

fn values(expression: &Value, at: &str, warnings: &mut Vec<String>) {
    for (i, value) in texts(&expression["values"]).enumerate() {
        for wrong in label_value(value) {
            warnings.push(format!("{at}[{i}]: {value} is invalid, {wrong}"));
        }
    }
}

/// A label selector over nodes.
pub(crate) fn in_selector(selector: &Value, at: &str, warnings: &mut Vec<String>) {
    let expressions = format!("{at}.matchExpressions");
    in_expressions(&selector["matchExpressions"], &expressions, |_, _, _| {}, warnings);
    for (label, message) in in_keys(&selector["matchLabels"]) {
        warnings.push(format!("{at}.matchLabels.{label}: {message}"));
    }
}
