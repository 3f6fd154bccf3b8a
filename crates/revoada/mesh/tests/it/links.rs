//! Connections between admitted members.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use revoada_mesh::{AddressSource, BindError, Mesh, MeshConfig, MeshError, QuicMesh, StreamClass};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Options, TestClock, TestTrust, ask, echo, eventually, identity, pair, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dial_at_once_and_keep_one_connection() {
    for round in 0..2u8 {
        let (a, b) = pair();
        echo(&a);
        echo(&b);
        let (x, y) = tokio::join!(
            a.mesh.open(b.id(), StreamClass::Rpc),
            b.mesh.open(a.id(), StreamClass::Rpc)
        );
        // Streams of the connection that loses still end well.
        assert_eq!(ask(x.unwrap(), b"abc").await.unwrap(), b"cba", "round {round}");
        assert_eq!(ask(y.unwrap(), b"def").await.unwrap(), b"fed", "round {round}");
        eventually("one connection", || {
            a.mesh.open_connections() == 1 && b.mesh.open_connections() == 1
        })
        .await;
        assert!(a.connected(b.id()) && b.connected(a.id()));
        let again = within("reuse", a.mesh.open(b.id(), StreamClass::Api)).await.unwrap();
        assert_eq!(ask(again, b"xyz").await.unwrap(), b"zyx");
        // A dial that the peer's connection overtook may end only now; what it brought goes as well.
        eventually("still one connection", || a.mesh.open_connections() == 1).await;
        tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classes_and_large_streams_arrive() {
    let (a, b) = pair();
    for class in StreamClass::ALL {
        let mut out = a.mesh.open(b.id(), class).await.unwrap();
        out.write_all(b"x").await.unwrap();
        let incoming = within("stream", b.mesh.accept()).await.unwrap();
        assert_eq!((incoming.class, incoming.peer), (class, a.id()));
    }
    let mut out = a.mesh.open(b.id(), StreamClass::Snapshot).await.unwrap();
    let mut incoming = within("stream", b.mesh.accept()).await.unwrap();
    let total: usize = 24 << 20;
    let writer = tokio::spawn(async move {
        let chunk: Vec<u8> = (0..=255u8).cycle().take(64 << 10).collect();
        for _ in 0..total / chunk.len() {
            out.write_all(&chunk).await.unwrap();
        }
        out.shutdown().await.unwrap();
        out
    });
    let mut read = 0;
    let mut buffer = vec![0; 128 << 10];
    let started = std::time::Instant::now();
    loop {
        let n = within("bytes", incoming.stream.read(&mut buffer)).await.unwrap();
        if n == 0 {
            break;
        }
        assert_eq!(buffer[0], (read % 256) as u8);
        read += n;
    }
    println!("{total} bytes in {:?}", started.elapsed());
    assert_eq!(read, total);
    drop(writer.await.unwrap());
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_peer_is_found_at_its_new_address() {
    let (a, b) = pair();
    echo(&a);
    let stream = a.mesh.open(b.id(), StreamClass::Rpc).await.unwrap();
    // Dies without a word: the new process has another port and address.
    let old = b.mesh.local_addr();
    b.mesh.shutdown().await;
    drop((stream, b));
    let mut options = Options::new(2, &[1, 2]);
    options.listen = "127.0.0.2:0";
    options.boot = 99;
    let b = options.start();
    echo(&b);
    assert_ne!(b.mesh.local_addr(), old);
    eventually("lost", || !a.connected(b.id())).await;
    // The new address comes while the old one is being tried.
    let opening = {
        let (mesh, id) = (a.mesh.clone(), b.id());
        tokio::spawn(async move { mesh.open(id, StreamClass::Rpc).await })
    };
    eventually("dialling", || a.mesh.open_connections() > 0).await;
    let started = std::time::Instant::now();
    a.mesh.update_addresses(b.id(), vec![b.mesh.local_addr()]);
    let stream = within("reconnect", opening).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_millis(1_500));
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    // The restarted one learned from where it was dialled.
    let stream = within("other way", b.mesh.open(a.id(), StreamClass::Rpc))
        .await
        .unwrap();
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

/// As after kill -9: the old process says nothing, the new one has the same port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_noticed_through_the_restarted_process() {
    let a = Options::new(1, &[1, 2]).start();
    let doomed = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let b = {
        let _inside = doomed.enter();
        Options::new(2, &[1, 2]).start()
    };
    a.knows(&b);
    let stream = within("connect", a.mesh.open(b.id(), StreamClass::Rpc)).await.unwrap();
    let address = b.mesh.local_addr();
    drop(b);
    doomed.shutdown_background();

    let mut options = Options::new(2, &[1, 2]);
    options.boot = 99;
    options.listen_at = Some(address);
    let started = std::time::Instant::now();
    let b = options.start_when_free().await;
    echo(&b);
    // The stateless reset comes with the next keep-alive, long before the idle timeout.
    assert!(within("reset", ask(stream, b"abc")).await.is_err());
    assert!(
        started.elapsed() < Duration::from_millis(2_000),
        "{:?}",
        started.elapsed()
    );
    let stream = within("connect", a.mesh.open(b.id(), StreamClass::Rpc)).await.unwrap();
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_peer_fails_fast_in_backoff() {
    let a = Options::new(1, &[1, 2]).start();
    let b = identity(2).id();
    let none = a.mesh.open(b, StreamClass::Raft).await.unwrap_err();
    assert!(matches!(none, MeshError::NoAddress { .. }), "{none}");
    a.mesh.update_addresses(b, vec!["127.0.0.1:9".parse().unwrap()]);
    let started = std::time::Instant::now();
    let error = a.mesh.open(b, StreamClass::Raft).await.unwrap_err();
    assert!(matches!(error, MeshError::Unreachable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_millis(3_200));
    let started = std::time::Instant::now();
    let error = a.mesh.open(b, StreamClass::Raft).await.unwrap_err();
    assert!(matches!(error, MeshError::Backoff { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_millis(100));
    a.mesh.shutdown().await;
    let closed = a.mesh.open(b, StreamClass::Raft).await.unwrap_err();
    assert!(matches!(closed, MeshError::Closed), "{closed}");
    assert!(a.mesh.accept().await.is_none() && a.mesh.gossip_recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_stay_connected_when_asked_to() {
    let (mut first, mut second) = (Options::new(1, &[1, 2]), Options::new(2, &[1, 2]));
    first.keep_connected = true;
    second.keep_connected = true;
    let (a, b) = (first.start(), second.start());
    a.knows(&b);
    eventually("connected", || a.connected(b.id()) && b.connected(a.id())).await;
    let status = &a.mesh.peers()[0];
    assert_eq!(status.address, Some(b.mesh.local_addr()));
    assert!(status.rtt_ms.is_some() && status.last_seen.is_some());
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

/// A socket bound to the IPv6 wildcard takes IPv4 too, and addresses come out unmapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dual_stack_member_is_reached_over_ipv4() {
    let mut options = Options::new(1, &[1, 2]);
    options.listen = "[::]:0";
    let (a, b) = (options.start(), Options::new(2, &[1, 2]).start());
    echo(&b);
    let over_ipv4: SocketAddr = ([127, 0, 0, 1], a.mesh.local_addr().port()).into();
    b.mesh.add_address(a.id(), over_ipv4, AddressSource::Given);
    within("connect", b.mesh.open(a.id(), StreamClass::Rpc)).await.unwrap();
    eventually("connected", || a.connected(b.id())).await;
    assert_eq!(a.mesh.peers()[0].address, Some(b.mesh.local_addr()));
    let stream = within("other way", a.mesh.open(b.id(), StreamClass::Rpc))
        .await
        .unwrap();
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test]
async fn bind_errors_name_the_address() {
    let a = Options::new(1, &[1]).start();
    let taken = a.mesh.local_addr();
    let bind = |listen: &str| {
        let trust = Arc::new(TestTrust::default());
        let clock = Arc::new(TestClock::default());
        QuicMesh::bind(MeshConfig::new(identity(3), listen.parse().unwrap(), trust, clock, 1))
            .err()
            .unwrap()
    };
    let error = bind(&taken.to_string());
    assert!(
        matches!(error, BindError::InUse { address } if address == taken),
        "{error}"
    );
    assert!(error.to_string().contains(&taken.to_string()));
    let error = bind("203.0.113.77:0");
    assert!(matches!(error, BindError::NotAvailable { .. }), "{error}");
    a.mesh.shutdown().await;
}
