//! Writes down what happens: the record that invariants read, and the trace that two runs of one seed must share.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use engenho_engine::store::{Op, Store, StoreCommand};
use engenho_node::run::api::Stores;
use parking_lot::Mutex;
use revoada::ApplicationFactory;
use revoada_core::MemberId;
use revoada_core::consensus::{Application, ApplicationImage, LogPosition};
use revoada_mesh::Refusal;
use sim_check::record::{Applied, Change, FaultNote, Record, Restored, Served, Stamp};

/// Signs of service are written down at most this often for each pair.
const SERVED_EVERY_MS: u64 = 500;

/// Where the workload's objects are.
pub const PREFIX: &str = "/registry/core/configmaps/";

#[derive(Default)]
struct Inner {
    record: Record,
    trace: String,
    served: BTreeMap<(u16, MemberId), u64>,
    turned_away: BTreeMap<(MemberId, &'static str), u64>,
    lease_ends: BTreeMap<i64, Stamp>,
}

/// Cheap handle; everything happens on one thread.
#[derive(Clone, Default)]
pub struct Recorder {
    order: Arc<AtomicU64>,
    inner: Arc<Mutex<Inner>>,
}

impl Recorder {
    /// Milliseconds since the run began.
    pub fn now_ms(&self) -> u64 {
        turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64)
    }

    /// The next place in the order of things.
    pub fn stamp(&self) -> Stamp {
        self.stamp_at(self.now_ms())
    }

    /// As [`Recorder::stamp`], for the runner, which stands outside simulated time.
    pub fn stamp_at(&self, at_ms: u64) -> Stamp {
        Stamp {
            order: self.order.fetch_add(1, Ordering::Relaxed) + 1,
            at_ms,
        }
    }

    /// Adds to the record.
    pub fn add(&self, add: impl FnOnce(&mut Record)) {
        add(&mut self.inner.lock().record);
    }

    /// A line of the trace.
    pub fn trace(&self, at: Stamp, text: std::fmt::Arguments<'_>) {
        use std::fmt::Write as _;
        let mut inner = self.inner.lock();
        // Writing to a string does not fail.
        let _ = writeln!(inner.trace, "{:>6}.{:03} {text}", at.at_ms / 1000, at.at_ms % 1000);
    }

    /// Something was done to the world.
    pub fn fault(&self, at_ms: u64, kind: &'static str, what: String, machines: Vec<u16>) {
        let at = self.stamp_at(at_ms);
        self.trace(at, format_args!("FAULT {what}"));
        self.add(|record| {
            record.faults.push(FaultNote {
                at,
                kind,
                what,
                machines,
            });
        });
    }

    /// `machine` served `peer`.
    pub fn served(&self, machine: u16, peer: MemberId) {
        let now = self.now_ms();
        let fresh = {
            let mut inner = self.inner.lock();
            let last = inner.served.entry((machine, peer)).or_insert(0);
            let fresh = *last == 0 || now >= *last + SERVED_EVERY_MS;
            if fresh {
                *last = now.max(1);
            }
            fresh
        };
        if fresh {
            let at = self.stamp();
            self.add(|record| record.served.push(Served { at, machine, peer }));
        }
    }

    /// `machine` refused `peer`.
    pub fn turned_away(&self, machine: u16, peer: MemberId, refusal: Refusal) {
        let name: &'static str = match refusal {
            Refusal::Expelled => "expelled",
            Refusal::Left => "left",
            Refusal::Fenced => "fenced",
            Refusal::Unknown => "unknown",
            _ => "other",
        };
        let first = {
            let mut inner = self.inner.lock();
            let count = inner.turned_away.entry((peer, name)).or_insert(0);
            *count += 1;
            *count == 1
        };
        if first {
            let at = self.stamp();
            self.trace(at, format_args!("m{machine} turns {} away: {name}", peer.short()));
        }
    }

    /// How often a key was turned away for what.
    pub fn turned_away_count(&self, peer: MemberId, name: &'static str) -> u64 {
        self.inner.lock().turned_away.get(&(peer, name)).copied().unwrap_or(0)
    }

    fn lease_ended(&self, id: i64, at: Stamp) {
        self.inner.lock().lease_ends.entry(id).or_insert(at);
    }

    /// Ends the recording.
    pub fn finish(&self) -> (Record, String) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for lease in &mut inner.record.leases {
            lease.ended = inner.lease_ends.get(&lease.id).copied();
        }
        (std::mem::take(&mut inner.record), std::mem::take(&mut inner.trace))
    }
}

/// Stores whose applied entries are written down.
pub struct RecordingStores {
    pub stores: Arc<Stores>,
    pub recorder: Recorder,
    pub machine: u16,
    pub incarnations: Arc<AtomicU32>,
    pub applied: Arc<AtomicU64>,
}

