//! Sealing of values that must not reach the log in the clear.

use std::sync::Arc;

/// Why a value could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key is there to seal with.
    #[error("no sealing key is available: {reason}")]
    NoKey {
        /// Why, for people.
        reason: String,
    },
    /// The sealed bytes are damaged, or were sealed with a key that is not known here.
    #[error("a sealed value cannot be opened: {reason}")]
    Damaged {
        /// Why, for people.
        reason: String,
    },
}

/// Authenticated encryption of stored values. The key of the value is authenticated with it, so that sealed
/// bytes cannot be moved from one object to another.
pub trait Sealer: Send + Sync + 'static {
    /// Seals `plaintext`, to be stored at `key`.
    fn seal(&self, key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError>;

    /// Opens what [`Sealer::seal`] made for the same `key`.
    fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError>;
}

/// First bytes of a sealed value. No JSON document and no protobuf envelope starts with them.
pub const MAGIC: &[u8; 8] = b"\x00engsl1\x00";

/// Which resources are sealed, and with what.
#[derive(Clone)]
pub struct SealPolicy {
    /// The cipher.
    pub sealer: Arc<dyn Sealer>,
    /// Resources (`secrets`, or `resource.group`) whose objects are sealed.
    pub resources: Vec<String>,
}

impl SealPolicy {
    /// Seals Secrets.
    pub fn secrets(sealer: Arc<dyn Sealer>) -> Self {
        Self {
            sealer,
            resources: vec!["secrets".into()],
        }
    }
}
