//! [`Outbound`] over sockets: HTTP/1.1 with or without TLS, over connections that are kept.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Destination, Outbound, OutboundError, Tls, tls};
use crate::body::{self, Body};

/// How long one address may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Unused connections to one address.
const IDLE_PER_HOST_MAX: usize = 25;
/// Ways of securing connections that are kept ready.
const CLIENTS_MAX: usize = 256;
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Calls over real connections.
#[derive(Default)]
pub struct Https {
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    /// Each with the time of its last use, counted in uses.
    by_tls: HashMap<Option<Arc<Tls>>, (Client<Connector, Body>, u64)>,
    uses: u64,
}

impl Https {
    /// No connections yet.
    pub fn new() -> Self {
        Self::default()
    }

    async fn client(&self, wanted: &Option<Arc<Tls>>) -> Result<Client<Connector, Body>, OutboundError> {
        if let Some(client) = self.clients.lock().find(wanted) {
            return Ok(client);
        }
        let connector = match wanted {
            None => Connector { secured: None },
            Some(wanted) => {
                let wanted = wanted.clone();
                let name = ServerName::try_from(wanted.server_name.clone()).map_err(|_| OutboundError::Tls {
                    reason: format!("tls: {:?} is no name that a certificate can be for", wanted.server_name),
                })?;
                // The machine's roots are files.
                let config = tokio::task::spawn_blocking(move || tls::config(&wanted)).await;
                let config = config.map_err(|error| OutboundError::Broken {
                    reason: error.to_string(),
                })??;
                Connector {
                    secured: Some((Arc::new(config), name)),
                }
            }
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build(connector);
        self.clients.lock().keep(wanted.clone(), client.clone());
        Ok(client)
    }
}

impl Clients {
    fn find(&mut self, wanted: &Option<Arc<Tls>>) -> Option<Client<Connector, Body>> {
        self.uses += 1;
        let (client, used) = self.by_tls.get_mut(wanted)?;
        *used = self.uses;
        Some(client.clone())
    }

    fn keep(&mut self, wanted: Option<Arc<Tls>>, client: Client<Connector, Body>) {
        if self.by_tls.len() >= CLIENTS_MAX
            && let Some(oldest) = self.by_tls.iter().min_by_key(|(_, (_, used))| *used)
        {
            let oldest = oldest.0.clone();
            self.by_tls.remove(&oldest);
        }
        self.by_tls.insert(wanted, (client, self.uses));
    }
}

#[async_trait]
impl Outbound for Https {
    async fn send(&self, to: &Destination, mut request: Request<Body>) -> Result<Response<Body>, OutboundError> {
        let client = self.client(&to.tls).await?;
        let wrong = |error: http::Error| OutboundError::Broken {
            reason: error.to_string(),
        };
        let host = if to.host.contains(':') {
            format!("[{}]:{}", to.host, to.port)
        } else {
            format!("{}:{}", to.host, to.port)
        };
        let authority = Authority::try_from(host).map_err(|error| wrong(error.into()))?;
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(if to.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(authority);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| wrong(error.into()))?;
        let answered = client.request(request).await;
        let answered = answered.map_err(|error| OutboundError::exchange(&error))?;
        Ok(answered.map(body::boxed))
    }
}

/// Makes connections.
#[derive(Clone)]
struct Connector {
    secured: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, OutboundError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let secured = self.secured.clone();
        Box::pin(async move {
            let host = to.host().unwrap_or_default();
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            let plain = dial(host, to.port_u16().unwrap_or(443)).await?;
            let Some((config, name)) = secured else {
                return Ok(Stream(TokioIo::new(Box::new(plain))));
            };
            let handshake = TlsConnector::from(config).connect(name, plain);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => Ok(Stream(TokioIo::new(Box::new(stream)))),
                Ok(Err(error)) => Err(OutboundError::handshake(&error)),
                Err(_) => Err(OutboundError::Tls {
                    reason: "net/http: TLS handshake timeout".to_owned(),
                }),
            }
        })
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, OutboundError> {
    let missing = || OutboundError::Lookup { host: host.to_owned() };
    let mut addresses = tokio::net::lookup_host((host, port)).await.map_err(|_| missing())?;
    let mut failed = missing();
    for address in addresses.by_ref().take(ADDRESSES_MAX) {
        match tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are written at once.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failed = OutboundError::dial(address.to_string(), &error),
            Err(_) => {
                failed = OutboundError::Dial {
                    address: address.to_string(),
                    reason: "i/o timeout".to_owned(),
                };
            }
        }
    }
    Err(failed)
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection as hyper takes it.
struct Stream(TokioIo<Box<dyn Io>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
