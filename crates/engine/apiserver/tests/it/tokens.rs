//! Tokens of service accounts: asked for, used, and refused once what they stand for is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engenho_apiserver::{ApiServer, BearerToken, Options};
use engenho_store::StoreClient;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use revoada_core::env::Clock;
use serde_json::{Value, json};

use crate::harness::{ISSUER, World, deps, issuer, request};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const NOW_MS: u64 = 1_700_000_000_000;

struct Moved(AtomicU64);

impl Clock for Moved {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct Tokens {
    world: World,
    /// Another server over the same store, whose time moves.
    later: ApiServer,
    clock: Arc<Moved>,
}

impl Tokens {
    async fn new() -> Self {
        let world = World::new().await;
        let clock = Arc::new(Moved(AtomicU64::new(NOW_MS)));
        let client = StoreClient::new(world.store.clone(), world.consensus.clone());
        let mut deps = deps(client, Options::default());
        deps.clock = clock.clone();
        let later = ApiServer::new(deps);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
        assert_eq!(world.call("POST", ACCOUNTS, Some(account)).await.0, 201);
        Self { world, later, clock }
    }

    async fn ask(&self, spec: Value) -> (u16, Value) {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        self.world
            .call("POST", &format!("{ACCOUNTS}/bot/token"), Some(body))
            .await
    }

    async fn token(&self, spec: Value) -> String {
        let (code, answer) = self.ask(spec).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Who the sender of a token is, or the code of the refusal.
    async fn whoami(&self, token: &str) -> Result<Value, u16> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut request = request("POST", path, "application/json", Some(body));
        *request.extensions_mut() = http::Extensions::new();
        request
            .extensions_mut()
            .insert(BearerToken::new(token).expect("a token"));
        let (code, answer) = read(self.later.handle(request).await).await;
        if code == 201 {
            Ok(answer["status"]["userInfo"].clone())
        } else {
            Err(code)
        }
    }

    async fn review(&self, token: &str, audiences: Value) -> Value {
        let spec = json!({"token": token, "audiences": audiences});
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        let response = self
            .later
            .handle(request("POST", REVIEWS, "application/json", Some(body)))
            .await;
        let (code, answer) = read(response).await;
        assert_eq!(code, 201, "{answer}");
        answer["status"].clone()
    }

    async fn delete(&self, path: &str) {
        assert_eq!(self.world.call("DELETE", path, None).await.0, 200, "{path}");
    }
}

async fn read(response: Response<engenho_apiserver::Body>) -> (u16, Value) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn pod(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "serviceAccountName": account, "nodeName": "gone",
            "containers": [{"name": "c", "image": "i"}],
        },
    })
}

