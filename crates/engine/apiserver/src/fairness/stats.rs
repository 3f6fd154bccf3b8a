//! How much is stored of a resource, looked up now and then.

use std::collections::BTreeMap;
use std::sync::Arc;

use engenho_catalog::Resource;
use engenho_flowcontrol::ListStats;
use engenho_store::{KeyRange, RangeRequest, Store};
use parking_lot::Mutex;

/// How long a look is good for, nanoseconds.
const FRESH_NS: u64 = 10_000_000_000;
/// Objects whose sizes are looked at.
const SAMPLE: usize = 50;
/// Resources that are remembered.
const RESOURCES_MAX: usize = 2_000;

/// What was found lately, by prefix of keys.
#[derive(Default)]
pub(super) struct Cache(Mutex<BTreeMap<String, (u64, ListStats)>>);

impl Cache {
    pub fn get(&self, store: &Arc<Store>, resource: &Resource, now_ns: u64) -> Option<ListStats> {
        let prefix = resource.storage_prefix();
        if let Some((at_ns, stats)) = self.0.lock().get(&prefix)
            && now_ns.saturating_sub(*at_ns) < FRESH_NS
        {
            return Some(*stats);
        }
        let sample = RangeRequest {
            limit: SAMPLE,
            ..RangeRequest::new(KeyRange::prefix(prefix.clone()))
        };
        let read = store.range(&sample).ok()?;
        let bytes: u64 = read.kvs.iter().map(|kv| kv.value.len() as u64).sum();
        let stats = ListStats {
            objects: read.count,
            bytes_each: bytes.checked_div(read.kvs.len() as u64).unwrap_or(0),
        };
        let mut known = self.0.lock();
        if known.len() >= RESOURCES_MAX {
            known.clear();
        }
        known.insert(prefix, (now_ns, stats));
        Some(stats)
    }
}
