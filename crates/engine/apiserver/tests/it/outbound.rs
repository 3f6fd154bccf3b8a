//! Requests out of the server, over real TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engenho_apiserver::body::{self, full};
use engenho_apiserver::outbound::{
    Call, ClientCertificate, Destination, Https, Outbound, OutboundError, Roots, Tls, call,
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::tls_server::{Shown, TlsServer, authority};

fn to(server: &TlsServer, roots: Roots, server_name: &str) -> Destination {
    Destination {
        host: "127.0.0.1".into(),
        port: server.port,
        tls: Some(Arc::new(Tls {
            roots,
            server_name: server_name.into(),
            client: None,
        })),
    }
}

async fn ask(outbound: &Https, to: &Destination, path: &str) -> Result<Response<Bytes>, OutboundError> {
    let request = Request::post(path)
        .body(Bytes::from_static(b"question"))
        .expect("a request");
    call(
        outbound,
        Call {
            to,
            request,
            timeout: Duration::from_millis(2_000),
            answer_bytes_max: 1000,
        },
    )
    .await
}

#[tokio::test]
async fn answers_come_over_kept_connections_and_are_bounded() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = TlsServer::start(&["hook.ns.svc"], move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let path = request.uri().to_string();
            let host = request.headers()["host"].to_str().expect("text").to_owned();
            let asked = request.into_body().collect().await.expect("a body").to_bytes();
            match path.as_str() {
                "/long" => Response::new(full(vec![b'x'; 2000])),
                "/slow" => std::future::pending().await,
                _ => Response::new(full(format!("{host} {path} {}", asked.len()))),
            }
        }
    })
    .await;
    let outbound = Https::new();
    let there = to(&server, Roots::Bundle(server.ca()), "hook.ns.svc");
    let answer = ask(&outbound, &there, "/a?b=c").await.expect("an answer");
    let wanted = format!("127.0.0.1:{} /a?b=c 8", server.port);
    assert_eq!(
        (answer.status(), answer.body().as_ref()),
        (StatusCode::OK, wanted.as_bytes())
    );
    let long = ask(&outbound, &there, "/long").await;
    assert_eq!(long.unwrap_err(), OutboundError::TooLarge { bytes_max: 1000 });
    let slow = ask(&outbound, &there, "/slow").await;
    assert_eq!(slow.unwrap_err().to_string(), "context deadline exceeded");
}

#[tokio::test]
async fn servers_that_cannot_be_trusted_are_told_apart() {
    let server = TlsServer::start(&["hook.ns.svc", "b.example"], |_| async {
        Response::new(body::empty())
    })
    .await;
    let outbound = Https::new();
    let error = |to: Destination| {
        let outbound = &outbound;
        async move { ask(outbound, &to, "/").await.unwrap_err().to_string() }
    };
    let x509 = "tls: failed to verify certificate: x509: ";
    assert_eq!(
        error(to(&server, Roots::Bundle(server.ca()), "other.ns.svc")).await,
        format!("{x509}certificate is valid for hook.ns.svc, b.example, not other.ns.svc")
    );
    assert_eq!(
        error(to(&server, Roots::Bundle(server.ca()), "127.0.0.1")).await,
        format!("{x509}cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs")
    );
    let (foreign, _) = authority();
    assert_eq!(
        error(to(&server, Roots::Bundle(foreign.into()), "hook.ns.svc")).await,
        format!("{x509}certificate signed by unknown authority")
    );
    assert_eq!(
        error(to(&server, Roots::Bundle(Bytes::from_static(b"no PEM")), "hook.ns.svc")).await,
        "unable to load root certificates: unable to parse bytes as PEM block"
    );
    assert!(
        ask(&outbound, &to(&server, Roots::Unverified, "any"), "/")
            .await
            .is_ok()
    );
    let mut nobody = to(&server, Roots::Unverified, "any");
    nobody.port = 1;
    assert_eq!(error(nobody).await, "dial tcp 127.0.0.1:1: connect: connection refused");
}

#[tokio::test]
async fn a_self_signed_authority_serves_itself_and_sees_the_client() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["self.example".into()]).expect("names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = params.self_signed(&key).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let chain = vec![own.der().clone()];
    let server = TlsServer::serve(own.pem(), chain, private, |request| async move {
        let shown = request.extensions().get::<Shown>().cloned().and_then(|shown| shown.0);
        Response::new(full(shown.unwrap_or_default()))
    })
    .await;
    let (_, issuer) = authority();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    let leaf = params.signed_by(&key, &issuer).expect("a certificate");
    let mut there = to(&server, Roots::Bundle(server.ca()), "self.example");
    if let Some(tls) = &mut there.tls {
        Arc::make_mut(tls).client = Some(ClientCertificate {
            chain_pem: leaf.pem().into(),
            key_pem: key.serialize_pem().into(),
        });
    }
    let answer = ask(&Https::new(), &there, "/").await.expect("an answer");
    assert_eq!(answer.body().as_ref(), leaf.der().as_ref());
}

#[tokio::test]
async fn connections_are_upgraded() {
    let server = TlsServer::start(&["hook.ns.svc"], |mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.expect("a stream"));
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.expect("four bytes");
            stream.write_all(&bytes).await.expect("an echo");
        });
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("connection", "Upgrade".parse().expect("a value"));
        headers.insert("upgrade", "echo".parse().expect("a value"));
        response
    })
    .await;
    let there = to(&server, Roots::Bundle(server.ca()), "hook.ns.svc");
    let request = Request::get("/")
        .header("connection", "Upgrade")
        .header("upgrade", "echo")
        .body(body::empty())
        .expect("a request");
    let mut response = Https::new().send(&there, request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = hyper::upgrade::on(&mut response).await.expect("a stream");
    let mut stream = hyper_util::rt::TokioIo::new(upgraded);
    stream.write_all(b"ping").await.expect("sent");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.expect("an echo");
    assert_eq!(&bytes, b"ping");
}
