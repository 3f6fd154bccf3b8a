//! What one run observed. Written by the simulation, read by the invariants.
//!
//! Every observation carries a [`Stamp`]: its place in the one order in which the single-threaded simulation made
//! all observations, and the simulated time. A call that was made at stamp `a` and answered at stamp `b` took effect,
//! if at all, between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use revoada_core::MemberId;
use revoada_core::state::MeshState;
use revoada_core::view::RaftView;

/// When something was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Position in the order of all observations; unique.
    pub order: u64,
    /// Simulated milliseconds since the start.
    pub at_ms: u64,
}

/// A digest of something whose bytes don't matter.
pub type Digest = [u8; 32];

/// One call of a client on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Who called; a client makes one call at a time.
    pub client: u32,
    /// The machine whose API endpoint was asked.
    pub machine: u16,
    /// Storage key.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// When it was asked.
    pub invoked: Stamp,
    /// When the answer came; `None` if none came, for whatever reason: the outcome is unknown and the call may take
    /// effect at any time after `invoked`, or never.
    pub returned: Option<Stamp>,
    /// The answer; [`Outcome::Unknown`] exactly when `returned` is `None`.
    pub outcome: Outcome,
}

/// What a client asks. Values are unique over the run, so that a value names the write it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Write, if there is no such key.
    Create {
        /// What to write.
        value: String,
    },
    /// Write, if the key is there and, when given, at exactly this revision.
    Update {
        /// What to write.
        value: String,
        /// Revision that it replaces.
        expected: Option<u64>,
    },
    /// Delete, if the key is there and, when given, at exactly this revision.
    Delete {
        /// Revision that it deletes.
        expected: Option<u64>,
    },
    /// Linearizable read.
    Get,
}

/// What a client was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The write took effect; `revision` is the resourceVersion it made (0 when the answer does not say).
    Written {
        /// Of the write.
        revision: u64,
    },
    /// The read found this. An answer that the server marked as stale promises nothing and is [`Outcome::Unknown`];
    /// so is a stale "not found".
    Found {
        /// What was read.
        value: String,
        /// The resourceVersion of the value.
        revision: u64,
    },
    /// Nothing there (404).
    Absent,
    /// Something is there already (409 AlreadyExists).
    Exists,
    /// It is there at another revision (409 Conflict).
    Conflict,
    /// Surely had no effect (503 without quorum, 429, connection refused before anything was sent).
    Refused {
        /// HTTP status, or 0 when there was none.
        code: u16,
    },
    /// May or may not take effect (504, connection lost).
    Unknown,
}

/// One list, of everything below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Who listed.
    pub client: u32,
    /// The machine whose API endpoint was asked.
    pub machine: u16,
    /// Storage prefix.
    pub prefix: String,
    /// When it was asked.
    pub invoked: Stamp,
    /// When the answer had come whole.
    pub returned: Stamp,
    /// The list's resourceVersion.
    pub revision: u64,
    /// Key to value and resourceVersion.
    pub items: BTreeMap<String, (String, u64)>,
}

/// One watch request, from its opening until it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Who watched. Its watches of one prefix follow one another, each from where the last one ended, or after a 410
    /// from a fresh list.
    pub client: u32,
    /// The machine whose API endpoint was asked.
    pub machine: u16,
    /// Storage prefix.
    pub prefix: String,
    /// The resourceVersion that it was opened from: later changes are wanted.
    pub from: u64,
    /// When it was opened.
    pub opened: Stamp,
    /// What came, in the order it came.
    pub seen: Vec<Seen>,
    /// How it ended.
    pub end: WatchEnd,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When it came.
    pub at: Stamp,
    /// Its resourceVersion.
    pub revision: u64,
    /// What it says.
    pub what: SeenKind,
}

/// What a watch event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenKind {
    /// ADDED.
    Added {
        /// Storage key.
        key: String,
        /// Value.
        value: String,
    },
    /// MODIFIED.
    Modified {
        /// Storage key.
        key: String,
        /// Value.
        value: String,
    },
    /// DELETED.
    Deleted {
        /// Storage key.
        key: String,
    },
    /// BOOKMARK: everything up to the revision was delivered.
    Bookmark,
}

/// How a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// It still ran when the run ended.
    Open,
    /// The server ended it, or the connection broke: the client resumes.
    Closed,
    /// 410: the client lists again.
    Gone,
    /// It could not be opened at all.
    Failed,
}

/// A lease of the store, as its owner saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its id.
    pub id: i64,
    /// Time to live, milliseconds.
    pub ttl_ms: u64,
    /// When the grant was asked for and answered (`None`: unknown).
    pub granted: (Stamp, Option<Stamp>),
    /// Keep-alives: when asked for and answered (`None`: unknown).
    pub kept: Vec<(Stamp, Option<Stamp>)>,
    /// When the owner asked to revoke it, if it did.
    pub revoked: Option<Stamp>,
    /// When any replica first applied its end (revocation or expiry).
    pub ended: Option<Stamp>,
}

/// One entry that one replica applied. Snapshot restores leave gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Which opening of its replica: grows with each.
    pub incarnation: u32,
    /// Recovery epoch that the replica belongs to.
    pub epoch: u64,
    /// Index in the log.
    pub index: u64,
    /// Term of the entry.
    pub term: u64,
    /// Of the entry's payload.
    pub payload: Digest,
    /// Of what applying it answered.
    pub response: Digest,
    /// The store's revision afterwards.
    pub revision: u64,
    /// What it changed, in order.
    pub changes: Vec<Change>,
    /// The term that its writer believed in, for fenced writes that took effect, where it is known.
    pub fence: Option<u64>,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Storage key.
    pub key: String,
    /// The new value as clients see it; `None` for a delete. Empty for kinds that the workload doesn't write.
    pub value: Option<String>,
    /// Revision.
    pub revision: u64,
}

