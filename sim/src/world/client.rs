//! The workload: clients that speak HTTP to the API endpoint of any machine, and write down what they see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sim_check::record::{Call, List, Op, Outcome, Seen, SeenKind, Watch, WatchEnd};
use sim_plan::Rng;
use sim_plan::plan::Workload;
use turmoil::net::TcpStream;

use super::host::{API_PORT, Cell, TOKEN};
use super::recorder::{PREFIX, Recorder};

/// How long a client waits for the whole answer to a call.
const CALL_DEADLINE: Duration = Duration::from_secs(8);

/// How long a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_millis(1_500);

/// Pause after a refusal.
const PAUSE: Duration = Duration::from_millis(250);

const NAMESPACE: &str = "default";

/// What all clients share.
pub struct Clients {
    pub recorder: Recorder,
    pub cells: Vec<Arc<Cell>>,
    pub workload: Workload,
    pub seed: u64,
    /// No new calls.
    pub quiet: AtomicBool,
    /// Watches end, too.
    pub over: AtomicBool,
}

/// Why there is no answer.
enum Failed {
    /// Nothing was sent.
    NotSent,
    /// It may have been done.
    Unknown,
}

fn storage_key(name: &str) -> String {
    format!("{PREFIX}{NAMESPACE}/{name}")
}

fn revision_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn value_of(object: &Value) -> String {
    object["data"]["v"].as_str().unwrap_or_default().to_owned()
}

impl Clients {
    /// The software of the clients' machine.
    pub async fn run(self: Arc<Self>) -> turmoil::Result {
        let mut number = 0;
        for _ in 0..self.workload.clients {
            tokio::spawn(Arc::clone(&self).writer(number));
            number += 1;
        }
        for _ in 0..self.workload.listers {
            tokio::spawn(Arc::clone(&self).lister(number));
            number += 1;
        }
        for _ in 0..self.workload.watchers {
            tokio::spawn(Arc::clone(&self).watcher(number));
            number += 1;
        }
        std::future::pending().await
    }

