//! The newest events in memory: one bounded ring per resource, shared by all its watchers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::model::{Event, KeyRange};

/// Most rings; keys of further prefixes share the general one.
const RINGS_MAX: usize = 1024;

/// Gives the length of the part of a key that names its ring; `None` for the general ring. The prefix of a key
/// must also be the prefix of every key that begins with it.
pub type PrefixOf = fn(&[u8]) -> Option<usize>;

/// `/registry/<group-or-core>/<resource>/`.
pub fn registry_prefix(key: &[u8]) -> Option<usize> {
    const ROOT: &[u8] = b"/registry/";
    let rest = key.strip_prefix(ROOT)?;
    let mut slashes = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let second = slashes.nth(1)?.0;
    Some(ROOT.len() + second + 1)
}

/// Bounds of the rings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingLimits {
    pub events_max: usize,
    pub bytes_max: usize,
    pub total_bytes_max: usize,
}

/// A ring of events.
pub(crate) struct Ring {
    inner: Mutex<RingInner>,
    wake: watch::Sender<u64>,
}

struct RingInner {
    events: VecDeque<Arc<Event>>,
    /// All events after this revision are here.
    floor: u64,
    bytes: usize,
    dirty: bool,
}

impl Ring {
    fn new(floor: u64) -> Arc<Self> {
        let inner = RingInner {
            events: VecDeque::new(),
            floor,
            bytes: 0,
            dirty: false,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            wake: watch::Sender::new(floor),
        })
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    pub fn floor(&self) -> u64 {
        self.inner.lock().floor
    }

    /// Events of `range` in `(after, upto]` and the revision up to which they are complete; at most about
    /// `events_max`, never splitting a revision. `None` if some of them are no longer here.
    pub fn collect(
        &self,
        range: &KeyRange,
        after: u64,
        upto: u64,
        events_max: usize,
    ) -> Option<(Vec<Arc<Event>>, u64)> {
        let inner = self.inner.lock();
        if after < inner.floor {
            return None;
        }
        let first = inner.events.partition_point(|event| event.mod_revision <= after);
        let mut events: Vec<Arc<Event>> = Vec::new();
        for event in inner
            .events
            .range(first..)
            .take_while(|event| event.mod_revision <= upto)
        {
            if let Some(last) = events.last()
                && events.len() >= events_max
                && last.mod_revision != event.mod_revision
            {
                let reached = last.mod_revision;
                return Some((events, reached));
            }
            if range.contains(&event.key) {
                events.push(event.clone());
            }
        }
        Some((events, upto))
    }
}

impl RingInner {
    /// Drops the oldest events until both bounds hold; gives the bytes freed.
    fn evict(&mut self, events_max: usize, bytes_max: usize) -> usize {
        let before = self.bytes;
        while self.events.len() > events_max || self.bytes > bytes_max {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.weight().min(self.bytes);
            self.floor = oldest.mod_revision;
        }
        before - self.bytes
    }
}

/// Which rings hold the events of a range.
#[derive(Clone)]
pub(crate) enum Selection {
    One(Arc<Ring>),
    All,
}

/// All rings.
pub(crate) struct Rings {
    prefix_of: PrefixOf,
    limits: RingLimits,
    by_prefix: RwLock<BTreeMap<Bytes, Arc<Ring>>>,
    general: Arc<Ring>,
    /// Floor of a ring that is yet to be made: no key of its prefix has changed since.
    started: AtomicU64,
    total: AtomicUsize,
    dirty: Mutex<Vec<Arc<Ring>>>,
}

impl Rings {
    pub fn new(prefix_of: PrefixOf, limits: RingLimits) -> Self {
        Self {
            prefix_of,
            limits,
            by_prefix: RwLock::default(),
            general: Ring::new(0),
            started: AtomicU64::new(0),
            total: AtomicUsize::new(0),
            dirty: Mutex::default(),
        }
    }

