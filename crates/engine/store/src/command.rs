//! The commands of the log, their encoding, and the checks that need no state.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{KeyRange, RangeRequest};
use crate::response::StoreError;

/// Version of the encoding; the first byte of each command and response.
pub(crate) const WIRE_VERSION: u8 = 1;
/// Most operations that any replica accepts in one transaction, whatever clients are configured to.
pub(crate) const TXN_OPS_HARD_MAX: usize = 16_384;
/// Most bytes of one key.
pub(crate) const KEY_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of one value.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// etcd's own bound of a lease's time to live, in seconds.
const LEASE_TTL_S_MAX: i64 = 9_000_000_000;

/// One entry of the log, as the store understands it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreCommand {
    /// Compare and change.
    Txn(Txn),
    /// Forget versions that only revisions older than `revision` can see.
    Compact {
        /// The oldest revision that stays readable.
        revision: u64,
    },
    /// Make a lease.
    LeaseGrant {
        /// Its id; 0 to have one chosen.
        id: i64,
        /// Time to live in seconds.
        ttl_s: i64,
    },
    /// End a lease and delete its keys.
    LeaseRevoke {
        /// The lease.
        id: i64,
    },
    /// Let the time to live of a lease begin anew.
    LeaseKeepAlive {
        /// The lease.
        id: i64,
    },
    /// End a lease and delete its keys because its time is over, unless it was kept after that was found.
    LeaseExpire {
        /// The lease.
        id: i64,
        /// Its renewals when its time ran out.
        renewals: u64,
    },
}

/// Guarded changes: if all `compares` hold `success` is done, else `failure`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Txn {
    /// Conditions, all of which must hold.
    pub compares: Vec<Compare>,
    /// Done if they hold.
    pub success: Vec<Op>,
    /// Done if they don't.
    pub failure: Vec<Op>,
}

/// One condition on every key of a range. An empty range is judged as one key that doesn't exist, whose
/// revisions, version and lease are 0 and whose value equals nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The keys.
    pub range: KeyRange,
    /// What of the key is compared, and with what.
    pub target: CompareTarget,
    /// How the key's property must stand to the given one.
    pub result: CompareResult,
}

impl Compare {
    /// Holds if `key` was last written at `revision` (0: doesn't exist).
    pub fn mod_revision(key: impl Into<Bytes>, revision: u64) -> Self {
        Self {
            range: KeyRange::key(key),
            target: CompareTarget::Mod(revision),
            result: CompareResult::Equal,
        }
    }

    /// Holds if `key` doesn't exist.
    pub fn absent(key: impl Into<Bytes>) -> Self {
        Self::mod_revision(key, 0)
    }
}

/// The compared property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareTarget {
    /// Number of writes since creation.
    Version(u64),
    /// Revision of the creation.
    Create(u64),
    /// Revision of the last write.
    Mod(u64),
    /// The stored value.
    Value(Bytes),
    /// The lease.
    Lease(i64),
}

/// How the property must stand to the given value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareResult {
    /// Equal.
    Equal,
    /// Greater.
    Greater,
    /// Less.
    Less,
    /// Not equal.
    NotEqual,
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Write a key.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// The lease to attach to; 0 for none.
        lease: i64,
        /// Return what was there before.
        prev_kv: bool,
        /// Byte offset in `value` at which the decimal revision of this write is inserted.
        revision_splice: Option<u32>,
    },
    /// Delete all keys of a range.
    DeleteRange {
        /// The keys.
        range: KeyRange,
        /// Return what was deleted.
        prev_kv: bool,
    },
    /// Read, seeing the earlier steps of the same transaction.
    Range(RangeRequest),
}

impl Op {
    /// A plain write.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: 0,
            prev_kv: false,
            revision_splice: None,
        }
    }

    /// A write whose value gets its own revision inserted at `offset`.
    pub fn put_spliced(key: impl Into<Bytes>, value: impl Into<Bytes>, offset: u32) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            lease: 0,
            prev_kv: false,
            revision_splice: Some(offset),
        }
    }

    /// Deletion of one key, returning what it was.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::DeleteRange {
            range: KeyRange::key(key),
            prev_kv: true,
        }
    }

    /// Reading one key.
    pub fn get(key: impl Into<Bytes>) -> Self {
        Self::Range(RangeRequest::new(KeyRange::key(key)))
    }
}

