//! Chains of authorizers: webhooks over real TLS, roles and bindings, what leads to nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engenho_apiserver::body::full;
use engenho_apiserver::outbound::Https;
use engenho_apiserver::{
    ApiServer, AuthorizerChain, ConfigurationFiles, Deps, Endpoint, Identity, Options, StoreAuthorizer, WebhookDeps,
    bootstrap,
};
use engenho_store::StoreClient;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Counting, Fixed, World, config_map, deps, request};
use crate::tls_server::TlsServer;

const PODS: &str = "/api/v1/namespaces/default/pods";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Kubeconfigs that all lead to the same webhook.
struct OneHook(Endpoint);

impl ConfigurationFiles for OneHook {
    fn check(&self, _: &str) -> Option<String> {
        None
    }

    fn endpoint(&self, _: &str) -> Result<Endpoint, String> {
        Ok(self.0.clone())
    }
}

/// What the webhook was asked and is to say.
#[derive(Default)]
struct Hook {
    asked: AtomicUsize,
    seen: Mutex<Value>,
    /// How often it fails before it answers.
    failures: AtomicUsize,
}

fn says(spec: &Value) -> Value {
    match (spec["user"].as_str(), spec["resourceAttributes"]["resource"].as_str()) {
        (_, Some("secrets")) => json!({"allowed": false, "denied": true, "reason": "secrets are secret"}),
        (Some("jane"), _) => json!({"allowed": true, "reason": "she is jane"}),
        (Some("both"), _) => json!({"allowed": true, "denied": true}),
        _ => json!({"allowed": false, "reason": "who is it"}),
    }
}

async fn start(hook: &Arc<Hook>) -> TlsServer {
    let hook = hook.clone();
    TlsServer::start(&["127.0.0.1"], move |request| {
        let hook = hook.clone();
        async move {
            hook.asked.fetch_add(1, Ordering::SeqCst);
            let left = hook.failures.load(Ordering::SeqCst);
            if left > 0 {
                hook.failures.store(left - 1, Ordering::SeqCst);
                let mut answer = Response::new(full("not now"));
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return answer;
            }
            assert_eq!(request.headers()["authorization"], "Bearer own");
            assert_eq!(request.uri().query(), Some("timeout=3s"));
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let review: Value = serde_json::from_slice(&body).expect("JSON");
            let status = says(&review["spec"]);
            *hook.seen.lock() = review;
            Response::new(full(json!({"status": status}).to_string()))
        }
    })
    .await
}

fn files(server: &TlsServer) -> OneHook {
    OneHook(Endpoint {
        url: format!("https://127.0.0.1:{}/authorize", server.port),
        certificate_authority: Some(server.ca()),
        token: Some("own".to_owned()),
        ..Endpoint::default()
    })
}

/// A configuration with the webhook, and others after it.
fn configuration(webhook: Value, others: &[&str]) -> String {
    let mut settings = json!({
        "timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/hook"},
    });
    let more = webhook.as_object().expect("a map").clone();
    settings.as_object_mut().expect("a map").extend(more);
    let mut authorizers = vec![json!({"type": "Webhook", "name": "hook", "webhook": settings})];
    for other in others {
        authorizers.push(json!({"type": other, "name": other.to_lowercase()}));
    }
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": authorizers,
    })
    .to_string()
}

fn chain(text: &str, files: &OneHook) -> Arc<AuthorizerChain> {
    let deps = WebhookDeps {
        outbound: Arc::new(Https::new()),
        clock: Arc::new(Fixed),
        entropy: Arc::new(Counting::default()),
    };
    Arc::new(AuthorizerChain::configured(text, files, deps, "n1").expect("a configuration"))
}

/// The world's store behind a chain of authorizers.
fn server(world: &World, chain: &Arc<AuthorizerChain>) -> ApiServer {
    let client = StoreClient::new(world.store.clone(), world.consensus.clone());
    ApiServer::new(Deps {
        authorizer: Arc::new(StoreAuthorizer::with_chain(world.store.clone(), chain.clone())),
        ..deps(client, Options::default())
    })
}

fn user(name: &str, groups: &[&str]) -> Identity {
    Identity {
        user: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Identity::default()
    }
}

