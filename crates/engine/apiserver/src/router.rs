//! Where a request goes once its sender is known: to the local replica, over the mesh, or nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};

use crate::body::Body;
use crate::server::ApiServer;

/// Where to send requests at this moment.
#[derive(Clone)]
pub enum Target {
    /// This member has a replica that serves.
    Local(ApiServer),
    /// Another member serves.
    Remote(Arc<dyn RemoteApi>),
    /// Nobody serves.
    Unavailable {
        /// Why, for people.
        reason: String,
        /// Names of the voters that do not answer.
        missing: Vec<String>,
    },
}

/// Chooses the target of a request.
pub trait Router: Send + Sync + 'static {
    /// The target at this moment. Answers at once.
    fn target(&self) -> Target;

    /// The others that serve, if there are any: for what the local replica gives back, see [`crate::behind`].
    fn others(&self) -> Option<Arc<dyn RemoteApi>>;
}

/// Why a forwarded request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The member was not reached; the request was not sent.
    #[error("member {member} is not reachable: {reason}")]
    Unreachable {
        /// The member.
        member: String,
        /// Why, for people.
        reason: String,
    },
    /// The connection broke after the request was sent: it may have been executed.
    #[error("the connection to member {member} broke: {reason}")]
    Broken {
        /// The member.
        member: String,
        /// Why, for people.
        reason: String,
    },
    /// No replica is known.
    #[error("no member serves the API: {reason}")]
    Nobody {
        /// Why, for people.
        reason: String,
        /// Names of the voters that do not answer.
        missing: Vec<String>,
    },
}

/// The API of another member. The caller's identity travels in headers, see [`crate::identity`].
#[async_trait]
pub trait RemoteApi: Send + Sync + 'static {
    /// Sends the request and gives the response, whose body may stream for long.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, RemoteError>;
}
