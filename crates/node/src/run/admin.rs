//! What local commands ask of the running member.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engenho_engine::pki::ClientSubject;
use revoada::{AdminError, Member, RecoverError};
use revoada_core::chain::Bundle;
use revoada_core::command::Hold;
use revoada_core::consensus::ProposeError;
use revoada_core::env::Clock;
use revoada_core::formation::Formation;
use revoada_core::{MemberId, Role};
use tokio_util::sync::CancellationToken;

use super::api::{Stores, member_name};
use super::certificates::Certificates;
use super::os::OsClock;
use crate::admin::api::{
    AdminApi, Failure, FailureKind, FullStatus, KubeconfigRequest, RecoverReply, RoleRequest, StoreStatus, TicketReply,
    TicketRequest,
};

/// Longest life of a ticket.
const TICKET_LIFE_MAX_S: u64 = 365 * 24 * 3600;

/// The running member behind the local socket.
pub struct Local {
    /// The member.
    pub member: Member,
    /// Its store, while it has a replica.
    pub stores: Arc<Stores>,
    /// Its certificates.
    pub certificates: Arc<Certificates>,
    /// Told when the member begins to leave and when it has left.
    pub leave: Arc<Leaving>,
}

/// A leave asked for on this member, from its beginning to the end of the process.
#[derive(Default)]
pub struct Leaving {
    under_way: AtomicBool,
    left: CancellationToken,
}

impl Leaving {
    fn begin(&self) {
        self.under_way.store(true, Ordering::Release);
    }

    fn end(&self, has_left: bool) {
        self.under_way.store(false, Ordering::Release);
        if has_left {
            self.left.cancel();
        }
    }

    /// Whether a leave is under way: the others may refuse this member before it has the answer itself.
    pub fn is_under_way(&self) -> bool {
        self.under_way.load(Ordering::Acquire)
    }

    /// Completes once the member has left.
    pub async fn left(&self) {
        self.left.cancelled().await;
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure {
        kind: FailureKind::Failed,
        message: error.to_string(),
    }
}

impl Local {
    fn propose_failure(&self, error: ProposeError) -> Failure {
        match error {
            ProposeError::NoQuorum { missing, voters } => {
                let names: Vec<String> = missing.iter().map(|id| member_name(&self.member, id)).collect();
                Failure {
                    kind: FailureKind::NoQuorum,
                    message: format!(
                        "the cluster has no quorum: {} of {voters} voters do not answer ({}); start them again, or if they are lost for good \
                         run `engenho recover` on a surviving replica",
                        names.len(),
                        names.join(", ")
                    ),
                }
            }
            other => failed(other),
        }
    }

    fn admin_failure(&self, error: AdminError) -> Failure {
        match error {
            AdminError::Propose(error) => self.propose_failure(error),
            AdminError::Refused(message) => Failure {
                kind: FailureKind::Refused,
                message,
            },
            error @ (AdminError::NoSuchMember { .. } | AdminError::Ambiguous { .. }) => Failure {
                kind: FailureKind::Usage,
                message: error.to_string(),
            },
            error @ AdminError::StillThere { .. } => failed(error),
        }
    }

    fn find(&self, wanted: &str) -> Result<MemberId, Failure> {
        self.member.find(wanted).map_err(|error| self.admin_failure(error))
    }

    fn names(&self, ids: &[MemberId]) -> Vec<String> {
        ids.iter().map(|id| member_name(&self.member, id)).collect()
    }

    fn recover_failure(error: RecoverError) -> Failure {
        match error {
            error @ (RecoverError::HasQuorum | RecoverError::NoReplica | RecoverError::Behind { .. }) => Failure {
                kind: FailureKind::Refused,
                message: error.to_string(),
            },
            error => failed(error),
        }
    }
}

#[async_trait]
impl AdminApi for Local {
    fn status(&self) -> FullStatus {
        let cluster = self.member.status();
        let missing = if cluster.quorum {
            Vec::new()
        } else {
            self.names(&self.member.missing_voters())
        };
        let store = self.stores.current().map(|store| store.stats());
        FullStatus {
            cluster,
            replica: store.is_some(),
            store: store.map_or_else(StoreStatus::default, |stats| StoreStatus {
                revision: stats.revision,
                keys: stats.keys as u64,
                bytes: stats.bytes,
            }),
            missing,
            halted: self.member.watch_halted().borrow().clone(),
        }
    }

