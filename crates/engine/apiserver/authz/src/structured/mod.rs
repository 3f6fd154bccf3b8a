//! AuthorizationConfiguration: which authorizers decide, in which order.

mod conditions;
mod validate;

use std::collections::BTreeSet;

use serde::Deserialize;

pub use conditions::MatchConditions;

/// Longest file, bytes.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Most authorizers.
pub const AUTHORIZERS_MAX: usize = 64;
/// Most match conditions of one webhook.
const CONDITIONS_MAX: usize = 64;

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is too long.
    #[error("it is longer than {CONFIG_BYTES_MAX} bytes")]
    TooLong,
    /// It is no such configuration.
    #[error("it cannot be read: {reason}")]
    Read {
        /// What is wrong.
        reason: String,
    },
    /// It is of another kind or version.
    #[error(
        "{kind} of {api_version} is not known: write an AuthorizationConfiguration of apiserver.config.k8s.io/v1, \
         v1beta1 or v1alpha1"
    )]
    Kind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// What it says makes no sense.
    #[error("{}", crate::union::aggregate_errors(.errors).unwrap_or_default())]
    Invalid {
        /// Field and reason of each finding.
        errors: Vec<String>,
    },
    /// An authorizer that is no webhook has a name of its own.
    #[error("expected name {expected} for authorizer {kind} instead of {found}")]
    Name {
        /// Its name.
        expected: String,
        /// Its type.
        kind: String,
        /// What is written.
        found: String,
    },
    /// A type that a running server had is gone.
    #[error("missing required types: [{}]", .types.join(" "))]
    Missing {
        /// The types.
        types: Vec<String>,
    },
    /// A type that this server does not have.
    #[error(
        "authorizer type ABAC is not supported by this server: it takes no policy file. Grant rights by RBAC, or ask a \
         webhook"
    )]
    Abac,
    /// A way to reach a webhook that this server does not have.
    #[error(
        "authorizer {name}: connectionInfo.type InClusterConfig is not for API servers: write a kubeconfig, and use \
         KubeConfigFile"
    )]
    InCluster {
        /// Name of the authorizer.
        name: String,
    },
}

/// What a webhook that fails decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The next authorizer is asked.
    NoOpinion,
    /// The request is refused.
    Deny,
}

/// Version of the reviews that a webhook is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `authorization.k8s.io/v1`.
    V1,
    /// `authorization.k8s.io/v1beta1`.
    V1beta1,
}

/// How a webhook is asked.
#[derive(Debug)]
pub struct WebhookConfig {
    /// For how long an answer that allows is kept, milliseconds; 0 keeps none.
    pub authorized_ms: u64,
    /// For how long another one is kept, milliseconds; 0 keeps none.
    pub unauthorized_ms: u64,
    /// How long one review may take, milliseconds.
    pub timeout_ms: u64,
    /// Version of the reviews.
    pub version: ReviewVersion,
    /// What it means that it fails.
    pub failure_policy: FailurePolicy,
    /// Path of the kubeconfig that says where it is.
    pub kubeconfig: String,
    /// Which requests it is asked about.
    pub conditions: MatchConditions,
}

/// What an authorizer is.
#[derive(Debug)]
pub enum AuthorizerKind {
    /// What kubelets may do.
    Node,
    /// Roles and bindings.
    Rbac,
    /// Everything is allowed.
    AlwaysAllow,
    /// Nothing is allowed by it.
    AlwaysDeny,
    /// Somebody else is asked.
    Webhook(Box<WebhookConfig>),
}

impl AuthorizerKind {
    /// Its name in configurations and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Rbac => "RBAC",
            Self::AlwaysAllow => "AlwaysAllow",
            Self::AlwaysDeny => "AlwaysDeny",
            Self::Webhook(_) => "Webhook",
        }
    }
}

/// One authorizer.
#[derive(Debug)]
pub struct AuthorizerConfig {
    /// Its name, for metrics.
    pub name: String,
    /// What it is.
    pub kind: AuthorizerKind,
}

/// Who decides, in this order.
#[derive(Debug)]
pub struct AuthorizationConfig {
    /// The authorizers.
    pub authorizers: Vec<AuthorizerConfig>,
    document: Document,
}

/// What surrounds a configuration.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Why the file of a kubeconfig cannot be used, if so.
    pub check_file: &'a dyn Fn(&str) -> Option<String>,
    /// Types that must be there: those that a running server has.
    pub required: &'a BTreeSet<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    authorizers: Option<Vec<AuthorizerDocument>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AuthorizerDocument {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    webhook: Option<WebhookDocument>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WebhookDocument {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    cache_unauthorized_requests: Option<bool>,
    timeout: Option<String>,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionDocument,
    match_conditions: Option<Vec<ConditionDocument>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConnectionDocument {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConditionDocument {
    expression: String,
}

impl AuthorizationConfig {
    /// Reads a configuration, YAML or JSON.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub fn parse(text: &str, surroundings: Surroundings<'_>) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong);
        }
        let document: Document = serde_yaml_ng::from_str(text).map_err(|error| ConfigError::Read {
            reason: error.to_string(),
        })?;
        let known = ["v1", "v1beta1", "v1alpha1"];
        let version = document.api_version.strip_prefix("apiserver.config.k8s.io/");
        if document.kind != "AuthorizationConfiguration" || !version.is_some_and(|version| known.contains(&version)) {
            return Err(ConfigError::Kind {
                api_version: document.api_version,
                kind: document.kind,
            });
        }
        let authorizers = validate::compile(&document, surroundings)?;
        let has = |wanted: &str| authorizers.iter().any(|one| one.kind.name() == wanted);
        let missing = surroundings.required.iter().filter(|wanted| !has(wanted));
        let types: Vec<String> = missing.map(|wanted| (*wanted).to_owned()).collect();
        if !types.is_empty() {
            return Err(ConfigError::Missing { types });
        }
        Ok(Self { authorizers, document })
    }

    /// Whether it says the same as another one.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.document == other.document
    }

    /// The types that a reloaded configuration must have too: all that are no webhook.
    pub fn lasting_types(&self) -> BTreeSet<&'static str> {
        let types = self.authorizers.iter().map(|one| one.kind.name());
        types.filter(|kind| *kind != "Webhook").collect()
    }
}

#[cfg(test)]
mod tests;
