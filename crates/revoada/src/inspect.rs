//! Reading what a replica left on its disk, without running it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use revoada_log::{Disk, Log, LogOptions, WriterMode};

use crate::raft::codec;
use crate::raft::types::Entry;

/// One entry of a durable log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Index.
    pub index: u64,
    /// Term of the leader that appended it.
    pub term: u64,
    /// The encoded [`revoada_core::command::Command`] it carries, if it carries one.
    pub command: Option<Bytes>,
    /// The whole entry as stored.
    pub raw: Bytes,
}

/// A replica's durable log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogContent {
    /// Everything up to this index was purged.
    pub purged: u64,
    /// What is there, in order.
    pub entries: Vec<LogEntry>,
}

/// Reads the log of a closed replica whose directory is `dir` (one of `raft/epoch-N` below a member's). A torn tail is
/// cut, as at a start; a damaged middle is an error.
pub fn read_log(disk: Arc<dyn Disk>, dir: &Path) -> std::io::Result<LogContent> {
    let options = LogOptions {
        writer: WriterMode::Inline,
        ..LogOptions::default()
    };
    let log = Log::open(disk, &dir.join("log"), options).map_err(std::io::Error::other)?;
    let purged = log.purged().map_or(0, |(index, _)| index);
    let mut entries = Vec::new();
    if let (Some(first), Some(last)) = (log.first_index(), log.last_index()) {
        for (index, raw) in log.read(first..last + 1, usize::MAX)? {
            let entry: Entry = codec::decode("log entry", &raw)?;
            let command = match entry.payload {
                EntryPayload::Normal(payload) => Some(payload.0),
                EntryPayload::Blank | EntryPayload::Membership(_) => None,
            };
            entries.push(LogEntry {
                index,
                term: **entry.log_id.committed_leader_id(),
                command,
                raw,
            });
        }
    }
    Ok(LogContent { purged, entries })
}
