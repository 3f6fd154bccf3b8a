//! The consensus library's network over RPC: pipelined appends, elections, snapshots in verified parts.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use revoada_core::MemberId;
use revoada_log::{SnapshotRef, SnapshotStore};
use revoada_mesh::StreamClass;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec;
use super::machine::StoredMeta;
use super::types::{TypeConfig, Vote};
use crate::rpc::{RpcClient, RpcError, call, from_status, pb};

type C = TypeConfig;

/// An election message or heartbeat is worthless after this long.
const UNARY_DEADLINE: Duration = Duration::from_millis(500);

/// How long a replication stream may stand still with requests unanswered.
const APPEND_STALL: Duration = Duration::from_millis(2_000);

/// Metadata of every call: the recovery epoch of the caller's history.
pub(super) const EPOCH_KEY: &str = "engenho-epoch";

/// Makes one network per target.
#[derive(Clone)]
pub struct Network {
    rpc: RpcClient,
    snapshots: SnapshotStore,
    epoch: u64,
}

impl Network {
    /// Networks that call through `rpc`, read snapshots from `snapshots` and speak for the history of one epoch.
    pub fn new(rpc: RpcClient, snapshots: SnapshotStore, epoch: u64) -> Self {
        Self { rpc, snapshots, epoch }
    }
}

impl RaftNetworkFactory<C> for Network {
    type Network = Target;

    async fn new_client(&mut self, target: MemberId, _node: &()) -> Target {
        Target {
            peer: target,
            network: self.clone(),
            unopened: 0,
        }
    }
}

/// Pause after an append stream could not be opened; doubled a few times while it goes on.
const REOPEN_PAUSE: Duration = Duration::from_millis(20);
const REOPEN_DOUBLINGS: u32 = 3;

/// The way to one peer.
pub struct Target {
    peer: MemberId,
    network: Network,
    /// Append streams in a row that could not be opened.
    unopened: u32,
}

/// An envelope around one encoded message.
pub fn envelope<T: Serialize>(value: &T) -> pb::Envelope {
    pb::Envelope {
        version: u32::from(codec::VERSION),
        body: codec::encode_body(value),
    }
}

/// Opens an envelope, refusing versions this build does not read.
pub fn open<T: DeserializeOwned>(what: &'static str, envelope: &pb::Envelope) -> Result<T, codec::CodecError> {
    if envelope.version != u32::from(codec::VERSION) {
        return Err(codec::CodecError::Version {
            what,
            found: envelope.version,
        });
    }
    codec::decode_body(what, &envelope.body)
}

fn rpc_error(error: RpcError) -> RPCError<C> {
    match error {
        RpcError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
        _ => RPCError::Network(NetworkError::new(&error)),
    }
}

fn bad_answer(error: codec::CodecError) -> RPCError<C> {
    RPCError::Network(NetworkError::new(&error))
}

impl Target {
    /// An append stream could not be opened. The library waits out its back-off only before it takes a request from
    /// a stream that was opened, and would try again at once, over and over: the wait is here.
    async fn pause(&mut self) {
        let pause = REOPEN_PAUSE * 2_u32.pow(self.unopened.min(REOPEN_DOUBLINGS));
        self.unopened = self.unopened.saturating_add(1);
        tokio::time::sleep(pause).await;
    }

    fn deadline(option: &RPCOption) -> Duration {
        option.hard_ttl().min(UNARY_DEADLINE).max(Duration::from_millis(50))
    }

    /// A call that says whose history it is about.
    fn about<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert(EPOCH_KEY, self.network.epoch.into());
        request
    }

    fn raft(&self) -> pb::raft_client::RaftClient<tonic::transport::Channel> {
        self.network.rpc.raft(self.peer, StreamClass::Raft)
    }
}

impl RaftNetworkV2<C> for Target {
    type SnapshotData = SnapshotRef;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<C>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        let mut client = self.raft();
        let reply = call(
            self.peer,
            Self::deadline(&option),
            client.append_one(self.about(envelope(&rpc))),
        )
        .await
        .map_err(rpc_error)?;
        open("append answer", &reply).map_err(bad_answer)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<C>, RPCError<C>>>, RPCError<C>>>
    where
        S: Stream<Item = AppendEntriesRequest<C>> + OptionalSend + Unpin + 'static,
    {
        async move {
            let peer = self.peer;
            let mut client = self.raft();
            let sent = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&sent);
            let requests = input.map(move |request| {
                counter.fetch_add(1, Ordering::Release);
                envelope(&request)
            });
            let requests = self.about(requests);
            // Opening must not wait for the first request to be produced, only for the peer.
            let opened = tokio::time::timeout(option.soft_ttl().max(UNARY_DEADLINE), client.append(requests)).await;
            let replies = match opened {
                Ok(Ok(response)) => {
                    self.unopened = 0;
                    response.into_inner()
                }
                Ok(Err(status)) => {
                    self.pause().await;
                    return Err(rpc_error(from_status(peer, &status)));
                }
                Err(_) => {
                    return Err(rpc_error(RpcError::Timeout {
                        peer: peer.short(),
                        waited_ms: UNARY_DEADLINE.as_millis() as u64,
                    }));
                }
            };
            let answers = futures_util::stream::unfold(
                (replies, sent, 0_u64, false),
                move |(mut replies, sent, answered, failed)| async move {
                    if failed {
                        return None;
                    }
                    let next = next_reply(&mut replies, &sent, answered, peer).await?;
                    let failed = next.is_err();
                    Some((next, (replies, sent, answered + 1, failed)))
                },
            );
            Ok(Box::pin(answers) as BoxStream<'s, _>)
        }
        .boxed()
    }

