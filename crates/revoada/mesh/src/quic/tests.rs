//! A peer with an admitted key that breaks the protocol after the handshake.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use quinn::Connection;
use revoada_core::ClusterId;
use revoada_core::env::Clock;

use super::dial::Dialler;
use super::*;
use crate::identity::Identity;
use crate::trust::{LocalHello, Standing, Trust};

struct Everyone;

impl Trust for Everyone {
    fn standing(&self, _: MemberId) -> Standing {
        Standing::Admitted
    }
    fn members(&self) -> Vec<MemberId> {
        vec![]
    }
    fn hello(&self) -> LocalHello {
        let (name, version) = ("n".into(), "v".into());
        LocalHello {
            cluster: ClusterId([1; 32]),
            epoch: 0,
            name,
            version,
            addresses: vec![],
        }
    }
    fn evidence(&self) -> Bytes {
        Bytes::new()
    }
    fn on_evidence(&self, _: MemberId, _: u64, _: Bytes) {}
}

impl Clock for Everyone {
    fn unix_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

fn mesh(secret: u8) -> QuicMesh {
    let listen: SocketAddr = ([127, 0, 0, 1], 0).into();
    let identity = Identity::from_secret(&[secret; 32]);
    let mut config = MeshConfig::new(identity, listen, Arc::new(Everyone), Arc::new(Everyone), 1);
    config.discovery = None;
    QuicMesh::bind(config).unwrap()
}

async fn handshake(from: &QuicMesh, to: &QuicMesh, alpn: &[u8]) -> Result<Connection, MeshError> {
    let inner = &from.inner;
    let endpoint = inner.endpoint.read().clone().unwrap();
    let dialler = Dialler {
        endpoint: &endpoint,
        tls: &inner.tls,
        transport: inner.transport.clone(),
    };
    dialler.connect(Some(to.inner.me()), to.local_addr(), alpn).await
}

async fn refusal(connection: &Connection) -> Option<Refusal> {
    let closed = tokio::time::timeout(Duration::from_secs(8), connection.closed())
        .await
        .unwrap();
    match closed {
        quinn::ConnectionError::ApplicationClosed(close) => Refusal::from_code(close.error_code.into_inner()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_garbage_hello_is_refused() {
    let (a, b) = (mesh(1), mesh(2));
    for (garbage, expected) in [
        (&[0xff; 64][..], Refusal::Protocol),
        (&[0, 0, 0, 0], Refusal::Protocol),
        (&[0, 0, 0, 3, 1, 0xff, 0xff], Refusal::Protocol),
        (&[0, 0, 0, 2, 9, 9], Refusal::Version),
    ] {
        let connection = handshake(&a, &b, tls::ALPN_MESH).await.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(garbage).await.unwrap();
        assert_eq!(refusal(&connection).await, Some(expected), "{garbage:?}");
    }
    assert!(b.inner.peers.lock().values().all(|peer| peer.link().is_none()));
    tokio::join!(a.shutdown(), b.shutdown());
}

#[tokio::test]
async fn another_protocol_is_a_version_error() {
    let (a, b) = (mesh(1), mesh(2));
    let error = handshake(&a, &b, b"engenho-mesh/999").await.unwrap_err();
    assert!(matches!(error, MeshError::Version { .. }), "{error}");
    tokio::join!(a.shutdown(), b.shutdown());
}

#[tokio::test]
async fn a_copy_of_the_identity_is_refused() {
    let (a, copy) = (mesh(1), mesh(1));
    let connection = handshake(&a, &copy, tls::ALPN_MESH).await.unwrap();
    assert_eq!(refusal(&connection).await, Some(Refusal::Protocol));
    tokio::join!(a.shutdown(), copy.shutdown());
}

#[tokio::test]
async fn a_stream_of_no_known_class_is_reset() {
    let (a, b) = (mesh(1), mesh(2));
    b.inner
        .add_addresses(a.inner.me(), [a.local_addr()], AddressSource::Given);
    let link = b.inner.connect(a.inner.me()).await.unwrap();
    let (mut send, mut recv) = link.connection.open_bi().await.unwrap();
    send.write_all(&[0xee, 1, 2, 3]).await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(8), recv.read_to_end(10))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("reset"), "{error}");
    assert!(link.is_open());
    tokio::join!(a.shutdown(), b.shutdown());
}
