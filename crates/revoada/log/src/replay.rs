//! The log as its records say it is: what recovery replays, and what the writer knows to be durable.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::record::Record;

/// What the records written so far add up to. Entries are `first..next`; their data is elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) purged: Option<(u64, Bytes)>,
    pub(crate) states: BTreeMap<u8, Bytes>,
}

impl Replay {
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    pub(crate) fn last(&self) -> Option<u64> {
        if self.is_empty() { None } else { Some(self.next - 1) }
    }

    pub(crate) fn purged_index(&self) -> Option<u64> {
        self.purged.as_ref().map(|(index, _)| *index)
    }

    /// The index the next entry must have; `None` if any will do, as in a log that never held one.
    pub(crate) fn expected(&self) -> Option<u64> {
        if self.is_empty() && self.purged.is_none() {
            None
        } else {
            Some(self.next)
        }
    }

    /// Admits the entry `index` or says why it can't be the next.
    pub(crate) fn append(&mut self, index: u64) -> Result<(), String> {
        if let Some(expected) = self.expected()
            && index != expected
        {
            return Err(format!("entry {index} where entry {expected} must follow"));
        }
        let Some(next) = index.checked_add(1) else {
            return Err(format!("entry {index} has the highest index there is"));
        };
        if self.is_empty() {
            self.first = index;
        }
        self.next = next;
        Ok(())
    }

    /// Forgets the entries after `last_kept`.
    pub(crate) fn truncate_after(&mut self, last_kept: Option<u64>) -> Result<(), String> {
        let purged = self.purged_index();
        if let (Some(kept), Some(purged)) = (last_kept, purged)
            && kept < purged
        {
            return Err(format!(
                "truncation after entry {kept}, but entries to {purged} are purged"
            ));
        }
        let next = last_kept.map_or(0, |kept| kept.saturating_add(1)).max(self.first);
        self.next = self.next.min(next);
        Ok(())
    }

    /// Forgets the entries up to `index`, which may lie beyond the last; whether that changed anything.
    pub(crate) fn purge_to(&mut self, index: u64, marker: &Bytes) -> bool {
        if self.purged_index().is_some_and(|purged| index <= purged) || index == u64::MAX {
            return false;
        }
        self.purged = Some((index, marker.clone()));
        if self.is_empty() {
            // Entries may only go on right after the purged ones, even if those were never here.
            self.first = index + 1;
            self.next = index + 1;
        } else {
            self.first = self.first.max(index + 1);
            self.next = self.next.max(self.first);
        }
        true
    }

    pub(crate) fn put_state(&mut self, slot: u8, value: Bytes) {
        self.states.insert(slot, value);
    }

    /// Replays one record other than a base.
    pub(crate) fn apply(&mut self, record: &Record<'_>) -> Result<(), String> {
        match *record {
            Record::Entry { index, .. } => self.append(index)?,
            Record::TruncateAfter { last_kept } => self.truncate_after(last_kept)?,
            Record::PurgeTo { index, marker } => {
                self.purge_to(index, &Bytes::copy_from_slice(marker));
            }
            Record::State { slot, value } => self.put_state(slot, Bytes::copy_from_slice(value)),
            Record::Base { .. } => return Err("a base record that isn't the first of its segment".into()),
        }
        Ok(())
    }

    /// The payload that begins a segment: all that is needed of the segments before it, except entries.
    pub(crate) fn encode_base(&self, prev_end: u64, out: &mut Vec<u8>) {
        Record::Base {
            prev_end,
            first: self.first,
            next: self.next,
        }
        .encode(out);
        if let Some((index, marker)) = &self.purged {
            Record::PurgeTo { index: *index, marker }.encode(out);
        }
        for (slot, value) in &self.states {
            Record::State { slot: *slot, value }.encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, next: u64) -> Replay {
        Replay {
            first,
            next,
            ..Replay::default()
        }
    }

    #[test]
    fn entries_are_consecutive() {
        let mut log = Replay::default();
        log.append(5).unwrap();
        log.append(6).unwrap();
        assert!(log.append(8).is_err());
        assert!(log.append(6).is_err());
        assert_eq!((log.first, log.next), (5, 7));
    }

    #[test]
    fn truncation_stays_within_the_log() {
        let mut log = range(5, 10);
        log.truncate_after(Some(20)).unwrap();
        assert_eq!(log.next, 10);
        log.truncate_after(Some(7)).unwrap();
        assert_eq!(log.last(), Some(7));
        log.truncate_after(None).unwrap();
        assert!(log.is_empty());
        assert_eq!(log.expected(), None);
        log.purge_to(3, &Bytes::new());
        assert!(log.truncate_after(Some(2)).is_err());
        log.truncate_after(None).unwrap();
        assert_eq!(log.expected(), Some(4));
    }

    #[test]
    fn purging_beyond_the_end_moves_the_log_there() {
        let mut log = range(0, 3);
        assert!(log.purge_to(1, &Bytes::from_static(b"a")));
        assert_eq!((log.first, log.next), (2, 3));
        assert!(!log.purge_to(0, &Bytes::from_static(b"b")));
        assert!(log.purge_to(9, &Bytes::from_static(b"c")));
        assert_eq!((log.first, log.next, log.purged_index()), (10, 10, Some(9)));
        assert!(log.append(3).is_err());
        log.append(10).unwrap();
    }
}
