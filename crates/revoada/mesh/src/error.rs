//! What can go wrong between members, as values that say what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use revoada_core::{ClusterId, MemberId};

/// Why one side refused or ended a connection. The number is the QUIC application error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// No block admitted the key.
    Unknown = 0x1001,
    /// The key was expelled.
    Expelled = 0x1002,
    /// The key left.
    Left = 0x1003,
    /// The key belongs to an older epoch of the cluster.
    Fenced = 0x1004,
    /// Member of another cluster.
    WrongCluster = 0x1005,
    /// The two clocks are too far apart.
    ClockSkew = 0x1006,
    /// The two speak no common version.
    Version = 0x1007,
    /// The peer is stopping.
    ShuttingDown = 0x1008,
    /// Another connection of the same pair is used instead.
    Superseded = 0x1009,
    /// Bytes that follow no protocol, or none in time.
    Protocol = 0x100a,
    /// Too many at once; try again later.
    Busy = 0x100b,
}

impl Refusal {
    /// All codes.
    pub const ALL: [Refusal; 11] = [
        Refusal::Unknown,
        Refusal::Expelled,
        Refusal::Left,
        Refusal::Fenced,
        Refusal::WrongCluster,
        Refusal::ClockSkew,
        Refusal::Version,
        Refusal::ShuttingDown,
        Refusal::Superseded,
        Refusal::Protocol,
        Refusal::Busy,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The refusal of a number from the wire, if it is one.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| u64::from(refusal.code()) == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Unknown => "unknown key",
            Refusal::Expelled => "expelled",
            Refusal::Left => "left the cluster",
            Refusal::Fenced => "fenced",
            Refusal::WrongCluster => "another cluster",
            Refusal::ClockSkew => "clock skew",
            Refusal::Version => "version",
            Refusal::ShuttingDown => "shutting down",
            Refusal::Superseded => "superseded",
            Refusal::Protocol => "protocol violation",
            Refusal::Busy => "busy",
        })
    }
}

