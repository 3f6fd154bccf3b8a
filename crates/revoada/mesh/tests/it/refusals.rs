//! Who is refused, and what both sides are told.

use std::sync::atomic::Ordering;

use revoada_core::ClusterId;
use revoada_mesh::{AddressSource, Mesh, MeshError, Refusal, Standing, StreamClass};

use crate::support::{ask, echo, eventually, identity, pair, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expelled_unknown_and_left_are_told_so() {
    for (standing, refusal) in [
        (Standing::Expelled, Refusal::Expelled),
        (Standing::Unknown, Refusal::Unknown),
        (Standing::Left, Refusal::Left),
    ] {
        let (a, b) = pair();
        b.trust.set(a.id(), standing);
        let error = within("refusal", a.mesh.open(b.id(), StreamClass::Raft))
            .await
            .unwrap_err();
        assert_eq!(error.refusal(), Some(refusal), "{error}");
        assert!(matches!(error, MeshError::Refused { .. }), "{error}");
        let here = within("local", b.mesh.open(a.id(), StreamClass::Raft))
            .await
            .unwrap_err();
        assert!(matches!(here, MeshError::NotAdmitted { .. }), "{here}");
        assert_eq!(b.trust.unknown.lock().contains(&a.id()), standing == Standing::Unknown);
        tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expelling_closes_the_open_connection() {
    let (a, b) = pair();
    echo(&b);
    let stream = a.mesh.open(b.id(), StreamClass::Rpc).await.unwrap();
    eventually("connected", || b.connected(a.id())).await;
    b.trust.set(a.id(), Standing::Expelled);
    b.mesh.trust_changed();
    assert!(within("stream ends", ask(stream, b"abc")).await.is_err());
    eventually("reason", || a.last_error(b.id()).contains("expelled")).await;
    assert!(b.mesh.peers().iter().all(|peer| peer.id != a.id()));
    // Admitted again, it is welcome.
    b.trust.set(a.id(), Standing::Admitted);
    b.mesh.trust_changed();
    a.mesh.reset_backoff(b.id());
    let stream = within("again", a.mesh.open(b.id(), StreamClass::Rpc)).await.unwrap();
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_connection_does_not_outlive_its_epoch() {
    let (old, new) = pair();
    echo(&old);
    echo(&new);
    let stream = old.mesh.open(new.id(), StreamClass::Rpc).await.unwrap();
    eventually("connected", || new.connected(old.id())).await;
    new.trust.epoch.store(5, Ordering::Relaxed);
    new.mesh.trust_changed();
    assert!(within("stream ends", ask(stream, b"abc")).await.is_err());
    // Whoever dials next, the older one gets the proof and is at once welcome with it.
    old.mesh.reset_backoff(new.id());
    let error = within("refusal", old.mesh.open(new.id(), StreamClass::Rpc))
        .await
        .unwrap_err();
    assert!(
        matches!(error, MeshError::Fenced { .. } | MeshError::Backoff { .. }),
        "{error}"
    );
    eventually("evidence", || !old.trust.evidence.lock().is_empty()).await;
    old.trust.epoch.store(5, Ordering::Relaxed);
    old.mesh.trust_changed();
    old.mesh.reset_backoff(new.id());
    new.mesh.reset_backoff(old.id());
    let stream = within("again", old.mesh.open(new.id(), StreamClass::Rpc))
        .await
        .unwrap();
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    tokio::join!(old.mesh.shutdown(), new.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_key_is_refused_in_the_handshake() {
    let (a, b) = pair();
    a.trust.set(identity(3).id(), Standing::Admitted);
    a.mesh
        .add_address(identity(3).id(), b.mesh.local_addr(), AddressSource::Given);
    let error = within("refusal", a.mesh.open(identity(3).id(), StreamClass::Raft))
        .await
        .unwrap_err();
    match error {
        MeshError::WrongKey {
            address,
            expected,
            found,
        } => {
            assert_eq!(
                (address, expected, found),
                (b.mesh.local_addr(), identity(3).id(), b.id())
            );
        }
        other => panic!("{other}"),
    }
    assert!(b.mesh.peers().iter().all(|peer| !peer.connected));
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_skew_is_one_clear_error_on_both_sides() {
    let (a, b) = pair();
    a.clock.0.store(3_600_000, Ordering::Relaxed);
    let error = within("refusal", a.mesh.open(b.id(), StreamClass::Raft))
        .await
        .unwrap_err();
    assert!(
        matches!(error, MeshError::ClockSkew { skew_ms, .. } if skew_ms < -3_500_000),
        "{error}"
    );
    assert!(error.to_string().contains("behind this member's"), "{error}");
    eventually("the other side says so too", || {
        b.last_error(a.id()).contains("ahead of this member's")
    })
    .await;
    a.clock.0.store(60_000, Ordering::Relaxed);
    a.mesh.reset_backoff(b.id());
    within("a minute is fine", a.mesh.open(b.id(), StreamClass::Raft))
        .await
        .unwrap();
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_is_refused() {
    let (a, b) = pair();
    *b.trust.cluster.lock() = ClusterId([9; 32]);
    let error = within("refusal", a.mesh.open(b.id(), StreamClass::Raft))
        .await
        .unwrap_err();
    assert!(matches!(error, MeshError::WrongCluster { .. }), "{error}");
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lower_epoch_gets_the_proof_whoever_dials() {
    for old_dials in [true, false] {
        let (old, new) = pair();
        new.trust.epoch.store(5, Ordering::Relaxed);
        let (from, to) = if old_dials { (&old, &new) } else { (&new, &old) };
        let error = within("refusal", from.mesh.open(to.id(), StreamClass::Raft))
            .await
            .unwrap_err();
        assert!(matches!(error, MeshError::Fenced { .. }), "{error}");
        eventually("evidence", || !old.trust.evidence.lock().is_empty()).await;
        assert_eq!(old.trust.evidence.lock()[0], (new.id(), 5, "proof".into()));
        assert!(new.trust.evidence.lock().is_empty());
        tokio::join!(old.mesh.shutdown(), new.mesh.shutdown());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_key_gets_the_proof() {
    let (old, new) = pair();
    new.trust.set(old.id(), Standing::Fenced);
    new.trust.epoch.store(2, Ordering::Relaxed);
    old.trust.epoch.store(1, Ordering::Relaxed);
    let error = within("refusal", old.mesh.open(new.id(), StreamClass::Raft))
        .await
        .unwrap_err();
    assert!(matches!(error, MeshError::Fenced { ours: 1, theirs: 2, .. }), "{error}");
    eventually("evidence", || old.trust.evidence.lock().len() == 1).await;
    tokio::join!(old.mesh.shutdown(), new.mesh.shutdown());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_datagrams_are_survived() {
    let (a, b) = pair();
    echo(&b);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 1u64;
    for len in (0..1400).step_by(7) {
        let garbage: Vec<u8> = (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) as u8
            })
            .collect();
        socket.send_to(&garbage, b.mesh.local_addr()).unwrap();
        // With the first byte of an initial packet of version 1.
        let mut initial = vec![0xc3, 0, 0, 0, 1];
        initial.extend_from_slice(&garbage);
        socket.send_to(&initial, b.mesh.local_addr()).unwrap();
    }
    let stream = within("connect", a.mesh.open(b.id(), StreamClass::Rpc)).await.unwrap();
    assert_eq!(ask(stream, b"abc").await.unwrap(), b"cba");
    tokio::join!(a.mesh.shutdown(), b.mesh.shutdown());
}
