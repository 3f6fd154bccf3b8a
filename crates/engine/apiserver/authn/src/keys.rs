//! The key that signs tokens of service accounts, and those that verify them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::jose;

/// Most keys that verify.
pub const KEYS_MAX: usize = 16;

/// What stands before the point in the DER of a public key on P-256 (RFC 5480).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point: a mark and two coordinates.
const POINT_BYTES: usize = 65;

/// Why keys are unusable. Never quotes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No key could be made.
    #[error("no key for the tokens of service accounts could be made")]
    Make,
    /// They cannot be read.
    #[error("the keys for the tokens of service accounts cannot be read: {reason}")]
    Read {
        /// What is wrong.
        reason: &'static str,
    },
    /// There are too many.
    #[error("there are more than {KEYS_MAX} keys for the tokens of service accounts")]
    TooMany,
    /// A token could not be signed.
    #[error("the token could not be signed")]
    Sign,
}

/// A public key on P-256.
#[derive(Clone)]
struct PublicKey {
    /// Which key it is, as tokens name it: a hash, from which the key does not follow.
    id: String,
    point: [u8; POINT_BYTES],
}

impl PublicKey {
    fn of(point: &[u8]) -> Option<Self> {
        let point: [u8; POINT_BYTES] = point.try_into().ok().filter(|p: &[u8; POINT_BYTES]| p[0] == 4)?;
        let der = [SPKI_P256.as_slice(), &point].concat();
        let id = BASE64URL_NOPAD.encode(digest(&SHA256, &der).as_ref());
        Some(Self { id, point })
    }

    fn jwk(&self) -> Jwk<'_> {
        let (x, y) = self.point[1..].split_at(32);
        Jwk {
            usage: "sig",
            kty: "EC",
            kid: &self.id,
            crv: "P-256",
            alg: "ES256",
            x: BASE64URL_NOPAD.encode(x),
            y: BASE64URL_NOPAD.encode(y),
        }
    }
}

/// A public key as others read it (RFC 7517).
#[derive(Serialize)]
struct Jwk<'a> {
    #[serde(rename = "use")]
    usage: &'static str,
    kty: &'static str,
    kid: &'a str,
    crv: &'static str,
    alg: &'static str,
    x: String,
    y: String,
}

#[derive(Serialize)]
struct Jwks<'a> {
    keys: Vec<Jwk<'a>>,
}

/// As keys are stored: base64 of PKCS #8, and of points.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    signing: String,
    #[serde(default)]
    verifying: Vec<String>,
}

/// The key that signs, and all that verify: first the public half of the signing one.
#[derive(Clone)]
pub struct TokenKeys {
    pkcs8: Zeroizing<Vec<u8>>,
    signing: EncodingKey,
    public: Vec<PublicKey>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.public.iter().map(|key| key.id.as_str()).collect();
        f.debug_tuple("TokenKeys").field(&ids).finish()
    }
}