impl Txn {
    /// Checks what needs no state: counts, keys, splice offsets, and that no key is written twice.
    pub fn validate(&self, ops_max: usize) -> Result<(), StoreError> {
        let most = self.compares.len().max(self.success.len()).max(self.failure.len());
        if most > ops_max {
            return Err(StoreError::TooManyOps { ops: most, ops_max });
        }
        if let Some(compare) = self.compares.iter().find(|compare| compare.range.is_empty()) {
            return Err(StoreError::EmptyRange {
                start: compare.range.start.clone(),
            });
        }
        validate_branch(&self.success)?;
        validate_branch(&self.failure)
    }
}

fn validate_branch(ops: &[Op]) -> Result<(), StoreError> {
    let mut written: BTreeSet<&[u8]> = BTreeSet::new();
    for op in ops {
        match op {
            Op::Put {
                key,
                value,
                revision_splice,
                ..
            } => {
                if key.is_empty() {
                    return Err(StoreError::KeyEmpty);
                }
                if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
                    return Err(StoreError::TooLarge {
                        key_bytes: key.len(),
                        value_bytes: value.len(),
                    });
                }
                if let Some(offset) = revision_splice
                    && usize::try_from(*offset).map_or(true, |offset| offset > value.len())
                {
                    return Err(StoreError::BadSplice {
                        key: key.clone(),
                        offset: *offset,
                        bytes: value.len(),
                    });
                }
                if !written.insert(key) {
                    return Err(StoreError::DuplicateKey { key: key.clone() });
                }
            }
            Op::DeleteRange { range, .. } | Op::Range(RangeRequest { range, .. }) if range.is_empty() => {
                return Err(StoreError::EmptyRange {
                    start: range.start.clone(),
                });
            }
            Op::DeleteRange { .. } | Op::Range(_) => {}
        }
    }
    for op in ops {
        if let Op::DeleteRange { range, .. } = op {
            let first = written.range(range.start.as_ref()..).next();
            if let Some(key) = first.filter(|key| range.contains(key)) {
                return Err(StoreError::DuplicateKey {
                    key: Bytes::copy_from_slice(key),
                });
            }
        }
    }
    Ok(())
}

/// Inserts the decimal `revision` at `offset` of `value`; `None` if the offset lies outside.
pub fn splice_revision(value: &[u8], offset: u32, revision: u64) -> Option<Bytes> {
    let (head, tail) = value.split_at_checked(usize::try_from(offset).ok()?)?;
    let digits = revision.to_string();
    let mut spliced = Vec::with_capacity(value.len() + digits.len());
    spliced.extend_from_slice(head);
    spliced.extend_from_slice(digits.as_bytes());
    spliced.extend_from_slice(tail);
    Some(spliced.into())
}

/// Why bytes are no command or response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("empty")]
    Empty,
    /// Written by a newer engenho.
    #[error("written in version {version} of the encoding, this engenho reads version {WIRE_VERSION}: upgrade it")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Not what the encoding allows.
    #[error("malformed: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
    /// Bytes are left over.
    #[error("{bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, postcard::Error> {
    Ok(postcard::to_extend(value, vec![WIRE_VERSION])?.into())
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != WIRE_VERSION {
        return Err(DecodeError::Version { version: *version });
    }
    let malformed = |error: postcard::Error| DecodeError::Malformed {
        reason: error.to_string(),
    };
    let (value, rest) = postcard::take_from_bytes(body).map_err(malformed)?;
    match rest.len() {
        0 => Ok(value),
        bytes => Err(DecodeError::Trailing { bytes }),
    }
}

impl StoreCommand {
    /// The bytes that go into the log.
    pub fn encode(&self) -> Result<Bytes, DecodeError> {
        encode(self).map_err(|error| DecodeError::Malformed {
            reason: error.to_string(),
        })
    }

