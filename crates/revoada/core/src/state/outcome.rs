//! What applying a mesh command answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain::Standing;
use crate::command::{CodecError, decode, encode};
use crate::id::{ClusterId, MemberId};
use crate::role::Role;
use crate::transition::Phase;

const VERSION: u8 = 1;
const BYTES_MAX: usize = 64 * 1024;

/// The answer to a [`crate::command::MeshCommand`]. Append-only: the order of the variants is their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeshOutcome {
    /// The cluster exists.
    Founded {
        /// Its id.
        cluster: ClusterId,
    },
    /// The key is admitted.
    Admitted {
        /// The key.
        member: MemberId,
        /// Its name.
        name: String,
        /// Whether it can only be a witness.
        witness: bool,
        /// Whether it was admitted before, under the same name; no use of the ticket was spent.
        again: bool,
    },
    /// The member left.
    Left {
        /// Who.
        member: MemberId,
    },
    /// The key is refused from now on.
    Expelled {
        /// Whose.
        member: MemberId,
    },
    /// The ticket is valid.
    TicketIssued {
        /// Until when, milliseconds since the Unix epoch.
        expires_ms: u64,
        /// For how many members.
        uses: u32,
    },
    /// No ticket is valid any more.
    TicketsRevoked {
        /// How many still were.
        count: u32,
    },
    /// The target shape is set.
    FormationSet,
    /// The hold is set or lifted.
    HoldSet {
        /// Whose.
        member: MemberId,
    },
    /// The transition is in flight.
    TransitionStarted {
        /// Its number.
        id: u64,
    },
    /// The transition is in that phase.
    TransitionAt {
        /// Its number.
        id: u64,
        /// Its phase.
        phase: Phase,
    },
    /// The transition was given up.
    TransitionAborted {
        /// Its number.
        id: u64,
    },
    /// The block is sealed.
    Sealed {
        /// Its index.
        index: u64,
    },
    /// The cluster goes on in a new epoch.
    Recovered {
        /// The epoch.
        epoch: u64,
    },
    /// Nothing was changed.
    Refused(MeshRefusal),
}

impl MeshOutcome {
    /// The refusal as an error.
    pub fn into_result(self) -> Result<MeshOutcome, MeshRefusal> {
        match self {
            MeshOutcome::Refused(refusal) => Err(refusal),
            outcome => Ok(outcome),
        }
    }

    /// As the answer to a log entry.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        encode("mesh outcome", VERSION, BYTES_MAX, self)
    }

    /// Reads what [`MeshOutcome::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode("mesh outcome", VERSION, BYTES_MAX, bytes)
    }
}

/// Why a mesh command changed nothing. Append-only: the order of the variants is their encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MeshRefusal {
    /// The log begins with something else than `Found`.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// `Found` came twice.
    #[error("the cluster exists already: its id is {cluster}")]
    AlreadyFounded {
        /// Its id.
        cluster: ClusterId,
    },
    /// No ticket has that secret.
    #[error("the ticket is not known to this cluster, or was revoked: make a new one with `engenho ticket`")]
    TicketUnknown,
    /// The ticket is too old.
    #[error(
        "the ticket expired {} s ago: make a new one with `engenho ticket`",
        now_ms.saturating_sub(*expired_ms) / 1000
    )]
    TicketExpired {
        /// When it expired, milliseconds since the Unix epoch.
        expired_ms: u64,
        /// The leader's time.
        now_ms: u64,
    },
    /// The ticket admitted as many as it could.
    #[error("the ticket is used up: it was good for {uses} member(s); make a new one with `engenho ticket`")]
    TicketUsedUp {
        /// For how many it was good.
        uses: u32,
    },
    /// A ticket of no use was asked for.
    #[error("a ticket must be good for at least one member and expire in the future")]
    TicketUseless,
    /// Too many tickets are valid at once.
    #[error("{count} tickets are valid, the most there can be: let some expire or revoke them all")]
    TooManyTickets {
        /// How many there are.
        count: u32,
    },
    /// The key is refused for good.
    #[error("member {member} was expelled and is refused for good: join with a new data directory")]
    KeyExpelled {
        /// The key.
        member: MemberId,
    },
    /// The key belongs to an epoch that is over.
    #[error("member {member} is fenced since epoch {epoch}: join with a new data directory")]
    KeyFenced {
        /// The key.
        member: MemberId,
        /// The epoch that began without it.
        epoch: u64,
    },
    /// Another member has that name.
    #[error("the name {name} is taken by member {}: choose another with --name", member.short())]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        member: MemberId,
    },
    /// The member is admitted under another name.
    #[error("this member is admitted already, as {name}: start it under that name")]
    AdmittedAs {
        /// Its name.
        name: String,
    },
    /// The key is not admitted.
    #[error("member {member} is not admitted to this cluster")]
    NotAdmitted {
        /// The key.
        member: MemberId,
    },
    /// The member must be demoted first.
    #[error("member {member} is still a {role}: drain it first, and see that another member can take its place")]
    StillReplica {
        /// The member.
        member: MemberId,
        /// Its role.
        role: Role,
    },
    /// A role change of the member is in flight.
    #[error("transition {id} of member {member} is in flight: try again when it has ended")]
    InTransition {
        /// The member.
        member: MemberId,
        /// The transition.
        id: u64,
    },
    /// Only one transition at a time.
    #[error("transition {id} is in flight: one at a time")]
    TransitionInFlight {
        /// Which.
        id: u64,
    },
    /// The transition makes no sense.
    #[error("the transition is refused: {reason}")]
    BadTransition {
        /// Why.
        reason: String,
    },
    /// The transition is not the one in flight: the asker looked at an old state.
    #[error("transition {id} is not in flight")]
    StaleTransition {
        /// Which.
        id: u64,
    },
    /// Phases only go forward, and to `Sealed` only by a seal.
    #[error("transition {id} is {phase} and cannot become {wanted}")]
    PhaseOrder {
        /// Which.
        id: u64,
        /// Its phase.
        phase: Phase,
        /// The refused one.
        wanted: Phase,
    },
    /// The hold is not for that kind of member.
    #[error("member {member} cannot be held to {role}: {reason}")]
    BadHold {
        /// Which.
        member: MemberId,
        /// The refused role.
        role: Role,
        /// Why.
        reason: String,
    },
    /// With the hold nobody could vote.
    #[error("without member {member} no member would be left to vote: add another member first")]
    NobodyLeft {
        /// Which.
        member: MemberId,
    },
    /// A rule of the chain forbids it.
    #[error("{message}")]
    Chain {
        /// Which, in words.
        message: String,
    },
}

impl MeshRefusal {
    /// The refusal of a key that is not admitted.
    pub(super) fn of_standing(member: MemberId, standing: &Standing) -> Self {
        match standing {
            Standing::Expelled => MeshRefusal::KeyExpelled { member },
            Standing::Fenced { epoch } => MeshRefusal::KeyFenced { member, epoch: *epoch },
            Standing::Admitted(_) | Standing::Unknown | Standing::Left => MeshRefusal::NotAdmitted { member },
        }
    }
}

impl From<crate::chain::ChainError> for MeshRefusal {
    fn from(error: crate::chain::ChainError) -> Self {
        use crate::chain::ChainError;
        match error {
            ChainError::NameTaken { name, member } => MeshRefusal::NameTaken { name, member },
            ChainError::NotAdmissible { member, standing } | ChainError::NotAdmitted { member, standing } => {
                MeshRefusal::of_standing(member, &standing)
            }
            other => MeshRefusal::Chain {
                message: other.to_string(),
            },
        }
    }
}
