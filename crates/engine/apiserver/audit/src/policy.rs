//! Audit policies (`audit.k8s.io/v1` `Policy`): the first rule that matches a request says how much of it is recorded.

use engenho_authz::Attributes;
use serde::{Deserialize, Serialize};

/// How much of a request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when, and the outcome.
    Metadata,
    /// The same with the body of the request.
    Request,
    /// The same with the body of the answer.
    RequestResponse,
}

impl Level {
    /// As policies and events write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// A moment in the life of a request at which an event is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Before anything is done with it.
    RequestReceived,
    /// Its answer has begun and will last: watches, and the like.
    ResponseStarted,
    /// Its answer is complete.
    ResponseComplete,
    /// The server failed at it.
    Panic,
}

/// What is recorded of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    /// How much.
    pub level: Level,
    omitted: [bool; 4],
    /// Whether `managedFields` of objects are left out.
    pub omit_managed_fields: bool,
}

impl AuditConfig {
    /// Whether an event is recorded at this stage.
    pub fn records(&self, stage: Stage) -> bool {
        self.level != Level::None && !self.omitted[stage as usize]
    }
}

/// Why a policy is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is neither YAML nor JSON of the right shape.
    #[error("failed decoding: {0}")]
    Unreadable(#[source] serde_yaml_ng::Error),
    /// It is of another version or kind.
    #[error("unknown group version field {api_version:?}, kind {kind:?} in policy")]
    Version {
        /// `apiVersion`
        api_version: String,
        /// `kind`
        kind: String,
    },
    /// A field has a value that it cannot have.
    #[error("{field}: Invalid value: {value:?}: {reason}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// It has no rules.
    #[error("loaded illegal policy with 0 rules")]
    Empty,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPolicy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    omitted: [bool; 4],
    omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy, as YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let raw: RawPolicy = serde_yaml_ng::from_str(text).map_err(PolicyError::Unreadable)?;
        if raw.api_version != "audit.k8s.io/v1" || raw.kind != "Policy" {
            return Err(PolicyError::Version {
                api_version: raw.api_version,
                kind: raw.kind,
            });
        }
        for (i, rule) in raw.rules.iter().enumerate() {
            check(rule, &format!("rules[{i}]"))?;
        }
        if raw.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        Ok(Self {
            omitted: marked([false; 4], &raw.omit_stages),
            rules: raw.rules,
            omit_managed_fields: raw.omit_managed_fields,
        })
    }

    /// What is recorded of a request.
    pub fn decide(&self, request: &Attributes) -> AuditConfig {
        match self.rules.iter().find(|rule| rule.matches(request)) {
            Some(rule) => AuditConfig {
                level: rule.level,
                omitted: marked(self.omitted, &rule.omit_stages),
                omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
            },
            None => AuditConfig {
                level: Level::None,
                omitted: self.omitted,
                omit_managed_fields: self.omit_managed_fields,
            },
        }
    }
}

fn marked(mut omitted: [bool; 4], stages: &[Stage]) -> [bool; 4] {
    for stage in stages {
        omitted[*stage as usize] = true;
    }
    omitted
}

fn check(rule: &Rule, path: &str) -> Result<(), PolicyError> {
    let invalid = |field: String, value: &str, reason| {
        Err(PolicyError::Invalid {
            field,
            value: value.to_owned(),
            reason,
        })
    };
    for (i, url) in rule.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
        let field = format!("{path}.nonResourceURLs[{i}]");
        if !url.starts_with('/') {
            let reason = "non-resource URL rules must begin with a '/' character";
            return invalid(field, url, reason);
        }
        if url.trim_end_matches('*').contains('*') {
            let reason = "non-resource URL wildcards '*' must be the final character of the rule";
            return invalid(field, url, reason);
        }
    }
    for resources in &rule.resources {
        let group = &resources.group;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !group.is_empty() && group != "*" && !group.chars().all(is_name) {
            let reason =
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'";
            return invalid(format!("{path}.resources.group"), group, reason);
        }
        if !resources.resource_names.is_empty() && resources.resources.is_empty() {
            let names = resources.resource_names.join(",");
            let reason = "using resourceNames requires at least one resource";
            return invalid(format!("{path}.resources.resourceNames"), &names, reason);
        }
    }
    let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if about_resources && !rule.non_resource_urls.is_empty() {
        let urls = rule.non_resource_urls.join(",");
        let reason = "rules cannot apply to both regular resources and non-resource URLs";
        return invalid(format!("{path}.nonResourceURLs"), &urls, reason);
    }
    Ok(())
}

