//! API Priority and Fairness around requests: waiting for a turn, and giving seats back.
//!
//! Everything is decided by [`engenho_flowcontrol`]; here are the clock, the configuration in the store, and those who
//! wait. Seats are this replica's: each judges what it serves.

mod stats;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use engenho_flowcontrol::{
    Classified, Digest, Dropped, FlowSchema, Levels, PriorityLevel, Rejection, Selection, Started, WatchKey, Watchers,
    WorkEstimate, estimate,
};
use engenho_store::{KeyRange, RangeRequest, Store, Watcher};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::authorizer::Identity;
use crate::metrics::{FlowMetrics, flow_families};
use crate::request::RequestInfo;
use crate::selector::FieldSelector;
use crate::server::Inner;

const PREFIX: &str = "/registry/flowcontrol.apiserver.k8s.io/";
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// While requests wait, the configuration is looked at this often even if nothing else happens.
const KEEP_INTERVAL: Duration = Duration::from_millis(500);

/// The seats of this replica.
pub(crate) struct Fairness {
    began: Instant,
    state: Mutex<State>,
    /// Held by the one waiting request that keeps time for all of them.
    keeper: tokio::sync::Mutex<()>,
    watchers: Mutex<Watchers>,
    stats: stats::Cache,
    metrics: FlowMetrics,
}

struct State {
    levels: Levels,
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    dropped: Dropped,
    watcher: Option<Watcher>,
}

impl State {
    /// Tells those whose turn it is.
    fn deliver(&mut self) {
        for id in self.levels.take_ready() {
            if let Some(waiting) = self.waiting.remove(&id) {
                // Whoever does not listen any more gives its seat back by itself.
                let _ = waiting.send(());
            }
        }
    }
}

/// A request's seats, given back when this is dropped.
pub(crate) struct Seats {
    fairness: Arc<Fairness>,
    at: Arc<Classified>,
    id: u64,
    watch: bool,
}

impl Drop for Seats {
    fn drop(&mut self) {
        let now_ns = self.fairness.now_ns();
        let mut state = self.fairness.state.lock();
        let finished = state.levels.finish(now_ns, &self.at.level, self.id);
        state.deliver();
        drop(state);
        if let Some(finished) = finished {
            let took = Duration::from_nanos(finished.executed_ns);
            self.fairness.metrics.executed(&self.at, self.watch, took);
        }
    }
}

/// A request in a queue. Leaves it when it is dropped.
struct Waiting {
    fairness: Arc<Fairness>,
    at: Arc<Classified>,
    id: u64,
    is_over: bool,
}

impl Waiting {
    /// Ends the waiting: says whether the turn came.
    fn end(&mut self) -> bool {
        self.is_over = true;
        let mut state = self.fairness.state.lock();
        state.waiting.remove(&self.id);
        let left = state.levels.cancel(self.fairness.now_ns(), &self.at.level, self.id);
        state.deliver();
        !left
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The sender left.
        if self.end() {
            let mut state = self.fairness.state.lock();
            state.levels.finish(self.fairness.now_ns(), &self.at.level, self.id);
            state.deliver();
        } else {
            self.fairness.metrics.rejected(&self.at, Rejection::TimeOut);
        }
    }
}

/// A watch that is open: changes are dearer with it.
pub(crate) struct OpenWatch {
    fairness: Arc<Fairness>,
    key: Option<WatchKey>,
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.fairness.watchers.lock().forget(key);
        }
    }
}

/// Where a request belongs, for the headers of its answer.
#[derive(Clone)]
pub(crate) struct Place(Arc<Classified>);

impl Place {
    /// Tells the client where its request was put, by uid: names are nobody's business.
    pub fn mark(&self, headers: &mut HeaderMap) {
        for (name, uid) in [(LEVEL_UID, &self.0.level_uid), (SCHEMA_UID, &self.0.schema_uid)] {
            if let Ok(value) = HeaderValue::from_str(uid) {
                headers.insert(name, value);
            }
        }
    }
}

/// How a request came through.
pub(crate) enum Entered {
    /// It goes on, after so long a wait.
    Seated(Seats, Duration),
    /// It is refused; its sender may try again after so many seconds.
    Refused(u64),
}

/// Whether a request is subject to limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// As its flow schema says.
    Configured,
    /// Of the server itself: never limited.
    Own,
    /// Asked for when the server is busiest: goes by its flow schema, but is never limited.
    Health,
}

