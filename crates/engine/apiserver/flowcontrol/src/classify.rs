//! Which flow schema takes a request, and which flow of it the request belongs to.

use sha2::{Digest as _, Sha256};

use crate::config::{FlowSchema, NamedObject, PathRule, ResourceRule, Subject};

/// What classification looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest<'a> {
    /// Who sends the request.
    pub user: &'a str,
    /// Groups of the sender.
    pub groups: &'a [String],
    /// Whether it is about a resource.
    pub resource_request: bool,
    /// API verb, or the lower-case method for a path.
    pub verb: &'a str,
    /// API group, empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural resource name.
    pub resource: &'a str,
    /// Subresource, empty for none.
    pub subresource: &'a str,
    /// Namespace, empty for none.
    pub namespace: &'a str,
    /// Object name, empty for a collection.
    pub name: &'a str,
    /// Path of the URL.
    pub path: &'a str,
}

impl FlowSchema {
    /// Whether one of its rules takes the request.
    pub(crate) fn matches(&self, digest: &Digest<'_>) -> bool {
        self.spec.rules.iter().any(|rule| {
            rule.subjects.iter().any(|subject| is_subject(subject, digest))
                && if digest.resource_request {
                    rule.resource_rules.iter().any(|rule| is_resource(rule, digest))
                } else {
                    rule.non_resource_rules.iter().any(|rule| is_path(rule, digest))
                }
        })
    }

    /// What tells the flows of this schema apart.
    pub(crate) fn distinguisher<'a>(&self, digest: &Digest<'a>) -> &'a str {
        match self.spec.distinguisher_method.as_ref().map(|d| d.method.as_str()) {
            Some("ByUser") => digest.user,
            Some("ByNamespace") => digest.namespace,
            _ => "",
        }
    }

    /// The number by which a flow's queues are dealt.
    pub(crate) fn flow_hash(&self, distinguisher: &str) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.name().as_bytes());
        hash.update([0]);
        hash.update(distinguisher.as_bytes());
        let sum = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&sum[..8]);
        u64::from_le_bytes(first)
    }
}

fn is_subject(subject: &Subject, digest: &Digest<'_>) -> bool {
    match subject.kind.as_str() {
        "User" => subject
            .user
            .as_ref()
            .is_some_and(|user| user.name == "*" || user.name == digest.user),
        "Group" => subject
            .group
            .as_ref()
            .is_some_and(|group| group.name == "*" || digest.groups.contains(&group.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|account| {
            let rest = digest.user.strip_prefix("system:serviceaccount:");
            let rest = rest.and_then(|rest| rest.strip_prefix(account.namespace.as_str()));
            rest.and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|name| account.name == "*" || account.name == name)
        }),
        _ => false,
    }
}

fn is_resource(rule: &ResourceRule, digest: &Digest<'_>) -> bool {
    let resource = |one: &str| {
        if digest.subresource.is_empty() {
            one == digest.resource
        } else {
            one.split_once('/') == Some((digest.resource, digest.subresource))
        }
    };
    contains(&rule.verbs, digest.verb)
        && (is_wildcard(&rule.resources) || rule.resources.iter().any(|one| resource(one)))
        && contains(&rule.api_groups, digest.group)
        && if digest.namespace.is_empty() {
            rule.cluster_scope
        } else {
            contains(&rule.namespaces, digest.namespace)
        }
}

fn is_path(rule: &PathRule, digest: &Digest<'_>) -> bool {
    let path = |one: &str| {
        if one == "*" || one == digest.path {
            return true;
        }
        let prefix = one.strip_suffix('*').unwrap_or(one);
        let rest = digest.path.strip_prefix(prefix);
        rest.is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
    };
    contains(&rule.verbs, digest.verb) && rule.non_resource_urls.iter().any(|one| path(one))
}

/// A wildcard is the only member of its list: validation sees to that.
fn is_wildcard(list: &[String]) -> bool {
    matches!(list, [one] if one == "*")
}

