//! Reading: pages, selectors, shapes, virtual leases, who may.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{World, config_map, request};

const CMS: &str = "/api/v1/namespaces/default/configmaps";

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|i| i["metadata"]["name"].as_str())
        .collect()
}

#[tokio::test]
async fn pages_are_of_one_revision() {
    let w = World::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        w.call("POST", CMS, Some(config_map(name))).await;
    }
    let (_, first) = w.call("GET", &format!("{CMS}?limit=2"), None).await;
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a", "b"], &json!(3))
    );
    assert!(first["items"][0].get("kind").is_none());
    w.call("DELETE", &format!("{CMS}/c"), None).await;
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let (_, rest) = w.call("GET", &format!("{CMS}?continue={token}"), None).await;
    assert_eq!(names(&rest), ["c", "d", "e"]);
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert_eq!(w.call("GET", &format!("{CMS}?continue=!!"), None).await.0, 400);
}

#[tokio::test]
async fn selectors_choose() {
    let w = World::new().await;
    for (name, label) in [("a", "x"), ("b", "y")] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"l": label});
        w.call("POST", CMS, Some(object)).await;
    }
    assert_eq!(
        names(
            &w.call("GET", &format!("{CMS}?labelSelector=l%20in%20(x)"), None)
                .await
                .1
        ),
        ["a"]
    );
    assert_eq!(
        names(
            &w.call("GET", &format!("{CMS}?fieldSelector=metadata.name!=a"), None)
                .await
                .1
        ),
        ["b"]
    );
    assert_eq!(
        w.call("GET", &format!("{CMS}?fieldSelector=spec.x=1"), None).await.0,
        400
    );
    assert_eq!(w.call("DELETE", &format!("{CMS}?labelSelector=l=x"), None).await.0, 200);
    assert_eq!(names(&w.call("GET", CMS, None).await.1), ["b"]);
}

async fn accept(w: &World, path: &str, accept: &'static str) -> (u16, Value) {
    let mut request = request("GET", path, "application/json", None);
    request
        .headers_mut()
        .insert("accept", http::HeaderValue::from_static(accept));
    let response = w.send(request).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn tables_and_metadata_are_made_on_demand() {
    let w = World::new().await;
    w.call("POST", CMS, Some(config_map("a"))).await;
    let (_, table) = accept(&w, CMS, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table["columnDefinitions"][1]["name"], "Data");
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1, "0s"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, list) = accept(
        &w,
        CMS,
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )
    .await;
    assert_eq!(
        (&list["kind"], list["items"][0].get("data")),
        (&json!("PartialObjectMetadataList"), None)
    );
    let (code, _) = accept(&w, CMS, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await;
    assert_eq!(code, 406);
}

#[tokio::test]
async fn every_listable_resource_lists_as_itself_and_as_a_table() {
    let w = World::new().await;
    let catalog = w.api.catalog();
    for resource in catalog
        .resources()
        .filter(|r| r.verbs.contains(engenho_catalog::Verb::List))
    {
        let path = format!("{}/{}", resource.api_path(), resource.plural);
        let (code, list) = w.call("GET", &path, None).await;
        assert_eq!(
            (code, &list["kind"]),
            (200, &json!(format!("{}List", resource.kind))),
            "{path}"
        );
        let (code, table) = accept(&w, &path, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
        let is_table = table["kind"] == "Table" || resource.plural == "componentstatuses";
        assert!(code == 200 && is_table, "{path}: {table}");
    }
}

#[tokio::test]
async fn node_leases_come_from_membership() {
    let w = World::new().await;
    let base = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let before = w.store.revision();
    let (code, lease) = w.call("GET", &format!("{base}/n1"), None).await;
    assert_eq!(
        (code, &lease["spec"]["renewTime"]),
        (200, &json!("2023-11-14T22:13:20.000000Z"))
    );
    assert_eq!(
        names(&w.call("GET", "/apis/coordination.k8s.io/v1/leases", None).await.1),
        ["n1"]
    );
    let (code, renewed) = w.call("PUT", &format!("{base}/n1"), Some(lease.clone())).await;
    assert_eq!((code, &renewed["metadata"]["uid"]), (200, &lease["metadata"]["uid"]));
    assert_eq!(w.store.revision(), before);
}

#[tokio::test]
async fn both_versions_of_a_kind_show_the_same_object() {
    let w = World::new().await;
    let v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let hpa = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "targetCPUUtilizationPercentage": 60}});
    let (code, made) = w.call("POST", v1, Some(hpa)).await;
    assert_eq!(
        (code, &made["spec"]["targetCPUUtilizationPercentage"]),
        (201, &json!(60))
    );
    let (_, v2) = w
        .call(
            "GET",
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h",
            None,
        )
        .await;
    assert_eq!(v2["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 60);
    let (_, list) = w.call("GET", v1, None).await;
    assert_eq!(list["items"][0]["spec"]["targetCPUUtilizationPercentage"], 60);
}

#[tokio::test]
async fn rbac_decides_and_says_why() {
    let w = World::new().await;
    let as_user = |path: &str| {
        let mut r = request("GET", path, "application/json", None);
        r.headers_mut()
            .insert("impersonate-user", http::HeaderValue::from_static("alice"));
        r
    };
    let response = w.send(as_user(CMS)).await;
    assert_eq!(response.status(), 403);
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let status: Value = serde_json::from_slice(&bytes).expect("JSON");
    let want = "configmaps is forbidden: User \"alice\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!(status["message"], want);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
        "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "alice"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(w.call("POST", path, Some(binding)).await.0, 201);
    assert_eq!(w.send(as_user(CMS)).await.status(), 200);
    assert_eq!(
        w.send(as_user("/api/v1/namespaces/default/secrets")).await.status(),
        403
    );
}