impl ApplicationFactory for RecordingStores {
    fn open(&self, dir: &Path) -> std::io::Result<Arc<dyn Application>> {
        let inner = self.stores.open(dir)?;
        let store = self
            .stores
            .current()
            .ok_or_else(|| std::io::Error::other("the store is gone"))?;
        // `raft/epoch-N`: the directory says which history this is.
        let epoch = dir
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("epoch-"))
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        Ok(Arc::new(Recording {
            inner,
            store,
            recorder: self.recorder.clone(),
            machine: self.machine,
            incarnation: self.incarnations.fetch_add(1, Ordering::Relaxed) + 1,
            applied: Arc::clone(&self.applied),
            epoch,
        }))
    }

    fn close(&self) {
        self.stores.close();
    }
}

struct Recording {
    inner: Arc<dyn Application>,
    store: Arc<Store>,
    recorder: Recorder,
    machine: u16,
    incarnation: u32,
    applied: Arc<AtomicU64>,
    epoch: u64,
}

impl Recording {
    /// The keys that a payload may change.
    fn keys(&self, payload: &[u8]) -> Vec<Bytes> {
        match StoreCommand::decode(payload) {
            Ok(StoreCommand::Txn(txn)) => {
                let ops = txn.success.iter().chain(&txn.failure);
                let keys = ops.filter_map(|op| match op {
                    Op::Put { key, .. } => Some(key.clone()),
                    Op::DeleteRange { range, .. } => range.single().cloned(),
                    Op::Range(_) => None,
                });
                let mut keys: Vec<Bytes> = keys.collect();
                keys.sort();
                keys.dedup();
                keys
            }
            Ok(StoreCommand::LeaseRevoke { id } | StoreCommand::LeaseExpire { id, .. }) => {
                self.store.lease_keys(id).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

/// The workload's value inside a stored object.
pub fn value_of(stored: &[u8]) -> Option<String> {
    let object: serde_json::Value = serde_json::from_slice(stored).ok()?;
    Some(object.get("data")?.get("v")?.as_str()?.to_owned())
}

impl Application for Recording {
    fn apply(&self, at: LogPosition, payload: &[u8]) -> Bytes {
        let keys = self.keys(payload);
        let ends = match StoreCommand::decode(payload) {
            Ok(StoreCommand::LeaseRevoke { id } | StoreCommand::LeaseExpire { id, .. }) => {
                self.store.lease_keys(id).map(|_| id)
            }
            _ => None,
        };
        let before: Vec<bool> = keys.iter().map(|key| self.store.get(key).is_some()).collect();
        let revision_before = self.store.revision();
        let response = self.inner.apply(at, payload);
        self.applied.store(at.index, Ordering::Relaxed);
        let revision = self.store.revision();
        let mut changes = Vec::new();
        if revision > revision_before {
            for (key, was_there) in keys.iter().zip(before) {
                let now = self.store.get(key);
                let name = String::from_utf8_lossy(key).into_owned();
                let ours = name.starts_with(PREFIX);
                match now {
                    Some(kv) if kv.mod_revision > revision_before => changes.push(Change {
                        value: Some(if ours {
                            value_of(&kv.value).unwrap_or_default()
                        } else {
                            String::new()
                        }),
                        key: name,
                        revision: kv.mod_revision,
                    }),
                    None if was_there => changes.push(Change {
                        value: None,
                        key: name,
                        revision,
                    }),
                    _ => {}
                }
            }
        }
        let stamp = self.recorder.stamp();
        if let Some(id) = ends.filter(|id| self.store.lease_keys(*id).is_none()) {
            self.recorder.lease_ended(id, stamp);
        }
        let payload = *blake3::hash(payload).as_bytes();
        let response_hash = *blake3::hash(&response).as_bytes();
        self.recorder.trace(
            stamp,
            format_args!(
                "m{} applies {}.{} {:02x}{:02x} -> {:02x}{:02x} at {revision}",
                self.machine, at.term, at.index, payload[0], payload[1], response_hash[0], response_hash[1]
            ),
        );
        self.recorder.add(|record| {
            record.applied.push(Applied {
                at: stamp,
                machine: self.machine,
                incarnation: self.incarnation,
                epoch: self.epoch,
                index: at.index,
                term: at.term,
                payload,
                response: response_hash,
                revision,
                changes,
                fence: None,
            });
        });
        response
    }

    fn applied(&self, index: u64) {
        self.inner.applied(index);
    }

    fn image(&self) -> Box<dyn ApplicationImage> {
        self.inner.image()
    }

    fn restore(&self, index: u64, input: &mut dyn Read) -> std::io::Result<()> {
        self.inner.restore(index, input)?;
        self.applied.store(index, Ordering::Relaxed);
        let at = self.recorder.stamp();
        let revision = self.store.revision();
        self.recorder.trace(
            at,
            format_args!("m{} restores a snapshot of {index} at {revision}", self.machine),
        );
        self.recorder.add(|record| {
            record.restored.push(Restored {
                at,
                machine: self.machine,
                incarnation: self.incarnation,
                epoch: self.epoch,
                index,
                revision,
            });
        });
        Ok(())
    }
}
