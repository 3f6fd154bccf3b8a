//! Tokens of identity providers. What a provider tells of itself and its keys are fetched when a token of it comes: a
//! server that nobody asks fetches nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engenho_authn::Accepted;
use engenho_authn::structured::{Jwks, JwtAuthenticator, KeyMissing};
use http::{Request, StatusCode, header};
use parking_lot::Mutex;
use revoada_core::env::Clock;
use serde_json::Value;

use super::{TokenAuthenticator, TokenError};
use crate::outbound::{Call, Destination, Outbound, Roots, Tls, call};

/// How long one request to a provider may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer of a provider may be.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// At least so much time lies between two looks at a provider's keys.
const PAUSE_MS: u64 = 10_000;
/// Keys that are used are looked at again after this time.
const KEYS_AGE_MS_MAX: u64 = 60 * 60 * 1000;

/// What is known of a provider.
#[derive(Default)]
struct Known {
    keys: Option<Arc<Jwks>>,
    /// When its keys were last looked at, in vain or not.
    looked_ms: Option<u64>,
    /// When they were last found.
    found_ms: u64,
}

/// Accepts tokens of one identity provider.
pub struct OidcTokens {
    authenticator: JwtAuthenticator,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held while the provider is asked.
    looking: tokio::sync::Mutex<()>,
}

impl OidcTokens {
    /// Asks the provider through `outbound`.
    pub fn new(authenticator: JwtAuthenticator, outbound: Arc<dyn Outbound>, clock: Arc<dyn Clock>) -> Self {
        Self {
            authenticator,
            outbound,
            clock,
            known: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// The provider's keys; `anew` if those that are known lack one. One look at a time: others wait for it only if they
    /// have no keys to go by.
    async fn keys(&self, anew: bool) -> Option<Arc<Jwks>> {
        let (keys, wanted) = self.known(anew);
        if !wanted {
            return keys;
        }
        let _looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(_) if keys.is_some() && !anew => return keys,
            Err(_) => self.looking.lock().await,
        };
        // Somebody may have looked meanwhile.
        let (keys, wanted) = self.known(anew);
        if !wanted {
            return keys;
        }
        let found = self.fetch().await;
        let mut known = self.known.lock();
        known.looked_ms = Some(self.clock.unix_ms());
        match found {
            Ok(keys) => {
                known.keys = Some(Arc::new(keys));
                known.found_ms = self.clock.unix_ms();
            }
            Err(error) => {
                let provider = &self.authenticator.provider.url;
                tracing::warn!(provider, error, "the keys of an identity provider are not to be had");
            }
        }
        known.keys.clone()
    }

    /// The keys that are known, and whether to look for others.
    fn known(&self, anew: bool) -> (Option<Arc<Jwks>>, bool) {
        let known = self.known.lock();
        let now_ms = self.clock.unix_ms();
        let is_old = now_ms.abs_diff(known.found_ms) > KEYS_AGE_MS_MAX;
        let rested = known.looked_ms.is_none_or(|at| now_ms.abs_diff(at) >= PAUSE_MS);
        (known.keys.clone(), (known.keys.is_none() || anew || is_old) && rested)
    }

    async fn fetch(&self) -> Result<Jwks, String> {
        let provider = &self.authenticator.provider;
        let told = self.get(&provider.configuration_url()).await?;
        let told: Value = serde_json::from_slice(&told).map_err(|error| error.to_string())?;
        if told["issuer"] != provider.url.as_str() {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {}",
                provider.url, told["issuer"]
            ));
        }
        let uri = told["jwks_uri"]
            .as_str()
            .ok_or("the provider does not say where its keys are")?;
        let keys = self.get(uri).await?;
        Jwks::parse(&keys).map_err(|error| error.to_string())
    }

    async fn get(&self, url: &str) -> Result<Bytes, String> {
        let roots = match &self.authenticator.provider.certificate_authority {
            Some(pem) => Roots::Bundle(Bytes::from(pem.clone())),
            None => Roots::System,
        };
        let (to, path) = destination(url, roots)?;
        let request = Request::get(path)
            .header(header::ACCEPT, "application/json, */*")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let asked = Call {
            to: &to,
            request,
            timeout: TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = call(&*self.outbound, asked).await;
        let answer = answer.map_err(|error| format!("Get {url:?}: {error}"))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("Get {url:?}: {}", answer.status()));
        }
        Ok(answer.into_body())
    }
}

/// Where a URL of HTTPS leads, and its path.
pub(crate) fn destination(url: &str, roots: Roots) -> Result<(Destination, String), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
    let host = host.ok_or_else(|| format!("{url:?} is no URL of HTTPS"))?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let to = Destination {
        host: host.to_owned(),
        port: uri.port_u16().unwrap_or(443),
        tls: Some(Arc::new(Tls {
            roots,
            server_name: host.to_owned(),
            client: None,
        })),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((to, path.to_owned()))
}

#[async_trait]
impl TokenAuthenticator for OidcTokens {
    async fn authenticate(&self, token: &str, _: &[String]) -> Result<Accepted, TokenError> {
        if !self.authenticator.concerns(token) {
            return Err(TokenError::Unknown);
        }
        let invalid = |reason: &str| TokenError::Invalid {
            reason: reason.to_owned(),
        };
        for anew in [false, true] {
            let Some(keys) = self.keys(anew).await else {
                return Err(invalid("oidc: authenticator not initialized"));
            };
            let now_s = (self.clock.unix_ms() / 1000).cast_signed();
            match self.authenticator.authenticate(token, &keys, now_s) {
                Ok(Ok(accepted)) => return Ok(accepted),
                Ok(Err(reason)) => return Err(invalid(&reason)),
                Err(KeyMissing) => {}
            }
        }
        Err(invalid(
            "oidc: verify token: failed to verify signature: failed to verify id token signature",
        ))
    }
}