impl Fairness {
    /// Seats for `total` requests at once.
    pub fn new(total: usize, metrics: FlowMetrics) -> Self {
        Self {
            began: Instant::now(),
            state: Mutex::new(State {
                levels: Levels::new(0, total as u64),
                waiting: BTreeMap::new(),
                dropped: Dropped::default(),
                watcher: None,
            }),
            keeper: tokio::sync::Mutex::new(()),
            watchers: Mutex::default(),
            stats: stats::Cache::default(),
            metrics,
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Finds the place of a request, by the configuration of this moment.
    pub fn place(&self, server: &Inner, info: &RequestInfo, who: &Identity, limits: Limits) -> Place {
        let digest = digest(info, who);
        let mut state = self.state.lock();
        self.refresh(&mut state, &server.deps.store.store);
        let found = match limits {
            Limits::Own => state.levels.classify_exempt(&digest),
            Limits::Configured | Limits::Health => state.levels.classify(&digest),
        };
        Place(Arc::new(found))
    }

    /// Gets seats for a request, waiting up to `patience` for its turn.
    pub async fn enter(
        self: &Arc<Self>,
        server: &Inner,
        info: &RequestInfo,
        who: &Identity,
        place: &Place,
        limits: Limits,
        patience: Duration,
    ) -> Entered {
        let digest = digest(info, who);
        let mut at = Arc::clone(&place.0);
        if limits == Limits::Health && !at.exempt {
            at = Arc::new(self.state.lock().levels.classify_exempt(&digest));
        }
        let work = self.estimate(server, info, &digest, &at);
        let begun = Instant::now();
        let started = {
            let mut state = self.state.lock();
            let now_ns = self.now_ns();
            let started = state.levels.start(now_ns, &at, &digest, work);
            state.deliver();
            match started {
                Started::Executing(id) => Ok(id),
                Started::Waiting(id, length) => {
                    let (turn, turned) = oneshot::channel();
                    state.waiting.insert(id, turn);
                    Err(Some((id, length, turned)))
                }
                Started::Rejected(why) => {
                    self.metrics.rejected(&at, why);
                    Err(None)
                }
            }
        };
        let watch = info.verb == "watch";
        let seats = |at: &Arc<Classified>, id| Seats {
            fairness: Arc::clone(self),
            at: Arc::clone(at),
            id,
            watch,
        };
        let outcome = match started {
            Ok(id) => Some(seats(&at, id)),
            Err(None) => None,
            Err(Some((id, length, turned))) => {
                self.metrics.queued(&at, length);
                let mut waiting = Waiting {
                    fairness: Arc::clone(self),
                    at: Arc::clone(&at),
                    id,
                    is_over: false,
                };
                let is_turn = tokio::select! {
                    biased;
                    turned = turned => turned.is_ok(),
                    () = tokio::time::sleep(patience) => false,
                    never = self.keep(&server.deps.store.store) => match never {},
                };
                if is_turn {
                    waiting.is_over = true;
                    Some(seats(&at, id))
                } else if waiting.end() {
                    // It came in the very last moment.
                    Some(seats(&at, id))
                } else {
                    self.metrics.rejected(&at, Rejection::TimeOut);
                    None
                }
            }
        };
        let waited = begun.elapsed();
        if !at.exempt {
            self.metrics.waited(&at, outcome.is_some(), waited);
        }
        match outcome {
            Some(seats) => {
                self.metrics.dispatched(&at);
                Entered::Seated(seats, waited)
            }
            None => {
                let unix_s = server.deps.clock.unix_ms() / 1000;
                Entered::Refused(self.state.lock().dropped.note(&at.level, unix_s))
            }
        }
    }

    /// What a request weighs.
    fn estimate(&self, server: &Inner, info: &RequestInfo, digest: &Digest<'_>, at: &Classified) -> WorkEstimate {
        let query = &info.query;
        let limit = match query.get("limit") {
            "" => Some(0),
            text => text.parse::<i64>().ok().map(|limit| u64::try_from(limit).unwrap_or(0)),
        };
        let selection = Selection {
            revision: query.get("resourceVersion"),
            revision_match: query.get("resourceVersionMatch"),
            limit,
            token: query.get("continue"),
            selects: !query.get("labelSelector").is_empty() || !query.get("fieldSelector").is_empty(),
            initial_events: query.bool("sendInitialEvents") == Some(true),
        };
        let mut watches = None;
        let stats = || {
            let catalog = server.catalog();
            let resource = catalog.resource(&info.group, &info.version, &info.resource)?;
            self.list_stats(server, resource)
        };
        let interested = || {
            let count = self.watchers.lock().interested(digest);
            watches = Some(count);
            count
        };
        let work = estimate(digest, &selection, at.seats_max, stats, interested);
        self.metrics.estimated(at, work.max_seats(), watches);
        work
    }

    /// What is stored of a resource, as of a little while ago.
    pub fn list_stats(
        &self,
        server: &Inner,
        resource: &engenho_catalog::Resource,
    ) -> Option<engenho_flowcontrol::ListStats> {
        self.stats.get(&server.deps.store.store, resource, self.now_ns())
    }

    /// Counts a watch until the result is dropped.
    pub fn watch(self: &Arc<Self>, info: &RequestInfo, who: &Identity, fields: &FieldSelector) -> OpenWatch {
        let node_name = (info.resource == "pods")
            .then(|| fields.exact("spec.nodeName"))
            .flatten();
        let key = WatchKey::of(&digest(info, who), node_name);
        if let Some(key) = &key {
            self.watchers.lock().register(key.clone());
        }
        OpenWatch {
            fairness: Arc::clone(self),
            key,
        }
    }

    /// Keeps time while requests wait: seats that become free by themselves, adjustments, another configuration. Only
    /// one of those that wait does it.
    async fn keep(&self, store: &Arc<Store>) -> Infallible {
        let _held = self.keeper.lock().await;
        loop {
            let now_ns = self.now_ns();
            let next_ns = {
                let mut state = self.state.lock();
                self.refresh(&mut state, store);
                state.levels.advance(now_ns);
                state.deliver();
                let releases_ns = state.levels.releases_at_ns().unwrap_or(u64::MAX);
                releases_ns.min(state.levels.adjusts_at_ns())
            };
            let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns));
            tokio::time::sleep(wait.clamp(Duration::from_millis(1), KEEP_INTERVAL)).await;
        }
    }

