//! The door: the TLS listener that every member has. It authenticates, then hands the request to the local
//! replica, to another member, or answers that nobody serves.

mod authenticate;
mod front_proxy;
mod io;
mod serve;
mod tls;
mod websocket;

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use revoada_core::env::Clock;
use rustls::server::ResolvesServerCert;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

pub use authenticate::Anonymous;
pub use front_proxy::FrontProxy;
pub use serve::{ServeOptions, serve_stream};
pub use tls::{ClientRoots, PeerCertificate, RootsError, server_config};

use self::authenticate::{Authenticated, Sender};
use crate::audit;
use crate::behind::{take_behind, take_stale};
use crate::body::{self, Body};
use crate::identity::{self, Peer};
use crate::metrics::Attempted;
use crate::observers::Observers;
use crate::respond;
use crate::router::{RemoteError, Router, Target};
use crate::server::ApiServer;
use crate::status::{self, Status};
use crate::tokens::TokenAuthenticator;

/// How much of a refused body is read, and for how long.
const DISCARD_BYTES_MAX: usize = 128 * 1024 * 1024;
const DISCARD_DEADLINE: Duration = Duration::from_secs(2);

/// What a door needs from outside.
#[derive(Clone)]
pub struct DoorDeps {
    /// Chooses the serving certificate of each handshake; rotates without a restart.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// Which authorities sign client certificates.
    pub client_roots: Arc<ClientRoots>,
    /// Proxies that name users in headers, if there are any.
    pub front_proxy: Option<FrontProxy>,
    /// Who stands behind the bearer tokens that this member knows itself; the others are judged by whoever answers.
    pub tokens: Arc<dyn TokenAuthenticator>,
    /// Where requests go.
    pub router: Arc<dyn Router>,
    /// Wall-clock time, to judge certificates.
    pub clock: Arc<dyn Clock>,
    /// Figures and the audit log.
    pub observers: Observers,
}

/// Bounds of a door.
#[derive(Debug, Clone)]
pub struct DoorOptions {
    /// Which requests without credentials go on as `system:anonymous`.
    pub anonymous: Anonymous,
    /// Connections at once; further ones are closed.
    pub connections_max: usize,
    /// For how long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// For how long connections may finish their requests when the door closes.
    pub drain_timeout: Duration,
    /// Bounds of one connection.
    pub serve: ServeOptions,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self {
            anonymous: Anonymous::Everywhere,
            connections_max: 8192,
            handshake_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            serve: ServeOptions::default(),
        }
    }
}

/// Reads on a refused body for a moment: a client that is still sending sees a reset before it sees the answer.
async fn discard(mut body: Body) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
            if read > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // Whether it was read to its end makes no difference to anybody.
    let _ = tokio::time::timeout(DISCARD_DEADLINE, reading).await;
}

/// The listener of one member.
#[derive(Clone)]
pub struct Door {
    deps: DoorDeps,
    options: Arc<DoorOptions>,
    tls: TlsAcceptor,
    connections: Arc<Semaphore>,
}

