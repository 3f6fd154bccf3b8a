//! Proposals from wherever this member stands: to its own replica when it leads, else to the leader.
//!
//! Every proposal carries a request id, so it is retried freely: applied once, whoever saw it first.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;
use revoada_core::MemberId;
use revoada_core::command::{CodecError, Command, MeshCommand, RequestId};
use revoada_core::consensus::{Applied, BoxFuture, Consensus, ConsensusStatus, ProposeError, ReadError};
use revoada_core::state::MeshOutcome;
use tokio::time::Instant;

use super::{Member, Shared};
use crate::raft::codec;
use crate::raft::leadership::Unconfirmed;
use crate::raft::machine::Reply;
use crate::raft::replica::Replica;
use crate::raft::types::Payload;
use crate::rpc::{RpcError, call, pb};

/// Largest payload of one proposal.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One attempt at one leader; a retry with the same id is harmless.
const ATTEMPT: Duration = Duration::from_millis(900);

/// Proposals of one member under way at once: half of what the exactly-once table remembers of it.
pub(crate) const IN_FLIGHT_MAX: usize = revoada_core::dedupe::WINDOW_MAX / 2;

/// Pause before asking again when no leader is known.
const PAUSE: Duration = Duration::from_millis(40);

/// A leader that has not heard a majority for this long accepts no more writes.
const QUORUM_SILENCE: Duration = Duration::from_millis(1_500);

/// Consensus as the engine gets it.
pub struct ConsensusHandle {
    shared: Arc<Shared>,
    /// The replica that was open when the handle was made: its application is what the holder reads.
    bound: Option<Weak<Replica>>,
    /// Of that application: what is made of its state never reaches the history of another epoch.
    epoch: u64,
}

/// How one attempt ended.
pub(crate) enum Attempt {
    Done {
        index: u64,
        answer: Bytes,
    },
    /// Not here; perhaps there.
    Elsewhere(Option<MemberId>),
    /// The leader has lost its majority: nothing was appended.
    NoQuorum,
    /// Try again: no answer, or a broken one. It may have been appended.
    Again(String),
}

impl ConsensusHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let replica = shared.running();
        Self {
            epoch: replica
                .as_ref()
                .map_or_else(|| shared.trust.epoch(), |replica| replica.epoch),
            bound: replica.as_ref().map(Arc::downgrade),
            shared,
        }
    }
}

