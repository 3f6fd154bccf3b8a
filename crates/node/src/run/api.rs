//! Where API requests go: to this member's own replica while it has one, else over the mesh to another's.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use engenho_engine::apiserver::authorizer::{AuthorizerChain, StoreAuthorizer};
use engenho_engine::apiserver::behind::{take_behind, take_stale};
use engenho_engine::apiserver::body::{self, ReadBodyError};
use engenho_engine::apiserver::outbound::Outbound;
use engenho_engine::apiserver::repeat::take_unclear;
use engenho_engine::apiserver::{
    ApiServer, Attempt, BearerToken, Body, Deps, Heartbeat, Heartbeats, Observers, Options, Peer, ProxyCertificate,
    RemoteApi, RemoteError, Router, SealError, SealPolicy, Sealer, ServeOptions, Status, Target, TokenAuthenticator,
    VersionInfo, identity_from_headers, serve_stream,
};
use engenho_engine::pki::SecretSealer;
use engenho_engine::store::{Store, StoreClient, StoreOptions};
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::{Mutex, RwLock};
use revoada::{ApplicationFactory, Member, ReplicaPhase};
use revoada_core::MemberId;
use revoada_core::consensus::Application;
use revoada_core::view::Liveness;
use revoada_mesh::StreamClass;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::front_proxy::FrontProxy;
use super::material::{Opened, Vault};

/// How long the head of a forwarded answer may take: longer than a request may with all who are asked on its way. A
/// target that is gone is found sooner, see [`LIFE_CHECK`].
const HEAD_DEADLINE: Duration = Duration::from_secs(65);

/// How often a forwarded request looks whether its target still lives.
const LIFE_CHECK: Duration = Duration::from_millis(250);

/// How long after its arrival a write may be sent to yet another replica.
const REPEAT_WITHIN: Duration = Duration::from_secs(20);

/// Pause before all replicas are asked once more.
const REPEAT_PAUSE: Duration = Duration::from_millis(250);

/// Writes forwarded at once: half of what the exactly-once table remembers of this member, so that a slow one is not
/// forgotten while others pass it by.
const WRITES_MAX: usize = revoada_core::dedupe::WINDOW_MAX / 2;

/// Marks an answer of a member that did not even look at the request.
const NO_REPLICA: HeaderName = HeaderName::from_static("x-engenho-no-replica");

/// Largest body that is forwarded; the API takes no larger one.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// A replica without a leader for this long serves what it has, marked as stale.
const STALE_AFTER: Duration = Duration::from_secs(3);

/// Makes a store for each time the replica opens.
pub struct Stores {
    history: bool,
    current: Mutex<Option<Arc<Store>>>,
}

impl Default for Stores {
    fn default() -> Self {
        Self {
            history: true,
            current: Mutex::default(),
        }
    }
}

impl Stores {
    /// Stores that keep no history on disk: a replica reads no older revision, and watches begin no further back than
    /// its memory reaches.
    pub fn without_history() -> Self {
        Self {
            history: false,
            ..Self::default()
        }
    }

    /// The store of the open replica.
    pub fn current(&self) -> Option<Arc<Store>> {
        self.current.lock().clone()
    }
}

impl ApplicationFactory for Stores {
    fn open(&self, dir: &Path) -> std::io::Result<Arc<dyn Application>> {
        let options = if self.history {
            StoreOptions::with_history(dir.join("history"))
        } else {
            StoreOptions::default()
        };
        let store = Store::open(options);
        *self.current.lock() = Some(Arc::clone(&store));
        Ok(store)
    }

    fn close(&self) {
        *self.current.lock() = None;
    }
}

/// The local API server while this member has a replica that can serve.
#[derive(Default)]
pub struct Local {
    /// The server and the store it reads: a replica that was opened again has another one.
    server: RwLock<Option<(ApiServer, Arc<Store>)>>,
}

impl Local {
    /// The server, if there is one.
    pub fn server(&self) -> Option<ApiServer> {
        self.server.read().as_ref().map(|(server, _)| server.clone())
    }
}

