//! HTTP over one stream, whatever carries it: TLS at the door, a mesh stream, a pipe in a test.

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::io::PoliteIo;
use crate::body::{Body, BoxError, boxed};

/// Bounds of one connection.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// For how long a peer may take to send a request's head, or stay idle between two (HTTP/1).
    pub head_timeout: Duration,
    /// Bytes of a request's head at most.
    pub head_bytes_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Interval of HTTP/2 pings, by which dead peers are found.
    pub ping_interval: Duration,
    /// For how long requests may finish when the connection is told to stop.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(60),
            head_bytes_max: 1 << 20,
            streams_max: 1000,
            ping_interval: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Which HTTP the peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
    /// Told by the first bytes.
    Unknown,
}

/// Serves HTTP/1.1 or HTTP/2 (told apart by the first bytes) over `stream` until the peer leaves or `stop`;
/// then requests may finish within the drain timeout.
pub async fn serve_stream<IO, S>(
    stream: IO,
    service: S,
    options: &ServeOptions,
    stop: CancellationToken,
) -> Result<(), BoxError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    serve(stream, service, Protocol::Unknown, options, stop).await
}

/// Boxes the body of each request.
#[derive(Clone)]
struct Boxing<S>(S);

impl<S: Service<Request<Body>>> Service<Request<hyper::body::Incoming>> for Boxing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> S::Future {
        self.0.call(request.map(boxed))
    }
}

pub(super) async fn serve<IO, S>(
    stream: IO,
    service: S,
    protocol: Protocol,
    options: &ServeOptions,
    stop: CancellationToken,
) -> Result<(), BoxError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let service = Boxing(service);
    let io = TokioIo::new(PoliteIo::new(stream, options.head_timeout, Duration::from_secs(2)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.head_bytes_max)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.streams_max)
        .max_header_list_size(u32::try_from(options.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(options.ping_interval)
        .keep_alive_timeout(options.ping_interval)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024);
    let builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
        Protocol::Unknown => builder,
    };
    let connection = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    match tokio::time::timeout(options.drain_timeout, connection).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}
