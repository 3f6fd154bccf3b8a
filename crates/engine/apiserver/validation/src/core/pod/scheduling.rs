//! Where a pod may run: affinities, tolerations, spreading, gates.

use std::collections::HashSet;

use serde_json::Value;

use super::options::Options;
use crate::errors::Errors;
use crate::get::{entries, given, int, items, optional_int, optional_text, text, texts};
use crate::names::{dns_label, dns_subdomain, label_value, qualified};
use crate::{Path, labels};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const NOT_POSITIVE: &str = "must be greater than zero";

/// The effect of a taint.
pub(crate) fn effect(effect: &str, path: &Path, errors: &mut Errors) {
    errors.one_of(effect, &EFFECTS, path);
}

/// Tolerations of taints.
pub(crate) fn tolerations(tolerations: &Value, path: &Path, errors: &mut Errors) {
    for (i, toleration) in items(tolerations).iter().enumerate() {
        let path = path.index(i);
        let (key, operator) = (text(&toleration["key"]), text(&toleration["operator"]));
        let (value, taint_effect) = (text(&toleration["value"]), text(&toleration["effect"]));
        let field = path.child("operator");
        if !key.is_empty() {
            errors.check(qualified, key, &path.child("key"));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(field, operator, detail);
        }
        if given(&toleration["tolerationSeconds"]) && taint_effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(path.child("effect"), taint_effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let wrong = label_value(value);
                if !wrong.is_empty() {
                    errors.invalid(field, value, &wrong.join(";"));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => errors.invalid(field, value, "value must be empty when `operator` is 'Exists'"),
            other => errors.not_supported(field, other, &["Equal", "Exists"]),
        }
        if !taint_effect.is_empty() {
            effect(taint_effect, &path.child("effect"), errors);
        }
    }
}

/// All affinities of a pod.
pub(super) fn affinity(affinity: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let (node, path_node) = (&affinity["nodeAffinity"], path.child("nodeAffinity"));
    if given(&node[REQUIRED]) {
        node_selector(
            &node[REQUIRED],
            options.lenient_node_affinity,
            &path_node.child(REQUIRED),
            errors,
        );
    }
    let preferred = path_node.child(PREFERRED);
    for (i, term) in items(&node[PREFERRED]).iter().enumerate() {
        let item = preferred.index(i);
        weight(&term["weight"], &item, errors);
        node_selector_term(&term["preference"], true, &item.child("preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let (pods, path) = (&affinity[kind], path.child(kind));
        let required = path.child(REQUIRED);
        for (i, term) in items(&pods[REQUIRED]).iter().enumerate() {
            pod_term(term, options.lenient_selectors, &required.index(i), errors);
        }
        let preferred = path.child(PREFERRED);
        for (i, term) in items(&pods[PREFERRED]).iter().enumerate() {
            let item = preferred.index(i);
            weight(&term["weight"], &item, errors);
            let inner = item.child("podAffinityTerm");
            pod_term(&term["podAffinityTerm"], options.lenient_selectors, &inner, errors);
        }
    }
}

fn weight(weight: &Value, path: &Path, errors: &mut Errors) {
    if !(1..=100).contains(&int(weight)) {
        errors.invalid(path.child("weight"), int(weight), "must be in the range 1-100");
    }
}

/// A selector of nodes; `lenient` lets values pass that labels cannot have.
pub(crate) fn node_selector(selector: &Value, lenient: bool, path: &Path, errors: &mut Errors) {
    let terms = path.child("nodeSelectorTerms");
    if items(&selector["nodeSelectorTerms"]).is_empty() {
        errors.required(terms, "must have at least one node selector term");
    }
    for (i, term) in items(&selector["nodeSelectorTerms"]).iter().enumerate() {
        node_selector_term(term, lenient, &terms.index(i), errors);
    }
}

fn node_selector_term(term: &Value, lenient: bool, path: &Path, errors: &mut Errors) {
    let expressions = path.child("matchExpressions");
    for (i, requirement) in items(&term["matchExpressions"]).iter().enumerate() {
        label_requirement(requirement, lenient, &expressions.index(i), errors);
    }
    let fields = path.child("matchFields");
    for (i, requirement) in items(&term["matchFields"]).iter().enumerate() {
        field_requirement(requirement, &fields.index(i), errors);
    }
}

fn label_requirement(requirement: &Value, lenient: bool, path: &Path, errors: &mut Errors) {
    let values = items(&requirement["values"]);
    let field = path.child("values");
    match text(&requirement["operator"]) {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(field, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(field, detail);
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(field, detail);
            }
        }
        other => errors.invalid(path.child("operator"), other, "not a valid selector operator"),
    }
    errors.check(qualified, text(&requirement["key"]), &path.child("key"));
    if !lenient {
        for (i, value) in values.iter().enumerate() {
            errors.check(label_value, text(value), &field.index(i));
        }
    }
}

fn field_requirement(requirement: &Value, path: &Path, errors: &mut Errors) {
    let values = items(&requirement["values"]);
    match text(&requirement["operator"]) {
        "In" | "NotIn" => {
            if values.len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(path.child("values"), detail);
            }
        }
        other => errors.invalid(path.child("operator"), other, "not a valid selector operator"),
    }
    match text(&requirement["key"]) {
        "metadata.name" => {
            for (i, value) in values.iter().enumerate() {
                errors.check(dns_subdomain, text(value), &path.child("values").index(i));
            }
        }
        other => errors.invalid(path.child("key"), other, "not a valid field selector key"),
    }
}

fn pod_term(term: &Value, lenient: bool, path: &Path, errors: &mut Errors) {
    for selector in ["labelSelector", "namespaceSelector"] {
        errors.extend(labels::selector(&term[selector], lenient, &path.child(selector)));
    }
    for namespace in texts(&term["namespaces"]) {
        errors.check(dns_label, namespace, &path.child("namespace"));
    }
    let selector = &term["labelSelector"];
    for keys in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(&term[keys], selector, &path.child(keys), errors);
    }
    twice_selected(term, path, errors);
    let mismatch: HashSet<&str> = texts(&term["mismatchLabelKeys"]).collect();
    for (i, key) in texts(&term["matchLabelKeys"]).enumerate() {
        if mismatch.contains(key) {
            let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.invalid(path.child("matchLabelKeys").index(i), key, detail);
        }
    }
    let (topology, field) = (text(&term["topologyKey"]), path.child("topologyKey"));
    if topology.is_empty() {
        errors.required(field, "can not be empty");
    }
    errors.check(qualified, topology, &field);
}

