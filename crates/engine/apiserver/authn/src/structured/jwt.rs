//! Tokens of one identity provider.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::macros::format_description;

use super::jwks::{Jwks, Verified};
use super::mapping::Claims;
use crate::TOKEN_BYTES_MAX;
use crate::keys::unverified;
use crate::verdict::Accepted;

/// How far a provider's clock may be ahead, seconds.
const NOT_BEFORE_LEEWAY_S: i64 = 5 * 60;

/// Where an identity provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name, as its tokens bear it.
    pub url: String,
    /// Where it tells of itself, if not below its name.
    pub discovery_url: Option<String>,
    /// Certificates that vouch for it, PEM; otherwise those that the machine trusts.
    pub certificate_authority: Option<String>,
    /// Tokens have to be for one of these.
    pub audiences: Vec<String>,
}

impl Provider {
    /// The URL at which it tells of itself.
    pub fn configuration_url(&self) -> String {
        match &self.discovery_url {
            Some(url) => url.clone(),
            None => format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/')),
        }
    }
}

/// A token names a key that is not among those of the provider: it may have new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMissing;

/// Accepts tokens of one identity provider.
#[derive(Debug)]
pub struct JwtAuthenticator {
    /// The provider.
    pub provider: Provider,
    pub(super) claims: Claims,
}

impl JwtAuthenticator {
    /// Whether a token says that it is of this provider.
    pub fn concerns(&self, token: &str) -> bool {
        token.len() <= TOKEN_BYTES_MAX
            && unverified(token)
                .is_some_and(|claims| claims.get("iss").and_then(Value::as_str) == Some(self.provider.url.as_str()))
    }

    /// Whose token it is, or why it is nobody's, in upstream's words.
    pub fn authenticate(&self, token: &str, keys: &Jwks, now_s: i64) -> Result<Result<Accepted, String>, KeyMissing> {
        let refused = |reason: String| Ok(Err(format!("oidc: verify token: {reason}")));
        let claims = match keys.verify(token) {
            Some(Verified::Yes(claims)) => claims,
            Some(Verified::NoKey) => return Err(KeyMissing),
            Some(Verified::No) => {
                return refused("failed to verify signature: failed to verify id token signature".to_owned());
            }
            None => return refused("oidc: malformed jwt".to_owned()),
        };
        if let Err(reason) = self.check(&claims, now_s) {
            return refused(reason);
        }
        Ok(self.claims.identity(&claims).map(|identity| Accepted {
            identity,
            ..Accepted::default()
        }))
    }

    /// Issuer, audience and times.
    fn check(&self, claims: &Map<String, Value>, now_s: i64) -> Result<(), String> {
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if issuer != self.provider.url {
            return Err(format!(
                "oidc: id token issued by a different provider, expected {:?} got {issuer:?}",
                self.provider.url
            ));
        }
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if !audiences
            .iter()
            .any(|audience| self.provider.audiences.iter().any(|own| own == audience))
        {
            let quoted = |list: &mut dyn Iterator<Item = &str>| {
                let quoted: Vec<String> = list.map(|text| format!("{text:?}")).collect();
                format!("[{}]", quoted.join(" "))
            };
            let mut expected: Vec<&str> = self.provider.audiences.iter().map(String::as_str).collect();
            expected.sort_unstable();
            return Err(format!(
                "oidc: expected audience in {} got {}",
                quoted(&mut expected.into_iter()),
                quoted(&mut audiences.into_iter())
            ));
        }
        let time = |claim: &str| claims.get(claim).and_then(Value::as_f64).map(|seconds| seconds as i64);
        // A token without an end has ended long ago.
        let expires = time("exp").unwrap_or(0);
        if expires < now_s {
            return Err(format!("oidc: token is expired (Token Expiry: {})", shown(expires)));
        }
        if let Some(from) = time("nbf")
            && now_s.saturating_add(NOT_BEFORE_LEEWAY_S) < from
        {
            return Err(format!(
                "oidc: current time {} before the nbf (not before) time: {}",
                shown(now_s),
                shown(from)
            ));
        }
        Ok(())
    }
}

fn shown(unix_s: i64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
    let at = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(form).unwrap_or_default()
}