/// Seals with the cluster's keys.
struct Seals(SecretSealer);

impl Sealer for Seals {
    fn seal(&self, key: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.seal(key, plaintext).map_err(|error| SealError::NoKey {
            reason: error.to_string(),
        })
    }

    fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.open(key, sealed).map_err(|error| SealError::Damaged {
            reason: error.to_string(),
        })
    }
}

/// Lease heartbeats out of gossip.
pub struct GossipHeartbeats(pub Member);

impl Heartbeats for GossipHeartbeats {
    fn heartbeats(&self) -> Vec<Heartbeat> {
        let member = &self.0;
        let (now_ms, unix_ms) = (member.now_ms(), member.clock().unix_ms());
        let everyone = member.watch_everyone().borrow().clone();
        let known = member.known();
        let unix = |at_ms: u64| unix_ms.saturating_sub(now_ms.saturating_sub(at_ms));
        known
            .chain()
            .admitted()
            .iter()
            .filter(|(_, admitted)| !admitted.witness)
            .filter_map(|(id, admitted)| {
                let heard = everyone.get(id)?;
                let since_ms = match heard.liveness {
                    Liveness::Alive { since_ms } | Liveness::Suspect { since_ms } => since_ms,
                    Liveness::Dead { .. } | Liveness::Unknown => heard.heartbeat_ms,
                };
                Some(Heartbeat {
                    node: admitted.name.clone(),
                    holder: admitted.name.clone(),
                    acquire_unix_ms: unix(since_ms),
                    renew_unix_ms: unix(heard.heartbeat_ms),
                    duration_s: 40,
                })
            })
            .collect()
    }
}

/// What every local server is given alike.
#[derive(Clone)]
pub struct Shared {
    /// What `/version` says.
    pub version: VersionInfo,
    /// Who stands behind a static bearer token.
    pub tokens: Arc<dyn TokenAuthenticator>,
    /// Who else may know a bearer token.
    pub further_tokens: Vec<Arc<dyn TokenAuthenticator>>,
    /// Who decides what requests may do.
    pub authorizers: Arc<AuthorizerChain>,
    /// The way to webhooks and aggregated servers.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// Figures and the audit log.
    pub observers: Observers,
}

/// Opens the local server when the replica is ready, and ends it when there is none any more.
pub async fn run_local(
    member: Member,
    stores: Arc<Stores>,
    vault: Arc<Vault>,
    local: Arc<Local>,
    shared: Shared,
    stop: CancellationToken,
) {
    let mut phase = member.watch_phase();
    let mut leadership = member.watch_leadership();
    let mut opening_since = None;
    loop {
        let now = *phase.borrow_and_update();
        let opening = now == ReplicaPhase::Opening;
        let since = *opening_since.get_or_insert_with(tokio::time::Instant::now);
        if !opening {
            opening_since = None;
        }
        let serve = now == ReplicaPhase::Ready || (opening && since.elapsed() > STALE_AFTER);
        // The phase may have passed through "none" unseen: what counts is which store the replica drives.
        let over = {
            let current = stores.current();
            let server = local.server.read();
            server
                .as_ref()
                .is_some_and(|(_, store)| current.is_none_or(|current| !Arc::ptr_eq(store, &current)))
        };
        if over && let Some((server, _)) = local.server.write().take() {
            server.drain();
            tracing::info!("this member's own replica serves no API requests any more");
        }
        if serve
            && local.server().is_none()
            && let Err(error) = open(&member, &stores, &vault, &local, &shared, opening).await
        {
            tracing::error!(error = %format!("{error:#}"), "the local API server cannot be opened");
        }
        if now == ReplicaPhase::None && !member.known().config().contains(&member.id()) && !becoming(&member) {
            vault.forget();
        }
        tokio::select! {
            changed = phase.changed() => if changed.is_err() { break },
            changed = leadership.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = stop.cancelled() => break,
        }
    }
    if let Some((server, _)) = local.server.write().take() {
        server.drain();
    }
}

