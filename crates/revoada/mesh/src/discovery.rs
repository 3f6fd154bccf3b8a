//! Finding peers whose addresses all changed at once: multicast beacons on every interface.
//!
//! A member that misses an admitted peer says once a second where it is, and every ten seconds once a peer has
//! been away for a minute; members that miss nobody are silent. Whoever hears a beacon of an admitted member adds
//! its addresses to the address book and dials: the handshake decides. Groups: IPv4 239.255.71.29 and IPv6
//! link-local ff12::656e:6765:6e68:6f, UDP port 26471, one hop.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use revoada_core::MemberId;
use socket2::Socket;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tracing::debug;

use crate::beacon::{BEACON_BYTES_MAX, Beacon};
use crate::os::{self, InterfaceAddress};
use crate::quic::Inner;

/// IPv4 group of the beacons, in the site-local scope of RFC 2365.
pub const BEACON_GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 71, 29);
/// IPv6 group, transient and link-local (RFC 4291).
pub const BEACON_GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0x656e, 0x6765, 0x6e68, 0x006f);
/// UDP port of the beacons.
pub const BEACON_PORT: u16 = 26471;

/// For that long after a peer went missing, beacons are frequent.
const EAGER: Duration = Duration::from_secs(60);
/// Interfaces come and go: sockets are opened and groups joined anew this often.
const REFRESH: Duration = Duration::from_secs(30);
/// Beacons looked at per second; the rest is dropped unread.
const RECEIVED_PER_SECOND_MAX: u32 = 200;

/// Settings of discovery.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// IPv4 group.
    pub group_v4: Ipv4Addr,
    /// IPv6 group; `None`: IPv4 only.
    pub group_v6: Option<Ipv6Addr>,
    /// UDP port.
    pub port: u16,
    /// Between beacons while a peer went missing lately.
    pub interval: Duration,
    /// Between beacons while a peer stays away.
    pub quiet_interval: Duration,
    /// Whether to use loopback interfaces only. Always so when the mesh is bound to a loopback address.
    pub loopback_only: bool,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            group_v4: BEACON_GROUP_V4,
            group_v6: Some(BEACON_GROUP_V6),
            port: BEACON_PORT,
            interval: Duration::from_secs(1),
            quiet_interval: Duration::from_secs(10),
            loopback_only: false,
        }
    }
}

/// Sends and hears beacons on behalf of a mesh.
pub(crate) struct Discovery {
    config: DiscoveryConfig,
    mesh: Arc<Inner>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    missing: BTreeSet<MemberId>,
    missing_since: Instant,
    last_sent: Option<Instant>,
    heard: BTreeMap<MemberId, u64>,
    window: (Instant, u32),
    complained: bool,
}

impl Discovery {
    pub(crate) fn new(mut config: DiscoveryConfig, mesh: Arc<Inner>) -> Self {
        config.loopback_only |= mesh.local().ip().is_loopback();
        let now = Instant::now();
        Self {
            config,
            mesh,
            v4: None,
            v6: None,
            missing: BTreeSet::new(),
            missing_since: now,
            last_sent: None,
            heard: BTreeMap::new(),
            window: (now, 0),
            complained: false,
        }
    }

    /// Runs until the mesh shuts down.
    pub(crate) async fn run(mut self) {
        let stop = self.mesh.stopped().clone();
        let mesh = self.mesh.clone();
        let mut refresh = tokio::time::interval(REFRESH);
        let mut tick = tokio::time::interval(self.config.interval.min(Duration::from_secs(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut v4, mut v6) = ([0; BEACON_BYTES_MAX + 1], [0; BEACON_BYTES_MAX + 1]);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = refresh.tick() => self.join_groups(),
                _ = tick.tick() => {
                    if self.due() {
                        self.send();
                    }
                }
                () = mesh.beacon_wanted() => self.send(),
                received = receive(self.v4.as_ref(), &mut v4) => self.received(received, &v4),
                received = receive(self.v6.as_ref(), &mut v6) => self.received(received, &v6),
            }
        }
    }

    fn interfaces(&self) -> Vec<InterfaceAddress> {
        let mut interfaces = os::interfaces();
        interfaces.retain(|interface| interface.loopback || !self.config.loopback_only);
        interfaces
    }

