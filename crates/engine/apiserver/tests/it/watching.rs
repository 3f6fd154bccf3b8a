//! Watches.

use std::time::Duration;

use engenho_apiserver::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{World, config_map, request};

const CMS: &str = "/api/v1/namespaces/default/configmaps";
const DEADLINE: Duration = Duration::from_secs(5);

struct Lines {
    body: Body,
    buffer: Vec<u8>,
}

impl Lines {
    async fn open(w: &World, path: &str) -> Self {
        let response = w.send(request("GET", path, "application/json", None)).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// The next event; `None` when the stream ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("JSON"));
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame())
                .await
                .expect("in time")?;
            self.buffer
                .extend_from_slice(&frame.expect("a frame").into_data().unwrap_or_default());
        }
    }

    async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let event = self.next().await.expect("an event");
        assert_eq!(
            (&event["type"], &event["object"]["metadata"]["name"]),
            (&json!(kind), &json!(name)),
            "{event}"
        );
        event
    }
}

#[tokio::test]
async fn changes_arrive_in_order() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("a"))).await;
    let (_, list) = w.call("GET", CMS, None).await;
    let rv = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("a revision")
        .to_owned();
    let mut from_state = Lines::open(&w, &format!("{CMS}?watch=1")).await;
    let mut from_revision = Lines::open(&w, &format!("{CMS}?watch=true&resourceVersion={rv}")).await;
    from_state.expect("ADDED", "a").await;
    w.call("POST", CMS, Some(config_map("b"))).await;
    let change = json!({"data": {"k": "2"}});
    w.call_typed(
        "PATCH",
        &format!("{CMS}/a"),
        "application/merge-patch+json",
        Some(change),
    )
    .await;
    w.call("DELETE", &format!("{CMS}/b"), None).await;
    for watch in [&mut from_state, &mut from_revision] {
        watch.expect("ADDED", "b").await;
        watch.expect("MODIFIED", "a").await;
        let gone = watch.expect("DELETED", "b").await;
        assert_eq!(
            gone["object"]["metadata"]["resourceVersion"],
            w.store.revision().to_string()
        );
    }
}

#[tokio::test]
async fn a_selector_turns_changes_into_arrivals_and_departures() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("a"))).await;
    let mut watch = Lines::open(&w, &format!("{CMS}?watch=1&labelSelector=on=yes")).await;
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    let merge = "application/merge-patch+json";
    w.call_typed("PATCH", &format!("{CMS}/a"), merge, Some(label(json!("yes"))))
        .await;
    watch.expect("ADDED", "a").await;
    w.call_typed("PATCH", &format!("{CMS}/a"), merge, Some(json!({"data": {"k": "2"}})))
        .await;
    watch.expect("MODIFIED", "a").await;
    w.call_typed("PATCH", &format!("{CMS}/a"), merge, Some(label(Value::Null)))
        .await;
    watch.expect("DELETED", "a").await;
}

#[tokio::test]
async fn a_watch_list_ends_its_state_with_a_bookmark() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("a"))).await;
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut watch = Lines::open(&w, &format!("{CMS}?{query}")).await;
    watch.expect("ADDED", "a").await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn a_drained_server_ends_its_watches() {
    let w = World::new().await;
    let mut watch = Lines::open(&w, &format!("{CMS}?watch=1")).await;
    w.api.drain();
    assert_eq!(watch.next().await, None);
    assert_eq!(w.call("GET", "/readyz", None).await.0, 500);
    assert_eq!(w.call("GET", "/livez", None).await.0, 200);
}

#[tokio::test]
async fn a_timeout_ends_a_watch() {
    let w = World::new().await;
    let mut watch = Lines::open(&w, &format!("{CMS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn sealed_objects_are_watched_in_the_clear() {
    let w = World::new().await;
    let base = "/api/v1/namespaces/default/secrets";
    let mut watch = Lines::open(&w, &format!("{base}?watch=1")).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "YQ=="}});
    w.call("POST", base, Some(secret)).await;
    assert_eq!(watch.expect("ADDED", "s").await["object"]["data"]["p"], "YQ==");
}

#[tokio::test]
async fn a_table_watch_names_its_columns_once() {
    let w = World::new().await;
    let mut r = request("GET", &format!("{CMS}?watch=1"), "application/json", None);
    let accept = http::HeaderValue::from_static("application/json;as=Table;v=v1;g=meta.k8s.io");
    r.headers_mut().insert("accept", accept);
    let mut watch = Lines {
        body: w.send(r).await.into_body(),
        buffer: Vec::new(),
    };
    w.call("POST", CMS, Some(config_map("a"))).await;
    w.call("POST", CMS, Some(config_map("b"))).await;
    let first = watch.next().await.expect("an event");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert!(watch.next().await.expect("an event")["object"]["columnDefinitions"].is_null());
}
