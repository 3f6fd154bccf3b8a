//! Who sends a request: a client certificate, a bearer token, or nobody in particular.

use async_trait::async_trait;
use http::{HeaderMap, header};

use super::{Door, PeerCertificate};
use crate::authorizer::Identity;
use crate::identity;
use crate::status::Status;

/// Why a bearer token names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is unknown, expired or forged.
    #[error("the bearer token is not valid: {reason}")]
    Invalid {
        /// Why, for the log.
        reason: String,
    },
    /// It cannot be judged now.
    #[error("the bearer token cannot be checked: {reason}")]
    Unavailable {
        /// Why, for people.
        reason: String,
    },
}

/// Finds who stands behind a bearer token.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// The identity of `token`'s owner. Bounded in time.
    async fn authenticate(&self, token: &str) -> Result<Identity, TokenError>;
}

impl Door {
    /// The first credential that proves an identity wins; a wrong one without a right one is refused, as is
    /// none at all when anonymous requests are off.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&PeerCertificate>,
    ) -> Result<Identity, Status> {
        let mut refused = false;
        if let Some(certificate) = certificate {
            match certificate.identity(&self.deps.client_roots, self.deps.clock.unix_ms()) {
                Ok(who) => return Ok(identity::authenticated(who)),
                Err(error) => {
                    tracing::debug!(%error, "a client certificate was refused");
                    refused = true;
                }
            }
        }
        if let Some(token) = bearer(headers) {
            match self.deps.tokens.authenticate(token).await {
                Ok(who) => return Ok(identity::authenticated(who)),
                Err(TokenError::Unavailable { reason }) => return Err(Status::unavailable(&reason)),
                Err(error) => {
                    tracing::debug!(%error, "a bearer token was refused");
                    refused = true;
                }
            }
        }
        if refused || !self.options.anonymous {
            Err(Status::unauthorized())
        } else {
            Ok(identity::anonymous())
        }
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
