//! The history's table on disk: opening, writing, adopting after a restart.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::rows::{self, IndexKind, META_FLOOR, META_MARKS, Reference};
use super::{HistoryError, ImageHash};
use crate::model::Event;

/// Blocks kept in memory. Reads of the history are rare and the page cache is behind it.
const CACHE_BYTES: u64 = 1024 * 1024;
const MEMTABLE_BYTES: u64 = 2 * 1024 * 1024;
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
const FILES_CACHED: usize = 16;
/// Rows that are deleted in one batch.
pub(super) const ROWS_PER_BATCH: usize = 1024;
/// Snapshots that are remembered: the newest may have been lost with its file.
const MARKS_MAX: usize = 4;

/// A table of rows, see [`rows`].
pub(super) struct Disk {
    pub db: Database,
    pub table: Keyspace,
}

impl Disk {
    /// Opens the table, and makes an empty one if what is there can't be read. `None` if that fails too, or if
    /// another process uses it.
    pub fn open(path: &Path) -> Option<Self> {
        match Self::try_open(path) {
            Ok(disk) => return Some(disk),
            Err(OpenError::Locked) => {
                tracing::error!(path = %path.display(), "the history is in use by another process; going on without");
                return None;
            }
            Err(OpenError::Broken(reason)) => {
                tracing::warn!(path = %path.display(), reason, "the history can't be read and is discarded");
            }
        }
        if let Err(error) = std::fs::remove_dir_all(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(path = %path.display(), %error, "the broken history can't be removed; going on without");
            return None;
        }
        match Self::try_open(path) {
            Ok(disk) => Some(disk),
            Err(error) => {
                tracing::error!(path = %path.display(), ?error, "no history can be made; going on without");
                None
            }
        }
    }

