//! What becomes of roles and bindings that every cluster begins with, when a server starts and they are not as they were
//! made: what is missing comes back, what was added stays (upstream's reconciliation of bootstrap policy).

use serde_json::{Map, Value};

use crate::objects;
use crate::privilege::{atoms, covers};
use crate::rule::PolicyRule;

/// An object with this annotation set to `false` is left as it is.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What an existing object must become.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    /// It changes to this.
    Update(Value),
    /// It refers to another role, which cannot be changed: it goes, and this comes.
    Recreate(Value),
}

/// Compares an object of the RBAC group with what it was made as; `None` if it may stay as it is.
pub fn reconcile(expected: &Value, existing: &Value) -> Option<Reconciled> {
    if existing["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return None;
    }
    let mut object = existing.clone();
    match expected["kind"].as_str() {
        Some("Role" | "ClusterRole") => {
            complete_rules(&mut object, expected);
            complete_selectors(&mut object, expected);
        }
        Some("RoleBinding" | "ClusterRoleBinding") => {
            if !same_role(&expected["roleRef"], &existing["roleRef"]) {
                return Some(Reconciled::Recreate(expected.clone()));
            }
            append_missing(&mut object["subjects"], &expected["subjects"], same_subject);
        }
        _ => return None,
    }
    for field in ["annotations", "labels"] {
        complete_map(&mut object["metadata"], &expected["metadata"], field);
    }
    drop_nulls(&mut object, existing);
    (object != *existing).then_some(Reconciled::Update(object))
}

/// Looking at a field that is not there made it null.
fn drop_nulls(object: &mut Value, existing: &Value) {
    if let (Some(fields), Some(before)) = (object.as_object_mut(), existing.as_object()) {
        fields.retain(|key, value| !value.is_null() || before.contains_key(key));
    }
}

