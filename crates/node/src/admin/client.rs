//! The asking side of the local socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use revoada_core::chain::Bundle;
use revoada_core::formation::Formation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::api::{
    Failure, FailureKind, FullStatus, KubeconfigRequest, RecoverReply, RoleRequest, TicketReply, TicketRequest,
};
use super::socket::{SOCKET_NAME, ShortPath};
use super::wire::{self, ANSWER_BYTES_MAX, ExpelBody, KubeconfigBody, RecoverBody, RoleBody};
use crate::output::CommandError;

/// How long what is only looked up may take.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// How long what changes the cluster may take; the member itself gives up earlier.
const CHANGE_DEADLINE: Duration = Duration::from_secs(130);

/// Why the member could not be asked, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No such directory.
    #[error("there is no data directory {data_dir}", data_dir = data_dir.display())]
    NoDataDir {
        /// The directory.
        data_dir: PathBuf,
    },
    /// Nobody listens.
    #[error("no engenho runs with the data directory {data_dir}", data_dir = data_dir.display())]
    NotRunning {
        /// The directory.
        data_dir: PathBuf,
    },
    /// Not the owner.
    #[error("no permission to use the data directory {data_dir}", data_dir = data_dir.display())]
    NoPermission {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The connection broke.
    #[error("the member in {data_dir} could not be asked: {reason}", data_dir = data_dir.display())]
    Broken {
        /// The directory.
        data_dir: PathBuf,
        /// What happened.
        reason: String,
    },
    /// It answered that it did not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::NoDataDir { .. } => Self::failed(
                message,
                "start a member here with `engenho up` or `engenho join`, or name its directory with --data-dir",
            ),
            ClientError::NotRunning { .. } => Self::failed(
                message,
                "start it with `engenho up`, or name the directory of a running member with --data-dir",
            ),
            ClientError::NoPermission { .. } => Self::new(
                FailureKind::Refused,
                message,
                "run this as the user that runs engenho, or as root",
            ),
            ClientError::Broken { .. } => Self::failed(message, "try again; if it goes on, the member's log says more"),
            ClientError::Failed(failure) => failure.into(),
        }
    }
}

/// Asks the member that runs with one data directory. Each request has a connection of its own, so a client may be
/// kept while the member restarts.
#[derive(Debug, Clone)]
pub struct Client {
    data_dir: PathBuf,
}

impl Client {
    /// A client, once somebody answers there.
    pub async fn connect(data_dir: &Path) -> Result<Self, ClientError> {
        let client = Self::new(data_dir);
        client.stream().await?;
        Ok(client)
    }

    /// A client for a member that may not run yet.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_path_buf(),
        }
    }

    async fn stream(&self) -> Result<UnixStream, ClientError> {
        let data_dir = self.data_dir.clone();
        let connected = async { UnixStream::connect(ShortPath::new(&self.data_dir, SOCKET_NAME)?.path()).await };
        let error = match tokio::time::timeout(READ_DEADLINE, connected).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => return Err(self.broken("it accepts no connection".into())),
        };
        Err(match error.kind() {
            io::ErrorKind::NotFound if !self.data_dir.exists() => ClientError::NoDataDir { data_dir },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning { data_dir },
            io::ErrorKind::PermissionDenied => ClientError::NoPermission { data_dir },
            _ => self.broken(error.to_string()),
        })
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken {
            data_dir: self.data_dir.clone(),
            reason,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Bytes, deadline: Duration) -> Result<Bytes, ClientError> {
        let stream = self.stream().await?;
        let exchange = async {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(http::header::HOST, "engenho")
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(Full::new(body))?;
            let answer = async {
                let response = sender.send_request(request).await?;
                let status = response.status();
                let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body?.to_bytes()))
            };
            let mut answer = std::pin::pin!(answer);
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                // The connection may end in the moment in which the answer is complete.
                _ = connection => answer.await,
            }
        };
        let (status, body) = match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.broken(error.to_string())),
            Err(_) => return Err(self.broken(format!("no answer within {} s", deadline.as_secs()))),
        };
        if status == StatusCode::OK {
            return Ok(body);
        }
        match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => Err(failure.into()),
            Err(_) => Err(self.broken(format!("it answered {status}"))),
        }
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Bytes, ClientError> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| self.broken(error.to_string()))
    }

    fn decode<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ClientError> {
        let reason = |error| format!("its answer cannot be read ({error}): it may be of another version");
        serde_json::from_slice(body).map_err(|error| self.broken(reason(error)))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::GET, path, Bytes::new(), READ_DEADLINE).await?;
        self.decode(&body)
    }

    async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        let body = self
            .call(Method::POST, path, self.encode(body)?, CHANGE_DEADLINE)
            .await?;
        self.decode(&body)
    }

    /// See [`super::api::AdminApi::status`].
    pub async fn status(&self) -> Result<FullStatus, ClientError> {
        self.get(wire::STATUS).await
    }

    /// See [`super::api::AdminApi::ticket`].
    pub async fn ticket(&self, request: &TicketRequest) -> Result<TicketReply, ClientError> {
        self.post(wire::TICKETS, request).await
    }

    /// See [`super::api::AdminApi::formation`].
    pub async fn formation(&self) -> Result<Formation, ClientError> {
        self.get(wire::FORMATION).await
    }

    /// See [`super::api::AdminApi::set_formation`].
    pub async fn set_formation(&self, formation: &Formation) -> Result<(), ClientError> {
        let body = self.encode(formation)?;
        let answer = self.call(Method::PUT, wire::FORMATION, body, CHANGE_DEADLINE).await?;
        self.decode(&answer)
    }

    /// See [`super::api::AdminApi::role`].
    pub async fn role(&self, member: &str, request: RoleRequest) -> Result<(), ClientError> {
        let member = member.to_owned();
        self.post(wire::ROLE, &RoleBody { member, request }).await
    }

    /// See [`super::api::AdminApi::leave`].
    pub async fn leave(&self) -> Result<(), ClientError> {
        self.post(wire::LEAVE, &()).await
    }

    /// See [`super::api::AdminApi::expel`].
    pub async fn expel(&self, member: &str, reason: &str) -> Result<(), ClientError> {
        let (member, reason) = (member.to_owned(), reason.to_owned());
        self.post(wire::EXPEL, &ExpelBody { member, reason }).await
    }

    /// See [`super::api::AdminApi::chain`].
    pub async fn chain(&self) -> Result<Bundle, ClientError> {
        let body = self.call(Method::GET, wire::CHAIN, Bytes::new(), READ_DEADLINE).await?;
        Bundle::from_json(&body).map_err(|error| self.broken(format!("its chain cannot be read: {error}")))
    }

    /// See [`super::api::AdminApi::kubeconfig`].
    pub async fn kubeconfig(&self, request: &KubeconfigRequest) -> Result<String, ClientError> {
        let KubeconfigBody { kubeconfig } = self.post(wire::KUBECONFIG, request).await?;
        Ok(kubeconfig)
    }

    /// See [`super::api::AdminApi::recovery_plan`].
    pub async fn recovery_plan(&self, force: bool) -> Result<RecoverReply, ClientError> {
        self.post(wire::RECOVERY_PLAN, &RecoverBody { force }).await
    }

    /// See [`super::api::AdminApi::recover`].
    pub async fn recover(&self, force: bool) -> Result<RecoverReply, ClientError> {
        self.post(wire::RECOVERY, &RecoverBody { force }).await
    }
}