/// Why a peer can't be reached. Cheap to clone: all who wait for one dial get the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MeshError {
    /// The mesh has shut down.
    #[error("the mesh has shut down")]
    Closed,
    /// This member doesn't count `peer` as admitted, so it isn't dialled.
    #[error("{peer} isn't an admitted member here: {refusal}")]
    NotAdmitted {
        /// The peer.
        peer: MemberId,
        /// What it is instead.
        refusal: Refusal,
    },
    /// A member was asked to connect to itself.
    #[error("a member doesn't connect to itself")]
    Myself,
    /// No address to try.
    #[error("no address of {peer} is known; waiting for gossip, a beacon or a connection from it")]
    NoAddress {
        /// The peer.
        peer: MemberId,
    },
    /// The peer failed a moment ago and isn't dialled again yet.
    #[error("not dialled again for {retry_in_ms} ms after: {last}")]
    Backoff {
        /// The peer.
        peer: MemberId,
        /// Milliseconds until the next attempt.
        retry_in_ms: u64,
        /// The failure.
        last: Arc<MeshError>,
    },
    /// None of the addresses led to the peer.
    #[error("cannot connect{} at {}: {cause}", to(peer), list(tried))]
    Unreachable {
        /// The peer; all zero if whoever answers is meant.
        peer: MemberId,
        /// Addresses tried.
        tried: Vec<SocketAddr>,
        /// The most telling failure.
        cause: String,
    },
    /// Nothing within the deadline.
    #[error("no {what} within {waited_ms} ms")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited_ms: u64,
    },
    /// Whoever answers at the address has another key.
    #[error("{address} answered with the key of {found}, want {expected}: the address belongs to another member now")]
    WrongKey {
        /// The address dialled.
        address: SocketAddr,
        /// The key that was pinned.
        expected: MemberId,
        /// The key that was offered.
        found: MemberId,
    },
    /// The peer refused this member, or ended the connection on purpose.
    #[error("{peer} refused: {refusal}: {reason}")]
    Refused {
        /// The peer.
        peer: MemberId,
        /// Its code.
        refusal: Refusal,
        /// Its words.
        reason: String,
    },
    /// One of the two belongs to an older epoch of the cluster.
    #[error("{} is fenced: {peer} is at epoch {theirs}, this member at {ours}", if ours < theirs { "this member" } else { "the peer" })]
    Fenced {
        /// The peer.
        peer: MemberId,
        /// This member's epoch.
        ours: u64,
        /// The peer's epoch.
        theirs: u64,
    },
    /// The peer belongs to another cluster.
    #[error("{peer} belongs to cluster {}, this member to {}", theirs.short(), ours.short())]
    WrongCluster {
        /// The peer.
        peer: MemberId,
        /// This member's cluster.
        ours: ClusterId,
        /// The peer's cluster.
        theirs: ClusterId,
    },
    /// The clocks are more than five minutes apart.
    #[error(
        "the clock of {peer} is {} s {} this member's ({theirs_unix_ms} against {ours_unix_ms} ms): set the wrong one right, at most {} s are allowed",
        skew_ms.unsigned_abs() / 1000, if *skew_ms < 0 { "behind" } else { "ahead of" }, CLOCK_SKEW_MS_MAX / 1000
    )]
    ClockSkew {
        /// The peer.
        peer: MemberId,
        /// Theirs minus ours, in milliseconds.
        skew_ms: i64,
        /// This member's wall clock, milliseconds since the Unix epoch.
        ours_unix_ms: u64,
        /// The peer's wall clock.
        theirs_unix_ms: u64,
    },
    /// No common version of the mesh protocol.
    #[error("{address} speaks another version of the mesh protocol ({detail}): upgrade the older side")]
    Version {
        /// The peer's address.
        address: SocketAddr,
        /// What was seen.
        detail: String,
    },
    /// The peer broke the protocol.
    #[error("{peer} broke the protocol: {detail}")]
    Protocol {
        /// The peer.
        peer: MemberId,
        /// What it did.
        detail: String,
    },
    /// The connection broke.
    #[error("the connection to {peer} was lost: {cause}")]
    Lost {
        /// The peer.
        peer: MemberId,
        /// How.
        cause: String,
    },
    /// The message is too large.
    #[error("a message of {bytes} bytes is larger than the {bytes_max} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// The largest difference between two members' wall clocks, milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 5 * 60 * 1000;

impl MeshError {
    /// The error without the peer's name, to be part of another message.
    pub(crate) fn cause(&self) -> String {
        match self {
            MeshError::Lost { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// The refusal code that the error carries or amounts to, if any.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            MeshError::NotAdmitted { refusal, .. } | MeshError::Refused { refusal, .. } => Some(*refusal),
            MeshError::Fenced { .. } => Some(Refusal::Fenced),
            MeshError::WrongCluster { .. } => Some(Refusal::WrongCluster),
            MeshError::ClockSkew { .. } => Some(Refusal::ClockSkew),
            MeshError::Version { .. } => Some(Refusal::Version),
            MeshError::Protocol { .. } => Some(Refusal::Protocol),
            MeshError::Backoff { last, .. } => last.refusal(),
            _ => None,
        }
    }
}

fn to(peer: &MemberId) -> String {
    if *peer == MemberId::default() {
        String::new()
    } else {
        format!(" to {peer}")
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why the mesh's UDP port can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("UDP {address} is taken by another process: stop it or choose another port")]
    InUse {
        /// The wanted address.
        address: SocketAddr,
    },
    /// The port needs privileges.
    #[error("no permission to bind UDP {address}: choose a port above 1023 or run with CAP_NET_BIND_SERVICE")]
    Permission {
        /// The wanted address.
        address: SocketAddr,
    },
    /// This machine doesn't have the address.
    #[error("this machine has no address {}: choose one of its own or 0.0.0.0", address.ip())]
    NotAvailable {
        /// The wanted address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot bind UDP {address}: {source}")]
    Io {
        /// The wanted address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The member key can't be used for TLS.
    #[error("the member key can't be used: {detail}")]
    Key {
        /// Why.
        detail: String,
    },
}

impl BindError {
    pub(crate) fn from_io(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::PermissionDenied => BindError::Permission { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotAvailable { address },
            _ => BindError::Io { address, source },
        }
    }
}