fn becoming(member: &Member) -> bool {
    member
        .known()
        .state()
        .in_flight()
        .is_some_and(|transition| transition.spec.member == member.id())
}

async fn open(
    member: &Member,
    stores: &Stores,
    vault: &Vault,
    local: &Local,
    shared: &Shared,
    stale: bool,
) -> anyhow::Result<()> {
    let phase = member.watch_phase();
    let Some(opened) = vault.fetch(member, || *phase.borrow() != ReplicaPhase::None).await? else {
        return Ok(());
    };
    let Some(store) = stores.current() else { return Ok(()) };
    let server = ApiServer::new(deps(member, Arc::clone(&store), &opened, shared.clone()));
    // A store that has applied nothing answers nothing. Only the leader serves before: it writes what every cluster
    // begins with.
    if !is_bootstrapped(&server) && member.watch_leadership().borrow().is_none() {
        return Ok(());
    }
    *local.server.write() = Some((server, store));
    tracing::info!(stale, "API requests are served from this member's own replica");
    Ok(())
}

fn deps(member: &Member, store: Arc<Store>, opened: &Opened, shared: Shared) -> Deps {
    let entropy = member.entropy();
    let sealer = SecretSealer::new(
        opened.sealing_keys.clone(),
        Arc::new(move |out: &mut [u8]| entropy.fill(out)),
    );
    let names = member.clone();
    Deps {
        store: StoreClient::new(Arc::clone(&store), member.consensus()),
        clock: member.clock(),
        entropy: member.entropy(),
        authorizer: Arc::new(StoreAuthorizer::with_chain(store, shared.authorizers)),
        heartbeats: Arc::new(GossipHeartbeats(member.clone())),
        seal: SealPolicy::secrets(Arc::new(Seals(sealer))),
        member_name: Arc::new(move |id: &MemberId| member_name(&names, id)),
        tokens: Some(shared.tokens),
        issuer: Some(Arc::clone(&opened.issuer)),
        further_tokens: shared.further_tokens,
        outbound: shared.outbound,
        proxy_certificate: opened
            .front_proxy
            .clone()
            .map(|authority| Arc::new(FrontProxy::new(authority, member.clock())) as Arc<dyn ProxyCertificate>),
        version: shared.version,
        observers: shared.observers,
        options: Options {
            service_cidr: opened.stored.info.service_cidr.clone(),
            ..Options::default()
        },
    }
}

/// Whether the objects that every cluster begins with are there, as far as this replica has read: the last of them is.
pub fn is_bootstrapped(server: &ApiServer) -> bool {
    let catalog = server.catalog();
    let last = catalog
        .resource("", "v1", "services")
        .map(|services| services.storage_key("default", "kubernetes"));
    last.is_none_or(|key| server.storage().revision_of(&key).is_some())
}

/// A member's name, or the beginning of its id.
pub fn member_name(member: &Member, id: &MemberId) -> String {
    member
        .known()
        .chain()
        .member(id)
        .map_or_else(|| id.short(), |admitted| admitted.name.clone())
}

/// Chooses the target of a request.
pub struct Gate {
    local: Arc<Local>,
    remote: Arc<MeshApi>,
}

impl Gate {
    /// Local first, else over the mesh.
    pub fn new(local: Arc<Local>, remote: Arc<MeshApi>) -> Self {
        Self { local, remote }
    }

    /// Whether a request would find somebody who serves it.
    pub fn is_open(&self) -> bool {
        self.local.server().is_some() || !self.remote.candidates().is_empty()
    }
}

impl Router for Gate {
    fn target(&self) -> Target {
        if let Some(server) = self.local.server() {
            return Target::Local(server);
        }
        if self.remote.candidates().is_empty() {
            let (reason, missing) = self.remote.nobody();
            return Target::Unavailable { reason, missing };
        }
        Target::Remote(Arc::clone(&self.remote) as Arc<dyn RemoteApi>)
    }

