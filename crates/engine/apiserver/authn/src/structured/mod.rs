//! AuthenticationConfiguration: identity providers whose tokens are accepted, and where the anonymous may go.

mod jwks;
mod jwt;
mod mapping;
mod validate;

use serde::Deserialize;

pub use jwks::{Jwks, JwksError};
pub use jwt::{JwtAuthenticator, KeyMissing, Provider};

/// Most providers.
pub const PROVIDERS_MAX: usize = 64;
/// Longest file, bytes.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;

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
        "{kind} of {api_version} is not known: write an AuthenticationConfiguration of apiserver.config.k8s.io/v1 or \
         v1beta1"
    )]
    Kind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// What it says makes no sense.
    #[error("{}", .errors.join("; "))]
    Invalid {
        /// Field and reason of each finding.
        errors: Vec<String>,
    },
}

/// Who proves who he is how.
#[derive(Debug)]
pub struct AuthenticationConfig {
    /// The identity providers, in the order in which they are asked.
    pub jwt: Vec<JwtAuthenticator>,
    /// Requests without credentials; `None` leaves that to other settings.
    pub anonymous: Option<AnonymousConfig>,
}

/// Requests without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousConfig {
    /// Whether they are let in at all.
    pub enabled: bool,
    /// Where; nothing means everywhere.
    #[serde(default)]
    pub conditions: Vec<AnonymousCondition>,
}

/// Where requests without credentials are let in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnonymousCondition {
    /// The path of the URL.
    pub path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtConfig>,
    anonymous: Option<AnonymousConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JwtConfig {
    issuer: IssuerConfig,
    #[serde(default)]
    claim_validation_rules: Vec<ClaimRule>,
    claim_mappings: Mappings,
    #[serde(default)]
    user_validation_rules: Vec<UserRule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct IssuerConfig {
    url: String,
    #[serde(rename = "discoveryURL")]
    discovery_url: String,
    certificate_authority: String,
    audiences: Vec<String>,
    audience_match_policy: String,
    egress_selector_type: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClaimRule {
    claim: String,
    required_value: String,
    expression: String,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mappings {
    username: Mapping,
    groups: Mapping,
    uid: Mapping,
    extra: Vec<ExtraMapping>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mapping {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ExtraMapping {
    key: String,
    value_expression: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct UserRule {
    expression: String,
    message: String,
}

impl AuthenticationConfig {
    /// Reads a configuration, YAML or JSON. `own_issuers` are names under which the cluster itself issues tokens: no
    /// provider may have one of them.
    pub fn parse(text: &str, own_issuers: &[String]) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong);
        }
        let document: Document = serde_yaml_ng::from_str(text).map_err(|error| ConfigError::Read {
            reason: error.to_string(),
        })?;
        let known = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
        if document.kind != "AuthenticationConfiguration" || !known.contains(&document.api_version.as_str()) {
            return Err(ConfigError::Kind {
                api_version: document.api_version,
                kind: document.kind,
            });
        }
        validate::compile(document, own_issuers).map_err(|errors| ConfigError::Invalid { errors })
    }
}

#[cfg(test)]
mod tests;
