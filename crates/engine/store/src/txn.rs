//! Evaluates a transaction against the state without changing it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::command::{Compare, CompareResult, CompareTarget, Op, TXN_OPS_HARD_MAX, Txn, splice_revision};
use crate::model::{Event, EventKind, KeyRange, RangeRequest, RangeResponse};
use crate::response::{OpResult, StoreError, TxnResponse};
use crate::state::{State, Stored, range_of};

/// What a transaction would do.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub response: TxnResponse,
    /// The changes, all of revision `response.revision`; empty if nothing was written.
    pub events: Vec<Arc<Event>>,
}

/// Reads an older revision from the local history.
pub(crate) type ReadHistory<'a> = &'a dyn Fn(&RangeRequest) -> Result<RangeResponse, StoreError>;

/// Evaluates `txn`. An error means that nothing of it may be done.
pub(crate) fn evaluate(state: &State, txn: &Txn, history: ReadHistory<'_>) -> Result<Outcome, StoreError> {
    txn.validate(TXN_OPS_HARD_MAX)?;
    let succeeded = txn.compares.iter().all(|compare| holds(state, compare));
    let ops = if succeeded { &txn.success } else { &txn.failure };
    check(state, ops)?;
    let mut draft = Draft {
        state,
        writes: BTreeMap::new(),
        events: Vec::new(),
    };
    let results = ops
        .iter()
        .map(|op| draft.step(op, history))
        .collect::<Result<Vec<_>, _>>()?;
    let revision = draft.revision();
    Ok(Outcome {
        response: TxnResponse {
            revision,
            succeeded,
            results,
        },
        events: draft.events,
    })
}

/// The deletion of some keys as one revision.
pub(crate) fn delete_keys(state: &State, keys: impl IntoIterator<Item = Bytes>) -> Vec<Arc<Event>> {
    let mut draft = Draft {
        state,
        writes: BTreeMap::new(),
        events: Vec::new(),
    };
    for key in keys {
        draft.delete(&KeyRange::key(key));
    }
    draft.events
}

fn holds(state: &State, compare: &Compare) -> bool {
    let mut keys = state.range(&compare.range).peekable();
    if keys.peek().is_none() {
        return holds_for(None, compare);
    }
    keys.all(|(_, stored)| holds_for(Some(stored), compare))
}

fn holds_for(stored: Option<&Stored>, compare: &Compare) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => stored.map_or(0, |stored| stored.version).cmp(version),
        CompareTarget::Create(revision) => stored.map_or(0, |stored| stored.create).cmp(revision),
        CompareTarget::Mod(revision) => stored.map_or(0, |stored| stored.modified).cmp(revision),
        CompareTarget::Lease(lease) => stored.map_or(0, |stored| stored.lease).cmp(lease),
        CompareTarget::Value(value) => match stored {
            Some(stored) => stored.value.cmp(value),
            None => return false,
        },
    };
    match compare.result {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::NotEqual => order != Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
    }
}

