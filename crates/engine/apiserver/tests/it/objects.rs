//! Writing objects.

use serde_json::json;

use crate::harness::{World, config_map};

const CMS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_lives_and_dies() {
    let w = World::new().await;
    let (code, made) = w.call("POST", CMS, Some(config_map("c"))).await;
    assert_eq!((code, &made["metadata"]["namespace"]), (201, &json!("default")));
    let rv = made["metadata"]["resourceVersion"]
        .as_str()
        .expect("a revision")
        .to_owned();
    assert_eq!(
        w.call("POST", CMS, Some(config_map("c"))).await.1["reason"],
        "AlreadyExists"
    );

    let (code, got) = w.call("GET", &format!("{CMS}/c"), None).await;
    assert_eq!((code, &got), (200, &made));

    let mut changed = made.clone();
    changed["data"]["k"] = json!("w");
    let (code, put) = w.call("PUT", &format!("{CMS}/c"), Some(changed.clone())).await;
    assert_eq!(code, 200);
    assert_ne!(put["metadata"]["resourceVersion"], json!(rv));
    let (code, refused) = w.call("PUT", &format!("{CMS}/c"), Some(changed)).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));

    let (code, same) = w.call("PUT", &format!("{CMS}/c"), Some(put.clone())).await;
    assert_eq!(
        (code, &same["metadata"]["resourceVersion"]),
        (200, &put["metadata"]["resourceVersion"])
    );

    let (code, gone) = w.call("DELETE", &format!("{CMS}/c"), None).await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    assert_eq!(w.call("GET", &format!("{CMS}/c"), None).await.0, 404);
}

#[tokio::test]
async fn every_patch_type_applies() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("c"))).await;
    let path = format!("{CMS}/c");
    let json_patch = json!([{"op": "add", "path": "/data/a", "value": "1"}]);
    let (code, _) = w
        .call_typed("PATCH", &path, "application/json-patch+json", Some(json_patch))
        .await;
    assert_eq!(code, 200);
    let merge = json!({"data": {"k": null, "b": "2"}});
    let (code, merged) = w
        .call_typed("PATCH", &path, "application/merge-patch+json", Some(merge))
        .await;
    assert_eq!((code, &merged["data"]), (200, &json!({"a": "1", "b": "2"})));
    let strategic = json!({"metadata": {"labels": {"x": "y"}}});
    let (code, _) = w
        .call_typed(
            "PATCH",
            &path,
            "application/strategic-merge-patch+json",
            Some(strategic),
        )
        .await;
    assert_eq!(code, 200);

    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"k": "1"}});
    let at = |manager: &str| format!("{CMS}/s?fieldManager={manager}");
    let kind = "application/apply-patch+yaml";
    assert_eq!(
        w.call_typed("PATCH", &at("alice"), kind, Some(apply.clone())).await.0,
        201
    );
    let mut other = apply;
    other["data"]["k"] = json!("2");
    let (code, conflict) = w.call_typed("PATCH", &at("bob"), kind, Some(other.clone())).await;
    assert_eq!(
        (code, &conflict["details"]["causes"][0]["reason"]),
        (409, &json!("FieldManagerConflict"))
    );
    let (code, taken) = w
        .call_typed("PATCH", &format!("{}&force=true", at("bob")), kind, Some(other))
        .await;
    assert_eq!((code, &taken["data"]["k"]), (200, &json!("2")));
}

#[tokio::test]
async fn a_configuration_without_a_name_is_about_the_object_of_the_url_if_that_is_there() {
    let w = World::new().await;
    let kind = "application/apply-patch+yaml";
    let path = format!("{CMS}/n?fieldManager=alice");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"more": "1"}});
    let (code, status) = w.call_typed("PATCH", &path, kind, Some(config.clone())).await;
    assert_eq!(
        (code, &status["message"]),
        (
            400,
            &json!("the name of the object (n based on URL) was undeterminable: name must be provided")
        )
    );
    w.call("POST", CMS, Some(config_map("n"))).await;
    let (code, applied) = w.call_typed("PATCH", &path, kind, Some(config)).await;
    assert_eq!(
        (code, &applied["metadata"]["name"], &applied["data"]["more"]),
        (200, &json!("n"), &json!("1"))
    );
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    assert_eq!(w.call_typed("PATCH", &path, kind, Some(other)).await.0, 400);
}

#[tokio::test]
async fn strict_patches_with_unknown_fields_are_invalid() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("s"))).await;
    let path = format!("{CMS}/s?fieldValidation=Strict");
    let unknown = json!({"dat": {"k": "1"}});
    for kind in ["merge-patch", "strategic-merge-patch"] {
        let kind = format!("application/{kind}+json");
        let (code, status) = w.call_typed("PATCH", &path, &kind, Some(unknown.clone())).await;
        let cause = &status["details"]["causes"][0];
        assert_eq!((code, &cause["field"]), (422, &json!("patch")), "{status}");
        let message = status["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with(" \"\" is invalid: patch: Invalid value: "),
            "{message}"
        );
        assert!(
            message.ends_with(": strict decoding error: unknown field \"dat\""),
            "{message}"
        );
    }
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let w = World::new().await;
    let mut object = config_map("f");
    object["metadata"]["finalizers"] = json!(["e.com/x"]);
    w.call("POST", CMS, Some(object)).await;
    let path = format!("{CMS}/f");
    let (code, marked) = w.call("DELETE", &path, None).await;
    assert_eq!((code, marked["metadata"]["deletionTimestamp"].is_string()), (200, true));
    let add = json!({"metadata": {"finalizers": ["e.com/x", "e.com/y"]}});
    assert_eq!(
        w.call_typed("PATCH", &path, "application/merge-patch+json", Some(add))
            .await
            .0,
        422
    );
    let none = json!({"metadata": {"finalizers": null}});
    assert_eq!(
        w.call_typed("PATCH", &path, "application/merge-patch+json", Some(none))
            .await
            .0,
        200
    );
    assert_eq!(w.call("GET", &path, None).await.0, 404);
}

