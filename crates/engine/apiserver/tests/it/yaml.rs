//! Bodies of YAML, and answers in it.

use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::harness::{World, admin};

const CMS: &str = "/api/v1/namespaces/default/configmaps";

struct Answer {
    code: u16,
    warnings: Vec<String>,
    text: String,
}

impl Answer {
    fn message(&self) -> String {
        let value: Value = serde_json::from_str(&self.text).expect("JSON");
        value["message"].as_str().unwrap_or_default().to_owned()
    }
}

async fn send(w: &World, method: &str, path: &str, kind: &str, accept: &str, body: &str) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .header("accept", accept)
        .header("user-agent", "test/1")
        .body(engenho_apiserver::body::full(body.to_owned()))
        .expect("a request");
    request.extensions_mut().insert(admin());
    let response = w.send(request).await;
    let warnings = response.headers().get_all("warning").into_iter();
    Answer {
        code: response.status().as_u16(),
        warnings: warnings.map(|value| value.to_str().expect("text").to_owned()).collect(),
        text: {
            let bytes = response.into_body().collect().await.expect("a body").to_bytes();
            String::from_utf8(bytes.to_vec()).expect("text")
        },
    }
}

async fn create(w: &World, query: &str, body: &str) -> Answer {
    let path = format!("{CMS}{query}");
    send(w, "POST", &path, "application/yaml", "application/json", body).await
}

#[tokio::test]
async fn duplicate_keys_are_told_by_their_lines() {
    let w = World::new().await;
    let body = |name: &str| format!("metadata:\n  name: {name}\n  extra: 5\ndata:\n  a: x\n  b: x\n  a: z\n  b: z\n");
    let warned = create(&w, "", &body("warn")).await;
    assert_eq!(warned.code, 201, "{}", warned.text);
    let wanted = [
        "299 - \"line 7: key \\\"a\\\" already set in map\"",
        "299 - \"line 8: key \\\"b\\\" already set in map\"",
        "299 - \"unknown field \\\"metadata.extra\\\"\"",
    ];
    assert_eq!(warned.warnings, wanted);
    let (_, stored) = w.call("GET", &format!("{CMS}/warn"), None).await;
    assert_eq!(stored["data"], json!({"a": "z", "b": "z"}));

    let strict = create(&w, "?fieldValidation=Strict", &body("strict")).await;
    assert_eq!(strict.code, 400);
    assert_eq!(
        strict.message(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 7: key \"a\" already set in map\n  line 8: key \"b\" already set in map, unknown field \"metadata.extra\""
    );
    let ignored = create(&w, "?fieldValidation=Ignore", &body("ignore")).await;
    assert_eq!((ignored.code, ignored.warnings.len()), (201, 0));
}

#[tokio::test]
async fn bodies_that_are_no_yaml_are_refused_with_the_line() {
    let w = World::new().await;
    let refused = create(&w, "", "metadata:\n  name: a: b\n").await;
    assert_eq!(refused.code, 400);
    assert_eq!(
        refused.message(),
        "the object provided is unrecognized (must be of type ConfigMap): yaml: line 2: mapping values are not allowed in this context (6d657461646174613a0a20206e616d653a20613a20620a)"
    );
    let path = format!("{CMS}/p?fieldManager=m");
    let kind = "application/apply-patch+yaml";
    let refused = send(&w, "PATCH", &path, kind, "application/json", "kind: [ConfigMap\n").await;
    assert_eq!(refused.code, 400);
    assert!(
        refused
            .message()
            .starts_with("error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected"),
        "{}",
        refused.message()
    );
}

#[tokio::test]
async fn apply_patches_tell_duplicate_keys_too() {
    let w = World::new().await;
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: p\ndata:\n  k: a\n  k: b\n";
    let kind = "application/apply-patch+yaml";
    let path = format!("{CMS}/p?fieldManager=m");
    let strict = format!("{path}&fieldValidation=Strict");
    let refused = send(&w, "PATCH", &strict, kind, "application/json", body).await;
    assert_eq!(refused.code, 400);
    assert_eq!(
        refused.message(),
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"k\" already set in map"
    );
    let made = send(&w, "PATCH", &path, kind, "application/yaml", body).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.warnings, ["299 - \"line 7: key \\\"k\\\" already set in map\""]);
    assert!(
        made.text
            .starts_with("apiVersion: v1\ndata:\n  k: b\nkind: ConfigMap\n"),
        "{}",
        made.text
    );
}

#[tokio::test]
async fn answers_are_written_in_blocks() {
    let w = World::new().await;
    let body = "{metadata: {name: q}, data: {k: '5', \"y\": !!str yes, t: \"a\\nb\\n\", e: ''}}";
    let made = create(&w, "", body).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let got = send(&w, "GET", &format!("{CMS}/q"), "", "application/yaml", "").await;
    assert!(
        got.text.starts_with("apiVersion: v1\ndata:\n  e: \"\"\n  k: \"5\"\n"),
        "{}",
        got.text
    );
    assert!(got.text.contains("  \"y\": \"yes\"\nkind: ConfigMap\n"), "{}", got.text);
    assert!(got.text.contains("  t: |\n    a\n    b\n"), "{}", got.text);
    let missing = send(&w, "GET", &format!("{CMS}/none"), "", "application/yaml", "").await;
    assert_eq!(missing.code, 404);
    assert!(
        missing.text.starts_with("apiVersion: v1\ncode: 404\n"),
        "{}",
        missing.text
    );
}

#[tokio::test]
async fn a_watch_has_no_yaml() {
    let w = World::new().await;
    let got = send(&w, "GET", &format!("{CMS}?watch=1"), "", "application/yaml", "").await;
    assert_eq!(got.code, 406);
    let types = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    let message = format!("message: 'only the following media types are accepted: {types}'");
    // Long lines are folded.
    let words: Vec<&str> = got.text.split_whitespace().collect();
    assert!(words.join(" ").contains(&message), "{}", got.text);
}
