//! Streams: what they carry, and the boxed byte stream that hides the transport.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a stream carries. One byte, the first of each bidirectional stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum StreamClass {
    /// Consensus messages.
    Raft = 1,
    /// Other calls between members (proposals, read index, chain).
    Rpc = 2,
    /// Forwarded API requests.
    Api = 3,
    /// A snapshot of the replicated state.
    Snapshot = 4,
    /// Byte tunnels to a member's agent (exec, logs, port-forward).
    Tunnel = 5,
}

impl StreamClass {
    /// All classes.
    pub const ALL: [StreamClass; 5] = [
        StreamClass::Raft,
        StreamClass::Rpc,
        StreamClass::Api,
        StreamClass::Snapshot,
        StreamClass::Tunnel,
    ];

    /// The byte on the wire.
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    /// The class of a byte from the wire, if it is one.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.to_byte() == byte)
    }
}

impl fmt::Display for StreamClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StreamClass::Raft => "raft",
            StreamClass::Rpc => "rpc",
            StreamClass::Api => "api",
            StreamClass::Snapshot => "snapshot",
            StreamClass::Tunnel => "tunnel",
        })
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Duplex for T {}

/// A bidirectional byte stream with a peer. Shutting it down ends the peer's reading; what was written
/// before is still delivered.
pub struct MeshStream(Box<dyn Duplex>);

impl MeshStream {
    /// Wraps any byte stream, for example a TCP stream of a simulation.
    pub fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl fmt::Debug for MeshStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshStream")
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn class_byte_round_trips(byte: u8) {
            match StreamClass::from_byte(byte) {
                Some(class) => prop_assert_eq!(class.to_byte(), byte),
                None => prop_assert!(byte == 0 || byte > 5),
            }
        }
    }
}
