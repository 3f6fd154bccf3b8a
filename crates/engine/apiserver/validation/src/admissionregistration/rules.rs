//! Rules: which requests webhooks and policies see.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::get::{items, texts};
use crate::labels::check;
use crate::names::path_segment;
use crate::shared::{Errors, one_of};
use crate::{FieldError, Path};

/// Operations, sorted.
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// What is wrong with the rules of a webhook.
pub(super) fn rules(rules: &Value, path: &Path<'_>) -> Errors {
    let rules = items(rules).iter().enumerate();
    rules.flat_map(|(i, one)| rule(one, &path.index(i))).collect()
}

/// What is wrong with the rules of a policy, which may name objects.
pub(super) fn named_rules(rules: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    for (i, one) in items(rules).iter().enumerate() {
        let at = path.index(i);
        let names = at.child("resourceNames");
        let mut seen = BTreeSet::new();
        for (i, name) in texts(&one["resourceNames"]).enumerate() {
            errors.extend(check(path_segment, name, &names.index(i)));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(names.index(i), name));
            }
        }
        errors.extend(rule(one, &at));
    }
    errors
}

fn rule(rule: &Value, path: &Path<'_>) -> Errors {
    let mut errors = wildcard_alone(rule, "operations", "operations", path);
    let operations = path.child("operations");
    for (i, operation) in items(&rule["operations"]).iter().enumerate() {
        errors.extend(one_of(operation, &OPERATIONS, &operations.index(i)));
    }
    errors.extend(wildcard_alone(rule, "apiGroups", "API groups", path));
    errors.extend(wildcard_alone(rule, "apiVersions", "API versions", path));
    let versions = path.child("apiVersions");
    for (i, version) in texts(&rule["apiVersions"]).enumerate() {
        if version.is_empty() {
            errors.push(FieldError::required(versions.index(i), ""));
        }
    }
    errors.extend(resources(&rule["resources"], &path.child("resources")));
    errors.extend(one_of(&rule["scope"], &SCOPES, &path.child("scope")));
    errors
}

/// A list with something in it, where `*` stands alone.
fn wildcard_alone(rule: &Value, key: &str, others: &str, path: &Path<'_>) -> Errors {
    let list = &rule[key];
    let at = path.child(key);
    match items(list).len() {
        0 => vec![FieldError::required(at, "")],
        1 => Errors::new(),
        _ if texts(list).any(|item| item == "*") => {
            let detail = format!("if '*' is present, must not specify other {others}");
            vec![FieldError::invalid(at, list.clone(), &detail)]
        }
        _ => Errors::new(),
    }
}

fn resources(resources: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let list: Vec<&str> = texts(resources).collect();
    if list.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    // Resources of which all subresources are named, and subresources that are named of all resources.
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for (i, one) in list.iter().enumerate() {
        if one.is_empty() {
            errors.push(FieldError::required(path.index(i), ""));
            continue;
        }
        let Some((resource, sub)) = one.split_once('/') else {
            // The last one counts, upstream too.
            plain = *one != "*";
            continue;
        };
        let mut covered = |by: String| {
            let detail = format!("if '{by}' is present, must not specify {one}");
            errors.push(FieldError::invalid(path.index(i), *one, &detail));
        };
        if whole.contains(resource) {
            covered(format!("{resource}/*"));
        }
        if everywhere.contains(sub) {
            covered(format!("*/{sub}"));
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(sub);
        }
    }
    if list.len() > 1 && list.contains(&"*/*") {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, resources.clone(), detail));
    }
    if list.contains(&"*") && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, resources.clone(), detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wildcards_stand_alone() {
        let path = Path::Root.child("r");
        let fine =
            json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "*/x"]}]);
        assert!(rules(&fine, &path).is_empty());
        assert_eq!(rules(&json!([{}]), &path).len(), 4);
        for list in [
            json!(["*", "pods"]),
            json!(["pods/*", "pods/log"]),
            json!(["*/x", "pods/x"]),
        ] {
            assert_eq!(resources(&list, &path).len(), 1, "{list}");
        }
    }

    #[test]
    fn objects_are_named_once() {
        let path = Path::Root.child("r");
        let rule = json!([{"resourceNames": ["a", "a", "b/c"]}]);
        assert_eq!(named_rules(&rule, &path).len(), 6);
    }
}
