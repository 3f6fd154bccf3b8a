//! A TLS server that lives longer than its certificates.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engenho_pki::{ClusterCa, IssuedCertificate, ServingCertificate, ServingNames, renewal_due, renewal_due_at_ms};
use proptest::prelude::*;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

proptest! {
    #[test]
    fn renewal_falls_into_the_last_half_of_a_life(
        start in 0u64..u64::MAX / 2, life in 0u64..u64::MAX / 4, jitter: u64, at in 0u64..u64::MAX / 2,
    ) {
        let due = renewal_due_at_ms(start, start + life, jitter);
        prop_assert!(due >= start + life / 2 && due <= start + life);
        prop_assert!(due >= renewal_due_at_ms(start, start + life, jitter.saturating_add(1)));
        prop_assert_eq!(renewal_due(start, start + life, jitter, at), at < start || at >= due);
    }
}

#[test]
fn renewal_is_due_at_two_thirds() {
    assert_eq!(renewal_due_at_ms(0, 30_000, 0), 20_000);
    assert_eq!(renewal_due_at_ms(0, 30_000, 1_000), 19_000);
    assert_eq!(renewal_due_at_ms(0, 30_000, u64::MAX), 17_000);
    assert!(renewal_due(5, 5, 0, 5));
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64
}

fn leaf(ca: &ClusterCa, lifetime: Duration) -> IssuedCertificate {
    let names = ServingNames::api_server("cluster.local", &[]).expect("names");
    ca.issue_serving("engenho", &names, lifetime, now_ms()).expect("a leaf")
}

async fn echo(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut tls) = acceptor.accept(stream).await else {
                return;
            };
            let mut buffer = [0u8; 64];
            while let Ok(read) = tls.read(&mut buffer).await {
                if read == 0 || tls.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        });
    }
}

struct World {
    ca: ClusterCa,
    serving: Arc<ServingCertificate>,
    address: std::net::SocketAddr,
}

async fn world(lifetime: Duration) -> World {
    let ca = ClusterCa::generate("cluster-1", now_ms()).expect("an authority");
    let serving = Arc::new(ServingCertificate::new(&leaf(&ca, lifetime)).expect("usable"));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(serving.clone());
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(echo(listener, TlsAcceptor::from(Arc::new(config))));
    World { ca, serving, address }
}

impl World {
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate().clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("kubernetes.default.svc").expect("a name");
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        say(&mut tls).await?;
        Ok(tls)
    }
}

async fn say(tls: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    tls.write_all(b"ping").await?;
    let mut answer = [0u8; 4];
    let read = tokio::time::timeout(Duration::from_secs(5), tls.read_exact(&mut answer));
    read.await.map_err(std::io::Error::from)??;
    assert_eq!(&answer, b"ping");
    Ok(())
}

fn shown(tls: &TlsStream<TcpStream>) -> Vec<u8> {
    tls.get_ref().1.peer_certificates().expect("a chain")[0].to_vec()
}

#[tokio::test]
async fn a_server_outlives_its_certificates() {
    let lifetime = Duration::from_secs(3);
    let world = world(lifetime).await;
    let first = leaf(&world.ca, lifetime);
    world.serving.replace(&first).expect("usable");
    let mut open = world.connect().await.expect("connects");
    assert_eq!(shown(&open), first.certificate().to_vec());

    // What the member's rotation does, until the first certificate is over.
    let mut current = first.clone();
    let mut rotations = 0;
    let deadline = Instant::now() + Duration::from_secs(20);
    while now_ms() <= first.not_after_ms() {
        assert!(Instant::now() < deadline, "the first certificate never ended");
        if current.renewal_due(0, now_ms()) {
            current = leaf(&world.ca, lifetime);
            world.serving.replace(&current).expect("usable");
            rotations += 1;
        }
        let new = world.connect().await.expect("a new connection is served at any time");
        assert_eq!(shown(&new), current.certificate().to_vec());
        say(&mut open).await.expect("the open connection stays");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(rotations >= 1);
    say(&mut open)
        .await
        .expect("the open connection outlives its certificate");
}

#[test]
fn a_certificate_with_a_wrong_key_never_replaces_a_good_one() {
    let ca = ClusterCa::generate("cluster-1", now_ms()).expect("an authority");
    let (one, two) = (leaf(&ca, Duration::from_secs(60)), leaf(&ca, Duration::from_secs(60)));
    let mixed = format!("{}{}", one.certificate_pem(), *two.key_pem());
    assert!(IssuedCertificate::from_pem(&mixed).is_err());
}
