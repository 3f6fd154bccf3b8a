//! The parts of RBAC objects that evaluation reads.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::rule::{PolicyRule, list};

/// `metadata`, as far as it matters here.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Meta {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// A Role or ClusterRole.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleObject {
    pub(crate) metadata: Meta,
    #[serde(default, deserialize_with = "list")]
    pub(crate) rules: Vec<PolicyRule>,
    #[serde(default)]
    pub(crate) aggregation_rule: Option<AggregationRule>,
}

impl RoleObject {
    /// Whether the rules are gathered from other roles.
    pub(crate) fn aggregates(&self) -> bool {
        self.aggregation_rule
            .as_ref()
            .is_some_and(|a| !a.cluster_role_selectors.is_empty())
    }
}

/// Which roles an aggregated one gathers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AggregationRule {
    #[serde(default, deserialize_with = "list")]
    pub(crate) cluster_role_selectors: Vec<LabelSelector>,
}

/// `meta/v1` LabelSelector.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LabelSelector {
    #[serde(default)]
    pub(crate) match_labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) match_expressions: Vec<LabelRequirement>,
}

/// `meta/v1` LabelSelectorRequirement.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LabelRequirement {
    #[serde(default)]
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) operator: String,
    #[serde(default, deserialize_with = "list")]
    pub(crate) values: Vec<String>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BindingObject {
    pub(crate) metadata: Meta,
    pub(crate) role_ref: RoleRef,
    #[serde(default, deserialize_with = "list")]
    pub(crate) subjects: Vec<SubjectRef>,
}

/// Which role a binding grants.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoleRef {
    #[serde(default)]
    pub(crate) api_group: String,
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) name: String,
}

/// To whom a binding grants it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SubjectRef {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
}

/// Reads an object without taking its tree apart.
pub(crate) fn read<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, serde_json::Error> {
    T::deserialize(value)
}
