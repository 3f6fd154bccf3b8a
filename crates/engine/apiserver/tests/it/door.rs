//! The door over real TLS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engenho_apiserver::body::{Body, full};
use engenho_apiserver::door::PeerCertificate;
use engenho_apiserver::{
    Anonymous, ApiServer, ClientRoots, Door, DoorDeps, DoorOptions, FrontProxy, Identity, Observers, RemoteApi,
    RemoteError, Router, Target, TokenAuthenticator, TokenError,
};
use engenho_authn::Accepted;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use revoada_core::consensus::ProposeError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::harness::{Fixed, World};

struct Local(ApiServer, Option<Arc<dyn RemoteApi>>);

impl Router for Local {
    fn target(&self) -> Target {
        Target::Local(self.0.clone())
    }

    fn others(&self) -> Option<Arc<dyn RemoteApi>> {
        self.1.clone()
    }
}

/// Another replica, which knows whom it answers.
struct Another;

#[async_trait]
impl RemoteApi for Another {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, RemoteError> {
        let who = request.headers()["x-engenho-user"].to_str().unwrap().to_owned();
        if request.uri().path().ends_with("lost") {
            return Err(RemoteError::Nobody {
                reason: "nobody".into(),
                missing: Vec::new(),
            });
        }
        Ok(Response::new(full(format!("{who} reads {}", request.uri()))))
    }
}

pub struct Nobody;

impl Router for Nobody {
    fn target(&self) -> Target {
        Target::Unavailable {
            reason: "no replica".into(),
            missing: vec!["web-2".into()],
        }
    }

    fn others(&self) -> Option<Arc<dyn RemoteApi>> {
        None
    }
}

struct OneToken;

#[async_trait]
impl TokenAuthenticator for OneToken {
    async fn authenticate(&self, token: &str, _: &[String]) -> Result<Accepted, TokenError> {
        if token == "good" {
            let identity = Identity {
                user: "bot".into(),
                ..Identity::default()
            };
            return Ok(Accepted {
                identity,
                ..Accepted::default()
            });
        }
        Err(TokenError::Unknown)
    }
}

#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

pub struct Authority {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        let der = params.self_signed(&key).expect("a certificate").der().clone();
        Self {
            der,
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self, name: &str, group: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".into()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let der = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate")
            .der()
            .clone();
        (der, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

struct Listening {
    address: std::net::SocketAddr,
    authority: Authority,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn door(router: Arc<dyn Router>) -> (Door, Authority) {
    door_with(router, None, Anonymous::Everywhere, Observers::default())
}

/// A door that nobody passes without credentials.
pub fn observed_door(router: Arc<dyn Router>, observers: Observers) -> (Door, Authority) {
    door_with(router, None, Anonymous::Nowhere, observers)
}

fn door_with(
    router: Arc<dyn Router>,
    front_proxy: Option<FrontProxy>,
    anonymous: Anonymous,
    observers: Observers,
) -> (Door, Authority) {
    let authority = Authority::new();
    let (der, key) = authority.leaf("apiserver", "x");
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
    let deps = DoorDeps {
        certificates: Arc::new(OneCertificate(Arc::new(CertifiedKey::new(vec![der], key)))),
        client_roots: Arc::new(ClientRoots::new([authority.der.as_ref()]).expect("roots")),
        front_proxy,
        tokens: Arc::new(OneToken),
        router,
        clock: Arc::new(Fixed),
        observers,
    };
    let options = DoorOptions {
        anonymous,
        drain_timeout: Duration::from_secs(1),
        ..DoorOptions::default()
    };
    (Door::new(deps, options).expect("a door"), authority)
}

async fn listen(router: Arc<dyn Router>) -> Listening {
    let (door, authority) = door(router);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { door.serve(listener, stop).await }
    });
    Listening {
        address,
        authority,
        stop,
        task,
    }
}

impl Listening {
    async fn get(
        &self,
        client: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
        headers: &str,
        body: &str,
    ) -> String {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.der.clone()).expect("a root");
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client {
            Some((der, key)) => builder.with_client_auth_cert(vec![der], key).expect("a certificate"),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("a handshake");
        let head = format!(
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(body.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        let _ = read.expect("in time");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

const REVIEW: &str = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;

#[tokio::test]
async fn credentials_become_identities() {
    let w = World::new().await;
    let door = listen(Arc::new(Local(w.api.clone(), None))).await;
    let alice = door.get(Some(door.authority.leaf("alice", "devs")), "", REVIEW).await;
    assert!(
        alice.starts_with("HTTP/1.1 201") && alice.contains("alice") && alice.contains("devs"),
        "{alice}"
    );
    let bot = door.get(None, "authorization: Bearer good\r\n", REVIEW).await;
    assert!(bot.contains("\"bot\"") && bot.contains("system:authenticated"), "{bot}");
    let wrong = door.get(None, "authorization: Bearer bad\r\n", REVIEW).await;
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    let forged = door
        .get(
            None,
            "x-engenho-user: root\r\nx-engenho-group: system:masters\r\n",
            REVIEW,
        )
        .await;
    assert!(
        forged.starts_with("HTTP/1.1 403") && forged.contains("system:anonymous"),
        "{forged}"
    );
    let stranger = Authority::new().leaf("alice", "devs");
    let foreign = door.get(Some(stranger), "", REVIEW).await;
    assert!(foreign.starts_with("HTTP/1.1 401"), "{foreign}");
    door.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), door.task)
        .await
        .expect("drained")
        .expect("no panic");
}

#[tokio::test]
async fn garbage_and_nobody_get_answers() {
    let door = listen(Arc::new(Nobody)).await;
    let mut raw = TcpStream::connect(door.address).await.expect("a connection");
    raw.write_all(&[0xff; 4096]).await.expect("sent");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), raw.read_to_end(&mut rest))
        .await
        .expect("closed in time");
    let answer = door.get(None, "", REVIEW).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("web-2"),
        "{answer}"
    );
    let long = door.get(None, "x: y\r\n", &"a".repeat((3 << 20) + 10)).await;
    assert!(long.starts_with("HTTP/1.1 413"), "{}", &long[..long.len().min(200)]);
}

