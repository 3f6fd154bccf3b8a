//! Dropping old versions for good, a bounded step at a time.

use std::time::Duration;

use fjall::Readable;

use super::HistoryError;
use super::disk::{Disk, ROWS_PER_BATCH};
use super::rows::{self, IndexKind, Reference};

const RECLAIM_TRIES: usize = 4;
const RECLAIM_PAUSE: Duration = Duration::from_millis(50);

/// How far a compaction has come.
#[derive(Debug)]
pub(super) struct Compaction {
    /// The oldest revision that stays readable.
    pub revision: u64,
    phase: Phase,
    dropped: usize,
    kept: usize,
}

#[derive(Debug)]
enum Phase {
    /// Index rows, from this row on.
    Index(Vec<u8>),
    /// Event rows, from this row on.
    Events(Vec<u8>),
}

/// The versions of one key.
#[derive(Default)]
struct Versions {
    key: bytes::Bytes,
    rows: Vec<(u64, IndexKind, Option<Reference>)>,
}

impl Compaction {
    pub fn new(revision: u64) -> Self {
        Self {
            revision,
            phase: Phase::Index(vec![b'k']),
            dropped: 0,
            kept: 0,
        }
    }

    /// Does one step; true if that was the last.
    pub fn step(&mut self, disk: &Disk) -> Result<bool, HistoryError> {
        match &self.phase {
            Phase::Index(from) => {
                let from = from.clone();
                self.step_index(disk, from)?;
                Ok(false)
            }
            Phase::Events(from) => {
                let from = from.clone();
                self.step_events(disk, from)
            }
        }
    }

    fn step_index(&mut self, disk: &Disk, from: Vec<u8>) -> Result<(), HistoryError> {
        let snapshot = disk.snapshot();
        let mut batch = disk.db.batch();
        let mut versions = Versions::default();
        for (seen, guard) in snapshot.range(&disk.table, from..vec![b'l']).enumerate() {
            let (row, value) = guard.into_inner_if(|key| key.last() == Some(&b'r'))?;
            let index = rows::parse_index_key(&row).ok_or_else(|| HistoryError::broken("an index row is malformed"))?;
            if index.key != versions.key && !versions.rows.is_empty() {
                self.sift(disk, &snapshot, &mut batch, &versions)?;
                versions.rows.clear();
                if seen >= ROWS_PER_BATCH {
                    self.phase = Phase::Index(rows::index_prefix(&index.key));
                    return Ok(batch.commit()?);
                }
            }
            let reference = match &value {
                Some(value) => Some(Reference::parse(value).ok_or_else(|| HistoryError::broken("a reference"))?),
                None => None,
            };
            versions.key = index.key;
            versions.rows.push((index.revision, index.kind, reference));
        }
        self.sift(disk, &snapshot, &mut batch, &versions)?;
        self.phase = Phase::Events(rows::event_span(0, u64::MAX).0);
        Ok(batch.commit()?)
    }

    /// Of the versions up to the compacted revision, only the newest can still be seen, and only if the key
    /// was written again since: else it is in memory.
    fn sift(
        &mut self,
        disk: &Disk,
        snapshot: &fjall::Snapshot,
        batch: &mut fjall::OwnedWriteBatch,
        versions: &Versions,
    ) -> Result<(), HistoryError> {
        let key = &versions.key;
        let old = || versions.rows.iter().filter(|(revision, ..)| *revision <= self.revision);
        let Some(newest) = old().map(|(revision, ..)| *revision).max() else {
            self.kept += versions.rows.len();
            return Ok(());
        };
        let replaced = versions.rows.len() > old().count();
        let deleted = versions
            .rows
            .iter()
            .any(|(at, _, reference)| *at == newest && reference.is_some_and(|r| r.delete));
        let keep = replaced && !deleted;
        let has_base = versions.rows.contains(&(newest, IndexKind::Base, None));
        for (revision, kind, reference) in old() {
            if keep && *revision == newest && *kind == IndexKind::Base {
                continue;
            }
            if keep
                && *revision == newest
                && !has_base
                && let Some(reference) = reference
            {
                let row = snapshot.get(&disk.table, rows::event_key(newest, reference.sub))?;
                let row = row.as_deref().and_then(rows::EventRow::parse);
                let row = row.ok_or_else(|| HistoryError::broken("a reference leads to no event"))?;
                let base = rows::encode_base(&row.into_previous(newest));
                batch.insert(&disk.table, rows::index_key(key, newest, IndexKind::Base), base);
            }
            batch.remove(&disk.table, rows::index_key(key, *revision, *kind));
        }
        let dropped = old().count();
        self.dropped += dropped;
        self.kept += versions.rows.len() - dropped;
        Ok(())
    }

    fn step_events(&mut self, disk: &Disk, from: Vec<u8>) -> Result<bool, HistoryError> {
        let end = rows::event_span(0, self.revision).1;
        let mut batch = disk.db.batch();
        let mut next = from.clone();
        let mut taken = 0;
        for guard in disk.snapshot().range(&disk.table, from..end).take(ROWS_PER_BATCH) {
            let key = guard.key()?;
            next = key.to_vec();
            next.push(0);
            batch.remove(&disk.table, key);
            taken += 1;
        }
        batch.commit()?;
        self.phase = Phase::Events(next);
        Ok(taken < ROWS_PER_BATCH)
    }

    /// Gives the space back once deletions outweigh what is left; before that they wait for the table's own
    /// merging. That may have tables in hand, which are left out: hence some more tries.
    pub fn reclaim(&self, disk: &Disk) -> Result<(), HistoryError> {
        if self.dropped <= self.kept || self.dropped <= ROWS_PER_BATCH {
            return Ok(());
        }
        disk.table.rotate_memtable_and_wait()?;
        let enough = disk.bytes() / 2;
        for _ in 0..RECLAIM_TRIES {
            disk.table.major_compact()?;
            if disk.bytes() <= enough {
                break;
            }
            std::thread::sleep(RECLAIM_PAUSE);
        }
        Ok(())
    }
}
