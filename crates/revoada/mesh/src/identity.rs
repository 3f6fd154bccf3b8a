//! The member's key as the mesh uses it: for TLS, for signatures of beacons, and for keys derived from it.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use revoada_core::MemberId;

/// This member's identity. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    id: MemberId,
    key: SigningKey,
}

impl Identity {
    /// The identity of a signing key.
    pub fn new(key: SigningKey) -> Self {
        Self {
            id: MemberId(key.verifying_key().to_bytes()),
            key,
        }
    }

    /// The identity of a 32-byte ed25519 secret (RFC 8032).
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self::new(SigningKey::from_bytes(secret))
    }

    /// The public key.
    pub fn id(&self) -> MemberId {
        self.id
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// A secret for one purpose, the same after each restart.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, self.key.as_bytes())
    }

    /// The key in PKCS #8 version 1 (RFC 8410), as ring reads it.
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        let mut der = PREFIX.to_vec();
        der.extend_from_slice(self.key.as_bytes());
        der
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id.short())
    }
}
