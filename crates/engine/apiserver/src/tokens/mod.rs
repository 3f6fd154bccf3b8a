//! Bearer tokens: who stands behind one, tokens of service accounts on request, reviews, and what the issuer tells of
//! itself.

mod objects;
mod oidc;
pub(crate) mod openid;
pub(crate) mod request;
pub(crate) mod review;
mod used;
mod webhook;

use std::sync::Arc;

use async_trait::async_trait;
use engenho_authn::{Accepted, Rejected, bootstrap, common_audiences};
use http::{HeaderMap, header};

use self::objects::StoredObjects;
pub use self::oidc::OidcTokens;
pub(crate) use self::oidc::destination;
pub use self::webhook::{WebhookSettings, WebhookTokens};
use crate::server::Inner;
use crate::status::Status;

/// Why a bearer token names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing is known of it: somebody else may know more.
    #[error("the bearer token is unknown")]
    Unknown,
    /// It is known not to be valid.
    #[error("the bearer token is not valid: {reason}")]
    Invalid {
        /// Why, as clients of a TokenReview are told.
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
    /// Whose token it is. An answer without audiences is good for those of the API. Bounded in time.
    async fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Accepted, TokenError>;
}

/// A request's bearer token, whose owner the server is to find. Travels in the request's extensions.
#[derive(Clone)]
pub struct BearerToken(String);

impl BearerToken {
    /// This token; `None` if it can be none, for it has blanks or signs that no header carries.
    pub fn new(token: impl Into<String>) -> Option<Self> {
        let token = token.into();
        let visible = |byte: u8| byte.is_ascii_graphic();
        (!token.is_empty() && token.bytes().all(visible)).then_some(Self(token))
    }

    /// Takes the token out of the headers of a request.
    pub fn take(headers: &mut HeaderMap) -> Option<Self> {
        let value = headers.remove(header::AUTHORIZATION)?;
        let Header::Token(token) = Header::read(value.to_str().ok()?) else {
            return None;
        };
        Self::new(token)
    }

    /// Puts the token into the headers of a request that another member judges.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        if let Ok(mut value) = http::HeaderValue::from_str(&format!("Bearer {}", self.0)) {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
    }

    /// The token itself.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// What an `Authorization` header says.
pub(crate) enum Header<'a> {
    /// A bearer token.
    Token(&'a str),
    /// A bearer token that is overlooked, for there is more than one space before it.
    Spaced,
    /// Something else.
    Other,
}

impl<'a> Header<'a> {
    /// Reads the header as upstream does.
    pub fn read(value: &'a str) -> Self {
        let mut parts = value.trim().splitn(3, ' ');
        let bearer = parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
        match (parts.next().filter(|_| bearer), parts.next()) {
            (Some(""), Some(_)) => Self::Spaced,
            (Some(token), _) if !token.is_empty() => Self::Token(token),
            _ => Self::Other,
        }
    }
}

/// A token that nobody vouches for.
pub(crate) struct Refused {
    /// What those say who know it.
    reasons: Vec<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.review())
    }
}

impl Refused {
    /// What a TokenReview tells. Upstream asks its own clients' tokens first, which know none but theirs.
    fn review(&self) -> String {
        let mut texts = vec!["invalid bearer token"];
        for reason in &self.reasons {
            if !texts.contains(&reason.as_str()) {
                texts.push(reason);
            }
        }
        match texts.as_slice() {
            [one] => (*one).to_owned(),
            _ => format!("[{}]", texts.join(", ")),
        }
    }
}

/// The audiences of the API.
pub(crate) fn api_audiences(server: &Inner) -> &[String] {
    server.deps.issuer.as_ref().map_or(&[], |issuer| &issuer.audiences)
}