impl Member {
    /// Sets `count` request numbers of this member aside, for requests that others propose in its name: the first of
    /// them. They are shared with its own proposals, so it keeps few under way: see [`revoada_core::dedupe`].
    pub fn reserve_requests(&self, count: u64) -> RequestId {
        RequestId {
            origin: self.shared.me,
            boot: self.shared.boot,
            seq: self.shared.sequence.fetch_add(count, Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// Commits a mesh command, wherever the leader is.
    pub(crate) async fn propose_mesh(
        &self,
        command: MeshCommand,
        deadline: Duration,
    ) -> Result<MeshOutcome, ProposeError> {
        let request = self.next_request();
        let command = Command::Mesh {
            request,
            at_ms: self.unix_ms(),
            by: self.me,
            command,
        };
        let (_, answer) = self
            .propose_encoded(command.encode().map_err(encoding)?, self.trust.epoch(), deadline)
            .await?;
        match codec::decode::<Reply>("answer", &answer) {
            Ok(Reply::Mesh(outcome)) => Ok(outcome),
            Ok(other) => Err(ProposeError::Halted {
                reason: format!("a mesh command was answered with {other:?}"),
            }),
            Err(error) => Err(ProposeError::Halted {
                reason: error.to_string(),
            }),
        }
    }

    /// Commits an encoded command: retried with the same id until it is answered or the deadline passes.
    pub(crate) async fn propose_encoded(
        &self,
        command: Bytes,
        epoch: u64,
        deadline: Duration,
    ) -> Result<(u64, Bytes), ProposeError> {
        if let Some(reason) = self.halted.borrow().clone() {
            return Err(ProposeError::Halted { reason });
        }
        let started = Instant::now();
        // More at once than the exactly-once table remembers, and a slow retry could not be told from a lost one.
        let Ok(Ok(_permit)) = tokio::time::timeout(deadline, self.proposals.acquire()).await else {
            return Err(self.no_answer(started, false));
        };
        let mut hint = None;
        // Whether some leader may have appended it. Then it may be committed once there is a majority again, and a lost
        // quorum is no proof that nothing was written.
        let mut in_doubt = false;
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(self.no_answer(started, in_doubt));
            }
            let leader = hint.take().or_else(|| self.leader_hint());
            let attempt = match leader {
                Some(leader) if leader == self.me => match self.replica_of(epoch) {
                    Some(replica) => self.propose_at(&replica, command.clone(), left.min(ATTEMPT)).await,
                    None => Attempt::Elsewhere(None),
                },
                Some(leader) => {
                    self.propose_there(leader, command.clone(), epoch, left.min(ATTEMPT))
                        .await
                }
                None => Attempt::Elsewhere(None),
            };
            match attempt {
                Attempt::Done { index, answer } => return Ok((index, answer)),
                Attempt::Elsewhere(Some(leader)) if leader != self.me => hint = Some(leader),
                Attempt::Elsewhere(_) => {}
                Attempt::NoQuorum => {
                    if self.quorum_lost().is_some() {
                        return Err(self.no_answer(started, in_doubt));
                    }
                }
                Attempt::Again(reason) => {
                    in_doubt = true;
                    tracing::debug!(%reason, "a proposal is tried again");
                }
            }
            if hint.is_none() {
                // Without any leader and with a majority dead there is nothing to wait for.
                if self.leader_hint().is_none()
                    && started.elapsed() > Duration::from_millis(1_000)
                    && let Some(error) = self.quorum_dead()
                {
                    return Err(if in_doubt { unknown(started) } else { error });
                }
                tokio::time::sleep(PAUSE.min(deadline.saturating_sub(started.elapsed()))).await;
            }
        }
    }

    /// Proposes at this member's own `replica`.
    pub(crate) async fn propose_at(&self, replica: &Replica, command: Bytes, deadline: Duration) -> Attempt {
        if let Some(elsewhere) = not_leading(self.me, replica) {
            return elsewhere;
        }
        if !heard_majority(replica, QUORUM_SILENCE) {
            return Attempt::NoQuorum;
        }
        match tokio::time::timeout(deadline, replica.raft.client_write(Payload(command))).await {
            Ok(Ok(response)) => Attempt::Done {
                index: response.log_id.index,
                answer: response.data.0,
            },
            Ok(Err(error)) => match error.forward_to_leader() {
                Some(forward) => Attempt::Elsewhere(forward.leader_id),
                None => Attempt::Again(error.to_string()),
            },
            Err(_) => Attempt::Again("no commit in time".into()),
        }
    }

    async fn propose_there(&self, leader: MemberId, command: Bytes, epoch: u64, deadline: Duration) -> Attempt {
        let mut client = self.rpc.peer(leader);
        let request = pb::ProposeRequest {
            command,
            deadline_ms: deadline.as_millis() as u32,
            epoch,
        };
        let moved = self.leader_moved(leader);
        tokio::select! {
            reply = call(leader, deadline, client.propose(request)) => match reply {
                Ok(reply) => attempt_of(reply),
                Err(error @ RpcError::Unreachable { .. }) => {
                    self.mesh.reset_backoff(leader);
                    tracing::debug!(%error, "a proposal did not reach the leader");
                    Attempt::Elsewhere(None)
                }
                Err(error) => Attempt::Again(error.to_string()),
            },
            () = moved => Attempt::Again("the leader changed meanwhile".into()),
        }
    }

    /// Completes when this member learns of another leader than `leader`.
    async fn leader_moved(&self, leader: MemberId) {
        let Some(replica) = self.running() else {
            return std::future::pending().await;
        };
        let mut metrics = replica.raft.server_metrics();
        loop {
            if metrics.borrow_watched().current_leader.is_some_and(|now| now != leader) {
                return;
            }
            if openraft::async_runtime::WatchReceiver::changed(&mut metrics)
                .await
                .is_err()
            {
                return std::future::pending().await;
            }
        }
    }

    /// Who leads, as far as this member knows: its own replica first, else what live replicas say.
    pub(crate) fn leader_hint(&self) -> Option<MemberId> {
        if let Some(replica) = self.running()
            && let Some(leader) = replica.raft.metrics().borrow_watched().current_leader
            && (leader == self.me || !self.is_dead(&leader))
        {
            return Some(leader);
        }
        let everyone = self.gossip.everyone();
        let everyone = everyone.borrow();
        everyone
            .values()
            .filter(|heard| heard.liveness.is_alive())
            .filter_map(|heard| heard.pulse.leader.map(|leader| (heard.pulse.term, leader)))
            .filter(|(_, leader)| everyone.get(leader).is_some_and(|heard| heard.liveness.is_alive()))
            .max()
            .map(|(_, leader)| leader)
    }

    pub(crate) fn is_dead(&self, member: &MemberId) -> bool {
        use revoada_core::view::Liveness;
        let everyone = self.gossip.everyone();
        let everyone = everyone.borrow();
        matches!(
            everyone.get(member).map(|heard| heard.liveness),
            Some(Liveness::Dead { .. })
        )
    }

    /// Voters that do not answer, if the others are no majority.
    pub(crate) fn quorum_lost(&self) -> Option<ProposeError> {
        lost(self.missing_voters())
    }

    /// As [`Shared::quorum_lost`], but only those count that were given up: somebody who is late may be back at once.
    pub(crate) fn quorum_dead(&self) -> Option<ProposeError> {
        let (missing, voters) = self.missing_voters();
        lost((missing.into_iter().filter(|id| self.is_dead(id)).collect(), voters))
    }

    /// Voters that are not alive, and the number of all.
    pub(crate) fn missing_voters(&self) -> (Vec<MemberId>, usize) {
        let known = self.trust.known();
        let everyone = self.gossip.everyone();
        let everyone = everyone.borrow();
        let voters = &known.config().voters;
        let missing = voters
            .iter()
            .filter(|id| **id != self.me && !everyone.get(id).is_some_and(|heard| heard.liveness.is_alive()))
            .copied()
            .collect();
        (missing, voters.len())
    }

    fn no_answer(&self, started: Instant, in_doubt: bool) -> ProposeError {
        let lost = if in_doubt { None } else { self.quorum_lost() };
        lost.unwrap_or_else(|| unknown(started))
    }
}

fn unknown(started: Instant) -> ProposeError {
    ProposeError::Unknown {
        waited_ms: started.elapsed().as_millis() as u64,
    }
}

/// A command that cannot be encoded is too large: nothing else can be wrong with one of ours.
pub(crate) fn encoding(error: CodecError) -> ProposeError {
    match error {
        CodecError::TooLarge { bytes, bytes_max, .. } => ProposeError::TooLarge { bytes, bytes_max },
        other => ProposeError::Halted {
            reason: other.to_string(),
        },
    }
}

fn lost((missing, voters): (Vec<MemberId>, usize)) -> Option<ProposeError> {
    (missing.len() * 2 >= voters && voters > 0).then_some(ProposeError::NoQuorum { missing, voters })
}

fn not_leading(me: MemberId, replica: &Replica) -> Option<Attempt> {
    let leader = replica.raft.metrics().borrow_watched().current_leader;
    (leader != Some(me)).then_some(Attempt::Elsewhere(leader))
}

/// Whether a majority answered this leader within the last `time`; always true for one that is the single voter.
pub(crate) fn heard_majority(replica: &Replica, time: Duration) -> bool {
    let metrics = replica.raft.metrics().borrow_watched().clone();
    // A leader may be no voter any more, and then it depends on the one who is.
    if metrics
        .membership_config
        .membership()
        .voter_ids()
        .all(|id| id == metrics.id)
    {
        return true;
    }
    metrics.last_quorum_acked.is_none_or(|at| at.elapsed() < time)
}

/// The answer of a leader that was asked over the mesh.
pub(crate) fn attempt_of(reply: pb::ProposeReply) -> Attempt {
    use pb::propose_reply::Result as R;
    match reply.result {
        Some(R::Applied(applied)) => Attempt::Done {
            index: applied.index,
            answer: applied.response,
        },
        Some(R::NotLeader(not)) => Attempt::Elsewhere(member_id(&not.leader)),
        Some(R::NoQuorum(_)) => Attempt::NoQuorum,
        Some(R::Failure(failure)) => Attempt::Again(failure.message),
        None => Attempt::Again("an empty answer".into()),
    }
}

/// The wire form of an attempt.
pub(crate) fn reply_of(attempt: Attempt) -> pb::ProposeReply {
    use pb::propose_reply::Result as R;
    let result = match attempt {
        Attempt::Done { index, answer } => R::Applied(pb::Applied {
            index,
            response: answer,
        }),
        Attempt::Elsewhere(leader) => R::NotLeader(pb::NotLeader {
            leader: wire_id(leader),
        }),
        Attempt::NoQuorum => R::NoQuorum(pb::NoQuorum {}),
        Attempt::Again(message) => R::Failure(pb::Failure {
            message,
            outcome_unknown: true,
        }),
    };
    pb::ProposeReply { result: Some(result) }
}

pub(crate) fn member_id(raw: &[u8]) -> Option<MemberId> {
    raw.try_into().ok().map(MemberId)
}

pub(crate) fn wire_id(id: Option<MemberId>) -> Bytes {
    id.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes()))
}

