//! Receiving a snapshot from a peer, chunk by chunk.

use std::io;

use super::format::{CHUNK_BYTES, Hash, chunk_hash};
use super::store::SnapshotRef;
use super::writer::Body;

/// Why a received chunk or snapshot was refused. Nothing refused reaches the file.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Chunks come in order; ask the sender to go on at `expected`.
    #[error("snapshot chunk at byte {offset} came where the one at byte {expected} was expected")]
    OutOfOrder {
        /// Offset of the chunk that came.
        offset: u64,
        /// Offset of the next chunk.
        expected: u64,
    },
    /// The data isn't what the sender hashed.
    #[error("snapshot chunk at byte {offset} does not match its hash")]
    ChunkHash {
        /// Offset of the chunk.
        offset: u64,
    },
    /// A chunk that is empty, longer than [`CHUNK_BYTES`], or comes after a shorter one, which must be the last.
    #[error("snapshot chunk at byte {offset} has a length of {bytes} that is not allowed there")]
    ChunkLength {
        /// Offset of the chunk.
        offset: u64,
        /// Its length.
        bytes: usize,
    },
    /// All chunks are whole, but together with the meta data they aren't the snapshot that was announced.
    #[error("the {bytes} bytes of snapshot that were received do not match its hash")]
    TotalHash {
        /// Bytes received.
        bytes: u64,
    },
    /// The disk refused.
    #[error("cannot store the snapshot: {0}")]
    Io(#[from] io::Error),
}

/// Takes the chunks of a snapshot and verifies each at once.
pub struct SnapshotReceiver {
    body: Body,
}

impl SnapshotReceiver {
    pub(super) fn new(body: Body) -> Self {
        Self { body }
    }

    /// Offset that the next chunk must have.
    pub fn next_offset(&self) -> u64 {
        self.body.len
    }

    /// Adds the chunk at `offset`. After a refusal the same offset can be pushed again; after
    /// [`ReceiveError::Io`] the receiver is of no more use.
    pub fn push(&mut self, offset: u64, data: &[u8], hash: &Hash) -> Result<(), ReceiveError> {
        let expected = self.body.len;
        if offset != expected {
            return Err(ReceiveError::OutOfOrder { offset, expected });
        }
        if data.is_empty() || data.len() > CHUNK_BYTES || !expected.is_multiple_of(CHUNK_BYTES as u64) {
            return Err(ReceiveError::ChunkLength {
                offset,
                bytes: data.len(),
            });
        }
        if chunk_hash(data) != *hash {
            return Err(ReceiveError::ChunkHash { offset });
        }
        Ok(self.body.push(data, *hash)?)
    }

    /// Checks the whole against the sender's [`SnapshotRef::hash`] and makes it the newest snapshot.
    pub fn finish(self, meta: &[u8], total_hash: &Hash) -> Result<SnapshotRef, ReceiveError> {
        if self.body.root(meta) != *total_hash {
            return Err(ReceiveError::TotalHash { bytes: self.body.len });
        }
        Ok(self.body.finish(meta)?)
    }
}
