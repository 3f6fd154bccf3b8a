//! What an authorisation decision is made from, and what it says. Plain data, no logic.

use std::collections::BTreeMap;

/// Who sends a request, after authentication (upstream `user.Info`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User name, e.g. `system:node:web-1`.
    pub user: String,
    /// Unique id of the user, empty if the authenticator knows none.
    pub uid: String,
    /// Groups, in the order the authenticator gave them.
    pub groups: Vec<String>,
    /// Further facts; keys are lower case.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// Whether the identity is a member of `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What a request wants to do (upstream `authorizer.Attributes`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Who asks.
    pub identity: Identity,
    /// Lower-case verb: `get`, `list`, `watch`, `create`, ... or, for a path, the lower-case HTTP method.
    pub verb: String,
    /// Whether this is about a resource; otherwise only `verb` and `path` matter.
    pub resource_request: bool,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
    /// Subresource, empty for none.
    pub subresource: String,
    /// Namespace, empty for cluster scope or all namespaces.
    pub namespace: String,
    /// Object name, empty for a collection or a name the server generates.
    pub name: String,
    /// Path of the URL.
    pub path: String,
    /// The field selector of a list or watch, as sent.
    pub field_selector: String,
    /// The label selector of a list or watch, as sent.
    pub label_selector: String,
}

/// What one authoriser concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it pass.
    Allow,
    /// Refuse, whatever others say.
    Deny,
    /// Nothing known: ask the next one.
    NoOpinion,
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, for people; may be empty.
    pub reason: String,
    /// What went wrong on the way to it, if something did.
    pub error: Option<String>,
}

impl Decision {
    /// A decision to let it pass.
    pub fn allow(reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Allow,
            reason: reason.into(),
            error: None,
        }
    }

    /// A decision to refuse.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Deny,
            reason: reason.into(),
            error: None,
        }
    }

    /// No opinion.
    pub fn no_opinion(reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::NoOpinion,
            reason: reason.into(),
            error: None,
        }
    }

    /// The same, and what went wrong on the way to it.
    #[must_use]
    pub fn with_error(self, error: impl Into<String>) -> Self {
        Self {
            error: Some(error.into()),
            ..self
        }
    }

    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        self.verdict == Verdict::Allow
    }
}
