//! The small traits through which an engine reaches consensus, and consensus reaches the engine.
//!
//! `revoada` implements [`Consensus`] and drives an [`Application`]; the engine does the reverse. Neither
//! knows the other's types: payloads and responses are bytes.

use std::future::Future;
use std::io::{Read, Write};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::command::RequestId;
use crate::id::MemberId;

/// A boxed future, so that the traits stay object-safe and free of any runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A payload that was committed and applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Log index of the entry that carried it.
    pub index: u64,
    /// What [`Application::apply`] answered.
    pub response: Bytes,
}

/// Why a proposal has no known result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No majority of voters answers; nothing was written.
    #[error("the cluster has no quorum: {} of {voters} voters are missing", missing.len())]
    NoQuorum {
        /// Voters that do not answer.
        missing: Vec<MemberId>,
        /// Number of voters in the configuration.
        voters: usize,
    },
    /// The deadline passed and the entry may or may not be applied later.
    #[error("the outcome of the write is unknown: no answer within {waited_ms} ms")]
    Unknown {
        /// How long was waited.
        waited_ms: u64,
    },
    /// The payload exceeds the bound of one log entry.
    #[error("the payload has {bytes} bytes, at most {bytes_max} fit in one log entry")]
    TooLarge {
        /// Size of the refused payload.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The write was fenced: its term is older than the log's.
    #[error("refused: written for term {fence}, the log is at term {term}")]
    Fenced {
        /// The term the writer believed in.
        fence: u64,
        /// The term at which the entry was applied.
        term: u64,
    },
    /// Writes are halted on purpose (disk full, a split-brain proof, shutdown).
    #[error("writes are halted: {reason}")]
    Halted {
        /// Why, for people.
        reason: String,
    },
}

/// Why a linearizable read cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No majority of voters answers.
    #[error("the cluster has no quorum: {} of {voters} voters are missing", missing.len())]
    NoQuorum {
        /// Voters that do not answer.
        missing: Vec<MemberId>,
        /// Number of voters in the configuration.
        voters: usize,
    },
    /// The deadline passed before this replica caught up.
    #[error("no read index within {waited_ms} ms")]
    Timeout {
        /// How long was waited.
        waited_ms: u64,
    },
}

/// What a replica knows of consensus at this moment; a hint, not a promise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsensusStatus {
    /// The leader this replica follows.
    pub leader: Option<MemberId>,
    /// Whether this member is that leader.
    pub is_leader: bool,
    /// Current term.
    pub term: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Whether a leader is known and hears a majority.
    pub quorum: bool,
    /// Voters that gossip holds for dead, when there is no quorum.
    pub missing: Vec<MemberId>,
    /// Number of voters.
    pub voters: usize,
}

/// Consensus as an engine sees it.
pub trait Consensus: Send + Sync + 'static {
    /// Commits `payload` and applies it exactly once, wherever the leader is. With `fence`, the state
    /// machine refuses the entry unless it is committed in exactly that term.
    fn propose(
        &self,
        payload: Bytes,
        fence: Option<u64>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// Like [`Consensus::propose`], under an id that somebody else chose: the payload is applied unless one was
    /// under the same id, wherever that was proposed. The response is that of the payload that was applied *first*,
    /// so the caller must be able to tell it from its own. [`ProposeError::Unknown`] also if the id is older than
    /// what is remembered of its origin.
    fn propose_as(
        &self,
        request: RequestId,
        payload: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// Returns once this replica has applied everything that was committed when the call was made.
    /// Concurrent calls share one round trip. Gives the applied index.
    fn read_index(&self, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// The present status.
    fn status(&self) -> ConsensusStatus;
}

/// Where in the log an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// Log index.
    pub index: u64,
    /// Term of the leader that committed it.
    pub term: u64,
}

/// A consistent image of an application's state, written out without holding up `apply`.
pub trait ApplicationImage: Send {
    /// Writes the image. The bytes are the same on every replica at the same index.
    fn write(&mut self, out: &mut dyn Write) -> std::io::Result<()>;
}

/// The replicated state of an engine. `apply` is deterministic: same entries, same state and responses.
pub trait Application: Send + Sync + 'static {
    /// Applies one committed payload. Called in log order, from one thread at a time.
    fn apply(&self, at: LogPosition, payload: &[u8]) -> Bytes;

    /// Called after each batch of `apply`, so that watchers are woken once a batch.
    fn applied(&self, index: u64);

    /// A consistent image as of the last applied entry; cheap to take.
    fn image(&self) -> Box<dyn ApplicationImage>;

    /// Replaces the whole state with a written image; `index` is the log index it stands for.
    fn restore(&self, index: u64, input: &mut dyn Read) -> std::io::Result<()>;
}
