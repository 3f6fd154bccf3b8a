//! The chain: every change of membership and role as a hash-linked, sealed block.

mod block;
mod bundle;
pub mod checkpoint;
mod error;
#[cfg(test)]
mod fixture;
pub mod merkle;
pub mod note;
mod rules;
mod seal;
mod split;
mod state;
mod verify;

pub use block::{Block, Event, Genesis};
pub use bundle::{BUNDLE_BLOCKS_MAX, BUNDLE_BYTES_MAX, BUNDLE_FORMAT, Bundle, BundleError, BundleFault};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::{ChainError, SealError};
pub use rules::{MEMBERS_MAX, REASON_BYTES_MAX, is_member_name, recover_message, sign_recover, verify_recovery};
pub use seal::{SEAL_SIGNATURES_MAX, Seal, Signature, seal_message, seal_quorum, sign_seal, verify_signature};
pub use split::{SealedBlock, SplitBrainError, SplitBrainProof};
pub use state::{AdmittedMember, ChainState, Departure, Standing, UNSEALED_MAX};
pub use verify::{Verified, verify_bundle};

/// Serde of a signature as hexadecimal text (or raw bytes in binary formats).
pub mod hex64 {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes 64 bytes as hexadecimal.
    pub fn serialize<S: Serializer>(value: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&data_encoding::HEXLOWER.encode(value))
        } else {
            serializer.serialize_bytes(value)
        }
    }

    /// Reads 64 bytes from hexadecimal.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let raw = if deserializer.is_human_readable() {
            let text = <String as Deserialize>::deserialize(deserializer)?;
            data_encoding::HEXLOWER
                .decode(text.as_bytes())
                .map_err(serde::de::Error::custom)?
        } else {
            <Vec<u8> as Deserialize>::deserialize(deserializer)?
        };
        raw.try_into().map_err(|_| serde::de::Error::custom("want 64 bytes"))
    }
}
