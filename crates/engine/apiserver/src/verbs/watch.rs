//! Watches: the changes of a collection as a stream of JSON lines or protobuf frames.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engenho_store::{Event, EventKind, KeyRange, RangeRequest, WatchBatch, WatchError, Watcher};
use futures_util::stream;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::body::{Body, boxed};
use crate::context::{Context, parse_stored};
use crate::fairness::OpenWatch;
use crate::kinds::is_custom;
use crate::metrics::{InFlight, Labels, WatchCounters};
use crate::negotiate::{Media, STREAM_TYPES, Shape};
use crate::options::ListOptions;
use crate::selector::Selector;
use crate::status::Status;
use crate::verbs::{get::served, list};
use crate::{custom, leases, object, respond, table};

/// Shortest life of a watch that names none; the longest is twice that, so that clients don't come back all at once.
const TIMEOUT_MIN: Duration = Duration::from_secs(1800);
/// Interval of bookmarks.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A stream that was just written to gathers what follows before it is written to again: this much for each open watch,
/// up to a bound. Among few watches nothing waits; among thousands, where each change wakes all of them, the work of
/// waking and sending is shared by the changes of that time.
const GATHER_PER_WATCH: Duration = Duration::from_micros(20);
const GATHER_MAX: Duration = Duration::from_millis(20);
/// Below the resolution of timers there is nothing to gather.
const GATHER_MIN: Duration = Duration::from_millis(1);

/// Where a watch begins.
enum Start {
    /// With what is there, as ADDED events.
    State,
    /// After a revision.
    After(u64),
}

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let options = ListOptions::read(&context.info.query, true)?;
    let selector = list::selector(context)?;
    if let Shape::MetadataList(_) = context.output.shape {
        return Err(table::wrong_list_shape(context));
    }
    if context.output.media == Media::Yaml {
        return Err(Status::not_acceptable_text(format!(
            "only the following media types are accepted: {STREAM_TYPES}"
        )));
    }
    let server = context.server.clone();
    let permit = server
        .watches
        .clone()
        .try_acquire_owned()
        .map_err(|_| Status::too_many_requests())?;
    let open = server
        .fairness
        .watch(&context.info, &context.identity, &selector.fields);
    let initial = options.send_initial_events == Some(true);
    let start = match options.revision {
        Some(revision) if revision > 0 && !initial => Start::After(revision),
        revision => {
            context.prepare_read(revision).await?;
            Start::State
        }
    };
    let mut watch = Watch {
        context: context.for_stream(),
        selector,
        watcher: None,
        definition: None,
        pending: VecDeque::new(),
        columns_sent: false,
        ended: false,
        bookmarks: options.bookmarks,
        deadline: Instant::now() + timeout(context, options.timeout),
        bookmark_tick: ticks(BOOKMARK_INTERVAL),
        lease_tick: ticks(leases::WATCH_INTERVAL),
        revision: 0,
        next_write: Instant::now(),
        counters: server.metrics.watch(&context.resource),
        _in_flight: server
            .metrics
            .start_long(&Labels::of(&server, &context.info, &Method::GET, &context.headers)),
        _open: open,
        _permit: permit,
    };
    watch.follow_definition().await;
    let single = watch.selector.fields.exact("metadata.name").map(str::to_owned);
    let range = range(context, single.as_deref());
    let after = match start {
        Start::After(revision) => {
            watch.revision = revision;
            revision
        }
        Start::State => watch.begin_with_state(&range, initial && options.bookmarks).await?,
    };
    match context.storage().client().store.watch(range, after) {
        Ok(watcher) => watch.watcher = Some(watcher),
        Err(error) => watch.end_with(&error, after),
    }
    let stream = stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(chunk)), watch))
    });
    let content_type = match context.output.media {
        Media::Protobuf => engenho_protobuf::WATCH_MEDIA_TYPE,
        text => text.content_type(),
    };
    let mut response = respond::bytes(StatusCode::OK, content_type, Bytes::new());
    *response.body_mut() = boxed(StreamBody::new(stream));
    Ok(response)
}

