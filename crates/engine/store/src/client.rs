//! Writing to the store through consensus, and linearizable reading.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use revoada_core::command::RequestId;
use revoada_core::consensus::{Applied, Consensus, ProposeError, ReadError};

use crate::command::{DecodeError, StoreCommand, Txn};
use crate::lease::LeaseInfo;
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

/// A transaction that was checked and can be proposed under an id of the caller's, see [`StoreClient::txn_as`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTxn(Bytes);

/// What has become of an id under which a transaction may or may not have been proposed. It stays so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Nothing was applied under it, and nothing will be.
    Void,
    /// A transaction whose compares did not hold, or which was refused: nothing was written.
    Failed,
    /// A transaction whose compares held.
    Done(TxnResponse),
}

impl Settled {
    fn of(response: Result<StoreResponse, StoreError>) -> Result<Self, WriteError> {
        match response {
            // Only the transaction that settles an id has no steps at all.
            Ok(StoreResponse::Txn(txn)) if txn.succeeded && txn.results.is_empty() => Ok(Self::Void),
            Ok(StoreResponse::Txn(txn)) if txn.succeeded => Ok(Self::Done(txn)),
            Ok(StoreResponse::Txn(_)) | Err(_) => Ok(Self::Failed),
            Ok(_) => Err(WriteError::Mismatch),
        }
    }
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
        let payload = self.encode(command)?;
        let applied = self.consensus.propose(payload, fence, deadline).await?;
        Ok(response_of(&applied)??)
    }

    fn encode(&self, command: &StoreCommand) -> Result<Bytes, StoreError> {
        command.validate(self.ops_max)?;
        command.encode().map_err(|error| StoreError::BadCommand {
            reason: error.to_string(),
        })
    }

    /// Checks a transaction and makes it ready for [`StoreClient::txn_as`]. It must do something if its
    /// compares hold: one that does nothing is what [`StoreClient::settle`] proposes.
    pub fn prepare(&self, txn: Txn) -> Result<PreparedTxn, StoreError> {
        if txn.success.is_empty() {
            return Err(StoreError::BadCommand {
                reason: "a transaction under a chosen id must do something".into(),
            });
        }
        self.encode(&StoreCommand::Txn(txn)).map(PreparedTxn)
    }

    /// Commits a transaction under an id that somebody else chose and may settle, see [`StoreClient::settle`]: `None`
    /// if it was settled before, and then the transaction is never applied. A [`WriteError::Store`] comes from the
    /// log: the id is used up, and nothing was written.
    pub async fn txn_as(
        &self,
        request: RequestId,
        txn: PreparedTxn,
        deadline: Duration,
    ) -> Result<Option<TxnResponse>, WriteError> {
        let applied = self.consensus.propose_as(request, txn.0, deadline).await?;
        match response_of(&applied)?? {
            StoreResponse::Txn(txn) if txn.succeeded && txn.results.is_empty() => Ok(None),
            StoreResponse::Txn(txn) => Ok(Some(txn)),
            _ => Err(WriteError::Mismatch),
        }
    }

    /// Finds out what was applied under an id, and if nothing was sees to it that nothing ever will be: it proposes
    /// a transaction of no steps under that very id. Whichever comes first in the log has the id; every replica and
    /// every later call give the same answer.
    pub async fn settle(&self, request: RequestId, deadline: Duration) -> Result<Settled, WriteError> {
        let payload = self.encode(&StoreCommand::Txn(Txn::default()))?;
        let applied = self.consensus.propose_as(request, payload, deadline).await?;
        Settled::of(response_of(&applied)?)
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

    /// Ends a lease whose time is over and deletes its keys; gives their number. A lease that was kept since is left.
    pub async fn lease_expire(
        &self,
        lease: &LeaseInfo,
        fence: Option<u64>,
        deadline: Duration,
    ) -> Result<u64, WriteError> {
        let (id, renewals) = (lease.id, lease.renewals);
        let command = StoreCommand::LeaseExpire { id, renewals };
        match self.propose(&command, fence, deadline).await? {
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

fn response_of(applied: &Applied) -> Result<Result<StoreResponse, StoreError>, WriteError> {
    decode_response(&applied.response).map_err(|source| WriteError::Answer { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Compare, Op};
    use crate::model::{KeyRange, RangeRequest};
    use crate::response::OpResult;
    use crate::testing;

    const SECOND: Duration = Duration::from_secs(1);

    fn write(ops: Vec<Op>) -> Txn {
        Txn {
            success: ops,
            ..Txn::default()
        }
    }

    #[tokio::test]
    async fn a_value_carries_its_own_revision() {
        let client = testing::client();
        let txn = Txn {
            compares: vec![Compare::absent("k")],
            success: vec![Op::put_spliced("k", r#"{"resourceVersion":""}"#, 20), Op::get("k")],
            failure: vec![],
        };
        let response = client.txn(txn.clone(), None, SECOND).await.unwrap();
        assert_eq!((response.revision, response.succeeded), (2, true));
        assert_eq!(
            response.results[0],
            OpResult::Put {
                mod_revision: 2,
                bytes: 23,
                prev: None
            }
        );
        let OpResult::Range(read) = &response.results[1] else {
            panic!("{response:?}")
        };
        assert_eq!(read.kvs[0].value, r#"{"resourceVersion":"2"}"#);
        assert_eq!(client.store.get(b"k"), Some(read.kvs[0].clone()));

        let again = client.txn(txn, None, SECOND).await.unwrap();
        assert_eq!((again.revision, again.succeeded, again.results), (2, false, vec![]));
        let bad = client
            .txn(write(vec![Op::put_spliced("k", "ab", 3)]), None, SECOND)
            .await;
        assert_eq!(
            bad,
            Err(StoreError::BadSplice {
                key: "k".into(),
                offset: 3,
                bytes: 2
            }
            .into())
        );
    }

    #[tokio::test]
    async fn an_id_is_settled_once_and_for_all() {
        let client = testing::client();
        let id = |seq| RequestId {
            origin: revoada_core::MemberId([1; 32]),
            boot: 1,
            seq,
        };
        let create = |value: &str| {
            let txn = Txn {
                compares: vec![Compare::absent("k")],
                success: vec![Op::put("k", value.to_owned())],
                failure: vec![],
            };
            client.prepare(txn).unwrap()
        };
        let done = client.txn_as(id(1), create("a"), SECOND).await.unwrap().unwrap();
        assert!(done.succeeded);
        assert_eq!(client.txn_as(id(1), create("b"), SECOND).await, Ok(Some(done.clone())));
        assert_eq!(client.settle(id(1), SECOND).await, Ok(Settled::Done(done)));

        let failed = client.txn_as(id(2), create("b"), SECOND).await.unwrap().unwrap();
        assert!(!failed.succeeded);
        assert_eq!(client.settle(id(2), SECOND).await, Ok(Settled::Failed));

        client.txn(write(vec![Op::delete("k")]), None, SECOND).await.unwrap();
        assert_eq!(client.settle(id(3), SECOND).await, Ok(Settled::Void));
        assert_eq!(client.settle(id(3), SECOND).await, Ok(Settled::Void));
        assert_eq!(client.txn_as(id(3), create("late"), SECOND).await, Ok(None));
        assert_eq!(client.store.get(b"k"), None);
        assert!(client.prepare(Txn::default()).is_err());
    }

    #[tokio::test]
    async fn what_is_malformed_is_refused_whole() {
        let client = testing::client();
        let refused = |ops: Vec<Op>| {
            let client = client.clone();
            async move {
                match client.txn(write(ops), None, SECOND).await {
                    Err(WriteError::Store(error)) => error,
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(refused(vec![Op::put("", "x")]).await, StoreError::KeyEmpty);
        let twice = StoreError::DuplicateKey { key: "a".into() };
        assert_eq!(refused(vec![Op::put("a", "x"), Op::put("a", "y")]).await, twice);
        let delete_all = Op::DeleteRange {
            range: KeyRange::all(),
            prev_kv: false,
        };
        assert_eq!(refused(vec![delete_all, Op::put("a", "y")]).await, twice);
        let many = (0..129).map(|i| Op::put(format!("{i}"), "x")).collect();
        assert_eq!(refused(many).await, StoreError::TooManyOps { ops: 129, ops_max: 128 });
        let leased = Op::Put {
            key: "b".into(),
            value: "".into(),
            lease: 9,
            prev_kv: false,
            revision_splice: None,
        };
        assert_eq!(
            refused(vec![Op::put("a", "x"), leased]).await,
            StoreError::LeaseNotFound { id: 9 }
        );
        let future = Op::Range(RangeRequest::new(KeyRange::all()).at(5));
        let error = StoreError::FutureRevision {
            revision: 5,
            current: 1,
        };
        assert_eq!(refused(vec![Op::put("a", "x"), future]).await, error);
        assert_eq!(client.store.revision(), 1);
    }

    #[tokio::test]
    async fn a_lease_that_was_kept_does_not_end() {
        let client = testing::client();
        let id = client.lease_grant(0, 60, SECOND).await.unwrap();
        let seen = client.store.leases()[0];
        client.lease_keep_alive(id, SECOND).await.unwrap();
        let renewed = StoreError::LeaseRenewed { id };
        assert_eq!(
            client.lease_expire(&seen, None, SECOND).await,
            Err(renewed.clone().into())
        );
        client.lease_revoke(id, None, SECOND).await.unwrap();
        client.lease_grant(id, 60, SECOND).await.unwrap();
        assert_eq!(client.lease_expire(&seen, None, SECOND).await, Err(renewed.into()));
        let seen = client.store.leases()[0];
        assert_eq!(client.lease_expire(&seen, None, SECOND).await, Ok(0));
        assert!(client.store.leases().is_empty());
    }

    #[tokio::test]
    async fn a_lease_takes_its_keys_along() {
        let client = testing::client();
        let id = client.lease_grant(0, 60, SECOND).await.unwrap();
        assert_eq!(
            client.lease_grant(id, 60, SECOND).await,
            Err(StoreError::LeaseExists { id }.into())
        );
        assert!(matches!(
            client.lease_grant(0, 0, SECOND).await,
            Err(WriteError::Store(StoreError::LeaseTtl { ttl_s: 0, .. }))
        ));
        let put = |key: &str, lease| Op::Put {
            key: key.to_owned().into(),
            value: "v".into(),
            lease,
            prev_kv: false,
            revision_splice: None,
        };
        client
            .txn(write(vec![put("a", id), put("b", id), put("c", 0)]), None, SECOND)
            .await
            .unwrap();
        client.txn(write(vec![put("b", 0)]), None, SECOND).await.unwrap();
        assert_eq!(client.store.lease_keys(id), Some(vec!["a".into()]));
        assert_eq!(client.lease_keep_alive(id, SECOND).await, Ok(60));
        assert_eq!(client.store.leases()[0].renewals, 2);
        assert_eq!(client.lease_revoke(id, None, SECOND).await, Ok(1));
        assert_eq!((client.store.revision(), client.store.get(b"a")), (4, None));
        assert_eq!(
            client.lease_revoke(id, None, SECOND).await,
            Err(StoreError::LeaseNotFound { id }.into())
        );
    }

    #[tokio::test]
    async fn fences_and_failures_reach_the_caller() {
        let store = Store::open(Default::default());
        let node = testing::SingleNode::new(store.clone());
        let client = StoreClient::new(store, node.clone());
        node.set_term(3);
        let fenced = client.txn(write(vec![Op::put("a", "x")]), Some(2), SECOND).await;
        assert_eq!(fenced, Err(ProposeError::Fenced { fence: 2, term: 3 }.into()));
        client
            .txn(write(vec![Op::put("a", "x")]), Some(3), SECOND)
            .await
            .unwrap();
        assert!(client.store.wait_revision(2, SECOND).await);
        assert!(!client.store.wait_revision(3, Duration::from_millis(5)).await);
        assert_eq!(client.compact(2, None, SECOND).await, Ok(2));
        let again = StoreError::Compacted {
            revision: 2,
            compacted: 2,
        };
        assert_eq!(client.compact(2, None, SECOND).await, Err(again.into()));
        assert_eq!(client.linearizable(SECOND).await, Ok(3));
        node.fail_with(Some(ProposeError::NoQuorum {
            missing: vec![],
            voters: 3,
        }));
        assert!(matches!(
            client.txn(write(vec![]), None, SECOND).await,
            Err(WriteError::Propose(_))
        ));
        assert!(client.linearizable(SECOND).await.is_err());
    }
}