    /// Opens what isn't open and joins the groups on interfaces that are new.
    fn join_groups(&mut self) {
        let interfaces = self.interfaces();
        if self.v4.is_none() {
            let socket = os::group_socket_v4(self.config.group_v4, self.config.port);
            self.v4 = self.opened("IPv4", socket);
        }
        if self.v6.is_none() && self.config.group_v6.is_some() {
            let socket = os::group_socket_v6(self.config.port);
            self.v6 = self.opened("IPv6", socket);
        }
        for interface in interfaces {
            // Fails where the group is joined already or the interface knows no multicast: both are fine.
            let _ = match (interface.ip, &self.v4, &self.v6, self.config.group_v6) {
                (IpAddr::V4(ip), Some(socket), _, _) => socket.join_multicast_v4(self.config.group_v4, ip),
                (IpAddr::V6(_), _, Some(socket), Some(group)) => socket.join_multicast_v6(&group, interface.index),
                _ => Ok(()),
            };
        }
    }

    fn opened(&mut self, family: &str, socket: io::Result<Socket>) -> Option<UdpSocket> {
        match socket.and_then(|socket| UdpSocket::from_std(socket.into())) {
            Ok(socket) => Some(socket),
            Err(error) => {
                self.complain(format!("no {family} multicast socket: {error}"));
                None
            }
        }
    }

    fn complain(&mut self, what: String) {
        if !std::mem::replace(&mut self.complained, true) {
            debug!("discovery by multicast is limited: {what}");
        }
    }

    /// Whether a beacon is to be sent now.
    fn due(&mut self) -> bool {
        let now = Instant::now();
        let missing = self.mesh.missing_peers();
        if missing.iter().any(|id| !self.missing.contains(id)) {
            self.missing_since = now;
            self.last_sent = None;
        }
        self.missing = missing;
        if self.missing.is_empty() {
            return false;
        }
        let eager = now.duration_since(self.missing_since) < EAGER;
        let interval = if eager {
            self.config.interval
        } else {
            self.config.quiet_interval
        };
        self.last_sent
            .is_none_or(|at| now.duration_since(at) >= interval.mul_f64(0.9))
    }

    fn send(&mut self) {
        self.last_sent = Some(Instant::now());
        let cluster = self.mesh.trust().hello().cluster;
        let beacon = Beacon::new(cluster, self.mesh.me(), self.mesh.unix_ms(), self.mesh.own_addresses());
        let datagram = match beacon.encode(cluster, self.mesh.identity()) {
            Ok(datagram) => datagram,
            Err(error) => return self.complain(error.to_string()),
        };
        let (mut sent, mut last_error) = (0, None);
        let mut v6_done = BTreeSet::new();
        for interface in self.interfaces() {
            let result = match (interface.ip, self.config.group_v6) {
                (IpAddr::V4(ip), _) => os::send_to_group_v4(ip, self.config.group_v4, self.config.port, &datagram),
                (IpAddr::V6(_), Some(group)) if v6_done.insert(interface.index) => {
                    os::send_to_group_v6(interface.index, group, self.config.port, &datagram)
                }
                _ => continue,
            };
            match result {
                Ok(()) => sent += 1,
                Err(error) => last_error = Some(error),
            }
        }
        if let (0, Some(error)) = (sent, last_error) {
            self.complain(format!("no interface takes multicast: {error}"));
        }
    }

    fn received(&mut self, received: io::Result<(usize, SocketAddr)>, buffer: &[u8]) {
        let (len, source) = match received {
            Ok(received) => received,
            Err(error) => return self.complain(error.to_string()),
        };
        let now = Instant::now();
        if now.duration_since(self.window.0) >= Duration::from_secs(1) {
            self.window = (now, 0);
        }
        self.window.1 += 1;
        if self.window.1 > RECEIVED_PER_SECOND_MAX {
            return;
        }
        let cluster = self.mesh.trust().hello().cluster;
        let Ok(beacon) = Beacon::decode(&buffer[..len], cluster, self.mesh.unix_ms()) else {
            return;
        };
        let member = beacon.member();
        // The same beacon comes over several interfaces.
        if !self.mesh.is_peer(member) || self.heard.get(&member) == Some(&beacon.unix_ms()) {
            return;
        }
        let beacon = match beacon.verify() {
            Ok(beacon) => beacon,
            Err(error) => return debug!(%source, %error, "beacon ignored"),
        };
        // Grows with admitted members only.
        self.heard.retain(|id, _| self.mesh.is_peer(*id));
        self.heard.insert(member, beacon.unix_ms);
        let mut addresses = beacon.addresses;
        let ports: BTreeSet<u16> = addresses.iter().map(SocketAddr::port).collect();
        if !source.ip().is_loopback() {
            addresses.extend(ports.into_iter().map(|port| SocketAddr::new(source.ip(), port)));
        }
        self.mesh.heard_beacon(member, addresses);
    }
}

async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}
