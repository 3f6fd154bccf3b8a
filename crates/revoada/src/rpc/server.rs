//! The answering side: tonic over streams that the mesh accepted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use revoada_core::MemberId;
use revoada_mesh::MeshStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::MESSAGE_BYTES_MAX;
use super::pb::join_server::{Join, JoinServer};
use super::pb::peer_server::{Peer, PeerServer};
use super::pb::raft_server::{Raft, RaftServer};

/// Streams waiting to be picked up; beyond it the mesh's accept loop waits.
const BACKLOG: usize = 64;

/// Who is calling: the authenticated key of the connection.
#[derive(Debug, Clone, Copy)]
pub struct RpcPeer(pub MemberId);

/// Who wants to join: a key that proved possession but is not admitted, and where it called from.
#[derive(Debug, Clone, Copy)]
pub struct JoinPeer {
    /// The newcomer's key.
    pub member: MemberId,
    /// Its address as seen from here.
    pub remote: SocketAddr,
}

/// A stream with the identity of whoever is at its other end.
pub struct PeerStream<P> {
    stream: MeshStream,
    peer: P,
}

impl<P> PeerStream<P> {
    /// Pairs a stream with its caller.
    pub fn new(stream: MeshStream, peer: P) -> Self {
        Self { stream, peer }
    }
}

impl<P: Clone + Send + Sync + 'static> Connected for PeerStream<P> {
    type ConnectInfo = P;

    fn connect_info(&self) -> P {
        self.peer.clone()
    }
}

impl<P: Unpin> AsyncRead for PeerStream<P> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<P: Unpin> AsyncWrite for PeerStream<P> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves members; streams are handed over through the returned sender.
pub fn spawn_mesh_server<R: Raft, P: Peer>(
    raft: R,
    peer: P,
    stop: CancellationToken,
    tasks: &tokio_util::task::TaskTracker,
) -> mpsc::Sender<PeerStream<RpcPeer>> {
    let (tx, rx) = mpsc::channel(BACKLOG);
    let router = builder()
        .add_service(
            RaftServer::new(raft)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(
            PeerServer::new(peer)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        );
    tasks.spawn(serve(router, rx, stop));
    tx
}

/// Serves newcomers, who may call nothing but the join service.
pub fn spawn_join_server<J: Join>(
    join: J,
    stop: CancellationToken,
    tasks: &tokio_util::task::TaskTracker,
) -> mpsc::Sender<PeerStream<JoinPeer>> {
    let (tx, rx) = mpsc::channel(BACKLOG);
    let router = builder().add_service(JoinServer::new(join).max_encoding_message_size(MESSAGE_BYTES_MAX));
    tasks.spawn(serve(router, rx, stop));
    tx
}

fn builder() -> Server {
    Server::builder()
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_concurrent_streams(1024)
}

async fn serve<P: Clone + Send + Sync + Unpin + 'static>(
    router: tonic::transport::server::Router,
    streams: mpsc::Receiver<PeerStream<P>>,
    stop: CancellationToken,
) {
    use tokio_stream::StreamExt;
    let incoming = ReceiverStream::new(streams).map(Ok::<_, io::Error>);
    if let Err(error) = router
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
    {
        tracing::error!(%error, "the RPC server ended");
    }
}
