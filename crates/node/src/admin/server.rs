//! The answering side of the local socket.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{AdminApi, Failure, FailureKind};
use super::socket::{SOCKET_NAME, ShortPath};
use super::wire::{self, ExpelBody, KubeconfigBody, REQUEST_BYTES_MAX, RecoverBody, RoleBody};

/// How many commands may be connected at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send its request.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// How long a request may take: a recovery waits up to 30 s for an election and as long for its block.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// How long open requests may go on once the member stops; `leave` is answered in this time.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody answers there.
    #[error("another engenho answers on {path}: stop it, or choose another data directory with --data-dir", path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("the local socket {path} cannot be made", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Opens `data_dir`'s socket, in place of one that a dead process left. The future that is returned answers requests
/// until `stop`, lets open ones end, and removes the socket.
pub async fn serve(
    data_dir: &Path,
    api: Arc<dyn AdminApi>,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static + use<>, ServeError> {
    let path = data_dir.join(SOCKET_NAME);
    let (listener, inode) = open(data_dir).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::InUse { path: path.clone() },
        _ => ServeError::Io {
            path: path.clone(),
            source,
        },
    })?;
    Ok(async move {
        accept(listener, api, stop).await;
        // Not if a successor has replaced it already.
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == inode) {
            let _ = std::fs::remove_file(&path);
        }
    })
}

/// Binds under a name of its own and renames, so that the socket appears with its final mode and replaces a stale one
/// in one step.
async fn open(data_dir: &Path) -> io::Result<(UnixListener, u64)> {
    let place = ShortPath::new(data_dir, SOCKET_NAME)?;
    if UnixStream::connect(place.path()).await.is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let name = format!(".{SOCKET_NAME}.{}", std::process::id());
    let temporary = ShortPath::new(data_dir, &name)?;
    match std::fs::remove_file(temporary.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(temporary.path())?;
    let placed = std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::symlink_metadata(temporary.path()))
        .and_then(|metadata| std::fs::rename(temporary.path(), place.path()).map(|()| metadata.ino()));
    match placed {
        Ok(inode) => Ok((listener, inode)),
        Err(error) => {
            let _ = std::fs::remove_file(temporary.path());
            Err(error)
        }
    }
}

async fn accept(listener: UnixListener, api: Arc<dyn AdminApi>, stop: CancellationToken) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let next = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) if is_trusted(&stream) => {
                let (api, stop) = (Arc::clone(&api), stop.clone());
                connections.spawn(async move {
                    let _permit = permit;
                    converse(stream, api, stop).await;
                });
            }
            Ok(_) => tracing::warn!("a process of another user tried the local socket"),
            Err(error) => {
                // Out of file descriptors, most likely: trying at once would spin.
                tracing::warn!(%error, "the local socket accepts nobody");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(DRAIN_DEADLINE, connections.wait()).await;
}

/// The mode of the socket says the same; this holds also where the data directory is on a file system without modes.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

async fn converse(stream: UnixStream, api: Arc<dyn AdminApi>, stop: CancellationToken) {
    let service = hyper::service::service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(respond(request, api).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_DEADLINE)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a local command went away");
    }
}

async fn respond(request: Request<Incoming>, api: Arc<dyn AdminApi>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = async {
        let body = Limited::new(body, REQUEST_BYTES_MAX);
        let body = match tokio::time::timeout(READ_DEADLINE, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                return Err(usage(format!(
                    "the request is broken or longer than {REQUEST_BYTES_MAX} bytes"
                )));
            }
            Err(_) => return Err(usage("the request did not arrive in time".into())),
        };
        let path = head.uri.path();
        tokio::time::timeout(ANSWER_DEADLINE, route(&head.method, path, &body, api.as_ref()))
            .await
            .unwrap_or_else(|_| {
                Err(Failure {
                    kind: FailureKind::Failed,
                    message: "it took too long and may or may not have happened: look at `engenho status`".into(),
                })
            })
    };
    match answer.await {
        Ok(body) => reply(StatusCode::OK, body),
        Err(failure) => {
            let status = match failure.kind {
                FailureKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
                FailureKind::Usage => StatusCode::BAD_REQUEST,
                FailureKind::NoQuorum => StatusCode::SERVICE_UNAVAILABLE,
                FailureKind::Refused => StatusCode::FORBIDDEN,
            };
            reply(status, serde_json::to_vec(&failure).unwrap_or_default().into())
        }
    }
}

fn reply(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn usage(message: String) -> Failure {
    Failure {
        kind: FailureKind::Usage,
        message,
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| usage(format!("the request cannot be read: {error}")))
}

fn write<T: Serialize>(value: &T) -> Result<Bytes, Failure> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Failure {
        kind: FailureKind::Failed,
        message: format!("the answer cannot be encoded: {error}"),
    })
}

async fn route(method: &Method, path: &str, body: &[u8], api: &dyn AdminApi) -> Result<Bytes, Failure> {
    match (method.as_str(), path) {
        ("GET", wire::STATUS) => write(&api.status()),
        ("POST", wire::TICKETS) => write(&api.ticket(read(body)?).await?),
        ("GET", wire::FORMATION) => write(&api.formation()),
        ("PUT", wire::FORMATION) => write(&api.set_formation(read(body)?).await?),
        ("POST", wire::ROLE) => {
            let RoleBody { member, request } = read(body)?;
            write(&api.role(&member, request).await?)
        }
        ("POST", wire::LEAVE) => write(&api.leave().await?),
        ("POST", wire::EXPEL) => {
            let ExpelBody { member, reason } = read(body)?;
            write(&api.expel(&member, &reason).await?)
        }
        ("GET", wire::CHAIN) => api.chain()?.to_json().map(Bytes::from).map_err(|error| Failure {
            kind: FailureKind::Failed,
            message: error.to_string(),
        }),
        ("POST", wire::KUBECONFIG) => {
            let kubeconfig = api.kubeconfig(read(body)?).await?;
            write(&KubeconfigBody { kubeconfig })
        }
        ("POST", wire::RECOVERY_PLAN) => {
            let RecoverBody { force } = read(body)?;
            write(&api.recovery_plan(force)?)
        }
        ("POST", wire::RECOVERY) => {
            let RecoverBody { force } = read(body)?;
            write(&api.recover(force).await?)
        }
        _ => Err(usage(format!(
            "this member knows no {method} {path}: use the engenho of version {} here",
            env!("CARGO_PKG_VERSION")
        ))),
    }
}
