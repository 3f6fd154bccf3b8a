//! Clients that speak protobuf, as typed Go clients do.

use std::time::Duration;

use engenho_protobuf::{MEDIA_TYPE, WATCH_MEDIA_TYPE, decode, decode_watch_event, encode};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{World, admin, config_map};

const CMS: &str = "/api/v1/namespaces/default/configmaps";
const ACCEPT: &str = "application/vnd.kubernetes.protobuf,application/json";
const DEADLINE: Duration = Duration::from_secs(5);

struct Answer {
    code: u16,
    content_type: String,
    body: Vec<u8>,
}

impl Answer {
    fn object(&self) -> Value {
        assert_eq!(self.content_type, MEDIA_TYPE);
        decode(&self.body, None).expect("an object")
    }
}

fn request(method: &str, path: &str, accept: &str, body: Vec<u8>) -> Request<engenho_apiserver::Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", MEDIA_TYPE)
        .header("accept", accept)
        .body(engenho_apiserver::body::full(body))
        .expect("a request");
    request.extensions_mut().insert(admin());
    request
}

async fn send(w: &World, method: &str, path: &str, accept: &str, body: Vec<u8>) -> Answer {
    let response = w.send(request(method, path, accept, body)).await;
    let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
    Answer {
        code: response.status().as_u16(),
        content_type: kind,
        body: response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes()
            .to_vec(),
    }
}

async fn call(w: &World, method: &str, path: &str, body: Option<Value>) -> Answer {
    let body = body.map(|value| encode(&value).expect("a message")).unwrap_or_default();
    send(w, method, path, ACCEPT, body).await
}

#[tokio::test]
async fn an_object_lives_its_life_in_protobuf() {
    let w = World::new().await;
    let path = format!("{CMS}/a");
    let created = call(&w, "POST", CMS, Some(config_map("a"))).await;
    assert_eq!(created.code, 201);
    let mut object = created.object();
    assert_eq!(object["data"], json!({"k": "v"}));
    // The same object as a client of JSON sees it.
    let (_, as_json) = w.call("GET", &path, None).await;
    assert_eq!(as_json, object);
    object["data"]["k"] = "w".into();
    let updated = call(&w, "PUT", &path, Some(object)).await;
    assert_eq!((updated.code, &updated.object()["data"]["k"]), (200, &json!("w")));
    let list = call(&w, "GET", CMS, None).await.object();
    assert_eq!(
        (&list["kind"], &list["items"][0]["metadata"]["name"]),
        (&json!("ConfigMapList"), &json!("a"))
    );
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "another"}});
    let refused = call(&w, "DELETE", &path, Some(options)).await;
    assert_eq!((refused.code, &refused.object()["reason"]), (409, &json!("Conflict")));
    let deleted = call(&w, "DELETE", &path, None).await;
    assert_eq!((deleted.code, &deleted.object()["status"]), (200, &json!("Success")));
    let missing = call(&w, "GET", &path, None).await;
    assert_eq!((missing.code, &missing.object()["reason"]), (404, &json!("NotFound")));
}

#[tokio::test]
async fn a_deployment_means_the_same_in_both_forms() {
    let w = World::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = |name: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "x"}},
                "template": {
                    "metadata": {"labels": {"app": "x"}},
                    "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}
                }
            }
        })
    };
    let wire = call(&w, "POST", path, Some(deployment("a"))).await;
    assert_eq!(wire.code, 201);
    let (code, text) = w.call("POST", path, Some(deployment("b"))).await;
    assert_eq!(code, 201);
    assert_eq!(wire.object()["spec"], text["spec"]);
}

#[tokio::test]
async fn subresources_take_messages() {
    let w = World::new().await;
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let template = json!({
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}
    });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "a"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    });
    assert_eq!(call(&w, "POST", sets, Some(set)).await.code, 201);
    let path = format!("{sets}/a/scale");
    let mut scale = call(&w, "GET", &path, None).await.object();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(3))
    );
    scale["spec"] = json!({});
    let scaled = call(&w, "PUT", &path, Some(scale)).await;
    assert_eq!((scaled.code, &scaled.object()["spec"]["replicas"]), (200, &Value::Null));
    let mut set = call(&w, "GET", &format!("{sets}/a"), None).await.object();
    assert_eq!(set["spec"]["replicas"], 0);
    set["status"]["replicas"] = 2.into();
    let status = call(&w, "PUT", &format!("{sets}/a/status"), Some(set)).await.object();
    assert_eq!(status["status"]["replicas"], 2);

    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": template["spec"]
    });
    assert_eq!(call(&w, "POST", pods, Some(pod)).await.code, 201);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}});
    let evicted = call(&w, "POST", &format!("{pods}/p/eviction"), Some(eviction)).await;
    assert_eq!((evicted.code, &evicted.object()["status"]), (201, &json!("Success")));
}

