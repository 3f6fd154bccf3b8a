//! Authenticated encryption of stored values.
//!
//! A sealed value is `"ESEAL" 01 | key id (8) | salt (16) | ciphertext | tag (16)`. The subkey of one value is
//! `BLAKE3-derive-key("engenho sealed value 1", secret (32) | salt)`; the cipher is ChaCha20-Poly1305 (RFC 8439)
//! with a nonce of zeros, since no subkey seals twice. Authenticated with it are the header and the key in the
//! store at which the value stands, so that sealed bytes cannot be moved elsewhere.

use std::fmt;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Start of every sealed value; the last byte is the version of the format.
pub const MAGIC: [u8; 6] = *b"ESEAL\x01";
/// Longest value that is sealed, bytes.
pub const PLAINTEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most keys in a ring.
pub const KEYS_MAX: usize = 64;

const ID_BYTES: usize = 8;
const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + ID_BYTES + SALT_BYTES;
const TAG_BYTES: usize = 16;
const ID_CONTEXT: &str = "engenho sealing key id 1";
const SUBKEY_CONTEXT: &str = "engenho sealed value 1";

/// Why a value was not sealed, or not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealerError {
    /// There is no key to seal with.
    #[error("there is no sealing key; only members with a replica have it")]
    NoKey,
    /// The value is too long to be sealed.
    #[error("a value of {bytes} bytes is too long to be sealed; at most {PLAINTEXT_BYTES_MAX} are")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It is not a sealed value, or one that was cut.
    #[error("a sealed value is damaged: {reason}")]
    Format {
        /// What is wrong.
        reason: &'static str,
    },
    /// It was sealed by a newer engenho.
    #[error("a sealed value has format {version}, which this version of engenho doesn't know; update this member")]
    Version {
        /// The format.
        version: u8,
    },
    /// The key that sealed it isn't here.
    #[error("a value was sealed with key {id}, which this member doesn't have")]
    UnknownKey {
        /// Which key.
        id: String,
    },
    /// It was changed, or belongs elsewhere.
    #[error("a sealed value was changed, or was sealed for another object")]
    Tampered,
}

/// Why keys are unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// They cannot be read.
    #[error("the sealing keys cannot be read: {reason}")]
    Read {
        /// What is wrong. Never quotes a key.
        reason: &'static str,
    },
    /// There are too many.
    #[error("there are more than {KEYS_MAX} sealing keys; remove those that no value is sealed with")]
    TooMany,
}

/// One key of 32 secret bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey {
    id: [u8; ID_BYTES],
    secret: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKey").field(&self.id()).finish()
    }
}

impl SealingKey {
    /// A key of random bytes from `fill`.
    pub fn generate(fill: impl FnOnce(&mut [u8])) -> Self {
        let mut secret = Zeroizing::new([0u8; 32]);
        fill(&mut secret[..]);
        Self::new(secret)
    }

    fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        let hash = blake3::derive_key(ID_CONTEXT, &secret[..]);
        let mut id = [0u8; ID_BYTES];
        id.copy_from_slice(&hash[..ID_BYTES]);
        Self { id, secret }
    }

    /// Which key it is; not secret.
    pub fn id(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.id)
    }

    fn subkey(&self, salt: &[u8]) -> Result<LessSafeKey, SealerError> {
        let mut hasher = blake3::Hasher::new_derive_key(SUBKEY_CONTEXT);
        hasher.update(&self.secret[..]).update(salt);
        let mut subkey = Zeroizing::new([0u8; 32]);
        hasher.finalize_xof().fill(&mut subkey[..]);
        // Only a wrong length is refused.
        let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey[..]).map_err(|_| SealerError::NoKey)?;
        Ok(LessSafeKey::new(key))
    }
}

/// Keys, newest last. The newest seals, all of them open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealingKeys {
    keys: Vec<SealingKey>,
}

/// How keys are written: JSON with hexadecimal secrets.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    keys: Vec<String>,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

impl SealingKeys {
    /// No keys: seals and opens nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key, which seals from then on. One that is here already becomes the newest.
    pub fn add(&mut self, key: SealingKey) -> Result<(), KeysError> {
        self.keys.retain(|k| k.id != key.id);
        if self.keys.len() >= KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        self.keys.push(key);
        Ok(())
    }

