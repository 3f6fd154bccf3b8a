//! The API server as a value: a `tower::Service` that the door, the mesh and in-process clients all call.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use engenho_authn::Issuer;
use engenho_catalog::Catalog;
use engenho_catalog::discovery::ServerAddress;
pub use engenho_catalog::version::VersionInfo;
use engenho_store::StoreClient;
use http::{Request, Response};
use revoada_core::env::{Clock, Entropy};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::admit::{Policies, Webhooks};
use crate::aggregate::{self, Aggregates, ProxyCertificate};
use crate::authorizer::Authorizer;
use crate::body::Body;
use crate::custom::{CustomResources, Served};
use crate::fairness::Fairness;
use crate::heartbeat::Heartbeats;
use crate::metrics::Metrics;
use crate::observers::Observers;
use crate::outbound::Outbound;
use crate::pipeline;
use crate::seal::SealPolicy;
use crate::services::Range;
use crate::storage::{MemberName, Storage};
use crate::tokens::TokenAuthenticator;
use crate::turns::Turns;

/// Settings of the API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Range of cluster IPs of Services, e.g. `10.96.0.0/16`.
    pub service_cidr: String,
    /// Port at which members serve the API, for the Service `kubernetes`.
    pub advertised_port: u16,
    /// Addresses that `/api` advertises.
    pub addresses: Vec<ServerAddress>,
    /// Requests at once, watches aside: the seats that priority levels share. Further ones wait or get 429.
    pub requests_max: usize,
    /// Watches at once; further ones get 429.
    pub watches_max: usize,
    /// Deadline of one proposal or read index, milliseconds. A lost quorum is told within it.
    pub consensus_timeout_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_cidr: "10.96.0.0/16".into(),
            advertised_port: 6443,
            addresses: Vec::new(),
            requests_max: 600,
            watches_max: 20_000,
            consensus_timeout_ms: 2_500,
        }
    }
}

/// What an API server needs from outside.
#[derive(Clone)]
pub struct Deps {
    /// The store and the way to write to it.
    pub store: StoreClient,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes, for uids and generated names.
    pub entropy: Arc<dyn Entropy>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// Node heartbeats from membership.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// What is sealed before it is proposed.
    pub seal: SealPolicy,
    /// Who stands behind static bearer tokens: asked first.
    pub tokens: Option<Arc<dyn TokenAuthenticator>>,
    /// Issues and verifies tokens of service accounts; `None` knows none.
    pub issuer: Option<Arc<Issuer>>,
    /// Who else may know a bearer token: asked last, in this order.
    pub further_tokens: Vec<Arc<dyn TokenAuthenticator>>,
    /// The way to webhooks and aggregated servers; `None` calls nobody.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// What is shown to aggregated servers; without it they do not know who passes requests on.
    pub proxy_certificate: Option<Arc<dyn ProxyCertificate>>,
    /// Display name of a member, for error texts.
    pub member_name: MemberName,
    /// What `/version` says.
    pub version: VersionInfo,
    /// Figures and the audit log, which outlive this server.
    pub observers: Observers,
    /// Settings.
    pub options: Options,
}

/// The Kubernetes API over a replica. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

/// The shared parts of a server.
pub(crate) struct Inner {
    pub deps: Deps,
    pub storage: Storage,
    pub metrics: Metrics,
    pub fairness: Arc<Fairness>,
    /// Bearer tokens that are looked at, at once.
    pub judging: Semaphore,
    pub watches: Arc<Semaphore>,
    pub drain: CancellationToken,
    /// Turns at the quotas of a namespace.
    pub turns: Turns,
    /// The admission policies in force.
    pub policies: Policies,
    /// The admission webhooks in force.
    pub webhooks: Webhooks,
    /// The APIs that others serve.
    pub aggregates: Aggregates,
    /// The ranges of cluster IPs.
    pub service_ranges: Vec<Range>,
    customs: CustomResources,
}

impl Inner {
    /// The resources that are served at this moment, with the definitions of the custom ones.
    pub fn served(&self) -> Arc<Served> {
        self.customs.served(&self.deps.store.store)
    }

    /// Watches that are open.
    pub fn open_watches(&self) -> usize {
        self.deps
            .options
            .watches_max
            .saturating_sub(self.watches.available_permits())
    }

    /// The resources that are served at this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.served().catalog.clone()
    }
}

impl ApiServer {
    /// A server over the given parts.
    pub fn new(deps: Deps) -> Self {
        let timeout = Duration::from_millis(deps.options.consensus_timeout_ms);
        let storage = Storage::new(deps.store.clone(), deps.seal.clone(), timeout, deps.member_name.clone());
        let metrics = Metrics::default();
        let inner = Inner {
            storage,
            judging: Semaphore::new(deps.options.requests_max),
            fairness: Arc::new(Fairness::new(deps.options.requests_max, metrics.flow.clone())),
            metrics,
            watches: Arc::new(Semaphore::new(deps.options.watches_max)),
            drain: CancellationToken::new(),
            turns: Turns::default(),
            policies: Policies::default(),
            webhooks: Webhooks::default(),
            aggregates: Aggregates::default(),
            service_ranges: deps.options.service_cidr.split(',').filter_map(Range::parse).collect(),
            customs: CustomResources::default(),
            deps,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Ends all watches cleanly, so that clients resume elsewhere, and reports not ready from now on.
    pub fn drain(&self) {
        self.inner.drain.cancel();
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.inner.deps.options
    }

    /// What issues tokens of service accounts.
    pub fn issuer(&self) -> Option<&Arc<Issuer>> {
        self.inner.deps.issuer.as_ref()
    }

    /// The resources that are served at this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.inner.catalog()
    }

    /// Objects in the store, for in-process work on stored bytes (bootstrap, the RBAC cache).
    pub fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    /// Whether the server behind an APIService answers.
    ///
    /// # Errors
    /// Why it doesn't, as the condition `Available` tells it.
    pub async fn probe(&self, api_service: &serde_json::Value) -> Result<(), String> {
        aggregate::probe(self, api_service).await
    }

    /// Answers one request. The sender's [`crate::Identity`] is taken from the request's extensions; without one that of
    /// its [`crate::BearerToken`], and without that the request is anonymous.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        pipeline::handle(&self.inner, request).await
    }
}

impl Service<Request<Body>> for ApiServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
