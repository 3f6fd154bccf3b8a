//! Forwarded writes that are sent again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engenho_apiserver::{ApiServer, Attempt};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use revoada_core::MemberId;
use revoada_core::command::RequestId;
use revoada_core::consensus::{Applied, BoxFuture, Consensus, ConsensusStatus, ProposeError, ReadError};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::harness::{World, config_map, request};

const CMS: &str = "/api/v1/namespaces/default/configmaps";
const UNCLEAR: &str = "x-engenho-unclear";

/// The attempts at the `n`-th request of a worker.
fn attempts(n: u64) -> [Attempt; 3] {
    let first = Attempt::first(RequestId {
        origin: MemberId([9; 32]),
        boot: 1,
        seq: 1 + n * Attempt::NUMBERS,
    });
    let second = first.next().unwrap();
    [first, second, second.next().unwrap()]
}

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

async fn read(response: Response<engenho_apiserver::Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}

fn forwarded(
    attempt: Attempt,
    method: &str,
    path: &str,
    kind: &str,
    body: Option<Value>,
) -> Request<engenho_apiserver::Body> {
    let mut request = request(method, path, kind, body);
    request.extensions_mut().insert(attempt);
    request
}

async fn send(api: &ApiServer, attempt: Attempt, method: &str, path: &str, body: Option<Value>) -> Answer {
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    read(api.handle(forwarded(attempt, method, path, kind, body)).await).await
}

/// Both attempts are executed, one after the other; the answers must say the same, and the store must not move.
async fn twice(w: &World, n: u64, method: &str, path: &str, body: Option<Value>) -> Answer {
    let [first, second, third] = attempts(n);
    let lost = send(&w.api, first, method, path, body.clone()).await;
    assert!(lost.code < 300, "{method} {path}: {}", lost.body);
    let revision = w.store.revision();
    // Somebody else goes on meanwhile, also with the very object.
    w.call("POST", CMS, Some(config_map(&format!("between-{n}")))).await;
    for attempt in [second, third] {
        let again = send(&w.api, attempt, method, path, body.clone()).await;
        assert_eq!((again.code, &again.body), (lost.code, &lost.body), "{method} {path}");
    }
    assert_eq!(w.store.revision(), revision + 1, "{method} {path} was done again");
    lost
}

#[tokio::test]
async fn what_was_done_is_answered_as_it_was() {
    let w = World::new().await;
    let one = format!("{CMS}/a");
    assert_eq!(twice(&w, 0, "POST", CMS, Some(config_map("a"))).await.code, 201);
    let patched = twice(&w, 1, "PATCH", &one, Some(json!({"data": {"k": "w"}}))).await;
    assert_eq!(patched.body["data"]["k"], "w");
    let mut whole = patched.body;
    whole["data"]["k"] = "x".into();
    // The revision in it is a precondition that its own write broke.
    assert_eq!(twice(&w, 2, "PUT", &one, Some(whole)).await.code, 200);
    twice(&w, 3, "DELETE", &one, None).await;
    assert_eq!(w.call("GET", &one, None).await.0, 404);

    let named = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}});
    let generated = twice(&w, 4, "POST", CMS, Some(named)).await;
    assert!(generated.body["metadata"]["name"].as_str().unwrap().starts_with("g-"));

    // Sealed, and served from a decoded value.
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    twice(&w, 5, "POST", "/api/v1/namespaces/default/secrets", Some(secret)).await;
}

#[tokio::test]
async fn later_writes_do_not_change_the_answer() {
    let w = World::new().await;
    let [first, second, third] = attempts(0);
    let created = send(&w.api, first, "POST", CMS, Some(config_map("a"))).await;
    let patch = json!({"data": {"k": "later"}});
    let path = format!("{CMS}/a");
    w.call_typed("PATCH", &path, "application/merge-patch+json", Some(patch))
        .await;
    let again = send(&w.api, second, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!((again.code, again.body), (201, created.body.clone()));
    w.call("DELETE", &path, None).await;
    let again = send(&w.api, third, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!((again.code, again.body), (201, created.body));
    assert_eq!(w.call("GET", &path, None).await.0, 404);
}

#[tokio::test]
async fn deployments_pods_and_subresources_too() {
    let w = World::new().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    twice(&w, 0, "POST", deployments, Some(deployment)).await;
    let scale = format!("{deployments}/d/scale");
    let scaled = twice(&w, 1, "PATCH", &scale, Some(json!({"spec": {"replicas": 3}}))).await;
    assert_eq!(
        (&scaled.body["kind"], &scaled.body["spec"]["replicas"]),
        (&json!("Scale"), &json!(3))
    );
    let status = format!("{deployments}/d/status");
    twice(&w, 2, "PATCH", &status, Some(json!({"status": {"replicas": 3}}))).await;
    // It stays, marked.
    let foreground = format!("{deployments}/d?propagationPolicy=Foreground");
    twice(&w, 3, "DELETE", &foreground, None).await;
    // The last finalizer goes, and the object with it.
    let free = json!({"metadata": {"finalizers": null}});
    twice(&w, 4, "PATCH", &format!("{deployments}/d"), Some(free)).await;
    assert_eq!(w.call("GET", &format!("{deployments}/d"), None).await.0, 404);

    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
               "spec": {"containers": [{"name": "c", "image": "i"}]}})
    };
    twice(&w, 5, "POST", pods, Some(pod("p"))).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n1"}});
    twice(&w, 6, "POST", &format!("{pods}/p/binding"), Some(binding)).await;
    // Assigned: it gets its grace. Not assigned: it is gone.
    twice(&w, 7, "DELETE", &format!("{pods}/p"), None).await;
    twice(&w, 8, "POST", pods, Some(pod("q"))).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "q"}});
    twice(&w, 9, "POST", &format!("{pods}/q/eviction"), Some(eviction)).await;
    twice(&w, 10, "POST", pods, Some(pod("r"))).await;
    twice(&w, 11, "DELETE", &format!("{pods}/r"), None).await;
}