impl Shared {
    async fn propose_app(
        &self,
        request: RequestId,
        payload: Bytes,
        fence: Option<u64>,
        epoch: u64,
        deadline: Duration,
    ) -> Result<Applied, ProposeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(ProposeError::TooLarge {
                bytes: payload.len(),
                bytes_max: PAYLOAD_BYTES_MAX,
            });
        }
        let command = Command::App {
            request,
            fence,
            payload,
        };
        let (index, answer) = self
            .propose_encoded(command.encode().map_err(encoding)?, epoch, deadline)
            .await?;
        match codec::decode::<Reply>("answer", &answer) {
            Ok(Reply::App(response)) => Ok(Applied { index, response }),
            Ok(Reply::Fenced { fence, term }) => Err(ProposeError::Fenced { fence, term }),
            Ok(Reply::TooOld) => Err(ProposeError::Unknown {
                waited_ms: deadline.as_millis() as u64,
            }),
            Ok(other) => Err(ProposeError::Halted {
                reason: format!("the state machine answered {other:?}"),
            }),
            Err(error) => Err(ProposeError::Halted {
                reason: error.to_string(),
            }),
        }
    }
}

impl Consensus for ConsensusHandle {
    fn propose(
        &self,
        payload: Bytes,
        fence: Option<u64>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        let request = self.shared.next_request();
        Box::pin(self.shared.propose_app(request, payload, fence, self.epoch, deadline))
    }

