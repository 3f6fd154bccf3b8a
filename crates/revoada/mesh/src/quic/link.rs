//! One established connection to a peer: opens streams, takes the peer's, and carries gossip.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{Connection, ConnectionError, RecvStream, SendDatagramError, SendStream, VarInt};
use revoada_core::MemberId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::error::{MeshError, Refusal};
use crate::mesh::{GOSSIP_MESSAGE_BYTES_MAX, IncomingStream};
use crate::stream::{MeshStream, StreamClass};

/// First byte of each datagram and unidirectional stream.
const KIND_GOSSIP: u8 = 1;
/// The first byte of a stream, or a whole gossip message, must be there within this time.
const FIRST_BYTES_DEADLINE: Duration = Duration::from_secs(3);
/// How long a stream waits for the upper layer to take it.
const ACCEPT_DEADLINE: Duration = Duration::from_secs(10);
/// A superseded connection stays this long after its last stream ended, so that what was sent arrives.
const LINGER: Duration = Duration::from_secs(1);
/// And at most this long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(15);

/// What of a connection decides which of two is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    /// The member that dialled.
    pub(crate) dialled_by: MemberId,
    /// The peer's boot id.
    pub(crate) peer_boot: u64,
}

/// Where what the peer sends goes.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) streams: mpsc::Sender<IncomingStream>,
    pub(crate) gossip: mpsc::Sender<(MemberId, Bytes)>,
}

/// An established connection.
pub(crate) struct Link {
    pub(crate) peer: MemberId,
    pub(crate) facts: LinkFacts,
    pub(crate) connection: Connection,
    /// Epoch of the cluster that both sides named in their greeting.
    epoch: u64,
    streams: AtomicUsize,
}

impl Link {
    pub(crate) fn new(peer: MemberId, facts: LinkFacts, epoch: u64, connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            peer,
            facts,
            connection,
            epoch,
            streams: AtomicUsize::new(0),
        })
    }

    /// Closes a connection that was greeted in another epoch than `epoch`: dialling again, whoever is behind gets the
    /// proof. True when it was closed.
    pub(crate) fn close_unless_of(&self, epoch: u64) -> bool {
        let over = self.epoch != epoch && self.is_open();
        if over {
            self.close(
                Refusal::Fenced,
                &format!("the cluster is at epoch {epoch}, connect again"),
            );
        }
        over
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    pub(crate) fn close(&self, refusal: Refusal, reason: &str) {
        self.connection
            .close(VarInt::from_u32(refusal.code()), reason.as_bytes());
    }

    pub(crate) async fn open(self: &Arc<Self>, class: StreamClass) -> Result<MeshStream, MeshError> {
        let lost = |cause: String| MeshError::Lost { peer: self.peer, cause };
        let (mut send, recv) = self
            .connection
            .open_bi()
            .await
            .map_err(|error| lost(error.to_string()))?;
        send.write_all(&[class.to_byte()])
            .await
            .map_err(|error| lost(error.to_string()))?;
        Ok(MeshStream::new(LinkStream::new(self.clone(), send, recv)))
    }

    /// Sends a gossip message, as a datagram if it fits in one.
    pub(crate) async fn gossip(&self, message: &[u8]) -> Result<(), MeshError> {
        let lost = |cause: String| MeshError::Lost { peer: self.peer, cause };
        if self
            .connection
            .max_datagram_size()
            .is_some_and(|max| message.len() < max)
        {
            let mut datagram = BytesMut::with_capacity(message.len() + 1);
            datagram.put_u8(KIND_GOSSIP);
            datagram.extend_from_slice(message);
            match self.connection.send_datagram(datagram.freeze()) {
                Ok(()) => return Ok(()),
                // The path's MTU may shrink between the two calls.
                Err(SendDatagramError::TooLarge | SendDatagramError::UnsupportedByPeer) => {}
                Err(error) => return Err(lost(error.to_string())),
            }
        }
        let mut stream = self
            .connection
            .open_uni()
            .await
            .map_err(|error| lost(error.to_string()))?;
        stream
            .write_all(&[KIND_GOSSIP])
            .await
            .map_err(|error| lost(error.to_string()))?;
        stream
            .write_all(message)
            .await
            .map_err(|error| lost(error.to_string()))?;
        let _ = stream.finish();
        Ok(())
    }

    /// Takes what the peer sends until the connection ends; gives the reason.
    pub(crate) async fn serve(self: &Arc<Self>, inbox: &Inbox, tasks: &TaskTracker) -> ConnectionError {
        loop {
            tokio::select! {
                stream = self.connection.accept_bi() => match stream {
                    Ok((send, recv)) => {
                        let stream = LinkStream::new(self.clone(), send, recv);
                        tasks.spawn(take_stream(self.peer, stream, inbox.streams.clone()));
                    }
                    Err(error) => return error,
                },
                stream = self.connection.accept_uni() => match stream {
                    Ok(recv) => {
                        tasks.spawn(take_message(self.peer, recv, inbox.gossip.clone()));
                    }
                    Err(error) => return error,
                },
                datagram = self.connection.read_datagram() => match datagram {
                    Ok(datagram) => deliver(self.peer, datagram, &inbox.gossip),
                    Err(error) => return error,
                },
            }
        }
    }

    /// Ends a superseded connection once its streams have ended.
    pub(crate) async fn drain(self: Arc<Self>) {
        let deadline = tokio::time::Instant::now() + DRAIN_DEADLINE;
        let mut quiet = Duration::ZERO;
        let step = Duration::from_millis(250);
        while quiet < LINGER && tokio::time::Instant::now() < deadline {
            tokio::select! {
                _ = self.connection.closed() => return,
                () = tokio::time::sleep(step) => {}
            }
            quiet = if self.streams.load(Ordering::Relaxed) == 0 {
                quiet + step
            } else {
                Duration::ZERO
            };
        }
        self.close(Refusal::Superseded, "another connection of this pair is used");
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {:?})", self.peer.short(), self.facts)
    }
}