async fn ask(api: &ApiServer, who: Identity, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = request(method, path, "application/json", body);
    request.extensions_mut().insert(who);
    let response = api.handle(request).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
}

fn review(user: &str, resource: &str) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {"verb": "get", "resource": resource, "namespace": "default"}},
    })
}

#[tokio::test]
async fn a_webhook_decides_before_others_and_its_answers_are_kept() {
    let hook = Arc::new(Hook::default());
    let endpoint = start(&hook).await;
    let conditions = json!({"matchConditions": [{"expression": "has(request.resourceAttributes)"}]});
    let world = World::new().await;
    let text = configuration(conditions, &["Node", "RBAC"]);
    let api = server(&world, &chain(&text, &files(&endpoint)));
    let jane = || user("jane", &["system:authenticated"]);

    let selected = format!("{PODS}?labelSelector=app%20in%20(b,a)&fieldSelector=spec.nodeName!%3Dn1");
    assert_eq!(ask(&api, jane(), "GET", &selected, None).await.0, 200);
    let seen = hook.seen.lock().clone();
    assert_eq!(seen["apiVersion"], "authorization.k8s.io/v1");
    assert_eq!(
        seen["spec"],
        json!({
            "user": "jane", "groups": ["system:authenticated"],
            "resourceAttributes": {
                "namespace": "default", "verb": "list", "version": "v1", "resource": "pods",
                "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "NotIn", "values": ["n1"]}]},
                "labelSelector": {"requirements": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
            },
        })
    );
    assert_eq!(ask(&api, jane(), "GET", &selected, None).await.0, 200);
    assert_eq!(hook.asked.load(Ordering::SeqCst), 1, "the answer is kept");

    let secrets = "/api/v1/namespaces/default/secrets";
    let (code, refused) = ask(&api, jane(), "GET", secrets, None).await;
    assert_eq!(code, 403);
    assert_eq!(
        refused["message"],
        "secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in API group \"\" in the namespace \
         \"default\": secrets are secret"
    );
    let (code, refused) = ask(&api, user("joe", &[]), "GET", PODS, None).await;
    assert_eq!(code, 403);
    assert!(
        refused["message"].as_str().expect("text").ends_with(": who is it"),
        "{refused}"
    );
    let asked = hook.asked.load(Ordering::SeqCst);
    assert_eq!(ask(&api, user("joe", &[]), "GET", "/metrics", None).await.0, 403);
    let root = || user("root", &["system:masters"]);
    let (code, metrics) = ask(&api, root(), "GET", "/metrics", None).await;
    assert_eq!(
        (code, hook.asked.load(Ordering::SeqCst)),
        (200, asked),
        "no path, no master"
    );
    let metrics = metrics.as_str().expect("text");
    for line in [
        "apiserver_authorization_decisions_total{decision=\"denied\",name=\"hook\",type=\"Webhook\"} 1",
        "apiserver_authorization_webhook_evaluations_total{name=\"hook\",result=\"success\"} 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }

    for (who, resource, expected) in [
        ("jane", "pods", json!({"allowed": true, "reason": "she is jane"})),
        (
            "jane",
            "secrets",
            json!({"allowed": false, "denied": true, "reason": "secrets are secret"}),
        ),
        ("joe", "pods", json!({"allowed": false, "reason": "who is it"})),
        (
            "both",
            "pods",
            json!({
                "allowed": false, "denied": true,
                "evaluationError": "webhook subject access review returned both allow and deny response",
            }),
        ),
    ] {
        let (code, answered) = ask(&api, root(), "POST", REVIEWS, Some(review(who, resource))).await;
        assert_eq!((code, &answered["status"]), (201, &expected));
    }
    let rules = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let (_, answered) = ask(&api, jane(), "POST", path, Some(rules)).await;
    assert_eq!(answered["status"]["incomplete"], true);
    assert_eq!(
        answered["status"]["evaluationError"],
        "webhook authorizer does not support user rule resolution"
    );
}

#[tokio::test]
async fn a_webhook_that_fails_does_what_its_policy_says() {
    let hook = Arc::new(Hook::default());
    let endpoint = start(&hook).await;
    let world = World::new().await;
    let files = files(&endpoint);
    let open = chain(&configuration(json!({}), &["RBAC"]), &files);
    let api = server(&world, &open);
    hook.failures.store(1, Ordering::SeqCst);
    assert_eq!(
        ask(&api, user("jane", &[]), "GET", PODS, None).await.0,
        200,
        "it passes"
    );
    assert_eq!(hook.asked.load(Ordering::SeqCst), 2);

    drop(endpoint);
    let authenticated = || user("joe", &["system:authenticated"]);
    assert_eq!(
        ask(&api, authenticated(), "GET", "/version", None).await.0,
        200,
        "by a role"
    );
    let (code, text) = ask(&api, authenticated(), "GET", PODS, None).await;
    assert_eq!(code, 500);
    let text = text.as_str().expect("no Status");
    let port = files
        .0
        .url
        .trim_start_matches("https://127.0.0.1:")
        .trim_end_matches("/authorize");
    assert!(
        text.starts_with("Internal Server Error: \"/api/v1/namespaces/default/pods\": Post ") && text.contains(port),
        "{text}"
    );
    let root = user("root", &["system:masters"]);
    let (_, told) = ask(&api, root.clone(), "POST", REVIEWS, Some(review("joe", "pods"))).await;
    assert_eq!(told["status"]["allowed"], false);
    let error = told["status"]["evaluationError"].as_str().expect("an error");
    assert!(error.contains("connection refused"), "{error}");

    let closed = chain(&configuration(json!({"failurePolicy": "Deny"}), &["RBAC"]), &files);
    let api = server(&world, &closed);
    assert_eq!(ask(&api, authenticated(), "GET", "/version", None).await.0, 500);
    assert_eq!(ask(&api, root, "GET", PODS, None).await.0, 200);
}

#[tokio::test]
async fn a_configuration_is_loaded_again_and_kept_if_the_new_one_is_wrong() {
    let hook = Arc::new(Hook::default());
    let endpoint = start(&hook).await;
    let world = World::new().await;
    let files = files(&endpoint);
    let chain = chain(&configuration(json!({}), &["RBAC"]), &files);
    let api = server(&world, &chain);
    let jane = || user("jane", &[]);
    assert_eq!(ask(&api, jane(), "GET", PODS, None).await.0, 200);
    let without = configuration(json!({}), &[]);
    assert_eq!(
        chain.reload(&without, &files),
        Err("missing required types: [RBAC]".to_owned())
    );
    assert_eq!(chain.reload(&without, &files), Ok(false), "it was told once");
    assert_eq!(ask(&api, jane(), "GET", PODS, None).await.0, 200);
    let never = json!({"matchConditions": [{"expression": "request.user == 'nobody'"}]});
    assert_eq!(chain.reload(&configuration(never, &["RBAC"]), &files), Ok(true));
    assert_eq!(ask(&api, jane(), "GET", PODS, None).await.0, 403);
    let mut metrics = String::new();
    use engenho_apiserver::Authorizer as _;
    StoreAuthorizer::with_chain(world.store.clone(), chain).metrics(&mut metrics);
    for (status, count) in [("success", 2), ("failure", 1)] {
        let end = format!("status=\"{status}\"}} {count}");
        let name = "apiserver_authorization_config_controller_automatic_reloads_total";
        assert!(
            metrics
                .lines()
                .any(|line| line.starts_with(name) && line.ends_with(&end)),
            "{metrics}"
        );
    }
}

#[tokio::test]
async fn expressions_of_policies_ask_the_webhook_too() {
    let hook = Arc::new(Hook::default());
    let endpoint = start(&hook).await;
    let world = World::new().await;
    let api = server(&world, &chain(&configuration(json!({}), &["RBAC"]), &files(&endpoint)));
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
            ]},
            "validations": [{
                "expression": "authorizer.group('').resource('pods').check('get').allowed() && \
                               !authorizer.group('').resource('secrets').check('get').allowed()",
                "messageExpression": "'not for ' + request.userInfo.username",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny", "Audit"]},
    });
    let root = || user("root", &["system:masters"]);
    for (plural, object) in [("policies", policy), ("policybindings", binding)] {
        let path = format!("{group}/validatingadmission{plural}");
        assert_eq!(ask(&api, root(), "POST", &path, Some(object)).await.0, 201);
    }
    let maps = "/api/v1/namespaces/default/configmaps";
    let (code, made) = ask(&api, user("jane", &[]), "POST", maps, Some(config_map("a"))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        hook.asked.load(Ordering::SeqCst),
        3,
        "the request, and each question once"
    );
    // A master may get secrets, and nobody is asked about it.
    let (code, refused) = ask(&api, root(), "POST", maps, Some(config_map("b"))).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().expect("text");
    assert!(message.ends_with("denied request: not for root"), "{message}");
    assert_eq!(hook.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn kubelets_read_what_their_pods_need_while_they_need_it() {
    let world = World::new().await;
    let kubelet = |name: &str| {
        user(
            &format!("system:node:{name}"),
            &["system:nodes", "system:authenticated"],
        )
    };
    let get = async |node: &str, path: &str| {
        let path = format!("/api/v1/namespaces/default/{path}");
        ask(&world.api, kubelet(node), "GET", &path, None).await.0
    };
    for (plural, object) in [
        ("configmaps", config_map("settings")),
        (
            "secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}),
        ),
    ] {
        let path = format!("/api/v1/namespaces/default/{plural}");
        assert_eq!(world.call("POST", &path, Some(object)).await.0, 201);
    }
    assert_eq!(get("n1", "secrets/s").await, 403);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
            "volumes": [
                {"name": "s", "secret": {"secretName": "s"}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
            ],
        },
    });
    let (code, made) = world.call("POST", PODS, Some(pod)).await;
    assert_eq!(code, 201, "{made}");
    for path in ["secrets/s", "configmaps/settings", "pods/p"] {
        assert_eq!(get("n1", path).await, 200, "{path}");
        assert_eq!(get("n2", path).await, 403, "{path}");
    }
    let named = "secrets?fieldSelector=metadata.name%3Ds";
    assert_eq!(get("n1", named).await, 200);
    assert_eq!(get("n1", "secrets").await, 403);
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
        "audiences": ["vault"],
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]},
    }});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let asked = ask(&world.api, kubelet("n2"), "POST", path, Some(token.clone())).await;
    assert_eq!(asked.0, 403);
    let (code, answered) = ask(&world.api, kubelet("n1"), "POST", path, Some(token)).await;
    assert_eq!(code, 201, "{answered}");
    let path = format!("{PODS}/p?gracePeriodSeconds=0");
    assert_eq!(world.call("DELETE", &path, None).await.0, 200);
    assert_eq!(get("n1", "secrets/s").await, 403, "the pod is gone");
}

