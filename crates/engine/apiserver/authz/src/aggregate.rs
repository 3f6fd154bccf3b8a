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