fn ticks(every: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + every, every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn timeout(context: &Context, asked: Option<Duration>) -> Duration {
    asked.unwrap_or_else(|| {
        let mut random = [0_u8; 2];
        context.server.deps.entropy.fill(&mut random);
        TIMEOUT_MIN + TIMEOUT_MIN * u32::from(u16::from_le_bytes(random)) / u32::from(u16::MAX)
    })
}

/// The keys of a watch: one key if one name can match.
fn range(context: &Context, name: Option<&str>) -> KeyRange {
    match name {
        Some(name) if !context.resource.namespaced || !context.info.namespace.is_empty() => {
            KeyRange::key(context.key(name))
        }
        _ => KeyRange::prefix(list::prefix(context)),
    }
}

/// A running watch.
struct Watch {
    context: Context,
    selector: Selector,
    watcher: Option<Watcher>,
    /// Of the definition of a custom resource: the stream ends when that changes.
    definition: Option<Watcher>,
    pending: VecDeque<Bytes>,
    columns_sent: bool,
    ended: bool,
    bookmarks: bool,
    deadline: Instant,
    bookmark_tick: Interval,
    lease_tick: Interval,
    revision: u64,
    /// Not before this is the next change sent.
    next_write: Instant,
    counters: WatchCounters,
    _in_flight: InFlight,
    _open: OpenWatch,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Watch {
    /// Watches the definition behind a custom resource.
    async fn follow_definition(&mut self) {
        let store = &self.context.storage().client().store;
        if let Some(key) = custom::definition_key(&self.context) {
            self.definition = store.watch(key, store.revision()).ok();
            self.look_at_definition().await;
        }
    }

    /// Ends the stream if instances are not what they were: the client lists anew.
    async fn look_at_definition(&mut self) {
        let now = self.context.server.served();
        if now.same_form(&self.context.served, &self.context.resource) {
            return;
        }
        // What happened before it changed is still told.
        if let Some(Ok(batch)) = self.watcher.as_mut().map(Watcher::progress) {
            self.events(&batch).await;
        }
        self.ended = true;
    }

    async fn events(&mut self, batch: &WatchBatch) {
        for event in &batch.events {
            if let Err(status) = self.event(event).await {
                self.push_error(&status);
                break;
            }
        }
        self.revision = self.revision.max(batch.revision);
    }

    /// Queues what is there, and gives the revision from which changes follow.
    async fn begin_with_state(&mut self, range: &KeyRange, mark_end: bool) -> Result<u64, Status> {
        let request = RangeRequest::new(range.clone());
        let read = self.context.storage().range(&request).map_err(Status::internal)?;
        if self.selector.is_everything() && self.is_as_stored() {
            for kv in &read.kvs {
                let stored = self.context.storage().open(kv)?;
                self.push_bytes("ADDED", &stored.bytes);
            }
        } else {
            let storage = self.context.storage();
            let stored = read.kvs.iter().map(|kv| parse_stored(&storage.open(kv)?.bytes));
            let values = custom::read_all(&self.context, stored.collect::<Result<_, _>>()?).await?;
            for value in values
                .iter()
                .filter(|value| self.selector.matches(value))
                .cloned()
                .collect::<Vec<_>>()
            {
                self.push("ADDED", &value)?;
            }
        }
        for lease in leases::all(&self.context) {
            if self.selector.matches(&lease) {
                self.push("ADDED", &lease)?;
            }
        }
        self.revision = read.revision;
        if mark_end {
            self.push_bookmark(true);
        }
        Ok(read.revision)
    }

    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.drain_pending() {
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            let drain = self.context.server.drain.clone();
            let Some(watcher) = &mut self.watcher else { return None };
            let polled = tokio::select! {
                biased;
                () = drain.cancelled() => Polled::End,
                changed = next_of(&mut self.definition) => match changed {
                    Ok(_) => Polled::Definition,
                    Err(_) => Polled::End,
                },
                batch = watcher.next() => Polled::Batch(batch),
                () = tokio::time::sleep_until(self.deadline) => Polled::Deadline,
                _ = self.bookmark_tick.tick() => Polled::Bookmark,
                _ = self.lease_tick.tick() => Polled::Leases,
            };
            match polled {
                Polled::End => self.ended = true,
                Polled::Definition => self.look_at_definition().await,
                Polled::Deadline => {
                    if self.bookmarks {
                        self.push_bookmark(false);
                    }
                    self.ended = true;
                }
                Polled::Bookmark => {
                    if self.bookmarks {
                        let position = self.watcher.as_ref().map_or(0, Watcher::position);
                        self.revision = self.revision.max(position);
                        self.push_bookmark(false);
                    }
                }
                Polled::Leases => {
                    for lease in leases::all(&self.context) {
                        if self.selector.matches(&lease) && self.push("MODIFIED", &lease).is_err() {
                            self.ended = true;
                        }
                    }
                }
                Polled::Batch(Ok(batch)) => {
                    self.events(&batch).await;
                    self.gather().await;
                }
                Polled::Batch(Err(error)) => {
                    let position = self.revision;
                    self.end_with(&error, position);
                }
            }
        }
    }

    /// Waits, if many watch and this one was written to a moment ago, and adds what happened meanwhile.
    async fn gather(&mut self) {
        if Instant::now() < self.next_write {
            tokio::time::sleep_until(self.next_write).await;
            // What is in its way shows again at the next call.
            if let Some(Ok(batch)) = self.watcher.as_mut().map(Watcher::progress) {
                self.events(&batch).await;
            }
        }
        self.next_write = Instant::now() + gathering(self.context.server.open_watches());
    }

    fn drain_pending(&mut self) -> Option<Bytes> {
        if self.pending.len() <= 1 {
            return self.pending.pop_front();
        }
        // Lines that are ready together leave together, in chunks of a bounded size.
        let mut out = BytesMut::new();
        while let Some(line) = self.pending.front() {
            if !out.is_empty() && out.len() + line.len() > 256 * 1024 {
                break;
            }
            out.extend_from_slice(line);
            self.pending.pop_front();
        }
        Some(out.freeze())
    }

    /// One change: what it means to this watch depends on whether the object was and is selected.
    async fn event(&mut self, event: &Arc<Event>) -> Result<(), Status> {
        let open = |value: &Bytes, revision: u64| self.context.storage().open_value(&event.key, value, revision);
        let new = match event.kind {
            EventKind::Put => Some(open(&event.value, event.mod_revision)?),
            EventKind::Delete => None,
        };
        if self.selector.is_everything()
            && let Some(bytes) = &new
        {
            let kind = if event.prev.is_some() { "MODIFIED" } else { "ADDED" };
            if self.is_as_stored() {
                self.push_bytes(kind, bytes);
                return Ok(());
            }
            let value = served(&self.context, bytes).await?;
            return self.push(kind, &value);
        }
        let old = event
            .prev
            .as_ref()
            .map(|p| open(&p.value, p.mod_revision))
            .transpose()?;
        let selected = async |bytes: Option<Bytes>| -> Result<Option<Value>, Status> {
            let Some(bytes) = bytes else { return Ok(None) };
            let value = served(&self.context, &bytes).await?;
            Ok(self.selector.matches(&value).then_some(value))
        };
        match (selected(old).await?, selected(new).await?) {
            (None, Some(new)) => self.push("ADDED", &new),
            (Some(_), Some(new)) => self.push("MODIFIED", &new),
            (Some(mut old), None) => {
                object::set_meta(&mut old, "resourceVersion", event.mod_revision.to_string());
                self.push("DELETED", &old)
            }
            (None, None) => Ok(()),
        }
    }

    /// Queues a line for the client.
    fn send(&mut self, line: Bytes) {
        self.counters.sent(line.len());
        self.pending.push_back(line);
    }

    /// Whether objects are sent as they are stored.
    fn is_as_stored(&self) -> bool {
        let context = &self.context;
        let text = context.output.media != Media::Protobuf;
        text && context.output.shape == Shape::Object && !custom::is_converted(context)
    }

    /// Queues stored bytes as they are.
    fn push_bytes(&mut self, kind: &str, bytes: &[u8]) {
        let parts: [&[u8]; 5] = [br#"{"type":""#, kind.as_bytes(), br#"","object":"#, bytes, b"}\n"];
        self.send(parts.concat().into());
    }

    fn push(&mut self, kind: &str, value: &Value) -> Result<(), Status> {
        let shaped = table::shape_event(&self.context, value, !self.columns_sent)?;
        self.columns_sent = true;
        self.push_line(kind, shaped.as_ref().unwrap_or(value));
        Ok(())
    }

    fn push_line(&mut self, kind: &str, value: &Value) {
        if self.context.output.media == Media::Protobuf {
            match engenho_protobuf::encode_watch_event(kind, value) {
                Ok(frame) => self.send(frame.into()),
                // The client lists anew, and is answered there.
                Err(error) => {
                    tracing::warn!(%error, "a watch ends at an object without a protobuf form");
                    self.ended = true;
                }
            }
            return;
        }
        self.send(format!("{{\"type\":\"{kind}\",\"object\":{value}}}\n").into());
    }

    fn push_bookmark(&mut self, end_of_state: bool) {
        let resource = &self.context.resource;
        let mut bookmark = json!({
            "kind": &*resource.kind,
            "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": self.revision.to_string()},
        });
        if end_of_state {
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        if !is_custom(resource)
            && matches!(self.context.output.shape, Shape::Object)
            && let Some(schema) = resource.schema()
        {
            for part in ["spec", "status"] {
                if schema.property(part).and_then(|p| p.default().cloned()).is_some() {
                    bookmark[part] = json!({});
                }
            }
        }
        match table::shape_event(&self.context, &bookmark, !self.columns_sent) {
            Ok(shaped) => self.push_line("BOOKMARK", shaped.as_ref().unwrap_or(&bookmark)),
            Err(_) => self.push_line("BOOKMARK", &bookmark),
        }
    }

    fn push_error(&mut self, status: &Status) {
        self.push_line("ERROR", &status.to_value());
        self.ended = true;
    }

    fn end_with(&mut self, error: &WatchError, position: u64) {
        match error {
            WatchError::Compacted { oldest } => self.push_error(&Status::too_old(position, *oldest)),
            // The replica leaves: the client comes back elsewhere.
            WatchError::Closed => self.ended = true,
        }
    }
}

/// How long a stream gathers changes when so many watches are open.
fn gathering(watches: usize) -> Duration {
    let time = GATHER_PER_WATCH * u32::try_from(watches).unwrap_or(u32::MAX);
    if time < GATHER_MIN {
        Duration::ZERO
    } else {
        time.min(GATHER_MAX)
    }
}

/// The next changes of what may be watched; none ever if nothing is.
async fn next_of(watcher: &mut Option<Watcher>) -> Result<WatchBatch, WatchError> {
    match watcher {
        Some(watcher) => watcher.next().await,
        None => std::future::pending().await,
    }
}

enum Polled {
    End,
    Definition,
    Deadline,
    Bookmark,
    Leases,
    Batch(Result<WatchBatch, WatchError>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_watches_gather() {
        let gathered: Vec<u128> = [1, 49, 50, 500, 1000, usize::MAX]
            .map(|n| gathering(n).as_millis())
            .into();
        assert_eq!(gathered, [0, 0, 1, 10, 20, 20]);
    }
}