    fn propose_as(
        &self,
        request: RequestId,
        payload: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        Box::pin(self.shared.propose_app(request, payload, None, self.epoch, deadline))
    }

    fn read_index(&self, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async move {
            let started = Instant::now();
            #[cfg(feature = "mutations")]
            if let Some(replica) = self.shared.running().filter(|_| sim_mutation::is("read-without-index")) {
                return Ok(*replica.machine.applied().borrow());
            }
            let index = self.shared.reads.index(&self.shared, deadline).await?;
            let Some(replica) = self.shared.running() else {
                return Err(ReadError::Timeout {
                    waited_ms: started.elapsed().as_millis() as u64,
                });
            };
            // A replica that was opened again has another application: a read of the old one would miss what is new.
            if self
                .bound
                .as_ref()
                .is_some_and(|bound| !std::ptr::eq(bound.as_ptr(), Arc::as_ptr(&replica)))
            {
                return Err(ReadError::Timeout {
                    waited_ms: started.elapsed().as_millis() as u64,
                });
            }
            let mut applied = replica.machine.applied();
            let left = deadline.saturating_sub(started.elapsed());
            match tokio::time::timeout(left, applied.wait_for(|applied| *applied >= index)).await {
                Ok(Ok(applied)) => Ok(*applied),
                _ => Err(ReadError::Timeout {
                    waited_ms: started.elapsed().as_millis() as u64,
                }),
            }
        })
    }

    fn status(&self) -> ConsensusStatus {
        let (missing, voters) = self.shared.missing_voters();
        let Some(replica) = self.shared.running() else {
            return ConsensusStatus {
                leader: self.shared.leader_hint(),
                missing,
                voters,
                ..Default::default()
            };
        };
        let metrics = replica.raft.metrics().borrow_watched().clone();
        let leader = metrics.current_leader;
        let is_leader = leader == Some(self.shared.me);
        let quorum = match leader {
            Some(_) if is_leader => heard_majority(&replica, QUORUM_SILENCE),
            Some(leader) => !self.shared.is_dead(&leader) && missing.len() * 2 < voters,
            None => false,
        };
        ConsensusStatus {
            leader,
            is_leader,
            term: metrics.current_term,
            applied: metrics.last_applied.map_or(0, |id| id.index),
            quorum,
            missing: if quorum { Vec::new() } else { missing },
            voters,
        }
    }
}

/// The leader's side of a linearizable read: its commit index, confirmed by a majority.
pub(crate) async fn read_index_at(shared: &Shared, replica: &Replica, deadline: Duration) -> Result<u64, Attempt> {
    if let Some(elsewhere) = not_leading(shared.me, replica) {
        return Err(elsewhere);
    }
    replica.confirmed_index(deadline).await.map_err(|error| match error {
        Unconfirmed::Elsewhere(leader) => Attempt::Elsewhere(leader),
        Unconfirmed::NoMajority if !heard_majority(replica, QUORUM_SILENCE) => Attempt::NoQuorum,
        error => Attempt::Again(error.to_string()),
    })
}
