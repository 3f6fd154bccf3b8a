//! Aggregated cluster roles: rules gathered from other roles by label.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::objects::{self, LabelSelector, RoleObject};
use crate::rule::PolicyRule;

/// The rules an aggregated role must get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregated {
    /// Name of the ClusterRole.
    pub name: String,
    /// Its rules from now on.
    pub rules: Vec<PolicyRule>,
}

impl Aggregated {
    /// The rules as they stand in the object.
    pub fn rules_value(&self) -> Value {
        // Lists of strings always serialise.
        serde_json::to_value(&self.rules).unwrap_or_default()
    }
}

/// Why roles could not be aggregated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// An object is no ClusterRole.
    #[error("ClusterRole {name:?} cannot be read: {reason}")]
    Object {
        /// Its name, if it has one.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A selector names an operator that doesn't exist.
    #[error("ClusterRole {name:?} aggregates with an invalid label selector: {operator:?} is not an operator")]
    Operator {
        /// Name of the role.
        name: String,
        /// What it says instead.
        operator: String,
    },
}

/// Computes which aggregated roles must change, and to what, in order of their names. Aggregated roles may gather
/// from each other: the result is stable, so that doing it again with the new rules changes nothing.
pub fn aggregate<'v>(cluster_roles: impl IntoIterator<Item = &'v Value>) -> Result<Vec<Aggregated>, AggregateError> {
    let mut roles: BTreeMap<String, RoleObject> = BTreeMap::new();
    for value in cluster_roles {
        let role: RoleObject = objects::read(value).map_err(|error| AggregateError::Object {
            name: value["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            reason: error.to_string(),
        })?;
        roles.insert(role.metadata.name.clone(), role);
    }
    let names: Vec<String> = roles
        .iter()
        .filter(|(_, r)| r.aggregation_rule.is_some())
        .map(|(n, _)| n.clone())
        .collect();
    let before: BTreeMap<String, Vec<PolicyRule>> = roles.iter().map(|(n, r)| (n.clone(), r.rules.clone())).collect();
    // Each pass carries rules one role further; roles that gather from each other in a circle can settle no later.
    for _ in 0..=names.len() {
        let mut changed = false;
        for name in &names {
            let rules = gather(name, &roles)?;
            if let Some(role) = roles.get_mut(name)
                && role.rules != rules
            {
                role.rules = rules;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    Ok(names
        .into_iter()
        .filter_map(|name| {
            let rules = roles.remove(&name)?.rules;
            (before.get(&name) != Some(&rules)).then_some(Aggregated { name, rules })
        })
        .collect())
}

/// One step: what `name` gathers from the rules as they are.
fn gather(name: &str, roles: &BTreeMap<String, RoleObject>) -> Result<Vec<PolicyRule>, AggregateError> {
    let mut gathered: Vec<PolicyRule> = Vec::new();
    let Some(rule) = roles.get(name).and_then(|r| r.aggregation_rule.as_ref()) else {
        return Ok(gathered);
    };
    for selector in &rule.cluster_role_selectors {
        for (other, role) in roles {
            let labels = role.metadata.labels.clone().unwrap_or_default();
            if other == name || !matches(selector, &labels, name)? {
                continue;
            }
            for rule in &role.rules {
                if !gathered.contains(rule) {
                    gathered.push(rule.clone());
                }
            }
        }
    }
    Ok(gathered)
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>, role: &str) -> Result<bool, AggregateError> {
    let equal = selector.match_labels.iter().flatten();
    if !equal.into_iter().all(|(k, v)| labels.get(k) == Some(v)) {
        return Ok(false);
    }
    for requirement in &selector.match_expressions {
        let label = labels.get(&requirement.key);
        let listed = label.is_some_and(|l| requirement.values.contains(l));
        let holds = match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            operator => {
                return Err(AggregateError::Operator {
                    name: role.to_owned(),
                    operator: operator.to_owned(),
                });
            }
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use engenho_catalog::boot;
    use serde_json::json;

    use super::*;

    fn role(name: &str, labels: Value, selectors: Value, resources: &[&str]) -> Value {
        let rules: Vec<Value> = resources
            .iter()
            .map(|r| json!({"verbs": ["get"], "apiGroups": [""], "resources": [r]}))
            .collect();
        let mut role = json!({"metadata": {"name": name, "labels": labels}, "rules": rules});
        if !selectors.is_null() {
            role["aggregationRule"] = json!({ "clusterRoleSelectors": selectors });
        }
        role
    }

    fn resources(aggregated: &[Aggregated], name: &str) -> Vec<String> {
        let of = aggregated.iter().find(|a| a.name == name);
        of.iter()
            .flat_map(|a| a.rules.iter().flat_map(|r| r.resources.clone()))
            .collect()
    }

    #[test]
    fn rules_are_gathered_in_order_without_repetition() {
        let roles = [
            role(
                "all",
                json!({}),
                json!([{"matchLabels": {"to": "all"}}, {"matchLabels": {"also": "1"}}]),
                &["old"],
            ),
            role("c", json!({"also": "1"}), Value::Null, &["x", "w"]),
            role("b", json!({"to": "all"}), Value::Null, &["y", "x"]),
            role("a", json!({"to": "all", "also": "1"}), Value::Null, &["z"]),
            role("d", json!({"to": "nobody"}), Value::Null, &["v"]),
        ];
        assert_eq!(
            resources(&aggregate(&roles).expect("valid"), "all"),
            ["z", "y", "x", "w"]
        );
    }

    #[test]
    fn expressions_select_too() {
        for (expression, gathered) in [
            (json!({"key": "k", "operator": "In", "values": ["1", "2"]}), vec!["one"]),
            (
                json!({"key": "k", "operator": "NotIn", "values": ["1"]}),
                vec!["none", "three"],
            ),
            (json!({"key": "k", "operator": "Exists"}), vec!["one", "three"]),
            (json!({"key": "k", "operator": "DoesNotExist"}), vec!["none"]),
        ] {
            let roles = [
                role("agg", json!({}), json!([{"matchExpressions": [expression]}]), &[]),
                role("none", Value::Null, Value::Null, &["none"]),
                role("one", json!({"k": "1"}), Value::Null, &["one"]),
                role("three", json!({"k": "3"}), Value::Null, &["three"]),
            ];
            assert_eq!(
                resources(&aggregate(&roles).expect("valid"), "agg"),
                gathered,
                "{expression}"
            );
        }
        let wrong = [
            role(
                "agg",
                json!({}),
                json!([{"matchExpressions": [{"key": "k", "operator": "Like"}]}]),
                &[],
            ),
            role("x", json!({}), Value::Null, &[]),
        ];
        assert!(matches!(aggregate(&wrong), Err(AggregateError::Operator { .. })));
        assert!(matches!(aggregate(&[json!(7)]), Err(AggregateError::Object { .. })));
    }

    #[test]
    fn chains_and_circles_settle() {
        let gathers = |name: &str, from: &str, resources: &[&str]| {
            role(
                name,
                json!({ "id": name }),
                json!([{"matchLabels": {"id": from}}]),
                resources,
            )
        };
        let chain = [
            gathers("a", "b", &[]),
            gathers("b", "c", &[]),
            gathers("c", "d", &[]),
            role("d", json!({"id": "d"}), Value::Null, &["x"]),
        ];
        let aggregated = aggregate(&chain).expect("valid");
        for name in ["a", "b", "c"] {
            assert_eq!(resources(&aggregated, name), ["x"]);
        }
        let circle = [
            gathers("a", "b", &["x"]),
            gathers("b", "c", &["y"]),
            gathers("c", "a", &["z"]),
        ];
        aggregate(&circle).expect("ends");
    }

    #[test]
    fn the_built_in_roles_build_on_each_other_and_stay() {
        let mut roles: Vec<Value> = boot::objects().filter(|o| o["kind"] == "ClusterRole").collect();
        let aggregated = aggregate(&roles).expect("valid");
        let names: Vec<&str> = aggregated.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["admin", "edit", "view"]);
        for (small, large) in [("view", "edit"), ("edit", "admin")] {
            let rules = |name| &aggregated.iter().find(|a| a.name == name).expect("there").rules;
            assert!(
                rules(small).iter().all(|r| rules(large).contains(r)),
                "{small} in {large}"
            );
        }
        for one in &aggregated {
            if let Some(role) = roles.iter_mut().find(|r| r["metadata"]["name"] == one.name.as_str()) {
                role["rules"] = one.rules_value();
            }
        }
        assert_eq!(aggregate(&roles).expect("valid"), [], "nothing is left to do");
    }
}