#[tokio::test]
async fn a_token_is_its_account_until_that_is_gone() {
    let t = Tokens::new().await;
    let (_, answer) = t.ask(json!({"audiences": null, "expirationSeconds": 600})).await;
    assert_eq!(answer["spec"]["audiences"], json!([ISSUER]));
    assert_eq!(answer["spec"]["boundObjectRef"], Value::Null);
    assert_eq!(answer["status"]["expirationTimestamp"], "2023-11-14T22:23:20Z");
    assert_eq!(answer["metadata"]["name"], "bot");
    let entry = &answer["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["subresource"]),
        (&json!("test"), &json!("token"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:expirationSeconds": {}}}));
    let token = answer["status"]["token"].as_str().expect("a token");

    let who = t.whoami(token).await.expect("accepted");
    assert_eq!(who["username"], "system:serviceaccount:default:bot");
    assert_eq!(
        who["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    let id = who["extra"]["authentication.kubernetes.io/credential-id"][0].as_str();
    assert!(id.is_some_and(|id| id.starts_with("JTI=") && id.len() == 40), "{who}");

    t.clock.0.store(NOW_MS + 661_000, Ordering::SeqCst);
    assert_eq!(t.whoami(token).await, Err(401));
    let error = &t.review(token, json!([])).await["error"];
    assert_eq!(error, "[invalid bearer token, service account token has expired]");
    t.clock.0.store(NOW_MS, Ordering::SeqCst);

    t.delete(&format!("{ACCOUNTS}/bot")).await;
    assert_eq!(t.whoami(token).await, Err(401));
    let again = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}});
    assert_eq!(t.world.call("POST", ACCOUNTS, Some(again)).await.0, 201);
    assert_eq!(t.whoami(token).await, Err(401), "another account of this name");
    let ends = token.rsplit_once('.').expect("a signature");
    assert_eq!(t.whoami(&format!("{}.AAAA", ends.0)).await, Err(401));
}

#[tokio::test]
async fn a_token_is_for_its_audience_only() {
    let t = Tokens::new().await;
    let token = t.token(json!({"audiences": ["vault", "other"]})).await;
    assert_eq!(t.whoami(&token).await, Err(401));
    let vault = t.review(&token, json!(["vault", "x"])).await;
    assert_eq!(vault["authenticated"], true);
    assert_eq!(vault["audiences"], json!(["vault"]));
    assert_eq!(vault["user"]["username"], "system:serviceaccount:default:bot");
    let own = t.review(&token, json!([])).await;
    let text = format!(
        r#"[invalid bearer token, token audiences ["vault" "other"] is invalid for the target audiences ["{ISSUER}"]]"#
    );
    assert_eq!(own, json!({"user": {}, "error": text}));
    let unknown = t.review("nonsense", json!([])).await;
    assert_eq!(unknown, json!({"user": {}, "error": "invalid bearer token"}));
}

#[tokio::test]
async fn a_bound_token_ends_with_its_pod() {
    let t = Tokens::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let (code, made) = t.world.call("POST", pods, Some(pod("p", "bot"))).await;
    assert_eq!(code, 201, "{made}");
    let bound = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
    let token = t.token(json!({"audiences": [], "boundObjectRef": bound("")})).await;
    let who = t.whoami(&token).await.expect("accepted");
    let extra = |key: &str| who["extra"][&format!("authentication.kubernetes.io/{key}")][0].clone();
    assert_eq!(extra("pod-name"), "p");
    assert_eq!(extra("pod-uid"), made["metadata"]["uid"]);
    assert_eq!(extra("node-name"), "gone");
    assert_eq!(extra("node-uid"), Value::Null);

    let (code, conflict) = t.ask(json!({"audiences": [], "boundObjectRef": bound("u9")})).await;
    assert_eq!(code, 409);
    assert_eq!(
        conflict["message"],
        "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (u9) does not match the UID \
         in record. The object might have been deleted and then recreated"
    );
    t.delete(&format!("{pods}/p?gracePeriodSeconds=0")).await;
    assert_eq!(t.whoami(&token).await, Err(401));
    let (code, missing) = t.ask(json!({"audiences": [], "boundObjectRef": bound("")})).await;
    assert_eq!((code, &missing["message"]), (404, &json!("pods \"p\" not found")));
}

#[tokio::test]
async fn wrong_requests_are_told() {
    let t = Tokens::new().await;
    let message = async |spec: Value| {
        let (code, answer) = t.ask(spec).await;
        (code, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    let short = message(json!({"audiences": [], "expirationSeconds": 599})).await;
    let text = "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not \
                specify a duration less than 10 minutes";
    assert_eq!(short, (422, text.to_owned()));
    let long = message(json!({"audiences": [], "expirationSeconds": 4_294_967_297_u64})).await;
    assert!(
        long.0 == 422 && long.1.ends_with("may not specify a duration larger than 2^32 seconds"),
        "{long:?}"
    );
    let to = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c"});
    let kind = message(json!({"audiences": [], "boundObjectRef": to})).await;
    assert_eq!(
        kind,
        (
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap".to_owned()
        )
    );
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(t.world.call("POST", pods, Some(pod("q", "default"))).await.0, 201);
    let other = json!({"apiVersion": "v1", "kind": "Pod", "name": "q"});
    let (code, _) = message(json!({"audiences": [], "boundObjectRef": other})).await;
    assert_eq!(code, 400);
    let path = format!("{ACCOUNTS}/nobody/token");
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (code, answer) = t.world.call("POST", &path, Some(body)).await;
    assert_eq!(
        (code, &answer["message"]),
        (404, &json!("serviceaccounts \"nobody\" not found"))
    );
}

#[tokio::test]
async fn others_learn_how_to_verify_tokens() {
    let t = Tokens::new().await;
    let (code, configuration) = t.world.call("GET", "/.well-known/openid-configuration", None).await;
    assert_eq!(code, 200);
    assert_eq!(configuration["issuer"], ISSUER);
    assert_eq!(configuration["jwks_uri"], format!("{ISSUER}/openid/v1/jwks"));
    let response = t
        .world
        .send(request("GET", "/openid/v1/jwks", "application/json", None))
        .await;
    assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=3600");
    let (_, keys) = read(response).await;
    assert_eq!(
        keys,
        serde_json::from_str::<Value>(&issuer().keys.jwks()).expect("JSON")
    );
    // Service accounts may read them, strangers may not.
    let token = t.token(json!({"audiences": []})).await;
    let get = async |token: Option<&str>| {
        let mut request: Request<_> = request("GET", "/openid/v1/jwks", "application/json", None);
        *request.extensions_mut() = http::Extensions::new();
        if let Some(token) = token {
            request
                .extensions_mut()
                .insert(BearerToken::new(token).expect("a token"));
        }
        t.later.handle(request).await.status().as_u16()
    };
    assert_eq!((get(Some(&token)).await, get(None).await), (200, 403));
}

#[tokio::test]
async fn machines_join_with_bootstrap_tokens() {
    let t = Tokens::new().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"},
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
            "expiration": "2023-11-14T23:00:00Z", "auth-extra-groups": "system:bootstrappers:web",
        },
    });
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let (code, made) = t.world.call("POST", secrets, Some(secret)).await;
    assert_eq!(code, 201, "{made}");
    let token = "abcdef.0123456789abcdef";
    let review = t.review(token, json!([])).await;
    assert_eq!(review["user"]["username"], "system:bootstrap:abcdef");
    assert_eq!(
        review["user"]["groups"],
        json!([
            "system:bootstrappers",
            "system:bootstrappers:web",
            "system:authenticated"
        ])
    );
    assert_eq!(review["audiences"], json!([ISSUER]));
    assert_eq!(t.review(token, json!(["vault"])).await["error"], "invalid bearer token");
    t.clock.0.store(NOW_MS + 3_600_000, Ordering::SeqCst);
    assert_eq!(t.review(token, json!([])).await["error"], "invalid bearer token");
}