    fn try_open(path: &Path) -> Result<Self, OpenError> {
        std::fs::create_dir_all(path).map_err(|error| OpenError::Broken(error.to_string()))?;
        // What a damaged file makes the library panic with is to be survived like any other damage.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let db = Database::builder(path)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES_MAX)
                .max_cached_files(Some(FILES_CACHED))
                .manual_journal_persist(true)
                .worker_threads(1)
                .open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let table = db.keyspace("history", options)?;
            Ok::<_, fjall::Error>((db, table))
        }));
        match opened {
            Ok(Ok((db, table))) => Ok(Self { db, table }),
            Ok(Err(fjall::Error::Locked)) => Err(OpenError::Locked),
            Ok(Err(error)) => Err(OpenError::Broken(error.to_string())),
            Err(_) => Err(OpenError::Broken("opening it panicked".to_owned())),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        self.db.snapshot()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.table.disk_space()
    }

    /// Writes whole revisions. Versions that were replaced and are older than `floor` are written as well, as
    /// nothing else has them any more.
    pub fn write(&self, events: &[Arc<Event>], floor: u64) -> Result<(), HistoryError> {
        let mut batch = self.db.batch();
        for event in events {
            let revision = event.mod_revision;
            batch.insert(
                &self.table,
                rows::event_key(revision, event.sub),
                rows::encode_event(event),
            );
            let reference = Reference {
                sub: event.sub,
                delete: event.kind == crate::model::EventKind::Delete,
            };
            let row = rows::index_key(&event.key, revision, IndexKind::Reference);
            batch.insert(&self.table, row, reference.encode());
            if let Some(prev) = event.prev.as_ref().filter(|prev| prev.mod_revision <= floor) {
                let row = rows::index_key(&event.key, prev.mod_revision, IndexKind::Base);
                batch.insert(&self.table, row, rows::encode_base(prev));
            }
        }
        batch.commit()?;
        // Into the page cache: survives this process, not the machine, which is all that is asked of it.
        Ok(self.db.persist(PersistMode::Buffer)?)
    }

    /// Notes that everything up to `revision` is here and belongs to the snapshot with that hash.
    pub fn mark(&self, revision: u64, hash: ImageHash) -> Result<(), HistoryError> {
        self.db.persist(PersistMode::SyncAll)?;
        let mut marks = self.marks()?;
        marks.retain(|mark| *mark != (revision, hash));
        marks.push((revision, hash));
        let excess = marks.len().saturating_sub(MARKS_MAX);
        self.write_marks(&marks[excess..])
    }

    fn marks(&self) -> Result<Vec<(u64, ImageHash)>, HistoryError> {
        let Some(row) = self.table.get(META_MARKS)? else {
            return Ok(Vec::new());
        };
        let (marks, rest) = row.as_chunks::<40>();
        if !rest.is_empty() {
            return Err(HistoryError::broken("the marks are malformed"));
        }
        let parse = |mark: &[u8; 40]| {
            let mut rest = mark.as_slice();
            let revision = rest.get_u64();
            let mut hash = [0; 32];
            rest.copy_to_slice(&mut hash);
            (revision, hash)
        };
        Ok(marks.iter().map(parse).collect())
    }

    fn write_marks(&self, marks: &[(u64, ImageHash)]) -> Result<(), HistoryError> {
        let mut row = Vec::with_capacity(marks.len() * 40);
        for (revision, hash) in marks {
            row.put_u64(*revision);
            row.extend_from_slice(hash);
        }
        self.table.insert(META_MARKS, row)?;
        Ok(self.db.persist(PersistMode::Buffer)?)
    }

    pub fn set_floor(&self, floor: u64) -> Result<(), HistoryError> {
        Ok(self.table.insert(META_FLOOR, floor.to_be_bytes())?)
    }

    /// Forgets everything; the history begins after `floor`.
    pub fn clear(&self, floor: u64) -> Result<(), HistoryError> {
        self.table.clear()?;
        self.set_floor(floor)
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> Result<bool, HistoryError> {
        let (start, end) = rows::event_span(0, u64::MAX);
        Ok(self
            .table
            .range(start..end)
            .next()
            .map(fjall::Guard::key)
            .transpose()?
            .is_none())
    }

    /// Takes over what an earlier process left, if it is the history of the snapshot at `revision` with `hash`.
    /// What came after the snapshot is dropped: the log brings it again. Gives the start of the history.
    pub fn adopt(&self, revision: u64, hash: ImageHash) -> Result<Option<u64>, HistoryError> {
        if !self.marks()?.contains(&(revision, hash)) {
            return Ok(None);
        }
        let Some(floor) = self.table.get(META_FLOOR)? else {
            return Ok(None);
        };
        let floor = <[u8; 8]>::try_from(floor.as_ref()).map_err(|_| HistoryError::broken("its start is malformed"))?;
        let floor = u64::from_be_bytes(floor);
        if floor > revision {
            return Ok(None);
        }
        self.truncate(revision)?;
        let marks: Vec<_> = self
            .marks()?
            .into_iter()
            .filter(|(marked, _)| *marked <= revision)
            .collect();
        self.write_marks(&marks)?;
        Ok(Some(floor))
    }

    /// Drops all that came after `revision`.
    fn truncate(&self, revision: u64) -> Result<(), HistoryError> {
        let (mut start, end) = rows::event_span(revision, u64::MAX);
        loop {
            let mut batch = self.db.batch();
            let mut taken = 0;
            for guard in self
                .snapshot()
                .range(&self.table, start.clone()..end.clone())
                .take(ROWS_PER_BATCH)
            {
                let (key, value) = guard.into_inner()?;
                let row = rows::EventRow::parse(&value).ok_or_else(|| HistoryError::broken("an event is malformed"))?;
                let (at, _) = rows::parse_event_key(&key).ok_or_else(|| HistoryError::broken("a row's key"))?;
                batch.remove(&self.table, rows::index_key(&row.key, at, IndexKind::Reference));
                if row.prev != 0 && row.prev <= revision {
                    batch.remove(&self.table, rows::index_key(&row.key, row.prev, IndexKind::Base));
                }
                start = key.to_vec();
                start.push(0);
                batch.remove(&self.table, key);
                taken += 1;
            }
            batch.commit()?;
            if taken < ROWS_PER_BATCH {
                return Ok(());
            }
        }
    }
}

#[derive(Debug)]
enum OpenError {
    Locked,
    Broken(String),
}