    /// Takes the configuration anew if it changed.
    fn refresh(&self, state: &mut State, store: &Arc<Store>) {
        let unchanged = match &mut state.watcher {
            Some(watcher) => match watcher.progress() {
                // Without events and without having come along, the watch lies behind what memory holds.
                Ok(batch) => batch.events.is_empty() && batch.revision >= store.revision(),
                Err(_) => false,
            },
            None => false,
        };
        if unchanged {
            return;
        }
        let read = match store.range(&RangeRequest::new(KeyRange::prefix(PREFIX))) {
            Ok(read) => read,
            Err(error) => {
                return tracing::error!(%error, "flow schemas cannot be read: priorities stay as they were");
            }
        };
        let (mut levels, mut schemas) = (Vec::new(), Vec::new());
        for kv in &read.kvs {
            let key = String::from_utf8_lossy(&kv.key[PREFIX.len().min(kv.key.len())..]).into_owned();
            let object: Value = serde_json::from_slice(&kv.value).unwrap_or_default();
            let is_used = match key.split('/').next() {
                Some("flowschemas") => FlowSchema::parse(&object).map(|schema| schemas.push(schema)).is_some(),
                Some("prioritylevelconfigurations") => {
                    PriorityLevel::parse(&object).map(|level| levels.push(level)).is_some()
                }
                _ => true,
            };
            if !is_used {
                tracing::warn!(key, "an object of priority and fairness is broken and taken for none");
            }
        }
        state.levels.configure(self.now_ns(), levels, schemas);
        let State { levels, dropped, .. } = state;
        dropped.retain(|name| levels.has(name));
        state.deliver();
        state.watcher = store.watch(KeyRange::prefix(PREFIX), read.revision).ok();
    }

    /// The figures of this moment.
    pub fn families(&self) -> Vec<MetricFamily> {
        let now_ns = self.now_ns();
        flow_families(&self.state.lock().levels, now_ns)
    }

    /// A table of the debug endpoints; `None` if there is none of that name.
    pub fn dump(&self, server: &Inner, name: &str, details: bool) -> Option<String> {
        let (now_ns, unix_ms) = (self.now_ns(), server.deps.clock.unix_ms());
        let time = |at_ns: u64| {
            let unix_ns = i128::from(unix_ms) * 1_000_000 - i128::from(now_ns) + i128::from(at_ns);
            let at = OffsetDateTime::from_unix_timestamp_nanos(unix_ns).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            at.format(&Rfc3339).unwrap_or_default()
        };
        let mut state = self.state.lock();
        self.refresh(&mut state, &server.deps.store.store);
        match name {
            "dump_priority_levels" => Some(state.levels.dump_priority_levels()),
            "dump_queues" => Some(state.levels.dump_queues()),
            "dump_requests" => Some(state.levels.dump_requests(details, &time)),
            _ => None,
        }
    }
}

fn digest<'a>(info: &'a RequestInfo, who: &'a Identity) -> Digest<'a> {
    Digest {
        user: &who.user,
        groups: &who.groups,
        resource_request: info.resource_request,
        verb: &info.verb,
        group: &info.group,
        version: &info.version,
        resource: &info.resource,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        path: &info.path,
    }
}
