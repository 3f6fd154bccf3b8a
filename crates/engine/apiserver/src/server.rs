//! The API server as a value: a `tower::Service` that the door, the mesh and in-process clients all call.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use revoada_core::MemberId;
use revoada_core::env::{Clock, Entropy};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use crate::authorizer::Authorizer;
use crate::body::Body;
use crate::heartbeat::Heartbeats;
use crate::seal::SealPolicy;
use crate::status::Status;

/// What `/version` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// `v1.34.x` with our own build after a plus sign.
    pub git_version: String,
    /// Commit this binary was built from.
    pub git_commit: String,
    /// RFC 3339 time of the build.
    pub build_date: String,
}

/// Settings of the API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Range of cluster IPs of Services, e.g. `10.96.0.0/16`.
    pub service_cidr: String,
    /// Requests at once, watches aside; further ones get 429.
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
            requests_max: 600,
            watches_max: 20_000,
            consensus_timeout_ms: 2_500,
        }
    }
}

/// What an API server needs from outside.
#[derive(Clone)]
pub struct Deps {
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
    /// Display name of a member, for error texts.
    pub member_name: Arc<dyn Fn(&MemberId) -> String + Send + Sync>,
    /// What `/version` says.
    pub version: VersionInfo,
    /// Settings.
    pub options: Options,
}

/// The Kubernetes API over a replica. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Deps,
    drain: CancellationToken,
}

impl ApiServer {
    /// A server over the given parts.
    pub fn new(deps: Deps) -> Self {
        Self {
            inner: Arc::new(Inner {
                deps,
                drain: CancellationToken::new(),
            }),
        }
    }

    /// Ends all watches cleanly, so that clients resume elsewhere, and reports not ready from now on.
    pub fn drain(&self) {
        self.inner.drain.cancel();
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.inner.deps.options
    }

    /// Answers one request. The sender's [`crate::Identity`] is taken from the request's extensions; without one the
    /// request is anonymous.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        drop(request);
        Status::no_such_resource().into_response()
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
