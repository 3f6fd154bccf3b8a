//! Client and server of the local socket, with a member that only remembers what it was asked.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use revoada_core::chain::Bundle;
use revoada_core::formation::Formation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::{
    AdminApi, Failure, FailureKind, FullStatus, KubeconfigRequest, RecoverReply, RoleRequest, TicketReply,
    TicketRequest,
};
use super::client::{Client, ClientError};
use super::socket::SOCKET_NAME;
use super::{is_answered, serve};
use crate::output::{CommandError, example_bundle, example_status};

#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    formation: Mutex<Formation>,
}

impl Fake {
    fn note(&self, text: String) {
        self.asked.lock().push(text);
    }
}

#[async_trait]
impl AdminApi for Fake {
    fn status(&self) -> FullStatus {
        example_status()
    }

    async fn ticket(&self, request: TicketRequest) -> Result<TicketReply, Failure> {
        let TicketRequest {
            expires_s,
            uses,
            witness,
        } = request;
        self.note(format!("ticket {expires_s} {uses} {witness}"));
        Ok(TicketReply {
            ticket: "engenho1x".into(),
            expires_ms: expires_s * 1_000,
            uses,
        })
    }

    fn formation(&self) -> Formation {
        *self.formation.lock()
    }

    async fn set_formation(&self, formation: Formation) -> Result<(), Failure> {
        *self.formation.lock() = formation;
        Ok(())
    }

    async fn role(&self, member: &str, request: RoleRequest) -> Result<(), Failure> {
        self.note(format!("{request:?} {member}"));
        match member {
            "nobody" => Err(Failure {
                kind: FailureKind::Usage,
                message: "no member is called nobody: see `engenho status`".into(),
            }),
            "slow" => Err(Failure {
                kind: FailureKind::NoQuorum,
                message: "the cluster has no quorum".into(),
            }),
            _ => Ok(()),
        }
    }

    async fn leave(&self) -> Result<(), Failure> {
        self.note("leave".into());
        Ok(())
    }

    async fn expel(&self, member: &str, reason: &str) -> Result<(), Failure> {
        self.note(format!("expel {member} {reason}"));
        Err(Failure {
            kind: FailureKind::Refused,
            message: "it is the last voter".into(),
        })
    }

    fn chain(&self) -> Result<Bundle, Failure> {
        Ok(example_bundle())
    }

    async fn kubeconfig(&self, request: KubeconfigRequest) -> Result<String, Failure> {
        Ok(format!("user: {:?} {:?}\n", request.user, request.groups))
    }

    fn recovery_plan(&self, force: bool) -> Result<RecoverReply, Failure> {
        Ok(RecoverReply {
            keep: vec!["n1".into()],
            lost: vec![format!("{force}")],
            epoch: None,
        })
    }

    async fn recover(&self, force: bool) -> Result<RecoverReply, Failure> {
        self.recovery_plan(force)
            .map(|plan| RecoverReply { epoch: Some(2), ..plan })
    }
}

struct Served {
    fake: Arc<Fake>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(data_dir: &Path) -> Served {
    let (fake, stop) = (Arc::new(Fake::default()), CancellationToken::new());
    let api = Arc::clone(&fake) as Arc<dyn AdminApi>;
    let task = tokio::spawn(serve(data_dir, api, stop.clone()).await.unwrap());
    Served { fake, stop, task }
}

impl Served {
    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn every_request_and_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path()).await;
    let client = Client::connect(dir.path()).await.unwrap();