    async fn ticket(&self, request: TicketRequest) -> Result<TicketReply, Failure> {
        if request.expires_s == 0 || request.expires_s > TICKET_LIFE_MAX_S {
            return Err(Failure {
                kind: FailureKind::Usage,
                message: format!(
                    "a ticket cannot live for {} s: choose between 1 s and 365 days",
                    request.expires_s
                ),
            });
        }
        let expires_ms = OsClock.unix_ms() + request.expires_s * 1000;
        let ticket = self
            .member
            .issue_ticket(expires_ms, request.uses, request.witness)
            .await
            .map_err(|error| self.admin_failure(error))?;
        Ok(TicketReply {
            ticket: ticket.encode().map_err(failed)?,
            expires_ms,
            uses: request.uses,
        })
    }

    fn formation(&self) -> Formation {
        self.member.known().state().formation()
    }

    async fn set_formation(&self, formation: Formation) -> Result<(), Failure> {
        self.member
            .set_formation(formation)
            .await
            .map_err(|error| self.admin_failure(error))
    }

    async fn role(&self, member: &str, request: RoleRequest) -> Result<(), Failure> {
        let id = self.find(member)?;
        let known = self.member.known();
        let role = known.role(&id).unwrap_or(Role::Worker);
        let witness = known.chain().member(&id).is_some_and(|admitted| admitted.witness);
        let hold = match request {
            RoleRequest::Drain => return self.member.drain(id).await.map_err(|error| self.admin_failure(error)),
            RoleRequest::Promote if witness => Some(Hold::Pinned(Role::Witness)),
            RoleRequest::Promote => Some(Hold::Pinned(Role::Voter)),
            RoleRequest::Demote if role == Role::Voter => Some(Hold::Pinned(Role::Standby)),
            RoleRequest::Demote => Some(Hold::Pinned(Role::Worker)),
            RoleRequest::Release => None,
        };
        self.member
            .hold(id, hold)
            .await
            .map_err(|error| self.admin_failure(error))
    }

    async fn leave(&self) -> Result<(), Failure> {
        self.leave.begin();
        let left = self.member.leave().await;
        self.leave.end(left.is_ok());
        left.map_err(|error| self.admin_failure(error))
    }

    async fn expel(&self, member: &str, reason: &str) -> Result<(), Failure> {
        let id = self.find(member)?;
        if id == self.member.id() {
            return Err(Failure {
                kind: FailureKind::Refused,
                message: "a member does not expel itself: use `engenho leave`".into(),
            });
        }
        self.member
            .expel(id, reason)
            .await
            .map_err(|error| self.admin_failure(error))
    }

    fn chain(&self) -> Result<Bundle, Failure> {
        Ok(self.member.bundle())
    }

    async fn kubeconfig(&self, request: KubeconfigRequest) -> Result<String, Failure> {
        let subject = match request.user {
            Some(user) => ClientSubject::new(user, request.groups),
            None if request.groups.is_empty() => ClientSubject::admin(),
            None => {
                return Err(Failure {
                    kind: FailureKind::Usage,
                    message: "groups need a user: add --user NAME".into(),
                });
            }
        };
        let issuing = self.certificates.kubeconfig(&self.member, request.server, &subject);
        let kubeconfig = match tokio::time::timeout(Duration::from_secs(10), issuing).await {
            Ok(kubeconfig) => kubeconfig.map_err(|error| failed(format!("{error:#}")))?,
            Err(_) => return Err(failed("no replica signed a certificate within 10 s")),
        };
        kubeconfig.render().map(|text| text.to_string()).map_err(failed)
    }

    fn recovery_plan(&self, force: bool) -> Result<RecoverReply, Failure> {
        let (keep, lost) = self.member.recovery_plan(force).map_err(Self::recover_failure)?;
        Ok(RecoverReply {
            keep: self.names(&keep),
            lost: self.names(&lost),
            epoch: None,
        })
    }

    async fn recover(&self, force: bool) -> Result<RecoverReply, Failure> {
        let plan = self.recovery_plan(force)?;
        let epoch = self.member.recover(force).await.map_err(Self::recover_failure)?;
        Ok(RecoverReply {
            epoch: Some(epoch),
            ..plan
        })
    }
}
