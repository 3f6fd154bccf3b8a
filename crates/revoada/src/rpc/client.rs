//! The calling side: one multiplexed HTTP/2 session per peer and stream class, opened when first needed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use revoada_core::MemberId;
use revoada_mesh::{Mesh, MeshError, Refusal, StreamClass};
use tonic::transport::{Channel, Endpoint, Uri};

use super::MESSAGE_BYTES_MAX;
use super::pb::peer_client::PeerClient;
use super::pb::raft_client::RaftClient;

/// Why a call to a peer gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RpcError {
    /// The peer could not be reached: nothing was sent.
    #[error("{peer} cannot be reached: {message}")]
    Unreachable {
        /// The peer, shortened.
        peer: String,
        /// Transport's reason.
        message: String,
        /// How the peer refused this member at its door, if it did.
        refusal: Option<Refusal>,
    },
    /// No answer within the deadline: the call may have had an effect.
    #[error("{peer} did not answer within {waited_ms} ms")]
    Timeout {
        /// The peer, shortened.
        peer: String,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The peer answered with an error.
    #[error("{peer} answered {code}: {message}")]
    Refused {
        /// The peer, shortened.
        peer: String,
        /// gRPC status code.
        code: String,
        /// Its message.
        message: String,
    },
}

/// Cheap handle; sessions are shared by all clones.
#[derive(Clone)]
pub struct RpcClient {
    shared: Arc<Shared>,
}

struct Shared {
    mesh: Arc<dyn Mesh>,
    sessions: Mutex<HashMap<(MemberId, StreamClass), Channel>>,
}

impl RpcClient {
    /// A client whose calls travel on `mesh`.
    pub fn new(mesh: Arc<dyn Mesh>) -> Self {
        Self {
            shared: Arc::new(Shared {
                mesh,
                sessions: Mutex::default(),
            }),
        }
    }

    /// The consensus service of a peer. Snapshots use a stream of their own, so that they never delay a heartbeat.
    pub fn raft(&self, peer: MemberId, class: StreamClass) -> RaftClient<Channel> {
        RaftClient::new(self.session(peer, class))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The general service of a peer.
    pub fn peer(&self, peer: MemberId) -> PeerClient<Channel> {
        PeerClient::new(self.session(peer, StreamClass::Rpc))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Forgets the sessions of members that are no longer admitted.
    pub fn retain(&self, keep: impl Fn(&MemberId) -> bool) {
        self.shared.sessions.lock().retain(|(peer, _), _| keep(peer));
    }

    fn session(&self, peer: MemberId, class: StreamClass) -> Channel {
        let mut sessions = self.shared.sessions.lock();
        sessions
            .entry((peer, class))
            .or_insert_with(|| {
                let mesh = Arc::clone(&self.shared.mesh);
                let connector = tower::service_fn(move |_: Uri| {
                    let mesh = Arc::clone(&mesh);
                    async move {
                        mesh.open(peer, class)
                            .await
                            .map(TokioIo::new)
                            .map_err(std::io::Error::other)
                    }
                });
                Endpoint::from_static("http://member.mesh")
                    .initial_stream_window_size(1024 * 1024)
                    .initial_connection_window_size(4 * 1024 * 1024)
                    .connect_with_connector_lazy(connector)
            })
            .clone()
    }
}

/// Runs one unary call under a deadline and names the peer in its error.
pub async fn call<T>(
    peer: MemberId,
    deadline: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, RpcError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(from_status(peer, &status)),
        Err(_) => Err(RpcError::Timeout {
            peer: peer.short(),
            waited_ms: deadline.as_millis() as u64,
        }),
    }
}

/// Tells apart what was never sent from what was refused.
pub fn from_status(peer: MemberId, status: &tonic::Status) -> RpcError {
    let message = match std::error::Error::source(status) {
        Some(source) => format!("{}: {source}", status.message()),
        None => status.message().to_owned(),
    };
    match connect_error(status) {
        Some(refusal) if status.code() == tonic::Code::Unavailable => RpcError::Unreachable {
            peer: peer.short(),
            message,
            refusal,
        },
        _ => RpcError::Refused {
            peer: peer.short(),
            code: format!("{:?}", status.code()),
            message,
        },
    }
}

/// Whether a stream to the peer could not even be opened, and how the peer refused it. tonic wraps the connector's
/// error several times over.
fn connect_error(status: &tonic::Status) -> Option<Option<Refusal>> {
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let mesh = error
            .downcast_ref::<MeshError>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(mesh) = mesh {
            return Some(mesh.refusal());
        }
        next = error.source();
    }
    None
}
