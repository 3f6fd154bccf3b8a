//! The consensus library's log storage over the durable segmented log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use revoada_log::Log;
use tokio::sync::oneshot;

use super::codec;
use super::types::{Entry, LogId, TypeConfig, Vote};

/// State slots of the log.
const SLOT_VOTE: u8 = 1;
const SLOT_COMMITTED: u8 = 2;

/// At most this many bytes of entries are read for one replication request.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cheap handle; writer and readers share one log.
#[derive(Clone)]
pub struct LogStore {
    log: Log,
    /// Whether the consensus library has read what it begins with.
    #[cfg(feature = "mutations")]
    pub(super) is_open: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl LogStore {
    /// Adapts an opened log.
    pub fn new(log: Log) -> Self {
        Self {
            log,
            #[cfg(feature = "mutations")]
            is_open: std::sync::Arc::default(),
        }
    }

    /// The log below, for statistics and shutdown.
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn read_range(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index.saturating_add(1),
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        // The library tolerates absence at both ends, and only there.
        let first = self.log.first_index().unwrap_or(u64::MAX).max(start);
        let last = self.log.last_index().map_or(0, |last| last.saturating_add(1)).min(end);
        if first >= last {
            return Ok(Vec::new());
        }
        let raw = self.log.read(first..last, bytes_max)?;
        let entries = raw
            .iter()
            .map(|(_, bytes)| codec::decode("log entry", bytes).map_err(io::Error::from));
        #[cfg(feature = "mutations")]
        let entries = entries.map(|entry| entry.map(|entry| self.learners_vote(entry)));
        entries.collect()
    }

    /// The mutation of a replica that starts and counts the learners of its log as voters.
    #[cfg(feature = "mutations")]
    fn learners_vote(&self, mut entry: Entry) -> Entry {
        if let openraft::EntryPayload::Membership(membership) = &mut entry.payload
            && sim_mutation::is("count-learners")
            && !self.is_open.load(std::sync::atomic::Ordering::Relaxed)
        {
            let everyone: std::collections::BTreeSet<_> = membership.nodes().map(|(id, ())| *id).collect();
            *membership = openraft::Membership::new_with_defaults(vec![everyone.clone()], everyone);
        }
        entry
    }

    fn slot<T: serde::de::DeserializeOwned>(&self, slot: u8, what: &'static str) -> io::Result<Option<T>> {
        match self.log.state(slot) {
            Some(raw) => Ok(Some(codec::decode(what, &raw)?)),
            None => Ok(None),
        }
    }

    /// Removes the whole history up to and including `last`, after a snapshot that stands for all of it.
    pub async fn purge_all(&self, last: LogId) -> io::Result<()> {
        wait(|done| self.log.purge_to(last.index, codec::encode(&last), done)).await
    }
}

async fn wait(start: impl FnOnce(revoada_log::Done)) -> io::Result<()> {
    let (tx, rx) = oneshot::channel();
    start(Box::new(move |result| {
        // The waiter is gone only when its task was dropped; the write stands either way.
        let _ = tx.send(result);
    }));
    rx.await
        .unwrap_or_else(|_| Err(io::Error::other("the log writer stopped")))
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.read_range(range, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("forget-vote") {
            return Ok(None);
        }
        self.slot(SLOT_VOTE, "vote")
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read_range(start..end, READ_BYTES_MAX)
    }

    // `get_key_log_ids` is the library's own: its documentation asks for the first entry of each leader, its code for
    // the last one.
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let purged: Option<LogId> = match self.log.purged() {
            Some((_, marker)) => Some(codec::decode("purge marker", &marker)?),
            None => None,
        };
        let last = match self.log.last_index() {
            Some(index) => self
                .read_range(index..=index, usize::MAX)?
                .pop()
                .map(|entry| entry.log_id),
            None => None,
        };
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last.or(purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let value = codec::encode(vote);
        wait(|done| self.log.put_state(SLOT_VOTE, value, true, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // A hint that spares re-election work after a restart: it rides along with the next durable batch.
        self.log
            .put_state(SLOT_COMMITTED, codec::encode(&committed), false, Box::new(|_| {}));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self
            .slot::<Option<LogId>>(SLOT_COMMITTED, "committed log id")?
            .flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encoded = entries
            .into_iter()
            .map(|entry| (entry.log_id.index, codec::encode(&entry)))
            .collect();
        self.log
            .append(encoded, Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        wait(|done| self.log.truncate_after(last_log_id.map(|id| id.index), done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.log
            .purge_to(log_id.index, codec::encode(&log_id), Box::new(|_| {}));
        Ok(())
    }
}