impl Rule {
    fn matches(&self, request: &Attributes) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted);
        let open = |list: &[String]| list.is_empty();
        let identity = &request.identity;
        if !(open(&self.users) || has(&self.users, &identity.user)) {
            return false;
        }
        if !(open(&self.user_groups) || identity.groups.iter().any(|group| has(&self.user_groups, group))) {
            return false;
        }
        if !(open(&self.verbs) || has(&self.verbs, &request.verb)) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return request.resource_request
                && (open(&self.namespaces) || has(&self.namespaces, &request.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.matches(request)));
        }
        if !self.non_resource_urls.is_empty() {
            return !request.resource_request && self.non_resource_urls.iter().any(|url| is_path(url, &request.path));
        }
        true
    }
}

impl GroupResources {
    fn matches(&self, request: &Attributes) -> bool {
        if self.group != request.group && self.group != "*" {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !self.resource_names.contains(&request.name) {
            return false;
        }
        let (resource, subresource) = (request.resource.as_str(), request.subresource.as_str());
        self.resources.iter().any(|one| match one.split_once('/') {
            None => one == "*" || (subresource.is_empty() && one == resource),
            Some((of, part)) => {
                (of == resource && part == "*")
                    || (!subresource.is_empty() && part == subresource && (of == resource || of == "*"))
            }
        })
    }
}

fn is_path(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*'))
}

#[cfg(test)]
mod tests {
    use engenho_authz::Identity;

    use super::*;

    fn policy(rules: &str) -> Policy {
        Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}")).expect("a policy")
    }

    fn resource(resource: &str, subresource: &str, name: &str) -> Attributes {
        Attributes {
            identity: Identity {
                user: "u".into(),
                groups: vec!["g".into()],
                ..Identity::default()
            },
            resource_request: true,
            verb: "get".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            namespace: "a".into(),
            ..Attributes::default()
        }
    }

    fn path(path: &str) -> Attributes {
        Attributes {
            verb: "get".into(),
            path: path.into(),
            ..Attributes::default()
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(
            "- {level: None, users: [nobody]}
- {level: None, nonResourceURLs: [/healthz*, /version]}
- {level: Metadata, resources: [{group: '', resources: [secrets, configmaps]}]}
- {level: RequestResponse, resources: [{group: '', resources: [pods]}], namespaces: [a], omitStages: [RequestReceived]}
- {level: Request, userGroups: [g], verbs: [get]}",
        );
        let level = |attributes: Attributes| policy.decide(&attributes).level;
        assert_eq!(level(path("/healthz/ping")), Level::None);
        assert_eq!(level(resource("secrets", "", "x")), Level::Metadata);
        let pods = policy.decide(&resource("pods", "", "x"));
        assert_eq!(pods.level, Level::RequestResponse);
        assert!(!pods.records(Stage::RequestReceived) && pods.records(Stage::ResponseComplete));
        assert_eq!(level(resource("pods", "log", "x")), Level::Request);
        // Nothing matches: nothing is recorded.
        assert_eq!(level(path("/apis")), Level::None);
    }

    #[test]
    fn resources_have_patterns() {
        let matches = |rule: &str, attributes: Attributes| {
            let all = format!("- {{level: Metadata, resources: [{{group: '', resources: [{rule}]}}]}}");
            policy(&all).decide(&attributes).level == Level::Metadata
        };
        assert!(matches("'*'", resource("pods", "log", "")));
        assert!(matches("pods/log", resource("pods", "log", "")));
        assert!(matches("'pods/*'", resource("pods", "", "")));
        assert!(matches("'*/log'", resource("pods", "log", "")));
        assert!(!matches("'*/log'", resource("pods", "exec", "")));
        assert!(!matches("pods", resource("pods", "log", "")));
        let named = policy("- {level: Metadata, resources: [{group: '*', resources: [pods], resourceNames: [x]}]}");
        assert_eq!(named.decide(&resource("pods", "", "x")).level, Level::Metadata);
        assert_eq!(named.decide(&resource("pods", "", "y")).level, Level::None);
    }

    #[test]
    fn managed_fields_are_left_out_by_rule_or_policy() {
        let policy = Policy::parse(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitManagedFields: true\nrules:
- {level: Request, verbs: [get], omitManagedFields: false}\n- {level: Request}",
        )
        .expect("a policy");
        assert!(!policy.decide(&path("/x")).omit_managed_fields);
        let other = Attributes {
            verb: "post".into(),
            ..path("/x")
        };
        assert!(policy.decide(&other).omit_managed_fields);
    }

    #[test]
    fn broken_policies_are_refused() {
        for (text, wanted) in [
            (
                "apiVersion: v1\nkind: Policy\nrules: [{level: None}]",
                "unknown group version",
            ),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []", "0 rules"),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]",
                "failed decoding",
            ),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: [x]}]",
                "must begin with a '/'",
            ),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: ['/a*b']}]",
                "must be the final character",
            ),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: [/x], namespaces: [a]}]",
                "cannot apply to both",
            ),
            (
                "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, resources: [{resourceNames: [a]}]}]",
                "at least one resource",
            ),
            ("[", "failed decoding"),
        ] {
            let error = Policy::parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