fn label_keys(keys: &Value, selector: &Value, path: &Path, errors: &mut Errors) {
    if items(keys).is_empty() {
        return;
    }
    if !given(selector) {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
        return;
    }
    for (i, key) in texts(keys).enumerate() {
        errors.check(qualified, key, &path.index(i));
    }
}

/// A key of `matchLabelKeys` becomes an expression of the selector, where it may stand only once. Errors stand at the
/// key's index below `path`.
fn twice_selected(term: &Value, path: &Path, errors: &mut Errors) {
    let selector = &term["labelSelector"];
    let keys: Vec<&str> = texts(&term["matchLabelKeys"]).collect();
    let mut seen: HashSet<&str> = entries(&selector["matchLabels"]).iter().map(|(k, _)| *k).collect();
    for expression in items(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        if let Some(i) = keys.iter().rposition(|k| *k == key)
            && seen.contains(key)
        {
            errors.invalid(path.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
        seen.insert(key);
    }
}

/// Gates that keep a pod from being scheduled.
pub(super) fn gates(gates: &Value, path: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, gate) in items(gates).iter().enumerate() {
        let name = text(&gate["name"]);
        errors.check(qualified, name, &path.index(i));
        if !seen.insert(name) {
            errors.duplicate(path.index(i), name);
        }
    }
}

/// How pods are spread over nodes.
pub(super) fn spread(constraints: &Value, options: Options, path: &Path, errors: &mut Errors) {
    let constraints = items(constraints);
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        let (key, action) = (text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]));
        if int(&constraint["maxSkew"]) <= 0 {
            errors.invalid(path.child("maxSkew"), int(&constraint["maxSkew"]), NOT_POSITIVE);
        }
        if key.is_empty() {
            errors.required(path.child("topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        errors.one_of(action, &actions, &path.child("whenUnsatisfiable"));
        let same = |c: &Value| text(&c["topologyKey"]) == key && text(&c["whenUnsatisfiable"]) == action;
        if constraints[i + 1..].iter().any(same) {
            let field = path.child("{topologyKey, whenUnsatisfiable}");
            errors.duplicate(field, format!("{{{key}, {action}}}"));
        }
        if let Some(domains) = optional_int(&constraint["minDomains"]) {
            let field = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(field, domains, NOT_POSITIVE);
            }
            if action != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(field, domains, &detail);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(value) = optional_text(&constraint[policy]) {
                errors.one_of(value, &["Honor", "Ignore"], &path.child(policy));
            }
        }
        spread_keys(constraint, &path.child("matchLabelKeys"), errors);
        if !options.lenient_spread_selectors {
            let selector = path.child("labelSelector");
            errors.extend(labels::selector(&constraint["labelSelector"], false, &selector));
        }
    }
}

fn spread_keys(constraint: &Value, path: &Path, errors: &mut Errors) {
    label_keys(
        &constraint["matchLabelKeys"],
        &constraint["labelSelector"],
        path,
        errors,
    );
    twice_selected(constraint, path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(check: impl FnOnce(&mut Errors)) -> Vec<String> {
        Errors::of(check).into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn keys_may_be_merged_into_the_selector_once() {
        let merged = json!([{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["v"],
            "labelSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "v", "operator": "In", "values": ["1"]}]},
        }]);
        let path = Path::Root.child("c");
        assert!(found(|e| spread(&merged, Options::default(), &path, e)).is_empty());
        let mut twice = merged;
        twice[0]["labelSelector"]["matchLabels"]["v"] = json!("1");
        assert_eq!(
            found(|e| spread(&twice, Options::default(), &path, e)),
            ["c[0].matchLabelKeys[0]"]
        );
    }

    #[test]
    fn tolerations_have_an_operator_and_an_effect() {
        let list = json!([{"operator": "Equal", "value": "a"}, {"key": "k", "operator": "Exists", "value": "v", "effect": "X"}]);
        let path = Path::Root.child("t");
        let fields = found(|e| tolerations(&list, &path, e));
        assert_eq!(fields, ["t[0].operator", "t[1].operator", "t[1].effect"]);
    }

    #[test]
    fn nodes_are_selected_by_labels_and_by_name() {
        let selector = json!({"nodeSelectorTerms": [{
            "matchExpressions": [{"key": "k", "operator": "Gt", "values": ["1", "2"]}],
            "matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["a"]}],
        }]});
        let path = Path::Root.child("s");
        let expected = [
            "s.nodeSelectorTerms[0].matchExpressions[0].values",
            "s.nodeSelectorTerms[0].matchFields[0].key",
        ];
        assert_eq!(found(|e| node_selector(&selector, false, &path, e)), expected);
    }
}
