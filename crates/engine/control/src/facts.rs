//! What the controllers know of the members: the facts that Node objects are made from.

use std::net::IpAddr;

use revoada_core::{MemberId, Role};
use tokio::sync::watch;

/// The members of the cluster, as the leader sees them.
pub trait Members: Send + Sync + 'static {
    /// A counter that moves whenever [`Members::nodes`] may answer differently. The answer must not be older than the
    /// counter: change the facts first, the counter next.
    fn watch(&self) -> watch::Receiver<u64>;

    /// All admitted members. Membership, names and roles are those of the replicated state; liveness and reports are
    /// gossip's. An empty list means that nothing is known yet, and nothing is done then.
    fn nodes(&self) -> Vec<NodeFacts>;
}

/// One admitted member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Name of its Node object: a DNS subdomain, unique in the cluster.
    pub name: String,
    /// Its identity.
    pub member_id: MemberId,
    /// Its role. A witness has no Node.
    pub role: Role,
    /// Whether gossip holds it for alive. A leader that has only just begun to listen says yes until it knows better:
    /// a no is written at once.
    pub is_alive: bool,
    /// Since when, milliseconds since the Unix epoch; 0 if that isn't known.
    pub liveness_since_unix_ms: u64,
    /// Addresses of Pods on this node, `10.244.3.0/24`; `None` leaves what the Node has.
    pub pod_cidr: Option<String>,
    /// What the member last said about itself; `None` if nobody here has heard it, which leaves what the Node has.
    pub report: Option<NodeReport>,
}

/// What a member says about itself and its machine. The order of lists counts: keep it stable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeReport {
    /// Addresses at which other members reach it.
    pub internal_addresses: Vec<IpAddr>,
    /// Host name of the machine; may be shared by several members.
    pub hostname: String,
    /// Failure domain.
    pub zone: Option<String>,
    /// Labels from its configuration. They win over what users write on the Node.
    pub labels: Vec<(String, String)>,
    /// Taints from its configuration. They win over what users write on the Node.
    pub taints: Vec<NodeTaint>,
    /// Size of the machine.
    pub capacity: Capacity,
    /// The machine and its operating system.
    pub machine: Machine,
    /// Versions of what runs there.
    pub versions: NodeVersions,
}

/// A taint, identified by its key and effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTaint {
    /// Key.
    pub key: String,
    /// Value, may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Size of a machine. Zero means unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Processors, in thousandths.
    pub cpu_milli: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Pods at most.
    pub pods: u64,
    /// Space for images, logs and scratch volumes, bytes.
    pub ephemeral_bytes: u64,
}

/// A machine and its operating system, in the words of `status.nodeInfo`. Empty means unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// `linux`.
    pub os: String,
    /// Architecture in Go's words: `amd64`, `arm64`.
    pub arch: String,
    /// Kernel release.
    pub kernel: String,
    /// Name of the operating system's release.
    pub os_image: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// UUID of the hardware.
    pub system_uuid: String,
    /// Id of this boot.
    pub boot_id: String,
}

/// Versions of what runs on a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeVersions {
    /// Of engenho in the kubelet's place, `v1.34.2+engenho.0.1.0`.
    pub kubelet: String,
    /// Of the pod runtime, `containerd://2.1.0`; `None` if the member runs no pods.
    pub runtime: Option<String>,
}
