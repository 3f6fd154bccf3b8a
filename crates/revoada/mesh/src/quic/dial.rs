//! Dialling: all known addresses of a peer with a small stagger, the key pinned in each handshake.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig, TransportErrorCode};
use revoada_core::MemberId;

use super::tls::{SERVER_NAME, Tls};
use crate::error::{MeshError, Refusal};

/// Between the starts of two attempts.
const STAGGER: Duration = Duration::from_millis(150);
/// For all attempts together, less than what callers of `open` wait.
pub(crate) const DIAL_DEADLINE: Duration = Duration::from_millis(2_700);
/// Most addresses tried in one dial.
const ATTEMPTS_MAX: usize = 8;

/// TLS alert numbers (RFC 8446, 6.2) as QUIC carries them.
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// Why each address failed.
pub(crate) struct Failures {
    pub(crate) by_address: Vec<(SocketAddr, MeshError)>,
}

impl Failures {
    /// One error for all addresses: the most telling one, if a single answer explains the rest.
    pub(crate) fn into_error(self, peer: MemberId) -> MeshError {
        let rank = |error: &MeshError| match error {
            MeshError::Refused { .. } => 0,
            MeshError::Version { .. } => 1,
            MeshError::WrongKey { .. } => 2,
            MeshError::Protocol { .. } | MeshError::Lost { .. } => 3,
            _ => 4,
        };
        let tried: Vec<SocketAddr> = self.by_address.iter().map(|(address, _)| *address).collect();
        let Some((_, telling)) = self.by_address.into_iter().min_by_key(|(_, error)| rank(error)) else {
            return MeshError::NoAddress { peer };
        };
        match telling {
            MeshError::Refused { .. } | MeshError::Version { .. } => telling,
            MeshError::WrongKey { .. } if tried.len() == 1 => telling,
            other => MeshError::Unreachable {
                peer,
                tried,
                cause: other.cause(),
            },
        }
    }
}

/// What dialling needs.
pub(crate) struct Dialler<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) tls: &'a Tls,
    pub(crate) transport: Arc<TransportConfig>,
}

impl Dialler<'_> {
    /// The first connection whose handshake succeeds, and the failures before it.
    pub(crate) async fn dial(
        &self,
        peer: MemberId,
        addresses: &[SocketAddr],
        alpn: &[u8],
    ) -> (Result<Connection, ()>, Failures) {
        let mut failures = Failures { by_address: Vec::new() };
        let mut attempts: FuturesUnordered<_> = addresses
            .iter()
            .take(ATTEMPTS_MAX)
            .enumerate()
            .map(|(index, address)| async move {
                tokio::time::sleep(STAGGER.saturating_mul(u32::try_from(index).unwrap_or(0))).await;
                (*address, self.connect(Some(peer), *address, alpn).await)
            })
            .collect();
        let deadline = tokio::time::sleep(DIAL_DEADLINE);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                attempt = attempts.next() => match attempt {
                    Some((_, Ok(connection))) => return (Ok(connection), failures),
                    Some((address, Err(error))) => failures.by_address.push((address, error)),
                    None => return (Err(()), failures),
                },
                () = &mut deadline => {
                    let waited_ms = DIAL_DEADLINE.as_millis() as u64;
                    for address in addresses.iter().take(ATTEMPTS_MAX) {
                        if !failures.by_address.iter().any(|(failed, _)| failed == address) {
                            let error = MeshError::Timeout { what: "answer", waited_ms };
                            failures.by_address.push((*address, error));
                        }
                    }
                    return (Err(()), failures);
                }
            }
        }
    }

    /// One handshake with one address; without `expected`, any key is taken.
    pub(crate) async fn connect(
        &self,
        expected: Option<MemberId>,
        address: SocketAddr,
        alpn: &[u8],
    ) -> Result<Connection, MeshError> {
        let nobody = expected.unwrap_or_default();
        let local = |cause: String| MeshError::Lost { peer: nobody, cause };
        let (tls, found) = self
            .tls
            .client(expected, alpn)
            .map_err(|error| local(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(self.transport.clone());
        let connecting = self
            .endpoint
            .connect_with(config, address, SERVER_NAME)
            .map_err(|error| local(format!("cannot dial {address}: {error}")))?;
        connecting
            .await
            .map_err(|error| handshake_error(expected, address, &found, &error))
    }
}

fn handshake_error(
    expected: Option<MemberId>,
    address: SocketAddr,
    found: &OnceLock<MemberId>,
    error: &ConnectionError,
) -> MeshError {
    match (expected, found.get()) {
        (Some(expected), Some(found)) if *found != expected => MeshError::WrongKey {
            address,
            expected,
            found: *found,
        },
        (peer, _) => connection_error(peer.unwrap_or_default(), Some(address), error),
    }
}

/// A connection's end as an error of the mesh.
pub(crate) fn connection_error(peer: MemberId, address: Option<SocketAddr>, error: &ConnectionError) -> MeshError {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = printable(&close.reason);
            match Refusal::from_code(close.error_code.into_inner()) {
                Some(refusal) => MeshError::Refused { peer, refusal, reason },
                None => MeshError::Lost {
                    peer,
                    cause: format!("closed by the peer: {reason}"),
                },
            }
        }
        ConnectionError::ConnectionClosed(close) => match address {
            Some(address) if close.error_code == TransportErrorCode::crypto(ALERT_NO_APPLICATION_PROTOCOL) => {
                MeshError::Version {
                    address,
                    detail: "no common protocol".into(),
                }
            }
            _ if close.error_code == TransportErrorCode::CONNECTION_REFUSED => MeshError::Lost {
                peer,
                cause: "it takes no connections now, because it stops or is overloaded".into(),
            },
            _ => MeshError::Lost {
                peer,
                cause: error.to_string(),
            },
        },
        ConnectionError::VersionMismatch => match address {
            Some(address) => MeshError::Version {
                address,
                detail: "no common QUIC version".into(),
            },
            None => MeshError::Lost {
                peer,
                cause: error.to_string(),
            },
        },
        ConnectionError::TimedOut => MeshError::Timeout {
            what: "packet",
            waited_ms: super::transport::IDLE_TIMEOUT.as_millis() as u64,
        },
        ConnectionError::Reset => MeshError::Lost {
            peer,
            cause: "the peer was restarted".into(),
        },
        other => MeshError::Lost {
            peer,
            cause: other.to_string(),
        },
    }
}

/// The peer's words, fit for logs.
fn printable(reason: &[u8]) -> String {
    String::from_utf8_lossy(reason)
        .chars()
        .filter(|c| !c.is_control())
        .take(512)
        .collect()
}
