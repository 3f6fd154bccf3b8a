//! What Services and quotas take: never twice, and given back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::World;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn message(body: &Value) -> &str {
    body["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn services_at_once_share_no_address_and_no_port() {
    let w = World::new().await;
    let spec = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let requests = (0..40).map(|i| {
        let body = service(&format!("s{i}"), spec.clone());
        let w = &w;
        async move { w.call("POST", SERVICES, Some(body)).await }
    });
    let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (code, made) in futures_util::future::join_all(requests).await {
        assert_eq!(code, 201, "{made}");
        assert!(addresses.insert(made["spec"]["clusterIP"].to_string()), "{made}");
        assert!(ports.insert(made["spec"]["ports"][0]["nodePort"].to_string()), "{made}");
    }
}

#[tokio::test]
async fn what_a_service_has_is_given_back() {
    let w = World::new().await;
    let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.77", "ports": [{"port": 80, "nodePort": 30077}]});
    assert_eq!(w.call("POST", SERVICES, Some(service("a", spec.clone()))).await.0, 201);
    let address = "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.77";
    let (code, ip) = w.call("GET", address, None).await;
    assert_eq!((code, &ip["spec"]["parentRef"]["name"]), (200, &json!("a")));
    let (code, refused) = w.call("POST", SERVICES, Some(service("b", spec.clone()))).await;
    assert!(
        code == 422 && message(&refused).contains("provided IP is already allocated"),
        "{refused}"
    );
    let other = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30077}]});
    let (code, refused) = w.call("POST", SERVICES, Some(service("b", other))).await;
    assert!(
        code == 422 && message(&refused).contains("provided port is already allocated"),
        "{refused}"
    );

    // A Service without an address gives it up, and its port.
    let (_, mut a) = w.call("GET", &format!("{SERVICES}/a"), None).await;
    a["spec"] = json!({"type": "ExternalName", "externalName": "example.com"});
    let (code, changed) = w.call("PUT", &format!("{SERVICES}/a"), Some(a)).await;
    assert_eq!((code, &changed["spec"]["clusterIP"]), (200, &Value::Null), "{changed}");
    assert_eq!(w.call("GET", address, None).await.0, 404);
    assert_eq!(w.call("POST", SERVICES, Some(service("b", spec.clone()))).await.0, 201);
    assert_eq!(w.call("DELETE", &format!("{SERVICES}/b"), None).await.0, 200);
    assert_eq!(w.call("POST", SERVICES, Some(service("c", spec))).await.0, 201);
}

#[tokio::test]
async fn the_address_of_the_api_is_taken() {
    let w = World::new().await;
    let (code, refused) = w
        .call(
            "POST",
            SERVICES,
            Some(service("x", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 1}]}))),
        )
        .await;
    assert!(
        code == 422 && message(&refused).contains("already allocated"),
        "{refused}"
    );
    let outside = service("x", json!({"clusterIP": "1.2.3.4", "ports": [{"port": 1}]}));
    assert_eq!(w.call("POST", SERVICES, Some(outside)).await.0, 422);
}

#[tokio::test]
async fn a_quota_is_never_exceeded_by_requests_at_once() {
    let w = World::new().await;
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"configmaps": "5"}}});
    let (_, mut quota) = w.call("POST", quotas, Some(quota)).await;
    // As its controller counts at first.
    quota["status"] = json!({"hard": {"configmaps": "5"}, "used": {"configmaps": "0"}});
    assert_eq!(w.call("PUT", &format!("{quotas}/q/status"), Some(quota)).await.0, 200);
    let maps = "/api/v1/namespaces/default/configmaps";
    let requests = (0..12).map(|i| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{i}")}});
        let w = &w;
        async move { w.call("POST", maps, Some(body)).await }
    });
    let answers = futures_util::future::join_all(requests).await;
    let made = answers.iter().filter(|(code, _)| *code == 201).count();
    assert_eq!(made, 5, "{answers:?}");
    assert!(answers.iter().any(|(code, body)| {
        *code == 403
            && message(body)
                .contains("exceeded quota: q, requested: configmaps=1, used: configmaps=5, limited: configmaps=5")
    }));
    let (_, quota) = w.call("GET", &format!("{quotas}/q"), None).await;
    assert_eq!(quota["status"]["used"]["configmaps"], "5");
}

#[tokio::test]
async fn pods_get_their_account_and_obey_their_namespace() {
    let w = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, privileged: bool| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": privileged}}]}})
    };
    let (code, made) = w.call("POST", pods, Some(pod("a", true))).await;
    assert_eq!(
        (code, &made["spec"]["serviceAccountName"]),
        (201, &json!("default")),
        "{made}"
    );
    let volume = made["spec"]["volumes"][0]["name"].as_str().unwrap_or_default();
    assert!(volume.starts_with("kube-api-access-"), "{made}");
    assert_eq!(made["spec"]["containers"][0]["volumeMounts"][0]["name"], volume);

    let namespace = "/api/v1/namespaces/default";
    let (_, mut object) = w.call("GET", namespace, None).await;
    object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline".into();
    assert_eq!(w.call("PUT", namespace, Some(object)).await.0, 200);
    let (code, refused) = w.call("POST", pods, Some(pod("b", true))).await;
    assert!(
        code == 403 && message(&refused).contains("violates PodSecurity \"baseline:latest\": privileged"),
        "{refused}"
    );
    assert_eq!(w.call("POST", pods, Some(pod("b", false))).await.0, 201);
}