#[tokio::test]
async fn what_every_cluster_begins_with_gets_back_what_it_lost() {
    let world = World::new().await;
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let role = format!("{group}/clusterroles/system:basic-user");
    let (_, mut stripped) = world.call("GET", &role, None).await;
    stripped["rules"] = json!([]);
    assert_eq!(world.call("PUT", &role, Some(stripped)).await.0, 200);
    let restored = async || bootstrap(&world.api, None).await.expect("restored");
    assert_eq!((restored().await, restored().await), (1, 0));
    let (_, mut whole) = world.call("GET", &role, None).await;
    assert!(
        whole["rules"].to_string().contains("selfsubjectaccessreviews"),
        "{whole}"
    );
    whole["rules"] = json!([]);
    whole["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    assert_eq!(world.call("PUT", &role, Some(whole)).await.0, 200);
    assert_eq!(restored().await, 0, "it is protected");

    let binding = format!("{group}/clusterrolebindings/system:basic-user");
    assert_eq!(world.call("DELETE", &binding, None).await.0, 200);
    let other = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:basic-user"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    let bindings = format!("{group}/clusterrolebindings");
    assert_eq!(world.call("POST", &bindings, Some(other)).await.0, 201);
    assert_eq!(restored().await, 1);
    let (_, again) = world.call("GET", &binding, None).await;
    assert_eq!(again["roleRef"]["name"], "system:basic-user");
}