fn contains(list: &[String], wanted: &str) -> bool {
    is_wildcard(list) || list.iter().any(|one| one == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema(subject: Value, resources: Value, paths: Value) -> FlowSchema {
        let rule = json!({"subjects": [subject], "resourceRules": resources, "nonResourceRules": paths});
        FlowSchema::parse(&json!({"metadata": {"name": "s"}, "spec": {"rules": [rule]}})).expect("a schema")
    }

    fn everybody() -> Value {
        json!({"kind": "Group", "group": {"name": "*"}})
    }

    #[test]
    fn subjects_match_as_upstream() {
        let every = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
        let groups = ["g".to_owned()];
        let takes = |subject: Value, user: &str| {
            let digest = Digest {
                user,
                groups: &groups,
                verb: "get",
                path: "/x",
                ..Digest::default()
            };
            schema(subject, json!([]), every.clone()).matches(&digest)
        };
        assert!(takes(json!({"kind": "User", "user": {"name": "a"}}), "a"));
        assert!(takes(json!({"kind": "User", "user": {"name": "*"}}), "b"));
        assert!(!takes(json!({"kind": "User", "user": {"name": "a"}}), "b"));
        assert!(takes(json!({"kind": "Group", "group": {"name": "g"}}), "b"));
        assert!(!takes(json!({"kind": "Group"}), "b"));
        let account =
            |name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "n", "name": name}});
        assert!(takes(account("x"), "system:serviceaccount:n:x"));
        assert!(takes(account("*"), "system:serviceaccount:n:y"));
        assert!(!takes(account("*"), "system:serviceaccount:nn:y"));
        assert!(!takes(account("x"), "system:serviceaccount:n:y"));
        assert!(!takes(json!({"kind": "Other"}), "a"));
    }

    #[test]
    fn resource_rules_match_as_upstream() {
        let takes = |rule: Value, digest: Digest<'_>| schema(everybody(), json!([rule]), json!([])).matches(&digest);
        let digest = Digest {
            resource_request: true,
            verb: "get",
            resource: "pods",
            namespace: "a",
            ..Digest::default()
        };
        let rule = |resources: &[&str], namespaces: &[&str], cluster: bool| {
            json!({
                "verbs": ["get"], "apiGroups": [""], "resources": resources, "namespaces": namespaces,
                "clusterScope": cluster,
            })
        };
        assert!(takes(rule(&["pods"], &["a"], false), digest));
        assert!(takes(rule(&["*"], &["*"], false), digest));
        assert!(!takes(rule(&["pods"], &["b"], true), digest));
        assert!(!takes(
            rule(&["pods"], &["a"], false),
            Digest { verb: "list", ..digest }
        ));
        assert!(!takes(
            rule(&["pods"], &["a"], false),
            Digest {
                group: "apps",
                ..digest
            }
        ));
        let log = Digest {
            subresource: "log",
            ..digest
        };
        assert!(!takes(rule(&["pods"], &["a"], false), log));
        assert!(takes(rule(&["pods/log"], &["a"], false), log));
        let cluster = Digest {
            namespace: "",
            ..digest
        };
        assert!(!takes(rule(&["pods"], &["*"], false), cluster));
        assert!(takes(rule(&["pods"], &[], true), cluster));
        assert!(!takes(
            rule(&["pods"], &["*"], true),
            Digest {
                resource_request: false,
                ..digest
            }
        ));
    }

    #[test]
    fn paths_match_as_upstream() {
        let takes = |rule: &str, path: &str| {
            let digest = Digest {
                verb: "get",
                path,
                ..Digest::default()
            };
            schema(
                everybody(),
                json!([]),
                json!([{"verbs": ["get"], "nonResourceURLs": [rule]}]),
            )
            .matches(&digest)
        };
        assert!(takes("/healthz", "/healthz"));
        assert!(takes("/healthz", "/healthz/ping"));
        assert!(!takes("/healthz", "/healthzz"));
        assert!(takes("/apis/*", "/apis/apps"));
        assert!(!takes("/apis/*", "/apis"));
        assert!(takes("*", "/"));
    }
}
