//! The answering side of consensus: hands messages of admitted peers to the replica.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use revoada_log::SnapshotStore;
use tonic::{Request, Response, Status, Streaming};

use super::machine::StoredMeta;
use super::network::{EPOCH_KEY, envelope, open};
use super::replica::Replica;
use super::types::{SnapshotMeta, TypeConfig, Vote};
use crate::rpc::{RpcPeer, pb};

type C = TypeConfig;

/// How the service finds the replica.
#[tonic::async_trait]
pub trait ReplicaSource: Send + Sync + 'static {
    /// The running replica, if there is one with the history of `epoch`.
    fn running(&self, epoch: u64) -> Option<Arc<Replica>>;

    /// A leader's message arrived just now.
    fn heard_leader(&self);

    /// The running replica; if this member has none, a leader of `epoch` that `peer` claims to be is reason to start one.
    async fn start_for(&self, peer: revoada_core::MemberId, epoch: u64) -> Result<Arc<Replica>, String>;
}

/// The service.
pub struct RaftService<S> {
    source: Arc<S>,
}

impl<S: ReplicaSource> RaftService<S> {
    /// Answers with whatever replica `source` has.
    pub fn new(source: Arc<S>) -> Self {
        Self { source }
    }

    fn running<T>(&self, request: &Request<T>) -> Result<Arc<Replica>, Status> {
        let epoch = epoch_of(request)?;
        self.source
            .running(epoch)
            .ok_or_else(|| Status::failed_precondition(format!("this member has no replica of epoch {epoch}")))
    }

    async fn for_leader<T>(&self, request: &Request<T>) -> Result<Arc<Replica>, Status> {
        let epoch = epoch_of(request)?;
        if let Some(replica) = self.source.running(epoch) {
            self.source.heard_leader();
            return Ok(replica);
        }
        let peer = caller(request)?;
        self.source
            .start_for(peer, epoch)
            .await
            .map_err(Status::failed_precondition)
    }
}

/// The epoch that a call is about. The same positions of two epochs hold different entries, so it is never guessed.
fn epoch_of<T>(request: &Request<T>) -> Result<u64, Status> {
    let named = request.metadata().get(EPOCH_KEY);
    named
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .ok_or_else(|| Status::invalid_argument(format!("{EPOCH_KEY} is missing or is no number")))
}

fn caller<T>(request: &Request<T>) -> Result<revoada_core::MemberId, Status> {
    request
        .extensions()
        .get::<RpcPeer>()
        .map(|peer| peer.0)
        .ok_or_else(|| Status::unauthenticated("a call without an authenticated peer"))
}