    let status = client.status().await.unwrap();
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        serde_json::to_value(example_status()).unwrap()
    );
    let request = TicketRequest {
        expires_s: 60,
        uses: 2,
        witness: true,
    };
    assert_eq!(client.ticket(&request).await.unwrap().expires_ms, 60_000);
    let wanted = Formation {
        voters: Some(3),
        ..Formation::default()
    };
    client.set_formation(&wanted).await.unwrap();
    assert_eq!(client.formation().await.unwrap(), wanted);
    client.role("n2", RoleRequest::Drain).await.unwrap();
    client.leave().await.unwrap();
    assert_eq!(client.chain().await.unwrap(), example_bundle());
    let request = KubeconfigRequest {
        user: Some("ana".into()),
        groups: vec!["dev".into()],
        server: None,
    };
    assert_eq!(
        client.kubeconfig(&request).await.unwrap(),
        "user: Some(\"ana\") [\"dev\"]\n"
    );
    assert_eq!(client.recovery_plan(true).await.unwrap().lost, ["true"]);
    assert_eq!(client.recover(false).await.unwrap().epoch, Some(2));

    let code = |error: ClientError| CommandError::from(error).exit_code();
    assert_eq!(code(client.role("nobody", RoleRequest::Promote).await.unwrap_err()), 2);
    assert_eq!(code(client.role("slow", RoleRequest::Demote).await.unwrap_err()), 3);
    let refused = CommandError::from(client.expel("n1", "because \"é\"").await.unwrap_err());
    assert_eq!(
        (refused.exit_code(), refused.message.as_str()),
        (4, "it is the last voter")
    );
    let asked = served.fake.asked.lock().clone();
    assert_eq!(
        asked,
        [
            "ticket 60 2 true",
            "Drain n2",
            "leave",
            "Promote nobody",
            "Demote slow",
            "expel n1 because \"é\""
        ]
    );
    served.end().await;
}

#[tokio::test]
async fn the_socket_is_private_and_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join(SOCKET_NAME);
    let served = start(dir.path()).await;
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(is_answered(dir.path()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    served.end().await;
    assert!(!socket.exists() && !is_answered(dir.path()));
}

#[tokio::test]
async fn a_dead_process_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    // Dropping a listener leaves its file, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap());
    let served = start(dir.path()).await;
    let error = serve(dir.path(), Arc::new(Fake::default()), CancellationToken::new())
        .await
        .err()
        .unwrap();
    assert!(error.to_string().starts_with("another engenho answers on "), "{error}");
    assert!(Client::connect(dir.path()).await.is_ok());
    served.end().await;
}

#[tokio::test]
async fn paths_longer_than_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let deep: PathBuf = dir.path().join("a".repeat(100)).join("b".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let served = start(&deep).await;
    assert!(deep.join(SOCKET_NAME).exists() && is_answered(&deep));
    assert_eq!(
        Client::connect(&deep)
            .await
            .unwrap()
            .status()
            .await
            .unwrap()
            .cluster
            .term,
        4
    );
    served.end().await;
    assert!(!deep.join(SOCKET_NAME).exists());
}

#[tokio::test]
async fn who_is_not_there_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Client::connect(&dir.path().join("none")).await.unwrap_err();
    assert!(matches!(missing, ClientError::NoDataDir { .. }));
    let idle = Client::connect(dir.path()).await.unwrap_err();
    assert!(matches!(idle, ClientError::NotRunning { .. }));
    drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET_NAME)).unwrap());
    let dead = CommandError::from(Client::connect(dir.path()).await.unwrap_err());
    assert!(dead.message.starts_with("no engenho runs with the data directory"));
    assert!(dead.hint.contains("`engenho up`"));
}

async fn raw(data_dir: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(data_dir.join(SOCKET_NAME)).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn garbage_is_answered_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path()).await;
    let garbage = raw(dir.path(), b"\x16\x03\x01 garbage\r\n\r\n").await;
    assert!(garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    let unknown = raw(dir.path(), b"GET /v9 HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n").await;
    assert!(
        unknown.starts_with("HTTP/1.1 400") && unknown.contains("knows no GET /v9"),
        "{unknown}"
    );
    let body = "x".repeat(100_000);
    let large = format!(
        "POST /v1/role HTTP/1.1\r\nHost: e\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let large = raw(dir.path(), large.as_bytes()).await;
    assert!(large.is_empty() || large.starts_with("HTTP/1.1 400"), "{large}");
    let wrong = "{\"member\":\"n1\",\"request\":\"promote\",\"more\":1}";
    let wrong = format!(
        "POST /v1/role HTTP/1.1\r\nHost: e\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{wrong}",
        wrong.len()
    );
    assert!(raw(dir.path(), wrong.as_bytes()).await.contains("unknown field"));
    assert!(served.fake.asked.lock().is_empty());
    served.end().await;
}