/// Own labels and annotations win.
fn complete_map(meta: &mut Value, expected: &Value, field: &str) {
    let Some(wanted) = expected[field].as_object().filter(|wanted| !wanted.is_empty()) else {
        return;
    };
    let Some(meta) = meta.as_object_mut() else { return };
    let map = meta.entry(field).or_insert_with(|| Map::new().into());
    if map.is_null() {
        *map = Map::new().into();
    }
    if let Some(map) = map.as_object_mut() {
        for (key, value) in wanted {
            map.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn rules(value: &Value) -> Vec<PolicyRule> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|rule| objects::read(rule).ok()).collect()
}

fn complete_rules(object: &mut Value, expected: &Value) {
    let held = rules(&object["rules"]);
    let wanted = rules(&expected["rules"]);
    let missing = wanted
        .iter()
        .flat_map(atoms)
        .filter(|atom| !held.iter().any(|rule| covers(rule, atom)));
    // Rules always serialise.
    let missing: Vec<Value> = missing.filter_map(|rule| serde_json::to_value(rule).ok()).collect();
    append(&mut object["rules"], missing);
}

fn complete_selectors(object: &mut Value, expected: &Value) {
    let aggregates = |of: &Value| of["aggregationRule"].is_object();
    if !aggregates(expected) {
        // It was never meant to gather anything.
        if let Some(fields) = object.as_object_mut() {
            fields.remove("aggregationRule");
        }
        return;
    }
    if !aggregates(object) {
        object["aggregationRule"] = Map::new().into();
    }
    append_missing(
        &mut object["aggregationRule"]["clusterRoleSelectors"],
        &expected["aggregationRule"]["clusterRoleSelectors"],
        |a, b| a == b,
    );
}

fn append(list: &mut Value, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    match list.as_array_mut() {
        Some(list) => list.extend(more),
        None => *list = more.into(),
    }
}

fn append_missing(list: &mut Value, expected: &Value, same: fn(&Value, &Value) -> bool) {
    let has = |wanted: &&Value| !list.as_array().into_iter().flatten().any(|one| same(one, wanted));
    let missing = expected.as_array().into_iter().flatten().filter(has);
    let missing: Vec<Value> = missing.cloned().collect();
    append(list, missing);
}

fn same_role(a: &Value, b: &Value) -> bool {
    ["apiGroup", "kind", "name"].iter().all(|field| a[field] == b[field])
}

fn same_subject(a: &Value, b: &Value) -> bool {
    let text = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
    ["apiGroup", "kind", "name", "namespace"]
        .iter()
        .all(|field| text(a, field) == text(b, field))
}

#[cfg(test)]
mod tests {
    use engenho_catalog::boot;
    use serde_json::json;

    use super::*;

    fn role(rules: Value) -> Value {
        json!({
            "kind": "ClusterRole",
            "metadata": {"name": "r", "labels": {"a": "b"}, "annotations": {AUTO_UPDATE: "true"}},
            "rules": rules,
        })
    }

    fn get(resources: &[&str]) -> Value {
        json!({"verbs": ["get"], "apiGroups": [""], "resources": resources})
    }

    fn updated(expected: &Value, existing: &Value) -> Value {
        match reconcile(expected, existing) {
            Some(Reconciled::Update(object)) => object,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_as_it_was_made_stays() {
        for object in boot::objects().filter(|o| o["apiVersion"] == "rbac.authorization.k8s.io/v1") {
            assert_eq!(reconcile(&object, &object), None, "{object}");
        }
    }

    #[test]
    fn missing_rules_come_back_and_further_ones_stay() {
        let expected = role(json!([get(&["pods", "services"])]));
        let mut existing = role(json!([get(&["pods", "nodes"])]));
        existing["metadata"]["labels"] = json!({"a": "own", "more": "x"});
        let object = updated(&expected, &existing);
        assert_eq!(object["rules"], json!([get(&["pods", "nodes"]), get(&["services"])]));
        assert_eq!(object["metadata"]["labels"], json!({"a": "own", "more": "x"}));
        assert_eq!(reconcile(&expected, &object), None);
        existing["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        assert_eq!(reconcile(&expected, &existing), None, "it is protected");
        let wide = role(json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
        assert_eq!(reconcile(&expected, &wide), None);
        let bare = json!({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": null});
        let object = updated(&expected, &bare);
        assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
        assert_eq!(object["rules"].as_array().expect("rules").len(), 2);
        assert!(object.get("aggregationRule").is_none());
    }

    #[test]
    fn aggregation_is_as_it_was_meant() {
        let selector = |value: &str| json!({"matchLabels": {"to": value}});
        let mut expected = role(Value::Null);
        expected["aggregationRule"] = json!({"clusterRoleSelectors": [selector("a")]});
        let mut existing = role(json!([get(&["pods"])]));
        existing["aggregationRule"] = json!({"clusterRoleSelectors": [selector("b")]});
        let object = updated(&expected, &existing);
        let both = json!([selector("b"), selector("a")]);
        assert_eq!(object["aggregationRule"]["clusterRoleSelectors"], both);
        let plain = role(json!([]));
        assert!(updated(&plain, &existing).get("aggregationRule").is_none());
    }

    #[test]
    fn missing_subjects_come_back_and_another_role_makes_it_new() {
        let subject = |name: &str| json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name});
        let binding = |role: &str, subjects: Value| {
            json!({
                "kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            })
        };
        let expected = binding("r", json!([subject("a")]));
        let object = updated(&expected, &binding("r", json!([subject("b")])));
        assert_eq!(object["subjects"], json!([subject("b"), subject("a")]));
        let object = updated(&expected, &binding("r", Value::Null));
        assert_eq!(object["subjects"], json!([subject("a")]));
        let other = binding("other", json!([subject("a")]));
        assert_eq!(
            reconcile(&expected, &other),
            Some(Reconciled::Recreate(expected.clone()))
        );
    }
}