    fn others(&self) -> Option<Arc<dyn RemoteApi>> {
        let any = !self.remote.candidates().is_empty();
        any.then(|| Arc::clone(&self.remote) as Arc<dyn RemoteApi>)
    }
}

/// The API of other members, over the mesh.
pub struct MeshApi {
    member: Member,
    sessions: Mutex<HashMap<MemberId, SendRequest<Body>>>,
    writes: Semaphore,
}

impl MeshApi {
    /// Requests leave through `member`'s mesh.
    pub fn new(member: Member) -> Self {
        Self {
            member,
            sessions: Mutex::default(),
            writes: Semaphore::new(WRITES_MAX),
        }
    }

    /// Live members whose replica serves, the nearest first.
    fn candidates(&self) -> Vec<MemberId> {
        let me = self.member.id();
        let everyone = self.member.watch_everyone().borrow().clone();
        let rtt: HashMap<MemberId, u64> = self
            .member
            .mesh()
            .peers()
            .into_iter()
            .filter_map(|peer| Some((peer.id, peer.rtt_ms?)))
            .collect();
        let mut found: Vec<_> = everyone
            .iter()
            .filter(|(id, heard)| {
                **id != me && heard.liveness.is_alive() && heard.pulse.replica && heard.pulse.api_ready
            })
            .map(|(id, _)| (rtt.get(id).copied().unwrap_or(u64::MAX), *id))
            .collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    fn nobody(&self) -> (String, Vec<String>) {
        let known = self.member.known();
        let everyone = self.member.watch_everyone().borrow().clone();
        let missing = known
            .config()
            .voters
            .iter()
            .filter(|id| !everyone.get(id).is_some_and(|heard| heard.liveness.is_alive()))
            .map(|id| member_name(&self.member, id))
            .collect();
        ("no member with a replica answers".to_owned(), missing)
    }

    async fn session(&self, peer: MemberId) -> Result<SendRequest<Body>, String> {
        if let Some(session) = self.sessions.lock().get(&peer)
            && !session.is_closed()
        {
            return Ok(session.clone());
        }
        let stream = self
            .member
            .mesh()
            .open(peer, StreamClass::Api)
            .await
            .map_err(|error| error.to_string())?;
        let (session, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let stop = self.member.stop_token();
        self.member.spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a session for API requests ended");
                },
                () = stop.cancelled() => {}
            }
        });
        self.sessions.lock().insert(peer, session.clone());
        Ok(session)
    }

    fn is_dead(&self, peer: &MemberId) -> bool {
        let everyone = self.member.watch_everyone();
        let everyone = everyone.borrow();
        !everyone.get(peer).is_some_and(|heard| heard.liveness.is_alive())
    }

    async fn exchange(
        &self,
        peer: MemberId,
        mut session: SendRequest<Body>,
        request: Request<Body>,
    ) -> Result<Response<Body>, RemoteError> {
        let name = member_name(&self.member, &peer);
        let answer = session.send_request(request);
        tokio::pin!(answer);
        let started = tokio::time::Instant::now();
        loop {
            tokio::select! {
                answer = &mut answer => {
                    return match answer {
                        Ok(response) => Ok(response.map(body::boxed)),
                        Err(error) => Err(RemoteError::Broken { member: name, reason: error.to_string() }),
                    };
                }
                () = tokio::time::sleep(LIFE_CHECK) => {
                    if self.is_dead(&peer) {
                        self.sessions.lock().remove(&peer);
                        return Err(RemoteError::Broken { member: name, reason: "it is not heard of any more".into() });
                    }
                    if started.elapsed() > HEAD_DEADLINE {
                        return Err(RemoteError::Broken { member: name, reason: format!("no answer within {} s", HEAD_DEADLINE.as_secs()) });
                    }
                }
            }
        }
    }
}