#[tokio::test]
async fn namespaces_gate_their_content() {
    let w = World::new().await;
    let (code, refused) = w
        .call("POST", "/api/v1/namespaces/nope/configmaps", Some(config_map("c")))
        .await;
    assert_eq!(
        (code, &refused["message"]),
        (404, &json!("namespaces \"nope\" not found"))
    );
    let ns = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    assert_eq!(w.call("POST", "/api/v1/namespaces", Some(ns)).await.0, 201);
    assert_eq!(
        w.call("DELETE", "/api/v1/namespaces/n", None).await.1["status"]["phase"],
        "Terminating"
    );
    let (code, refused) = w
        .call("POST", "/api/v1/namespaces/n/configmaps", Some(config_map("c")))
        .await;
    assert_eq!(
        (code, &refused["details"]["causes"][0]["reason"]),
        (403, &json!("NamespaceTerminating"))
    );
    let (_, mut live) = w.call("GET", "/api/v1/namespaces/n", None).await;
    live["spec"]["finalizers"] = json!([]);
    assert_eq!(w.call("PUT", "/api/v1/namespaces/n/finalize", Some(live)).await.0, 200);
    assert_eq!(w.call("GET", "/api/v1/namespaces/n", None).await.0, 404);
    assert_eq!(w.call("DELETE", "/api/v1/namespaces/default", None).await.0, 403);
}

#[tokio::test]
async fn status_and_scale_are_separate() {
    let w = World::new().await;
    let base = "/apis/apps/v1/namespaces/default/deployments";
    let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": pod}, "status": {"replicas": 9}});
    let (code, made) = w.call("POST", base, Some(deployment)).await;
    assert_eq!(
        (code, &made["metadata"]["generation"], made["status"].get("replicas")),
        (201, &json!(1), None)
    );
    let merge = "application/merge-patch+json";
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 1}});
    let (_, status) = w
        .call_typed("PATCH", &format!("{base}/d/status"), merge, Some(both))
        .await;
    assert_eq!(
        (&status["spec"]["replicas"], &status["status"]["replicas"]),
        (&json!(1), &json!(1))
    );
    let scale = json!({"spec": {"replicas": 3}});
    let (code, scaled) = w
        .call_typed("PATCH", &format!("{base}/d/scale"), merge, Some(scale))
        .await;
    assert_eq!(
        (code, &scaled["kind"], &scaled["spec"]["replicas"]),
        (200, &json!("Scale"), &json!(3))
    );
    let (_, live) = w.call("GET", &format!("{base}/d"), None).await;
    assert_eq!(
        (&live["spec"]["replicas"], &live["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
}

#[tokio::test]
async fn secrets_never_reach_the_store_in_the_clear() {
    let w = World::new().await;
    let base = "/api/v1/namespaces/default/secrets";
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "c2VjcmV0dmFsdWU="}});
    assert_eq!(w.call("POST", base, Some(secret)).await.0, 201);
    let kv = w.store.get(b"/registry/core/secrets/default/s").expect("stored");
    let needle = b"c2VjcmV0dmFsdWU=";
    assert!(!kv.value.windows(needle.len()).any(|w| w == needle));
    let (_, got) = w.call("GET", &format!("{base}/s"), None).await;
    assert_eq!(got["data"]["p"], "c2VjcmV0dmFsdWU=");
    assert_eq!(got["metadata"]["resourceVersion"], kv.mod_revision.to_string());
    let (_, list) = w.call("GET", base, None).await;
    assert_eq!(list["items"][0]["data"]["p"], "c2VjcmV0dmFsdWU=");
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let w = World::new().await;
    let before = w.store.revision();
    assert_eq!(
        w.call("POST", &format!("{CMS}?dryRun=All"), Some(config_map("c")))
            .await
            .0,
        201
    );
    assert_eq!(
        w.call("POST", &format!("{CMS}?dryRun=Some"), Some(config_map("c")))
            .await
            .0,
        422
    );
    assert_eq!(
        (w.store.revision(), w.call("GET", &format!("{CMS}/c"), None).await.0),
        (before, 404)
    );
}

#[tokio::test]
async fn booting_again_writes_nothing() {
    let w = World::new().await;
    let before = w.store.revision();
    assert_eq!(engenho_apiserver::bootstrap(&w.api, None).await, Ok(0));
    assert_eq!(w.store.revision(), before);
}