    fn prefix<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.get(..(self.prefix_of)(key)?)
    }

    fn ring_of(&self, prefix: Option<&[u8]>) -> Arc<Ring> {
        let Some(prefix) = prefix else {
            return self.general.clone();
        };
        if let Some(ring) = self.by_prefix.read().get(prefix) {
            return ring.clone();
        }
        let mut rings = self.by_prefix.write();
        if !rings.contains_key(prefix) && rings.len() >= RINGS_MAX {
            return self.general.clone();
        }
        let ring = rings.entry(Bytes::copy_from_slice(prefix));
        ring.or_insert_with(|| Ring::new(self.started.load(Ordering::Acquire)))
            .clone()
    }

    /// The rings that a watcher of `range` reads.
    pub fn select(&self, range: &KeyRange) -> Selection {
        let prefix = self.prefix(&range.start);
        match prefix {
            Some(prefix) if range.within(&KeyRange::prefix(Bytes::copy_from_slice(prefix))) => {
                Selection::One(self.ring_of(Some(prefix)))
            }
            None if range.single().is_some() => Selection::One(self.general.clone()),
            _ => Selection::All,
        }
    }

    /// Adds the changes of one revision. Watchers see them after [`Rings::wake`].
    pub fn push(&self, events: &[Arc<Event>]) {
        for event in events {
            #[cfg(feature = "mutations")]
            if sim_mutation::is("drop-watch-event") && event.mod_revision % 23 == 0 {
                continue;
            }
            let ring = self.ring_of(self.prefix(&event.key));
            let mut inner = ring.inner.lock();
            let weight = event.weight();
            inner.events.push_back(event.clone());
            inner.bytes += weight;
            let freed = inner.evict(self.limits.events_max, self.limits.bytes_max);
            let newly_dirty = !std::mem::replace(&mut inner.dirty, true);
            drop(inner);
            let total = self.total.fetch_add(weight, Ordering::AcqRel) + weight;
            self.total.fetch_sub(freed, Ordering::AcqRel);
            if newly_dirty {
                self.dirty.lock().push(ring);
            }
            if total - freed.min(total) > self.limits.total_bytes_max {
                self.shrink_largest();
            }
        }
    }

    fn shrink_largest(&self) {
        let rings = self.by_prefix.read();
        let all = rings.values().chain([&self.general]);
        let Some(largest) = all.max_by_key(|ring| ring.inner.lock().bytes) else {
            return;
        };
        let mut inner = largest.inner.lock();
        let half = inner.bytes / 2;
        let freed = inner.evict(usize::MAX, half);
        self.total.fetch_sub(freed, Ordering::AcqRel);
    }

    /// Wakes the watchers of the rings that changed.
    pub fn wake(&self, revision: u64) {
        for ring in std::mem::take(&mut *self.dirty.lock()) {
            ring.inner.lock().dirty = false;
            ring.wake.send_replace(revision);
        }
    }

    /// Empties all rings, which then begin after `revision`, and wakes everyone.
    pub fn reset(&self, revision: u64) {
        let rings = self.by_prefix.write();
        self.started.store(revision, Ordering::Release);
        self.dirty.lock().clear();
        for ring in rings.values().chain([&self.general]) {
            let mut inner = ring.inner.lock();
            inner.events.clear();
            inner.bytes = 0;
            inner.floor = revision;
            inner.dirty = false;
        }
        self.total.store(0, Ordering::Release);
        for ring in rings.values().chain([&self.general]) {
            ring.wake.send_replace(revision);
        }
    }

    /// The same as [`Ring::collect`], over all rings.
    pub fn collect_all(
        &self,
        range: &KeyRange,
        after: u64,
        upto: u64,
        events_max: usize,
    ) -> Option<(Vec<Arc<Event>>, u64)> {
        let rings: Vec<Arc<Ring>> = self.by_prefix.read().values().chain([&self.general]).cloned().collect();
        let mut events = Vec::new();
        let mut reached = upto;
        for ring in rings {
            let (some, until) = ring.collect(range, after, upto, events_max)?;
            events.extend(some);
            reached = reached.min(until);
        }
        events.retain(|event| event.mod_revision <= reached);
        events.sort_by_key(|event| (event.mod_revision, event.sub));
        Some((events, reached))
    }

    /// Whether all events of the selection after `revision` are here.
    pub fn cover(&self, selection: &Selection, revision: u64) -> bool {
        match selection {
            Selection::One(ring) => ring.floor() <= revision,
            Selection::All => {
                let rings = self.by_prefix.read();
                rings
                    .values()
                    .chain([&self.general])
                    .all(|ring| ring.floor() <= revision)
            }
        }
    }

    /// Number of rings, of events and of bytes in them.
    pub fn stats(&self) -> (usize, usize, usize) {
        let rings = self.by_prefix.read();
        let events = rings
            .values()
            .chain([&self.general])
            .map(|ring| ring.inner.lock().events.len())
            .sum();
        (rings.len() + 1, events, self.total.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_the_registry() {
        let prefix = |key: &'static str| registry_prefix(key.as_bytes()).map(|length| &key[..length]);
        assert_eq!(prefix("/registry/core/pods/default/a"), Some("/registry/core/pods/"));
        assert_eq!(
            prefix("/registry/apps/deployments/"),
            Some("/registry/apps/deployments/")
        );
        assert_eq!(prefix("/registry/core/pods"), None);
        assert_eq!(prefix("/other/core/pods/x"), None);
    }
}
