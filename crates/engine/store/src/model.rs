//! Keys, versions, ranges and events: the words of the model.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A half-open range of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Bytes,
    /// First key after the range; `None` for no upper bound.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// The range that holds exactly `key`.
    pub fn key(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        let end = Some(successor(&start));
        Self { start, end }
    }

    /// All keys that begin with `prefix`; an empty prefix means every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = prefix_end(&start);
        Self { start, end }
    }

    /// Keys from `start` up to, but without, `end`.
    pub fn span(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    /// Every key.
    pub fn all() -> Self {
        Self {
            start: Bytes::new(),
            end: None,
        }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }

    /// Whether the range can hold no key at all.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The key, if the range holds exactly one possible key.
    pub fn single(&self) -> Option<&Bytes> {
        let end = self.end.as_ref()?;
        let one = end.len() == self.start.len() + 1 && end.ends_with(&[0]) && end.starts_with(&self.start);
        one.then_some(&self.start)
    }

    /// Whether every key of `self` also lies in `outer`.
    pub fn within(&self, outer: &KeyRange) -> bool {
        self.start >= outer.start
            && match (&self.end, &outer.end) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(mine), Some(theirs)) => mine <= theirs,
            }
    }
}

/// The smallest key greater than `key`.
pub(crate) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// The smallest key greater than all keys that begin with `prefix`, if there is one.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

/// One version of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value as stored; empty when only keys were asked for.
    pub value: Bytes,
    /// Revision of the write that created the key.
    pub create_revision: u64,
    /// Revision of the write that made this version.
    pub mod_revision: u64,
    /// Number of writes since the creation, which counts as one.
    pub version: u64,
    /// The lease the key is attached to; 0 for none.
    pub lease: i64,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeRequest {
    /// The keys.
    pub range: KeyRange,
    /// At most so many keys are returned; 0 for no bound.
    pub limit: usize,
    /// The state at this revision; `None` for the newest.
    pub revision: Option<u64>,
    /// Leave values out.
    pub keys_only: bool,
    /// Return the count and no keys.
    pub count_only: bool,
}

impl RangeRequest {
    /// Everything in `range`, newest state.
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: None,
            keys_only: false,
            count_only: false,
        }
    }

    /// With at most `limit` keys.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// As of `revision`.
    pub fn at(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RangeResponse {
    /// The versions, in key order.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left keys out.
    pub more: bool,
    /// Number of keys in the whole range, whatever the limit.
    pub count: u64,
    /// The revision whose state was read (the store's own when none was asked for).
    pub revision: u64,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted.
    Delete,
}

/// The version that an event replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Its value.
    pub value: Bytes,
    /// Revision of its creation.
    pub create_revision: u64,
    /// Revision of the write that made it.
    pub mod_revision: u64,
    /// Its version.
    pub version: u64,
    /// Its lease; 0 for none.
    pub lease: i64,
}

/// One change of one key. A key changes at most once in a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether the key was written or deleted.
    pub kind: EventKind,
    /// The key.
    pub key: Bytes,
    /// The stored value; empty for a delete.
    pub value: Bytes,
    /// What was there before.
    pub prev: Option<Previous>,
    /// Revision of the creation; 0 for a delete.
    pub create_revision: u64,
    /// The revision of this change.
    pub mod_revision: u64,
    /// Version of the key; 0 for a delete.
    pub version: u64,
    /// Lease of the key; 0 for none or for a delete.
    pub lease: i64,
    /// Position among the changes of the same revision.
    pub sub: u32,
}

impl Event {
    /// Bytes that the event keeps alive, roughly.
    pub(crate) fn weight(&self) -> usize {
        let prev = self.prev.as_ref().map_or(0, |prev| prev.value.len());
        self.key.len() + self.value.len() + prev + std::mem::size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_of_high_bytes_has_an_end() {
        assert_eq!(prefix_end(b"a\xff\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b""), None);
        assert!(KeyRange::prefix("/a/").contains(b"/a/z"));
        assert!(!KeyRange::prefix("/a/").contains(b"/a0"));
    }

    #[test]
    fn single_key_ranges_are_known() {
        assert_eq!(KeyRange::key("x").single(), Some(&Bytes::from_static(b"x")));
        assert_eq!(KeyRange::prefix("x").single(), None);
        assert_eq!(KeyRange::span("x", "y\0").single(), None);
    }
}
