//! What somebody may do in a namespace, as a SelfSubjectRulesReview lists it.

use serde::Serialize;

/// A rule over resources.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources, subresources written `resource/subresource`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
}

/// A rule over paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NonResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// Paths; a `*` at the end matches any rest.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// The `status` of a SelfSubjectRulesReview; serialises as such.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleReview {
    /// Over resources.
    pub resource_rules: Vec<ResourceRule>,
    /// Over paths.
    pub non_resource_rules: Vec<NonResourceRule>,
    /// Whether somebody else than RBAC decides too, so that more may be allowed than is listed.
    pub incomplete: bool,
    /// What could not be evaluated, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_error: Option<String>,
}