#[async_trait::async_trait]
impl RemoteApi for MeshApi {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, RemoteError> {
        let (parts, body) = request.into_parts();
        // Kept, so that the request can be sent to another member.
        let body = match body::read(body, BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(ReadBodyError::TooLarge { .. }) => return Ok(Status::too_large().into_response()),
            Err(error) => return Ok(Status::bad_request(error.to_string()).into_response()),
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri: http::Uri = match format!("http://member.mesh{path}").parse() {
            Ok(uri) => uri,
            Err(_) => {
                return Err(RemoteError::Nobody {
                    reason: format!("{path:?} cannot be forwarded"),
                    missing: Vec::new(),
                });
            }
        };
        let outgoing = Outgoing::new(parts, uri, body);
        if matches!(outgoing.parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            self.send_read(&outgoing).await
        } else {
            self.send_write(&outgoing).await
        }
    }
}

/// A request that is forwarded, perhaps more than once.
struct Outgoing {
    parts: http::request::Parts,
    body: bytes::Bytes,
}

impl Outgoing {
    fn new(mut parts: http::request::Parts, uri: http::Uri, body: bytes::Bytes) -> Self {
        // Names of one connection's transport, not of the request.
        for name in [
            header::HOST,
            header::CONNECTION,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
        ] {
            parts.headers.remove(name);
        }
        parts.uri = uri;
        Self { parts, body }
    }

    fn request(&self, attempt: Option<Attempt>) -> Request<Body> {
        let mut request = Request::new(body::full(self.body.clone()));
        *request.method_mut() = self.parts.method.clone();
        *request.headers_mut() = self.parts.headers.clone();
        *request.uri_mut() = self.parts.uri.clone();
        if let Some(attempt) = attempt {
            attempt.to_headers(request.headers_mut());
        }
        request
    }
}

/// How sending a request to one member ended.
enum Sent {
    /// With its answer.
    Answered(Response<Body>),
    /// It does not know whether it did what was asked; this is what it says.
    Unclear(Response<Body>),
    /// It surely did nothing.
    Refused(RemoteError),
    /// It gives the read back: its replica may be behind.
    Behind,
    /// No answer: it may have done what was asked.
    Broken(RemoteError),
}

impl MeshApi {
    async fn send_to(&self, peer: MemberId, request: Request<Body>) -> Sent {
        let unreachable = |reason| {
            Sent::Refused(RemoteError::Unreachable {
                member: member_name(&self.member, &peer),
                reason,
            })
        };
        let session = match self.session(peer).await {
            Ok(session) => session,
            Err(reason) => return unreachable(reason),
        };
        match self.exchange(peer, session, request).await {
            Ok(response) if response.headers().contains_key(NO_REPLICA) => {
                unreachable("it has no replica any more".into())
            }
            Ok(mut response) => {
                if take_behind(response.headers_mut()) {
                    Sent::Behind
                } else if take_unclear(response.headers_mut()) {
                    Sent::Unclear(response)
                } else {
                    Sent::Answered(response)
                }
            }
            Err(error) => Sent::Broken(error),
        }
    }

    /// A read is asked of the next member whatever became of it.
    async fn send_read(&self, outgoing: &Outgoing) -> Result<Response<Body>, RemoteError> {
        let (reason, missing) = self.nobody();
        let mut last = RemoteError::Nobody { reason, missing };
        let mut behind = Vec::new();
        for peer in self.candidates() {
            match self.send_to(peer, outgoing.request(None)).await {
                Sent::Answered(response) | Sent::Unclear(response) => return Ok(response),
                Sent::Refused(error) | Sent::Broken(error) => last = error,
                Sent::Behind => behind.push(peer),
            }
        }
        // None of them is sure: what they have, marked as stale, is better than nothing.
        for peer in behind {
            let mut request = outgoing.request(None);
            take_stale(request.headers_mut());
            if let Sent::Answered(response) = self.send_to(peer, request).await {
                return Ok(response);
            }
        }
        Err(last)
    }

