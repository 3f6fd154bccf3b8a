//! Admission webhooks over real TLS.

use std::sync::Arc;

use engenho_apiserver::body::{Body, full};
use engenho_apiserver::object;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{World, request};
use crate::tls_server::TlsServer;

pub fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, i| word << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let digit = alphabet[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

type Log = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers by its path: `/label/NAME` adds a label, `/copy` copies the label `a` to `b`, `/deny` refuses, `/broken`
/// answers nonsense, all else allows.
async fn hooks() -> (TlsServer, Log) {
    let log = Log::default();
    let kept = log.clone();
    let server = TlsServer::start(&["127.0.0.1", "hook.default.svc"], move |asked: Request<Body>| {
        let kept = kept.clone();
        async move {
            let path = asked.uri().path().to_owned();
            let bytes = asked.into_body().collect().await.expect("a body").to_bytes();
            let review: Value = serde_json::from_slice(&bytes).expect("JSON");
            let object = &review["request"]["object"];
            let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
            let mut patch = Value::Null;
            let labels = &object["metadata"]["labels"];
            let put = |name: &str, value: &str| {
                if labels.is_object() {
                    json!([{"op": "add", "path": format!("/metadata/labels/{name}"), "value": value}])
                } else {
                    json!([{"op": "add", "path": "/metadata/labels", "value": {name: value}}])
                }
            };
            if let Some(name) = path.strip_prefix("/label/") {
                patch = put(name, "yes");
                response["warnings"] = json!([format!("labelled {name}")]);
            } else if path == "/copy" && labels["a"] == "yes" {
                patch = put("b", "copied");
            } else if path == "/deny" {
                response["allowed"] = false.into();
                response["status"] = json!({"code": 418, "message": "I do not want to", "reason": "Teapot"});
            } else if path == "/broken" {
                response["uid"] = "another".into();
            }
            if !patch.is_null() {
                response["patchType"] = "JSONPatch".into();
                response["patch"] = base64(patch.to_string().as_bytes()).into();
            }
            kept.lock().push((path, review.clone()));
            let answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
            let mut answer = Response::new(full(answer.to_string()));
            let json = "application/json".parse().expect("a value");
            answer.headers_mut().insert("content-type", json);
            answer
        }
    })
    .await;
    (server, log)
}

fn webhook(server: &TlsServer, name: &str, path: &str, more: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.example.com"),
        "clientConfig": {
            "url": format!("https://127.0.0.1:{}{path}", server.port),
            "caBundle": base64(server.ca_pem.as_bytes()),
        },
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        webhook[key] = value.clone();
    }
    webhook
}

async fn configure(world: &World, kind: &str, name: &str, webhooks: Vec<Value>) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase());
    let body = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": webhooks});
    let (code, answer) = world.call("POST", &path, Some(body)).await;
    assert_eq!(code, 201, "{answer}");
}

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

#[tokio::test]
async fn objects_are_changed_and_looked_at_again() {
    let (server, log) = hooks().await;
    let world = World::new().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(&world, MUTATING, "a", vec![webhook(&server, "copy", "/copy", again)]).await;
    configure(
        &world,
        MUTATING,
        "b",
        vec![webhook(&server, "label", "/label/a", json!({}))],
    )
    .await;
    configure(
        &world,
        VALIDATING,
        "c",
        vec![webhook(&server, "look", "/look", json!({}))],
    )
    .await;
    let response = world
        .send(request("POST", MAPS, "application/json", Some(map("m"))))
        .await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["warning"], "299 - \"labelled a\"");
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let made: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(made["metadata"]["labels"], json!({"a": "yes", "b": "copied"}));
    let calls = std::mem::take(&mut *log.lock());
    let paths: Vec<&str> = calls.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/copy", "/label/a", "/copy", "/look"]);
    let first = &calls[0].1["request"];
    assert_eq!(object::uid(&first["object"]), "");
    assert_eq!((&first["operation"], &first["name"]), (&json!("CREATE"), &json!("m")));
    assert_eq!((&first["oldObject"], &first["dryRun"]), (&Value::Null, &json!(false)));
    assert_eq!(
        first["userInfo"],
        json!({"username": "admin", "groups": ["system:masters"]})
    );
    assert_eq!(
        first["options"],
        json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"})
    );
    let last = &calls[3].1["request"];
    assert_eq!(last["object"]["metadata"]["labels"]["b"], "copied");
    assert_eq!(last["object"]["metadata"]["uid"], made["metadata"]["uid"]);
    let (code, _) = world.call("DELETE", &format!("{MAPS}/m"), None).await;
    assert_eq!(code, 200);
    // With nothing to change, a patch is refused.
    let calls = std::mem::take(&mut *log.lock());
    assert!(calls.is_empty() || calls[0].1["request"]["object"].is_null());
}

