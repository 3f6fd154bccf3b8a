//! Why a block cannot follow, or a seal does not hold.

use crate::id::{Hash32, MemberId};
use crate::key::SignatureError;
use crate::role::Role;

use super::state::Standing;

/// Why a block cannot be the next one, or an event is against the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The block belongs somewhere else in the chain.
    #[error("the block has index {got}, the next one is {want}")]
    WrongIndex {
        /// Index of the next block.
        want: u64,
        /// Index of the refused one.
        got: u64,
    },
    /// The block follows another block.
    #[error("block {index} follows {got}, the block before it is {want}")]
    WrongPrev {
        /// Index of the refused block.
        index: u64,
        /// Hash of the block before.
        want: Hash32,
        /// What the refused block names.
        got: Hash32,
    },
    /// The block speaks of another epoch.
    #[error("block {index} is of epoch {got}, want {want}")]
    WrongEpoch {
        /// Index of the refused block.
        index: u64,
        /// The epoch it should have.
        want: u64,
        /// The epoch it has.
        got: u64,
    },
    /// The block comes from an older place in the Raft log than the one before it.
    #[error("block {index} comes from term {term}, log index {log_index}, before that of the block it follows")]
    LogOrder {
        /// Index of the refused block.
        index: u64,
        /// Its term.
        term: u64,
        /// Its log index.
        log_index: u64,
    },
    /// The reason is too long or holds control characters.
    #[error(
        "the reason of block {index} is longer than {} bytes or holds control characters",
        super::REASON_BYTES_MAX
    )]
    BadReason {
        /// Index of the refused block.
        index: u64,
    },
    /// A member's name is not a DNS label.
    #[error("{name:?} is no member name: want 1 to 63 lower-case letters, digits and inner hyphens")]
    BadName {
        /// The refused name, shortened to 80 characters.
        name: String,
    },
    /// The name is in use.
    #[error("the name {name} is already that of member {member}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        member: MemberId,
    },
    /// The key is admitted already, or refused for good.
    #[error("member {member} cannot be admitted: it is {standing}")]
    NotAdmissible {
        /// The key.
        member: MemberId,
        /// What it is.
        standing: Standing,
    },
    /// The cluster is full.
    #[error("the cluster has {} members, the most there can be", super::MEMBERS_MAX)]
    TooManyMembers,
    /// The event speaks of a key that is not admitted.
    #[error("member {member} is {standing}, not admitted")]
    NotAdmitted {
        /// The key.
        member: MemberId,
        /// What it is.
        standing: Standing,
    },
    /// The transition starts from a role that the member does not have.
    #[error("member {member} is a {recorded}, the transition says {claimed}")]
    WrongRole {
        /// The member.
        member: MemberId,
        /// Its role by the chain.
        recorded: Role,
        /// Its role by the event.
        claimed: Role,
    },
    /// The transition changes nothing.
    #[error("member {member} is a {role} already")]
    NoChange {
        /// The member.
        member: MemberId,
        /// Its role.
        role: Role,
    },
    /// Only a member admitted as a witness may be one, and it may not be a voter with an API.
    #[error("member {member} cannot become a {role}: admitted as witness: {witness}")]
    WitnessRole {
        /// The member.
        member: MemberId,
        /// The refused role.
        role: Role,
        /// Whether it was admitted as a witness.
        witness: bool,
    },
    /// The replaced member does not vote, or the new role does not.
    #[error("member {member} as a {role} cannot replace {replaced}: both must vote, and differ")]
    BadReplacement {
        /// The member that changes its role.
        member: MemberId,
        /// Its new role.
        role: Role,
        /// The member it should replace.
        replaced: MemberId,
    },
    /// Nobody would be left to vote.
    #[error("without member {member} the cluster has no voter")]
    LastVoter {
        /// The last voter.
        member: MemberId,
    },
    /// The formation is out of bounds.
    #[error("a formation has 1, 3, 5 or 7 voters and up to 7 standbys")]
    BadFormation,
    /// The list of kept members is not sorted, repeats a member or lacks the survivor.
    #[error("the members kept by a recovery must be sorted, distinct and include the survivor {survivor}")]
    BadKeep {
        /// The survivor.
        survivor: MemberId,
    },
    /// A block that should record a recovery records something else.
    #[error("block {index} records no recovery")]
    NotRecovery {
        /// Index of the block.
        index: u64,
    },
    /// The survivor's signature does not hold.
    #[error("the recovery is not signed by its survivor")]
    RecoverSignature(#[source] SignatureError),
}

/// Why a seal was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no such block.
    #[error("there is no block {index} to seal: the height is {height}")]
    NoSuchBlock {
        /// Index of the seal.
        index: u64,
        /// Height of the chain.
        height: u64,
    },
    /// The block has its seal, or it came too late.
    #[error("block {index} is not waiting for a seal: it has one, or too many blocks followed it")]
    NotWaiting {
        /// Index of the seal.
        index: u64,
    },
    /// The seal is for another block at the same index.
    #[error("the seal of block {index} is for {got}, the block is {want}")]
    WrongHash {
        /// Index of the seal.
        index: u64,
        /// Hash of the block.
        want: Hash32,
        /// Hash that was sealed.
        got: Hash32,
    },
    /// Too few members signed.
    #[error("the seal of block {index} has {got} signatures, want {want}")]
    NoQuorum {
        /// Index of the seal.
        index: u64,
        /// Signatures needed.
        want: usize,
        /// Signatures given.
        got: usize,
    },
    /// More signatures than a seal may carry.
    #[error(
        "the seal of block {index} has {got} signatures, at most {} fit",
        super::SEAL_SIGNATURES_MAX
    )]
    TooMany {
        /// Index of the seal.
        index: u64,
        /// Signatures given.
        got: usize,
    },
    /// The signatures are not in ascending order of member, each member once.
    #[error("the signatures of the seal of block {index} are not sorted by member, each once")]
    NotSorted {
        /// Index of the seal.
        index: u64,
    },
    /// A signer was not admitted when the block was made.
    #[error("{member} signed the seal of block {index} without being admitted")]
    NotAdmitted {
        /// Index of the seal.
        index: u64,
        /// The signer.
        member: MemberId,
    },
    /// A signature does not hold.
    #[error("the seal of block {index} is forged or damaged")]
    Signature {
        /// Index of the seal.
        index: u64,
        /// Which signature.
        #[source]
        source: SignatureError,
    },
}
