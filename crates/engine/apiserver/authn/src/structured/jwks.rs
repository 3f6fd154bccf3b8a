//! The public keys of an identity provider (RFC 7517).

use std::str::FromStr as _;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::jose;

/// Most keys of one provider; further ones are left out.
pub const KEYS_MAX: usize = 256;

/// Why keys cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key set cannot be read: {reason}")]
pub struct JwksError {
    /// What is wrong.
    pub reason: String,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    /// What it signs with, if it says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// Keys that verify.
#[derive(Clone, Default)]
pub struct Jwks {
    keys: Vec<Key>,
}

/// How a token stands to keys.
#[derive(Debug, PartialEq)]
pub(super) enum Verified {
    /// One of them signed it.
    Yes(Map<String, Value>),
    /// None of them is the one that it names.
    NoKey,
    /// It is signed with none of them, or in a way that proves nothing.
    No,
}

impl Jwks {
    /// Reads a key set. Keys of other kinds, and for other uses, are left out.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        jose::install();
        let set: Value = serde_json::from_slice(text).map_err(|error| JwksError {
            reason: error.to_string(),
        })?;
        let keys = set["keys"].as_array().ok_or_else(|| JwksError {
            reason: "it has no keys".to_owned(),
        })?;
        let read = |value: &Value| {
            let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
            if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_))
                || matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption))
            {
                return None;
            }
            let algorithm = match &jwk.common.key_algorithm {
                // A key that signs in an unknown way verifies nothing.
                Some(name) => Some(Algorithm::from_str(&name.to_string()).ok()?),
                None => None,
            };
            Some(Key {
                id: jwk.common.key_id.clone(),
                algorithm,
                key: DecodingKey::from_jwk(&jwk).ok()?,
            })
        };
        Ok(Self {
            keys: keys.iter().filter_map(read).take(KEYS_MAX).collect(),
        })
    }

    pub(super) fn verify(&self, token: &str) -> Option<Verified> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if !jose::ALGORITHMS.contains(&header.alg) {
            return Some(Verified::No);
        }
        let named = header.kid.as_deref().filter(|id| !id.is_empty());
        let mut tried = false;
        for key in &self.keys {
            if named.is_some_and(|id| key.id.as_deref() != Some(id)) {
                continue;
            }
            tried = true;
            if key.algorithm.is_some_and(|algorithm| algorithm != header.alg) {
                continue;
            }
            let mut validation = Validation::new(header.alg);
            // Times and audiences are checked by who has a clock.
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            validation.validate_aud = false;
            if let Ok(decoded) = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
                return Some(Verified::Yes(decoded.claims));
            }
        }
        Some(if tried { Verified::No } else { Verified::NoKey })
    }
}
