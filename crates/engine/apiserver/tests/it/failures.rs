//! No quorum, unknown outcomes, too much.

use bytes::Bytes;
use http_body_util::BodyExt;
use revoada_core::MemberId;
use revoada_core::consensus::ProposeError;
use serde_json::{Value, json};

use crate::harness::{World, config_map, request};

const CMS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn without_quorum_writes_name_the_missing_and_reads_are_stale() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("a"))).await;
    let missing = vec![MemberId([7; 32])];
    w.consensus
        .fail_with(Some(ProposeError::NoQuorum { missing, voters: 3 }));

    let response = w
        .send(request("POST", CMS, "application/json", Some(config_map("b"))))
        .await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let status: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert!(
        status["message"].as_str().expect("a text").contains("web-2"),
        "{status}"
    );
    assert_eq!(status["details"]["causes"][0]["field"], "web-2");

    let response = w
        .send(request("GET", &format!("{CMS}/a"), "application/json", None))
        .await;
    assert_eq!(response.status(), 200);
    let warning = response.headers()["warning"].to_str().expect("text");
    assert!(warning.starts_with("299 engenho \"stale read:"), "{warning}");
    assert_eq!(w.call("GET", "/readyz", None).await.0, 500);

    w.consensus.fail_with(None);
    assert_eq!(w.call("POST", CMS, Some(config_map("b"))).await.0, 201);
    let response = w
        .send(request("GET", &format!("{CMS}/a"), "application/json", None))
        .await;
    assert!(!response.headers().contains_key("warning"));
}

#[tokio::test]
async fn an_unknown_outcome_is_no_invitation_to_repeat() {
    let w = World::new().await;
    w.consensus.fail_with(Some(ProposeError::Unknown { waited_ms: 9 }));
    let response = w
        .send(request("POST", CMS, "application/json", Some(config_map("b"))))
        .await;
    assert_eq!(response.status(), 504);
    assert!(!response.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let w = World::new().await;
    let mut large = request("POST", CMS, "application/json", None);
    *large.body_mut() = engenho_apiserver::body::full(Bytes::from(vec![b' '; (3 << 20) + 1]));
    assert_eq!(w.send(large).await.status(), 413);
}

#[tokio::test]
async fn a_request_whose_time_is_up_gets_504() {
    let w = World::new().await;
    let mut slow = request("POST", &format!("{CMS}?timeout=200ms"), "application/json", None);
    *slow.body_mut() = crate::fairness::endless();
    let response = w.send(slow).await;
    assert_eq!(response.status(), 504);
    assert!(!response.headers().contains_key("retry-after"));
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let status: Value = serde_json::from_slice(&bytes).expect("JSON");
    let message = "Timeout: request did not complete within the allotted timeout";
    assert_eq!(
        status,
        json!({"metadata": {}, "status": "Failure", "message": message, "reason": "Timeout", "details": {}, "code": 504})
    );
    assert_eq!(w.call("GET", &format!("{CMS}?timeout=x"), None).await.0, 400);
}

#[tokio::test]
async fn garbage_gets_a_status() {
    let w = World::new().await;
    for (method, path, code) in [
        ("GET", "/api/v1/nothings", 404),
        ("GET", "/apis/nope/v1/x", 404),
        ("PUT", CMS, 405),
        ("POST", "/api/v1/configmaps", 405),
        ("PATCH", "/api/v1/namespaces/default/configmaps/x", 415),
        ("GET", "/api/v1/namespaces/default/configmaps?limit=x", 400),
        ("GET", "/nothing/here", 404),
    ] {
        assert_eq!(w.call(method, path, None).await.0, code, "{method} {path}");
    }
    let mut broken = request("POST", CMS, "application/json", None);
    *broken.body_mut() = engenho_apiserver::body::full("{");
    assert_eq!(w.send(broken).await.status(), 400);
}

#[tokio::test]
async fn a_replaced_leader_writes_nothing() {
    let w = World::new().await;
    w.consensus.set_term(5);
    for (term, code) in [(4, 503), (5, 201)] {
        let mut fenced = request("POST", CMS, "application/json", Some(config_map("f")));
        fenced.extensions_mut().insert(engenho_apiserver::Fence(term));
        assert_eq!(w.send(fenced).await.status(), code);
    }
}
