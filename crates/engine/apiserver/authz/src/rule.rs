//! One policy rule as an object writes it, and what it allows.

use serde::{Deserialize, Deserializer, Serialize};

use crate::attributes::Attributes;
use crate::quote::quote_list;

/// A rule of a Role or ClusterRole (`rbac.authorization.k8s.io/v1` PolicyRule).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// Verbs; `*` is all.
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
    /// API groups; `*` is all, empty is the core group.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources: `*`, `resource`, `resource/subresource` or `*/subresource`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Object names; none means all.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths; a `*` at the end matches any rest.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// A list that may be null.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

impl PolicyRule {
    /// Whether the rule by itself allows what `attributes` ask.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        if !has_or_star(&self.verbs, &attributes.verb) {
            return false;
        }
        if !attributes.resource_request {
            return self.non_resource_urls.iter().any(|p| path_matches(p, &attributes.path));
        }
        has_or_star(&self.api_groups, &attributes.group)
            && self.resources.iter().any(|r| resource_matches(r, attributes))
            && (self.resource_names.is_empty() || has(&self.resource_names, &attributes.name))
    }

    /// The rule in one line, as it stands in upstream's errors.
    pub fn describe(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quote_list(list)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn has(list: &[String], one: &str) -> bool {
    list.iter().any(|x| x == one)
}

fn has_or_star(list: &[String], one: &str) -> bool {
    list.iter().any(|x| x == "*" || x == one)
}

fn resource_matches(pattern: &str, attributes: &Attributes) -> bool {
    if pattern == "*" {
        return true;
    }
    if attributes.subresource.is_empty() {
        return pattern == attributes.resource;
    }
    let of = |resource: &str| pattern.strip_prefix(resource)?.strip_prefix('/');
    of(&attributes.resource) == Some(&attributes.subresource) || of("*") == Some(&attributes.subresource)
}

/// Whether the path pattern of a rule matches `path`.
pub(crate) fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || (pattern.ends_with('*') && path.starts_with(pattern.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn on(resource: &str, subresource: &str) -> Attributes {
        Attributes {
            resource_request: true,
            resource: resource.into(),
            subresource: subresource.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn resources_and_subresources_are_distinct() {
        for (pattern, resource, subresource, matches) in [
            ("*", "pods", "", true),
            ("*", "pods", "log", true),
            ("pods", "pods", "", true),
            ("pods", "pods", "log", false),
            ("pods/log", "pods", "log", true),
            ("pods/log", "pods", "", false),
            ("pods/log", "pods", "exec", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("*/scale", "deployments", "status", false),
            ("pods/*", "pods", "log", false),
            ("*/", "pods", "", false),
            ("pods", "nodes", "", false),
        ] {
            assert_eq!(
                resource_matches(pattern, &on(resource, subresource)),
                matches,
                "{pattern} {resource}/{subresource}"
            );
        }
    }

    #[test]
    fn paths_match_exactly_or_by_prefix() {
        for (pattern, path, matches) in [
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/", false),
            ("/healthz/*", "/healthz/etcd", true),
            ("/healthz/*", "/healthz", false),
            ("/apis*", "/apis", true),
            ("/apis**", "/apis/x", true),
            ("*", "/anything", true),
            ("*/metrics", "/x/metrics", false),
        ] {
            assert_eq!(path_matches(pattern, path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn null_lists_are_empty_and_rules_describe_themselves() {
        let rule: PolicyRule = serde_json::from_str(
            r#"{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"],"resourceNames":null}"#,
        )
        .expect("a rule");
        assert_eq!(
            rule.describe(),
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#
        );
        let urls = PolicyRule {
            verbs: strings(&["*"]),
            non_resource_urls: strings(&["*"]),
            ..PolicyRule::default()
        };
        assert_eq!(urls.describe(), r#"{NonResourceURLs:["*"], Verbs:["*"]}"#);
    }
}
