//! The door: the TLS listener that every member has. It authenticates, then hands the request to the local
//! replica, to another member, or answers that nobody serves.

mod authenticate;
mod io;
mod serve;
mod tls;

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

pub use authenticate::{TokenAuthenticator, TokenError};
pub use serve::{ServeOptions, serve_stream};
pub use tls::{ClientRoots, PeerCertificate, RootsError, server_config};

use crate::audit::Audited;
use crate::authorizer::Identity;
use crate::behind::{take_behind, take_stale};
use crate::body::{self, Body};
use crate::identity::{self, Peer};
use crate::metrics::Attempted;
use crate::observers::Observers;
use crate::request::RequestInfo;
use crate::router::{RemoteError, Router, Target};
use crate::server::ApiServer;
use crate::status::{self, Status};

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
    /// Who stands behind a bearer token.
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
    /// Whether requests without credentials go on as `system:anonymous`.
    pub anonymous: bool,
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
            anonymous: true,
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
        let authenticated = self.authenticate(request.headers(), certificate).await;
        let attempted = match &authenticated {
            Ok(identity) => Attempted::Success(&identity.user),
            Err(status) if status.code == 401 => Attempted::Failure,
            Err(_) => Attempted::Error,
        };
        self.deps.observers.door.attempted(attempted, begun.elapsed());
        let identity = match authenticated {
            Ok(identity) => identity,
            Err(status) => {
                if status.code == 401 {
                    self.audit_refusal(&request, certificate.is_some());
                }
                return status.into_response();
            }
        };
        match self.deps.router.target() {
            Target::Local(api) => self.handle_here(api, request, identity).await,
            Target::Remote(remote) => {
                let writes = !matches!(request.method().as_str(), "GET" | "HEAD" | "OPTIONS");
                request.headers_mut().remove(header::AUTHORIZATION);
                identity::identity_to_headers(&identity, request.headers_mut());
                if let Some(peer) = request.extensions().get::<Peer>().copied() {
                    peer.to_headers(request.headers_mut());
                }
                match remote.send(request).await {
                    Ok(response) => response,
                    Err(error) => remote_error(error, writes).into_response(),
                }
            }
            Target::Unavailable { reason, missing } => Status::no_quorum(&reason, &missing).into_response(),
        }
    }

    /// Records a request whose credentials prove nothing.
    fn audit_refusal(&self, request: &Request<Body>, with_certificate: bool) {
        let Some(log) = &self.deps.observers.audit else { return };
        let headers = request.headers();
        let mut attempted = Vec::new();
        if authenticate::bearer(headers).is_some() {
            attempted.push("bearer");
        }
        if with_certificate {
            attempted.push("x509");
        }
        let message = if attempted.is_empty() {
            "Authentication failed, no credentials provided".to_owned()
        } else {
            format!("Authentication failed, attempted: {}", attempted.join(", "))
        };
        let info = RequestInfo::decode(request.method(), request.uri());
        let id = headers
            .get("audit-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default();
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let attributes = info.attributes(&Identity::default());
        let sent = (request.uri(), headers);
        Audited::unauthenticated(log, &self.deps.clock, &attributes, id, sent, peer, &message);
    }

    /// Asks the local replica; a read that it gives back is asked of the others, and of it again only when they know
    /// no more.
    async fn handle_here(&self, api: ApiServer, mut request: Request<Body>, identity: Identity) -> Response<Body> {
        let peer = request.extensions().get::<Peer>().copied();
        let read = (request.method() == Method::GET).then(|| (request.uri().clone(), request.headers().clone()));
        request.extensions_mut().insert(identity.clone());
        let mut response = api.handle(request).await;
        let gave_back = take_behind(response.headers_mut());
        let Some((uri, headers)) = read.filter(|_| gave_back) else {
            return response;
        };
        let mut again = Request::new(body::empty());
        *again.uri_mut() = uri;
        *again.headers_mut() = headers;
        again.headers_mut().remove(header::AUTHORIZATION);
        if let Some(others) = self.deps.router.others() {
            let mut sent = Request::new(body::empty());
            *sent.uri_mut() = again.uri().clone();
            *sent.headers_mut() = again.headers().clone();
            identity::identity_to_headers(&identity, sent.headers_mut());
            if let Some(peer) = peer {
                peer.to_headers(sent.headers_mut());
            }
            match others.send(sent).await {
                Ok(response) => return response,
                Err(error) => tracing::debug!(%error, "no other replica knows more"),
            }
        }
        take_stale(again.headers_mut());
        again.extensions_mut().insert(identity);
        if let Some(peer) = peer {
            again.extensions_mut().insert(peer);
        }
        api.handle(again).await
    }
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