    fn rng(&self, client: u32) -> Rng {
        Rng::new(self.seed ^ (u64::from(client) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Any machine that serves clients.
    fn machine(&self, rng: &mut Rng) -> Arc<Cell> {
        let serving: Vec<_> = self.cells.iter().filter(|cell| !cell.plan.witness).collect();
        Arc::clone(serving[rng.below(serving.len() as u64) as usize])
    }

    async fn pause(&self, rng: &mut Rng) {
        let mean = u64::from(self.workload.pause_ms).max(1);
        tokio::time::sleep(Duration::from_millis(rng.below(2 * mean + 1))).await;
    }

    async fn send(
        &self,
        cell: &Cell,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<http::Response<Incoming>, Failed> {
        let address = SocketAddr::new(turmoil::lookup(cell.name()), API_PORT);
        let connecting = async {
            let stream = TcpStream::connect(address).await.map_err(|_| Failed::NotSent)?;
            hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|_| Failed::NotSent)
        };
        let (mut sender, connection) = match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(Failed::NotSent),
        };
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "api")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", "application/json");
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Full::new(Bytes::from(body.to_string()))
            }
            None => Full::default(),
        };
        let request = request.body(body).map_err(|_| Failed::NotSent)?;
        sender.send_request(request).await.map_err(|_| Failed::Unknown)
    }

    /// One call, its whole answer.
    async fn call(
        &self,
        cell: &Cell,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Failed> {
        let exchange = async {
            let response = self.send(cell, method, path, body).await?;
            let status = response.status();
            // An answer that says itself that it may be old promises nothing.
            let is_stale = response.headers().get_all("warning").iter().any(|warning| {
                let text = warning.to_str().unwrap_or_default();
                text.contains("stale read")
            });
            if is_stale {
                return Err(Failed::Unknown);
            }
            let raw = response.into_body().collect().await.map_err(|_| Failed::Unknown)?;
            let value = serde_json::from_slice(&raw.to_bytes()).unwrap_or(Value::Null);
            Ok((status, value))
        };
        match tokio::time::timeout(CALL_DEADLINE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Unknown),
        }
    }

    async fn writer(self: Arc<Self>, client: u32) {
        let mut rng = self.rng(client);
        let mut count = 0;
        // What this client last saw of each key.
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            self.pause(&mut rng).await;
            if self.is_quiet() {
                return;
            }
            count += 1;
            let name = format!("k{}", rng.below(u64::from(self.workload.keys).max(1)));
            let value = format!("c{client}-{count}");
            let known = seen.get(&name).copied();
            let call = if rng.below(100) < u64::from(self.workload.reads_percent) {
                Call::Get
            } else {
                match (rng.below(10), known) {
                    (0..=2, _) | (_, None) => Call::Create { value },
                    (3..=5, Some(revision)) => Call::Update {
                        value,
                        expected: Some(revision),
                    },
                    (6, _) => Call::Update { value, expected: None },
                    (7, Some(revision)) => Call::Delete {
                        expected: Some(revision),
                    },
                    (8, _) => Call::Delete { expected: None },
                    (_, Some(revision)) => Call::Update {
                        value,
                        expected: Some(revision),
                    },
                }
            };
            let cell = self.machine(&mut rng);
            let outcome = self.one(client, &cell, &name, call).await;
            match outcome {
                Outcome::Written { revision } | Outcome::Found { revision, .. } if revision > 0 => {
                    seen.insert(name, revision);
                }
                Outcome::Absent | Outcome::Written { .. } => {
                    seen.remove(&name);
                }
                // Read before writing again, sometimes.
                Outcome::Conflict | Outcome::Exists if rng.below(2) == 0 => {
                    let found = self.one(client, &cell, &name, Call::Get).await;
                    if let Outcome::Found { revision, .. } = found {
                        seen.insert(name, revision);
                    }
                }
                Outcome::Refused { .. } => tokio::time::sleep(PAUSE).await,
                _ => {}
            }
        }
    }

    async fn one(&self, client: u32, cell: &Cell, name: &str, call: Call) -> Outcome {
        let collection = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let path = format!("{collection}/{name}");
        let object = |value: &str, revision: Option<u64>| {
            let mut object = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": name, "namespace": NAMESPACE },
                "data": { "v": value },
            });
            if let Some(revision) = revision {
                object["metadata"]["resourceVersion"] = json!(revision.to_string());
            }
            object
        };
        let invoked = self.recorder.stamp();
        let result = match &call {
            Call::Create { value } => {
                self.call(cell, Method::POST, &collection, Some(object(value, None)))
                    .await
            }
            Call::Update { value, expected } => {
                self.call(cell, Method::PUT, &path, Some(object(value, *expected)))
                    .await
            }
            Call::Delete { expected } => {
                let body = expected.map(|revision| {
                    json!({
                        "apiVersion": "v1", "kind": "DeleteOptions",
                        "preconditions": { "resourceVersion": revision.to_string() },
                    })
                });
                self.call(cell, Method::DELETE, &path, body).await
            }
            Call::Get => self.call(cell, Method::GET, &path, None).await,
        };
        let outcome = match &result {
            Ok((status, body)) => judge(&call, *status, body),
            Err(Failed::NotSent) => Outcome::Refused { code: 0 },
            Err(Failed::Unknown) => Outcome::Unknown,
        };
        let at = self.recorder.stamp();
        let returned = (outcome != Outcome::Unknown).then_some(at);
        self.recorder.trace(
            at,
            format_args!(
                "c{client} m{} {name} {} -> {}",
                cell.number,
                brief(&call),
                told(&outcome)
            ),
        );
        self.recorder.add(|record| {
            record.ops.push(Op {
                client,
                machine: cell.number,
                key: storage_key(name),
                call,
                invoked,
                returned,
                outcome: outcome.clone(),
            });
        });
        outcome
    }

    async fn list(&self, client: u32, cell: &Cell) -> Option<u64> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let invoked = self.recorder.stamp();
        let Ok((StatusCode::OK, body)) = self.call(cell, Method::GET, &path, None).await else {
            return None;
        };
        let returned = self.recorder.stamp();
        let items: BTreeMap<String, (String, u64)> = body["items"]
            .as_array()?
            .iter()
            .filter_map(|item| {
                let name = item["metadata"]["name"].as_str()?;
                Some((storage_key(name), (value_of(item), revision_of(item))))
            })
            .collect();
        let revision = revision_of(&body);
        self.recorder.trace(
            returned,
            format_args!("c{client} m{} lists {} at {revision}", cell.number, items.len()),
        );
        self.recorder.add(|record| {
            record.lists.push(List {
                client,
                machine: cell.number,
                prefix: storage_key(""),
                invoked,
                returned,
                revision,
                items,
            });
        });
        Some(revision)
    }

    async fn lister(self: Arc<Self>, client: u32) {
        let mut rng = self.rng(client);
        while !self.is_quiet() {
            let cell = self.machine(&mut rng);
            if self.list(client, &cell).await.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
            self.pause(&mut rng).await;
            self.pause(&mut rng).await;
        }
    }

    /// Lists, then watches; resumes where a watch ended, lists again after a 410.
    async fn watcher(self: Arc<Self>, client: u32) {
        let mut rng = self.rng(client);
        let mut from = None;
        while !self.over.load(Ordering::Relaxed) {
            let cell = self.machine(&mut rng);
            let start = match from {
                Some(revision) => revision,
                None => match self.list(client, &cell).await {
                    Some(revision) => revision,
                    None => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let watch = self.watch(client, &cell, start).await;
            from = match watch.end {
                WatchEnd::Gone => None,
                _ => Some(watch.seen.last().map_or(start, |seen| seen.revision.max(start))),
            };
            let failed = watch.end == WatchEnd::Failed;
            self.recorder.trace(
                self.recorder.stamp(),
                format_args!(
                    "c{client} m{} watched from {start}: {} events, {:?}",
                    cell.number,
                    watch.seen.len(),
                    watch.end
                ),
            );
            self.recorder.add(|record| record.watches.push(watch));
            if failed {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn watch(&self, client: u32, cell: &Cell, from: u64) -> Watch {
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion={from}&timeoutSeconds=30"
        );
        let opened = self.recorder.stamp();
        let mut watch = Watch {
            client,
            machine: cell.number,
            prefix: storage_key(""),
            from,
            opened,
            seen: Vec::new(),
            end: WatchEnd::Failed,
        };
        let opening = tokio::time::timeout(CALL_DEADLINE, self.send(cell, Method::GET, &path, None)).await;
        let Ok(Ok(response)) = opening else { return watch };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE => {
                watch.end = WatchEnd::Gone;
                return watch;
            }
            _ => return watch,
        }
        let mut body = response.into_body();
        let mut buffer = BytesMut::new();
        watch.end = WatchEnd::Closed;
        let mut silent = 0;
        loop {
            let frame = tokio::time::timeout(Duration::from_millis(500), body.frame()).await;
            match frame {
                Err(_) => {
                    // Nothing new. When everything is over the watch is left as it stands.
                    if self.over.load(Ordering::Relaxed) {
                        watch.end = WatchEnd::Open;
                        return watch;
                    }
                    // A server that says nothing at all for this long is gone: clients have such a timeout.
                    silent += 1;
                    if silent > 60 {
                        return watch;
                    }
                }
                Ok(Some(Ok(frame))) => {
                    silent = 0;
                    if let Some(data) = frame.data_ref() {
                        buffer.extend_from_slice(data);
                    }
                    while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                        let line = buffer.split_to(end + 1);
                        if let Some(gone) = self.event(&mut watch, &line) {
                            watch.end = if gone { WatchEnd::Gone } else { WatchEnd::Closed };
                            return watch;
                        }
                    }
                }
                Ok(_) => return watch,
            }
        }
    }

    /// Takes one event; says when the watch is over, and whether by a 410.
    fn event(&self, watch: &mut Watch, line: &[u8]) -> Option<bool> {
        let Ok(event) = serde_json::from_slice::<Value>(line) else {
            return Some(false);
        };
        let object = &event["object"];
        let revision = revision_of(object);
        let key = || storage_key(object["metadata"]["name"].as_str().unwrap_or_default());
        let what = match event["type"].as_str() {
            Some("ADDED") => SeenKind::Added {
                key: key(),
                value: value_of(object),
            },
            Some("MODIFIED") => SeenKind::Modified {
                key: key(),
                value: value_of(object),
            },
            Some("DELETED") => SeenKind::Deleted { key: key() },
            Some("BOOKMARK") => SeenKind::Bookmark,
            _ => return Some(object["code"].as_u64() == Some(410)),
        };
        watch.seen.push(Seen {
            at: self.recorder.stamp(),
            revision,
            what,
        });
        None
    }
}

fn brief(call: &Call) -> String {
    match call {
        Call::Create { value } => format!("create {value}"),
        Call::Update { value, expected } => match expected {
            Some(revision) => format!("update {value} at {revision}"),
            None => format!("update {value}"),
        },
        Call::Delete { expected } => match expected {
            Some(revision) => format!("delete at {revision}"),
            None => "delete".into(),
        },
        Call::Get => "get".into(),
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written { revision } => format!("written at {revision}"),
        Outcome::Found { value, revision } => format!("{value} at {revision}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn judge(call: &Call, status: StatusCode, body: &Value) -> Outcome {
    match status.as_u16() {
        200 | 201 => match call {
            Call::Get => Outcome::Found {
                value: value_of(body),
                revision: revision_of(body),
            },
            Call::Delete { .. } => Outcome::Written { revision: 0 },
            Call::Create { .. } | Call::Update { .. } => Outcome::Written {
                revision: revision_of(body),
            },
        },
        404 => Outcome::Absent,
        409 if body["reason"] == "AlreadyExists" => Outcome::Exists,
        409 => Outcome::Conflict,
        // Nothing was done: no quorum, too many requests, not understood.
        code @ (400..=403 | 405..=408 | 410..=429 | 503) => Outcome::Refused { code },
        _ => Outcome::Unknown,
    }
}