/// All that can be refused depends on replicated state alone, so that replicas refuse alike.
fn check(state: &State, ops: &[Op]) -> Result<(), StoreError> {
    for op in ops {
        match op {
            Op::Put { lease, .. } if *lease != 0 && !state.leases.contains_key(lease) => {
                return Err(StoreError::LeaseNotFound { id: *lease });
            }
            Op::Range(RangeRequest {
                revision: Some(revision),
                ..
            }) => {
                if *revision > state.revision {
                    return Err(StoreError::FutureRevision {
                        revision: *revision,
                        current: state.revision,
                    });
                }
                if *revision < state.compacted {
                    return Err(StoreError::Compacted {
                        revision: *revision,
                        compacted: state.compacted,
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The state with the transaction's own writes laid over it.
struct Draft<'a> {
    state: &'a State,
    writes: BTreeMap<Bytes, Option<Stored>>,
    events: Vec<Arc<Event>>,
}

impl Draft<'_> {
    fn revision(&self) -> u64 {
        self.state.revision + u64::from(!self.events.is_empty())
    }

    fn get(&self, key: &Bytes) -> Option<&Stored> {
        match self.writes.get(key) {
            Some(written) => written.as_ref(),
            None => self.state.kv.get(key),
        }
    }

    /// Calls `visit` with each key of `range`, in order.
    fn visit(&self, range: &KeyRange, mut visit: impl FnMut(&Bytes, &Stored)) {
        let mut below = self.state.range(range).peekable();
        let mut above = range_of(&self.writes, range).peekable();
        loop {
            let (from_below, from_above) = match (below.peek(), above.peek()) {
                (None, None) => return,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, true),
                (Some((low, _)), Some((high, _))) => (low <= high, high <= low),
            };
            let low = if from_below { below.next() } else { None };
            if from_above {
                if let Some((key, Some(stored))) = above.next() {
                    visit(key, stored);
                }
            } else if let Some((key, stored)) = low {
                visit(key, stored);
            }
        }
    }

    fn step(&mut self, op: &Op, history: ReadHistory<'_>) -> Result<OpResult, StoreError> {
        match op {
            Op::Put {
                key,
                value,
                lease,
                prev_kv,
                revision_splice,
            } => self.put(key, value, *lease, *prev_kv, *revision_splice),
            Op::DeleteRange { range, prev_kv } => {
                let first = self.events.len();
                self.delete(range);
                let deleted = &self.events[first..];
                let prevs = if *prev_kv {
                    deleted.iter().filter_map(|event| previous(event)).collect()
                } else {
                    vec![]
                };
                Ok(OpResult::DeleteRange {
                    deleted: deleted.len() as u64,
                    prevs,
                })
            }
            Op::Range(request) => match request.revision {
                Some(revision) if revision < self.state.revision => match history(request) {
                    Ok(response) => Ok(OpResult::Range(response)),
                    Err(StoreError::Compacted { compacted, .. }) => {
                        Ok(OpResult::RangeUnavailable { oldest: compacted })
                    }
                    Err(_) => Ok(OpResult::RangeUnavailable {
                        oldest: self.state.revision,
                    }),
                },
                Some(_) => Ok(OpResult::Range(
                    Draft {
                        state: self.state,
                        writes: BTreeMap::new(),
                        events: Vec::new(),
                    }
                    .range(request),
                )),
                None => Ok(OpResult::Range(self.range(request))),
            },
        }
    }

    fn put(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        lease: i64,
        prev_kv: bool,
        splice: Option<u32>,
    ) -> Result<OpResult, StoreError> {
        let revision = self.state.revision + 1;
        let value = match splice {
            None => value.clone(),
            Some(offset) => splice_revision(value, offset, revision).ok_or_else(|| StoreError::BadSplice {
                key: key.clone(),
                offset,
                bytes: value.len(),
            })?,
        };
        let before = self.get(key);
        let stored = Stored {
            value: value.clone(),
            create: before.map_or(revision, |before| before.create),
            modified: revision,
            version: before.map_or(1, |before| before.version + 1),
            lease,
        };
        let prev = before.map(Stored::previous);
        let returned = if prev_kv {
            before.map(|before| before.key_value(key, false))
        } else {
            None
        };
        self.events.push(Arc::new(Event {
            kind: EventKind::Put,
            key: key.clone(),
            value: value.clone(),
            prev,
            create_revision: stored.create,
            mod_revision: revision,
            version: stored.version,
            lease,
            sub: self.events.len() as u32,
        }));
        self.writes.insert(key.clone(), Some(stored));
        Ok(OpResult::Put {
            mod_revision: revision,
            bytes: value.len() as u64,
            prev: returned,
        })
    }

    fn delete(&mut self, range: &KeyRange) {
        let mut gone = Vec::new();
        self.visit(range, |key, stored| gone.push((key.clone(), stored.previous())));
        for (key, prev) in gone {
            self.events.push(Arc::new(Event {
                kind: EventKind::Delete,
                key: key.clone(),
                value: Bytes::new(),
                prev: Some(prev),
                create_revision: 0,
                mod_revision: self.state.revision + 1,
                version: 0,
                lease: 0,
                sub: self.events.len() as u32,
            }));
            self.writes.insert(key, None);
        }
    }

    fn range(&self, request: &RangeRequest) -> RangeResponse {
        let mut response = RangeResponse {
            revision: self.revision(),
            ..RangeResponse::default()
        };
        let kept_max = if request.count_only { 0 } else { limit_of(request) };
        self.visit(&request.range, |key, stored| {
            response.count += 1;
            if response.kvs.len() < kept_max {
                response.kvs.push(stored.key_value(key, request.keys_only));
            }
        });
        response.more = !request.count_only && response.count > response.kvs.len() as u64;
        response
    }
}

/// The most keys to return.
pub(crate) fn limit_of(request: &RangeRequest) -> usize {
    if request.limit == 0 { usize::MAX } else { request.limit }
}

fn previous(event: &Event) -> Option<crate::model::KeyValue> {
    event.prev.as_ref().map(|prev| crate::model::KeyValue {
        key: event.key.clone(),
        value: prev.value.clone(),
        create_revision: prev.create_revision,
        mod_revision: prev.mod_revision,
        version: prev.version,
        lease: prev.lease,
    })
}
