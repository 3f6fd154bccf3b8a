//! What a local command may ask of the running member: the shapes of the socket's requests and answers.

use async_trait::async_trait;
use revoada_core::chain::Bundle;
use revoada_core::formation::Formation;
use serde::{Deserialize, Serialize};

/// The status that CLI.md promises: the distribution layer's, and the store's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FullStatus {
    /// Cluster, members, transitions, chain.
    #[serde(flatten)]
    pub cluster: revoada::Status,
    /// Store of this member; zeros on a member without a replica.
    pub store: StoreStatus,
    /// Whether this member has a replica and therefore answers for the store.
    pub replica: bool,
    /// Voters that are not heard of, while there is no quorum.
    pub missing: Vec<String>,
    /// Set when this member may no longer take part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub halted: Option<String>,
}

/// Size of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Revision.
    pub revision: u64,
    /// Live keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// A ticket to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TicketRequest {
    /// Lifetime, seconds.
    pub expires_s: u64,
    /// How many members it admits.
    pub uses: u32,
    /// Whether it admits witnesses only.
    pub witness: bool,
}

/// A ticket that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketReply {
    /// The text that `join` takes.
    pub ticket: String,
    /// Milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// How many members it admits.
    pub uses: u32,
}

/// What is asked of one member's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleRequest {
    /// Prefer it as a voter.
    Promote,
    /// One role down: voter to standby, standby to worker.
    Demote,
    /// Out of every replica role.
    Drain,
    /// Lift whatever was asked before.
    Release,
}

/// A kubeconfig to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeconfigRequest {
    /// API URL; `None`: the answering member's own.
    pub server: Option<String>,
    /// User name; `None`: the cluster administrator.
    pub user: Option<String>,
    /// Groups of that user.
    pub groups: Vec<String>,
}

/// What a recovery would do or did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoverReply {
    /// Names of members that stay.
    pub keep: Vec<String>,
    /// Names of members that are fenced for good.
    pub lost: Vec<String>,
    /// The new epoch, once it was done.
    pub epoch: Option<u64>,
}

/// Why a request was not carried out. The kind decides the exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct Failure {
    /// Kind.
    pub kind: FailureKind,
    /// One line: what happened, to what, and what to do.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// Exit code 1.
    Failed,
    /// The request makes no sense: exit code 2.
    Usage,
    /// The cluster has no quorum: exit code 3.
    NoQuorum,
    /// Not allowed: exit code 4.
    Refused,
}

/// The running member, as local commands see it.
#[async_trait]
pub trait AdminApi: Send + Sync + 'static {
    /// The present status.
    fn status(&self) -> FullStatus;

    /// Makes a ticket.
    async fn ticket(&self, request: TicketRequest) -> Result<TicketReply, Failure>;

    /// The formation as it was set (not resolved).
    fn formation(&self) -> Formation;

    /// Sets the formation.
    async fn set_formation(&self, formation: Formation) -> Result<(), Failure>;

    /// Asks something of a member's role; `member` is a name, an id or the beginning of one.
    async fn role(&self, member: &str, request: RoleRequest) -> Result<(), Failure>;

    /// Leaves the cluster; the process ends afterwards.
    async fn leave(&self) -> Result<(), Failure>;

    /// Removes a member's key for good.
    async fn expel(&self, member: &str, reason: &str) -> Result<(), Failure>;

    /// The chain with its seals and a signed checkpoint.
    fn chain(&self) -> Result<Bundle, Failure>;

    /// A kubeconfig as YAML.
    async fn kubeconfig(&self, request: KubeconfigRequest) -> Result<String, Failure>;

    /// What a recovery from here would do.
    fn recovery_plan(&self, force: bool) -> Result<RecoverReply, Failure>;

    /// Carries it out.
    async fn recover(&self, force: bool) -> Result<RecoverReply, Failure>;
}
