//! Consensus of one, for tests: applies at once what is proposed. Never part of the product.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use revoada_core::command::RequestId;
use revoada_core::consensus::{
    Application, Applied, BoxFuture, Consensus, ConsensusStatus, LogPosition, ProposeError, ReadError,
};
use revoada_core::dedupe::{Dedupe, Lookup};

use crate::client::StoreClient;
use crate::store::{Store, StoreOptions};

/// A leader that needs nobody.
pub struct SingleNode {
    application: Arc<dyn Application>,
    index: Mutex<u64>,
    dedupe: Mutex<Dedupe>,
    term: AtomicU64,
    failure: Mutex<Option<ProposeError>>,
}

impl SingleNode {
    /// Drives `application`, at term 1.
    pub fn new(application: Arc<dyn Application>) -> Arc<Self> {
        Arc::new(Self {
            application,
            index: Mutex::new(0),
            dedupe: Mutex::default(),
            term: AtomicU64::new(1),
            failure: Mutex::new(None),
        })
    }

    /// From now on entries are of this term.
    pub fn set_term(&self, term: u64) {
        self.term.store(term, Ordering::SeqCst);
    }

    /// From now on every proposal and every read fails with this, until `None`.
    pub fn fail_with(&self, failure: Option<ProposeError>) {
        *self.failure.lock() = failure;
    }
}

impl SingleNode {
    /// One more entry, answered by `answer`.
    fn append(&self, answer: impl FnOnce(LogPosition) -> Bytes) -> Applied {
        let term = self.term.load(Ordering::SeqCst);
        let mut index = self.index.lock();
        *index += 1;
        let at = LogPosition { index: *index, term };
        Applied {
            index: at.index,
            response: answer(at),
        }
    }

    fn apply(&self, at: LogPosition, payload: &[u8]) -> Bytes {
        let response = self.application.apply(at, payload);
        self.application.applied(at.index);
        response
    }
}

impl Consensus for SingleNode {
    fn propose(
        &self,
        payload: Bytes,
        fence: Option<u64>,
        _deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        Box::pin(async move {
            if let Some(failure) = self.failure.lock().clone() {
                return Err(failure);
            }
            let term = self.term.load(Ordering::SeqCst);
            if let Some(fence) = fence.filter(|fence| *fence != term) {
                return Err(ProposeError::Fenced { fence, term });
            }
            Ok(self.append(|at| self.apply(at, &payload)))
        })
    }

    fn propose_as(
        &self,
        request: RequestId,
        payload: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        Box::pin(async move {
            if let Some(failure) = self.failure.lock().clone() {
                return Err(failure);
            }
            let mut dedupe = self.dedupe.lock();
            match dedupe.lookup(&request) {
                Lookup::Duplicate(response) => Ok(self.append(|_| response)),
                Lookup::TooOld => Err(ProposeError::Unknown {
                    waited_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
                }),
                Lookup::New => {
                    let applied = self.append(|at| self.apply(at, &payload));
                    dedupe.record(&request, applied.response.clone());
                    Ok(applied)
                }
            }
        })
    }

    fn read_index(&self, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async move {
            match self.failure.lock().clone() {
                None => Ok(*self.index.lock()),
                Some(ProposeError::NoQuorum { missing, voters }) => Err(ReadError::NoQuorum { missing, voters }),
                Some(_) => Err(ReadError::Timeout {
                    waited_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
                }),
            }
        })
    }

    fn status(&self) -> ConsensusStatus {
        let healthy = self.failure.lock().is_none();
        ConsensusStatus {
            leader: None,
            is_leader: healthy,
            term: self.term.load(Ordering::SeqCst),
            applied: *self.index.lock(),
            quorum: healthy,
            missing: Vec::new(),
            voters: 1,
        }
    }
}

/// An empty store without history on disk (only the newest revision can be read, watches reach as far back as
/// the rings) behind a consensus of one.
pub fn client() -> StoreClient {
    client_with(StoreOptions::default())
}

/// The same with options.
pub fn client_with(options: StoreOptions) -> StoreClient {
    let store = Store::open(options);
    StoreClient::new(store.clone(), SingleNode::new(store))
}
