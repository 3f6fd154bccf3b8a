//! Connections of newcomers: any key, one stream, few at once, bounded in bytes and time.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream, TokioRuntime, VarInt};
use revoada_core::MemberId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::dial::{DIAL_DEADLINE, Dialler};
use super::tls::{ALPN_JOIN, Tls, peer_of};
use super::transport;
use crate::error::{BindError, MeshError, Refusal};
use crate::identity::Identity;
use crate::stream::MeshStream;

/// How long a join may take in all.
pub const JOIN_DEADLINE: Duration = Duration::from_secs(30);
/// Most bytes either side reads from a join stream.
pub const JOIN_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Sources that are remembered for the rate limit.
const SOURCES_MAX: usize = 1024;

/// A newcomer that asks to join. Its key is proved; nothing else is.
#[derive(Debug)]
pub struct IncomingJoin {
    /// The newcomer's key.
    pub peer: MemberId,
    /// Where it calls from.
    pub remote: SocketAddr,
    /// Its stream; fails after [`JOIN_BYTES_MAX`] bytes read or [`JOIN_DEADLINE`]. The newcomer has all that was
    /// written once it ends the connection; dropping the stream ends writing.
    pub stream: MeshStream,
}

/// A token bucket for each source address.
pub(crate) struct RateLimit {
    burst: f64,
    per_second: f64,
    sources: BTreeMap<IpAddr, (f64, Instant)>,
}

impl RateLimit {
    pub(crate) fn new(burst: u32, per_second: f64) -> Self {
        Self {
            burst: f64::from(burst),
            per_second,
            sources: BTreeMap::new(),
        }
    }

    /// Whether one more is allowed from `source` at `now`.
    pub(crate) fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        let source = aggregate(source);
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            let (burst, per_second) = (self.burst, self.per_second);
            self.sources
                .retain(|_, (tokens, at)| refill(*tokens, *at, now, burst, per_second) < burst);
            if self.sources.len() >= SOURCES_MAX {
                return false;
            }
        }
        let (tokens, at) = self.sources.entry(source).or_insert((self.burst, now));
        *tokens = refill(*tokens, *at, now, self.burst, self.per_second);
        *at = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }
}

fn refill(tokens: f64, at: Instant, now: Instant, burst: f64, per_second: f64) -> f64 {
    (tokens + now.saturating_duration_since(at).as_secs_f64() * per_second).min(burst)
}

