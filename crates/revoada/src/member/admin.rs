//! What an operator may ask of the cluster, through any member.

use std::time::Duration;

use revoada_core::chain::{Bundle, Checkpoint};
use revoada_core::command::{Hold, MeshCommand};
use revoada_core::consensus::ProposeError;
use revoada_core::formation::Formation;
use revoada_core::state::{MeshOutcome, MeshRefusal};
use revoada_core::ticket::Ticket;
use revoada_core::{MemberId, Role};
use revoada_mesh::Refusal;
use tokio::time::Instant;

use super::{Member, Shared};

/// Deadline of one administrative write.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long leaving, draining or expelling waits for the role change.
const MOVE_DEADLINE: Duration = Duration::from_secs(60);

/// Why an operator's request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The cluster refused it.
    #[error("{0}")]
    Refused(String),
    /// It could not be committed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// No such member.
    #[error("no member is called {wanted:?}: `engenho status` lists names and ids")]
    NoSuchMember {
        /// What was asked for.
        wanted: String,
    },
    /// Several members match.
    #[error("{wanted:?} matches {count} members: give more digits of the id, or the name")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// How many match.
        count: usize,
    },
    /// The role change did not end in time.
    #[error("{member} is still a {role} after {} s: {hint}", MOVE_DEADLINE.as_secs())]
    StillThere {
        /// Its name.
        member: String,
        /// Its role.
        role: Role,
        /// What to look at.
        hint: String,
    },
}

impl Shared {
    pub(crate) async fn admin(&self, command: MeshCommand) -> Result<MeshOutcome, AdminError> {
        match self.propose_mesh(command, DEADLINE).await? {
            MeshOutcome::Refused(refusal) => Err(AdminError::Refused(refusal.to_string())),
            outcome => Ok(outcome),
        }
    }
}

impl Member {
    /// Finds a member by name, id or the beginning of an id.
    pub fn find(&self, wanted: &str) -> Result<MemberId, AdminError> {
        let known = self.known();
        let admitted = known.chain().admitted();
        if let Some((id, _)) = admitted.iter().find(|(_, member)| member.name == wanted) {
            return Ok(*id);
        }
        let matching: Vec<MemberId> = admitted
            .keys()
            .filter(|id| wanted.len() >= 4 && id.to_string().starts_with(&wanted.to_lowercase()))
            .copied()
            .collect();
        match matching[..] {
            [id] => Ok(id),
            [] => Err(AdminError::NoSuchMember {
                wanted: wanted.to_owned(),
            }),
            _ => Err(AdminError::Ambiguous {
                wanted: wanted.to_owned(),
                count: matching.len(),
            }),
        }
    }

    /// Makes a ticket that admits `uses` members until `expires_ms` (milliseconds since the Unix epoch).
    pub async fn issue_ticket(&self, expires_ms: u64, uses: u32, witness: bool) -> Result<Ticket, AdminError> {
        let mut secret = [0; 32];
        self.shared.options.entropy.fill(&mut secret);
        let ticket = Ticket {
            cluster: self.shared.cluster,
            issuer: self.shared.me,
            addresses: self.ticket_addresses(),
            secret,
            expires_ms,
            witness,
        };
        ticket
            .validate()
            .map_err(|error| AdminError::Refused(error.to_string()))?;
        let command = MeshCommand::IssueTicket {
            secret_hash: ticket.secret_hash(),
            expires_ms,
            uses,
            witness,
        };
        self.shared.admin(command).await?;
        Ok(ticket)
    }