#[tokio::test]
async fn what_was_not_done_is_done_once() {
    let w = World::new().await;
    let [first, second, third] = attempts(0);
    // The first attempt never reached a replica.
    let created = send(&w.api, second, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!(created.code, 201);
    // It does after all, and finds that it is over.
    let late = send(&w.api, first, "POST", CMS, Some(config_map("b"))).await;
    assert_eq!(late.code, 504, "{}", late.body);
    assert_eq!(w.call("GET", &format!("{CMS}/b"), None).await.0, 404);
    let again = send(&w.api, third, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!((again.code, again.body), (201, created.body));

    // A failure is a true answer, and the next attempt looks anew.
    let [first, second, _] = attempts(1);
    let taken = send(&w.api, first, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!(taken.code, 409);
    w.call("DELETE", &format!("{CMS}/a"), None).await;
    assert_eq!(send(&w.api, second, "POST", CMS, Some(config_map("a"))).await.code, 201);
}

#[tokio::test]
async fn reviews_are_evaluated_again_and_collections_are_not() {
    let w = World::new().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let [first, second, _] = attempts(0);
    for attempt in [first, second] {
        let answer = send(&w.api, attempt, "POST", path, Some(review.clone())).await;
        assert_eq!((answer.code, &answer.body["status"]["allowed"]), (201, &json!(true)));
    }
    let [first, second, _] = attempts(1);
    w.call("POST", CMS, Some(config_map("a"))).await;
    let refused = send(&w.api, second, "DELETE", CMS, None).await;
    assert_eq!(refused.code, 504, "{}", refused.body);
    assert_eq!(w.call("GET", &format!("{CMS}/a"), None).await.0, 200);
    assert_eq!(send(&w.api, first, "DELETE", CMS, None).await.code, 200);
    assert_eq!(w.call("GET", &format!("{CMS}/a"), None).await.0, 404);
}

#[tokio::test]
async fn an_answer_that_cannot_be_made_is_no_failure() {
    let w = World::new().await;
    let [first, second, _] = attempts(0);
    send(&w.api, first, "POST", CMS, Some(config_map("a"))).await;
    let path = format!("{CMS}/a");
    w.call("DELETE", &path, None).await;
    w.call("POST", CMS, Some(config_map("b"))).await;
    let client = w.api.storage().client();
    client
        .compact(w.store.revision(), None, Duration::from_secs(1))
        .await
        .unwrap();
    let again = send(&w.api, second, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!(again.code, 504);
    assert!(again.message().contains("it was done at revision"), "{}", again.body);
    assert!(again.headers.contains_key(UNCLEAR));
}

#[tokio::test]
async fn who_cannot_ask_the_log_says_that_nobody_knows() {
    let w = World::new().await;
    let [first, second, _] = attempts(0);
    w.consensus.fail_with(Some(ProposeError::Unknown { waited_ms: 9 }));
    let lost = send(&w.api, first, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!((lost.code, lost.headers.contains_key(UNCLEAR)), (504, true));
    let missing = vec![MemberId([7; 32])];
    w.consensus
        .fail_with(Some(ProposeError::NoQuorum { missing, voters: 3 }));
    // A first attempt without a quorum surely did nothing; a later one cannot say that.
    let refused = send(&w.api, attempts(1)[0], "POST", CMS, Some(config_map("a"))).await;
    assert_eq!((refused.code, refused.headers.contains_key(UNCLEAR)), (503, false));
    let unknown = send(&w.api, second, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!((unknown.code, unknown.headers.contains_key(UNCLEAR)), (504, true));
}

/// Holds proposals under chosen ids, until they are let go.
struct Held {
    inner: Arc<dyn Consensus>,
    gate: Semaphore,
    waiting: Mutex<u64>,
}

impl Consensus for Held {
    fn propose(
        &self,
        payload: Bytes,
        fence: Option<u64>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        self.inner.propose(payload, fence, deadline)
    }

    fn propose_as(
        &self,
        request: RequestId,
        payload: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        Box::pin(async move {
            *self.waiting.lock() += 1;
            self.gate.acquire().await.expect("open").forget();
            self.inner.propose_as(request, payload, deadline).await
        })
    }

    fn read_index(&self, deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.inner.read_index(deadline)
    }

    fn status(&self) -> ConsensusStatus {
        self.inner.status()
    }
}

/// Another replica's server, whose proposals are slow.
fn slow(w: &World) -> (ApiServer, Arc<Held>) {
    let held = Arc::new(Held {
        inner: w.consensus.clone(),
        gate: Semaphore::new(0),
        waiting: Mutex::new(0),
    });
    (w.server(held.clone()), held)
}

async fn until_waiting(held: &Held, count: u64) {
    let waiting = async {
        while *held.waiting.lock() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
}

#[tokio::test]
async fn a_slow_attempt_is_stopped() {
    let w = World::new().await;
    let (api, held) = slow(&w);
    let [first, second, third] = attempts(0);
    let named = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}});
    let body = named.clone();
    let one = tokio::spawn(async move { send(&api, first, "POST", CMS, Some(body)).await });
    until_waiting(&held, 1).await;
    let two = send(&w.api, second, "POST", CMS, Some(named.clone())).await;
    assert_eq!(two.code, 201);
    held.gate.add_permits(10);
    assert_eq!(one.await.unwrap().code, 504);
    let list = w.call("GET", CMS, None).await.1;
    let generated = |item: &&Value| item["metadata"]["name"].as_str().unwrap().starts_with("g-");
    assert_eq!(list["items"].as_array().unwrap().iter().filter(generated).count(), 1);
    let three = send(&w.api, third, "POST", CMS, Some(named)).await;
    assert_eq!((three.code, three.body), (201, two.body));
}

#[tokio::test]
async fn a_slow_attempt_that_comes_first_is_answered() {
    let w = World::new().await;
    let (api, held) = slow(&w);
    let [first, second, _] = attempts(0);
    // The second attempt is about to settle when the first one's write is applied.
    let two = tokio::spawn(async move { send(&api, second, "POST", CMS, Some(config_map("a"))).await });
    until_waiting(&held, 1).await;
    let one = send(&w.api, first, "POST", CMS, Some(config_map("a"))).await;
    held.gate.add_permits(10);
    let two = two.await.unwrap();
    assert_eq!((one.code, two.code, &one.body), (201, 201, &two.body));
}

#[tokio::test]
async fn an_attempt_in_the_midst_of_conflicts_is_stopped() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("a"))).await;
    let path = format!("{CMS}/a");
    let (api, held) = slow(&w);
    let [first, second, third] = attempts(0);
    let target = path.clone();
    let body = || Some(json!({"data": {"mine": "1"}}));
    let one = tokio::spawn(async move { send(&api, first, "PATCH", &target, body()).await });
    until_waiting(&held, 1).await;
    for (n, conflicts) in [(1, 2), (2, 3)] {
        let patch = json!({"data": {"other": n.to_string()}});
        w.call_typed("PATCH", &path, "application/merge-patch+json", Some(patch))
            .await;
        // It finds that somebody was faster, and tries its next slot.
        held.gate.add_permits(1);
        until_waiting(&held, conflicts).await;
    }
    let two = send(&w.api, second, "PATCH", &path, body()).await;
    assert_eq!((two.code, &two.body["data"]["other"]), (200, &json!("2")));
    let revision = w.store.revision();
    held.gate.add_permits(10);
    assert_eq!(one.await.unwrap().code, 504);
    assert_eq!(w.store.revision(), revision);
    let three = send(&w.api, third, "PATCH", &path, body()).await;
    assert_eq!((three.code, three.body), (200, two.body));
}

#[tokio::test]
async fn what_is_too_old_to_know_is_not_done() {
    let w = World::new().await;
    let [first, second, _] = attempts(0);
    send(&w.api, first, "POST", CMS, Some(config_map("a"))).await;
    for n in 1..=513 {
        let body = Some(json!({"data": {"n": n.to_string()}}));
        let answer = send(&w.api, attempts(n)[0], "PATCH", &format!("{CMS}/a"), body).await;
        assert_eq!(answer.code, 200);
    }
    let again = send(&w.api, second, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!(again.code, 504, "{}", again.body);
    // Also not what never was: nobody can tell it from the other.
    assert_eq!(send(&w.api, second, "POST", CMS, Some(config_map("z"))).await.code, 504);
    assert_eq!(w.call("GET", &format!("{CMS}/z"), None).await.0, 404);
}