    /// Removes a key by its id. Values that it sealed cannot be opened any more.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|k| k.id() != id);
        self.keys.len() < before
    }

    /// The ids of the keys, oldest first.
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(SealingKey::id).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys as a text. Secret: store it with [`crate::write_private`], send it only to members with a replica.
    pub fn to_json(&self) -> Zeroizing<String> {
        let written = Written {
            version: 1,
            keys: self
                .keys
                .iter()
                .map(|k| data_encoding::HEXLOWER.encode(&k.secret[..]))
                .collect(),
        };
        // Numbers and strings always serialise.
        Zeroizing::new(serde_json::to_string(&written).unwrap_or_default())
    }

    /// Reads what [`SealingKeys::to_json`] wrote.
    pub fn from_json(text: &str) -> Result<Self, KeysError> {
        let read = |reason| KeysError::Read { reason };
        let written: Written = serde_json::from_str(text).map_err(|_| read("it is not JSON with version and keys"))?;
        if written.version != 1 {
            return Err(read("its version is not known; update this member"));
        }
        let mut keys = Self::new();
        for key in &written.keys {
            let bytes = data_encoding::HEXLOWER
                .decode(key.as_bytes())
                .map(Zeroizing::new)
                .map_err(|_| read("a key is not hexadecimal"))?;
            let secret: [u8; 32] = bytes
                .as_slice()
                .try_into()
                .map_err(|_| read("a key does not have 32 bytes"))?;
            keys.add(SealingKey::new(Zeroizing::new(secret)))?;
        }
        Ok(keys)
    }
}

/// Seals and opens values.
#[derive(Clone)]
pub struct SecretSealer {
    keys: Arc<SealingKeys>,
    entropy: Arc<dyn Fn(&mut [u8]) + Send + Sync>,
}

impl fmt::Debug for SecretSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSealer")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl SecretSealer {
    /// Seals with the newest of `keys`. `entropy` fills a slice with random bytes: the operating system's, or a
    /// simulation's.
    pub fn new(keys: SealingKeys, entropy: Arc<dyn Fn(&mut [u8]) + Send + Sync>) -> Self {
        Self {
            keys: Arc::new(keys),
            entropy,
        }
    }

    /// Whether a stored value is a sealed one.
    pub fn is_sealed(value: &[u8]) -> bool {
        value.starts_with(&MAGIC[..MAGIC.len() - 1])
    }

    /// Seals `plaintext`, to stand at `store_key`.
    pub fn seal(&self, store_key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealerError> {
        let key = self.keys.keys.last().ok_or(SealerError::NoKey)?;
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SealerError::TooLong { bytes: plaintext.len() });
        }
        let mut salt = [0u8; SALT_BYTES];
        (self.entropy)(&mut salt);
        let mut out = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&salt);
        let aad = associated(&out, store_key);
        out.extend_from_slice(plaintext);
        let tag = key
            .subkey(&salt)?
            .seal_in_place_separate_tag(nonce(), Aad::from(&aad), &mut out[HEADER_BYTES..])
            .map_err(|_| SealerError::TooLong { bytes: plaintext.len() })?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what was sealed for the same `store_key`.
    pub fn open(&self, store_key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealerError> {
        let version_at = MAGIC.len() - 1;
        if !Self::is_sealed(sealed) {
            return Err(SealerError::Format {
                reason: "it does not start as one",
            });
        }
        match sealed.get(version_at) {
            Some(version) if *version != MAGIC[version_at] => return Err(SealerError::Version { version: *version }),
            _ if sealed.len() < HEADER_BYTES + TAG_BYTES => {
                return Err(SealerError::Format { reason: "it was cut" });
            }
            _ => {}
        }
        if sealed.len() > HEADER_BYTES + PLAINTEXT_BYTES_MAX + TAG_BYTES {
            return Err(SealerError::TooLong { bytes: sealed.len() });
        }
        let (header, body) = sealed.split_at(HEADER_BYTES);
        let id = &header[MAGIC.len()..MAGIC.len() + ID_BYTES];
        let salt = &header[MAGIC.len() + ID_BYTES..];
        let key = self
            .keys
            .keys
            .iter()
            .find(|k| k.id == id)
            .ok_or_else(|| SealerError::UnknownKey {
                id: data_encoding::HEXLOWER.encode(id),
            })?;
        let aad = associated(header, store_key);
        let mut buffer = body.to_vec();
        let length = key
            .subkey(salt)?
            .open_in_place(nonce(), Aad::from(&aad), &mut buffer)
            .map_err(|_| SealerError::Tampered)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Whether a sealed value should be sealed anew: its key isn't the newest.
    pub fn is_stale(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(MAGIC.len()..MAGIC.len() + ID_BYTES);
        self.keys.keys.last().is_some_and(|k| Some(&k.id[..]) != id)
    }
}

fn associated(header: &[u8], store_key: &[u8]) -> Vec<u8> {
    // The header has a fixed length: no two pairs give the same bytes.
    [header, store_key].concat()
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