async fn take_stream(peer: MemberId, mut stream: LinkStream, streams: mpsc::Sender<IncomingStream>) {
    let mut first = [0; 1];
    let class = match tokio::time::timeout(FIRST_BYTES_DEADLINE, stream.recv.read_exact(&mut first)).await {
        Ok(Ok(())) => StreamClass::from_byte(first[0]),
        _ => None,
    };
    let Some(class) = class else {
        debug!(peer = %peer.short(), byte = first[0], "stream of no known class");
        stream.abort(Refusal::Protocol);
        return;
    };
    match tokio::time::timeout(ACCEPT_DEADLINE, streams.reserve()).await {
        Ok(Ok(place)) => place.send(IncomingStream {
            peer,
            class,
            stream: MeshStream::new(stream),
        }),
        Ok(Err(_)) => stream.abort(Refusal::ShuttingDown),
        Err(_) => {
            debug!(peer = %peer.short(), %class, "stream not taken in time");
            stream.abort(Refusal::Busy);
        }
    }
}

async fn take_message(peer: MemberId, mut recv: RecvStream, gossip: mpsc::Sender<(MemberId, Bytes)>) {
    match tokio::time::timeout(FIRST_BYTES_DEADLINE, recv.read_to_end(GOSSIP_MESSAGE_BYTES_MAX + 1)).await {
        Ok(Ok(message)) => deliver(peer, message.into(), &gossip),
        Ok(Err(error)) => debug!(peer = %peer.short(), %error, "gossip message lost"),
        Err(_) => debug!(peer = %peer.short(), "gossip message not whole in time"),
    }
}

/// Gossip is dropped rather than waited for.
fn deliver(peer: MemberId, mut message: Bytes, gossip: &mpsc::Sender<(MemberId, Bytes)>) {
    if message.first() == Some(&KIND_GOSSIP) {
        let _ = gossip.try_send((peer, message.split_off(1)));
    }
}

/// A bidirectional stream that counts as open on its link until dropped.
struct LinkStream {
    link: Arc<Link>,
    send: SendStream,
    recv: RecvStream,
}

impl LinkStream {
    fn new(link: Arc<Link>, send: SendStream, recv: RecvStream) -> Self {
        link.streams.fetch_add(1, Ordering::Relaxed);
        Self { link, send, recv }
    }

    fn abort(&mut self, refusal: Refusal) {
        let _ = self.send.reset(VarInt::from_u32(refusal.code()));
        let _ = self.recv.stop(VarInt::from_u32(refusal.code()));
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.link.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf)
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}
