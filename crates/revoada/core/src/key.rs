//! Member keys: signing and verifying, with the purpose of every signature bound into it.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::id::MemberId;

/// Leads every message signed under a context. The NUL keeps it apart from everything else a member key
/// signs: signed notes hold no control character, TLS 1.3 messages begin with 64 spaces.
const PREFIX: &[u8; 21] = b"engenho signature v1\0";

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The identity is not a point on the curve, so nobody can sign for it.
    #[error("{member} is not an ed25519 public key")]
    NotAKey {
        /// The refused identity.
        member: MemberId,
    },
    /// The signature was made by another key, over another message or for another purpose.
    #[error("the signature of member {member} does not match")]
    Mismatch {
        /// Whose signature it claims to be.
        member: MemberId,
    },
}

/// A member's secret key. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte ed25519 seed (RFC 8032, 5.1.5).
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be written to a file only its owner can read or handed to a TLS library.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half, which is the member's identity.
    pub fn member_id(&self) -> MemberId {
        MemberId(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for one purpose. `context` is a constant that names the purpose and its version; a
    /// signature made under one context never verifies under another.
    pub fn sign(&self, context: &str, message: &[u8]) -> [u8; 64] {
        self.sign_raw(&bind(context, message))
    }

    /// Signs the bytes as they are (RFC 8032), for formats that bring their own separation: signed notes, TLS.
    pub fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.member_id().short())
    }
}

/// Checks a signature of [`SecretKey::sign`].
pub fn verify(member: MemberId, context: &str, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    verify_raw(member, &bind(context, message), signature)
}

/// Checks a signature of [`SecretKey::sign_raw`]. Strict: weak keys and malleable signatures are refused, so
/// all verifiers agree on every signature.
pub fn verify_raw(member: MemberId, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(member.as_bytes()).map_err(|_| SignatureError::NotAKey { member })?;
    key.verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| SignatureError::Mismatch { member })
}

fn bind(context: &str, message: &[u8]) -> [u8; 53] {
    let mut bound = [0; 53];
    bound[..PREFIX.len()].copy_from_slice(PREFIX);
    bound[PREFIX.len()..].copy_from_slice(&blake3::derive_key(context, message));
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_key_context_and_message() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let signature = key.sign("a v1", b"message");
        let id = key.member_id();
        assert_eq!(verify(id, "a v1", b"message", &signature), Ok(()));
        let mismatch = Err(SignatureError::Mismatch { member: id });
        assert_eq!(verify(id, "b v1", b"message", &signature), mismatch);
        assert_eq!(verify(id, "a v1", b"massage", &signature), mismatch);
        assert_eq!(verify_raw(id, b"message", &signature), mismatch);
        assert!(
            verify(
                SecretKey::from_bytes(&[8; 32]).member_id(),
                "a v1",
                b"message",
                &signature
            )
            .is_err()
        );
        for at in 0..64 {
            let mut bent = signature;
            bent[at] ^= 1;
            assert!(verify(id, "a v1", b"message", &bent).is_err(), "byte {at}");
        }
    }

    #[test]
    fn rfc_8032_vector() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let seed: [u8; 32] = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .try_into()
            .unwrap();
        let key = SecretKey::from_bytes(&seed);
        assert_eq!(
            key.member_id().to_string(),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let want = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                    085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(key.sign_raw(&[0x72]).to_vec(), hex(want));
    }

    #[test]
    fn weak_and_impossible_keys_are_refused() {
        // The neutral element signs everything in non-strict verifiers.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(verify_raw(MemberId(neutral), b"anything", &signature).is_err());
        let nobody = (0..=u8::MAX)
            .map(|n| MemberId([n; 32]))
            .find(|id| VerifyingKey::from_bytes(&id.0).is_err());
        let nobody = nobody.expect("about half of all strings are no point");
        assert_eq!(
            verify_raw(nobody, b"", &[0; 64]),
            Err(SignatureError::NotAKey { member: nobody })
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SecretKey::from_bytes(&[7; 32]);
        assert_eq!(format!("{key:?}"), format!("SecretKey({})", key.member_id().short()));
    }
}
