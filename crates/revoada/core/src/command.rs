//! What the replicated log carries.
//!
//! An entry is one version byte and then postcard. Every enum here is append-only: the position of a variant is
//! its encoding, so variants and fields are never reordered, removed or given another meaning; new variants go
//! to the end. A change that cannot be made so needs a new [`COMMAND_VERSION`].

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::chain::{Genesis, Seal};
use crate::formation::Formation;
use crate::id::{Hash32, MemberId};
use crate::role::Role;
use crate::transition::{Phase, TransitionSpec};

/// First byte of every encoded command.
pub const COMMAND_VERSION: u8 = 1;

/// The most bytes an encoded command may have: several objects of the largest size that Kubernetes takes.
pub const COMMAND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Who asks, and for the how-manieth time: what makes a retried command count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The member that proposes.
    pub origin: MemberId,
    /// Which run of that member: larger than in every earlier run (a persisted counter, or its start time).
    pub boot: u64,
    /// Number of the request within the run, ascending from 1. Numbers may be left out.
    pub seq: u64,
}

impl RequestId {
    /// The id that stands `count` numbers after this one.
    #[must_use]
    pub const fn after(self, count: u64) -> Self {
        Self {
            seq: self.seq.saturating_add(count),
            ..self
        }
    }
}

/// One log entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A change of the mesh's own state.
    Mesh {
        /// Makes it count once.
        request: RequestId,
        /// Wall clock of the proposer, milliseconds since the Unix epoch.
        at_ms: u64,
        /// The member on whose behalf it is proposed.
        by: MemberId,
        /// The change.
        command: MeshCommand,
    },
    /// A payload for the application.
    App {
        /// Makes it count once.
        request: RequestId,
        /// Refuse unless committed in exactly this term.
        fence: Option<u64>,
        /// Opaque here.
        payload: Bytes,
    },
}

/// A change of the mesh's own state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeshCommand {
    /// The first entry of a cluster.
    Found {
        /// Its hash is the cluster id.
        genesis: Genesis,
    },
    /// Admit a key that showed a ticket's secret.
    Admit {
        /// The newcomer's key.
        member: MemberId,
        /// The name it wants, a DNS label.
        name: String,
        /// Whether it wants to be a witness.
        witness: bool,
        /// Hash of the secret it showed.
        secret_hash: Hash32,
    },
    /// A member goes on its own; it must not be a replica any more.
    Leave {
        /// Who goes.
        member: MemberId,
    },
    /// Refuse a key for good; it must not be a replica any more.
    Expel {
        /// Whom to refuse.
        member: MemberId,
        /// Why, for people.
        reason: String,
    },
    /// Make a ticket valid.
    IssueTicket {
        /// Hash of its secret.
        secret_hash: Hash32,
        /// Until when, milliseconds since the Unix epoch.
        expires_ms: u64,
        /// How many members it admits.
        uses: u32,
        /// Whether whom it admits can only be a witness.
        witness: bool,
    },
    /// Make all tickets worthless.
    RevokeTickets,
    /// Set the target shape.
    SetFormation {
        /// The new target.
        formation: Formation,
    },
    /// Hold a member in or out of a role, or let it go again.
    Hold {
        /// The member.
        member: MemberId,
        /// What to hold it to.
        hold: Option<Hold>,
    },
    /// Begin a role change. Refused while another is in flight.
    BeginTransition {
        /// Which.
        spec: TransitionSpec,
    },
    /// The transition in flight has come further.
    AdvanceTransition {
        /// Its number.
        id: u64,
        /// The phase it has reached.
        phase: Phase,
    },
    /// Give the transition in flight up.
    AbortTransition {
        /// Its number.
        id: u64,
        /// Why, for people.
        reason: String,
    },
    /// Enough signatures under a block.
    Seal {
        /// The seal.
        seal: Seal,
    },
    /// One survivor of a lost majority goes on alone.
    Recover {
        /// The new epoch.
        epoch: u64,
        /// Who goes on.
        survivor: MemberId,
        /// Members that stay admitted, ascending, the survivor among them.
        keep: Vec<MemberId>,
        /// The survivor's signature, see [`crate::chain::recover_message`].
        #[serde(with = "crate::chain::hex64")]
        signature: [u8; 64],
    },
}