impl Door {
    /// A door that listens nowhere yet.
    pub fn new(deps: DoorDeps, options: DoorOptions) -> Result<Self, RootsError> {
        let config = server_config(deps.certificates.clone())?;
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            connections: Arc::new(Semaphore::new(options.connections_max)),
            options: Arc::new(options),
            deps,
        })
    }

    /// Accepts connections until `stop`, then lets them finish within the drain timeout.
    /// May be called for several listeners at once.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(pair) => pair,
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: neither is healed by spinning.
                    tracing::warn!(%error, "the API listener could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = self.connections.clone().try_acquire_owned() else {
                tracing::warn!(%peer, connections_max = self.options.connections_max, "too many API connections: closed one");
                continue;
            };
            let _ = stream.set_nodelay(true);
            let door = self.clone();
            let stop = stop.clone();
            connections.spawn(async move {
                door.connection(stream, peer.ip(), stop).await;
                drop(permit);
            });
        }
        connections.close();
        if tokio::time::timeout(self.options.drain_timeout, connections.wait())
            .await
            .is_err()
        {
            tracing::info!(
                left = connections.len(),
                "API connections did not finish in time and are closed"
            );
        }
    }

    async fn connection(&self, stream: tokio::net::TcpStream, address: IpAddr, stop: CancellationToken) {
        let handshake = tokio::time::timeout(self.options.handshake_timeout, self.tls.accept(stream));
        let stream = match handshake.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.deps.observers.door.handshake_failed();
                return tracing::debug!(%error, "TLS handshake failed");
            }
            Err(_) => {
                self.deps.observers.door.handshake_failed();
                return tracing::debug!("TLS handshake took too long");
            }
        };
        let (_, session) = stream.get_ref();
        let http2 = session.alpn_protocol() == Some(b"h2");
        let chain = session
            .peer_certificates()
            .map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect());
        let peer = chain.map(|chain| Arc::new(PeerCertificate::new(chain)));
        let service = PeerService {
            door: self.clone(),
            peer,
            address: Peer(address),
        };
        let protocol = if http2 {
            serve::Protocol::Http2
        } else {
            serve::Protocol::Http1
        };
        let mut options = self.options.serve.clone();
        options.drain_timeout = self.options.drain_timeout;
        if let Err(error) = serve::serve(stream, service, protocol, &options, stop).await {
            tracing::debug!(%error, "an API connection ended");
        }
    }

    /// Answers one request of a peer that showed `certificate`, or none.
    pub async fn handle(&self, mut request: Request<Body>, certificate: Option<&PeerCertificate>) -> Response<Body> {
        identity::strip_headers(request.headers_mut());
        if let Some(length) = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse().ok())
            && let Err(status) = status::check_length(length)
        {
            tokio::spawn(discard(request.into_body()));
            return status.into_response();
        }
        let begun = tokio::time::Instant::now();
        let attempted = attempted(request.headers(), certificate.is_some());
        let authenticated = self.authenticate(&mut request, certificate).await;
        let outcome = match &authenticated {
            Ok(Authenticated {
                sender: Sender::Known(who),
                ..
            }) => Some(Attempted::Success(&who.user)),
            // The judge of the token counts it.
            Ok(_) => None,
            Err(_) if attempted.is_empty() => Some(Attempted::Failure),
            Err(_) => Some(Attempted::Error),
        };
        if let Some(outcome) = outcome {
            self.deps.observers.door.attempted(outcome, begun.elapsed());
        }
        let Authenticated { sender, warning } = match authenticated {
            Ok(authenticated) => authenticated,
            Err(status) => {
                if status.code == 401
                    && let Some(log) = &self.deps.observers.audit
                {
                    audit::refused(log, &self.deps.clock, &request, &attempted);
                }
                return status.into_response();
            }
        };
        let mut response = match self.deps.router.target() {
            Target::Local(api) => self.handle_here(api, request, sender).await,
            Target::Remote(remote) => {
                let writes = !matches!(request.method().as_str(), "GET" | "HEAD" | "OPTIONS");
                let path = request.uri().path().to_owned();
                sender.to_headers(&mut request);
                if let Some(peer) = request.extensions().get::<Peer>().copied() {
                    peer.to_headers(request.headers_mut());
                }
                match remote.send(request).await {
                    Ok(response) => response,
                    Err(error) => {
                        tracing::info!(%error, path, "a request could not be passed on");
                        remote_error(error, writes).into_response()
                    }
                }
            }
            Target::Unavailable { reason, missing } => Status::no_quorum(&reason, &missing).into_response(),
        };
        if let Some(warning) = warning {
            respond::add_warning(response.headers_mut(), "-", warning);
        }
        response
    }

    /// Asks the local replica; a read that it gives back is asked of the others, and of it again only when they know
    /// no more.
    async fn handle_here(&self, api: ApiServer, mut request: Request<Body>, sender: Sender) -> Response<Body> {
        let peer = request.extensions().get::<Peer>().copied();
        let read = (request.method() == Method::GET).then(|| (request.uri().clone(), request.headers().clone()));
        sender.to_extensions(&mut request);
        let mut response = api.handle(request).await;
        let gave_back = take_behind(response.headers_mut());
        let Some((uri, headers)) = read.filter(|_| gave_back) else {
            return response;
        };
        let mut again = Request::new(body::empty());
        *again.uri_mut() = uri;
        *again.headers_mut() = headers;
        if let Some(others) = self.deps.router.others() {
            let mut sent = Request::new(body::empty());
            *sent.uri_mut() = again.uri().clone();
            *sent.headers_mut() = again.headers().clone();
            sender.to_headers(&mut sent);
            if let Some(peer) = peer {
                peer.to_headers(sent.headers_mut());
            }
            match others.send(sent).await {
                Ok(response) => return response,
                Err(error) => tracing::debug!(%error, "no other replica knows more"),
            }
        }
        take_stale(again.headers_mut());
        sender.to_extensions(&mut again);
        if let Some(peer) = peer {
            again.extensions_mut().insert(peer);
        }
        api.handle(again).await
    }
}

/// The kinds of credentials that a request shows.
fn attempted(headers: &http::HeaderMap, with_certificate: bool) -> Vec<&'static str> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme = authorization.and_then(|text| text.trim().split_once(' '));
    let is = |name: &str| scheme.is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(name));
    let shown = [
        ("basic", is("basic")),
        ("bearer", is("bearer")),
        ("x509", with_certificate),
    ];
    shown
        .into_iter()
        .filter_map(|(name, shown)| shown.then_some(name))
        .collect()
}

/// The door as one connection's service.
#[derive(Clone)]
struct PeerService {
    door: Door,
    peer: Option<Arc<PeerCertificate>>,
    address: Peer,
}

impl Service<Request<Body>> for PeerService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.address);
        let this = self.clone();
        Box::pin(async move { Ok(this.door.handle(request, this.peer.as_deref()).await) })
    }
}

/// What a forwarding failure means to the client: whether the request may have been executed decides.
fn remote_error(error: RemoteError, writes: bool) -> Status {
    match error {
        RemoteError::Nobody { reason, missing } => Status::no_quorum(&reason, &missing),
        RemoteError::Broken { .. } if writes => Status::outcome_unknown(&error.to_string()),
        RemoteError::Broken { .. } | RemoteError::Unreachable { .. } => Status::unavailable(&error.to_string()),
    }
}