impl TokenKeys {
    /// A new signing key, on P-256.
    pub fn generate() -> Result<Self, KeysError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeysError::Make)?;
        Self::of(pkcs8.as_ref().to_vec())
    }

    fn of(pkcs8: Vec<u8>) -> Result<Self, KeysError> {
        jose::install();
        let unreadable = |_| KeysError::Read {
            reason: "the signing key is not one on P-256",
        };
        let pkcs8 = Zeroizing::new(pkcs8);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(unreadable)?;
        let public = PublicKey::of(pair.public_key().as_ref()).ok_or(KeysError::Make)?;
        Ok(Self {
            signing: EncodingKey::from_ec_der(&pkcs8),
            pkcs8,
            public: vec![public],
        })
    }

    /// A signing key on P-256 that is there already, PKCS #8.
    pub fn from_pkcs8(key: &[u8]) -> Result<Self, KeysError> {
        Self::of(key.to_vec())
    }

    /// The same keys with a new one that signs: tokens of the old ones stay valid.
    pub fn rotated(&self) -> Result<Self, KeysError> {
        let mut new = Self::generate()?;
        new.public.extend(self.public.iter().cloned());
        if new.public.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        Ok(new)
    }

    /// Reads what [`TokenKeys::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, KeysError> {
        let read = |reason| KeysError::Read { reason };
        let stored: Stored = serde_json::from_str(text).map_err(|_| read("they are no JSON of keys"))?;
        let decode = |text: &str| {
            let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
            bytes.map_err(|_| read("a key is no base64"))
        };
        let mut keys = Self::of(decode(&stored.signing)?)?;
        if stored.verifying.len() >= KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        for text in &stored.verifying {
            let key = PublicKey::of(&decode(text)?).ok_or_else(|| read("a public key is no point on P-256"))?;
            if keys.public.iter().all(|known| known.id != key.id) {
                keys.public.push(key);
            }
        }
        Ok(keys)
    }

    /// All keys in one text. Secret.
    pub fn to_json(&self) -> Zeroizing<String> {
        let stored = Stored {
            signing: BASE64URL_NOPAD.encode(&self.pkcs8),
            verifying: self.public[1..]
                .iter()
                .map(|key| BASE64URL_NOPAD.encode(&key.point))
                .collect(),
        };
        Zeroizing::new(serde_json::to_string(&stored).unwrap_or_default())
    }

    /// The public keys, as a JSON web key set.
    pub fn jwks(&self) -> String {
        let keys = self.public.iter().map(PublicKey::jwk).collect();
        serde_json::to_string(&Jwks { keys }).unwrap_or_default()
    }

    /// What the keys sign with.
    pub fn algorithms(&self) -> &'static [&'static str] {
        &["ES256"]
    }

    /// A signed token of these claims.
    pub fn sign(&self, claims: &Value) -> Result<String, KeysError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.public[0].id.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).map_err(|_| KeysError::Sign)
    }

    /// The claims of a token, if one of the keys signed it; otherwise what upstream says. `None` of it is no token of
    /// this form at all.
    pub(crate) fn verify(&self, token: &str) -> Option<Result<Map<String, Value>, &'static str>> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let named = header.kid.as_deref().filter(|id| !id.is_empty());
        let mut candidates = self
            .public
            .iter()
            .filter(|key| named.is_none_or(|id| id == key.id))
            .peekable();
        if candidates.peek().is_none() {
            return Some(Err("invalid signature, no keys found"));
        }
        for key in candidates {
            let mut validation = Validation::new(Algorithm::ES256);
            // Times and audiences are the caller's, who has a clock.
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            validation.validate_aud = false;
            let decoded =
                jsonwebtoken::decode::<Map<String, Value>>(token, &DecodingKey::from_ec_der(&key.point), &validation);
            if let Ok(decoded) = decoded {
                return Some(Ok(decoded.claims));
            }
        }
        Some(Err("go-jose/go-jose: error in cryptographic primitive"))
    }

    /// The documents of an OpenID provider: what it says of itself.
    pub fn openid_configuration(&self, issuer: &str, jwks_uri: &str) -> String {
        #[derive(Serialize)]
        struct Configuration<'a> {
            issuer: &'a str,
            jwks_uri: &'a str,
            response_types_supported: [&'static str; 1],
            subject_types_supported: [&'static str; 1],
            id_token_signing_alg_values_supported: &'static [&'static str],
        }
        let configuration = Configuration {
            issuer,
            jwks_uri,
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: self.algorithms(),
        };
        serde_json::to_string(&configuration).unwrap_or_default()
    }
}

/// The claims of a token that nobody has verified: only to choose who does.
pub(crate) fn unverified(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stored_keys_verify_what_they_signed_before_and_after_a_rotation() {
        let keys = TokenKeys::generate().expect("keys");
        let old = keys.sign(&json!({"iss": "x"})).expect("a token");
        let rotated = keys.rotated().expect("keys");
        let read = TokenKeys::from_json(&rotated.to_json()).expect("keys");
        let new = read.sign(&json!({"iss": "y"})).expect("a token");
        for (token, issuer) in [(&old, "x"), (&new, "y")] {
            let claims = read.verify(token).expect("a token").expect("valid");
            assert_eq!(claims["iss"], issuer);
        }
        let refused = keys.verify(&new).expect("a token");
        assert_eq!(refused, Err("invalid signature, no keys found"));
        let set: Value = serde_json::from_str(&read.jwks()).expect("JSON");
        assert_eq!(set["keys"].as_array().map(Vec::len), Some(2));
        assert!(!format!("{read:?}").contains(&*BASE64URL_NOPAD.encode(&read.pkcs8)));
    }

    #[test]
    fn changed_tokens_and_foreign_algorithms_are_refused() {
        let keys = TokenKeys::generate().expect("keys");
        let token = keys.sign(&json!({"iss": "x", "sub": "a"})).expect("a token");
        let parts: Vec<&str> = token.split('.').collect();
        let header = BASE64URL_NOPAD.decode(parts[0].as_bytes()).expect("base64");
        let header: Value = serde_json::from_slice(&header).expect("JSON");
        assert_eq!((&header["alg"], header.get("typ")), (&json!("ES256"), None));
        let payload = BASE64URL_NOPAD.encode(br#"{"iss":"x","sub":"b"}"#);
        let forged = format!("{}.{payload}.{}", parts[0], parts[2]);
        let text = "go-jose/go-jose: error in cryptographic primitive";
        assert_eq!(keys.verify(&forged), Some(Err(text)));
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        assert_eq!(keys.verify(&format!("{none}.{payload}.")), None);
        let shared = BASE64URL_NOPAD.encode(br#"{"alg":"HS256"}"#);
        assert_eq!(keys.verify(&format!("{shared}.{payload}.AAAA")), Some(Err(text)));
        for text in ["", ".", "..", "a.b.c", "....", "e30.e30.e30"] {
            assert!(!matches!(keys.verify(text), Some(Ok(_))), "{text}");
        }
    }

    #[test]
    fn damaged_keys_are_told_and_not_quoted() {
        for text in ["", "{}", r#"{"signing":"AAAA"}"#, r#"{"signing":"?"}"#] {
            assert!(
                matches!(TokenKeys::from_json(text), Err(KeysError::Read { .. })),
                "{text}"
            );
        }
    }
}
