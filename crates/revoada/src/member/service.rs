//! What members may ask each other.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use revoada_core::MemberId;
use tonic::{Request, Response, Status};

use super::Shared;
use super::propose::{Attempt, read_index_at, reply_of, wire_id};
use crate::known::{Known, Version};
use crate::raft::network::envelope;
use crate::raft::replica::Replica;
use crate::raft::service::ReplicaSource;
use crate::rpc::{RpcPeer, pb};

/// Longest that a caller may make this member wait.
const DEADLINE_MAX: Duration = Duration::from_secs(10);

/// Blocks signed in one call.
const SEAL_TARGETS_MAX: usize = 256;

/// The general service.
pub(crate) struct PeerService {
    pub(crate) shared: Arc<Shared>,
}

fn caller<T>(request: &Request<T>) -> Result<MemberId, Status> {
    let peer = request.extensions().get::<RpcPeer>();
    peer.map(|peer| peer.0)
        .ok_or_else(|| Status::unauthenticated("a call without an authenticated peer"))
}

fn bounded(deadline_ms: u32) -> Duration {
    Duration::from_millis(u64::from(deadline_ms)).clamp(Duration::from_millis(10), DEADLINE_MAX)
}

#[tonic::async_trait]
impl pb::peer_server::Peer for PeerService {
    type KnownStream = Pin<Box<dyn Stream<Item = Result<pb::KnownUpdate, Status>> + Send>>;

    async fn propose(&self, request: Request<pb::ProposeRequest>) -> Result<Response<pb::ProposeReply>, Status> {
        let request = request.into_inner();
        let attempt = match self.shared.serving(request.epoch) {
            Some(replica) => {
                let deadline = bounded(request.deadline_ms);
                self.shared.propose_at(&replica, request.command, deadline).await
            }
            None => Attempt::Elsewhere(None),
        };
        Ok(Response::new(reply_of(attempt)))
    }

    async fn read_index(&self, request: Request<pb::ReadIndexRequest>) -> Result<Response<pb::ReadIndexReply>, Status> {
        use pb::read_index_reply::Result as R;
        let request = request.into_inner();
        let index = match self.shared.serving(request.epoch) {
            Some(replica) => read_index_at(&self.shared, &replica, bounded(request.deadline_ms)).await,
            None => Err(Attempt::Elsewhere(None)),
        };
        let result = match index {
            Ok(index) => R::Index(index),
            Err(Attempt::Elsewhere(leader)) => R::NotLeader(pb::NotLeader {
                leader: wire_id(leader),
            }),
            Err(Attempt::NoQuorum) => R::NoQuorum(pb::NoQuorum {}),
            Err(Attempt::Again(message)) => R::Failure(pb::Failure {
                message,
                outcome_unknown: false,
            }),
            Err(Attempt::Done { .. }) => return Err(Status::internal("a read was answered as a write")),
        };
        Ok(Response::new(pb::ReadIndexReply { result: Some(result) }))
    }

    async fn known(&self, request: Request<pb::KnownRequest>) -> Result<Response<Self::KnownStream>, Status> {
        let request = request.into_inner();
        let have = Version {
            epoch: request.epoch,
            index: request.version,
        };
        let watch = self.shared.trust.watch();
        let stop = self.shared.stop.clone();
        let updates = futures_util::stream::unfold((watch, have, stop), |(mut watch, have, stop)| async move {
            let newest: Arc<Known> = tokio::select! {
                found = watch.wait_for(|known| known.version() > have) => Arc::clone(&*found.ok()?),
                () = stop.cancelled() => return None,
            };
            let version = newest.version();
            let update = pb::KnownUpdate {
                known: Some(envelope(&*newest)),
            };
            Some((Ok(update), (watch, version, stop)))
        });
        Ok(Response::new(Box::pin(updates)))
    }

    async fn sign_seals(&self, request: Request<pb::SignSealsRequest>) -> Result<Response<pb::SignSealsReply>, Status> {
        let targets = request.into_inner().targets;
        if targets.len() > SEAL_TARGETS_MAX {
            return Err(Status::invalid_argument(format!(
                "{} blocks to sign, at most {SEAL_TARGETS_MAX}",
                targets.len()
            )));
        }
        let last = targets.iter().map(|target| target.index).max().unwrap_or(0);
        // A follower applies a moment after the leader: give it the time.
        let mut watch = self.shared.trust.watch();
        let _ = tokio::time::timeout(
            Duration::from_secs(2),
            watch.wait_for(|known| known.chain().height() >= last),
        )
        .await;
        let signatures = targets
            .iter()
            .map(|target| self.shared.sign_block(target.index, &target.hash))
            .collect();
        Ok(Response::new(pb::SignSealsReply { signatures }))
    }

    async fn call(&self, request: Request<pb::CallRequest>) -> Result<Response<pb::CallReply>, Status> {
        let peer = caller(&request)?;
        let request = request.into_inner();
        let reply = match self
            .shared
            .options
            .calls
            .call(peer, &request.method, request.payload)
            .await
        {
            Ok(payload) => pb::CallReply {
                payload,
                error: String::new(),
            },
            Err(error) => pb::CallReply {
                payload: Bytes::new(),
                error,
            },
        };
        Ok(Response::new(reply))
    }
}

/// Finds, and for a leader starts, this member's replica.
pub(crate) struct Source {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl ReplicaSource for Source {
    fn running(&self, epoch: u64) -> Option<Arc<Replica>> {
        // Messages of one epoch never reach the history of another, nor any a recovery that is under way.
        self.shared
            .serving(epoch)
            .filter(|replica| replica.epoch == self.shared.trust.epoch())
    }

    fn heard_leader(&self) {
        *self.shared.leader_contact.lock() = Some(tokio::time::Instant::now());
    }

    async fn start_for(&self, peer: MemberId, epoch: u64) -> Result<Arc<Replica>, String> {
        let shared = &self.shared;
        if shared.stop.is_cancelled() {
            return Err("this member is stopping".into());
        }
        let (follows, has) = (shared.trust.epoch(), shared.trust.known().version().epoch);
        if epoch != follows {
            return Err(format!(
                "a leader of epoch {epoch}, this member follows epoch {follows}"
            ));
        }
        if shared.running().is_some() || has < follows {
            return Err("this member is still moving into the new epoch".into());
        }
        if shared.is_recovering() {
            return Err("this member is being recovered".into());
        }
        self.heard_leader();
        tracing::info!(leader = %peer.short(), "a leader replicates to this member: opening a replica");
        super::supervisor::open_replica(shared)
            .await
            .map_err(|error| error.to_string())?;
        // A recovery may have come first.
        self.running(epoch)
            .ok_or_else(|| "this member moved into another epoch meanwhile".into())
    }
}