#[tokio::test]
async fn refusals_and_failures_are_told_as_they_are_known() {
    let (server, log) = hooks().await;
    let world = World::new().await;
    let only = |name: &str| {
        let expression = format!("object != null && object.metadata.name == '{name}'");
        json!([{"name": "one", "expression": expression}])
    };
    let mut gone = webhook(&server, "gone", "/", json!({"matchConditions": only("gone")}));
    gone["clientConfig"] = json!({"service": {"namespace": "default", "name": "nobody", "path": "/x"}});
    let rules =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]);
    let open = json!({"matchConditions": only("open"), "failurePolicy": "Ignore", "rules": rules});
    let error = json!([{"name": "one", "expression": "object.metadata.name == 'error' && object.nothing == 1"}]);
    let webhooks = vec![
        webhook(&server, "deny", "/deny", json!({"matchConditions": only("deny")})),
        webhook(&server, "broken", "/broken", json!({"matchConditions": only("broken")})),
        webhook(&server, "open", "/broken", open),
        gone,
        webhook(
            &server,
            "error",
            "/error",
            json!({"matchConditions": error, "rules": rules}),
        ),
        webhook(
            &server,
            "effects",
            "/effects",
            json!({"matchConditions": only("dry"), "sideEffects": "None"}),
        ),
    ];
    configure(&world, VALIDATING, "v", webhooks).await;
    let create = |name: &'static str| world.call("POST", MAPS, Some(map(name)));
    let (code, answer) = create("deny").await;
    assert_eq!((code, &answer["reason"]), (418, &json!("Teapot")));
    assert_eq!(
        answer["message"],
        "admission webhook \"deny.example.com\" denied the request: I do not want to"
    );
    // One that is refused is not asked twice.
    assert_eq!(log.lock().len(), 1);
    let (code, answer) = create("broken").await;
    let text = answer["message"].as_str().expect("a message");
    let wanted = "Internal error occurred: failed calling webhook \"broken.example.com\": received invalid webhook response: expected response.uid=";
    assert!(code == 500 && text.starts_with(wanted), "{text}");
    assert_eq!(create("open").await.0, 201);
    let (code, answer) = create("gone").await;
    let wanted = "Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post \"https://nobody.default.svc:443/x?timeout=5s\": service \"nobody\" not found";
    assert_eq!((code, &answer["message"]), (500, &json!(wanted)));
    let (code, answer) = create("error").await;
    let text = answer["message"].as_str().expect("a message");
    assert!(
        code == 403 && text.starts_with("configmaps \"error\" is forbidden: expression '"),
        "{text}"
    );
    assert_eq!(create("fine").await.0, 201);
    let (code, _) = world
        .call("POST", &format!("{MAPS}?dryRun=All"), Some(map("dry")))
        .await;
    assert_eq!(code, 201);
}

#[tokio::test]
async fn services_and_other_versions_are_reached() {
    let (server, log) = hooks().await;
    let world = World::new().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"port": 443, "targetPort": 8443}]}});
    assert_eq!(
        world
            .call("POST", "/api/v1/namespaces/default/services", Some(service))
            .await
            .0,
        201
    );
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"name": "", "port": server.port}]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    // Endpoints on a loopback address are refused by validation, so they are put in place as a controller's would be.
    let (code, answer) = world.call("POST", slices, Some(slice)).await;
    let reachable = code == 201;
    if !reachable {
        assert_eq!(code, 422, "{answer}");
    }
    let rules = json!([{"operations": ["CREATE", "DELETE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"]}]);
    let mut one = webhook(
        &server,
        "one",
        "/label/seen",
        json!({"rules": rules, "admissionReviewVersions": ["v1beta1"]}),
    );
    if reachable {
        one["clientConfig"] = json!({"caBundle": base64(server.ca_pem.as_bytes()),
            "service": {"namespace": "default", "name": "hook", "path": "/label/seen"}});
    }
    configure(&world, MUTATING, "m", vec![one]).await;
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let (code, made) = world.call("POST", path, Some(hpa)).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["labels"], json!({"seen": "yes"}));
    assert_eq!(
        made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        50
    );
    let calls = std::mem::take(&mut *log.lock());
    let asked = &calls[0].1;
    assert_eq!(asked["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!(asked["request"]["kind"]["version"], "v1");
    assert_eq!(asked["request"]["requestKind"]["version"], "v2");
    assert_eq!(asked["request"]["object"]["spec"]["targetCPUUtilizationPercentage"], 50);
    let (code, answer) = world.call("DELETE", &format!("{path}/h"), None).await;
    let wanted = "Internal error occurred: admission webhook \"one.example.com\" attempted to modify the object, which is not supported for this operation";
    assert_eq!((code, &answer["message"]), (500, &json!(wanted)));
    assert_eq!(log.lock()[0].1["request"]["oldObject"]["metadata"]["name"], "h");
}
