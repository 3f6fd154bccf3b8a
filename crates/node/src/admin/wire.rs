//! Paths and bodies of the local socket.

use revoada_core::chain::BUNDLE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::api::RoleRequest;

/// The largest request body, bytes.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The largest answer that a client reads, bytes: that of a whole chain.
pub const ANSWER_BYTES_MAX: usize = BUNDLE_BYTES_MAX;

/// `GET`: [`super::api::FullStatus`].
pub const STATUS: &str = "/v1/status";
/// `POST` [`super::api::TicketRequest`]: [`super::api::TicketReply`].
pub const TICKETS: &str = "/v1/tickets";
/// `GET` and `PUT`: a formation.
pub const FORMATION: &str = "/v1/formation";
/// `POST` [`RoleBody`].
pub const ROLE: &str = "/v1/role";
/// `POST`.
pub const LEAVE: &str = "/v1/leave";
/// `POST` [`ExpelBody`].
pub const EXPEL: &str = "/v1/expel";
/// `GET`: the chain bundle as it is exported.
pub const CHAIN: &str = "/v1/chain";
/// `POST` [`super::api::KubeconfigRequest`]: [`KubeconfigBody`].
pub const KUBECONFIG: &str = "/v1/kubeconfig";
/// `POST` [`RecoverBody`]: [`super::api::RecoverReply`], and nothing is done.
pub const RECOVERY_PLAN: &str = "/v1/recovery/plan";
/// `POST` [`RecoverBody`]: [`super::api::RecoverReply`].
pub const RECOVERY: &str = "/v1/recovery";

/// What is asked of a member's role.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    /// Name, id or the beginning of an id.
    pub member: String,
    /// What.
    pub request: RoleRequest,
}

/// Who is expelled.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpelBody {
    /// Name, id or the beginning of an id.
    pub member: String,
    /// Why.
    pub reason: String,
}

/// Whether a recovery gives up what only others hold.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoverBody {
    /// It does.
    pub force: bool,
}

/// A kubeconfig.
#[derive(Debug, Serialize, Deserialize)]
pub struct KubeconfigBody {
    /// As YAML.
    pub kubeconfig: String,
}
