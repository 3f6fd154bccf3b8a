//! Incoming connections: handshake, then by protocol and standing either refused, greeted or handed on as a join.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, VarInt};
use revoada_core::MemberId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Inner;
use super::hello::{Side, greet};
use super::join::serve_join;
use super::tls::{ALPN_JOIN, ALPN_MESH, peer_of, protocol_of};
use crate::error::{MeshError, Refusal};
use crate::trust::Standing;

/// For the handshake and for the greeting.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);

pub(crate) async fn accept_loop(inner: Arc<Inner>, endpoint: Endpoint) {
    loop {
        let incoming = tokio::select! {
            () = inner.stop.cancelled() => return,
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => incoming,
                None => return,
            },
        };
        let Ok(permit) = inner.handshakes.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        // Under load a source address must prove that it is real before it costs a signature.
        let crowded = inner.handshakes.available_permits() < inner.limits.handshakes_max / 2;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
            continue;
        }
        let task = inner.clone();
        inner.spawn(async move {
            tokio::select! {
                () = task.stop.cancelled() => {}
                () = take(&task, incoming, permit) => {}
            }
        });
    }
}

async fn take(inner: &Arc<Inner>, incoming: Incoming, permit: OwnedSemaphorePermit) {
    let remote = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return debug!(%remote, %error, "handshake failed"),
    };
    let connection = match tokio::time::timeout(HANDSHAKE_DEADLINE, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(%remote, %error, "handshake failed"),
        Err(_) => return debug!(%remote, "handshake not done in time"),
    };
    let (Some(peer), Some(protocol)) = (peer_of(&connection), protocol_of(&connection)) else {
        return close(&connection, Refusal::Protocol, "no ed25519 key");
    };
    if protocol == ALPN_JOIN {
        drop(permit);
        take_join(inner, connection, peer).await;
    } else if protocol == ALPN_MESH {
        take_member(inner, connection, peer).await;
        drop(permit);
    } else {
        close(&connection, Refusal::Version, "unknown protocol");
    }
}

async fn take_member(inner: &Arc<Inner>, connection: Connection, peer: MemberId) {
    let remote = connection.remote_address();
    if peer == inner.me() {
        warn!(%remote, "a connection with this member's own key: does another machine run with a copy of it?");
        return close(
            &connection,
            Refusal::Protocol,
            "your key is my own: two members run with one identity",
        );
    }
    if let Err((refusal, reason)) = inner.admission(peer) {
        // A fenced member is greeted all the same: the greeting carries the proof.
        if refusal != Refusal::Fenced {
            debug!(peer = %peer.short(), %remote, %refusal, "connection refused");
            close(&connection, refusal, reason);
            if refusal == Refusal::Unknown {
                inner.trust.on_unknown(peer);
            }
            return;
        }
    }
    let hello = inner.hello();
    let greeting = greet(Side::Acceptor, &connection, peer, &hello, &*inner.trust);
    let error = match tokio::time::timeout(HANDSHAKE_DEADLINE, greeting).await {
        Ok(Ok(theirs)) => return inner.establish(&inner.peer(peer), connection, theirs, peer),
        Ok(Err(error)) => error,
        Err(_) => {
            close(&connection, Refusal::Protocol, "no hello in time");
            MeshError::Timeout {
                what: "hello",
                waited_ms: HANDSHAKE_DEADLINE.as_millis() as u64,
            }
        }
    };
    let lost = matches!(error, MeshError::Lost { .. } | MeshError::Timeout { .. });
    if lost {
        // The dialler may just have preferred another address.
        debug!(peer = %peer.short(), %remote, %error, "greeting failed");
    } else {
        warn!(peer = %peer.short(), %remote, %error, "greeting failed");
    }
    if inner.trust.standing(peer) == Standing::Admitted && !lost {
        inner.peer(peer).refused(error);
    }
}

async fn take_join(inner: &Arc<Inner>, connection: Connection, peer: MemberId) {
    let remote = connection.remote_address();
    if !inner.join_rate.lock().allow(remote.ip(), Instant::now()) {
        return close(
            &connection,
            Refusal::Busy,
            "too many joins from this address, try again in a few seconds",
        );
    }
    let Ok(_place) = inner.join_places.clone().try_acquire_owned() else {
        return close(&connection, Refusal::Busy, "too many joins at once, try again");
    };
    if let Err(error) = serve_join(connection, peer, inner.joins_in.clone()).await {
        debug!(peer = %peer.short(), %remote, %error, "join failed");
    }
}

fn close(connection: &Connection, refusal: Refusal, reason: &str) {
    connection.close(VarInt::from_u32(refusal.code()), reason.as_bytes());
}
