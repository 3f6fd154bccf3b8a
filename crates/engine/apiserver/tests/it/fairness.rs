//! Priority and fairness: places, turns, refusals.

use std::time::Duration;

use bytes::Bytes;
use engenho_apiserver::{ApiServer, Body, Identity, Options, body};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};

use crate::harness::{World, request};

const CMS: &str = "/api/v1/namespaces/default/configmaps";
const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

/// A body that never comes.
pub fn endless() -> Body {
    body::boxed(StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::io::Error>,
    >()))
}

/// A server where bob has one seat; `response` says what becomes of his further requests.
async fn world(response: Value) -> World {
    let w = World::with(Options {
        requests_max: 10,
        ..Options::default()
    })
    .await;
    let create = |path: String, object: Value| {
        let w = &w;
        async move {
            let (code, answer) = w.call("POST", &path, Some(object)).await;
            assert_eq!(code, 201, "{answer}");
        }
    };
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "bob"},
        "roleRef": role,
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
    });
    create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".into(), binding).await;
    create(format!("{FLOW}/prioritylevelconfigurations"), level(response, 1)).await;
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "bobs"},
        "spec": {
            "priorityLevelConfiguration": {"name": "tiny"}, "matchingPrecedence": 50,
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "bob"}}],
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
                }],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    });
    create(format!("{FLOW}/flowschemas"), schema).await;
    w
}

fn level(response: Value, shares: u32) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "tiny"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "borrowingLimitPercent": 0, "limitResponse": response,
        }},
    })
}

fn queue() -> Value {
    json!({"type": "Queue", "queuing": {"queues": 4, "handSize": 2, "queueLengthLimit": 2}})
}

fn bob(method: &str, path: &str) -> http::Request<Body> {
    let mut request = request(method, path, "application/json", None);
    request.extensions_mut().insert(Identity {
        user: "bob".into(),
        groups: vec!["system:authenticated".into()],
        ..Identity::default()
    });
    request
}

/// A request of bob's that keeps his seat until it is aborted.
async fn occupy(api: &ApiServer) -> tokio::task::JoinHandle<Response<Body>> {
    let mut slow = bob("POST", CMS);
    *slow.body_mut() = endless();
    let task = tokio::spawn({
        let api = api.clone();
        async move { api.handle(slow).await }
    });
    for _ in 0..400 {
        let table = dump(api, "dump_requests").await;
        if table.lines().any(|line| line.starts_with("tiny,")) {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the request is never executed");
}

async fn dump(api: &ApiServer, name: &str) -> String {
    let path = format!("/debug/api_priority_and_fairness/{name}");
    text(api.handle(request("GET", &path, "", None)).await).await
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn answers_tell_where_requests_belong() {
    let w = world(json!({"type": "Reject"})).await;
    let uid = |answer: (u16, Value)| answer.1["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let schema = uid(w.call("GET", &format!("{FLOW}/flowschemas/bobs"), None).await);
    let level = uid(w
        .call("GET", &format!("{FLOW}/prioritylevelconfigurations/tiny"), None)
        .await);
    for path in [CMS, "/version", "/apis/nothing/v1/here"] {
        let response = w.send(bob("GET", path)).await;
        assert_eq!(response.headers()["x-kubernetes-pf-flowschema-uid"], *schema, "{path}");
        assert_eq!(
            response.headers()["x-kubernetes-pf-prioritylevel-uid"],
            *level,
            "{path}"
        );
    }
    // A schema that is gone takes nothing any more, at once.
    assert_eq!(w.call("DELETE", &format!("{FLOW}/flowschemas/bobs"), None).await.0, 200);
    let response = w.send(bob("GET", CMS)).await;
    assert_ne!(response.headers()["x-kubernetes-pf-flowschema-uid"], *schema);
}

#[tokio::test]
async fn a_level_without_queues_refuses() {
    let w = world(json!({"type": "Reject"})).await;
    let held = occupy(&w.api).await;
    let response = w.send(bob("GET", CMS)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
    assert_eq!(text(response).await, "Too many requests, please try again later.\n");
    // Others have their own seats, and health is always told.
    assert_eq!(w.call("GET", CMS, None).await.0, 200);
    assert_eq!(w.send(bob("GET", "/livez")).await.status(), 200);
    held.abort();
    let _ = held.await;
    assert_eq!(w.send(bob("GET", CMS)).await.status(), 200);
    let metrics = text(w.send(request("GET", "/metrics", "", None)).await).await;
    for line in [
        "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"bobs\",priority_level=\"tiny\",reason=\"concurrency-limit\"} 1",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"tiny\"} 1",
        "apiserver_flowcontrol_current_executing_requests{flow_schema=\"bobs\",priority_level=\"tiny\"} 0",
        "# TYPE apiserver_request_total counter",
        "apiserver_current_inqueue_requests{request_kind=\"readOnly\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_level_with_queues_lets_wait() {
    let w = world(queue()).await;
    let held = occupy(&w.api).await;
    // A quarter of its time is all that a request waits.
    let begun = std::time::Instant::now();
    let response = w.send(bob("GET", &format!("{CMS}?timeout=400ms"))).await;
    assert_eq!(response.status(), 429);
    assert!(begun.elapsed() >= Duration::from_millis(90));
    let waiting = tokio::spawn({
        let api = w.api.clone();
        async move { api.handle(bob("GET", CMS)).await }
    });
    while !dump(&w.api, "dump_queues")
        .await
        .lines()
        .any(|line| line.starts_with("tiny,") && line.contains(" 1,"))
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!waiting.is_finished());
    held.abort();
    let answered = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert_eq!(answered.expect("its turn").expect("an answer").status(), 200);
    // Nothing is left behind.
    let table = dump(&w.api, "dump_priority_levels").await;
    let row = table.lines().find(|line| line.starts_with("tiny,")).expect("a row");
    let cells: Vec<&str> = row.split(',').map(str::trim).collect();
    assert_eq!(cells, ["tiny", "0", "true", "false", "0", "0", "2", "1", "0", "1"]);
}

#[tokio::test]
async fn more_seats_are_there_for_those_who_wait() {
    let w = world(queue()).await;
    let held = occupy(&w.api).await;
    let waiting = tokio::spawn({
        let api = w.api.clone();
        async move { api.handle(bob("GET", CMS)).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let path = format!("{FLOW}/prioritylevelconfigurations/tiny");
    let patch = json!({"spec": {"limited": {"nominalConcurrencyShares": 300}}});
    let kind = "application/merge-patch+json";
    assert_eq!(w.call_typed("PATCH", &path, kind, Some(patch)).await.0, 200);
    let answered = tokio::time::timeout(Duration::from_secs(2), waiting).await;
    assert_eq!(answered.expect("its turn").expect("an answer").status(), 200);
    held.abort();
}

#[tokio::test]
async fn watches_keep_seats_only_while_they_begin() {
    let w = world(json!({"type": "Reject"})).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let response = w.send(bob("GET", &format!("{CMS}?watch=1"))).await;
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    assert_eq!(w.send(bob("GET", CMS)).await.status(), 200);
}
