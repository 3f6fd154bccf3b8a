//! Reading old versions and old events.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Readable, Snapshot};

use super::disk::Disk;
use super::rows::{self, EventRow, IndexKind, Reference};
use super::{History, HistoryError};
use crate::model::{Event, EventKind, KeyRange, KeyValue, Previous};

/// Where the version of a key at some revision is.
enum Source {
    Deleted,
    Memory(Previous),
    Base,
    Event { sub: u32 },
}

impl History {
    /// The keys of `range` that existed at `revision`, with the versions of the first `values_max` of them,
    /// among the keys of which the history has versions at all; `skip` leaves keys out.
    pub fn versions_at(
        &self,
        range: &KeyRange,
        revision: u64,
        values_max: usize,
        skip: impl Fn(&Bytes) -> bool,
    ) -> Result<Vec<(Bytes, Option<KeyValue>)>, HistoryError> {
        let reading = self.begin_read(|event| range.contains(&event.key))?;
        let (disk, snapshot) = (&reading.disk, &reading.snapshot);
        self.check_start(revision)?;

        let mut newest: BTreeMap<Bytes, (u64, Source)> = BTreeMap::new();
        let mut offer = |key: &Bytes, at: u64, source: Source| {
            if at > revision {
                return;
            }
            match newest.get_mut(key) {
                Some(known) if known.0 > at => {}
                Some(known) => *known = (at, source),
                None => {
                    newest.insert(key.clone(), (at, source));
                }
            }
        };
        let (start, end) = rows::index_span(range);
        for guard in snapshot.range(&disk.table, start..end) {
            let (row, value) = guard.into_inner_if(|key| key.last() == Some(&b'r'))?;
            let index = rows::parse_index_key(&row).ok_or_else(|| HistoryError::broken("an index row is malformed"))?;
            let source = match value {
                None => Source::Base,
                Some(value) => match Reference::parse(&value) {
                    Some(Reference { delete: true, .. }) => Source::Deleted,
                    Some(Reference { sub, .. }) => Source::Event { sub },
                    None => return Err(HistoryError::broken("a reference is malformed")),
                },
            };
            offer(&index.key, index.revision, source);
        }
        for event in &reading.pending {
            if let Some(prev) = &event.prev {
                offer(&event.key, prev.mod_revision, Source::Memory(prev.clone()));
            }
            let source = match event.kind {
                EventKind::Delete => Source::Deleted,
                EventKind::Put => Source::Memory(as_previous(event)),
            };
            offer(&event.key, event.mod_revision, source);
        }

        let mut found = Vec::new();
        for (key, (at, source)) in newest {
            if matches!(source, Source::Deleted) || skip(&key) {
                continue;
            }
            let mut version = None;
            if found.len() < values_max {
                let prev = match source {
                    Source::Memory(prev) => prev,
                    Source::Base => base(disk, snapshot, &key, at)?.ok_or_else(|| HistoryError::broken("no base"))?,
                    Source::Event { sub } => event_row(disk, snapshot, at, sub)?.into_previous(at),
                    Source::Deleted => continue,
                };
                version = Some(key_value(key.clone(), prev));
            }
            found.push((key, version));
        }
        self.end_read(reading.generation)?;
        Ok(found)
    }

    /// Events of `range` with revisions in `(after, upto]`, oldest first, and the revision up to which they are
    /// complete: less than `upto` once about `rows_max` rows were looked at. Never splits a revision.
    pub fn events(
        &self,
        range: &KeyRange,
        after: u64,
        upto: u64,
        rows_max: usize,
    ) -> Result<(Vec<Arc<Event>>, u64), HistoryError> {
        let wanted = |event: &Event| event.mod_revision > after && event.mod_revision <= upto;
        let reading = self.begin_read(wanted)?;
        let (disk, snapshot) = (&reading.disk, &reading.snapshot);
        self.check_start(after)?;

        let mut events = Vec::new();
        let mut last = after;
        let (start, end) = rows::event_span(after, upto);
        for (seen, guard) in snapshot.range(&disk.table, start..end).enumerate() {
            let (row, value) = guard.into_inner()?;
            let (revision, sub) = rows::parse_event_key(&row).ok_or_else(|| HistoryError::broken("an event's key"))?;
            if seen >= rows_max && revision != last {
                self.end_read(reading.generation)?;
                return Ok((events, last));
            }
            last = revision;
            let key = EventRow::key_of(&value).ok_or_else(|| HistoryError::broken("an event is malformed"))?;
            if range.contains(key) {
                let row = EventRow::parse(&value).ok_or_else(|| HistoryError::broken("an event is malformed"))?;
                events.push(Arc::new(event(disk, snapshot, row, revision, sub)?));
            }
        }
        let pending = reading.pending.into_iter().filter(|event| event.mod_revision > last);
        events.extend(pending.filter(|event| range.contains(&event.key)));
        self.end_read(reading.generation)?;
        Ok((events, upto))
    }
}

fn as_previous(event: &Event) -> Previous {
    Previous {
        value: event.value.clone(),
        create_revision: event.create_revision,
        mod_revision: event.mod_revision,
        version: event.version,
        lease: event.lease,
    }
}

fn key_value(key: Bytes, version: Previous) -> KeyValue {
    KeyValue {
        key,
        value: version.value,
        create_revision: version.create_revision,
        mod_revision: version.mod_revision,
        version: version.version,
        lease: version.lease,
    }
}

fn base(disk: &Disk, snapshot: &Snapshot, key: &[u8], revision: u64) -> Result<Option<Previous>, HistoryError> {
    let row = snapshot.get(&disk.table, rows::index_key(key, revision, IndexKind::Base))?;
    match row {
        None => Ok(None),
        Some(row) => rows::parse_base(&row, revision)
            .map(Some)
            .ok_or_else(|| HistoryError::broken("a base row is malformed")),
    }
}

fn event_row(disk: &Disk, snapshot: &Snapshot, revision: u64, sub: u32) -> Result<EventRow, HistoryError> {
    let row = snapshot.get(&disk.table, rows::event_key(revision, sub))?;
    let row = row.as_deref().and_then(EventRow::parse);
    row.ok_or_else(|| HistoryError::broken("a reference leads to no event"))
}

fn event(disk: &Disk, snapshot: &Snapshot, row: EventRow, revision: u64, sub: u32) -> Result<Event, HistoryError> {
    let prev = match row.prev {
        0 => None,
        at => Some(match base(disk, snapshot, &row.key, at)? {
            Some(prev) => prev,
            None => {
                let reference = snapshot.get(&disk.table, rows::index_key(&row.key, at, IndexKind::Reference))?;
                let reference = reference.as_deref().and_then(Reference::parse);
                let reference = reference.ok_or_else(|| HistoryError::broken("a replaced version is missing"))?;
                event_row(disk, snapshot, at, reference.sub)?.into_previous(at)
            }
        }),
    };
    Ok(Event {
        kind: if row.delete { EventKind::Delete } else { EventKind::Put },
        key: row.key,
        value: row.value,
        prev,
        create_revision: row.create,
        mod_revision: revision,
        version: row.version,
        lease: row.lease,
        sub,
    })
}
