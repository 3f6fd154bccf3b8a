//! Sizes, timers and the UDP socket of the QUIC endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Connection, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

use super::config::MeshLimits;
use super::tls::Tls;
use crate::error::BindError;
use crate::identity::Identity;

/// Without a packet for that long, a connection is dead.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Before the first measurement; members are usually near one another.
const INITIAL_RTT: Duration = Duration::from_millis(100);
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;
const CONNECTION_ID_BYTES: usize = 8;

/// What a connection may send before the peer is greeted.
const GREETING_STREAMS_MAX: u32 = 4;
const GREETING_WINDOW_BYTES: u32 = 256 * 1024;
const GOSSIP_STREAMS_MAX: u32 = 16;

/// Narrow at first, because anyone can make a handshake; [`widen`] gives an admitted peer its room.
pub(crate) fn mesh_transport(limits: &MeshLimits) -> Arc<TransportConfig> {
    let mut transport = base_transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(GREETING_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(GREETING_WINDOW_BYTES))
        .send_window(u64::from(limits.connection_window_bytes))
        .datagram_receive_buffer_size(Some(256 * 1024))
        .datagram_send_buffer_size(256 * 1024);
    Arc::new(transport)
}

/// Gives a greeted peer what the limits allow.
pub(crate) fn widen(connection: &Connection, limits: &MeshLimits) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(limits.streams_max));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(GOSSIP_STREAMS_MAX));
    connection.set_receive_window(VarInt::from_u32(limits.connection_window_bytes));
}

/// One bidirectional stream and nothing else, for newcomers.
pub(crate) fn join_transport() -> Arc<TransportConfig> {
    let mut transport = base_transport();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(GREETING_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(GREETING_WINDOW_BYTES))
        .send_window(1024 * 1024)
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

fn base_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle_ms = u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(3_000);
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT);
    transport
}

/// The reset key is derived from the identity, so that a restarted member resets the connections of its former
/// self at once.
pub(crate) fn endpoint_config(identity: &Identity) -> Result<EndpointConfig, BindError> {
    let reset = identity.derive("engenho mesh 2025-10 stateless reset key");
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)));
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| BindError::Key {
        detail: "the system gives no random bytes".into(),
    })?;
    config.cid_generator(move || Box::new(ConnectionIds { seed, next: 0 }));
    Ok(config)
}

/// Connection ids of a fixed length that nobody can predict. quinn's default ones are refused after a restart
/// before a reset could be sent, because their key is made anew; these are all answered.
struct ConnectionIds {
    seed: [u8; 32],
    next: u64,
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next = self.next.wrapping_add(1);
        let hash = blake3::keyed_hash(&self.seed, &self.next.to_le_bytes());
        ConnectionId::new(&hash.as_bytes()[..CONNECTION_ID_BYTES])
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

pub(crate) fn server_config(tls: &Tls, limits: &MeshLimits) -> Result<ServerConfig, BindError> {
    let mut config = ServerConfig::with_crypto(Arc::new(tls.server()?));
    config
        .transport_config(mesh_transport(limits))
        .max_incoming(limits.handshakes_max)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(4 * 1024 * 1024);
    Ok(config)
}

/// Binds the UDP socket of the mesh; an IPv6 wildcard takes IPv4 as well where the system allows it.
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::UdpSocket, BindError> {
    let fail = |source| BindError::from_io(address, source);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(fail)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false).map_err(fail)?;
    }
    // Larger buffers are welcome, not needed: the system may allow less.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&address.into()).map_err(fail)?;
    Ok(socket.into())
}