/// Finds whose token it is, in the order of upstream: static ones, those of service accounts, of joining machines, and
/// what else there is.
pub(crate) async fn authenticate(
    server: &Arc<Inner>,
    token: &str,
    wanted: &[String],
) -> Result<Result<Accepted, Refused>, Status> {
    let mut reasons = Vec::new();
    let agnostic = common_audiences(api_audiences(server), wanted);
    // What knows no audiences is good for those of the API.
    let for_api = !agnostic.is_empty() || wanted.is_empty();
    let mut found = None;
    if let Some(tokens) = &server.deps.tokens
        && for_api
    {
        found = settle(tokens.authenticate(token, wanted).await, &mut reasons)?;
    }
    if found.is_none() {
        found = settle(by_objects(server, token, wanted, for_api).await?, &mut reasons)?;
    }
    for tokens in &server.deps.further_tokens {
        if found.is_none() {
            found = settle(tokens.authenticate(token, wanted).await, &mut reasons)?;
        }
    }
    let Some(mut accepted) = found else {
        return Ok(Err(Refused { reasons }));
    };
    if accepted.audiences.is_empty() {
        if !for_api {
            return Ok(Err(Refused { reasons }));
        }
        accepted.audiences = agnostic;
    }
    for (key, value) in &accepted.annotations {
        tracing::debug!(key, value, "a token was accepted");
    }
    if let Some((namespace, name)) = &accepted.used_secret {
        used::note(server, namespace, name).await;
    }
    accepted.identity = crate::identity::authenticated(accepted.identity);
    Ok(Ok(accepted))
}

fn settle(result: Result<Accepted, TokenError>, reasons: &mut Vec<String>) -> Result<Option<Accepted>, Status> {
    match result {
        Ok(accepted) => Ok(Some(accepted)),
        Err(TokenError::Unknown) => Ok(None),
        Err(TokenError::Invalid { reason }) => {
            reasons.push(reason);
            Ok(None)
        }
        Err(TokenError::Unavailable { reason }) => Err(Status::unavailable(&reason)),
    }
}

/// Tokens that objects vouch for. If objects speak against one, this replica may only be behind: it is looked at again
/// once everything is here that was committed before.
async fn by_objects(
    server: &Inner,
    token: &str,
    wanted: &[String],
    for_api: bool,
) -> Result<Result<Accepted, TokenError>, Status> {
    let look = || {
        let objects = StoredObjects::new(server);
        let now_s = (server.deps.clock.unix_ms() / 1000).cast_signed();
        let issued = match &server.deps.issuer {
            Some(issuer) => issuer.authenticate(token, wanted, now_s, &objects),
            None => Err(Rejected::Unknown),
        };
        match issued {
            Err(Rejected::Unknown) if for_api => bootstrap::authenticate(token, now_s, &objects),
            other => other,
        }
    };
    let mut result = look();
    if matches!(result, Err(Rejected::Invalid { by_objects: true, .. })) && server.storage.linearize().await.is_ok() {
        result = look();
    }
    Ok(match result {
        Ok(accepted) => Ok(accepted),
        Err(Rejected::Unknown) => Err(TokenError::Unknown),
        Err(Rejected::Invalid { text, .. }) => Err(TokenError::Invalid { reason: text }),
        Err(Rejected::Objects(status)) => return Err(status),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_upstream_reads_them() {
        let token = |value: &str| match Header::read(value) {
            Header::Token(token) => Some(token.to_owned()),
            Header::Spaced => Some("spaced".to_owned()),
            Header::Other => None,
        };
        for (value, expected) in [
            ("Bearer a", Some("a")),
            (" bEARER a b ", Some("a")),
            ("Bearer  a", Some("spaced")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic a", None),
            ("", None),
        ] {
            assert_eq!(token(value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn reviews_tell_all_reasons_once() {
        let refused = |reasons: &[&str]| {
            let reasons = reasons.iter().map(|r| (*r).to_owned()).collect();
            Refused { reasons }.review()
        };
        assert_eq!(refused(&[]), "invalid bearer token");
        assert_eq!(refused(&["invalid bearer token"]), "invalid bearer token");
        assert_eq!(refused(&["gone", "gone"]), "[invalid bearer token, gone]");
    }
}
