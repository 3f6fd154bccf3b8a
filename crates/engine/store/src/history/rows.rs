//! The rows of the history and their encoding.
//!
//! | row | key | value |
//! |---|---|---|
//! | event | `e` revision sub | the change, with the key and the new value |
//! | reference | `k` key revision `r` | whether it deletes, and the `sub` of the event that has the value |
//! | base | `k` key revision `b` | a version older than the history's start, kept because it was replaced since |
//! | meta | `m` name | start of the history, marks of snapshots |
//!
//! Numbers are big endian. Keys are escaped so that rows sort as keys do.

use bytes::{Buf, BufMut, Bytes};

use crate::model::{Event, EventKind, KeyRange, Previous};

pub(super) const META_FLOOR: &[u8] = b"mfloor";
pub(super) const META_MARKS: &[u8] = b"mmarks";
const TERMINATOR: [u8; 2] = [0, 1];

/// What an index row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexKind {
    Base,
    Reference,
}

/// Position of a version in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexKey {
    pub key: Bytes,
    pub revision: u64,
    pub kind: IndexKind,
}

/// Value of a reference row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub sub: u32,
    pub delete: bool,
}

/// An event as written; the replaced version is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventRow {
    pub delete: bool,
    pub key: Bytes,
    pub value: Bytes,
    pub create: u64,
    pub version: u64,
    pub lease: i64,
    /// Revision of the replaced version; 0 for none.
    pub prev: u64,
}

pub(super) fn event_key(revision: u64, sub: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(13);
    out.push(b'e');
    out.put_u64(revision);
    out.put_u32(sub);
    out
}

/// Bounds of the event rows of revisions in `(after, upto]`.
pub(super) fn event_span(after: u64, upto: u64) -> (Vec<u8>, Vec<u8>) {
    let end = match upto.checked_add(1) {
        Some(end) => event_key(end, 0),
        None => vec![b'f'],
    };
    match after.checked_add(1) {
        Some(start) => (event_key(start, 0).min(end.clone()), end),
        None => (end.clone(), end),
    }
}

pub(super) fn parse_event_key(row: &[u8]) -> Option<(u64, u32)> {
    let mut rest = row.strip_prefix(b"e")?;
    if rest.len() != 12 {
        return None;
    }
    Some((rest.get_u64(), rest.get_u32()))
}

/// The part of index rows that all versions of `key` share.
pub(super) fn index_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 16);
    out.push(b'k');
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&TERMINATOR);
    out
}

pub(super) fn index_key(key: &[u8], revision: u64, kind: IndexKind) -> Vec<u8> {
    let mut out = index_prefix(key);
    out.put_u64(revision);
    out.push(match kind {
        IndexKind::Base => b'b',
        IndexKind::Reference => b'r',
    });
    out
}

/// Bounds of the index rows of `range`.
pub(super) fn index_span(range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
    let start = index_prefix(&range.start);
    let end = range.end.as_ref().map_or_else(|| vec![b'l'], |end| index_prefix(end));
    (start.clone().min(end.clone()), end)
}

pub(super) fn parse_index_key(row: &[u8]) -> Option<IndexKey> {
    let mut rest = row.strip_prefix(b"k")?;
    let mut key = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [0, 0xff, tail @ ..] => {
                key.push(0);
                rest = tail;
            }
            [0, 1, tail @ ..] => {
                rest = tail;
                break;
            }
            [0, ..] | [] => return None,
            [byte, tail @ ..] => {
                key.push(*byte);
                rest = tail;
            }
        }
    }
    if rest.len() != 9 {
        return None;
    }
    let revision = rest.get_u64();
    let kind = match rest.get_u8() {
        b'b' => IndexKind::Base,
        b'r' => IndexKind::Reference,
        _ => return None,
    };
    Some(IndexKey {
        key: key.into(),
        revision,
        kind,
    })
}

impl Reference {
    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![u8::from(self.delete)];
        out.put_u32(self.sub);
        out
    }

    pub fn parse(mut row: &[u8]) -> Option<Self> {
        if row.len() != 5 {
            return None;
        }
        Some(Self {
            delete: row.get_u8() != 0,
            sub: row.get_u32(),
        })
    }
}

pub(super) fn encode_event(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(37 + event.key.len() + event.value.len());
    out.put_u8(u8::from(event.kind == EventKind::Delete));
    out.put_u64(event.create_revision);
    out.put_u64(event.version);
    out.put_i64(event.lease);
    out.put_u64(event.prev.as_ref().map_or(0, |prev| prev.mod_revision));
    out.put_u32(event.key.len() as u32);
    out.extend_from_slice(&event.key);
    out.extend_from_slice(&event.value);
    out
}

impl EventRow {
    pub fn parse(mut row: &[u8]) -> Option<Self> {
        if row.len() < 37 {
            return None;
        }
        let delete = row.get_u8() != 0;
        let (create, version, lease, prev) = (row.get_u64(), row.get_u64(), row.get_i64(), row.get_u64());
        let key_bytes = usize::try_from(row.get_u32()).ok()?;
        let (key, value) = row.split_at_checked(key_bytes)?;
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Some(Self {
            delete,
            key,
            value,
            create,
            version,
            lease,
            prev,
        })
    }

    /// Only the key, without copying.
    pub fn key_of(row: &[u8]) -> Option<&[u8]> {
        let key_bytes = u32::from_be_bytes(row.get(33..37)?.try_into().ok()?);
        row.get(37..37usize.checked_add(usize::try_from(key_bytes).ok()?)?)
    }

    pub fn into_previous(self, mod_revision: u64) -> Previous {
        Previous {
            value: self.value,
            create_revision: self.create,
            mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

pub(super) fn encode_base(prev: &Previous) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + prev.value.len());
    out.put_u64(prev.create_revision);
    out.put_u64(prev.version);
    out.put_i64(prev.lease);
    out.extend_from_slice(&prev.value);
    out
}

pub(super) fn parse_base(mut row: &[u8], mod_revision: u64) -> Option<Previous> {
    if row.len() < 24 {
        return None;
    }
    let (create_revision, version, lease) = (row.get_u64(), row.get_u64(), row.get_i64());
    Some(Previous {
        value: Bytes::copy_from_slice(row),
        create_revision,
        mod_revision,
        version,
        lease,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn index_rows_sort_as_keys_and_revisions(
            a in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..6),
            b in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..6),
            (x, y) in (any::<u64>(), any::<u64>()),
        ) {
            let (row_a, row_b) =
                (index_key(&a, x, IndexKind::Reference), index_key(&b, y, IndexKind::Reference));
            prop_assert_eq!(row_a.cmp(&row_b), (&a, x).cmp(&(&b, y)));
            let parsed = parse_index_key(&row_a);
            prop_assert_eq!(parsed, Some(IndexKey { key: a.into(), revision: x, kind: IndexKind::Reference }));
        }

        #[test]
        fn rows_of_any_bytes_never_panic(row in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (parse_index_key(&row), parse_event_key(&row), EventRow::parse(&row), EventRow::key_of(&row));
            let _ = (parse_base(&row, 1), Reference::parse(&row));
        }
    }
}
