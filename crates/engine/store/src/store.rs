//! The store: the replicated state machine and everything that is read from it.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockUpgradableReadGuard};
use revoada_core::consensus::{Application, ApplicationImage, LogPosition};
use tokio::sync::watch;

use crate::command::{StoreCommand, Txn};
use crate::history::{History, HistoryError};
use crate::image::{self, Image};
use crate::lease::LeaseInfo;
use crate::model::{Event, KeyRange, KeyValue, RangeRequest, RangeResponse};
use crate::response::{StoreError, StoreResponse, encode_response};
use crate::ring::{PrefixOf, RingLimits, Rings, registry_prefix};
use crate::state::{Lease, State};
use crate::txn::{self, limit_of};
use crate::watch::{WatchError, Watcher};

/// Keys visited under one hold of the lock.
const CHUNK_KEYS: usize = 4096;

/// How a store is set up on one replica. Nothing in here changes what is replicated.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Folder of the history; `None` for none: then only the newest revision can be read.
    pub history_dir: Option<PathBuf>,
    /// Which keys share a ring of events.
    pub prefix_of: PrefixOf,
    /// Most events in one ring.
    pub ring_events_max: usize,
    /// Most bytes that the events of one ring keep alive.
    pub ring_bytes_max: usize,
    /// The same for all rings together.
    pub rings_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            history_dir: None,
            prefix_of: registry_prefix,
            ring_events_max: 4096,
            ring_bytes_max: 4 * 1024 * 1024,
            rings_bytes_max: 32 * 1024 * 1024,
        }
    }
}

impl StoreOptions {
    /// With a history in `dir`.
    pub fn with_history(dir: impl Into<PathBuf>) -> Self {
        Self {
            history_dir: Some(dir.into()),
            ..Self::default()
        }
    }
}

/// Figures for metrics and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Of the last write.
    pub revision: u64,
    /// The oldest revision this replica can read.
    pub compacted: u64,
    /// Number of keys.
    pub keys: usize,
    /// Sum of the lengths of keys and values.
    pub bytes: u64,
    /// Number of leases.
    pub leases: usize,
    /// Bytes of the history on disk.
    pub history_bytes: u64,
    /// Number of rings.
    pub rings: usize,
    /// Events in them.
    pub ring_events: usize,
    /// Bytes these keep alive.
    pub ring_bytes: usize,
}

/// A fingerprint of the state, equal on all replicas at the same revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKv {
    /// BLAKE3 over all keys, values, revisions and leases.
    pub hash: [u8; 32],
    /// Of the state.
    pub revision: u64,
    /// Last committed compaction.
    pub compacted: u64,
}

/// The revisioned key-value store of one replica.
pub struct Store {
    state: RwLock<State>,
    history: History,
    rings: Rings,
    /// The revision that watchers may see.
    published: watch::Sender<u64>,
    /// Whether the state has a beginning: an applied entry or a restored image.
    begun: AtomicBool,
    /// Number of restored images, and the revision of the last.
    restores: Mutex<(u64, u64)>,
}

impl Store {
    /// An empty store. It gets its state by [`Application::restore`], if there is an image, and by applying the
    /// log. A history that can't be read is discarded; it never keeps the store from starting.
    pub fn open(options: StoreOptions) -> Arc<Self> {
        let limits = RingLimits {
            events_max: options.ring_events_max,
            bytes_max: options.ring_bytes_max,
            total_bytes_max: options.rings_bytes_max,
        };
        let state = State::default();
        Arc::new(Self {
            published: watch::Sender::new(state.revision),
            state: RwLock::new(state),
            history: History::open(options.history_dir.as_deref()),
            rings: Rings::new(options.prefix_of, limits),
            begun: AtomicBool::new(false),
            restores: Mutex::new((0, 0)),
        })
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// The oldest revision that can be read here. Other replicas may reach further back.
    pub fn compacted(&self) -> u64 {
        let (revision, compacted) = {
            let state = self.state.read();
            (state.revision, state.compacted)
        };
        compacted.max(self.history.floor().min(revision))
    }

    /// The newest version of a key.
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        let state = self.state.read();
        let (key, stored) = state.kv.get_key_value(key)?;
        Some(stored.key_value(key, false))
    }

