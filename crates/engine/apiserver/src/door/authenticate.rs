//! Who sends a request: a client certificate, a bearer token, or nobody in particular.

use std::collections::BTreeSet;

use http::{Request, header};

use super::{Door, PeerCertificate, front_proxy, websocket};
use crate::authorizer::Identity;
use crate::body::Body;
use crate::identity;
use crate::status::Status;
use crate::tokens::{BearerToken, Header, TokenError};

/// What upstream warns of a token that it overlooks.
const SPACED: &str = "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// Which requests without credentials go on as `system:anonymous`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// All.
    Everywhere,
    /// Those for one of these paths.
    Paths(BTreeSet<String>),
    /// None.
    Nowhere,
}

impl Anonymous {
    fn admits(&self, path: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Paths(paths) => paths.contains(path),
            Self::Nowhere => false,
        }
    }
}

/// What a door knows of who sends a request.
#[derive(Clone)]
pub(super) enum Sender {
    /// This is who.
    Known(Identity),
    /// A member with a replica has to say whose token it is.
    Token(BearerToken),
}

impl Sender {
    /// For a server of this process.
    pub fn to_extensions(&self, request: &mut Request<Body>) {
        match self {
            Self::Known(identity) => drop(request.extensions_mut().insert(identity.clone())),
            Self::Token(token) => drop(request.extensions_mut().insert(token.clone())),
        }
    }

    /// For another member: a token is sent without an identity.
    pub fn to_headers(&self, request: &mut Request<Body>) {
        match self {
            Self::Known(identity) => identity::identity_to_headers(identity, request.headers_mut()),
            Self::Token(token) => token.put(request.headers_mut()),
        }
    }
}

/// A sender, and what he is to be warned of.
pub(super) struct Authenticated {
    pub sender: Sender,
    pub warning: Option<&'static str>,
}

impl Door {
    /// The first credential that proves an identity wins; a wrong one without a right one is refused, as is
    /// none at all when anonymous requests are off. The headers lose their token.
    pub(super) async fn authenticate(
        &self,
        request: &mut Request<Body>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<Authenticated, Status> {
        let known = |who| Authenticated {
            sender: Sender::Known(who),
            warning: None,
        };
        let mut refused = false;
        let now_ms = self.deps.clock.unix_ms();
        let proxied = match &self.deps.front_proxy {
            Some(proxy) => proxy.identity(request.headers(), certificate, now_ms),
            None => Ok(None),
        };
        front_proxy::strip(request.headers_mut());
        let authorization = request.headers_mut().remove(header::AUTHORIZATION);
        match proxied {
            Ok(Some(who)) => return Ok(known(identity::authenticated(who))),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "a peer is no proxy");
                refused = true;
            }
        }
        if let Some(certificate) = certificate {
            match certificate.identity(&self.deps.client_roots, now_ms) {
                Ok(who) => return Ok(known(identity::authenticated(who))),
                Err(error) => {
                    tracing::debug!(%error, "a client certificate was refused");
                    refused = true;
                }
            }
        }
        let authorization = authorization.as_ref().and_then(|value| value.to_str().ok());
        let mut warning = None;
        let mut token = None;
        match authorization.map(Header::read) {
            Some(Header::Token(text)) => token = Some(text.to_owned()),
            Some(Header::Spaced) => warning = Some(SPACED),
            Some(Header::Other) | None => {}
        }
        // Browsers cannot set headers of a WebSocket, and name the token as a protocol.
        match websocket::take_token(request.headers_mut()) {
            Ok(found) => token = token.or(found),
            Err(error) => {
                tracing::debug!(error, "the token of a WebSocket is malformed");
                refused = true;
            }
        }
        if let Some(token) = token {
            return match self.deps.tokens.authenticate(&token, &[]).await {
                Ok(accepted) => Ok(known(identity::authenticated(accepted.identity))),
                Err(TokenError::Unavailable { reason }) => Err(Status::unavailable(&reason)),
                Err(TokenError::Unknown | TokenError::Invalid { .. }) => {
                    let token = BearerToken::new(token).ok_or_else(Status::unauthorized)?;
                    Ok(Authenticated {
                        sender: Sender::Token(token),
                        warning: None,
                    })
                }
            };
        }
        if refused || !self.options.anonymous.admits(request.uri().path()) {
            return Err(Status::unauthorized());
        }
        Ok(Authenticated {
            warning,
            ..known(identity::anonymous())
        })
    }
}
