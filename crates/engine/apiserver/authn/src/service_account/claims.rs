//! What a token of a service account says.

use engenho_authz::authn::service_account_user;
use serde_json::{Value, json};

/// An object that a token is bound to, and no later one of its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its UID; empty if it is only named.
    pub uid: String,
}

impl Reference {
    /// The object by its metadata.
    pub fn to(object: &Value) -> Self {
        Self::of(&object["metadata"])
    }

    pub(super) fn read(claim: &Value) -> Option<Self> {
        claim.is_object().then(|| Self::of(claim))
    }

    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            uid: text("uid"),
        }
    }

    fn claim(&self) -> Value {
        let mut claim = json!({});
        for (key, text) in [("name", &self.name), ("uid", &self.uid)] {
            if !text.is_empty() {
                claim[key] = text.as_str().into();
            }
        }
        claim
    }
}

/// What a new token is to say.
#[derive(Debug, Clone)]
pub struct Grant<'a> {
    /// Namespace of the account.
    pub namespace: &'a str,
    /// The account.
    pub account: Reference,
    /// For whom the token is.
    pub audiences: &'a [String],
    /// The Pod that it is bound to.
    pub pod: Option<Reference>,
    /// The Secret that it is bound to.
    pub secret: Option<Reference>,
    /// The Node that it is bound to; with a Pod, where that one is.
    pub node: Option<Reference>,
    /// Now, seconds since the Unix epoch.
    pub now_s: i64,
    /// For how long it is valid, seconds.
    pub lifetime_s: i64,
    /// After how long its use is noted as late, seconds.
    pub warn_after_s: Option<i64>,
    /// Its own id, a UUID.
    pub id: &'a str,
}

/// The claims of a token.
pub(super) fn of(grant: &Grant<'_>, issuer: &str) -> Value {
    let mut private = json!({"namespace": grant.namespace, "serviceaccount": grant.account.claim()});
    for (kind, bound) in [("pod", &grant.pod), ("secret", &grant.secret), ("node", &grant.node)] {
        if let Some(bound) = bound {
            private[kind] = bound.claim();
        }
    }
    if let Some(after) = grant.warn_after_s {
        private["warnafter"] = grant.now_s.saturating_add(after).into();
    }
    json!({
        "aud": grant.audiences,
        "exp": grant.now_s.saturating_add(grant.lifetime_s),
        "iat": grant.now_s,
        "iss": issuer,
        "jti": grant.id,
        "kubernetes.io": private,
        "nbf": grant.now_s,
        "sub": service_account_user(grant.namespace, &grant.account.name),
    })
}
