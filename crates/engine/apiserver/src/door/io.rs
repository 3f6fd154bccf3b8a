//! A connection's stream with two manners that HTTP libraries leave out: a deadline for the first bytes, and a
//! lingering close, so that a peer that still sends reads our answer instead of a reset.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// At least so many bytes must arrive before the deadline: the length of the HTTP/2 preface.
const FIRST_BYTES: usize = 16;
/// What is thrown away at most while lingering.
const LINGER_BYTES_MAX: usize = 256 << 20;

/// The wrapped stream.
pub(super) struct PoliteIo<S> {
    stream: S,
    missing: usize,
    deadline: Pin<Box<Sleep>>,
    linger: Duration,
    lingering: Option<usize>,
}

impl<S> PoliteIo<S> {
    pub(super) fn new(stream: S, first_bytes_timeout: Duration, linger: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(first_bytes_timeout));
        Self {
            stream,
            missing: FIRST_BYTES,
            deadline,
            linger,
            lingering: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PoliteIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.missing > 0 {
            this.missing = this.missing.saturating_sub(buf.filled().len() - before);
            if polled.is_pending() && this.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "no request within the deadline",
                )));
            }
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PoliteIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = match &mut this.lingering {
            Some(left) => left,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                this.deadline.as_mut().reset(Instant::now() + this.linger);
                this.lingering.insert(LINGER_BYTES_MAX)
            }
        };
        let mut scratch = [0_u8; 16 * 1024];
        loop {
            if this.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf));
            let count = buf.filled().len();
            if read.is_err() || count == 0 || count >= *left {
                return Poll::Ready(Ok(()));
            }
            *left -= count;
        }
    }
}