/// One source is one IPv4 address or one IPv6 network of 64 bits.
fn aggregate(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Opens a join connection to `address` and the one stream on it. With `expected`, whoever answers must have that
/// key or the handshake fails before anything is said. Needs no mesh. The stream ends the connection when dropped:
/// the newcomer reads the answer to its end first.
pub async fn connect_join(
    identity: &Identity,
    address: SocketAddr,
    expected: Option<MemberId>,
) -> Result<(MemberId, MeshStream), MeshError> {
    let unreachable = |cause: String| MeshError::Unreachable {
        peer: expected.unwrap_or_default(),
        tried: vec![address],
        cause,
    };
    let local = |error: BindError| unreachable(error.to_string());
    let tls = Tls::new(identity).map_err(local)?;
    let source: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(ip) if ip.is_loopback() => ip.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = transport::bind(SocketAddr::new(source, 0)).map_err(local)?;
    let config = transport::endpoint_config(identity).map_err(local)?;
    let endpoint =
        Endpoint::new(config, None, socket, Arc::new(TokioRuntime)).map_err(|error| unreachable(error.to_string()))?;
    let dialler = Dialler {
        endpoint: &endpoint,
        tls: &tls,
        transport: transport::join_transport(),
    };
    let connect = async {
        let connection = dialler.connect(expected, address, ALPN_JOIN).await?;
        let server = peer_of(&connection).ok_or_else(|| unreachable("no ed25519 key in the handshake".into()))?;
        let opened = connection.open_bi().await;
        let (send, recv) = opened.map_err(|error| super::dial::connection_error(server, Some(address), &error))?;
        Ok((server, MeshStream::new(JoinStream::new(connection, send, recv, true))))
    };
    let waited_ms = DIAL_DEADLINE.as_millis() as u64;
    match tokio::time::timeout(DIAL_DEADLINE, connect).await {
        Ok(Err(error @ (MeshError::Timeout { .. } | MeshError::Lost { .. }))) => Err(unreachable(error.cause())),
        Ok(result) => result,
        Err(_) => Err(unreachable(format!("no answer within {waited_ms} ms"))),
    }
}

/// Takes the one stream of a newcomer's connection, and holds the connection until it ends.
pub(crate) async fn serve_join(
    connection: Connection,
    peer: MemberId,
    joins: tokio::sync::mpsc::Sender<IncomingJoin>,
) -> Result<(), MeshError> {
    let deadline = tokio::time::sleep(JOIN_DEADLINE);
    tokio::pin!(deadline);
    let (send, recv) = tokio::select! {
        stream = connection.accept_bi() => {
            stream.map_err(|error| super::dial::connection_error(peer, None, &error))?
        }
        () = &mut deadline => {
            connection.close(VarInt::from_u32(Refusal::Protocol.code()), b"no stream in time");
            return Err(MeshError::Timeout { what: "join stream", waited_ms: JOIN_DEADLINE.as_millis() as u64 });
        }
    };
    let remote = connection.remote_address();
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let stream = MeshStream::new(JoinStream::new(connection.clone(), send, recv, false));
    if joins.try_send(IncomingJoin { peer, remote, stream }).is_err() {
        connection.close(
            VarInt::from_u32(Refusal::Busy.code()),
            b"too many joins at once, try again",
        );
        return Err(MeshError::Refused {
            peer,
            refusal: Refusal::Busy,
            reason: "too many joins at once".into(),
        });
    }
    tokio::select! {
        _ = connection.closed() => {}
        () = &mut deadline => {
            connection.close(VarInt::from_u32(Refusal::Protocol.code()), b"the join took too long");
        }
    }
    Ok(())
}

/// A stream bounded in bytes read and in time.
struct JoinStream {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    left: u64,
    deadline: Pin<Box<Sleep>>,
    closes: bool,
}

impl JoinStream {
    fn new(connection: Connection, send: SendStream, recv: RecvStream, closes: bool) -> Self {
        let deadline = Box::pin(tokio::time::sleep(JOIN_DEADLINE));
        Self {
            connection,
            send,
            recv,
            left: JOIN_BYTES_MAX,
            deadline,
            closes,
        }
    }

    fn check_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::TimedOut, "the join took too long")),
            Poll::Pending => Ok(()),
        }
    }

    /// An error of the transport, with the peer's reason if it closed the connection.
    fn explain(&self, error: io::Error) -> io::Error {
        match self.connection.close_reason() {
            Some(reason @ quinn::ConnectionError::ApplicationClosed(_)) => io::Error::new(error.kind(), reason),
            _ => error,
        }
    }
}

impl Drop for JoinStream {
    fn drop(&mut self) {
        if self.closes {
            self.connection.close(VarInt::from_u32(0), b"done");
        }
    }
}

impl AsyncRead for JoinStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(cx)?;
        if self.left == 0 {
            let error = io::Error::new(io::ErrorKind::InvalidData, "more bytes in a join than allowed");
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let result = AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf);
        let read = (buf.filled().len() - before) as u64;
        self.left = self.left.saturating_sub(read);
        result.map_err(|error| self.explain(error))
    }
}

impl AsyncWrite for JoinStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_deadline(cx)?;
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf).map_err(|error| self.explain(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_bucket() {
        let start = Instant::now();
        let mut limit = RateLimit::new(2, 1.0);
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        assert!(limit.allow(a, start) && limit.allow(a, start) && !limit.allow(a, start));
        assert!(limit.allow(b, start));
        assert!(limit.allow(a, start + Duration::from_secs(1)));
        assert!(!limit.allow(a, start + Duration::from_secs(1)));
    }

    #[test]
    fn many_sources_stay_bounded() {
        let start = Instant::now();
        let mut limit = RateLimit::new(2, 1.0);
        for n in 0..5_000u32 {
            limit.allow(IpAddr::from(n.to_be_bytes()), start);
        }
        assert!(limit.sources.len() <= SOURCES_MAX);
        assert!(limit.allow(IpAddr::from([9, 9, 9, 9]), start + Duration::from_secs(10)));
    }
}
