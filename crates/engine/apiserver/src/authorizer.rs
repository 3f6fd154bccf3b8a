//! The authoriser as the pipeline sees it.

pub use engenho_authz::{Attributes, Decision, Identity, Verdict};

/// A rule over resources, as a SelfSubjectRulesReview lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    pub api_groups: Vec<String>,
    /// Resources, subresources written `resource/subresource`.
    pub resources: Vec<String>,
    /// Names; empty means all.
    pub resource_names: Vec<String>,
}

/// A rule over paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NonResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// Paths, `*` at the end matches any rest.
    pub non_resource_urls: Vec<String>,
}

/// What somebody may do in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Over resources.
    pub resource_rules: Vec<ResourceRule>,
    /// Over paths.
    pub non_resource_rules: Vec<NonResourceRule>,
    /// What could not be evaluated, for people.
    pub error: Option<String>,
}

/// Decides whether a request may go on. Called for every request, so it answers from memory.
pub trait Authorizer: Send + Sync + 'static {
    /// The decision about one request.
    fn authorize(&self, attributes: &Attributes) -> Decision;

    /// What `identity` may do in `namespace`.
    fn rules(&self, identity: &Identity, namespace: &str) -> Rules;
}