impl MeshCommand {
    /// A word for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            MeshCommand::Found { .. } => "found",
            MeshCommand::Admit { .. } => "admit",
            MeshCommand::Leave { .. } => "leave",
            MeshCommand::Expel { .. } => "expel",
            MeshCommand::IssueTicket { .. } => "issue-ticket",
            MeshCommand::RevokeTickets => "revoke-tickets",
            MeshCommand::SetFormation { .. } => "set-formation",
            MeshCommand::Hold { .. } => "hold",
            MeshCommand::BeginTransition { .. } => "begin-transition",
            MeshCommand::AdvanceTransition { .. } => "advance-transition",
            MeshCommand::AbortTransition { .. } => "abort-transition",
            MeshCommand::Seal { .. } => "seal",
            MeshCommand::Recover { .. } => "recover",
        }
    }
}

/// What an operator asked of a member's role. It stays until lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// No replica: it is moved out, and chosen for nothing.
    Drained,
    /// `Voter` (or `Witness` for a witness): first choice for a vote. `Standby`: first choice for a standby and
    /// never a voter. `Worker`: no replica.
    Pinned(Role),
}

/// Why bytes are no command, outcome or snapshot of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than allowed.
    #[error("a {what} of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// What was to be coded.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Written by a newer program, or not by ours at all.
    #[error("a {what} of version {version}, this program knows {known}: upgrade it")]
    Version {
        /// What was read.
        what: &'static str,
        /// The version it claims.
        version: u8,
        /// The version known here.
        known: u8,
    },
    /// Truncated, damaged, or with bytes left over.
    #[error("a damaged {what}: {reason}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Command {
    /// The bytes of the log entry.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        encode("command", COMMAND_VERSION, COMMAND_BYTES_MAX, self)
    }

    /// Reads what [`Command::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode("command", COMMAND_VERSION, COMMAND_BYTES_MAX, bytes)
    }

    /// What makes it count once.
    pub const fn request(&self) -> &RequestId {
        match self {
            Command::Mesh { request, .. } | Command::App { request, .. } => request,
        }
    }
}

/// A version byte and postcard, within a bound.
pub(crate) fn encode<T: Serialize>(
    what: &'static str,
    version: u8,
    bytes_max: usize,
    value: &T,
) -> Result<Bytes, CodecError> {
    let damaged = |error: postcard::Error| CodecError::Damaged {
        what,
        reason: error.to_string(),
    };
    let bytes = postcard::to_extend(value, vec![version]).map_err(damaged)?;
    if bytes.len() > bytes_max {
        return Err(CodecError::TooLarge {
            what,
            bytes: bytes.len(),
            bytes_max,
        });
    }
    Ok(bytes.into())
}

