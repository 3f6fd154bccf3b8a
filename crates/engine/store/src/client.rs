//! Writing to the store through consensus, and linearizable reading.

use std::sync::Arc;
use std::time::Duration;

use revoada_core::consensus::{Consensus, ProposeError, ReadError};

use crate::command::{DecodeError, StoreCommand, Txn};
use crate::response::{StoreError, StoreResponse, TxnResponse, decode_response};
use crate::store::Store;

/// etcd's own bound of operations in one transaction.
const TXN_OPS_MAX: usize = 128;

/// Why a write has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It wasn't committed, or nobody knows.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// It was refused by the store and changed nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was applied, but the answer can't be read.
    #[error("the answer to a committed write can't be read: {source}")]
    Answer {
        /// What is wrong with it.
        #[source]
        source: DecodeError,
    },
    /// It was applied and the answer is one to another command.
    #[error("the answer to a committed write belongs to another command")]
    Mismatch,
}

/// The store and the way to write to it.
#[derive(Clone)]
pub struct StoreClient {
    /// This replica's store.
    pub store: Arc<Store>,
    /// The log.
    pub consensus: Arc<dyn Consensus>,
    /// Most operations in one transaction.
    pub ops_max: usize,
}

impl StoreClient {
    /// A client with etcd's bounds.
    pub fn new(store: Arc<Store>, consensus: Arc<dyn Consensus>) -> Self {
        Self {
            store,
            consensus,
            ops_max: TXN_OPS_MAX,
        }
    }

    /// Commits a transaction. With `fence`, only in that term. The answer may come before this replica has
    /// applied it: see [`Store::wait_revision`].
    pub async fn txn(&self, txn: Txn, fence: Option<u64>, deadline: Duration) -> Result<TxnResponse, WriteError> {
        match self.propose(&StoreCommand::Txn(txn), fence, deadline).await? {
            StoreResponse::Txn(response) => Ok(response),
            _ => Err(WriteError::Mismatch),
        }
    }

    /// Commits any command.
    pub async fn propose(
        &self,
        command: &StoreCommand,
        fence: Option<u64>,
        deadline: Duration,
    ) -> Result<StoreResponse, WriteError> {
        command.validate(self.ops_max)?;
        let payload = command.encode().map_err(|error| StoreError::BadCommand {
            reason: error.to_string(),
        })?;
        let applied = self.consensus.propose(payload, fence, deadline).await?;
        let response = decode_response(&applied.response).map_err(|source| WriteError::Answer { source })?;
        Ok(response?)
    }

    /// Returns once this replica's store has everything that was committed before the call.
    pub async fn linearizable(&self, deadline: Duration) -> Result<u64, ReadError> {
        self.consensus.read_index(deadline).await
    }

    /// Forgets what only revisions older than `revision` can see; gives the store's revision.
    pub async fn compact(&self, revision: u64, fence: Option<u64>, deadline: Duration) -> Result<u64, WriteError> {
        match self
            .propose(&StoreCommand::Compact { revision }, fence, deadline)
            .await?
        {
            StoreResponse::Compact { revision } => Ok(revision),
            _ => Err(WriteError::Mismatch),
        }
    }

    /// Makes a lease of `ttl_s` seconds; `id` 0 has one chosen. Gives the id.
    pub async fn lease_grant(&self, id: i64, ttl_s: i64, deadline: Duration) -> Result<i64, WriteError> {
        match self
            .propose(&StoreCommand::LeaseGrant { id, ttl_s }, None, deadline)
            .await?
        {
            StoreResponse::LeaseGrant { id, .. } => Ok(id),
            _ => Err(WriteError::Mismatch),
        }
    }

    /// Ends a lease and deletes its keys; gives their number.
    pub async fn lease_revoke(&self, id: i64, fence: Option<u64>, deadline: Duration) -> Result<u64, WriteError> {
        match self.propose(&StoreCommand::LeaseRevoke { id }, fence, deadline).await? {
            StoreResponse::LeaseRevoke { deleted, .. } => Ok(deleted),
            _ => Err(WriteError::Mismatch),
        }
    }

    /// Lets a lease's time begin anew; gives it in seconds.
    pub async fn lease_keep_alive(&self, id: i64, deadline: Duration) -> Result<i64, WriteError> {
        match self
            .propose(&StoreCommand::LeaseKeepAlive { id }, None, deadline)
            .await?
        {
            StoreResponse::LeaseKeepAlive { ttl_s, .. } => Ok(ttl_s),
            _ => Err(WriteError::Mismatch),
        }
    }
}