fn malformed(error: super::codec::CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn fatal(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this replica stopped: {error}"))
}

type Envelopes = Pin<Box<dyn Stream<Item = Result<pb::Envelope, Status>> + Send>>;

#[tonic::async_trait]
impl<S: ReplicaSource> pb::raft_server::Raft for RaftService<S> {
    type AppendStream = Envelopes;

    async fn append(&self, request: Request<Streaming<pb::Envelope>>) -> Result<Response<Envelopes>, Status> {
        let replica = self.for_leader(&request).await?;
        let requests = tokio_stream::StreamExt::map_while(request.into_inner(), |message| {
            let message = message
                .inspect_err(|status| tracing::debug!(%status, "an append stream ended"))
                .ok()?;
            open::<AppendEntriesRequest<C>>("append request", &message)
                .inspect_err(|error| tracing::warn!(%error, "an append request was refused"))
                .ok()
        });
        let answers = replica.raft.stream_append(requests).map(|answer| match answer {
            Ok(answer) => Ok(envelope(&answer)),
            Err(error) => Err(fatal(error)),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn append_one(&self, request: Request<pb::Envelope>) -> Result<Response<pb::Envelope>, Status> {
        let replica = self.for_leader(&request).await?;
        let rpc: AppendEntriesRequest<C> = open("append request", request.get_ref()).map_err(malformed)?;
        let answer = replica.raft.append_entries(rpc).await.map_err(fatal)?;
        Ok(Response::new(envelope(&answer)))
    }

    async fn vote(&self, request: Request<pb::Envelope>) -> Result<Response<pb::Envelope>, Status> {
        // A member without a replica never votes: its empty log would grant anything.
        let replica = self.running(&request)?;
        let rpc: VoteRequest<C> = open("vote request", request.get_ref()).map_err(malformed)?;
        let answer = replica.raft.vote(rpc).await.map_err(fatal)?;
        Ok(Response::new(envelope(&answer)))
    }

    async fn pre_vote(&self, request: Request<pb::Envelope>) -> Result<Response<pb::Envelope>, Status> {
        let replica = self.running(&request)?;
        let rpc: VoteRequest<C> = open("pre-vote request", request.get_ref()).map_err(malformed)?;
        let answer = replica.raft.pre_vote(rpc).await.map_err(fatal)?;
        Ok(Response::new(envelope(&answer)))
    }

    async fn transfer_leader(&self, request: Request<pb::Envelope>) -> Result<Response<pb::Envelope>, Status> {
        let replica = self.running(&request)?;
        let rpc: TransferLeaderRequest<C> = open("transfer request", request.get_ref()).map_err(malformed)?;
        let answer = replica.raft.handle_transfer_leader(rpc).await.map_err(fatal)?;
        Ok(Response::new(envelope(&answer)))
    }

    async fn snapshot(&self, request: Request<Streaming<pb::SnapshotPart>>) -> Result<Response<pb::Envelope>, Status> {
        let replica = self.for_leader(&request).await?;
        let store = replica.machine.snapshots().clone();
        let (vote, meta, received) = receive(store, request.into_inner()).await?;
        let meta = SnapshotMeta {
            last_log_id: meta.last_log_id,
            last_membership: meta.membership,
        };
        let answer = replica
            .raft
            .install_full_snapshot(
                vote,
                openraft::Snapshot {
                    meta,
                    snapshot: received,
                },
            )
            .await
            .map_err(fatal)?;
        Ok(Response::new(envelope(&answer)))
    }
}

async fn receive(
    store: SnapshotStore,
    mut parts: Streaming<pb::SnapshotPart>,
) -> Result<(Vote, StoredMeta, revoada_log::SnapshotRef), Status> {
    let io = |error: std::io::Error| Status::aborted(format!("the snapshot cannot be stored: {error}"));
    let refused = |error: revoada_log::ReceiveError| Status::aborted(format!("the snapshot is refused: {error}"));
    let mut receiver = crate::blocking::run(move || store.receive())
        .await
        .map_err(fatal)?
        .map_err(io)?;
    let mut head: Option<(Vote, StoredMeta)> = None;
    while let Some(part) = parts.message().await? {
        if let Some(meta) = &part.meta {
            head = Some(open("snapshot meta", meta).map_err(malformed)?);
        }
        if !part.total_hash.is_empty() {
            let (vote, meta) = head.ok_or_else(|| Status::invalid_argument("a snapshot without its meta"))?;
            let stored_meta = super::codec::encode(&meta);
            let total = hash32(&part.total_hash)?;
            let received = crate::blocking::run(move || receiver.finish(&stored_meta, &total))
                .await
                .map_err(fatal)?
                .map_err(refused)?;
            return Ok((vote, meta, received));
        }
        let hash = hash32(&part.hash)?;
        receiver = crate::blocking::run(move || receiver.push(part.offset, &part.data, &hash).map(|()| receiver))
            .await
            .map_err(fatal)?
            .map_err(refused)?;
    }
    Err(Status::aborted("the snapshot ended before its last part"))
}

fn hash32(raw: &[u8]) -> Result<[u8; 32], Status> {
    raw.try_into()
        .map_err(|_| Status::invalid_argument(format!("a hash of {} bytes, want 32", raw.len())))
}
