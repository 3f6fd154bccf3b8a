//! What a running member is told by its command line, environment and file.

use std::net::SocketAddr;
use std::path::PathBuf;

use revoada_core::ticket::Ticket;

/// How pods run on this member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Runtime {
    /// They do not: the Node carries a taint that says so.
    #[default]
    None,
}

/// A taint of the Node, `key=value:effect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Whether the member may found a cluster, or joins one.
#[derive(Debug, Clone)]
pub enum Mode {
    /// `engenho up`: continue in the data directory's cluster, or found one.
    Up,
    /// `engenho join`: continue if the data directory is in the ticket's cluster already, else join it.
    Join {
        /// The ticket.
        ticket: Ticket,
        /// Serve only as a witness.
        witness: bool,
    },
}

/// Settings of one running member.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// Found, continue or join.
    pub mode: Mode,
    /// Data directory.
    pub data_dir: PathBuf,
    /// Member name, a DNS label.
    pub name: String,
    /// The name was given by a person rather than taken from the host.
    pub name_is_explicit: bool,
    /// TCP address of the API listener.
    pub api: SocketAddr,
    /// UDP address of the mesh.
    pub mesh: SocketAddr,
    /// Addresses or host names at which others reach this member; empty: found out.
    pub advertise: Vec<String>,
    /// Addresses of mesh peers to try besides those remembered.
    pub peers: Vec<SocketAddr>,
    /// Multicast beacons that find members whose addresses all changed.
    pub discovery: bool,
    /// Failure domain.
    pub zone: String,
    /// Node labels.
    pub labels: Vec<(String, String)>,
    /// Node taints.
    pub taints: Vec<Taint>,
    /// Pods.
    pub runtime: Runtime,
    /// Range of pod addresses; only the founder's counts.
    pub pod_cidr: String,
    /// Range of service addresses; only the founder's counts.
    pub service_cidr: String,
    /// How requests prove who sends them.
    pub authentication: AuthenticationFiles,
    /// Audit policy, if requests are audited.
    pub audit_policy: Option<PathBuf>,
    /// An AuthorizationConfiguration.
    pub authorization: Option<PathBuf>,
    /// Metrics listener; `None`: off.
    pub metrics: Option<SocketAddr>,
    /// Lifetime of serving and client certificates that this member issues or asks for, seconds.
    pub certificate_lifetime_s: u64,
}

/// Files about authentication.
#[derive(Debug, Clone, Default)]
pub struct AuthenticationFiles {
    /// Static bearer tokens.
    pub tokens: Option<PathBuf>,
    /// An AuthenticationConfiguration.
    pub config: Option<PathBuf>,
    /// Kubeconfig of a webhook that judges tokens.
    pub webhook: Option<PathBuf>,
    /// Version of the reviews that it is sent.
    pub webhook_version: String,
    /// Authorities of front proxies, PEM.
    pub front_proxy_ca: Option<PathBuf>,
    /// Common names of front proxies; empty for any.
    pub front_proxy_names: Vec<String>,
}