    /// This member's addresses first, then one of each other live member, so that a ticket outlives its issuer.
    fn ticket_addresses(&self) -> Vec<String> {
        let everyone = self.shared.gossip.everyone().borrow().clone();
        let others = everyone
            .iter()
            .filter(|(id, heard)| **id != self.shared.me && heard.liveness.is_alive())
            .filter_map(|(_, heard)| heard.announcement.addresses.first());
        let mine = self.shared.addresses();
        let mut addresses: Vec<String> = Vec::new();
        for address in mine.iter().take(8).chain(others) {
            let address = address.to_string();
            if !addresses.contains(&address) && addresses.len() < revoada_core::ticket::TICKET_ADDRESSES_MAX {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Makes every ticket worthless.
    pub async fn revoke_tickets(&self) -> Result<(), AdminError> {
        self.shared.admin(MeshCommand::RevokeTickets).await.map(|_| ())
    }

    /// Sets the target shape.
    pub async fn set_formation(&self, formation: Formation) -> Result<(), AdminError> {
        self.shared
            .admin(MeshCommand::SetFormation { formation })
            .await
            .map(|_| ())
    }

    /// Holds a member in or out of a role; `None` lifts it.
    pub async fn hold(&self, member: MemberId, hold: Option<Hold>) -> Result<(), AdminError> {
        self.shared.admin(MeshCommand::Hold { member, hold }).await.map(|_| ())
    }

    /// Moves a member out of every replica role and waits until it is.
    pub async fn drain(&self, member: MemberId) -> Result<(), AdminError> {
        self.hold(member, Some(Hold::Drained)).await?;
        self.wait_for_worker(member).await
    }

    async fn wait_for_worker(&self, member: MemberId) -> Result<(), AdminError> {
        let mut known = self.watch_known();
        let moved = known.wait_for(|known| known.state().role(&member).is_none_or(|role| role == Role::Worker));
        if tokio::time::timeout(MOVE_DEADLINE, moved).await.is_ok() {
            return Ok(());
        }
        let known = self.known();
        let name = known
            .chain()
            .member(&member)
            .map_or_else(|| member.short(), |found| found.name.clone());
        let role = known.role(&member).unwrap_or(Role::Worker);
        Err(AdminError::StillThere {
            member: name,
            role,
            hint: "is another member able to take its place? see `engenho status`".into(),
        })
    }

    /// Removes a key for good. A replica is moved out first.
    pub async fn expel(&self, member: MemberId, reason: &str) -> Result<(), AdminError> {
        self.depart(
            member,
            MeshCommand::Expel {
                member,
                reason: reason.to_owned(),
            },
        )
        .await
    }

    /// This member leaves the cluster; its key is no longer admitted afterwards.
    pub async fn leave(&self) -> Result<(), AdminError> {
        let me = self.shared.me;
        let mut refused = self.shared.refused.subscribe();
        tokio::select! {
            left = self.depart(me, MeshCommand::Leave { member: me }) => left,
            // Everybody hangs up on who left, and may have done so before the answer was there.
            Ok(_) = refused.wait_for(|refusal| *refusal == Some(Refusal::Left)) => Ok(()),
        }
    }

    async fn depart(&self, member: MemberId, command: MeshCommand) -> Result<(), AdminError> {
        let deadline = Instant::now() + MOVE_DEADLINE;
        let known = self.known();
        if known.members().len() == 1 {
            return Err(AdminError::Refused(
                "the only member cannot go: it is the cluster".into(),
            ));
        }
        if known.state().role(&member).is_some_and(Role::is_replica) {
            self.drain(member).await?;
        }
        loop {
            match self.shared.propose_mesh(command.clone(), DEADLINE).await? {
                // Its last role change is being recorded: a moment later it has none.
                MeshOutcome::Refused(MeshRefusal::StillReplica { .. } | MeshRefusal::InTransition { .. })
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                MeshOutcome::Refused(refusal) => return Err(AdminError::Refused(refusal.to_string())),
                _ => return Ok(()),
            }
        }
    }

    /// The chain with its seals and a checkpoint signed by this member, for offline verification.
    pub fn bundle(&self) -> Bundle {
        let known = self.known();
        let state = known.state();
        let mut checkpoint = Checkpoint::new(known.chain());
        // A signature by a key of its own never fails to be added to a fresh checkpoint.
        if let Err(error) = checkpoint.sign(self.key()) {
            tracing::error!(%error, "the checkpoint could not be signed");
        }
        let seals = state.seals().values().cloned().collect();
        Bundle::new(
            known.chain().genesis_block().clone(),
            state.blocks().to_vec(),
            seals,
            checkpoint.to_string(),
        )
    }
}
