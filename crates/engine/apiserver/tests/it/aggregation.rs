//! APIs that a server elsewhere serves, over real TLS.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use engenho_apiserver::ApiServer;
use engenho_apiserver::body::{Body, boxed, empty, full};
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{World, admin, request};
use crate::tls_server::TlsServer;
use crate::webhooks::base64;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// An API of pets: tells what it was asked, and echoes over an upgraded connection.
async fn pets() -> TlsServer {
    TlsServer::start(&["pets.default.svc"], |mut asked: Request<Body>| async move {
        let path = asked.uri().to_string();
        let json = |value: Value| {
            let mut answer = Response::new(full(value.to_string()));
            let json = "application/json".parse().expect("a value");
            answer.headers_mut().insert("content-type", json);
            answer
        };
        match path.as_str() {
            "/apis/pets.example.org/v1" => json(json!({"kind": "APIResourceList", "apiVersion": "v1",
                "groupVersion": "pets.example.org/v1", "resources": [
                    {"name": "dogs", "singularName": "dog", "namespaced": true, "kind": "Dog", "verbs": ["get"]}]})),
            "/openapi/v3" => json(json!({"paths": {"apis/pets.example.org/v1":
                {"serverRelativeURL": "/openapi/v3/apis/pets.example.org/v1?hash=A"}}})),
            path if path.contains("cats?") => {
                // Says something, and then nothing more.
                let first = stream::once(async { Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"miau"))) });
                Response::new(boxed(StreamBody::new(first.chain(stream::pending()))))
            }
            "/apis/pets.example.org/v1/namespaces/default/dogs/rex/bark" => {
                let upgrade = hyper::upgrade::on(&mut asked);
                tokio::spawn(async move {
                    let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.expect("a stream"));
                    let mut bytes = [0; 4];
                    stream.read_exact(&mut bytes).await.expect("four bytes");
                    stream.write_all(&bytes).await.expect("an echo");
                });
                let mut response = Response::new(empty());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let headers = response.headers_mut();
                headers.insert("connection", "Upgrade".parse().expect("a value"));
                headers.insert("upgrade", "bark".parse().expect("a value"));
                response
            }
            path if path.starts_with("/apis/pets.example.org/v1/") || path.starts_with("/openapi/v3/apis/pets") => {
                let (asked, incoming) = asked.into_parts();
                let method = asked.method.to_string();
                let header = |name: &str| {
                    let values = asked.headers.get_all(name).iter();
                    values
                        .map(|value| value.to_str().expect("text").to_owned())
                        .collect::<Vec<_>>()
                };
                let seen = json!({"user": header("x-remote-user"), "groups": header("x-remote-group"),
                    "authorization": header("authorization")});
                let body = incoming.collect().await.expect("a body").to_bytes();
                let body = String::from_utf8(body.to_vec()).expect("text");
                json(json!({"method": method, "path": path, "seen": seen, "body": body}))
            }
            _ => {
                let mut answer = Response::new(empty());
                *answer.status_mut() = StatusCode::NOT_FOUND;
                answer
            }
        }
    })
    .await
}

/// Serves everybody as an administrator.
#[derive(Clone)]
struct AsAdmin(ApiServer);

impl tower::Service<Request<Body>> for AsAdmin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <ApiServer as tower::Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(admin());
        tower::Service::call(&mut self.0, request)
    }
}

fn api_service(server: &TlsServer) -> Value {
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.pets.example.org"},
        "spec": {"group": "pets.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15,
            "service": {"namespace": "default", "name": "pets", "port": 443},
            "caBundle": base64(server.ca_pem.as_bytes())}})
}

/// A Service whose name leads here, as an external name does.
async fn world(server: &TlsServer) -> World {
    let world = World::new().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pets"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 443}]}});
    let (code, answer) = world
        .call("POST", "/api/v1/namespaces/default/services", Some(service))
        .await;
    assert_eq!(code, 201, "{answer}");
    let mut api = api_service(server);
    api["spec"]["service"]["port"] = server.port.into();
    let (code, answer) = world.call("POST", SERVICES, Some(api)).await;
    assert_eq!(code, 201, "{answer}");
    world
}

async fn set_available(world: &World, status: &str) {
    let path = format!("{SERVICES}/v1.pets.example.org");
    let (_, mut api) = world.call("GET", &path, None).await;
    api["status"] = json!({"conditions": [{"type": "Available", "status": status}]});
    let (code, answer) = world.call("PUT", &format!("{path}/status"), Some(api)).await;
    assert_eq!(code, 200, "{answer}");
}

