//! What the state machine answers to a command.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::command::{DecodeError, decode, encode};
use crate::model::{KeyValue, RangeResponse};

/// The answer to a [`crate::StoreCommand`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreResponse {
    /// To a transaction.
    Txn(TxnResponse),
    /// To a compaction.
    Compact {
        /// The store's revision.
        revision: u64,
    },
    /// To a grant.
    LeaseGrant {
        /// The store's revision.
        revision: u64,
        /// The lease.
        id: i64,
        /// Its time to live in seconds.
        ttl_s: i64,
    },
    /// To a revocation.
    LeaseRevoke {
        /// The store's revision, after the deletion of the keys.
        revision: u64,
        /// Number of keys that were deleted.
        deleted: u64,
    },
    /// To a keep-alive.
    LeaseKeepAlive {
        /// The store's revision.
        revision: u64,
        /// The lease's time to live in seconds.
        ttl_s: i64,
    },
}

/// The answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnResponse {
    /// The store's revision after the transaction: its own if it wrote anything.
    pub revision: u64,
    /// Whether the compares held.
    pub succeeded: bool,
    /// One result for each step of the branch that was taken.
    pub results: Vec<OpResult>,
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpResult {
    /// Of a write.
    Put {
        /// Its revision.
        mod_revision: u64,
        /// Length of the value as stored, in bytes.
        bytes: u64,
        /// What was there before, if asked for.
        prev: Option<KeyValue>,
    },
    /// Of a deletion.
    DeleteRange {
        /// Number of deleted keys.
        deleted: u64,
        /// What was deleted, if asked for.
        prevs: Vec<KeyValue>,
    },
    /// Of a read.
    Range(RangeResponse),
    /// Of a read of an older revision that the answering replica has no history of. The transaction was
    /// done nevertheless: what one replica remembers must not decide what all replicas do.
    RangeUnavailable {
        /// The oldest revision that the replica can read.
        oldest: u64,
    },
}

/// Why a command changed nothing, or a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StoreError {
    /// The revision is no longer readable.
    #[error("revision {revision} was compacted, the oldest readable one is {compacted}")]
    Compacted {
        /// The revision asked for.
        revision: u64,
        /// The oldest readable revision.
        compacted: u64,
    },
    /// The revision doesn't exist yet.
    #[error("revision {revision} is in the future, the newest one is {current}")]
    FutureRevision {
        /// The revision asked for.
        revision: u64,
        /// The store's revision.
        current: u64,
    },
    /// The transaction is too long.
    #[error("{ops} operations in one transaction, at most {ops_max} are allowed")]
    TooManyOps {
        /// Number of operations.
        ops: usize,
        /// The bound.
        ops_max: usize,
    },
    /// A key is empty.
    #[error("the key is empty")]
    KeyEmpty,
    /// A range can hold no key.
    #[error("the range from {start:?} ends before it begins")]
    EmptyRange {
        /// Where it begins.
        start: Bytes,
    },
    /// A key or value is too large.
    #[error("a key of {key_bytes} bytes with a value of {value_bytes} bytes is too large")]
    TooLarge {
        /// Length of the key.
        key_bytes: usize,
        /// Length of the value.
        value_bytes: usize,
    },
    /// A key is changed twice in one transaction.
    #[error("the key {key:?} is changed twice in one transaction")]
    DuplicateKey {
        /// The key.
        key: Bytes,
    },
    /// The revision can't be inserted there.
    #[error("can't insert the revision at byte {offset} of the {bytes} bytes of {key:?}")]
    BadSplice {
        /// The key.
        key: Bytes,
        /// The offset asked for.
        offset: u32,
        /// Length of the value.
        bytes: usize,
    },
    /// There is no such lease.
    #[error("there is no lease {id}")]
    LeaseNotFound {
        /// The lease.
        id: i64,
    },
    /// The lease exists already.
    #[error("the lease {id} exists already")]
    LeaseExists {
        /// The lease.
        id: i64,
    },
    /// A time to live out of bounds.
    #[error("a lease can't live {ttl_s} s: 1 to {ttl_s_max} s are allowed")]
    LeaseTtl {
        /// Asked for.
        ttl_s: i64,
        /// The bound.
        ttl_s_max: i64,
    },
    /// The entry of the log is no command.
    #[error("the log entry is no store command: {reason}")]
    BadCommand {
        /// What the decoder says.
        reason: String,
    },
    /// The local history can't be read.
    #[error("the history on this replica can't be read: {reason}")]
    History {
        /// What the disk or its format says.
        reason: String,
    },
    /// The lease was kept after its time was found to be over.
    #[error("the lease {id} was kept meanwhile")]
    LeaseRenewed {
        /// The lease.
        id: i64,
    },
}

/// The bytes of an answer.
pub(crate) fn encode_response(response: &Result<StoreResponse, StoreError>) -> Bytes {
    encode(response).unwrap_or_else(|error| {
        // Serialising into memory fails only on a bug of the encoder; the client gets an undecodable answer.
        tracing::error!(%error, "a response could not be encoded");
        Bytes::new()
    })
}

/// Reads the bytes of an answer.
pub(crate) fn decode_response(bytes: &[u8]) -> Result<Result<StoreResponse, StoreError>, DecodeError> {
    decode(bytes)
}