    /// Reads what [`StoreCommand::encode`] wrote. Memory is bounded by the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes)
    }

    /// Checks what needs no state.
    pub fn validate(&self, ops_max: usize) -> Result<(), StoreError> {
        match self {
            Self::Txn(txn) => txn.validate(ops_max),
            Self::LeaseGrant { ttl_s, .. } if !(1..=LEASE_TTL_S_MAX).contains(ttl_s) => Err(StoreError::LeaseTtl {
                ttl_s: *ttl_s,
                ttl_s_max: LEASE_TTL_S_MAX,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        (bytes(), proptest::option::of(bytes())).prop_map(|(start, end)| KeyRange { start, end })
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (bytes(), bytes(), any::<i64>(), any::<bool>(), any::<Option<u32>>()).prop_map(
                |(key, value, lease, prev_kv, revision_splice)| Op::Put {
                    key,
                    value,
                    lease,
                    prev_kv,
                    revision_splice
                }
            ),
            (range(), any::<bool>()).prop_map(|(range, prev_kv)| Op::DeleteRange { range, prev_kv }),
            (range(), any::<Option<u64>>(), 0..9usize, any::<bool>()).prop_map(|(range, revision, limit, flag)| {
                Op::Range(RangeRequest {
                    range,
                    limit,
                    revision,
                    keys_only: flag,
                    count_only: !flag,
                })
            }),
        ]
    }

    fn command() -> impl Strategy<Value = StoreCommand> {
        let target = prop_oneof![
            any::<u64>().prop_map(CompareTarget::Version),
            any::<u64>().prop_map(CompareTarget::Mod),
            bytes().prop_map(CompareTarget::Value),
            any::<i64>().prop_map(CompareTarget::Lease),
        ];
        let compare = (range(), target).prop_map(|(range, target)| Compare {
            range,
            target,
            result: CompareResult::NotEqual,
        });
        let ops = || proptest::collection::vec(op(), 0..4);
        let txn = (proptest::collection::vec(compare, 0..3), ops(), ops());
        prop_oneof![
            4 => txn.prop_map(|(compares, success, failure)| StoreCommand::Txn(Txn { compares, success, failure })),
            1 => any::<u64>().prop_map(|revision| StoreCommand::Compact { revision }),
            1 => any::<(i64, i64)>().prop_map(|(id, ttl_s)| StoreCommand::LeaseGrant { id, ttl_s }),
            1 => any::<i64>().prop_map(|id| StoreCommand::LeaseRevoke { id }),
            1 => any::<(i64, u64)>().prop_map(|(id, renewals)| StoreCommand::LeaseExpire { id, renewals }),
        ]
    }

    proptest! {
        #[test]
        fn commands_come_back_as_they_went(command in command()) {
            let bytes = command.encode().unwrap();
            prop_assert_eq!(StoreCommand::decode(&bytes), Ok(command));
        }

        #[test]
        fn cut_longer_or_damaged_commands_never_panic(
            command in command(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let bytes = command.encode().unwrap();
            let at = at.index(bytes.len());
            prop_assert!(StoreCommand::decode(&bytes[..at]).is_err());
            let longer = [&bytes[..], &[byte]].concat();
            prop_assert_eq!(StoreCommand::decode(&longer), Err(DecodeError::Trailing { bytes: 1 }));
            let mut damaged = bytes.to_vec();
            damaged[at] = byte;
            if let Ok(command) = StoreCommand::decode(&damaged) {
                let _ = command.validate(8);
            }
        }
    }

    #[test]
    fn other_versions_are_named() {
        assert_eq!(StoreCommand::decode(&[9, 0]), Err(DecodeError::Version { version: 9 }));
        assert_eq!(StoreCommand::decode(&[]), Err(DecodeError::Empty));
    }

    #[test]
    fn splices_at_the_edges() {
        assert_eq!(splice_revision(b"ab", 0, 7), Some(Bytes::from_static(b"7ab")));
        assert_eq!(splice_revision(b"ab", 2, 7), Some(Bytes::from_static(b"ab7")));
        assert_eq!(splice_revision(b"ab", 3, 7), None);
    }
}
