//! Tokens of identity providers and of a webhook, over real TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use engenho_apiserver::body::full;
use engenho_apiserver::outbound::Https;
use engenho_apiserver::{Endpoint, OidcTokens, TokenAuthenticator, TokenError, WebhookSettings, WebhookTokens};
use engenho_authn::TokenKeys;
use engenho_authn::structured::AuthenticationConfig;
use http::Response;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use revoada_core::env::Clock;
use serde_json::{Value, json};

use crate::tls_server::TlsServer;

const NOW_S: u64 = 1_700_000_000;

struct Moved(AtomicU64);

impl Clock for Moved {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn clock() -> Arc<Moved> {
    Arc::new(Moved(AtomicU64::new(NOW_S * 1000)))
}

fn reason(result: Result<engenho_authn::Accepted, TokenError>) -> String {
    match result {
        Err(TokenError::Invalid { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_of_a_provider_are_fetched_and_fetched_again_when_they_change() {
    let keys = Arc::new(Mutex::new(TokenKeys::generate().expect("keys")));
    let fetched = Arc::new(AtomicUsize::new(0));
    let (served, counted) = (keys.clone(), fetched.clone());
    let server = TlsServer::start(&["127.0.0.1"], move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        let host = request.headers()["host"].to_str().expect("text").to_owned();
        let url = format!("https://{host}");
        let answer = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
            }
            "/keys" => served.lock().jwks(),
            _ => String::new(),
        };
        async move { Response::new(full(answer)) }
    })
    .await;
    let url = format!("https://127.0.0.1:{}", server.port);
    let text = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": ["web"], "certificateAuthority": server.ca_pem},
            "claimMappings": {"username": {"claim": "sub", "prefix": "idp:"}},
        }],
    });
    let mut config = AuthenticationConfig::parse(&text.to_string(), &[]).expect("a configuration");
    let clock = clock();
    let tokens = OidcTokens::new(config.jwt.remove(0), Arc::new(Https::new()), clock.clone());
    let token = |sub: &str| {
        let claims = json!({"iss": url, "aud": "web", "sub": sub, "exp": NOW_S + 6000});
        keys.lock().sign(&claims).expect("a token")
    };
    let ask = async |token: &str| tokens.authenticate(token, &[]).await;

    let jane = ask(&token("jane")).await.expect("accepted");
    assert_eq!(jane.identity.user, "idp:jane");
    ask(&token("joe")).await.expect("accepted");
    assert_eq!(fetched.load(Ordering::SeqCst), 2, "the keys are kept");

    let new = TokenKeys::generate().expect("keys");
    *keys.lock() = new;
    let signature = "oidc: verify token: failed to verify signature: failed to verify id token signature";
    assert_eq!(reason(ask(&token("jane")).await), signature, "it was just looked at");
    clock.0.fetch_add(10_000, Ordering::SeqCst);
    ask(&token("jane")).await.expect("accepted");
    assert_eq!(fetched.load(Ordering::SeqCst), 4);
    let foreign = issue("https://elsewhere");
    assert_eq!(ask(&foreign).await, Err(TokenError::Unknown));

    drop(server);
    *keys.lock() = TokenKeys::generate().expect("keys");
    clock.0.fetch_add(10_000, Ordering::SeqCst);
    assert_eq!(reason(ask(&token("jane")).await), signature);
}

fn issue(issuer: &str) -> String {
    let keys = TokenKeys::generate().expect("keys");
    keys.sign(&json!({"iss": issuer})).expect("a token")
}

#[tokio::test]
async fn a_webhook_judges_tokens_and_its_answers_are_kept() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let server = TlsServer::start(&["127.0.0.1"], move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert_eq!(request.headers()["authorization"], "Bearer own");
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            let review: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(review["apiVersion"], "authentication.k8s.io/v1");
            let status = match review["spec"]["token"].as_str() {
                Some("good") => json!({"authenticated": true, "user": {"username": "jane"}}),
                Some("old") => json!({"authenticated": false, "error": "too old"}),
                _ => json!({"authenticated": false}),
            };
            Response::new(full(json!({"status": status}).to_string()))
        }
    })
    .await;
    let settings = WebhookSettings {
        endpoint: Endpoint {
            url: format!("https://127.0.0.1:{}/review", server.port),
            certificate_authority: Some(server.ca()),
            token: Some("own".to_owned()),
            ..Endpoint::default()
        },
        version: "v1".to_owned(),
        kept_ms: 1000,
    };
    let (clock, api) = (clock(), vec!["api".to_owned()]);
    let tokens = WebhookTokens::new(settings, api.clone(), Arc::new(Https::new()), clock.clone()).expect("a URL");
    for _ in 0..2 {
        let jane = tokens.authenticate("good", &api).await.expect("accepted");
        assert_eq!((jane.identity.user.as_str(), &jane.audiences), ("jane", &api));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(reason(tokens.authenticate("old", &api).await), "too old");
    assert_eq!(tokens.authenticate("none", &api).await, Err(TokenError::Unknown));
    clock.0.fetch_add(1000, Ordering::SeqCst);
    drop(server);
    reason(tokens.authenticate("good", &api).await);
}
