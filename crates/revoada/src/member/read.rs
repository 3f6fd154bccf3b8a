//! Linearizable reads on any replica: all readers that wait share the next round trip to the leader.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use revoada_core::consensus::{ProposeError, ReadError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Shared;
use super::propose::{Attempt, member_id, read_index_at};
use crate::rpc::{call, pb};

/// One attempt at one leader.
const ATTEMPT: Duration = Duration::from_millis(700);

/// How long members that are merely late are waited for before a read is called stale.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Pause before asking again when no leader is known.
const PAUSE: Duration = Duration::from_millis(40);

type Waiter = oneshot::Sender<Result<u64, ReadError>>;

/// Collects readers while a round is under way; the next round answers all of them.
#[derive(Default)]
pub(crate) struct ReadBatcher {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiter>,
    running: bool,
}

impl ReadBatcher {
    /// The index that a read started now must see applied.
    pub(crate) async fn index(&self, shared: &Arc<Shared>, deadline: Duration) -> Result<u64, ReadError> {
        let (tx, rx) = oneshot::channel();
        let start = {
            let mut state = self.state.lock();
            state.waiting.push(tx);
            !std::mem::replace(&mut state.running, true)
        };
        if start {
            let owner = Arc::clone(shared);
            shared.tasks.spawn(async move { run(owner).await });
        }
        match tokio::time::timeout(deadline, rx).await {
            Ok(Ok(result)) => result,
            _ => Err(match shared.quorum_lost() {
                Some(ProposeError::NoQuorum { missing, voters }) => ReadError::NoQuorum { missing, voters },
                _ => ReadError::Timeout {
                    waited_ms: deadline.as_millis() as u64,
                },
            }),
        }
    }
}

/// Rounds until nobody waits. A reader that arrives during a round waits for the next: the round's index may
/// be older than the read.
async fn run(shared: Arc<Shared>) {
    loop {
        let batch = {
            let mut state = shared.reads.state.lock();
            let batch = std::mem::take(&mut state.waiting);
            if batch.is_empty() {
                state.running = false;
                return;
            }
            batch
        };
        let result = round(&shared).await;
        for waiter in batch {
            let _ = waiter.send(result.clone());
        }
    }
}

async fn round(shared: &Arc<Shared>) -> Result<u64, ReadError> {
    let started = Instant::now();
    let mut hint = None;
    loop {
        let leader = hint.take().or_else(|| shared.leader_hint());
        // The index is one of the history that is read: the reader checks afterwards that it still is this one.
        let attempt = match (leader, shared.running()) {
            (Some(leader), Some(replica)) if leader == shared.me => read_index_at(shared, &replica, ATTEMPT).await,
            (Some(leader), Some(replica)) => ask(shared, leader, replica.epoch).await,
            _ => Err(Attempt::Elsewhere(None)),
        };
        match attempt {
            Ok(index) => return Ok(index),
            Err(Attempt::Elsewhere(Some(leader))) if leader != shared.me => hint = Some(leader),
            Err(Attempt::Again(reason)) => tracing::debug!(%reason, "a read index is asked for again"),
            Err(_) => {}
        }
        // A late majority is waited for, a dead one is not.
        let lost = if started.elapsed() > PATIENCE {
            shared.quorum_lost()
        } else {
            shared.quorum_dead()
        };
        if let Some(ProposeError::NoQuorum { missing, voters }) = lost {
            return Err(ReadError::NoQuorum { missing, voters });
        }
        if started.elapsed() > Duration::from_secs(3) {
            return Err(ReadError::Timeout {
                waited_ms: started.elapsed().as_millis() as u64,
            });
        }
        if hint.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn ask(shared: &Shared, leader: revoada_core::MemberId, epoch: u64) -> Result<u64, Attempt> {
    use pb::read_index_reply::Result as R;
    let mut client = shared.rpc.peer(leader);
    let request = pb::ReadIndexRequest {
        deadline_ms: ATTEMPT.as_millis() as u32,
        epoch,
    };
    let reply = call(leader, ATTEMPT, client.read_index(request))
        .await
        .map_err(|error| Attempt::Again(error.to_string()))?;
    match reply.result {
        Some(R::Index(index)) => Ok(index),
        Some(R::NotLeader(not)) => Err(Attempt::Elsewhere(member_id(&not.leader))),
        Some(R::NoQuorum(_)) => Err(Attempt::NoQuorum),
        Some(R::Failure(failure)) => Err(Attempt::Again(failure.message)),
        None => Err(Attempt::Again("an empty answer".into())),
    }
}