    /// A write goes to the next member as the next attempt under the same numbers: the replicas make one write of all
    /// attempts, see [`engenho_engine::apiserver::repeat`]. Each number of an attempt is sent to one member only.
    async fn send_write(&self, outgoing: &Outgoing) -> Result<Response<Body>, RemoteError> {
        let (reason, missing) = self.nobody();
        let mut last = RemoteError::Nobody { reason, missing };
        let Ok(Ok(_permit)) = tokio::time::timeout(HEAD_DEADLINE, self.writes.acquire()).await else {
            return Ok(Status::too_many_requests().into_response());
        };
        let started = tokio::time::Instant::now();
        let first = Attempt::first(self.member.reserve_requests(Attempt::NUMBERS));
        let mut next = Some(first);
        // What is known of the attempts that may have done something.
        let mut unclear: Option<Result<Response<Body>, RemoteError>> = None;
        loop {
            for peer in self.candidates() {
                let Some(attempt) = next else { break };
                if unclear.is_some() && started.elapsed() > REPEAT_WITHIN {
                    next = None;
                    break;
                }
                match self.send_to(peer, outgoing.request(Some(attempt))).await {
                    Sent::Answered(response) => return Ok(response),
                    Sent::Refused(error) => {
                        last = error;
                        continue;
                    }
                    Sent::Behind => {
                        last = RemoteError::Unreachable {
                            member: member_name(&self.member, &peer),
                            reason: "its replica is behind".into(),
                        };
                        continue;
                    }
                    Sent::Unclear(response) => unclear = Some(Ok(response)),
                    Sent::Broken(error) => {
                        tracing::debug!(%error, "a forwarded write goes to the next replica");
                        unclear = Some(Err(error));
                    }
                }
                next = attempt.next();
            }
            // Nothing was done: the client may as well try again itself.
            let Some(found) = unclear else { return Err(last) };
            if next.is_none() || started.elapsed() > REPEAT_WITHIN {
                return found;
            }
            unclear = Some(found);
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
    }
}

/// Serves requests that other members forward: their sender was authenticated at that member's door, or shows a token
/// that only a replica can judge.
#[derive(Clone)]
struct Forwarded {
    local: Arc<Local>,
    /// Who sends them.
    peer: MemberId,
}

impl tower::Service<Request<Body>> for Forwarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let server = self.local.server();
        let peer = self.peer;
        Box::pin(async move {
            let Some(server) = server else {
                let mut refused = Status::unavailable("this member has no replica any more").into_response();
                refused.headers_mut().insert(NO_REPLICA, HeaderValue::from_static("1"));
                return Ok(refused);
            };
            match Attempt::from_headers(request.headers_mut(), peer) {
                Ok(Some(attempt)) => drop(request.extensions_mut().insert(attempt)),
                Ok(None) => {}
                Err(error) => return Ok(Status::bad_request(error.to_string()).into_response()),
            }
            if let Some(from) = Peer::from_headers(request.headers()) {
                request.extensions_mut().insert(from);
            }
            if let Some(identity) = identity_from_headers(request.headers_mut()) {
                request.extensions_mut().insert(identity);
            } else if let Some(token) = BearerToken::take(request.headers_mut()) {
                // That member has no replica, and leaves it to this one to find whose token it is.
                request.extensions_mut().insert(token);
            } else {
                // Whoever passes a request on says who sends it.
                return Ok(Status::unauthorized().into_response());
            }
            Ok(server.handle(request).await)
        })
    }
}

/// Accepts forwarded requests until the member stops.
pub async fn serve_forwarded(member: Member, local: Arc<Local>, stop: CancellationToken) {
    let Some(mut streams) = member.take_api_streams() else {
        return;
    };
    loop {
        let next = tokio::select! {
            next = streams.recv() => next,
            () = stop.cancelled() => return,
        };
        let Some((peer, class, stream)) = next else { return };
        if class != StreamClass::Api {
            continue;
        }
        let service = Forwarded {
            local: Arc::clone(&local),
            peer,
        };
        let stop = stop.clone();
        member.spawn(async move {
            if let Err(error) = serve_stream(stream, service, &ServeOptions::default(), stop).await {
                tracing::debug!(peer = %peer.short(), %error, "a session of forwarded requests ended");
            }
        });
    }
}