/// A replica's state was replaced by a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Which opening of its replica.
    pub incarnation: u32,
    /// Recovery epoch.
    pub epoch: u64,
    /// Index that the snapshot stands for.
    pub index: u64,
    /// The store's revision afterwards.
    pub revision: u64,
}

/// A member began to lead: it was elected and has applied everything before its term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Member.
    pub member: MemberId,
    /// Recovery epoch.
    pub epoch: u64,
    /// Term.
    pub term: u64,
    /// Index of the last entry it had applied.
    pub applied: u64,
}

/// A replica's Raft state as it shows itself, noted when any of it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftNote {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Which opening of its replica.
    pub incarnation: u32,
    /// Recovery epoch.
    pub epoch: u64,
    /// Current term.
    pub term: u64,
    /// Whether it holds itself for the leader of that term.
    pub leads: bool,
}

/// The entries of one replica's durable log, read from its disk after a crash or at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogImage {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Recovery epoch.
    pub epoch: u64,
    /// Everything up to this index was purged.
    pub purged: u64,
    /// Term and digest of each entry, by index; the digest is of all its bytes.
    pub entries: BTreeMap<u64, (u64, Digest)>,
}

/// What a member held for the state of the cluster, noted when it changed.
#[derive(Debug, Clone)]
pub struct Picture {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Whether the member has a replica, so that this is its own applied state, not one it was sent.
    pub replica: bool,
    /// Replicated state.
    pub state: Arc<MeshState>,
    /// Raft configuration.
    pub raft: RaftView,
}

/// A member served a peer: it accepted a stream or a gossip message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// When.
    pub at: Stamp,
    /// Who served.
    pub machine: u16,
    /// Whom.
    pub peer: MemberId,
}

/// [`FaultNote::kind`] of a recovery: noted when the survivor (the note's only machine) is asked for it. What that
/// machine does from then on belongs to the new epoch, if there comes to be one.
pub const RECOVER: &str = "recover";

/// Something was done to the world, or by its operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultNote {
    /// When.
    pub at: Stamp,
    /// Its kind, for counting.
    pub kind: &'static str,
    /// All of it, for people.
    pub what: String,
    /// Machines that it concerns.
    pub machines: Vec<u16>,
}

/// How a machine stood at the end of the run.
#[derive(Debug, Clone)]
pub struct Final {
    /// Machine.
    pub machine: u16,
    /// Its present key; `None` if it never joined.
    pub member: Option<MemberId>,
    /// Whether its process ran.
    pub running: bool,
    /// Why it refuses to take part, if it does.
    pub halted: Option<String>,
    /// Index of the last applied entry, with a replica.
    pub applied: Option<u64>,
    /// Digest of the store at the end, and the index of the last entry that it applied by then, with a replica.
    pub store: Option<(Digest, u64)>,
    /// Recovery epoch.
    pub epoch: u64,
    /// Replicated state.
    pub state: Option<Arc<MeshState>>,
    /// Raft configuration.
    pub raft: Option<RaftView>,
    /// Whether its API endpoint answered a linearizable read at the end.
    pub api: bool,
}

/// A machine's process began or ended, for whatever reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// Whether it runs from now on.
    pub up: bool,
}

/// An endpoint shows a new certificate from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// When.
    pub at: Stamp,
    /// Machine.
    pub machine: u16,
    /// When it ends, milliseconds of simulated time.
    pub until_ms: u64,
}

/// An expected refusal that was tried: an expelled, fenced or foreign member that wanted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When it was tried.
    pub at: Stamp,
    /// By which machine.
    pub machine: u16,
    /// Whether it was refused, as it should.
    pub refused: bool,
    /// What it was told.
    pub told: String,
}

/// Everything that one run observed. Observations of replicas stand in the order in which they were made.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Everything followed from it.
    pub seed: u64,
    /// Calls on single keys.
    pub ops: Vec<Op>,
    /// Lists.
    pub lists: Vec<List>,
    /// Watches.
    pub watches: Vec<Watch>,
    /// Leases of the store.
    pub leases: Vec<LeaseRecord>,
    /// Applied entries.
    pub applied: Vec<Applied>,
    /// Restored snapshots.
    pub restored: Vec<Restored>,
    /// Leaderships.
    pub leading: Vec<Leading>,
    /// Raft states.
    pub raft: Vec<RaftNote>,
    /// Durable logs.
    pub logs: Vec<LogImage>,
    /// Pictures of the cluster.
    pub pictures: Vec<Picture>,
    /// Served peers: the first and the last of each pair, and any after an expulsion.
    pub served: Vec<Served>,
    /// Tried refusals.
    pub refusals: Vec<Refusal>,
    /// The machine of every member that there ever was; those at the end and those that led are known anyway.
    pub members: BTreeMap<MemberId, u16>,
    /// Processes that began and ended. A machine that isn't named always ran.
    pub power: Vec<Power>,
    /// Certificates of endpoints.
    pub certificates: Vec<Certificate>,
    /// No fault of this run lasts long enough to keep a certificate from being renewed.
    pub certificates_last: bool,
    /// Faults and operator actions.
    pub faults: Vec<FaultNote>,
    /// When the last fault ended.
    pub calm: Stamp,
    /// When the run ended.
    pub ended: Stamp,
    /// Machines at the end.
    pub finals: Vec<Final>,
}