    async fn vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        let mut client = self.raft();
        let reply = call(
            self.peer,
            Self::deadline(&option),
            client.vote(self.about(envelope(&rpc))),
        )
        .await
        .map_err(rpc_error)?;
        open("vote answer", &reply).map_err(bad_answer)
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        let mut client = self.raft();
        let reply = call(
            self.peer,
            Self::deadline(&option),
            client.pre_vote(self.about(envelope(&rpc))),
        )
        .await
        .map_err(rpc_error)?;
        open("pre-vote answer", &reply).map_err(bad_answer)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<C, SnapshotRef>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let mut client = self.network.rpc.raft(self.peer, StreamClass::Snapshot);
        let meta = StoredMeta {
            last_log_id: snapshot.meta.last_log_id,
            membership: snapshot.meta.last_membership.clone(),
        };
        let parts = snapshot_parts(
            self.network.snapshots.clone(),
            snapshot.snapshot,
            envelope(&(vote, meta)),
        )
        .await;
        let sending = client.snapshot(self.about(parts));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => {
                let reply = sent.map_err(|status| StreamingError::from(rpc_error(from_status(self.peer, &status))))?;
                open("snapshot answer", reply.get_ref()).map_err(|error| StreamingError::from(bad_answer(error)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        let mut client = self.raft();
        let reply = call(
            self.peer,
            Self::deadline(&option),
            client.transfer_leader(self.about(envelope(&req))),
        )
        .await
        .map_err(rpc_error)?;
        open("transfer answer", &reply).map_err(bad_answer)
    }
}

/// The next answer of an append stream. A stream that owes answers and stands still is given up; one that owes none may rest.
async fn next_reply(
    replies: &mut tonic::Streaming<pb::Envelope>,
    sent: &AtomicU64,
    answered: u64,
    peer: MemberId,
) -> Option<Result<StreamAppendResult<C>, RPCError<C>>> {
    let mut owing_since: Option<tokio::time::Instant> = None;
    loop {
        match tokio::time::timeout(APPEND_STALL / 4, replies.next()).await {
            Ok(Some(Ok(reply))) => {
                return Some(open::<StreamAppendResult<C>>("append answer", &reply).map_err(bad_answer));
            }
            Ok(Some(Err(status))) => return Some(Err(rpc_error(from_status(peer, &status)))),
            Ok(None) => return None,
            Err(_) if sent.load(Ordering::Acquire) <= answered => owing_since = None,
            Err(_) => {
                let since = *owing_since.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() >= APPEND_STALL {
                    let error = RpcError::Timeout {
                        peer: peer.short(),
                        waited_ms: APPEND_STALL.as_millis() as u64,
                    };
                    return Some(Err(RPCError::Unreachable(Unreachable::new(&error))));
                }
            }
        }
    }
}

/// The snapshot's chunks, each read when the network wants it, away from the runtime's threads.
async fn snapshot_parts(
    store: SnapshotStore,
    snapshot: SnapshotRef,
    meta: pb::Envelope,
) -> impl Stream<Item = pb::SnapshotPart> + Send + 'static {
    let last = pb::SnapshotPart {
        total_hash: bytes::Bytes::copy_from_slice(snapshot.hash.as_ref()),
        total_bytes: snapshot.bytes,
        ..Default::default()
    };
    let chunks = match crate::blocking::run(move || store.chunks(&snapshot, 0)).await {
        Ok(Ok(chunks)) => Some(chunks),
        Ok(Err(error)) => {
            tracing::error!(%error, "a snapshot cannot be read for sending");
            None
        }
        Err(_) => None,
    };
    futures_util::stream::unfold((chunks, Some(meta), last), |(chunks, mut meta, last)| async move {
        let mut chunks = chunks?;
        let (next, chunks) = crate::blocking::run(move || (chunks.next(), chunks)).await.ok()?;
        match next {
            Some(Ok(chunk)) => {
                let part = pb::SnapshotPart {
                    meta: meta.take(),
                    offset: chunk.offset,
                    data: chunk.data,
                    hash: bytes::Bytes::copy_from_slice(chunk.hash.as_ref()),
                    ..Default::default()
                };
                Some((part, (Some(chunks), meta, last)))
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a snapshot cannot be read for sending");
                None
            }
            None => {
                let part = pb::SnapshotPart {
                    meta: meta.take(),
                    ..last.clone()
                };
                Some((part, (None, meta, last)))
            }
        }
    })
}
