//! Node heartbeats that come from membership instead of the log.

/// The heartbeat of one node: what its Lease in `kube-node-lease` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Node name, also the Lease's name.
    pub node: String,
    /// Who holds the lease; the node's own name by convention.
    pub holder: String,
    /// When the holder first appeared, milliseconds since the Unix epoch.
    pub acquire_unix_ms: u64,
    /// When it was heard last, milliseconds since the Unix epoch.
    pub renew_unix_ms: u64,
    /// For how long a heartbeat counts, seconds.
    pub duration_s: u32,
}

/// Where heartbeats come from.
pub trait Heartbeats: Send + Sync + 'static {
    /// The heartbeats of all live members that are nodes.
    fn heartbeats(&self) -> Vec<Heartbeat>;
}

/// No heartbeats: every Lease comes from the store.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeartbeats;

impl Heartbeats for NoHeartbeats {
    fn heartbeats(&self) -> Vec<Heartbeat> {
        Vec::new()
    }
}
