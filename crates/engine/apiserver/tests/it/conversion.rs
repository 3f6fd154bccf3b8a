//! Custom resources whose versions a webhook converts, over real TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engenho_apiserver::body::{Body, full};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::harness::{World, request};
use crate::tls_server::TlsServer;
use crate::webhooks::base64;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/post.example.org/v1/namespaces/default/letters";
const V2: &str = "/apis/post.example.org/v2/namespaces/default/letters";

/// `spec.to` of v1 is `spec.receiver` in v2. Fails while `broken`.
async fn converter(broken: Arc<AtomicBool>) -> TlsServer {
    TlsServer::start(&["127.0.0.1"], move |asked: Request<Body>| {
        let broken = broken.load(Ordering::SeqCst);
        async move {
            let bytes = asked.into_body().collect().await.expect("a body").to_bytes();
            let review: Value = serde_json::from_slice(&bytes).expect("JSON");
            let desired = &review["request"]["desiredAPIVersion"];
            let (from, to) = if desired == "post.example.org/v2" {
                ("to", "receiver")
            } else {
                ("receiver", "to")
            };
            let objects = review["request"]["objects"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|object| {
                    let mut object = object.clone();
                    object["apiVersion"] = desired.clone();
                    let name = object["spec"].as_object_mut().and_then(|spec| spec.remove(from));
                    object["spec"][to] = name.unwrap_or_default();
                    object
                });
            let result = if broken {
                json!({"status": "Failed", "message": "not today"})
            } else {
                json!({"status": "Success"})
            };
            let answer = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
                "uid": review["request"]["uid"], "result": result, "convertedObjects": objects.collect::<Vec<_>>()}});
            let mut answer = Response::new(full(answer.to_string()));
            let json = "application/json".parse().expect("a value");
            answer.headers_mut().insert("content-type", json);
            answer
        }
    })
    .await
}

async fn post(server: &TlsServer) -> World {
    let world = World::new().await;
    let version = |name: &str, field: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {field: {"type": "string"}}}}}}})
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "letters.post.example.org"},
        "spec": {"group": "post.example.org", "scope": "Namespaced",
            "names": {"plural": "letters", "kind": "Letter"},
            "versions": [version("v1", "to", true), version("v2", "receiver", false)],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {
                "url": format!("https://127.0.0.1:{}/convert", server.port),
                "caBundle": base64(server.ca_pem.as_bytes())}}}}});
    let (code, answer) = world.call("POST", DEFINITIONS, Some(definition)).await;
    assert_eq!(code, 201, "{answer}");
    let path = format!("{DEFINITIONS}/letters.post.example.org");
    let claimed = engenho_crd::conditions::Claimed::of("post.example.org", [&answer]);
    let settled = engenho_crd::conditions::settle(&answer, &claimed, "2030-01-01T00:00:00Z").expect("something to do");
    let (code, answer) = world.call("PUT", &format!("{path}/status"), Some(settled)).await;
    assert_eq!(code, 200, "{answer}");
    world
}

fn letter(version: &str, name: &str, field: &str, value: &str) -> Value {
    json!({"apiVersion": format!("post.example.org/{version}"), "kind": "Letter", "metadata": {"name": name},
        "spec": {field: value}})
}

#[tokio::test]
async fn objects_are_read_and_written_in_each_version() {
    let broken = Arc::new(AtomicBool::new(false));
    let server = converter(broken.clone()).await;
    let world = post(&server).await;
    let (code, made) = world.call("POST", V2, Some(letter("v2", "a", "receiver", "Ann"))).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"receiver": "Ann"})), "{made}");
    assert_eq!(
        world.call("POST", V1, Some(letter("v1", "b", "to", "Bob"))).await.0,
        201
    );
    let stored = world
        .store
        .get(b"/registry/post.example.org/letters/default/a")
        .expect("stored");
    let stored: Value = serde_json::from_slice(&stored.value).expect("JSON");
    assert_eq!(
        (&stored["apiVersion"], &stored["spec"]["to"]),
        (&json!("post.example.org/v1"), &json!("Ann"))
    );
    let (_, one) = world.call("GET", &format!("{V1}/a"), None).await;
    assert_eq!(one["spec"], json!({"to": "Ann"}));
    let (_, list) = world.call("GET", V2, None).await;
    let names: Vec<&Value> = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|i| &i["spec"]["receiver"])
        .collect();
    assert_eq!(names, ["Ann", "Bob"]);
    let patch = json!({"spec": {"receiver": "Cid"}});
    let (code, patched) = world
        .call_typed("PATCH", &format!("{V2}/b"), "application/merge-patch+json", Some(patch))
        .await;
    assert_eq!(
        (code, &patched["spec"]),
        (200, &json!({"receiver": "Cid"})),
        "{patched}"
    );
    assert_eq!(
        world.call("GET", &format!("{V1}/b"), None).await.1["spec"],
        json!({"to": "Cid"})
    );
    let watching = request(
        "GET",
        &format!("{V2}?watch=true&timeoutSeconds=1"),
        "application/json",
        None,
    );
    let mut body = world.send(watching).await.into_body();
    let frame = body
        .frame()
        .await
        .expect("a frame")
        .expect("bytes")
        .into_data()
        .expect("data");
    let lines = String::from_utf8(frame.to_vec()).expect("text");
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["object"]["spec"], json!({"receiver": "Ann"}));
    broken.store(true, Ordering::SeqCst);
    let (code, failed) = world.call("GET", &format!("{V2}/a"), None).await;
    let wanted = "conversion webhook for post.example.org/v1, Kind=Letter failed: not today";
    assert_eq!((code, &failed["message"]), (500, &json!(wanted)));
    assert_eq!(world.call("GET", &format!("{V1}/a"), None).await.0, 200);
}