#[tokio::test]
async fn reviews_and_discovery_are_answered() {
    let w = World::new().await;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}}
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = call(&w, "POST", path, Some(review)).await;
    assert_eq!(
        (answer.code, &answer.object()["status"]["allowed"]),
        (201, &json!(true))
    );
    let discovery = call(&w, "GET", "/apis/apps/v1", None).await.object();
    assert_eq!(discovery["groupVersion"], "apps/v1");
    let versions = call(&w, "GET", "/api", None).await.object();
    assert_eq!(versions["versions"], json!(["v1"]));
    let swagger = async |accept: &'static str| send(&w, "GET", "/openapi/v2", accept, Vec::new()).await;
    for accept in [
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf,application/json;q=0.5",
    ] {
        let answer = swagger(accept).await;
        let content_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        assert_eq!((answer.code, answer.content_type.as_str()), (200, content_type));
        // The first field says that it is Swagger 2.0.
        assert_eq!(answer.body[..5], *b"\x0a\x032.0");
    }
    assert_eq!(swagger("*/*").await.content_type, "application/json");
    assert_eq!(swagger("application/yaml").await.code, 406);
    assert_eq!(call(&w, "GET", "/version", None).await.content_type, "application/json");
}

#[tokio::test]
async fn shapes_and_kinds_without_the_form_fall_back_to_json() {
    let w = World::new().await;
    call(&w, "POST", CMS, Some(config_map("a"))).await;
    let table =
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io";
    let answer = send(&w, "GET", CMS, table, Vec::new()).await;
    assert_eq!(answer.content_type, "application/json");
    let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let answer = send(&w, "GET", CMS, metadata, Vec::new()).await.object();
    assert_eq!(
        (&answer["kind"], &answer["items"][0]["metadata"]["name"]),
        (&json!("PartialObjectMetadataList"), &json!("a"))
    );
    let only = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
    assert_eq!(send(&w, "GET", CMS, only, Vec::new()).await.code, 406);
}

#[tokio::test]
async fn bodies_that_are_no_protobuf_are_refused() {
    let w = World::new().await;
    for (body, text) in [
        (b"{}".to_vec(), "expected prefix [107 56 115 0] (7b7d)"),
        (b"k8s\0\x12\x05\x0a".to_vec(), "unexpected EOF"),
        (
            encode(&json!({"apiVersion": "v1", "kind": "Secret"})).expect("a message"),
            "Secret in version",
        ),
    ] {
        let answer = send(&w, "POST", CMS, ACCEPT, body).await;
        let message = answer.object()["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.code, 400);
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn a_watch_sends_frames() {
    let w = World::new().await;
    call(&w, "POST", CMS, Some(config_map("a"))).await;
    let response = w
        .send(request("GET", &format!("{CMS}?watch=1"), ACCEPT, Vec::new()))
        .await;
    assert_eq!(response.headers()["content-type"], WATCH_MEDIA_TYPE);
    call(&w, "DELETE", &format!("{CMS}/a"), None).await;
    let mut body = response.into_body();
    let mut buffer = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Some((kind, object, used)) = decode_watch_event(&buffer).expect("an event") {
            seen.push((kind, object["metadata"]["name"].clone(), object["kind"].clone()));
            buffer.drain(..used);
            continue;
        }
        let frame = tokio::time::timeout(DEADLINE, body.frame()).await.expect("in time");
        let frame = frame.expect("more").expect("a frame");
        buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    let event = |kind: &str| (kind.to_owned(), json!("a"), json!("ConfigMap"));
    assert_eq!(seen, [event("ADDED"), event("DELETED")]);
}