#[tokio::test]
async fn a_read_that_the_local_replica_cannot_vouch_for_goes_to_another() {
    let w = World::new().await;
    let (door, authority) = door(Arc::new(Local(w.api.clone(), Some(Arc::new(Another)))));
    let (admin, _) = authority.leaf("root", "system:masters");
    let admin = PeerCertificate::new(vec![admin]);
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("x-engenho-take-stale", "1").body(full("")).unwrap();
        let response = door.handle(request, Some(&admin)).await;
        let (head, body) = response.into_parts();
        let internal = head.headers.keys().find(|name| name.as_str().starts_with("x-engenho-"));
        assert_eq!(internal, None, "{path}");
        let warning = head
            .headers
            .get("warning")
            .map(|text| text.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        (
            head.status.as_u16(),
            warning,
            String::from_utf8_lossy(&body).into_owned(),
        )
    };
    let (code, warning, body) = ask("GET", "/api/v1/namespaces/default").await;
    assert_eq!((code, warning), (200, None), "{body}");
    // Timeouts of the read index, though there is a quorum.
    w.consensus.fail_with(Some(ProposeError::Unknown { waited_ms: 1 }));
    let (code, warning, body) = ask("GET", "/api/v1/namespaces/default?pretty=1").await;
    assert_eq!((code, warning), (200, None));
    assert_eq!(body, "root reads /api/v1/namespaces/default?pretty=1");
    // When nobody knows more, what there is has to do, and says so.
    let (code, warning, body) = ask("GET", "/api/v1/namespaces/lost").await;
    assert_eq!(code, 404, "{body}");
    assert!(warning.is_some_and(|text| text.contains("stale read")));
    let eviction = ask("POST", "/api/v1/namespaces/default/pods/a/portforward").await;
    assert_eq!(eviction.0, 503, "{eviction:?}");
}

/// Another member, which is sent what this one cannot judge.
struct Judges;

#[async_trait]
impl RemoteApi for Judges {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, RemoteError> {
        let seen: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        Ok(Response::new(full(seen.join("; "))))
    }
}

struct Elsewhere;

impl Router for Elsewhere {
    fn target(&self) -> Target {
        Target::Remote(Arc::new(Judges))
    }

    fn others(&self) -> Option<Arc<dyn RemoteApi>> {
        None
    }
}

async fn answer(
    door: &Door,
    headers: &[(&str, &str)],
    path: &str,
    certificate: Option<&PeerCertificate>,
) -> (u16, String) {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = door.handle(request.body(full("")).unwrap(), certificate).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_member_without_a_replica_leaves_tokens_to_others() {
    let (door, _) = door(Arc::new(Elsewhere));
    let sent = async |token: &str| {
        let headers = [
            ("authorization", token),
            ("x-engenho-user", "root"),
            ("x-remote-user", "root"),
        ];
        answer(&door, &headers, "/api", None).await.1
    };
    assert_eq!(sent("Bearer unknown").await, "authorization: Bearer unknown");
    let known = sent("Bearer good").await;
    assert_eq!(known, "x-engenho-user: bot; x-engenho-group: system:authenticated");
    assert!(sent("Basic YTpi").await.contains("system:anonymous"));
}

#[tokio::test]
async fn proxies_name_users() {
    let proxies = Authority::new();
    let front_proxy = FrontProxy {
        roots: Arc::new(ClientRoots::new([proxies.der.as_ref()]).expect("roots")),
        allowed_names: vec!["front".into()],
    };
    let nowhere = Anonymous::Paths(["/livez".to_owned()].into());
    let (door, authority) = door_with(Arc::new(Elsewhere), Some(front_proxy), nowhere, Observers::default());
    let peer = |leaf: (CertificateDer<'static>, PrivateKeyDer<'static>)| PeerCertificate::new(vec![leaf.0]);
    let (front, other) = (peer(proxies.leaf("front", "x")), peer(proxies.leaf("other", "x")));
    let alice = peer(authority.leaf("alice", "devs"));
    let ask = async |headers: &[(&str, &str)], path: &str, certificate: Option<&PeerCertificate>| {
        answer(&door, headers, path, certificate).await
    };
    let jane = [
        ("x-remote-user", "jane"),
        ("x-remote-group", "ops"),
        ("x-remote-extra-a", "b"),
    ];
    let (code, seen) = ask(&jane, "/api", Some(&front)).await;
    assert_eq!(code, 200);
    assert_eq!(
        seen,
        "x-engenho-user: jane; x-engenho-group: ops; x-engenho-group: system:authenticated; x-engenho-extra: a=b"
    );
    assert_eq!(ask(&jane, "/api", Some(&other)).await.0, 401);
    assert!(
        ask(&jane, "/api", Some(&alice))
            .await
            .1
            .contains("x-engenho-user: alice")
    );
    assert_eq!(ask(&jane, "/api", None).await.0, 401, "anonymous only at one path");
    assert!(ask(&jane, "/livez", None).await.1.contains("system:anonymous"));
    assert_eq!(ask(&[], "/api", Some(&front)).await.0, 401, "it names nobody");
}
