//! The replicated state in memory: newest versions, leases, the revision. Pure: no clock, no disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::model::{Event, EventKind, KeyRange, KeyValue, Previous};

/// The newest version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub value: Bytes,
    pub create: u64,
    pub modified: u64,
    pub version: u64,
    pub lease: i64,
}

impl Stored {
    pub fn key_value(&self, key: &Bytes, keys_only: bool) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: if keys_only { Bytes::new() } else { self.value.clone() },
            create_revision: self.create,
            mod_revision: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }

    pub fn previous(&self) -> Previous {
        Previous {
            value: self.value.clone(),
            create_revision: self.create,
            mod_revision: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// A lease as replicated. When it ends is no part of the state: the leader decides and revokes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub ttl_s: i64,
    /// Counts grants and keep-alives, so that a local clock sees that it must begin anew.
    pub renewals: u64,
    pub keys: BTreeSet<Bytes>,
}

/// Everything that replicas agree on.
#[derive(Debug)]
pub(crate) struct State {
    pub kv: BTreeMap<Bytes, Stored>,
    pub leases: BTreeMap<i64, Lease>,
    /// Of the last write. An empty store is at 1, as etcd's is.
    pub revision: u64,
    /// The last compaction that was committed; what a replica can really read may begin later.
    pub compacted: u64,
    /// Sum of the lengths of keys and values.
    pub bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            kv: BTreeMap::new(),
            leases: BTreeMap::new(),
            revision: 1,
            compacted: 0,
            bytes: 0,
        }
    }
}

impl State {
    /// The keys of `range`, in order.
    pub fn range<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a Stored)> + use<'a> {
        range_of(&self.kv, range)
    }

    /// Makes the changes of one revision visible.
    pub fn commit(&mut self, revision: u64, events: &[std::sync::Arc<Event>]) {
        for event in events {
            match event.kind {
                EventKind::Put => self.put(event),
                EventKind::Delete => self.delete(&event.key),
            }
        }
        self.revision = revision;
    }

    fn put(&mut self, event: &Event) {
        let stored = Stored {
            value: event.value.clone(),
            create: event.create_revision,
            modified: event.mod_revision,
            version: event.version,
            lease: event.lease,
        };
        self.bytes += (event.key.len() + event.value.len()) as u64;
        let before = self.kv.insert(event.key.clone(), stored);
        if let Some(before) = &before {
            self.bytes -= (event.key.len() + before.value.len()) as u64;
        }
        let lease_before = before.map_or(0, |before| before.lease);
        if lease_before != event.lease {
            self.detach(lease_before, &event.key);
            if let Some(lease) = self.leases.get_mut(&event.lease) {
                lease.keys.insert(event.key.clone());
            }
        }
    }

    fn delete(&mut self, key: &Bytes) {
        if let Some(before) = self.kv.remove(key) {
            self.bytes -= (key.len() + before.value.len()) as u64;
            self.detach(before.lease, key);
        }
    }

    fn detach(&mut self, lease: i64, key: &Bytes) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(key);
        }
    }
}

/// The entries of an ordered map that lie in `range`. A range that ends before it begins holds none.
pub(crate) fn range_of<'a, V>(
    map: &'a BTreeMap<Bytes, V>,
    range: &KeyRange,
) -> std::collections::btree_map::Range<'a, Bytes, V> {
    let start = Bound::Included(range.start.clone());
    match &range.end {
        Some(end) if *end <= range.start => map.range((start, Bound::Excluded(range.start.clone()))),
        Some(end) => map.range((start, Bound::Excluded(end.clone()))),
        None => map.range((start, Bound::Unbounded)),
    }
}