    /// Reads a range. The result is of one revision, though the lock isn't held throughout.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
        self.scan_or_hold(request, true)
    }

    /// Like [`Store::range`], but stops at the limit: `count` then only says that there is at least one key more.
    /// For reading a large range in pages at a cost that doesn't grow with the range.
    pub fn range_page(&self, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
        self.scan_or_hold(request, request.count_only)
    }

    fn scan_or_hold(&self, request: &RangeRequest, counted: bool) -> Result<RangeResponse, StoreError> {
        match self.scan(request, CHUNK_KEYS, counted) {
            // Writes came between, and there is no history to undo them with.
            Err(StoreError::Compacted { .. } | StoreError::History { .. }) if request.revision.is_none() => {
                self.scan(request, usize::MAX, counted)
            }
            scanned => scanned,
        }
    }

    fn scan(&self, request: &RangeRequest, chunk_keys: usize, counted: bool) -> Result<RangeResponse, StoreError> {
        let limit = if request.count_only { 0 } else { limit_of(request) };
        let mut response = RangeResponse::default();
        let mut revision = request.revision;
        let mut cursor = request.range.clone();
        loop {
            let wanted = limit - response.kvs.len();
            let visited_max = if counted {
                chunk_keys
            } else {
                chunk_keys.min(wanted.saturating_add(64))
            };
            let chunk = self.chunk(&cursor, &mut revision, visited_max, wanted, request.keys_only)?;
            response.revision = chunk.revision;
            let part = KeyRange {
                start: cursor.start,
                end: chunk.next.clone().or_else(|| cursor.end.clone()),
            };
            if chunk.newest {
                response.count += chunk.count;
                response.kvs.extend(chunk.kvs);
            } else {
                self.merge_history(&mut response, chunk.kvs, &part, limit, request.keys_only)?;
            }
            let full = response.count > response.kvs.len() as u64;
            match chunk.next.filter(|_| counted || !full) {
                Some(next) => {
                    cursor = KeyRange {
                        start: next,
                        end: cursor.end,
                    }
                }
                None => break,
            }
        }
        response.more = !request.count_only && response.count > response.kvs.len() as u64;
        Ok(response)
    }

    /// Visits some keys under the lock.
    fn chunk(
        &self,
        range: &KeyRange,
        revision: &mut Option<u64>,
        keys_max: usize,
        wanted: usize,
        keys_only: bool,
    ) -> Result<Chunk, StoreError> {
        // A transaction reads older revisions while it holds the lock for reading.
        let state = self.state.read_recursive();
        let at = *revision.get_or_insert(state.revision);
        if at > state.revision {
            return Err(StoreError::FutureRevision {
                revision: at,
                current: state.revision,
            });
        }
        if at < state.compacted {
            return Err(StoreError::Compacted {
                revision: at,
                compacted: state.compacted,
            });
        }
        let newest = at == state.revision;
        let mut chunk = Chunk {
            revision: at,
            newest,
            kvs: Vec::new(),
            count: 0,
            next: None,
        };
        for (visited, (key, stored)) in state.range(range).enumerate() {
            if visited == keys_max {
                chunk.next = Some(key.clone());
                break;
            }
            if newest {
                chunk.count += 1;
                if chunk.kvs.len() < wanted {
                    chunk.kvs.push(stored.key_value(key, keys_only));
                }
            } else if stored.modified <= at {
                chunk.kvs.push(stored.key_value(key, keys_only));
            }
        }
        Ok(chunk)
    }

    /// Adds to `response` the keys that still are as they were (`unchanged`) and those that were changed since.
    fn merge_history(
        &self,
        response: &mut RangeResponse,
        unchanged: Vec<KeyValue>,
        part: &KeyRange,
        limit: usize,
        keys_only: bool,
    ) -> Result<(), StoreError> {
        let is_unchanged = |key: &Bytes| unchanged.binary_search_by(|kv| kv.key.cmp(key)).is_ok();
        let wanted = limit - response.kvs.len();
        let changed = self
            .history
            .versions_at(part, response.revision, wanted, is_unchanged)
            .map_err(|error| self.history_error(response.revision, error))?;
        response.count += (unchanged.len() + changed.len()) as u64;
        let mut changed = changed.into_iter().filter_map(|(_, version)| version).peekable();
        let mut unchanged = unchanged.into_iter().peekable();
        while response.kvs.len() < limit {
            let next = match (unchanged.peek(), changed.peek()) {
                (None, None) => break,
                (Some(same), Some(other)) if same.key < other.key => unchanged.next(),
                (Some(_), None) => unchanged.next(),
                _ => changed.next(),
            };
            let Some(mut next) = next else { break };
            if keys_only {
                next.value = Bytes::new();
            }
            response.kvs.push(next);
        }
        Ok(())
    }

    fn history_error(&self, revision: u64, error: HistoryError) -> StoreError {
        match error {
            HistoryError::Gone { .. } => StoreError::Compacted {
                revision,
                compacted: self.compacted(),
            },
            HistoryError::Broken { reason } => StoreError::History { reason },
        }
    }

    /// Watches `range` for changes after `from_revision`, which may lie in the future.
    pub fn watch(self: &Arc<Self>, range: KeyRange, from_revision: u64) -> Result<Watcher, WatchError> {
        Watcher::new(self.clone(), range, from_revision)
    }

    /// Waits until this replica has applied `revision` and its watchers may see it; false after `deadline`.
    pub async fn wait_revision(&self, revision: u64, deadline: Duration) -> bool {
        let mut published = self.published.subscribe();
        let reached = published.wait_for(|published| *published >= revision);
        matches!(tokio::time::timeout(deadline, reached).await, Ok(Ok(_)))
    }

    /// The leases, by id. Feed them to a [`crate::LeaseClock`] on the leader.
    pub fn leases(&self) -> Vec<LeaseInfo> {
        let info = |(id, lease): (&i64, &Lease)| LeaseInfo {
            id: *id,
            ttl_s: lease.ttl_s,
            renewals: lease.renewals,
            keys: lease.keys.len(),
        };
        self.state.read().leases.iter().map(info).collect()
    }

    /// The keys attached to a lease, in order; `None` if there is no such lease.
    pub fn lease_keys(&self, id: i64) -> Option<Vec<Bytes>> {
        self.state
            .read()
            .leases
            .get(&id)
            .map(|lease| lease.keys.iter().cloned().collect())
    }

    /// Figures for metrics and people.
    pub fn stats(&self) -> StoreStats {
        let compacted = self.compacted();
        let (rings, ring_events, ring_bytes) = self.rings.stats();
        let history_bytes = self.history.bytes();
        let state = self.state.read();
        StoreStats {
            revision: state.revision,
            compacted,
            keys: state.kv.len(),
            bytes: state.bytes,
            leases: state.leases.len(),
            history_bytes,
            rings,
            ring_events,
            ring_bytes,
        }
    }

    /// A fingerprint of the state, to compare replicas. Costs a pass over all values.
    pub fn hash_kv(&self) -> HashKv {
        let (image, revision, compacted) = {
            let state = self.state.read();
            (
                Image::of(&state, self.history.marker()),
                state.revision,
                state.compacted,
            )
        };
        HashKv {
            hash: image.hash(),
            revision,
            compacted,
        }
    }

    /// Waits until the history is on disk; false after `deadline`.
    pub fn settled(&self, deadline: Duration) -> bool {
        self.history.settled(deadline)
    }

    pub(crate) fn rings(&self) -> &Rings {
        &self.rings
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The newest revision that watchers may see.
    pub fn published(&self) -> u64 {
        *self.published.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Number of restored images, and the revision of the last.
    pub(crate) fn restores(&self) -> (u64, u64) {
        *self.restores.lock()
    }

    fn execute(&self, at: LogPosition, command: &StoreCommand) -> Result<StoreResponse, StoreError> {
        command.validate(crate::command::TXN_OPS_HARD_MAX)?;
        match command {
            StoreCommand::Txn(txn) => self.transact(txn),
            StoreCommand::Compact { revision } => self.compact(*revision),
            StoreCommand::LeaseGrant { id, ttl_s } => self.lease_grant(at, *id, *ttl_s),
            StoreCommand::LeaseRevoke { id } => self.lease_end(*id, None),
            StoreCommand::LeaseExpire { id, renewals } => self.lease_end(*id, Some(*renewals)),
            StoreCommand::LeaseKeepAlive { id } => {
                let mut state = self.state.write();
                let revision = state.revision;
                let lease = state.leases.get_mut(id).ok_or(StoreError::LeaseNotFound { id: *id })?;
                lease.renewals += 1;
                Ok(StoreResponse::LeaseKeepAlive {
                    revision,
                    ttl_s: lease.ttl_s,
                })
            }
        }
    }

    fn transact(&self, txn: &Txn) -> Result<StoreResponse, StoreError> {
        // Only this thread changes the state: readers go on while the transaction is evaluated.
        let state = self.state.upgradable_read();
        #[cfg(feature = "mutations")]
        let txn = &self.read_as_watched(txn);
        let outcome = txn::evaluate(&state, txn, &|request| self.range(request))?;
        if !outcome.events.is_empty() {
            self.record(&outcome.events);
            RwLockUpgradableReadGuard::upgrade(state).commit(outcome.response.revision, &outcome.events);
        }
        Ok(StoreResponse::Txn(outcome.response))
    }

    #[cfg(feature = "mutations")]
    fn read_as_watched(&self, txn: &Txn) -> Txn {
        let mut txn = txn.clone();
        if sim_mutation::is("local-apply") {
            for op in txn.success.iter_mut().chain(&mut txn.failure) {
                if let crate::command::Op::Range(request) = op {
                    request.revision = Some(self.published());
                }
            }
        }
        txn
    }

    /// Before a change is visible, history and rings have it: who reads an older revision finds what was replaced.
    fn record(&self, events: &[Arc<Event>]) {
        self.history.push(events);
        self.rings.push(events);
    }

    fn compact(&self, revision: u64) -> Result<StoreResponse, StoreError> {
        let mut state = self.state.write();
        if revision > state.revision {
            return Err(StoreError::FutureRevision {
                revision,
                current: state.revision,
            });
        }
        if revision <= state.compacted {
            return Err(StoreError::Compacted {
                revision,
                compacted: state.compacted,
            });
        }
        state.compacted = revision;
        let current = state.revision;
        drop(state);
        self.history.compact(revision);
        Ok(StoreResponse::Compact { revision: current })
    }

    fn lease_grant(&self, at: LogPosition, id: i64, ttl_s: i64) -> Result<StoreResponse, StoreError> {
        let mut state = self.state.write();
        let mut chosen = id;
        if id == 0 {
            // The log index is the same on all replicas and was never used before, but by a client's own choice.
            chosen = i64::try_from(at.index).unwrap_or(i64::MAX).max(1);
            while state.leases.contains_key(&chosen) {
                chosen = chosen.checked_add(1).unwrap_or(1);
            }
        } else if state.leases.contains_key(&id) {
            return Err(StoreError::LeaseExists { id });
        }
        state.leases.insert(
            chosen,
            Lease {
                ttl_s,
                // No lease of this id ever had as many: each grant and each keep-alive is an entry of its own.
                renewals: at.index,
                keys: Default::default(),
            },
        );
        Ok(StoreResponse::LeaseGrant {
            revision: state.revision,
            id: chosen,
            ttl_s,
        })
    }

    /// Ends a lease; with `renewals`, only if it has just those.
    fn lease_end(&self, id: i64, renewals: Option<u64>) -> Result<StoreResponse, StoreError> {
        let state = self.state.upgradable_read();
        let lease = state.leases.get(&id).ok_or(StoreError::LeaseNotFound { id })?;
        if renewals.is_some_and(|renewals| renewals != lease.renewals) {
            return Err(StoreError::LeaseRenewed { id });
        }
        let events = txn::delete_keys(&state, lease.keys.iter().cloned());
        self.record(&events);
        let mut state = RwLockUpgradableReadGuard::upgrade(state);
        if let Some(event) = events.first() {
            state.commit(event.mod_revision, &events);
        }
        state.leases.remove(&id);
        Ok(StoreResponse::LeaseRevoke {
            revision: state.revision,
            deleted: events.len() as u64,
        })
    }
}

/// What was seen under one hold of the lock.
struct Chunk {
    revision: u64,
    /// Whether the state was at that revision: nothing needs to be undone.
    newest: bool,
    kvs: Vec<KeyValue>,
    count: u64,
    /// Where to go on; `None` at the end.
    next: Option<Bytes>,
}

impl Application for Store {
    fn apply(&self, at: LogPosition, payload: &[u8]) -> Bytes {
        if !self.begun.swap(true, Ordering::AcqRel) {
            self.history.begin();
        }
        let answer = match StoreCommand::decode(payload) {
            Ok(command) => self.execute(at, &command),
            Err(error) => {
                tracing::error!(index = at.index, %error, "a log entry is no store command and is passed over");
                Err(StoreError::BadCommand {
                    reason: error.to_string(),
                })
            }
        };
        encode_response(&answer)
    }

    fn applied(&self, _index: u64) {
        let revision = self.state.read().revision;
        let moved = self
            .published
            .send_if_modified(|published| std::mem::replace(published, revision) != revision);
        if moved {
            self.rings.wake(revision);
        }
    }

    fn image(&self) -> Box<dyn ApplicationImage> {
        Box::new(Image::of(&self.state.read(), self.history.marker()))
    }

    fn restore(&self, index: u64, input: &mut dyn Read) -> std::io::Result<()> {
        let (restored, hash) = image::read(input)?;
        let revision = restored.revision;
        self.begun.store(true, Ordering::Release);
        self.history.rebase(revision, hash);
        let before = std::mem::replace(&mut *self.state.write(), restored);
        {
            let mut restores = self.restores.lock();
            *restores = (restores.0 + 1, revision);
        }
        self.published.send_replace(revision);
        self.rings.reset(revision);
        drop(before);
        tracing::info!(index, revision, "the store was restored from an image");
        Ok(())
    }
}