/// The reverse of [`encode`]; nothing may be left over.
pub(crate) fn decode<T: DeserializeOwned>(
    what: &'static str,
    known: u8,
    bytes_max: usize,
    bytes: &[u8],
) -> Result<T, CodecError> {
    if bytes.len() > bytes_max {
        return Err(CodecError::TooLarge {
            what,
            bytes: bytes.len(),
            bytes_max,
        });
    }
    let damaged = |reason: String| CodecError::Damaged { what, reason };
    let (version, body) = bytes.split_first().ok_or_else(|| damaged("it is empty".to_owned()))?;
    if *version != known {
        return Err(CodecError::Version {
            what,
            version: *version,
            known,
        });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| damaged(error.to_string()))?;
    if !rest.is_empty() {
        return Err(damaged(format!("{} bytes are left over", rest.len())));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> RequestId {
        RequestId {
            origin: MemberId([7; 32]),
            boot: 3,
            seq: 9,
        }
    }

    fn mesh(command: MeshCommand) -> Command {
        Command::Mesh {
            request: request(),
            at_ms: 1_700_000_000_000,
            by: MemberId([1; 32]),
            command,
        }
    }

    #[test]
    fn commands_round_trip() {
        let id = MemberId([2; 32]);
        let spec = TransitionSpec {
            member: id,
            from: Role::Worker,
            to: Role::Voter,
            replaces: Some(MemberId([3; 32])),
            reason: "voter is dead".into(),
        };
        let genesis = Genesis {
            founder: id,
            founder_name: "n1".into(),
            created_ms: 5,
            salt: Hash32([4; 32]),
        };
        let commands = [
            MeshCommand::Found { genesis },
            MeshCommand::Admit {
                member: id,
                name: "n2".into(),
                witness: true,
                secret_hash: Hash32([5; 32]),
            },
            MeshCommand::IssueTicket {
                secret_hash: Hash32([5; 32]),
                expires_ms: 9,
                uses: 2,
                witness: false,
            },
            MeshCommand::RevokeTickets,
            MeshCommand::SetFormation {
                formation: Formation {
                    voters: Some(3),
                    ..Formation::default()
                },
            },
            MeshCommand::Hold {
                member: id,
                hold: Some(Hold::Pinned(Role::Standby)),
            },
            MeshCommand::BeginTransition { spec },
            MeshCommand::AdvanceTransition {
                id: 4,
                phase: Phase::Joint,
            },
            MeshCommand::Seal {
                seal: Seal {
                    index: 1,
                    hash: Hash32([6; 32]),
                    signatures: Vec::new(),
                },
            },
            MeshCommand::Recover {
                epoch: 2,
                survivor: id,
                keep: vec![id],
                signature: [9; 64],
            },
        ];
        for command in commands.map(mesh) {
            assert_eq!(Command::decode(&command.encode().unwrap()), Ok(command));
        }
    }

    /// The encoding is on disk and on the wire: it must not move.
    #[test]
    fn the_encoding_is_stable() {
        let app = Command::App {
            request: request(),
            fence: Some(300),
            payload: Bytes::from_static(b"hi"),
        };
        let origin = "07".repeat(32);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&app.encode().unwrap()),
            format!("0101{origin}030901ac02026869")
        );
        let advance = mesh(MeshCommand::AdvanceTransition {
            id: 4,
            phase: Phase::Committed,
        });
        let by = "01".repeat(32);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&advance.encode().unwrap()),
            format!("0100{origin}030980d095ffbc31{by}090404"),
        );
    }

    #[test]
    fn bounds_and_versions_are_checked() {
        let payload = Bytes::from(vec![0; COMMAND_BYTES_MAX]);
        let large = Command::App {
            request: request(),
            fence: None,
            payload,
        };
        assert!(matches!(large.encode(), Err(CodecError::TooLarge { .. })));
        let bytes = mesh(MeshCommand::RevokeTickets).encode().unwrap();
        let mut newer = bytes.to_vec();
        newer[0] = 2;
        assert_eq!(
            Command::decode(&newer),
            Err(CodecError::Version {
                what: "command",
                version: 2,
                known: 1
            })
        );
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(matches!(Command::decode(&longer), Err(CodecError::Damaged { .. })));
        for cut in 0..bytes.len() {
            assert!(Command::decode(&bytes[..cut]).is_err());
        }
    }

    proptest! {
        #[test]
        fn decoding_garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), ours: bool) {
            if ours && !bytes.is_empty() {
                bytes[0] = COMMAND_VERSION;
            }
            if let Ok(command) = Command::decode(&bytes) {
                prop_assert_eq!(Command::decode(&command.encode().unwrap()), Ok(command));
            }
        }
    }
}