#[tokio::test]
async fn requests_are_passed_on_with_their_sender() {
    let server = pets().await;
    let world = world(&server).await;
    let dogs = "/apis/pets.example.org/v1/namespaces/default/dogs?x=1";
    let response = world.send(request("GET", dogs, "application/json", None)).await;
    assert_eq!(response.status(), 503);
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(&bytes[..], b"service unavailable\n");
    set_available(&world, "True").await;
    let mut asked = request("POST", dogs, "application/json", Some(json!({"a": 1})));
    asked
        .headers_mut()
        .insert("authorization", "Bearer x".parse().expect("a value"));
    asked
        .headers_mut()
        .insert("x-remote-user", "root".parse().expect("a value"));
    let response = world.send(asked).await;
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let told: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(told["path"], dogs);
    assert_eq!((&told["method"], &told["body"]), (&json!("POST"), &json!("{\"a\":1}")));
    assert_eq!(
        told["seen"],
        json!({"user": ["admin"], "groups": ["system:masters"], "authorization": []})
    );
    drop(server);
    let (code, _) = world.call("GET", dogs, None).await;
    assert_eq!(code, 503);
}

#[tokio::test]
async fn discovery_tells_of_it() {
    let server = pets().await;
    let world = world(&server).await;
    set_available(&world, "True").await;
    let (_, list) = world.call("GET", "/apis", None).await;
    let groups = list["groups"].as_array().expect("groups");
    assert_eq!(groups.last().expect("a group")["name"], "pets.example.org");
    let (code, group) = world.call("GET", "/apis/pets.example.org", None).await;
    assert_eq!((code, &group["preferredVersion"]["version"]), (200, &json!("v1")));
    let (code, resources) = world.call("GET", "/apis/pets.example.org/v1", None).await;
    assert_eq!(code, 200, "{resources}");
    assert_eq!(resources["resources"][0]["name"], "dogs");
    let mut asked = request("GET", "/apis", "application/json", None);
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    asked.headers_mut().insert("accept", accept.parse().expect("a value"));
    let bytes = world
        .send(asked)
        .await
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let list: Value = serde_json::from_slice(&bytes).expect("JSON");
    let last = list["items"]
        .as_array()
        .and_then(|items| items.last())
        .expect("a group");
    assert_eq!(last["metadata"]["name"], "pets.example.org");
    assert_eq!(last["versions"][0]["freshness"], "Current");
    assert_eq!(last["versions"][0]["resources"][0]["responseKind"]["kind"], "Dog");
    let (_, index) = world.call("GET", "/openapi/v3", None).await;
    assert!(index["paths"]["apis/pets.example.org/v1"].is_object());
    assert!(index["paths"]["apis/apps/v1"].is_object());
    let (_, document) = world
        .call("GET", "/openapi/v3/apis/pets.example.org/v1?hash=A", None)
        .await;
    assert_eq!(document["path"], "/openapi/v3/apis/pets.example.org/v1?hash=A");
    let path = format!("{SERVICES}/v1.pets.example.org");
    let (_, api) = world.call("GET", &path, None).await;
    assert_eq!(world.api.probe(&api).await, Ok(()));
    drop(server);
    let failed = world.api.probe(&api).await.expect_err("nobody there");
    assert!(
        failed.starts_with("failing or missing response from https://localhost:"),
        "{failed}"
    );
}

#[tokio::test]
async fn connections_are_upgraded_through() {
    let server = pets().await;
    let world = world(&server).await;
    set_available(&world, "True").await;
    let (near, far) = tokio::io::duplex(4096);
    let service = AsAdmin(world.api.clone());
    let options = engenho_apiserver::ServeOptions::default();
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(async move { engenho_apiserver::serve_stream(far, service, &options, stop).await });
    let mut near = near;
    let head = "GET /apis/pets.example.org/v1/namespaces/default/dogs/rex/bark HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: bark\r\n\r\n";
    near.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(near.read_u8().await.expect("a byte"));
    }
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    near.write_all(b"woof").await.expect("sent");
    let mut bytes = [0; 4];
    near.read_exact(&mut bytes).await.expect("an echo");
    assert_eq!(&bytes, b"woof");
}

#[tokio::test]
async fn answers_that_are_passed_on_end_in_time_and_watches_with_the_server() {
    let server = pets().await;
    let world = world(&server).await;
    set_available(&world, "True").await;
    let cats = "/apis/pets.example.org/v1/namespaces/default/cats";
    let begin = async |query: &str| {
        let response = world.send(request("GET", &format!("{cats}?{query}"), "", None)).await;
        assert_eq!(response.status(), 200, "{query}");
        let mut body = response.into_body();
        let first = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(first.into_data().expect("data"), "miau");
        body
    };
    let mut slow = begin("timeout=1s").await;
    assert!(slow.frame().await.expect("it breaks off").is_err());
    assert!(slow.frame().await.is_none());
    let mut watch = begin("watch=true&timeout=1s").await;
    let next = tokio::time::timeout(std::time::Duration::from_millis(1200), watch.frame());
    assert!(next.await.is_err(), "it goes on");
    world.api.drain();
    let next = tokio::time::timeout(std::time::Duration::from_secs(5), watch.frame());
    assert!(next.await.expect("in time").is_none(), "it ends");
}
